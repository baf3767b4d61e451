package wal

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// sizeOf is what the log takes on the disk, by the disk.
func sizeOf(t testing.TB, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if err == nil {
			n += st.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFullDropsTheOldest(t *testing.T) {
	dir := fastDir(t)
	o := Options{MaxBytes: minLog, SegmentBytes: 32 << 10}
	l := mustOpen(t, dir, o)
	const n = 8000 // two and a half times what fits
	for i := 0; i < n; i += 10 {
		recs := make([]Record, 10)
		for j := range recs {
			recs[j] = wide(i + j)
		}
		if _, err := l.Append(context.Background(), recs...); err != nil {
			t.Fatal(err)
		}
		if i%500 == 0 {
			if size := sizeOf(t, dir); size > o.MaxBytes {
				t.Fatalf("the log has %d bytes", size)
			}
		}
	}
	st := mustStats(t, l)
	if st.Dropped == 0 || int64(st.Dropped)+st.Unacked != n || st.Last != n {
		t.Fatalf("stats %+v", st)
	}
	if st.Bytes != sizeOf(t, dir) || st.Bytes < o.MaxBytes*3/4 {
		t.Fatalf("the log says it has %d bytes, the disk says %d", st.Bytes, sizeOf(t, dir))
	}
	if st.Oldest != rec(int(st.Dropped)).Time {
		t.Fatalf("the oldest is of %v", st.Oldest.Time())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, dir, o)
	if again := mustStats(t, l); again != st {
		t.Fatalf("after a restart %+v, before %+v", again, st)
	}
	if got := numbers(t, l); !slices.Equal(got, ints(int(st.Dropped), n)) {
		t.Fatalf("there are %d records, %d to %d", len(got), got[0], got[len(got)-1])
	}
}

func TestSmallerBoundWhenOpenedAgain(t *testing.T) {
	dir := fastDir(t)
	l := mustOpen(t, dir, Options{MaxBytes: 3 * minLog})
	const n = 4000
	for i := 0; i < n; i += 40 {
		recs := make([]Record, 40)
		for j := range recs {
			recs[j] = wide(i + j)
		}
		if _, err := l.Append(context.Background(), recs...); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, dir, small())
	st := mustStats(t, l)
	if size := sizeOf(t, dir); size > minLog || st.Dropped == 0 || int64(st.Dropped)+st.Unacked != n {
		t.Fatalf("%d bytes, stats %+v", size, st)
	}
	if got := numbers(t, l); !slices.Equal(got, ints(int(st.Dropped), n)) {
		t.Fatalf("there are %d records", len(got))
	}
}

func TestFullStops(t *testing.T) {
	dir := fastDir(t)
	o := Options{MaxBytes: minLog, SegmentBytes: 32 << 10, WhenFull: Stop}
	l := mustOpen(t, dir, o)
	n := 0
	fill := func() {
		t.Helper()
		for {
			_, err := l.Append(context.Background(), wide(n))
			if errors.Is(err, ErrFull) && lh.CodeOf(err) == lh.Exhausted {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			n++
			if n > 10_000 {
				t.Fatal("the log is never full")
			}
		}
	}
	fill()
	if size := sizeOf(t, dir); size > o.appendLimit() || size < o.appendLimit()-2*o.SegmentBytes {
		t.Fatalf("the full log has %d bytes", size)
	}
	if st := mustStats(t, l); st.Dropped != 0 || st.Unacked != int64(n) {
		t.Fatalf("%d promised, %+v", n, st)
	}
	// A record that the hub refuses can be set aside all the same, and the rest goes on.
	var b wire.Batch
	if err := l.Batch(&b, 3, 0); err != nil {
		t.Fatal(err)
	}
	if err := l.SetAside(b.Log, 1, 1, "bad"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(context.Background(), wide(n)); !errors.Is(err, ErrFull) {
		t.Fatalf("still full: %v", err)
	}
	// Acked files make room.
	if err := l.Ack(b.Log, uint32(n/2)); err != nil {
		t.Fatal(err)
	}
	before := n
	fill()
	if n < before+before/3 {
		t.Fatalf("half was acked, and there was room for %d of %d", n-before, before)
	}
	if size := sizeOf(t, dir); size > o.MaxBytes {
		t.Fatalf("the log has %d bytes", size)
	}
	if got := numbers(t, l); !slices.Equal(got, ints(before/2, n)) {
		t.Fatalf("there are %d records, %d to %d of %d", len(got), got[0], got[len(got)-1], n)
	}
	if st := mustStats(t, l); st.Dropped != 0 || st.Aside != 1 {
		t.Fatalf("stats %+v", st)
	}
	big := make([]Record, n)
	for i := range big {
		big[i] = wide(i)
	}
	if _, err := l.Append(context.Background(), big...); lh.CodeOf(err) != lh.Invalid {
		t.Fatalf("more than half the log at once: %v", err)
	}
}

// budget makes a disk that is full when the log's files have that many bytes.
func budget(root string, most int64) (*tracer, *int64) {
	tr := &tracer{root: root}
	tr.fail = func(_ int, s step) (int, error) {
		if s.op != "write" && s.op != "create" {
			return 0, nil
		}
		var have int64
		for _, pattern := range []string{"*", "aside/*"} {
			names, err := filepath.Glob(filepath.Join(root, pattern))
			if err != nil {
				return 0, err
			}
			for _, n := range names {
				if st, err := os.Stat(n); err == nil && st.Mode().IsRegular() {
					have += st.Size()
				}
			}
		}
		if s.name == "cursor" {
			return 0, nil // it has its blocks
		}
		if have+int64(len(s.data)) > most {
			return int(max(most-have, 0)), syscall.ENOSPC
		}
		return 0, nil
	}
	return tr, &most
}

func TestDiskIsFullBeforeTheLog(t *testing.T) {
	for _, policy := range []Policy{DropOldest, Stop} {
		t.Run(string(policy), func(t *testing.T) {
			dir := fastDir(t)
			tr, room := budget(dir, 200_000)
			o := Options{MaxBytes: 4 << 20, SegmentBytes: 16 << 10, WhenFull: policy}
			l, err := open(dir, o, tr.disk(), maxSequence)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			n, refused := 0, 0
			for i := range 1500 {
				if i == 700 { // something else takes of the disk
					*room = 100_000
				}
				_, err := l.Append(context.Background(), wide(n))
				switch {
				case err == nil:
					n++
				case errors.Is(err, ErrFull) && errors.Is(err, syscall.ENOSPC):
					refused++
				default:
					t.Fatal(err)
				}
			}
			st := mustStats(t, l)
			if st.Unacked+int64(st.Dropped) != int64(n) {
				t.Errorf("%d promised, %+v", n, st)
			}
			got := numbers(t, l)
			if policy == DropOldest {
				if refused > 0 || st.Dropped == 0 || !slices.Equal(got, ints(int(st.Dropped), n)) {
					t.Errorf("%d refused, %d dropped, of %d there are %v", refused, st.Dropped, n, got)
				}
				return
			}
			if refused == 0 || st.Dropped > 0 || !slices.Equal(got, ints(0, n)) {
				t.Errorf("%d refused, %d dropped, of %d there are %v", refused, st.Dropped, n, got)
			}
			*room = 300_000
			if _, err := l.Append(context.Background(), wide(n)); err != nil {
				t.Errorf("when there is room again: %v", err)
			}
		})
	}
}

// The same on a file system that is really full.
func TestRealDiskIsFull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k,mode=0700"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	log := filepath.Join(dir, "log")
	l, err := Open(log, Options{SegmentBytes: 16 << 10, WhenFull: Stop})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for {
		_, err := l.Append(context.Background(), wide(n))
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if n++; n > 5000 {
			t.Fatal("the file system is never full")
		}
	}
	if err := l.Ack(l.ID(), 5); err != nil {
		t.Fatalf("a full disk stops the cursor: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = Open(log, Options{SegmentBytes: 16 << 10}); err != nil { // now it may drop
		t.Fatalf("a full disk stops the log from opening: %v", err)
	}
	for i := range 300 {
		if _, err := l.Append(context.Background(), wide(n+i)); err != nil {
			t.Fatal(err)
		}
	}
	st := mustStats(t, l)
	if got := numbers(t, l); st.Dropped == 0 || !slices.Equal(got, ints(5+int(st.Dropped), n+300)) {
		t.Fatalf("%d dropped, there are %d of %d", st.Dropped, len(got), n+300)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSetAside(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	l := mustOpen(t, dir, Options{SegmentBytes: minSegment, Now: func() time.Time { return at }})
	mustAppend(t, l, 0, 60)
	id := l.ID()
	if err := l.Ack(id, 10); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		log         uint64
		first, last uint32
		code        lh.Code
	}{
		"unacked before":  {id, 12, 13, lh.Conflict},
		"another log":     {id + 1, 11, 12, lh.Conflict},
		"beyond the last": {id, 11, 61, lh.Invalid},
		"turned round":    {id, 12, 11, lh.Invalid},
		"from nothing":    {id, 0, 11, lh.Invalid},
		"acked":           {id, 3, 10, ""},
	} {
		if err := l.SetAside(test.log, test.first, test.last, "x"); lh.CodeOf(err) != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if st := mustStats(t, l); st.Aside != 0 || st.Unacked != 50 {
		t.Fatalf("stats %+v", st)
	}
	reason := "the hub said:\n\"no\" \xff" + strings.Repeat("!", 5000)
	if err := l.SetAside(id, 11, 30, reason); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "aside", fmt.Sprintf("%016x-11-30.jsonl", id)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan()
	var head asideHead
	if err := json.Unmarshal(lines.Bytes(), &head); err != nil {
		t.Fatal(err)
	}
	if head.First != 11 || head.Last != 30 || head.Log != fmt.Sprintf("%016x", id) || !head.Time.Equal(at) ||
		!strings.HasPrefix(head.Reason, "the hub said:\n\"no\" \uFFFD!") || len(head.Reason) > maxReason+10 {
		t.Errorf("head %+v", head)
	}
	n := 10
	for ; lines.Scan(); n++ {
		var r asideRecord
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		want := rec(n)
		if r.Seq != uint32(n+1) || r.Time != want.Time || len(r.Values) != len(want.Values) {
			t.Fatalf("record %+v", r)
		}
		for _, v := range want.Values {
			flag := r.Flags[v.Channel]
			if flag == 0 {
				flag = lh.FlagGood
			}
			if r.Values[v.Channel] != v.Value || flag != v.Flag {
				t.Fatalf("record %+v, want %+v", r, want)
			}
		}
	}
	if n != 30 {
		t.Fatalf("there are records up to %d", n)
	}
	st := mustStats(t, l)
	if st.Aside != 20 || st.Unacked != 30 || st.Acked != 30 || st.Bytes != sizeOf(t, dir) {
		t.Fatalf("stats %+v", st)
	}
	if err := l.SetAside(id, 11, 30, "again"); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, dir, Options{SegmentBytes: minSegment})
	if again := mustStats(t, l); again != st {
		t.Fatalf("after a restart %+v, before %+v", again, st)
	}
	wantRecords(t, drain(t, l, 0, 0), 30, 30)
}

// What is set aside counts among the log's bytes, and is the first to go when a full log may drop.
func TestAsideIsBounded(t *testing.T) {
	dir := fastDir(t)
	o := Options{MaxBytes: minLog, SegmentBytes: 16 << 10}
	l := mustOpen(t, dir, o)
	set := 0
	for i := range 900 {
		recs := make([]Record, 5)
		for j := range recs {
			recs[j] = wide(5*i + j)
		}
		first, err := l.Append(context.Background(), recs...)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.SetAside(l.ID(), first, first+4, "never"); err != nil {
			t.Fatal(err)
		}
		set += 5
		if i%100 == 0 && sizeOf(t, dir) > o.MaxBytes {
			t.Fatalf("the log has %d bytes", sizeOf(t, dir))
		}
	}
	st := mustStats(t, l)
	files, err := filepath.Glob(filepath.Join(dir, "aside", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if int(st.Aside) != set || int(st.Dropped) != set-5*len(files) || len(files) == 0 || len(files) > 800 || st.Unacked != 0 {
		t.Fatalf("%d files, stats %+v", len(files), st)
	}
}

// Many append, one uploads, one asks, and files are dropped under all of them.
func TestDroppingUnderReaders(t *testing.T) {
	l := mustOpen(t, fastDir(t), Options{MaxBytes: minLog, SegmentBytes: 8 << 10})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int)
	for w := range 3 {
		go func() {
			n := 0
			for ctx.Err() == nil {
				if _, err := l.Append(ctx, wide(w*1_000_000+n)); err == nil {
					n++
				} else if ctx.Err() == nil {
					t.Error(err)
				}
			}
			done <- n
		}()
	}
	got := map[int]int{}
	last := [3]int{-1, -1, -1}
	var b wire.Batch
	read := func() int {
		if err := l.Batch(&b, 5, 0); err != nil {
			t.Error(err)
			return 0
		}
		for _, r := range records(t, &b, 0) {
			n := number(r)
			got[n]++
			if w := n / 1_000_000; n%1_000_000 <= last[w] {
				t.Errorf("record %d comes after %d", n, last[w])
			} else {
				last[w] = n % 1_000_000
			}
		}
		if len(b.Records) > 0 {
			if err := l.Ack(b.Log, b.Last()); err != nil {
				t.Error(err)
			}
		}
		return len(b.Records)
	}
	for mustStats(t, l).Dropped < 1500 && !t.Failed() {
		read() // slower than they write, so that the log is full most of the time
	}
	cancel()
	appended := <-done + <-done + <-done
	for read() > 0 {
	}
	st := mustStats(t, l)
	for n, times := range got {
		if times != 1 {
			t.Errorf("record %d came %d times", n, times)
		}
	}
	// A file that is dropped between Batch and Ack was handed out and counted as dropped.
	if len(got)+int(st.Dropped) < appended || len(got) > appended {
		t.Errorf("%d appended, %d came, %d dropped", appended, len(got), st.Dropped)
	}
}
