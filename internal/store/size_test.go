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

func TestCompactGivesSpaceBack(t *testing.T) {
	db := storetest.Open(t, storetest.SQLite(t))
	sc := storetest.Project(t, db)
	d, own, _ := storetest.DeviceScope(t, db, sc, "1/level")
	hub := storetest.HubScope(sc.Project())
	for range 24 {
		err := db.AppendJournal(ctx, []store.JournalAppend{{Scope: own, Device: d.ID, Received: d.Created, Body: make([]byte, 1<<20)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if more, err := db.Compact(ctx); err != nil || more {
		t.Fatalf("there is more to give back of a file that is full: %v, %v", more, err)
	}
	rows, _, _, err := db.Unfolded(ctx, hub, d.ID, 1<<30, nil)
	if err != nil || len(rows) != 24 {
		t.Fatal(len(rows), err)
	}
	if err := db.Fold(ctx, hub, nil, []store.DeviceFold{{Device: d.ID, To: 23, Rows: 23}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := db.Purge(ctx); err != nil {
		t.Fatal(err)
	}
	before, err := db.Size(ctx)
	if err != nil {
		t.Fatal(err)
	}
	steps := 1
	for more := true; more; steps++ {
		if more, err = db.Compact(ctx); err != nil || steps > 100 {
			t.Fatal(steps, err)
		}
	}
	after, err := db.Size(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if before.Disk < 24<<20 || after.Disk > 8<<20 || steps < 5 {
		t.Errorf("%d steps changed the size from %+v to %+v", steps, before, after)
	}
	rows, _, _, err = db.Unfolded(ctx, hub, d.ID, 1<<30, nil)
	if err != nil || len(rows) != 1 || rows[0].Err != nil || len(rows[0].Body) != 1<<20 {
		t.Fatal("the row that was left is not whole", len(rows), err)
	}
}
