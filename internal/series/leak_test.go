package series_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// An engine leaves no goroutine behind: not when it is stopped after work, nor when its database went away under it, nor
// when it is stopped at once.
func TestEngineLeavesNoGoroutine(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		before := goleak.IgnoreCurrent()
		for _, end := range []string{"stopped", "closed under it", "at once"} {
			db, err := store.Open(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			e := series.New(db, series.Options{Scope: storetest.HubScope})
			run, cancel := context.WithCancel(ctx)
			if end == "at once" {
				cancel()
			}
			ended := make(chan error, 1)
			go func() { ended <- e.Run(run) }()
			if end != "at once" {
				sc := storetest.Project(t, db)
				l := newLogger(t, db, sc, "a")
				for i := range uint32(20) {
					if err := e.Append(ctx, l.upload(t, i+1, record(lh.Millis(i)*1000, 1))); err != nil {
						t.Fatal(err)
					}
				}
				if err := e.FoldNow(ctx); err != nil {
					t.Fatal(err)
				}
				for range e.Read(ctx, sc, l.elements[0], 0, 1e6) {
					break // a reader that wants no more
				}
			}
			if end == "closed under it" {
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
			cancel()
			if err := <-ended; err != nil && end != "closed under it" {
				t.Errorf("%s: %v", end, err)
			}
			if err := db.Close(); err != nil {
				t.Errorf("%s: close: %v", end, err)
			}
			if err := goleak.Find(before); err != nil {
				t.Errorf("%s: %v", end, err)
			}
		}
	})
}
