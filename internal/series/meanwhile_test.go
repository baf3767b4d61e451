package series

import (
	"context"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// folded stores days of samples of a new element, one an hour, and returns an engine that does not run.
func folded(t *testing.T, db *store.DB, days ...int32) (*Engine, store.Scope, lh.Element) {
	t.Helper()
	ctx := context.Background()
	sc := storetest.Project(t, db)
	_, _, els := storetest.DeviceScope(t, db, sc, "1/level")
	e := New(db, Options{Scope: storetest.HubScope})
	for _, n := range days {
		var samples []lh.Sample
		for h := range lh.Millis(24) {
			samples = append(samples, lh.Sample{Time: lh.DayStart(n) + h*3600_000, Value: float64(n) + float64(h)/100, Flag: lh.FlagGood, Rank: lh.Rank(n)<<8 + lh.Rank(h)})
		}
		c, err := e.foldChunk(ctx, sc, chunkKey{els[0].ID, n}, samples, &foldMemory{})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Fold(ctx, storetest.HubScope(sc.Project()), []store.Chunk{c}, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	return e, sc, els[0]
}

// A day that is deleted while its series is being read is not there any more: that is no damage, and the days after it
// are read.
func TestDaysDeletedWhileTheyAreRead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e, sc, el := folded(t, db, 20000, 20001, 20002)
		from, to := lh.DayStart(20000), lh.DayStart(20003)
		for _, deleted := range []lh.Millis{from, from + lh.DayMillis} {
			in, err := e.reader(ctx, sc, el, from, to, View{})
			if err != nil {
				t.Fatal(err)
			}
			days, err := in.days(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Delete(ctx, sc, el, deleted, deleted+lh.DayMillis); err != nil {
				t.Fatal(err)
			}
			red, err := in.reduceDays(ctx, days, nil, &reducer{})
			if err != nil || len(red.Samples) == 0 || red.Samples[len(red.Samples)-1].Time.Day() != 20002 {
				t.Errorf("reduced while a day was deleted: %d samples, %v", len(red.Samples), err)
			}
			for i := range days {
				got, err := in.open(ctx, &days[i], nil)
				if want := map[bool]int{true: 24}[lh.DayStart(days[i].number) > deleted]; err != nil || len(got) != want {
					t.Errorf("day %d: %d samples, want %d; %v", days[i].number, len(got), want, err)
				}
			}
		}
		if p := e.Problems(); len(p) > 0 {
			t.Errorf("problems: %q", p)
		}
	})
}

// A fold that has read a chunk which is then deleted must begin again: else it would put back what was deleted.
func TestFoldAfterADeletionBeginsAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		e, sc, el := folded(t, db, 20000)
		hub := storetest.HubScope(sc.Project())
		late := []lh.Sample{{Time: lh.DayStart(20000) + 1, Value: 1, Flag: lh.FlagGood, Rank: 1 << 40}}
		c, err := e.foldChunk(ctx, sc, chunkKey{el.ID, 20000}, late, &foldMemory{})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Delete(ctx, sc, el, lh.DayStart(20000), lh.DayStart(20001)); err != nil {
			t.Fatal(err)
		}
		if err := db.Fold(ctx, hub, []store.Chunk{c}, nil, nil); lh.CodeOf(err) != lh.Conflict {
			t.Errorf("a fold into a chunk that was deleted meanwhile: %v", err)
		}
		got, err := db.Chunk(ctx, sc, el.ID, 20000)
		if err != nil || got.Gen != 0 {
			t.Errorf("the deleted chunk is back: %+v %v", got, err)
		}
		// Likewise for when uploads arrived, which goes with its days.
		day := store.ArrivalDay{Device: el.Device, Day: 20000}
		if day.Body, day.Min, day.Max, err = e.codec.encodeArrivals(20000, []arrival{{1, 1, 1, lh.DayStart(20000)}}); err != nil {
			t.Fatal(err)
		}
		day.Gen = 3
		if err := db.Fold(ctx, hub, nil, nil, []store.ArrivalDay{day}); lh.CodeOf(err) != lh.Conflict {
			t.Errorf("a fold into an arrival day that was deleted meanwhile: %v", err)
		}
	})
}

// A damaged day can be deleted, the newest one too.
func TestADamagedDayCanBeDeleted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		today := lh.MillisOf(time.Now()).Day()
		e, sc, el := folded(t, db, today-2, today-1)
		c, err := db.WholeChunk(ctx, sc, el.ID, today-1)
		if err != nil {
			t.Fatal(err)
		}
		c.Body = []byte("LHS1 and nonsense")
		if err := db.Fold(ctx, storetest.HubScope(sc.Project()), []store.Chunk{c}, nil, nil); err != nil {
			t.Fatal(err)
		}
		for _, err := range e.Read(ctx, sc, el, lh.DayStart(today-1), lh.DayStart(today)) {
			if err == nil {
				t.Error("a damaged day is read")
			}
		}
		if p := e.Problems(); len(p) != 1 {
			t.Errorf("problems: %q", p)
		}
		if err := e.Delete(ctx, sc, el, lh.DayStart(today-1), lh.DayStart(today)); err != nil {
			t.Errorf("a damaged day is not deleted: %v", err)
		}
		n := 0
		for _, err := range e.Read(ctx, sc, el, lh.MinMillis, lh.MaxMillis) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 24 {
			t.Errorf("%d samples are left", n)
		}
		if p := e.Problems(); len(p) > 0 {
			t.Errorf("problems after it is gone: %q", p)
		}
	})
}
