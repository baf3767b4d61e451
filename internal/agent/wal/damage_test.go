package wal

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// filled makes a log of n records in several files, of which acked are acked, and returns its files.
func filled(t testing.TB, n int, acked uint32) (id uint64, files map[string][]byte) {
	t.Helper()
	dir := fastDir(t)
	l, err := Open(dir, small())
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, 0, n)
	if err := l.Ack(l.ID(), acked); err != nil {
		t.Fatal(err)
	}
	id = l.ID()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	files = readFiles(t, dir)
	delete(files, "lock")
	return id, files
}

// numbers drains the log in dir and returns which records came.
func numbers(t testing.TB, l *Log) []int {
	t.Helper()
	var out []int
	for _, r := range drain(t, l, 0, 0) {
		out = append(out, number(r))
	}
	return out
}

func ints(from, to int) (out []int) {
	for i := from; i < to; i++ {
		out = append(out, i)
	}
	return out
}

func TestOneByteWrongCostsOneRecord(t *testing.T) {
	id, files := filled(t, 120, 10)
	root := fastDir(t)
	all := ints(10, 120)
	names := slices.Sorted(maps.Keys(files))
	if len(names) < 4 {
		t.Fatalf("only %d files", len(names))
	}
	for _, name := range []string{names[1], names[len(names)-2]} { // a file in the middle, and the last (behind is the cursor)
		for at := 0; at < len(files[name]); at++ {
			if at > headerSize+300 && at%11 != 0 {
				continue // the records are alike
			}
			dir := filepath.Join(root, "damaged")
			bad := maps.Clone(files)
			bad[name] = bytes.Clone(files[name])
			bad[name][at] ^= 0x5a
			writeFiles(t, dir, bad)
			l, err := Open(dir, small())
			if err != nil {
				t.Fatalf("%s, byte %d: %v", name, at, err)
			}
			got := numbers(t, l)
			if len(got) < len(all)-1 || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
				t.Fatalf("%s, byte %d: there are %v", name, at, got)
			}
			if at < headerSize && len(got) != len(all) {
				t.Fatalf("%s, byte %d of the header: there are %v", name, at, got)
			}
			if l.ID() != id {
				t.Fatalf("%s, byte %d: new id", name, at)
			}
			first := mustAppend(t, l, 500, 1)
			if wantNext := uint32(121); first != wantNext && !(name == names[len(names)-2] && first == 120 && got[len(got)-1] == 118) {
				t.Fatalf("%s, byte %d: the next number is %d; the last record is %d", name, at, first, got[len(got)-1])
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestDamagedFiles(t *testing.T) {
	id, files := filled(t, 200, 60)
	segs := slices.DeleteFunc(slices.Sorted(maps.Keys(files)), func(n string) bool { return !strings.HasSuffix(n, ".seg") })
	mid, last := segs[len(segs)/2], segs[len(segs)-1]
	for name, test := range map[string]struct {
		damage func(f map[string][]byte)
		all    bool // nothing is lost
		newID  bool
		count  bool // Damaged says so
	}{
		"no cursor":              {func(f map[string][]byte) { delete(f, "cursor") }, true, false, false},
		"half a cursor":          {func(f map[string][]byte) { f["cursor"] = f["cursor"][:20] }, true, false, false},
		"foreign files":          {func(f map[string][]byte) { f["notes.txt"], f["7.seg"], f["x.seg"] = nil, nil, []byte("x") }, true, false, false},
		"empty file of creation": {func(f map[string][]byte) { f["000000000900.seg"] = nil }, true, false, false},
		"zeros of creation":      {func(f map[string][]byte) { f["000000000900.seg"] = make([]byte, 4096) }, true, false, false},
		"empty file between":     {func(f map[string][]byte) { f[mid] = nil }, false, false, false},
		"rubbish file":           {func(f map[string][]byte) { f[mid] = bytes.Repeat([]byte("rubbish "), 500) }, false, false, true},
		"rubbish last file":      {func(f map[string][]byte) { f[last] = bytes.Repeat([]byte("rubbish "), 500) }, false, false, true},
		"no header":              {func(f map[string][]byte) { clear(f[mid][:headerSize]) }, true, false, false},
		"hole in the middle":     {func(f map[string][]byte) { clear(f[mid][1000:1100]) }, false, false, true},
		"hole in the last":       {func(f map[string][]byte) { clear(f[last][200:300]) }, false, false, true},
		"file gone":              {func(f map[string][]byte) { delete(f, mid) }, false, false, false},
		"all files gone": {func(f map[string][]byte) {
			maps.DeleteFunc(f, func(n string, _ []byte) bool { return n != "cursor" })
		}, false, true, false},
		"back to before the ack": {func(f map[string][]byte) {
			maps.DeleteFunc(f, func(n string, _ []byte) bool { return n != "cursor" && n != segs[0] })
		}, false, true, false},
		"another log's bytes behind": {func(f map[string][]byte) {
			_, other := filled(t, 250, 0)
			for name, b := range other {
				if i := bytes.Index(b, []byte{201, 0, 0, 0}); i > headerSize && strings.HasSuffix(name, ".seg") {
					f[last] = append(f[last], b[i-8:]...) // begins with a record 201, as this log's next one would
				}
			}
		}, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := map[string][]byte{}
			for n, b := range files {
				f[n] = bytes.Clone(b)
			}
			test.damage(f)
			dir := fastDir(t)
			writeFiles(t, dir, f)
			l, err := Open(dir, small())
			if err != nil {
				t.Fatal(err)
			}
			st := mustStats(t, l)
			if (l.ID() != id) != test.newID {
				t.Errorf("id changed: %v", !test.newID)
			}
			if (st.Damaged > 0) != test.count {
				t.Errorf("%d bytes are damaged", st.Damaged)
			}
			got := numbers(t, l)
			if int64(len(got)) != st.Unacked {
				t.Errorf("%d records came, %d were said", len(got), st.Unacked)
			}
			if !slices.IsSorted(got) {
				t.Errorf("they are not in order: %v", got)
			}
			if test.all {
				if i := slices.Index(got, 60); i < 0 || !slices.Equal(got[i:], ints(60, 200)) {
					t.Errorf("some are lost: %v", got)
				}
			}
			// And it goes on: new records come, after another start, too.
			mustAppend(t, l, 1000, 50)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = mustOpen(t, dir, small())
			if got := numbers(t, l); !slices.Equal(got, ints(1000, 1050)) {
				t.Errorf("new records: %v", got)
			}
			// What is no log file was left alone, and a file that could not be read was kept.
			for _, n := range []string{"notes.txt", "7.seg", "x.seg"} {
				if _, ok := f[n]; ok {
					if _, err := os.Stat(filepath.Join(dir, n)); err != nil {
						t.Error(err)
					}
				}
			}
			kept, err := filepath.Glob(filepath.Join(dir, "aside", "*.damaged"))
			if err != nil || len(kept) > 0 != strings.HasPrefix(name, "rubbish") {
				t.Errorf("kept %v, %v", kept, err)
			}
		})
	}
}

// While the log is open a file of it is spoilt, or taken away: what is left comes, and the numbers of Stats follow.
func TestDamageWhileOpen(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"removed":  os.Remove,
		"cut":      func(path string) error { return os.Truncate(path, 1000) },
		"emptied":  func(path string) error { return os.Truncate(path, 0) },
		"spoilt":   func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte{7}, 4000), 0o600) },
		"one hole": func(path string) error { return poke(path, 500, make([]byte, 100)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := fastDir(t)
			l := mustOpen(t, dir, small())
			mustAppend(t, l, 0, 300)
			before := mustStats(t, l)
			for _, i := range []int{0, 2, 3} {
				if err := damage(segmentName(dir, l.segments[i].index)); err != nil {
					t.Fatal(err)
				}
			}
			var got []int
			var b wire.Batch
			for {
				if err := l.Batch(&b, 40, 0); err != nil {
					t.Fatal(err)
				}
				if len(b.Records) == 0 {
					break
				}
				for _, r := range records(t, &b, 0) {
					got = append(got, number(r))
				}
				if err := l.Ack(b.Log, b.Last()); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.IsSorted(got) || len(got) < 100 || len(got) >= 300 || got[len(got)-1] != 299 {
				t.Errorf("there are %d: %v", len(got), got)
			}
			st := mustStats(t, l)
			if before.Unacked != 300 || st.Unacked != 0 || st.Oldest != 0 {
				t.Errorf("before %+v, after %+v", before, st)
			}
			mustAppend(t, l, 300, 1)
			if got := numbers(t, l); !slices.Equal(got, []int{300}) {
				t.Errorf("a new record: %v", got)
			}
		})
	}
}

func poke(path string, at int64, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	return errors.Join(err, f.Close())
}

// badFile is a file of which a part cannot be read.
type badFile struct {
	file
	from, to int64
	broken   func() bool
}

func (f *badFile) ReadAt(b []byte, at int64) (int, error) {
	if f.broken() && at < f.to && at+int64(len(b)) > f.from {
		return 0, &fs.PathError{Op: "read", Err: syscall.EIO}
	}
	return f.file.ReadAt(b, at)
}

func TestUnreadableSectors(t *testing.T) {
	o := Options{MaxBytes: 2 << 20, SegmentBytes: 64 << 10}
	dir := fastDir(t)
	broken := false
	d := realDisk()
	plain := d.open
	d.open = func(name string, flag int) (file, error) {
		f, err := plain(name, flag)
		if err != nil || !strings.HasSuffix(name, "000000000001.seg") {
			return f, err
		}
		return &badFile{file: f, from: 8192, to: 8193, broken: func() bool { return broken }}, nil
	}
	l, err := open(dir, o, d, maxSequence)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, 0, 400)
	id := l.ID()
	var b wire.Batch
	broken = true
	for i := range 2 { // it may pass
		if err := l.Batch(&b, 0, 0); !errors.Is(err, syscall.EIO) || len(b.Records) > 0 {
			t.Fatalf("read %d: %v", i, err)
		}
	}
	broken = false
	if err := l.Batch(&b, 0, 0); err != nil || len(b.Records) != 400 {
		t.Fatalf("after it passed: %d records, %v", len(b.Records), err)
	}
	broken = true
	for range 2 {
		if err := l.Batch(&b, 0, 0); err == nil {
			t.Fatal("no error")
		}
	}
	// It does not pass: what is in the sector is left out, after patience.
	var got []int
	for failures := 0; ; {
		if err := l.Batch(&b, 50, 0); err != nil {
			if failures++; failures > 40 {
				t.Fatal(err)
			}
			continue
		}
		if len(b.Records) == 0 {
			break
		}
		for _, r := range records(t, &b, 0) {
			got = append(got, number(r))
		}
		if err := l.Ack(b.Log, b.Last()); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) < 300 || len(got) > 399 || got[0] != 0 || got[len(got)-1] != 399 {
		t.Fatalf("there are %d", len(got))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// Opened on the broken disk, the log is not sure of its numbers in that file.
	if l, err = open(dir, o, d, maxSequence); err != nil {
		t.Fatal(err)
	}
	if l.ID() == id {
		t.Error("the id is the same, and the last file cannot be read")
	}
	if _, err := l.Append(context.Background(), rec(400)); err != nil {
		t.Fatal(err)
	}
	if got := numbers(t, l); !slices.Equal(got, []int{400}) {
		t.Errorf("at last there are %v", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
