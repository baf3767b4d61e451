package wal

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// step is one change of the disk, as the log asked for it.
type step struct {
	op   string // create, write, truncate, sync, rename, remove, syncdir
	name string // relative to the folder
	to   string
	at   int64
	data []byte
}

// tracer is a disk that remembers every step, and can fail at one.
type tracer struct {
	root  string
	mu    sync.Mutex
	steps []step
	// fail is asked before each step; partly is how many bytes of a write that fails are written all the same.
	fail func(n int, s step) (partly int, err error)
}

func (tr *tracer) note(s step) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	s.name, s.to = tr.relative(s.name), tr.relative(s.to)
	n := len(tr.steps)
	tr.steps = append(tr.steps, s)
	if tr.fail == nil {
		return 0, nil
	}
	return tr.fail(n, s)
}

func (tr *tracer) relative(name string) string {
	if name == "" {
		return ""
	}
	rel, err := filepath.Rel(tr.root, name)
	if err != nil {
		panic(err)
	}
	return rel
}

func (tr *tracer) count() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.steps)
}

func (tr *tracer) disk() disk {
	real := realDisk()
	return disk{
		open: func(name string, flag int) (file, error) {
			_, err := os.Lstat(name)
			if flag&os.O_CREATE != 0 && (errors.Is(err, fs.ErrNotExist) || flag&os.O_TRUNC != 0) {
				if _, err := tr.note(step{op: "create", name: name}); err != nil {
					return nil, err
				}
			}
			f, err := real.open(name, flag)
			if err != nil {
				return nil, err
			}
			return &tracedFile{file: f, tr: tr, name: name}, nil
		},
		rename: func(from, to string) error {
			if _, err := tr.note(step{op: "rename", name: from, to: to}); err != nil {
				return err
			}
			return real.rename(from, to)
		},
		remove: func(name string) error {
			if _, err := os.Lstat(name); err != nil {
				return err
			}
			if _, err := tr.note(step{op: "remove", name: name}); err != nil {
				return err
			}
			return real.remove(name)
		},
		syncDir: func(dir string) error {
			if _, err := tr.note(step{op: "syncdir", name: dir}); err != nil {
				return err
			}
			return nil // the trace is what counts
		},
	}
}

type tracedFile struct {
	file
	tr   *tracer
	name string
}

func (f *tracedFile) WriteAt(b []byte, at int64) (int, error) {
	partly, err := f.tr.note(step{op: "write", name: f.name, at: at, data: bytes.Clone(b)})
	if err != nil {
		n, werr := f.file.WriteAt(b[:min(partly, len(b))], at)
		return n, errors.Join(err, werr)
	}
	return f.file.WriteAt(b, at)
}

func (f *tracedFile) Truncate(size int64) error {
	if _, err := f.tr.note(step{op: "truncate", name: f.name, at: size}); err != nil {
		return err
	}
	return f.file.Truncate(size)
}

func (f *tracedFile) Sync() error {
	_, err := f.tr.note(step{op: "sync", name: f.name})
	return err
}

// inode is a file in a model of a file system that keeps nothing but what was synced.
type inode struct {
	synced, now []byte
	dirty       bool
}

func (n *inode) write(at int64, data []byte) {
	end := int(at) + len(data)
	now := slices.Grow(bytes.Clone(n.now), max(0, end-len(n.now)))
	if end > len(now) {
		now = now[:end]
	}
	copy(now[at:], data)
	n.now, n.dirty = now, true
}

// afterCut returns files as a power cut after some steps can leave them. What was synced is there; of everything else,
// names and contents, how decides.
func afterCut(steps []step, how func(n *inode) []byte, name func(synced bool) bool) map[string][]byte {
	var dir, synced = map[string]*inode{}, map[string]*inode{}
	for _, s := range steps {
		switch s.op {
		case "create":
			dir[s.name] = &inode{}
		case "write":
			dir[s.name].write(s.at, s.data)
		case "truncate":
			n := dir[s.name]
			n.now, n.dirty = bytes.Clone(n.now[:min(int(s.at), len(n.now))]), true
		case "sync":
			n := dir[s.name]
			n.synced, n.dirty = n.now, false
		case "rename":
			dir[s.to] = dir[s.name]
			delete(dir, s.name)
		case "remove":
			delete(dir, s.name)
		case "syncdir":
			in := func(f string) bool { return filepath.Dir(f) == s.name }
			for f := range synced {
				if in(f) {
					delete(synced, f)
				}
			}
			for f, n := range dir {
				if in(f) {
					synced[f] = n
				}
			}
		}
	}
	out := map[string][]byte{}
	put := func(f string, n *inode) {
		if n.dirty {
			out[f] = how(n)
		} else {
			out[f] = n.now
		}
	}
	for f, n := range synced {
		if dir[f] == n || name(true) { // else it was removed or replaced, and that may not have lasted
			put(f, n)
		}
	}
	for f, n := range dir {
		if synced[f] != n && name(false) {
			put(f, n)
		}
	}
	return out
}

// cuts are the ways in which what was not synced can be there.
func cuts(rng *rand.Rand) map[string]func() (func(n *inode) []byte, func(bool) bool) {
	yes, no := func(bool) bool { return true }, func(bool) bool { return false }
	coin := func(bool) bool { return rng.IntN(2) == 0 }
	nothing := func(n *inode) []byte { return n.synced }
	everything := func(n *inode) []byte { return n.now }
	// The new size, and in each sector the old bytes, the new ones, zeros or anything.
	mixed := func(n *inode) []byte {
		out := make([]byte, len(n.now))
		copy(out, n.synced)
		for at := 0; at < len(out); at += 512 {
			part := out[at:min(at+512, len(out))]
			if at < len(n.synced) && bytes.Equal(n.synced[at:min(at+len(part), len(n.synced))], n.now[at:min(at+len(part), len(n.synced))]) {
				if rng.IntN(2) == 0 {
					copy(part, n.now[at:]) // what did not change is never lost
				}
				continue
			}
			switch rng.IntN(4) {
			case 0:
				copy(part, n.now[at:])
			case 1:
				clear(part[min(max(len(n.synced)-at, 0), len(part)):])
			case 2:
				from := min(max(len(n.synced)-at, 0), len(part))
				for i := range part[from:] {
					part[from+i] = byte(rng.Uint32())
				}
			}
		}
		return out
	}
	torn := func(n *inode) []byte {
		if len(n.now) <= len(n.synced) {
			return n.now
		}
		return n.now[:len(n.synced)+rng.IntN(len(n.now)-len(n.synced))]
	}
	return map[string]func() (func(n *inode) []byte, func(bool) bool){
		"nothing":     func() (func(n *inode) []byte, func(bool) bool) { return nothing, no },
		"names only":  func() (func(n *inode) []byte, func(bool) bool) { return nothing, yes },
		"everything":  func() (func(n *inode) []byte, func(bool) bool) { return everything, yes },
		"bytes only":  func() (func(n *inode) []byte, func(bool) bool) { return everything, no },
		"torn":        func() (func(n *inode) []byte, func(bool) bool) { return torn, coin },
		"mixed":       func() (func(n *inode) []byte, func(bool) bool) { return mixed, coin },
		"mixed again": func() (func(n *inode) []byte, func(bool) bool) { return mixed, yes },
	}
}

// fastDir makes a folder in memory where there is one; the model says what is durable, so nothing is lost by it.
func fastDir(t testing.TB) string {
	t.Helper()
	if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
		dir, err := os.MkdirTemp("/dev/shm", "loggerhead-wal-test-")
		if err == nil {
			t.Cleanup(func() {
				if err := os.RemoveAll(dir); err != nil {
					t.Error(err)
				}
			})
			return dir
		}
	}
	return t.TempDir()
}

func writeFiles(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "aside"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if strings.Contains(name, "..") {
			t.Fatal(name)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func readFiles(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		out[rel], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
