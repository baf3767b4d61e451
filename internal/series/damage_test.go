package series_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// TestDamageIsNamedAndTakesNothingElseDown flips one bit in each kind of row that there is. Verify names what is damaged,
// everything else is read on, and is still what it was.
func TestDamageIsNamedAndTakesNothingElseDown(t *testing.T) {
	o := storetest.Postgres(t) // whose pages can be reached into
	db := storetest.Open(t, o)
	now := lh.MillisOf(time.Now())
	sc, otherProject := storetest.Project(t, db), storetest.Project(t, db)
	e, _ := start(t, db, series.Options{})
	l, other := tenDays(t, db, sc, e, now), tenDays(t, db, otherProject, e, now)
	level, rain := l.elements[0], l.elements[1]
	beside := newLogger(t, db, sc, "a")
	third := beside.elements[0]
	if err := e.Append(ctx, beside.upload(t, 1, record(now, 7))); err != nil {
		t.Fatal(err)
	}
	dense := lh.DayStart((now - 20*lh.DayMillis).Day()) // so much on a day that its chunk has a summary beside it
	var records []wire.Record
	for i := range lh.Millis(1440) {
		records = append(records, record(dense+i*60_000, float64(i%97)/8))
	}
	if err := e.Append(ctx, beside.upload(t, 2, records...)); err != nil {
		t.Fatal(err)
	}
	if err := e.FoldNow(ctx); err != nil {
		t.Fatal(err)
	}
	u := l.upload(t, l.seq, record(now, 5, 6)) // stays in the journal
	u.Received = now + 50
	if err := e.Append(ctx, u); err != nil {
		t.Fatal(err)
	}
	if _, err := db.AddCorrection(ctx, sc, lh.Correction{Element: level.ID, From: now - 2*lh.DayMillis, To: now, Kind: lh.CorrectOffset, A: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Approve(ctx, sc, lh.Approval{Element: level.ID, From: now - 4*lh.DayMillis, To: now - 3*lh.DayMillis}); err != nil {
		t.Fatal(err)
	}
	day := (now - 5*lh.DayMillis).Day()
	chunk := "chunk of element " + string(level.ID) + " on " + lh.DayStart(day).Time().Format(time.DateOnly)
	element := fmt.Sprintf("project_id = '%s' AND element_id = '%s'", sc.Project(), level.ID)
	device := fmt.Sprintf("project_id = '%s' AND device_id = '%s'", sc.Project(), l.device.ID)
	onDay := fmt.Sprintf("%s AND day = %d", element, day)
	for _, c := range []struct {
		table, column, where string
		names                string // what a finding must begin with
		rest                 bool   // the project's other element is read on
	}{
		{"chunk", "body", onDay, chunk, true},
		{"chunk", "summary", fmt.Sprintf("element_id = '%s' AND day = %d", third.ID, dense.Day()), "chunk of element " + string(third.ID), true},
		{"chunk", "revision", onDay, chunk, true},
		{"journal", "body", fmt.Sprintf("stream = (SELECT stream FROM intake WHERE %s)", device), "upload " + string(l.device.ID), true},
		{"arrival", "body", device, "arrivals of device " + string(l.device.ID), true},
		{"intake", "body", device, "latest value of element " + string(level.ID), true},
		{"correction", "body", element, "corrections of element " + string(level.ID), true},
		{"approval", "body", element, "approvals of element " + string(level.ID), true},
		{"element", "body", fmt.Sprintf("project_id = '%s' AND id = '%s'", sc.Project(), level.ID), "elements of project " + string(sc.Project()), true},
		{"device", "body", fmt.Sprintf("project_id = '%s' AND id = '%s'", sc.Project(), l.device.ID), "devices of project " + string(sc.Project()), true},
		{"audit", "detail", fmt.Sprintf("project_id = '%s' AND number = 2", sc.Project()), "audit trail of project " + string(sc.Project()), true},
		{"audit", "hash", fmt.Sprintf("project_id = '%s' AND number = 2", sc.Project()), "audit trail of project " + string(sc.Project()), true},
		{"project", "body", fmt.Sprintf("id = '%s'", sc.Project()), "project " + string(sc.Project()), true},
		{"owner_key", "wrapped", fmt.Sprintf("owner = '%s'", sc.Project()), "project " + string(sc.Project()), false},
	} {
		t.Run(c.table+" "+c.column, func(t *testing.T) {
			flip := fmt.Sprintf("UPDATE %s SET %s = set_byte(%[2]s, length(%[2]s) / 2, get_byte(%[2]s, length(%[2]s) / 2) # 4) WHERE %s", c.table, c.column, c.where)
			storetest.Exec(t, o.URL, flip)
			defer storetest.Exec(t, o.URL, flip) // once more puts it right
			db := storetest.Open(t, o)           // with no key opened yet
			e := series.New(db, series.Options{Scope: storetest.HubScope})
			v, findings := verify(t, e)
			if len(findings) == 0 {
				t.Fatal("nothing is found")
			}
			named := false
			for _, f := range findings {
				named = named || strings.HasPrefix(f, c.names)
			}
			if !named || len(findings) > 3 { // an upload that is lost is missed as the latest, too
				t.Errorf("found %q, want %q", findings, c.names)
			}
			if v.Projects != 2 {
				t.Errorf("%d projects were read", v.Projects)
			}
			if got := read(t, e, otherProject, other.elements[0], lh.MinMillis, lh.MaxMillis); len(got) != 41 {
				t.Errorf("the other project has %d samples", len(got))
			}
			if !c.rest {
				return
			}
			if got := read(t, e, sc, rain, lh.MinMillis, lh.MaxMillis); len(got) != 41 {
				t.Errorf("the other element has %d samples", len(got))
			}
			if c.table != "intake" {
				return
			}
			ls, err := db.Latest(ctx, sc, nil)
			if err != nil || len(ls) != 1 || ls[0].Element != third.ID {
				t.Errorf("latest values: %+v %v; want that of the other device", ls, err)
			}
		})
	}
	if _, findings := verify(t, e); len(findings) > 0 {
		t.Errorf("all put right, and verify finds %q", findings)
	}
}
