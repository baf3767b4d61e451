package store_test

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

var update = flag.Bool("update", false, "write the files in testdata anew")

// TestEveryLatestVersionIsRead holds the format to the file of each version there was.
func TestEveryLatestVersionIsRead(t *testing.T) {
	want := []lh.Latest{
		{Element: "elm_0123456789abcdef", Sample: lh.Sample{Time: 1700000000000, Value: 1.25, Flag: lh.FlagGood, Rank: lh.RankOf(1700000000, 7)}, Received: 1700000060123},
		{Element: "elm_fedcba9876543210", Sample: lh.Sample{Time: -1, Value: -0.001, Flag: lh.FlagSuspect, Rank: 3}, Received: 1700000060124},
	}
	path := filepath.Join("testdata", "latest-1.bin")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, store.EncodeLatest(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []lh.Latest
	if err := store.DecodeLatest(body, func(l lh.Latest) error { got = append(got, l); return nil }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v", got)
	}
	for i := range body {
		if store.DecodeLatest(body[:i], func(lh.Latest) error { return nil }) == nil {
			t.Errorf("%d of %d bytes are read", i, len(body))
		}
	}
}

// FuzzLatest: what is read is written back as it was.
func FuzzLatest(f *testing.F) {
	b, err := os.ReadFile(filepath.Join("testdata", "latest-1.bin"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var ls []lh.Latest
		if store.DecodeLatest(b, func(l lh.Latest) error { ls = append(ls, l); return nil }) != nil {
			return
		}
		again := store.EncodeLatest(ls)
		var got []lh.Latest
		if err := store.DecodeLatest(again, func(l lh.Latest) error { got = append(got, l); return nil }); err != nil || len(got) != len(ls) {
			t.Fatalf("%d of %d are read again: %v", len(got), len(ls), err)
		}
		for i := range got {
			if math.IsNaN(got[i].Sample.Value) || !got[i].Sample.Flag.Valid() || fmt.Sprint(got[i]) != fmt.Sprint(ls[i]) {
				t.Fatalf("%+v is read again as %+v", ls[i], got[i])
			}
		}
	})
}

// A database from before the intake keeps its journal, its latest values and what lost.
func TestOlderSchemaIsTakenOver(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		hub := storetest.HubScope(sc.Project())
		d, own, els := storetest.DeviceScope(t, db, sc, "a", "b")
		quiet, _, quietEls := storetest.DeviceScope(t, db, sc, "c")
		_ = quiet
		for i := range 5 {
			row := store.JournalAppend{Scope: own, Device: d.ID, Received: lh.Millis(i), Samples: 1, Body: []byte{byte(i)}}
			if err := db.AppendJournal(ctx, []store.JournalAppend{row}); err != nil {
				t.Fatal(err)
			}
		}
		chunk := store.Chunk{Element: els[0].ID, Day: 3, Body: []byte("body"), Summary: []byte("summary"), Revision: []byte("lost")}
		fold := []store.DeviceFold{{Device: d.ID, To: 2, Rows: 1, Held: []int64{1}}}
		if err := db.Fold(ctx, hub, []store.Chunk{chunk}, fold, nil); err != nil {
			t.Fatal(err)
		}
		if err := db.SchemaTo(ctx, 10); err != nil {
			t.Fatal(err)
		}
		for i, e := range []lh.Element{els[0], els[1], quietEls[0]} {
			l := lh.Latest{Element: e.ID, Sample: lh.Sample{Time: 100, Value: float64(i), Flag: 1, Rank: 5}, Received: 7}
			if err := db.PutOldLatest(ctx, sc, l); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.SchemaTo(ctx, 11); err != nil {
			t.Fatal(err)
		}
		rows, folded, _, err := db.Unfolded(ctx, hub, d.ID, 1<<20, nil)
		if err != nil || len(rows) != 4 || folded != 0 {
			t.Fatalf("%d rows, folded up to %d; %v", len(rows), folded, err)
		}
		for i, want := range []byte{0, 2, 3, 4} { // the second was folded
			if rows[i].Err != nil || !bytes.Equal(rows[i].Body, []byte{want}) || rows[i].Seq != int64(i+1) {
				t.Errorf("row %d is %+v", i, rows[i])
			}
		}
		if r, err := db.Revision(ctx, sc, els[0].ID, 3); err != nil || string(r) != "lost" {
			t.Errorf("what lost: %q %v", r, err)
		}
		values := func(want map[lh.ElementID]float64) {
			t.Helper()
			ls, err := db.Latest(ctx, sc, nil)
			if err != nil || len(ls) != len(want) {
				t.Errorf("latest: %+v %v", ls, err)
			}
			for _, l := range ls {
				if l.Sample.Value != want[l.Element] {
					t.Errorf("latest of %s is %g, want %g", l.Element, l.Sample.Value, want[l.Element])
				}
			}
		}
		values(map[lh.ElementID]float64{els[0].ID: 0, els[1].ID: 1, quietEls[0].ID: 2})
		// The device's next upload takes them over, where they are newer than what it brings.
		up := store.JournalAppend{Scope: own, Device: d.ID, Received: 9, Samples: 2, Body: []byte("x"), Latest: []lh.Latest{
			{Element: els[0].ID, Sample: lh.Sample{Time: 99, Value: 10, Flag: 1, Rank: 9}}, {Element: els[1].ID, Sample: lh.Sample{Time: 101, Value: 11, Flag: 1, Rank: 9}}}}
		rs := []store.JournalAppend{up}
		if err := db.AppendJournal(ctx, rs); err != nil || rs[0].Seq != 5 {
			t.Fatalf("number %d; %v", rs[0].Seq, err)
		}
		values(map[lh.ElementID]float64{els[0].ID: 0, els[1].ID: 11, quietEls[0].ID: 2})
	})
}

// Writers that know nothing of each other number the uploads of one device without a gap, and keep its newest values.
func TestHubsAppendForOneDevice(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		dbs := []*store.DB{storetest.Open(t, o), storetest.Open(t, o), storetest.Open(t, o)}
		sc := storetest.Project(t, dbs[0])
		d, own, els := storetest.DeviceScope(t, dbs[0], sc, "a")
		const each = 30
		var wg sync.WaitGroup
		for n, db := range dbs {
			wg.Go(func() {
				for i := range each {
					at := lh.Millis(i*len(dbs) + n)
					l := lh.Latest{Element: els[0].ID, Sample: lh.Sample{Time: at, Value: float64(at), Flag: 1}}
					row := store.JournalAppend{Scope: own, Device: d.ID, Received: at, Samples: 1, Body: []byte("x"), Latest: []lh.Latest{l}}
					if err := db.AppendJournal(ctx, []store.JournalAppend{row}); err != nil {
						t.Errorf("hub %d: %v", n, err)
						return
					}
				}
			})
		}
		wg.Wait()
		rows, _, _, err := dbs[0].Unfolded(ctx, storetest.HubScope(sc.Project()), d.ID, 1<<20, nil)
		if err != nil || len(rows) != each*len(dbs) {
			t.Fatalf("%d rows; %v", len(rows), err)
		}
		for i, r := range rows {
			if r.Seq != int64(i+1) {
				t.Errorf("row %d has number %d", i, r.Seq)
			}
		}
		ls, err := dbs[1].Latest(ctx, sc, nil)
		if want := float64(each*len(dbs) - 1); err != nil || len(ls) != 1 || ls[0].Sample.Value != want {
			t.Errorf("latest: %+v, want %g; %v", ls, want, err)
		}
	})
}
