package store_test

import (
	"context"
	"errors"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// TestEndedContextIsTold: whoever ends a question is told so, and not that the answer is damaged.
func TestEndedContextIsTold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		d, own, _ := storetest.DeviceScope(t, db, sc, "1/level")
		rows := make([]store.JournalAppend, 2000)
		for i := range rows {
			rows[i] = store.JournalAppend{Scope: own, Device: d.ID, Received: lh.Millis(i), Body: make([]byte, 1000)}
		}
		if err := db.AppendJournal(ctx, rows); err != nil {
			t.Fatal(err)
		}
		ending, cancel := context.WithCancel(ctx)
		defer cancel()
		err := db.Journal(ending, storetest.HubScope(sc.Project()), "", func(store.JournalRow) error { cancel(); return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a question that was ended says %v", err)
		}
	})
}
