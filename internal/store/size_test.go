package store_test

import (
	"testing"

	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

func TestSizeFollowsTheContents(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		d, own, _ := storetest.DeviceScope(t, db, sc, "1/level")
		before, err := db.Size(ctx)
		if err != nil {
			t.Fatal(err)
		}
		const body = 1 << 20
		err = db.AppendJournal(ctx, []store.JournalAppend{{Scope: own, Device: d.ID, Received: d.Created, Body: make([]byte, body)}})
		if err != nil {
			t.Fatal(err)
		}
		after, err := db.Size(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if grown := after.Used - before.Used; grown < body || grown > 2*body || after.Disk < after.Used {
			t.Errorf("a row of %d bytes changed the size from %+v to %+v", body, before, after)
		}
	})
}
