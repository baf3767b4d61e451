package series_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

var ctx = context.Background()

// start runs an engine that folds only when told to, and returns it with what stops it.
func start(t testing.TB, db *store.DB, o series.Options) (*series.Engine, func()) {
	t.Helper()
	o.Scope = storetest.HubScope
	if o.FoldAge == 0 {
		o.FoldAge = time.Hour
	}
	e := series.New(db, o)
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- e.Run(run) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("engine: %v", err)
		}
	})
	t.Cleanup(stop)
	return e, stop
}

// logger is a device that uploads.
type logger struct {
	device   lh.Device
	own      store.Scope
	elements []lh.Element
	epoch    uint32
	seq      uint32
}

func newLogger(t testing.TB, db *store.DB, sc store.Scope, channels ...string) *logger {
	d, own, els := storetest.DeviceScope(t, db, sc, channels...)
	return &logger{device: d, own: own, elements: els, epoch: 1000, seq: 1}
}

// upload builds the upload of some records.
func (l *logger) upload(t testing.TB, first uint32, records ...wire.Record) series.Upload {
	t.Helper()
	b := &wire.Batch{Log: 1, First: first, Records: records}
	u := series.Upload{Scope: l.own, Device: l.device.ID, Received: 5e12, Epoch: l.epoch, Sequence: first, NotBefore: lh.MinMillis, NotAfter: lh.MaxMillis, Batch: b}
	for _, e := range l.elements {
		b.Channels = append(b.Channels, e.Channel)
		u.Elements = append(u.Elements, e.ID)
	}
	var err error
	if u.Raw, err = b.Append(nil); err != nil {
		t.Fatal(err)
	}
	return u
}

func record(at lh.Millis, values ...float64) wire.Record {
	r := wire.Record{Time: at}
	for i, v := range values {
		if !math.IsNaN(v) {
			r.Values = append(r.Values, wire.Value{Channel: uint16(i), Flag: lh.FlagGood, Value: v})
		}
	}
	return r
}

func read(t testing.TB, e *series.Engine, sc store.Scope, el lh.Element, from, to lh.Millis) []lh.Sample {
	t.Helper()
	var out []lh.Sample
	for s, err := range e.Read(ctx, sc, el, from, to) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// TestModel plays random uploads, late, repeated, overwritten and out of order, with folds and restarts in between,
// against a plain map.
func TestModel(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		for seed := range uint64(3) {
			t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { model(t, o, seed) })
		}
	})
}

func model(t *testing.T, o store.Options, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 99))
	db := storetest.Open(t, o)
	sc := storetest.Project(t, db)
	e, stop := start(t, db, series.Options{FoldBite: 2000})
	loggers := []*logger{newLogger(t, db, sc, "a", "b"), newLogger(t, db, sc, "c")}
	want := map[lh.ElementID]map[lh.Millis]lh.Sample{}
	base := lh.DayStart(20000)
	span := int64(4 * lh.DayMillis)
	var held []series.Upload
	put := func(u series.Upload) {
		if err := e.Append(ctx, u); err != nil {
			t.Fatal(err)
		}
		u.Each(func(c uint16, s lh.Sample) {
			m := want[u.Elements[c]]
			if m == nil {
				m = map[lh.Millis]lh.Sample{}
				want[u.Elements[c]] = m
			}
			if old, ok := m[s.Time]; !ok || s.Rank >= old.Rank {
				m[s.Time] = s
			}
		})
	}
	verify := func() {
		t.Helper()
		for _, l := range loggers {
			for _, el := range l.elements {
				from := base + lh.Millis(r.Int64N(span)) - lh.DayMillis
				to := from + lh.Millis(r.Int64N(span))
				if r.IntN(3) == 0 {
					from, to = lh.MinMillis, lh.MaxMillis
				}
				var w []lh.Sample
				for _, at := range slices.Sorted(maps.Keys(want[el.ID])) {
					if at >= from && at < to {
						w = append(w, want[el.ID][at])
					}
				}
				if got := read(t, e, sc, el, from, to); !slices.Equal(got, w) {
					t.Fatalf("element %s: %d samples, want %d\n%v\n%v", el.Channel, len(got), len(w), got, w)
				}
				compareReduced(t, e, sc, el, from, to, series.View{}, w, 2+r.IntN(60))
			}
		}
	}
	for step := range 120 {
		l := loggers[r.IntN(len(loggers))]
		switch r.IntN(12) {
		case 0:
			if err := e.FoldNow(ctx); err != nil {
				t.Fatal(err)
			}
		case 1:
			verify()
		case 2:
			if len(held) > 0 { // an upload that was delayed, or is repeated
				k := r.IntN(len(held))
				put(held[k])
			}
		case 3:
			l.epoch, l.seq = l.epoch+1, 1 // the device got a new log
		case 4:
			if step%3 == 0 { // restart
				stop()
				e, stop = start(t, db, series.Options{FoldBite: 2000})
			}
		default:
			var records []wire.Record
			at := base + lh.Millis(r.Int64N(span)/10000*10000) // coarse, so that times meet
			for range 1 + r.IntN(40) {
				at += lh.Millis(10000 * (1 + r.Int64N(3)))
				vs := make([]float64, len(l.elements))
				for i := range vs {
					if vs[i] = math.Round(r.NormFloat64()*100) / 100; r.IntN(10) == 0 {
						vs[i] = math.NaN()
					}
				}
				records = append(records, record(at, vs...))
			}
			u := l.upload(t, l.seq, records...)
			l.seq += uint32(len(records))
			if r.IntN(4) == 0 {
				held = append(held, u) // comes later than its successors
			} else {
				put(u)
				held = append(held, u)
			}
		}
	}
	verify()
	if err := e.FoldNow(ctx); err != nil {
		t.Fatal(err)
	}
	verify()
	if bs, err := db.JournalBacklog(ctx); err != nil || len(bs) != 0 {
		t.Errorf("left in the journal: %+v %v", bs, err)
	}
	if p := e.Problems(); len(p) > 0 {
		t.Error(p)
	}
}

// compareReduced holds ReduceView against the slow way: all is what the view shows in the range.
func compareReduced(t *testing.T, e *series.Engine, sc store.Scope, el lh.Element, from, to lh.Millis, v series.View, all []lh.Sample, points int) {
	t.Helper()
	got, err := e.ReduceView(ctx, sc, el, from, to, points, v)
	if err != nil {
		t.Fatal(err)
	}
	var gaps [][2]lh.Millis
	for i := 1; i < len(all); i++ {
		if el.Interval > 0 && float64(all[i].Time-all[i-1].Time) > 2.5*float64(el.Interval) {
			gaps = append(gaps, [2]lh.Millis{all[i-1].Time, all[i].Time})
		}
	}
	if got.Count != int64(len(all)) || !slices.Equal(got.Gaps, gaps[:min(len(gaps), 1000)]) {
		t.Fatalf("count %d, want %d; gaps %v, want %v", got.Count, len(all), got.Gaps, gaps)
	}
	if len(all) <= points {
		if got.Reduced || !slices.Equal(got.Samples, all) {
			t.Fatalf("few samples were not given raw")
		}
		return
	}
	var want []lh.Sample
	buckets := int64(points / 2)
	first, width := all[0].Time, int64(all[len(all)-1].Time-all[0].Time)+1
	for i := 0; i < len(all); {
		b := int64(all[i].Time-first) * buckets / width
		least, greatest := all[i], all[i]
		for ; i < len(all) && int64(all[i].Time-first)*buckets/width == b; i++ {
			if all[i].Value < least.Value {
				least = all[i]
			}
			if all[i].Value > greatest.Value {
				greatest = all[i]
			}
		}
		if least.Time > greatest.Time {
			least, greatest = greatest, least
		}
		least.Rank, greatest.Rank = 0, 0
		want = append(want, least)
		if least.Time != greatest.Time {
			want = append(want, greatest)
		}
	}
	if !got.Reduced || len(got.Samples) > points || !slices.Equal(got.Samples, want) {
		t.Fatalf("reduced to %d points:\n%v\nwant\n%v", points, got.Samples, want)
	}
}

// TestReadersDuringFoldsSeeEachSampleOnce reads while uploads come and are folded.
func TestReadersDuringFoldsSeeEachSampleOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		l := newLogger(t, db, sc, "a")
		e, _ := start(t, db, series.Options{FoldAge: 20 * time.Millisecond})
		const n = 150
		var acked sync.Map
		var done sync.WaitGroup
		stop := make(chan struct{})
		for range 2 {
			done.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					var before []lh.Millis
					acked.Range(func(k, _ any) bool { before = append(before, k.(lh.Millis)); return true })
					seen := map[lh.Millis]bool{}
					last := lh.Millis(math.MinInt64)
					for s, err := range e.Read(ctx, sc, l.elements[0], lh.MinMillis, lh.MaxMillis) {
						if err != nil {
							t.Error(err)
							return
						}
						if s.Time <= last {
							t.Errorf("time %d after %d", s.Time, last)
						}
						last = s.Time
						seen[s.Time] = true
					}
					for _, at := range before {
						if !seen[at] {
							t.Errorf("sample of %d was acknowledged and is not read", at)
						}
					}
				}
			})
		}
		for i := range n {
			at := lh.DayStart(20000) + lh.Millis(i%3)*lh.DayMillis + lh.Millis(i)*1000
			if err := e.Append(ctx, l.upload(t, uint32(i+1), record(at, float64(i)))); err != nil {
				t.Fatal(err)
			}
			acked.Store(at, true)
		}
		close(stop)
		done.Wait()
		if got := read(t, e, sc, l.elements[0], lh.MinMillis, lh.MaxMillis); len(got) != n {
			t.Errorf("%d samples, want %d", len(got), n)
		}
	})
}

func TestImpossibleTimesAreFlaggedAndNeverLatest(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		l := newLogger(t, db, sc, "a")
		e, _ := start(t, db, series.Options{})
		now := lh.Millis(1795516755814)
		future := lh.Millis(2085978496000) // 2036
		u := l.upload(t, 1, record(0, 1), record(now-1000, 2), record(future, 3))
		u.NotBefore, u.NotAfter = 1e12, now+600000
		if err := e.Append(ctx, u); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			got := read(t, e, sc, l.elements[0], lh.MinMillis, lh.MaxMillis)
			if len(got) != 3 || got[0].Flag != lh.FlagSuspect || got[1].Flag != lh.FlagGood || got[2].Flag != lh.FlagSuspect {
				t.Errorf("%+v", got)
			}
			if ls, err := db.Latest(ctx, sc, nil); err != nil || len(ls) != 1 || ls[0].Sample.Value != 2 {
				t.Errorf("latest %+v %v", ls, err)
			}
			if err := e.FoldNow(ctx); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestWhatCannotBeReadStaysAndTheRestGoesOn damages one chunk and one journal row.
func TestWhatCannotBeReadStaysAndTheRestGoesOn(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		l := newLogger(t, db, sc, "a", "b")
		e, _ := start(t, db, series.Options{})
		day := lh.DayStart(20000)
		hub := storetest.HubScope(sc.Project())
		broken := store.Chunk{Element: l.elements[0].ID, Day: 20000, Body: []byte("LHS1 not a chunk at all"), Summary: []byte{1}}
		if err := db.Fold(ctx, hub, []store.Chunk{broken}, nil, nil); err != nil {
			t.Fatal(err)
		}
		garbage := store.JournalAppend{Scope: l.own, Device: l.device.ID, Received: 1, Samples: 1, Body: []byte("garbage")}
		if err := db.AppendJournal(ctx, []store.JournalAppend{garbage}); err != nil {
			t.Fatal(err)
		}
		if err := e.Append(ctx, l.upload(t, 1, record(day+1000, 1, 10))); err != nil { // belongs into the broken chunk
			t.Fatal(err)
		}
		if err := e.Append(ctx, l.upload(t, 2, record(day+2000, math.NaN(), 20), record(day+lh.DayMillis, 2, 30))); err != nil {
			t.Fatal(err)
		}
		if err := e.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		if bs, err := db.JournalBacklog(ctx); err != nil || len(bs) != 1 || bs[0].Rows != 2 {
			t.Errorf("in the journal: %+v %v; want the garbage and the row of the broken chunk", bs, err)
		}
		got := read(t, e, sc, l.elements[1], day, day+2*lh.DayMillis)
		if len(got) != 3 || got[0].Value != 10 || got[1].Value != 20 || got[2].Value != 30 {
			t.Errorf("the other element: %+v", got)
		}
		if p := e.Problems(); len(p) != 2 {
			t.Errorf("problems: %q", p)
		}
		for _, err := range e.Read(ctx, sc, l.elements[0], day, day+1) {
			if err == nil {
				t.Error("the broken chunk reads as if nothing were wrong")
			}
		}
	})
}

func TestBackPressureSaysLater(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	sc := storetest.Project(t, db)
	l := newLogger(t, db, sc, "a")
	e, stop := start(t, db, series.Options{Backlog: 1})
	if err := e.Append(ctx, l.upload(t, 1, record(1, 1))); err != nil {
		t.Fatal(err)
	}
	if err := e.Append(ctx, l.upload(t, 2, record(2, 2))); lh.CodeOf(err) != lh.Unavailable {
		t.Errorf("over the backlog: %v", err)
	}
	if err := e.FoldNow(ctx); err != nil {
		t.Fatal(err)
	}
	if err := e.Append(ctx, l.upload(t, 2, record(2, 2))); err != nil {
		t.Errorf("after a fold: %v", err)
	}
	stop()
	if err := e.Append(ctx, l.upload(t, 3, record(3, 3))); lh.CodeOf(err) != lh.Unavailable {
		t.Errorf("after the stop: %v", err)
	}
	e, _ = start(t, db, series.Options{QueueBytes: 10})
	if err := e.Append(ctx, l.upload(t, 3, record(3, 3))); lh.CodeOf(err) != lh.Unavailable {
		t.Errorf("over the queue: %v", err)
	}
	if got := read(t, e, sc, l.elements[0], 0, 10); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

// TestOneBadUploadDoesNotTakeTheGroup puts an upload of a device that does not exist between good ones.
func TestOneBadUploadDoesNotTakeTheGroup(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		l := newLogger(t, db, sc, "a")
		e, _ := start(t, db, series.Options{})
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				u := l.upload(t, uint32(i+1), record(lh.Millis(i), float64(i)))
				bad := i%10 == 3
				if bad {
					u.Device = lh.NewDeviceID()
				}
				if err := e.Append(ctx, u); (err != nil) != bad {
					t.Errorf("upload %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if got := read(t, e, sc, l.elements[0], 0, 100); len(got) != 36 {
			t.Errorf("%d samples", len(got))
		}
	})
}
