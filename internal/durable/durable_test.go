package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// want fails unless path has the content and nothing else is in its folder.
func want(t *testing.T, path, content string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != content {
		t.Errorf("%s holds %.40q, %v, want %.40q", filepath.Base(path), b, err, content)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v, want the file alone", entries, err)
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, content := range []string{"first, and longer", "", "second"} {
		must(t, Write(path, []byte(content), 0o640))
		want(t, path, content)
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o640 {
			t.Errorf("mode %v, %v", st.Mode(), err)
		}
	}
}

func TestWriteReplacesALink(t *testing.T) {
	dir := t.TempDir()
	elsewhere, path := filepath.Join(t.TempDir(), "elsewhere"), filepath.Join(dir, "file")
	must(t, os.WriteFile(elsewhere, []byte("theirs"), 0o600), os.Symlink(elsewhere, path))
	must(t, Write(path, []byte("ours"), 0o600))
	want(t, path, "ours")
	want(t, elsewhere, "theirs")
	if st, err := os.Lstat(path); err != nil || !st.Mode().IsRegular() {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, Create(path, []byte("first"), 0o600))
	want(t, path, "first")
	if err := Create(path, []byte("second"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second create: %v", err)
	}
	want(t, path, "first")
	dangling := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink("nowhere", dangling))
	if err := Create(dangling, []byte("x"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a link: %v", err)
	}
}

func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, Write(path, nil, 0o600), Remove(path), Remove(path))
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
	must(t, os.MkdirAll(filepath.Join(path, "full"), 0o700))
	if err := Remove(path); err == nil {
		t.Error("a folder with something in it was removed")
	}
}

// leftovers are what crashes leave beside a path that has the content "old".
func leftovers(t *testing.T) map[string]string {
	t.Helper()
	paths := map[string]string{}
	for name, leave := range map[string]func(path string) error{
		"empty":               func(p string) error { return os.WriteFile(p+suffix, nil, 0o600) },
		"longer than new":     func(p string) error { return os.WriteFile(p+suffix, bytes.Repeat([]byte("x"), 9999), 0o600) },
		"linked, not removed": func(p string) error { return os.Link(p, p+suffix) },
	} {
		p := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(p, []byte("old"), 0o600), leave(p))
		paths[name] = p
	}
	return paths
}

func TestLeftovers(t *testing.T) {
	for name, path := range leftovers(t) {
		t.Run("write over "+name, func(t *testing.T) {
			must(t, Write(path, []byte("new"), 0o600))
			want(t, path, "new")
		})
	}
	for name, path := range leftovers(t) {
		t.Run("create over "+name, func(t *testing.T) {
			if err := Create(path, []byte("new"), 0o600); !errors.Is(err, fs.ErrExist) {
				t.Errorf("created: %v", err)
			}
			want(t, path, "old")
		})
	}
	for name, path := range leftovers(t) {
		t.Run("clear "+name, func(t *testing.T) {
			must(t, Clear(filepath.Dir(path)))
			want(t, path, "old")
		})
	}
	// An empty file that was linked and not yet unlinked is path's own: bytes written into it would be in place too early.
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, 0o600), os.Link(path, path+suffix))
	f, err := begin(path + suffix)
	must(t, err)
	_, err = f.WriteString("half")
	must(t, err, f.Close(), os.Remove(path+suffix))
	want(t, path, "")
}

func TestNoFollow(t *testing.T) {
	dir := t.TempDir()
	victim, path := filepath.Join(t.TempDir(), "victim"), filepath.Join(dir, "file")
	must(t, os.WriteFile(victim, []byte("theirs"), 0o600), os.Symlink(victim, path+suffix))
	if err := Write(path, []byte("ours"), 0o600); err == nil {
		t.Error("a link in the way was followed")
	}
	want(t, victim, "theirs")
}

// TestSteps: the content is synced before path has it, the folder after; a step that fails leaves path as it was, or
// whole and new, says so, and leaves nothing behind.
func TestSteps(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct{ fail, steps, then string }{
		{"", "sync, place, syncDir", "new"},
		{"sync", "sync", "old"},
		{"place", "sync, place", "old"},
		{"syncDir", "sync, place, syncDir", "new"},
	} {
		path := filepath.Join(t.TempDir(), "file")
		must(t, os.WriteFile(path, []byte("old"), 0o600))
		var steps []string
		step := func(name string) error {
			steps = append(steps, name)
			if name == c.fail {
				return broken
			}
			return nil
		}
		d := disk{
			sync: func(f *os.File) error {
				if b, err := os.ReadFile(f.Name()); err != nil || string(b) != "new" {
					t.Errorf("synced with %q, %v", b, err)
				}
				return step("sync")
			},
			syncDir: func(dir string) error {
				if dir != filepath.Dir(path) {
					t.Errorf("%s was synced", dir)
				}
				return step("syncDir")
			},
		}
		err := d.write(path, []byte("new"), 0o600, func(from, to string) error {
			if err := step("place"); err != nil {
				return err
			}
			return os.Rename(from, to)
		})
		if (c.fail != "") != errors.Is(err, broken) || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%s fails: %v", c.fail, err)
		}
		if got := strings.Join(steps, ", "); got != c.steps {
			t.Errorf("%s fails: steps %s, want %s", c.fail, got, c.steps)
		}
		want(t, path, c.then)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{"no folder": filepath.Join(dir, "none", "file"), "a folder": dir, "a file is no folder": "/dev/null/file"} {
		for kind, f := range map[string]func(string, []byte, fs.FileMode) error{"write": Write, "create": Create} {
			if err := f(path, []byte("x"), 0o600); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("%s, %s: %v", kind, name, err)
			}
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(dir)); err != nil || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), suffix) }) {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if err := SyncDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("sync of no folder: %v", err)
	}
	if err := Clear(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("clear of no folder: %v", err)
	}
}

// TestFullDisk: on a real one.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=700"); err != nil {
		t.Skipf("a small disk needs the right to mount: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	path := filepath.Join(dir, "file")
	must(t, Write(path, []byte("old"), 0o600))
	for kind, f := range map[string]func(string, []byte, fs.FileMode) error{"write": Write, "create": Create} {
		if err := f(path, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", kind, err)
		}
		want(t, path, "old")
	}
	must(t, Write(path, []byte("new"), 0o600))
	want(t, path, "new")
}

// TestTogether: of many that create one path one does; of many that write it every one that is told so has written it
// whole.
func TestTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for round := range 20 {
		must(t, Remove(path))
		var created, wrote atomic.Int32
		var wg sync.WaitGroup
		for i := range 16 {
			content := bytes.Repeat([]byte{'a' + byte(i)}, 4096)
			wg.Go(func() {
				if err := Create(path, content, 0o600); err == nil {
					created.Add(1)
				}
			})
		}
		wg.Wait()
		if created.Load() != 1 {
			t.Fatalf("round %d: %d created it", round, created.Load())
		}
		for i := range 16 {
			content := bytes.Repeat([]byte{'A' + byte(i)}, 4096)
			wg.Go(func() {
				if err := Write(path, content, 0o600); err == nil {
					wrote.Add(1)
				}
			})
		}
		wg.Wait()
		b, err := os.ReadFile(path)
		must(t, err)
		if wrote.Load() == 0 || len(b) != 4096 || strings.Trim(string(b), string(b[:1])) != "" || b[0] < 'A' || b[0] > 'P' {
			t.Fatalf("round %d: %d wrote it, and it holds %d bytes, %.20q", round, wrote.Load(), len(b), b)
		}
		want(t, path, string(b))
	}
}

// TestMain is also the process that TestKilled kills: it writes one path over and over.
func TestMain(m *testing.M) {
	if path := os.Getenv("DURABLE_TEST_WRITE"); path != "" {
		for i := range 1_000_000 {
			if err := Write(path, bytes.Repeat([]byte{'a' + byte(i%26)}, 1<<16), 0o600); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

// TestKilled: after a kill -9 the path has a whole file, there is at most one leftover, and the next process goes on.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	self, err := os.Executable()
	must(t, err)
	for round := range 15 {
		c := exec.Command(self)
		c.Env = append(os.Environ(), "DURABLE_TEST_WRITE="+path)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		before, _ := os.Stat(path)
		must(t, c.Start())
		changed := false
		for deadline := time.Now().Add(20 * time.Second); !changed && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			now, err := os.Stat(path)
			changed = err == nil && (before == nil || !os.SameFile(before, now))
		}
		time.Sleep(time.Duration(round) * 300 * time.Microsecond) // anywhere in a write
		must(t, c.Process.Kill())
		if err := c.Wait(); err == nil || stderr.Len() > 0 || !changed {
			t.Fatalf("the writer ended with %v, changed %t: %s", err, changed, stderr.Bytes())
		}
		b, err := os.ReadFile(path)
		must(t, err)
		if len(b) != 1<<16 || strings.Trim(string(b), string(b[:1])) != "" {
			t.Fatalf("%d bytes, %.20q", len(b), b)
		}
		entries, err := os.ReadDir(dir)
		must(t, err)
		for _, e := range entries {
			if e.Name() != "file" && e.Name() != "file"+suffix {
				t.Errorf("left behind: %s", e.Name())
			}
		}
	}
	must(t, Write(path, []byte("last"), 0o600))
	want(t, path, "last")
}
