package series_test

import (
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

// tenDays uploads a sample every 6 hours for ten days up to now, overwritten once, half of it folded.
func tenDays(t *testing.T, db *store.DB, sc store.Scope, e *series.Engine, now lh.Millis) *logger {
	t.Helper()
	l := newLogger(t, db, sc, "1/level", "2/rain")
	var records []wire.Record
	for at := now - 10*lh.DayMillis; at <= now; at += lh.DayMillis / 4 {
		records = append(records, record(at, float64(at%1000), 1))
	}
	for pass := range 2 {
		u := l.upload(t, l.seq, records...)
		u.Received = now + lh.Millis(pass)
		l.seq += uint32(len(records))
		if err := e.Append(ctx, u); err != nil {
			t.Fatal(err)
		}
		if pass == 0 {
			if err := e.FoldNow(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	return l
}

func TestDeleteRange(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := lh.MillisOf(time.Now())
		sc := storetest.Project(t, db)
		e, _ := start(t, db, series.Options{})
		l := tenDays(t, db, sc, e, now)
		level, rain := l.elements[0], l.elements[1]
		all := read(t, e, sc, level, lh.MinMillis, lh.MaxMillis)
		from, to := now-7*lh.DayMillis+1, now-2*lh.DayMillis+5000
		if err := e.Delete(ctx, sc, level, from, to); err != nil {
			t.Fatal(err)
		}
		want := slices.DeleteFunc(slices.Clone(all), func(s lh.Sample) bool { return s.Time >= from && s.Time < to })
		for _, v := range []series.View{{}, {Raw: true}, {AsOf: now + 10}, {AsOf: now}} {
			var got []lh.Sample
			for s, err := range e.ReadView(ctx, sc, level, lh.MinMillis, lh.MaxMillis, v) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, s)
			}
			if !slices.EqualFunc(got, want, func(a, b lh.Sample) bool { return a.Time == b.Time && a.Value == b.Value }) {
				t.Errorf("%+v shows %d samples after the deletion, want %d", v, len(got), len(want))
			}
		}
		if got := read(t, e, sc, rain, lh.MinMillis, lh.MaxMillis); len(got) != len(all) {
			t.Errorf("the other element has %d samples left of %d", len(got), len(all))
		}
		if ls, err := db.Latest(ctx, sc, []lh.ElementID{level.ID}); err != nil || len(ls) != 1 || ls[0].Sample.Time != now {
			t.Errorf("latest: %v %v", ls, err)
		}
		// The newest goes: latest is the newest that stays.
		if err := e.Delete(ctx, sc, level, now-lh.DayMillis-1000, lh.MaxMillis); err != nil {
			t.Fatal(err)
		}
		last := want[len(want)-6]
		if ls, err := db.Latest(ctx, sc, []lh.ElementID{level.ID}); err != nil || len(ls) != 1 || ls[0].Sample.Time != last.Time || ls[0].Sample.Value != last.Value {
			t.Errorf("latest after its deletion: %v %v, want %v", ls, err, last)
		}
		if err := e.Delete(ctx, sc, level, lh.MinMillis, lh.MaxMillis); err != nil {
			t.Fatal(err)
		}
		if ls, err := db.Latest(ctx, sc, []lh.ElementID{level.ID}); err != nil || len(ls) != 0 {
			t.Errorf("latest of nothing: %v %v", ls, err)
		}
		if got := read(t, e, sc, level, lh.MinMillis, lh.MaxMillis); len(got) != 0 {
			t.Errorf("%d samples are left of all", len(got))
		}
	})
}

func TestDeletingIsTheOwnersAndNotOfWhatIsApproved(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := lh.MillisOf(time.Now())
		sc := storetest.Project(t, db)
		e, _ := start(t, db, series.Options{})
		el := tenDays(t, db, sc, e, now).elements[0]
		editor := store.NewScope(sc.Project(), lh.RoleEditor, sc.Actor())
		if err := e.Delete(ctx, editor, el, 0, now); lh.CodeOf(err) != lh.Forbidden {
			t.Errorf("an editor deletes: %v", err)
		}
		if err := e.Delete(ctx, store.Scope{}, el, 0, now); lh.CodeOf(err) != lh.NotFound {
			t.Errorf("nobody deletes: %v", err)
		}
		if _, err := db.Approve(ctx, sc, lh.Approval{Element: el.ID, From: now - 3*lh.DayMillis, To: now - 2*lh.DayMillis}); err != nil {
			t.Fatal(err)
		}
		before := read(t, e, sc, el, lh.MinMillis, lh.MaxMillis)
		if err := e.Delete(ctx, sc, el, 0, now); lh.CodeOf(err) != lh.Conflict {
			t.Errorf("what is approved is deleted: %v", err)
		}
		if got := read(t, e, sc, el, lh.MinMillis, lh.MaxMillis); !slices.Equal(got, before) {
			t.Error("a deletion that was refused changed the series")
		}
	})
}

func TestRetention(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := lh.MillisOf(time.Now())
		sc, other := storetest.Project(t, db), storetest.Project(t, db)
		e, _ := start(t, db, series.Options{})
		el := tenDays(t, db, sc, e, now).elements[0]
		kept := tenDays(t, db, other, e, now).elements[0]
		if err := e.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := db.ChangeProject(ctx, sc, func(p *lh.Project) error { p.Retention = 4; return nil }); err != nil {
			t.Fatal(err)
		}
		if got, err := db.Project(ctx, sc); err != nil || got.Retention != 4 {
			t.Fatalf("project is %+v: %v", got, err)
		}
		if n, err := e.Retain(ctx); err != nil || n == 0 {
			t.Fatalf("%d chunks went: %v", n, err)
		}
		got := read(t, e, sc, el, lh.MinMillis, lh.MaxMillis)
		if cut := lh.DayStart(now.Day() - 4); len(got) == 0 || got[0].Time < cut || got[0].Time >= cut+lh.DayMillis/4 || got[len(got)-1].Time != now {
			t.Errorf("%d samples stay, from %v", len(got), got[0].Time.Time())
		}
		if got := read(t, e, other, kept, lh.MinMillis, lh.MaxMillis); len(got) != 41 {
			t.Errorf("the other project keeps %d samples of 41", len(got))
		}
	})
}

func TestDeletedProjectIsGoneForGood(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := lh.MillisOf(time.Now())
		sc, other := storetest.Project(t, db), storetest.Project(t, db)
		e, _ := start(t, db, series.Options{})
		el := tenDays(t, db, sc, e, now).elements[0]
		kept := tenDays(t, db, other, e, now).elements[0]
		administrator := store.NewScope(sc.Project(), lh.RoleAdministrator, sc.Actor())
		if err := e.DeleteProject(ctx, administrator); lh.CodeOf(err) != lh.Forbidden {
			t.Errorf("an administrator destroys a project: %v", err)
		}
		if err := e.DeleteProject(ctx, sc); err != nil {
			t.Fatal(err)
		}
		if err := e.FoldNow(ctx); err != nil { // rows without a key stand in nobody's way
			t.Error(err)
		}
		if _, err := e.Retain(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Project(ctx, sc); lh.CodeOf(err) != lh.NotFound {
			t.Errorf("the project is read: %v", err)
		}
		for _, err := range e.Read(ctx, sc, el, lh.MinMillis, lh.MaxMillis) {
			if lh.CodeOf(err) != lh.NotFound {
				t.Errorf("a sample is read: %v", err)
			}
		}
		if bs, err := db.JournalBacklog(ctx); err != nil || len(bs) > 0 && bs[0].Project == sc.Project() {
			t.Errorf("its journal is left: %v %v", bs, err)
		}
		if got := read(t, e, other, kept, lh.MinMillis, lh.MaxMillis); len(got) != 41 {
			t.Errorf("the other project keeps %d samples of 41", len(got))
		}
	})
}

// What was filled in on days that are deleted, or beyond their retention, is not left in the corrections.
func TestDeletedRangesHaveNoFills(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := lh.MillisOf(time.Now())
		sc := storetest.Project(t, db)
		e, _ := start(t, db, series.Options{})
		el := tenDays(t, db, sc, e, now).elements[0]
		fill := lh.Correction{Element: el.ID, From: now - 20*lh.DayMillis, To: now, Kind: lh.CorrectFill}
		for at := fill.From + 1; at < fill.To; at += lh.DayMillis {
			fill.Samples = append(fill.Samples, lh.Sample{Time: at, Value: -1, Flag: lh.FlagSuspect})
		}
		if _, err := db.AddCorrection(ctx, sc, fill); err != nil {
			t.Fatal(err)
		}
		from, to := now-5*lh.DayMillis, now-2*lh.DayMillis
		if err := e.Delete(ctx, sc, el, from, to); err != nil {
			t.Fatal(err)
		}
		if got := read(t, e, sc, el, from, to); len(got) > 0 {
			t.Errorf("a deleted range has %d samples left: %+v", len(got), got)
		}
		if got := read(t, e, sc, el, to, now); len(got) != 8+2 {
			t.Errorf("behind the deleted range are %d samples, want 10", len(got))
		}
		if _, err := db.ChangeProject(ctx, sc, func(p *lh.Project) error { p.Retention = 8; return nil }); err != nil {
			t.Fatal(err)
		}
		if err := e.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Retain(ctx); err != nil {
			t.Fatal(err)
		}
		cut := lh.DayStart(now.Day() - 8)
		if got := read(t, e, sc, el, lh.MinMillis, cut); len(got) > 0 {
			t.Errorf("%d samples are beyond their retention: %+v", len(got), got)
		}
		cs, err := db.Corrections(ctx, sc, el.ID, lh.MinMillis, lh.MaxMillis)
		if err != nil || len(cs) != 1 || len(cs[0].Samples) == 0 || cs[0].Samples[0].Time < cut || cs[0].Number != 1 || cs[0].From != fill.From {
			t.Errorf("the fill on record: %+v %v", cs, err)
		}
	})
}

// An upload that comes while the latest sample is deleted is the latest after it, whichever comes first.
func TestLatestIsRightAfterADeletionBesideUploads(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		e, _ := start(t, db, series.Options{})
		l := newLogger(t, db, sc, "1/level")
		el := l.elements[0]
		at := lh.MillisOf(time.Now()) - 100*lh.DayMillis
		put := func(at lh.Millis) {
			l.seq++
			if err := e.Append(ctx, l.upload(t, l.seq, record(at, float64(l.seq)))); err != nil {
				t.Error(err)
			}
		}
		for range 60 {
			at += 1000
			put(at)
			put(at + 500)
			var wg sync.WaitGroup
			wg.Go(func() { put(at + 200) })
			wg.Go(func() {
				if err := e.Delete(ctx, sc, el, at+500, at+600); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			ls, err := db.Latest(ctx, sc, nil)
			if err != nil || len(ls) != 1 || ls[0].Sample.Time != at+200 {
				t.Fatalf("latest is %+v, want the one at %d; %v", ls, at+200, err)
			}
		}
	})
}
