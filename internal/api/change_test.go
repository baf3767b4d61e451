package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

// changes reads the feed from a cursor to its end.
func (r *rig) changes(who, since string, more ...string) (all api.Changes) {
	r.t.Helper()
	for range 1000 {
		var c api.Changes
		r.as(who, "GET", r.path("changes")+"?since="+since+strings.Join(more, ""), nil).decode(r.t, &c)
		all.Items, all.Days, since = append(all.Items, c.Items...), append(all.Days, c.Days...), c.Cursor
		if all.Cursor = since; !c.More {
			return all
		}
	}
	r.t.Fatal("the feed does not end")
	return all
}

// TestChanges: the feed tells everything that is made, changed and deleted, once and in order, and the days that samples
// came into.
func TestChanges(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t, who := r.t, "owner@a.example"
		if got := r.changes(who, ""); len(got.Items) != 0 || got.Cursor == "" {
			t.Errorf("without a cursor: %+v", got)
		}
		since := r.changes(who, "").Cursor
		s := r.site(r.owner, "Bridge", "1/level")
		id := r.member("viewer@a.example", lh.RoleViewer)
		r.as(who, "PATCH", r.path("locations", string(s.location.ID)), map[string]any{"name": "Weir"})
		var c api.Correction
		elm := r.path("elements", string(s.elements[0].ID))
		r.as(who, "POST", elm+"/corrections", map[string]any{"from": 1000, "to": 2000, "kind": "offset", "a": 1}).decode(t, &c)
		r.as(who, "POST", elm+"/corrections/"+string(c.ID)+"/revoke", nil)
		var p api.Approval
		r.as(who, "POST", elm+"/approvals", map[string]any{"from": 0, "to": 10}).decode(t, &p)
		r.as(who, "POST", elm+"/approvals/"+string(p.ID)+"/revoke", nil)
		r.as(who, "DELETE", elm+"/series?from=5&to=9", nil)
		r.as(who, "PATCH", r.path(), map[string]any{"name": "Renamed"})
		r.as(who, "DELETE", r.path("members", string(id)), nil)
		r.as(who, "POST", r.path("devices", string(s.device.ID), "revoke"), nil)
		r.as(who, "DELETE", r.path("devices", string(s.device.ID)), nil)
		r.as(who, "DELETE", r.path("locations", string(s.location.ID))+"?move_to=nowhere", nil)
		var got []string
		all := r.changes(who, since, "&limit=3")
		versions := map[string]int64{}
		for _, c := range all.Items {
			if c.Version != versions[c.ID]+1 && versions[c.ID] != 0 {
				t.Errorf("%+v follows version %d", c, versions[c.ID])
			}
			versions[c.ID] = c.Version
			if w := string(c.Kind) + " " + string(c.Operation); len(got) == 0 || got[len(got)-1] != w {
				got = append(got, w)
			}
		}
		want := []string{"location create", "device create", "device change", "element create", "member create", "location change", "correction create", "correction change",
			"approval create", "approval change", "series delete", "project change", "member delete", "device change", "device delete", "element change", "location delete", "element change"}
		// An event's own things come in the order of their ids.
		sorted := func(w []string) []string { w = slices.Clone(w); slices.Sort(w); return slices.Compact(w) }
		if !slices.Equal(sorted(got), sorted(want)) || got[0] != want[0] {
			t.Errorf("the feed tells\n%v, want\n%v", got, want)
		}
		for _, c := range all.Items {
			if c.Kind == lh.ChangedCorrection && c.Operation == lh.OperationCreate && (c.ElementID != s.elements[0].ID || c.From != 1000 || c.To != 2000) {
				t.Errorf("a correction: %+v", c)
			}
		}
		if again := r.changes(who, since); len(again.Items) != len(all.Items) {
			t.Errorf("pages of 3 give %d changes, one page %d", len(all.Items), len(again.Items))
		}
		if rest := r.changes(who, all.Cursor); len(rest.Items)+len(rest.Days) != 0 {
			t.Errorf("after the end: %+v", rest)
		}
		// Samples, late ones too, when they are folded.
		s = r.site(r.owner, "Ford", "1/level")
		since = r.changes(who, "").Cursor
		now := lh.MillisOf(r.clock.Now())
		r.upload(s, now, 1)
		r.upload(s, now-400*lh.DayMillis, 2)
		if err := r.engine.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		days := r.changes(who, since).Days
		if len(days) != 2 || days[0].ElementID != s.elements[0].ID {
			t.Fatalf("days %+v", days)
		}
		since = r.changes(who, since).Cursor
		r.upload(s, now-400*lh.DayMillis+1, 3)
		if err := r.engine.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		days = r.changes(who, since).Days
		if at := now - 400*lh.DayMillis; len(days) != 1 || days[0].From > at || days[0].To <= at || days[0].To-days[0].From != lh.DayMillis {
			t.Errorf("a late sample: %+v", days)
		}
		if all := r.changes(who, "start"); len(all.Days) != 2 {
			t.Errorf("from the start: %+v", all.Days)
		}
	})
}

// TestChangesAreNeverMissed: who follows the feed while many write sees every change once, in order.
func TestChangesAreNeverMissed(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t, who := r.t, "owner@a.example"
		token := bearer(r.token(who))
		since := r.changes(who, "").Cursor
		const writers, each = 6, 15
		var wg sync.WaitGroup
		var mu sync.Mutex
		made := map[string]bool{}
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					var l api.Location
					r.do("POST", r.path("locations"), map[string]any{"name": fmt.Sprintf("%d %d", w, i)}, token).decode(t, &l)
					mu.Lock()
					made[string(l.ID)] = true
					mu.Unlock()
				}
			})
		}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		seen := map[string]int{}
		for end := false; !end; {
			select {
			case <-done:
				end = true // one more look
			default:
			}
			c := r.changes(who, since, "&limit=4")
			since = c.Cursor
			for _, c := range c.Items {
				seen[c.ID]++
			}
		}
		for id := range made {
			if seen[id] != 1 {
				t.Errorf("%s was told %d times", id, seen[id])
			}
		}
		if len(seen) != writers*each {
			t.Errorf("%d of %d were told", len(seen), writers*each)
		}
	})
}

// TestChangesWait: who waits is answered when something happens, and at once when they are removed.
func TestChangesWait(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		id := r.member("viewer@a.example", lh.RoleViewer)
		r.token("viewer@a.example")
		since := r.changes("viewer@a.example", "").Cursor
		got := make(chan answer, 1)
		wait := func(seconds int) {
			go func() {
				got <- r.as("viewer@a.example", "GET", r.path("changes")+fmt.Sprintf("?wait=%d&since=", seconds)+since, nil)
			}()
		}
		start := time.Now()
		wait(15)
		r.as("owner@a.example", "POST", r.path("locations"), map[string]any{"name": "New"})
		var c api.Changes
		if a := <-got; a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		} else if a.decode(t, &c); len(c.Items) != 1 || time.Since(start) > 10*time.Second {
			t.Errorf("after %s: %+v", time.Since(start), c)
		}
		since = c.Cursor
		start = time.Now()
		wait(1)
		if a := <-got; a.status != 200 || time.Since(start) < 900*time.Millisecond {
			t.Errorf("nothing happened: %d after %s", a.status, time.Since(start))
		}
		wait(30)
		deadline := time.Now().Add(5 * time.Second)
		for r.active.Load() == 0 && time.Now().Before(deadline) {
			time.Sleep(5 * time.Millisecond)
		}
		start = time.Now()
		r.as("owner@a.example", "DELETE", r.path("members", string(id)), nil)
		if a := <-got; a.status != http.StatusNotFound || time.Since(start) > 5*time.Second {
			t.Errorf("removed while waiting: %d after %s: %s", a.status, time.Since(start), a.body)
		}
	})
}

// TestLimitedChanges: somebody limited to some locations is told of what stands there, of what leaves as if it was deleted,
// and of nothing else.
func TestLimitedChanges(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		here, there := r.site(r.owner, "Here", "1/level"), r.site(r.owner, "There", "1/level")
		r.member("limited@a.example", lh.RoleEditor, here.location.ID)
		since := r.changes("limited@a.example", "").Cursor
		r.as("owner@a.example", "PATCH", r.path("locations", string(there.location.ID)), map[string]any{"name": "Elsewhere"})
		r.as("owner@a.example", "PATCH", r.path("devices", string(there.device.ID)), map[string]any{"name": "x"})
		r.as("owner@a.example", "POST", r.path("elements", string(there.elements[0].ID), "corrections"), map[string]any{"from": 0, "to": 9, "kind": "delete"})
		r.upload(there, lh.MillisOf(r.clock.Now()), 1)
		if err := r.engine.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		if got := r.changes("limited@a.example", since); len(got.Items)+len(got.Days) != 0 {
			t.Errorf("of elsewhere is told %+v", got)
		}
		r.as("owner@a.example", "PATCH", r.path("devices", string(here.device.ID)), map[string]any{"location_id": there.location.ID})
		got := r.changes("limited@a.example", since)
		if len(got.Items) != 2 || got.Items[0].Operation != lh.OperationDelete || got.Items[1].Operation != lh.OperationDelete {
			t.Errorf("a device that left: %+v", got.Items)
		}
		r.as("owner@a.example", "PATCH", r.path("devices", string(there.device.ID)), map[string]any{"location_id": here.location.ID})
		all := r.changes("limited@a.example", "start")
		for _, c := range all.Items {
			if c.ID == string(there.location.ID) || c.Kind == lh.ChangedMember && c.ID == "" {
				t.Errorf("is told of %+v", c)
			}
		}
		if len(all.Days) != 1 { // of the element that came
			t.Errorf("days %+v", all.Days)
		}
	})
}

// TestMoves: elements go from device to device and stay readable, devices and locations go, and what is deleted is gone.
func TestMoves(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t, who := r.t, "owner@a.example"
		a, b := r.site(r.owner, "A", "1/level"), r.site(r.owner, "B", "2/level")
		e := string(a.elements[0].ID)
		path := r.path("elements", e)
		at := lh.MillisOf(r.clock.Now())
		read := func(id string) (values []float64) {
			var s api.Series
			r.as(who, "GET", r.path("series")+fmt.Sprintf("?elements=%s&from=0&to=%d", id, at+3600_000), nil).decode(t, &s)
			return s.Series[0].Values
		}
		r.upload(a, at, 1)
		r.as(who, "POST", path+"/approvals", map[string]any{"from": at - 1, "to": at + 1})
		var shown api.Element
		r.as(who, "PATCH", path, map[string]any{"device_id": ""}).decode(t, &shown)
		if shown.DeviceID != "" || shown.Channel != "" || shown.LocationID != a.location.ID || !slices.Equal(read(e), []float64{1}) {
			t.Errorf("off its device: %+v %v", shown, read(e))
		}
		if ls := items[api.Latest](t, r.as(who, "GET", r.path("latest")+"?elements="+e, nil)); len(ls) != 1 || ls[0].Value != 1 {
			t.Errorf("its latest: %+v", ls)
		}
		// What the device brings goes to a new element, at the latest when hubs look again.
		r.clock.Move(11 * time.Second)
		r.upload(a, at+1000, 2)
		es := items[api.Element](t, r.as(who, "GET", r.path("elements")+"?device_id="+string(a.device.ID), nil))
		if len(es) != 1 || string(es[0].ID) == e || es[0].Channel != "1/level" || !slices.Equal(read(string(es[0].ID)), []float64{2}) || !slices.Equal(read(e), []float64{1}) {
			t.Errorf("the device has %+v", es)
		}
		if err := r.engine.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(read(e), []float64{1}) { // approved, so as it stood: by when it arrived from the first device
			t.Errorf("folded, it reads %v", read(e))
		}
		for body, want := range map[string]int{
			`{"device_id":"` + string(b.device.ID) + `"}`: 400, `{"device_id":"` + string(b.device.ID) + `","channel":"2/level"}`: 409, `{"channel":"9/x"}`: 400,
			`{"device_id":"` + string(lh.NewDeviceID()) + `","channel":"9/x"}`: 404, `{"location_id":"` + string(lh.NewLocationID()) + `"}`: 404,
			`{"device_id":"` + string(b.device.ID) + `","channel":"9/x","location_id":"` + string(a.location.ID) + `"}`: 400,
		} {
			if a := r.as(who, "PATCH", path, body); a.status != want {
				t.Errorf("%s: %d %s, want %d", body, a.status, a.body, want)
			}
		}
		r.as(who, "PATCH", path, map[string]any{"device_id": b.device.ID, "channel": "9/level"}).decode(t, &shown)
		if shown.DeviceID != b.device.ID || shown.LocationID != b.location.ID || shown.Channel != "9/level" {
			t.Errorf("at another device: %+v", shown)
		}
		r.clock.Move(11 * time.Second)
		b.elements = []lh.Element{{ID: lh.ElementID(e), Channel: "9/level"}}
		r.upload(b, at+2000, 3)
		if got := read(e); !slices.Equal(got, []float64{1, 3}) {
			t.Errorf("fed by both, it reads %v", got)
		}
		// Deleting.
		if a := r.as(who, "DELETE", path, nil); a.status != 409 {
			t.Errorf("delete while a device feeds it: %d", a.status)
		}
		if a := r.as(who, "DELETE", r.path("devices", string(b.device.ID)), nil); a.status != 409 {
			t.Errorf("delete a device that is not revoked: %d", a.status)
		}
		r.as(who, "POST", r.path("devices", string(b.device.ID), "revoke"), nil)
		if a := r.as(who, "DELETE", r.path("devices", string(b.device.ID))+"?series=delete", nil); a.status != 409 || !strings.Contains(string(a.body), "approved") {
			t.Errorf("delete what is approved: %d %s", a.status, a.body)
		}
		if a := r.as(who, "DELETE", r.path("devices", string(b.device.ID)), nil); a.status != 204 {
			t.Errorf("delete the device: %d %s", a.status, a.body)
		}
		if got := read(e); !slices.Equal(got, []float64{1, 3}) {
			t.Errorf("without its device, it reads %v", got)
		}
		approvals := items[api.Approval](t, r.as(who, "GET", path+"/approvals", nil))
		r.as(who, "POST", path+"/approvals/"+string(approvals[0].ID)+"/revoke", nil)
		if a := r.as(who, "DELETE", path, nil); a.status != 409 || !strings.Contains(string(a.body), "try again") {
			t.Errorf("delete just after: %d %s", a.status, a.body)
		}
		r.clock.Move(time.Minute)
		if a := r.as(who, "DELETE", path, nil); a.status != 204 || r.as(who, "GET", path, nil).status != 404 {
			t.Errorf("delete: %d %s", a.status, a.body)
		}
		for _, l := range items[api.Latest](t, r.as(who, "GET", r.path("latest"), nil)) {
			if string(l.ElementID) == e {
				t.Error("its latest is still told")
			}
		}
		r.as(who, "POST", r.path("devices", string(a.device.ID), "revoke"), nil)
		if a := r.as(who, "DELETE", r.path("devices", string(a.device.ID))+"?series=delete", nil); a.status != 204 {
			t.Errorf("delete a device with its series: %d %s %s", a.status, a.body, r.log)
		}
		if es := items[api.Element](t, r.as(who, "GET", r.path("elements")+"?location_id="+string(a.location.ID), nil)); len(es) != 0 {
			t.Errorf("left of it: %+v", es)
		}
		// A location with an element of no device.
		var lone api.Element
		r.as(who, "POST", r.path("elements"), map[string]any{"name": "Discharge", "location_id": a.location.ID}).decode(t, &lone)
		loc := r.path("locations", string(a.location.ID))
		if a := r.as(who, "DELETE", loc, nil); a.status != 409 || !strings.Contains(string(a.body), "Discharge") {
			t.Errorf("delete a location with an element: %d %s", a.status, a.body)
		}
		for to, want := range map[string]int{string(a.location.ID): 400, string(lh.NewLocationID()): 404} {
			if a := r.as(who, "DELETE", loc+"?move_to="+to, nil); a.status != want {
				t.Errorf("move to %s: %d", to, a.status)
			}
		}
		if a := r.as(who, "DELETE", loc+"?move_to="+string(b.location.ID), nil); a.status != 204 {
			t.Errorf("move to another: %d %s", a.status, a.body)
		}
		if r.as(who, "GET", r.path("elements", string(lone.ID)), nil).decode(t, &lone); lone.LocationID != b.location.ID {
			t.Errorf("moved: %+v", lone)
		}
	})
}
