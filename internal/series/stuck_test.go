package series_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// rowsLeft returns how many uploads wait for a fold.
func rowsLeft(t *testing.T, db *store.DB) (n int64) {
	t.Helper()
	bs, err := db.JournalBacklog(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bs {
		n += b.Rows
	}
	return n
}

// Uploads that cannot be folded, more of them than fit into one bite, do not hold up those behind them.
func TestWhatCannotBeFoldedHoldsUpNobody(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		l := newLogger(t, db, sc, "a")
		other := newLogger(t, db, sc, "b")
		e, _ := start(t, db, series.Options{FoldBite: 2000})
		day := lh.DayStart(20000)
		broken := store.Chunk{Element: l.elements[0].ID, Day: 20000, Body: []byte("LHS1 not a chunk at all"), Summary: []byte{1}}
		if err := db.Fold(ctx, storetest.HubScope(sc.Project()), []store.Chunk{broken}, nil, nil); err != nil {
			t.Fatal(err)
		}
		for i := range uint32(30) {
			u := l.upload(t, i+1, record(day+lh.Millis(i)*1000, float64(i)))
			u.Received += lh.Millis(i)
			if err := e.Append(ctx, u); err != nil {
				t.Fatal(err)
			}
		}
		for i := range uint32(5) { // the next day's
			u := l.upload(t, 31+i, record(day+lh.DayMillis+lh.Millis(i)*1000, float64(i)))
			u.Received += 100
			if err := e.Append(ctx, u); err != nil {
				t.Fatal(err)
			}
			if err := e.Append(ctx, other.upload(t, 1+i, record(day+lh.Millis(i)*1000, float64(i)))); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		if n := rowsLeft(t, db); n != 30 {
			t.Errorf("%d uploads are not folded, want the 30 of the broken day", n)
		}
		// When the day is deleted, they can be folded, and what they had of it is deleted with it.
		if err := e.Delete(ctx, sc, l.elements[0], day, day+lh.DayMillis); err != nil {
			t.Fatal(err)
		}
		if n := rowsLeft(t, db); n != 0 {
			t.Errorf("%d uploads are not folded after all", n)
		}
		if got := read(t, e, sc, l.elements[0], lh.MinMillis, lh.MaxMillis); len(got) != 5 {
			t.Errorf("%d samples, want 5", len(got))
		}
	})
}

// When the arrivals of one device and day cannot be read, its uploads of that day stay where they are; everything else is
// folded.
func TestDamagedArrivalsHoldUpNobodyElse(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		l, other := newLogger(t, db, sc, "a"), newLogger(t, db, sc, "b")
		e, _ := start(t, db, series.Options{})
		day := lh.DayStart(20000)
		damaged := store.ArrivalDay{Device: l.device.ID, Day: 20000, Min: 1, Max: 1 << 60, Body: []byte("LHA1 no arrivals")}
		if err := db.Fold(ctx, storetest.HubScope(sc.Project()), nil, nil, []store.ArrivalDay{damaged}); err != nil {
			t.Fatal(err)
		}
		for _, received := range []lh.Millis{day + 5000, day + lh.DayMillis} {
			for _, l := range []*logger{l, other} {
				l.seq++
				u := l.upload(t, l.seq, record(received-1000, 1))
				u.Received = received
				if err := e.Append(ctx, u); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := e.FoldNow(ctx); err != nil {
			t.Errorf("fold: %v", err)
		}
		if n := rowsLeft(t, db); n != 1 {
			t.Errorf("%d uploads are not folded, want one", n)
		}
		want := "arrivals of device " + string(l.device.ID) + " on " + day.Time().Format(time.DateOnly)
		if p := e.Problems(); len(p) != 1 || !strings.HasPrefix(p[0], want) {
			t.Errorf("problems %q, want %q", p, want)
		}
		for _, l := range []*logger{l, other} {
			if got := read(t, e, sc, l.elements[0], lh.MinMillis, lh.MaxMillis); len(got) != 2 {
				t.Errorf("%s: %d samples, want 2", l.elements[0].Channel, len(got))
			}
		}
	})
}

// Two hubs that stop together get into each other's way with their last folds. That is no failure of either.
func TestHubsThatStopTogether(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		a, b := storetest.Open(t, o), storetest.Open(t, o)
		sc := storetest.Project(t, a)
		l := newLogger(t, a, sc, "a")
		one, stopOne := start(t, a, series.Options{FoldBite: 1}) // a failure of its end fails the test
		two, stopTwo := start(t, b, series.Options{FoldBite: 1})
		for i := range uint32(100) {
			e := []*series.Engine{one, two}[i%2]
			if err := e.Append(ctx, l.upload(t, i+1, record(lh.Millis(i)*1000, float64(i)))); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		wg.Go(stopOne)
		wg.Go(stopTwo)
		wg.Wait()
		three, _ := start(t, a, series.Options{})
		if err := three.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		if got := read(t, three, sc, l.elements[0], lh.MinMillis, lh.MaxMillis); len(got) != 100 || rowsLeft(t, a) != 0 {
			t.Errorf("%d samples, %d uploads are not folded", len(got), rowsLeft(t, a))
		}
	})
}
