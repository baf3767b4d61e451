package series_test

import (
	"slices"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

func readView(t testing.TB, e *series.Engine, sc store.Scope, el lh.Element, v series.View) (values []float64) {
	t.Helper()
	for s, err := range e.ReadView(ctx, sc, el, lh.MinMillis, lh.MaxMillis+1, v) {
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, s.Value)
	}
	return values
}

// A sample that is still there is seen in the past too when its arrival is beyond the retention: the newest ones are
// kept longer than the days on which they came.
func TestThePastOutlivesItsArrivals(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := lh.MillisOf(time.Now())
		sc := storetest.Project(t, db)
		e, _ := start(t, db, series.Options{})
		l := newLogger(t, db, sc, "1/level")
		u := l.upload(t, 1, record(now-40*lh.DayMillis, 1), record(now-2*lh.DayMillis, 2)) // its clock was wrong
		u.Received = now - 30*lh.DayMillis
		if err := e.Append(ctx, u); err != nil {
			t.Fatal(err)
		}
		if err := e.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := db.DropBefore(ctx, storetest.HubScope(sc.Project()), (now - 10*lh.DayMillis).Day()); err != nil {
			t.Fatal(err)
		}
		el := l.elements[0]
		if _, err := db.Approve(ctx, sc, lh.Approval{Element: el.ID, From: now - 3*lh.DayMillis, To: now}); err != nil {
			t.Fatal(err)
		}
		for _, v := range []series.View{{}, {Raw: true}, {Raw: true, AsOf: now}} {
			if got := readView(t, e, sc, el, v); !slices.Equal(got, []float64{2}) {
				t.Errorf("%+v shows %v, want 2", v, got)
			}
		}
		// When it is delivered again, it has an arrival anew, from the moment on at which that is on record.
		u.Received = now
		if err := e.Append(ctx, u); err != nil {
			t.Fatal(err)
		}
		before := series.View{Raw: true, AsOf: now - 1000}
		waiting := readView(t, e, sc, el, before)
		if err := e.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		if got := readView(t, e, sc, el, before); !slices.Equal(got, waiting) {
			t.Errorf("delivered again it shows %v, and %v once it is folded", waiting, got)
		}
	})
}

// What was deleted and is delivered again looks the same in the past whether it is folded or not.
func TestDeliveredAgainAfterDeletion(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		e, _ := start(t, db, series.Options{})
		l := newLogger(t, db, sc, "1/level")
		el := l.elements[0]
		const day = 20000 * lh.DayMillis
		deliver := func(received lh.Millis) {
			t.Helper()
			u := l.upload(t, 1, record(day, 1), record(day+1000, 2))
			u.Received = received
			if err := e.Append(ctx, u); err != nil {
				t.Fatal(err)
			}
		}
		deliver(day + 2000)
		if err := e.Delete(ctx, sc, el, day+1000, day+2000); err != nil {
			t.Fatal(err)
		}
		deliver(day + 9000)
		moment := series.View{AsOf: day + 5000}
		before := readView(t, e, sc, el, moment)
		if err := e.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		if after := readView(t, e, sc, el, moment); !slices.Equal(before, after) {
			t.Errorf("a past moment shows %v, and %v after a fold", before, after)
		}
		if got := readView(t, e, sc, el, series.View{AsOf: day + 1}); len(got) > 0 {
			t.Errorf("before anything came: %v", got)
		}
	})
}
