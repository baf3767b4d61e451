package store_test

import (
	"slices"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// Chunks that are read closed are the project's own, open for nobody else, and have a summary where one was given.
func TestClosedChunks(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		_, _, els := storetest.DeviceScope(t, db, sc, "1/level")
		el := els[0].ID
		hub := storetest.HubScope(sc.Project())
		var chunks []store.Chunk
		for _, day := range []int32{-7, -1, 0, 3, 400} {
			c := store.Chunk{Element: el, Day: day, Body: []byte{byte(day)}}
			if day != 0 {
				c.Summary = []byte("summary")
			}
			chunks = append(chunks, c)
		}
		if err := db.Fold(ctx, hub, chunks, nil, nil); err != nil {
			t.Fatal(err)
		}
		type reading func(store.Scope, int32, int32, func(store.ClosedChunk) error) error
		bodies := reading(func(sc store.Scope, a, b int32, fn func(store.ClosedChunk) error) error {
			return db.ClosedChunks(ctx, sc, el, a, b, fn)
		})
		summaries := reading(func(sc store.Scope, a, b int32, fn func(store.ClosedChunk) error) error {
			return db.ClosedSummaries(ctx, sc, el, a, b, fn)
		})
		for name, read := range map[string]reading{"bodies": bodies, "summaries": summaries} {
			var days []int32
			var kept []store.ClosedChunk
			err := read(sc, -7, 3, func(c store.ClosedChunk) error {
				days, kept = append(days, c.Day), append(kept, c)
				return nil
			})
			if err != nil || !slices.Equal(days, []int32{-7, -1, 0, 3}) {
				t.Errorf("%s: %v %v", name, days, err)
			}
			for _, c := range kept { // after the query has ended
				if c.Size() > 0 {
					if b, err := c.Body(); err != nil || len(b) != 1 || b[0] != byte(c.Day) {
						t.Errorf("%s: body of %d: %v %v", name, c.Day, b, err)
					}
				}
				if name == "summaries" {
					s, err := c.Summary()
					if want := map[bool]string{true: "", false: "summary"}[c.Day == 0]; err != nil || string(s) != want || c.Size() > 0 != (c.Day == 0) {
						t.Errorf("summary of %d: %q, %d bytes of body, %v", c.Day, s, c.Size(), err)
					}
				}
			}
			// Others see nothing of it.
			other := storetest.Project(t, db)
			none := func(store.ClosedChunk) error { t.Error("a chunk of another project"); return nil }
			if err := read(other, -10, 500, none); err != nil {
				t.Error(err)
			}
			wantCode(t, name, read(store.NewScope(sc.Project(), lh.RoleOwner, sc.Actor(), lh.NewLocationID()), -10, 500, none), lh.NotFound)
		}
		for _, c := range []struct {
			day   int32
			after bool
			want  int32
			ok    bool
		}{{-8, false, 0, false}, {-7, false, -7, true}, {2, false, 0, true}, {9, false, 3, true}, {-9, true, -7, true}, {1, true, 3, true}, {3, true, 3, true}, {401, true, 0, false}} {
			got, ok, err := db.NearestChunk(ctx, sc, el, c.day, c.after)
			if err != nil || ok != c.ok || got.Day != c.want {
				t.Errorf("near %d, after %v: %d %v %v", c.day, c.after, got.Day, ok, err)
			}
		}
		limited := store.NewScope(sc.Project(), lh.RoleOwner, sc.Actor(), lh.NewLocationID())
		_, _, err := db.NearestChunk(ctx, limited, el, 0, true)
		wantCode(t, "nearest elsewhere", err, lh.NotFound)
		_, err = db.HasHistory(ctx, limited, el, 0, 1)
		wantCode(t, "history elsewhere", err, lh.NotFound)
	})
}

// A series has a history where a correction or an approval, revoked or not, touches the range.
func TestHasHistory(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		_, _, els := storetest.DeviceScope(t, db, sc, "1/level", "1/rain")
		ask := func(what string, e lh.ElementID, from, to lh.Millis, want bool) {
			t.Helper()
			if got, err := db.HasHistory(ctx, sc, e, from, to); err != nil || got != want {
				t.Errorf("%s: %v %v", what, got, err)
			}
		}
		ask("nothing", els[0].ID, lh.MinMillis, lh.MaxMillis+1, false)
		c, err := db.AddCorrection(ctx, sc, lh.Correction{Element: els[0].ID, From: 1000, To: 2000, Kind: lh.CorrectOffset, A: 1})
		if err != nil {
			t.Fatal(err)
		}
		ask("a correction", els[0].ID, 1999, 3000, true)
		ask("before it", els[0].ID, 0, 1000, false)
		ask("after it", els[0].ID, 2000, 3000, false)
		ask("another element", els[1].ID, 0, 3000, false)
		if _, err := db.RevokeCorrection(ctx, sc, els[0].ID, c.ID); err != nil {
			t.Fatal(err)
		}
		ask("a revoked correction", els[0].ID, 0, 3000, true)
		if _, err := db.Approve(ctx, sc, lh.Approval{Element: els[1].ID, From: 10, To: 20}); err != nil {
			t.Fatal(err)
		}
		ask("an approval", els[1].ID, 19, 20, true)
		ask("beside it", els[1].ID, 20, 30, false)
		if got, err := db.HasHistory(ctx, storetest.Project(t, db), els[1].ID, 0, 100); err != nil || got {
			t.Errorf("of another project: %v %v", got, err)
		}
	})
}
