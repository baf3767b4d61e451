package series

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

func counted(t *testing.T, c prometheus.Counter) int {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return int(m.GetCounter().GetValue())
}

// running starts an engine that folds only when told to.
func running(t *testing.T, db *store.DB, o Options) (e *Engine, crash func()) {
	t.Helper()
	o.Scope = storetest.HubScope
	if o.FoldAge == 0 {
		o.FoldAge = time.Hour
	}
	e = New(db, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return e, func() { // the database is closed under it: nothing is folded any more
		if err := db.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		<-done // fails, the database being closed
	}
}

type station struct {
	device lh.DeviceID
	own    store.Scope
	el     lh.Element
	seq    uint32
}

func newStation(t *testing.T, db *store.DB, sc store.Scope) *station {
	d, own, els := storetest.DeviceScope(t, db, sc, "1/level")
	return &station{d.ID, own, els[0], 1}
}

// next is the station's next upload, of one sample a minute.
func (s *station) next(t *testing.T, samples int) Upload {
	t.Helper()
	b := &wire.Batch{Log: 1, First: s.seq, Channels: []string{"1/level"}}
	for i := range samples {
		at := lh.DayStart(20000) + lh.Millis(int(s.seq)+i)*60_000
		b.Records = append(b.Records, wire.Record{Time: at, Values: []wire.Value{{Value: float64(i), Flag: lh.FlagGood}}})
	}
	raw, err := b.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	u := Upload{Scope: s.own, Device: s.device, Received: lh.DayStart(20001), Epoch: 1, Sequence: s.seq, Elements: []lh.ElementID{s.el.ID}, NotAfter: lh.MaxMillis, Raw: raw, Batch: b}
	s.seq += uint32(samples)
	return u
}

func count(t *testing.T, e *Engine, sc store.Scope, el lh.Element) (n int) {
	t.Helper()
	for _, err := range e.Read(context.Background(), sc, el, lh.MinMillis, lh.MaxMillis) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// A start after a crash reads of the journal what is unfolded, and a hub that was not interrupted reads nothing of it.
func TestStartReadsOnlyWhatIsUnfolded(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		ctx := context.Background()
		keep := storetest.Open(t, o)
		sc := storetest.Project(t, keep)
		stations := []*station{newStation(t, keep, sc), newStation(t, keep, sc), newStation(t, keep, sc)}
		db, err := store.Open(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		e, crash := running(t, db, Options{})
		for range 40 {
			for _, s := range stations {
				if err := e.Append(ctx, s.next(t, 3)); err != nil {
					t.Fatal(err)
				}
			}
		}
		// One device is folded, and its rows are not purged.
		if err := e.look(ctx); err != nil {
			t.Fatal(err)
		}
		for _, tl := range e.due(true, "") {
			if tl.device == stations[0].device {
				if _, err := e.foldTails(ctx, []*tail{tl}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if n := counted(t, e.readBack); n != 0 {
			t.Errorf("a hub has read %d rows back that it had in memory", n)
		}
		for range 5 {
			if err := e.Append(ctx, stations[1].next(t, 3)); err != nil {
				t.Fatal(err)
			}
		}
		crash()
		if db, err = store.Open(ctx, o); err != nil {
			t.Fatal(err)
		}
		e, crash = running(t, db, Options{})
		defer crash()
		if err := e.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		if n := counted(t, e.readBack); n != 45+40 {
			t.Errorf("after a crash %d rows were read, and %d are not folded", n, 45+40)
		}
		for i, want := range []int{120, 135, 120} {
			if n := count(t, e, sc, stations[i].el); n != want {
				t.Errorf("station %d has %d samples, want %d", i, n, want)
			}
		}
		if p := e.Problems(); len(p) > 0 {
			t.Errorf("problems: %q", p)
		}
	})
}

// While folds do not keep up with what comes, memory stays bounded, and at the bound of the backlog devices are told
// "later"; when folds go on, all of it is there.
func TestBurstIsBounded(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		sc := storetest.Project(t, db)
		stations := []*station{newStation(t, db, sc), newStation(t, db, sc), newStation(t, db, sc)}
		o := Options{Scope: storetest.HubScope, FoldAge: time.Hour, FoldBytes: 4 << 10, FoldWaiting: 16 << 10, Backlog: 64 << 10}
		e := New(db, o)
		e.folding <- struct{}{} // somebody folds, and does not come to an end
		run, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- e.Run(run) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		acked := map[*station]int{}
		later := 0
		for i := 0; later < 3; i++ {
			s := stations[i%len(stations)]
			u := s.next(t, 50)
			err := e.Append(ctx, u)
			switch {
			case err == nil:
				acked[s] += 50
			case lh.CodeOf(err) == lh.Unavailable:
				later++
			default:
				t.Fatal(err)
			}
			e.tailsMu.Lock()
			kept, sum := e.kept, int64(0)
			for _, tl := range e.tails {
				for _, r := range tl.rows {
					sum += int64(len(r.Body))
				}
			}
			e.tailsMu.Unlock()
			if most := o.FoldWaiting + o.FoldWaiting/8 + 4<<10; kept > most || kept != sum {
				t.Fatalf("upload %d: %d bytes are kept in memory, %d are counted, at most %d may be", i, sum, kept, most)
			}
			if i > 10_000 {
				t.Fatal("no end of what is taken in")
			}
		}
		if e.backlog.Load() < o.Backlog {
			t.Errorf("%d bytes wait, and \"later\" is said", e.backlog.Load())
		}
		<-e.folding
		if err := e.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		for s, want := range acked {
			if n := count(t, e, sc, s.el); n != want {
				t.Errorf("%d samples, want %d", n, want)
			}
		}
		if err := e.Append(ctx, stations[0].next(t, 1)); err != nil {
			t.Errorf("after the burst: %v", err)
		}
	})
}

// A device's uploads are folded when they are many, long or old; until then they wait, however many other devices fold.
func TestEachDeviceFoldsByItself(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	ctx := context.Background()
	sc := storetest.Project(t, db)
	now := time.Unix(1_700_000_000, 0)
	many, large, slow := newStation(t, db, sc), newStation(t, db, sc), newStation(t, db, sc)
	e := New(db, Options{Scope: storetest.HubScope, FoldAge: time.Minute, FoldRows: 10, FoldBytes: 3000, Now: func() time.Time { return now }})
	add := func(s *station, samples int) {
		u := s.next(t, samples)
		u.Received = lh.MillisOf(now)
		rows := []store.JournalAppend{{Scope: u.Scope, Device: u.Device, Received: u.Received, Samples: samples, Body: encodeJournal(&u)}}
		if err := db.AppendJournal(ctx, rows); err != nil {
			t.Fatal(err)
		}
		e.committed(rows)
	}
	due := func() (ds []lh.DeviceID) {
		for _, tl := range e.due(false, "") {
			ds = append(ds, tl.device)
		}
		return ds
	}
	add(slow, 1)
	for range 9 {
		add(many, 1)
	}
	if d := due(); len(d) != 0 {
		t.Errorf("%v are due already", d)
	}
	add(many, 1)
	if d := due(); len(d) != 1 || d[0] != many.device {
		t.Errorf("%v are due, want the one of many uploads", d)
	}
	if _, err := e.foldDue(ctx, false); err != nil {
		t.Fatal(err)
	}
	add(large, 1500)
	if d := due(); len(d) != 1 || d[0] != large.device {
		t.Errorf("%v are due, want the one of large uploads", d)
	}
	if _, err := e.foldDue(ctx, false); err != nil {
		t.Fatal(err)
	}
	if d := due(); len(d) != 0 {
		t.Errorf("%v are due after the fold", d)
	}
	now = now.Add(time.Minute)
	if d := due(); len(d) != 1 || d[0] != slow.device {
		t.Errorf("%v are due, want the one that has waited long", d)
	}
}
