package wal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// place is where a record is in the logs of a folder.
type place struct {
	log uint64
	seq uint32
}

// promise is what the log had promised when a step was about to be taken.
type promise struct {
	steps   int
	records map[place]int // the record that Append said is durable
	acked   place         // Ack said that this is durable
	tried   place         // an Ack to here was begun
	aside   []string      // files SetAside said are there
	record  func(n int) Record
}

// wide is a record that takes some hundreds of bytes, so that files are soon full.
func wide(n int) Record {
	r := rec(n)
	for i := range 12 {
		r.Values = append(r.Values, Value{fmt.Sprintf("8/%s/%d", strings.Repeat("channel", 4), i), lh.FlagGood, float64(n * i)})
	}
	return r
}

// workload does what a device does for some time, and notes what it was promised, step by step.
type workload struct {
	t        testing.TB
	tr       *tracer
	l        *Log
	dir      string
	n        int
	record   func(n int) Record
	now      promise
	promises []promise
}

func (w *workload) note() {
	p := w.now
	p.steps = w.tr.count()
	p.records = maps.Clone(w.now.records)
	p.aside = slices.Clone(w.now.aside)
	w.promises = append(w.promises, p)
}

func (w *workload) append(n int) error {
	recs := make([]Record, n)
	for i := range recs {
		recs[i] = w.record(w.n + i)
	}
	w.n += n
	first, err := w.l.Append(context.Background(), recs...)
	if err != nil {
		return err
	}
	// The numbers have no holes, unless a write failed in between.
	found := 0
	for _, s := range w.l.segments[max(len(w.l.segments)-5, 0):] {
		if err := eachRecord(w.dir, s, func(seq uint32, body []byte) error {
			if got := number(decodeBody(body)); got >= w.n-n && (got > w.n-n || seq == first) {
				w.now.records[place{s.log, seq}] = got
				found++
			}
			return nil
		}); err != nil {
			w.t.Fatal(err)
		}
	}
	if found != n {
		w.t.Fatalf("Append of %d records put %d on the disk", n, found)
	}
	w.note()
	return nil
}

func (w *workload) upload(records int, aside bool) error {
	var b wire.Batch
	if err := w.l.Batch(&b, records, 0); err != nil || len(b.Records) == 0 {
		return err
	}
	for i, r := range b.Records {
		// What is handed out is durable, so from now on it is promised, too.
		p := place{b.Log, b.First + uint32(i)}
		n := number(Record{Time: r.Time})
		if have, ok := w.now.records[p]; ok && have != n {
			w.t.Fatalf("record %d stands where record %d was promised", n, have)
		}
		w.now.records[p] = n
	}
	w.now.tried = place{b.Log, b.Last()}
	w.note()
	var err error
	if aside {
		err = w.l.SetAside(b.Log, b.First, b.Last(), "the hub cannot read it")
		if err == nil {
			w.now.aside = append(w.now.aside, fmt.Sprintf(asideName, b.Log, b.First, b.Last()))
		}
	} else {
		err = w.l.Ack(b.Log, b.Last())
	}
	if err != nil {
		return err
	}
	w.now.acked = w.now.tried
	w.note()
	return nil
}

func (w *workload) reopen(o Options) error {
	if w.l != nil {
		if err := w.l.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
	var err error
	w.l, err = open(w.dir, o, w.tr.disk(), maxSequence)
	return err
}

func newWorkload(t testing.TB, dir string) *workload {
	w := &workload{t: t, dir: dir, tr: &tracer{root: dir}, record: wide}
	w.now.record = wide
	w.now.records = map[place]int{}
	return w
}

// check opens what a power cut left and holds it against what was promised.
func check(t testing.TB, dir string, o Options, p promise, what string) {
	t.Helper()
	l, err := Open(dir, o)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer l.Close()
	got := map[place]int{}
	var order []place
	var b wire.Batch
	for {
		if err := l.Batch(&b, 7, 0); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if len(b.Records) == 0 {
			break
		}
		for i, r := range records(t, &b, 0) {
			at := place{b.Log, b.First + uint32(i)}
			got[at] = number(r)
			order = append(order, at)
			if want := p.record(got[at]); fmt.Sprint(want) != fmt.Sprint(r) {
				t.Fatalf("%s: record %v is %v", what, at, r)
			}
		}
		if err := l.Ack(b.Log, b.Last()); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for at, n := range p.records {
		have, ok := got[at]
		switch {
		case ok && have != n:
			t.Fatalf("%s: %v is record %d, promised was %d", what, at, have, n)
		case ok && at.log == p.acked.log && at.seq <= p.acked.seq:
			t.Fatalf("%s: %v came again; acked was up to %v", what, at, p.acked)
		case !ok && !(at.log == p.tried.log && at.seq <= p.tried.seq):
			t.Fatalf("%s: record %d at %v is lost; acked up to %v, tried %v; there are %v", what, n, at, p.acked, p.tried, order)
		}
	}
	for _, name := range p.aside {
		text, err := os.ReadFile(filepath.Join(dir, "aside", name))
		if err != nil || !strings.HasSuffix(string(text), "}\n") {
			t.Fatalf("%s: %s: %v", what, name, err)
		}
	}
	// The next record gets a number that no other was promised, nor is there.
	first, err := l.Append(context.Background(), wide(999_999))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	next := place{l.ID(), first}
	if n, ok := p.records[next]; ok {
		t.Fatalf("%s: the number %v of record %d is given again", what, next, n)
	}
	if n, ok := got[next]; ok {
		t.Fatalf("%s: the number %v of record %d is given again", what, next, n)
	}
	if err := l.Batch(&b, 0, 0); err != nil || len(b.Records) != 1 || b.First != first {
		t.Fatalf("%s: the new record does not come: %d records, %v", what, len(b.Records), err)
	}
}

// The power goes at every single step of a device's work, and each time in several ways for what was not synced.
func TestPowerCutAtEveryStep(t *testing.T) {
	o := Options{MaxBytes: minLog, SegmentBytes: minSegment, KeepAcked: 2 * minSegment}
	w := newWorkload(t, fastDir(t))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w.note()
	must(w.reopen(o))
	for i := range 14 {
		must(w.append(1 + i%3))
		if i%2 == 1 {
			must(w.upload(3, i%6 == 5))
		}
		if i%5 == 4 {
			must(w.reopen(o))
		}
	}
	must(w.append(25)) // over several files
	for range 6 {
		must(w.upload(9, false))
	}
	must(w.append(3))
	must(w.l.Close())
	if files, err := filepath.Glob(filepath.Join(w.dir, "*.seg")); err != nil || len(files) < 2 {
		t.Fatalf("%d files, %v", len(files), err)
	}

	rng := rand.New(rand.NewPCG(1, 2))
	ways := cuts(rng)
	names := slices.Sorted(maps.Keys(ways))
	at := 0
	for k := 0; k <= len(w.tr.steps); k++ {
		for at+1 < len(w.promises) && w.promises[at+1].steps <= k {
			at++
		}
		for _, name := range names {
			content, exists := ways[name]()
			dir, err := os.MkdirTemp(w.dir, "cut")
			must(err)
			writeFiles(t, dir, afterCut(w.tr.steps[:k], content, exists))
			check(t, dir, o, w.promises[at], fmt.Sprintf("%s after step %d of %d", name, k, len(w.tr.steps)))
			must(os.RemoveAll(dir))
		}
	}
	t.Logf("%d steps, %d ways", len(w.tr.steps), len(names))
}

// The last file ends at each of its bytes, with and without rubbish behind it; so does the cursor.
func TestPowerCutAtEveryByte(t *testing.T) {
	o := small()
	w := newWorkload(t, fastDir(t))
	if err := w.reopen(o); err != nil {
		t.Fatal(err)
	}
	w.record, w.now.record = rec, rec
	var ends []int // bytes of the last file after each record
	var last string
	for w.n < 46 {
		if err := w.append(1); err != nil {
			t.Fatal(err)
		}
		s := w.l.segments[len(w.l.segments)-1]
		if name := filepath.Base(segmentName("", s.index)); name != last {
			last, ends = name, nil
		}
		ends = append(ends, int(s.end))
	}
	if err := w.upload(5, false); err != nil {
		t.Fatal(err)
	}
	if err := w.l.Close(); err != nil {
		t.Fatal(err)
	}
	files := readFiles(t, w.dir)
	whole := files[last]
	rng := rand.New(rand.NewPCG(3, 4))
	rubbish := make([]byte, 700)
	for i := range rubbish {
		rubbish[i] = byte(rng.Uint32())
	}
	old := files["000000000001.seg"][headerSize : headerSize+700] // what a block was used for before: records of this log
	tails := [][]byte{nil, {0}, make([]byte, 700), rubbish, old}
	if testing.Short() {
		tails = tails[:1]
	}
	for cut := range len(whole) + 1 {
		kept := 0
		for _, e := range ends {
			if e <= cut {
				kept++
			}
		}
		p := w.now
		p.records = maps.Clone(p.records)
		for at, n := range p.records {
			if n >= w.n-len(ends)+kept {
				delete(p.records, at)
			}
		}
		for i, tail := range tails {
			if i > 0 && cut%3 != 0 || i > 2 && cut%9 != 0 {
				continue
			}
			dir, err := os.MkdirTemp(w.dir, "cut")
			if err != nil {
				t.Fatal(err)
			}
			files[last] = append(slices.Clone(whole[:cut]), tail...)
			writeFiles(t, dir, files)
			check(t, dir, o, p, fmt.Sprintf("cut at byte %d, tail %d", cut, i))
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	files[last] = whole
	cursor := files["cursor"]
	for cut := range slotSize {
		for slot := range 2 {
			p := w.now
			files["cursor"] = slices.Clone(cursor)
			if slot == 0 {
				files["cursor"] = files["cursor"][:cut]
			} else {
				files["cursor"][cut] ^= 0x55
				files["cursor"][slotStep+cut] ^= 0x55
			}
			p.acked = place{} // it may come again
			dir, err := os.MkdirTemp(w.dir, "cut")
			if err != nil {
				t.Fatal(err)
			}
			writeFiles(t, dir, files)
			check(t, dir, o, p, fmt.Sprintf("cursor cut at byte %d", cut))
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Every step of a device's work fails once, with a full disk or a broken one, and then the power goes.
func TestEveryStepFails(t *testing.T) {
	o := Options{MaxBytes: minLog, SegmentBytes: minSegment, KeepAcked: minSegment, WhenFull: Stop}
	work := func(dir string, fail func(int, step) (int, error)) (w *workload, failed int) {
		w = newWorkload(t, dir)
		w.tr.fail = fail
		try := func(err error) {
			if err != nil {
				failed++
				if errors.Is(err, syscall.ENOSPC) && !errors.Is(err, ErrFull) && lh.CodeOf(err) != lh.Internal {
					t.Fatalf("a full disk is %v", err)
				}
			}
		}
		for range 5 { // opening may fail, too
			if err := w.reopen(o); err == nil {
				break
			}
			w.l = nil
			failed++
		}
		if w.l == nil {
			t.Fatal("the log does not open")
		}
		for i := range 8 {
			try(w.append(1 + 5*(i%2)))
			if i%3 == 2 {
				try(w.upload(8, i == 5))
			}
		}
		try(w.append(2))
		if err := w.l.Close(); err != nil {
			t.Fatal(err)
		}
		return w, failed
	}
	root := fastDir(t)
	dir := filepath.Join(root, "whole")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	whole, failed := work(dir, nil)
	if failed != 0 {
		t.Fatal("without a failure something failed")
	}
	for k := range whole.tr.steps {
		for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
			for _, times := range []int{1, 3} {
				dir := filepath.Join(root, "failing")
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				w, _ := work(dir, func(n int, s step) (int, error) {
					if n >= k && n < k+times {
						return len(s.data) / 2, cause
					}
					return 0, nil
				})
				what := fmt.Sprintf("%d times %v at step %d (%s %s)", times, cause, k, whole.tr.steps[k].op, whole.tr.steps[k].name)
				check(t, dir, o, w.now, what)
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	t.Logf("%d steps", len(whole.tr.steps))
}

// The program is killed at every step, its unsynced writes still readable; it starts again and hands out what it finds;
// then the power goes. What was handed out must be there still: its numbers are taken.
func TestKilledAndThenPowerCut(t *testing.T) {
	o := Options{MaxBytes: minLog, SegmentBytes: minSegment, KeepAcked: 2 * minSegment}
	killed := errors.New("killed")
	root := fastDir(t)
	rng := rand.New(rand.NewPCG(5, 6))
	ways := cuts(rng)
	for k := 1; ; k++ {
		dir := filepath.Join(root, "work")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		w := newWorkload(t, dir)
		alive := true
		w.tr.fail = func(n int, s step) (int, error) {
			if n == k || !alive {
				alive = false
				return len(s.data), killed // a write is done, the sync behind it is not
			}
			return 0, nil
		}
		err := w.reopen(o)
		for i := 0; err == nil && i < 4; i++ {
			if err = w.append(2); err == nil {
				err = w.upload(1, i == 2)
			}
		}
		if alive {
			if err := w.l.Close(); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d steps", k)
			return
		}
		if w.l != nil {
			if err := w.l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		// Of the step that failed as much as was done stands in the trace; what came after it was nothing.
		w.tr.steps = w.tr.steps[:k+1]
		if s := w.tr.steps[k]; s.op != "write" {
			w.tr.steps = w.tr.steps[:k]
		}
		w.tr.fail = nil
		w.l = nil
		if err := w.reopen(o); err != nil {
			t.Fatal(err)
		}
		var b wire.Batch
		if err := w.l.Batch(&b, 0, 0); err != nil {
			t.Fatal(err)
		}
		for i, r := range b.Records {
			w.now.records[place{b.Log, b.First + uint32(i)}] = number(Record{Time: r.Time})
		}
		if err := w.l.Close(); err != nil {
			t.Fatal(err)
		}
		for _, name := range slices.Sorted(maps.Keys(ways)) {
			content, exists := ways[name]()
			cut, err := os.MkdirTemp(root, "cut")
			if err != nil {
				t.Fatal(err)
			}
			writeFiles(t, cut, afterCut(w.tr.steps, content, exists))
			check(t, cut, o, w.now, fmt.Sprintf("%s after a kill at step %d", name, k))
			if err := os.RemoveAll(cut); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}
