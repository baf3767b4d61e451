package api_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

// TestCorrectApproveAndLookBack goes the whole way of a correction over the API: made, seen, revoked, approved, locked,
// and the past read as it was.
func TestCorrectApproveAndLookBack(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		s := r.site(r.owner, "", "1/level")
		el := string(s.elements[0].ID)
		base := lh.MillisOf(r.clock.Now()) - 3600_000
		for i := range lh.Millis(4) {
			r.upload(s, base+i*60_000, float64(i))
		}
		tick := func() lh.Millis {
			now := lh.MillisOf(r.clock.Now())
			r.clock.Move(5 * time.Second)
			return now
		}
		values := func(more string) []float64 {
			t.Helper()
			var got api.Series
			r.as("owner@a.example", "GET", fmt.Sprintf("%s?elements=%s&from=%d&to=%d%s", r.path("series"), el, base, base+3600_000, more), nil).decode(t, &got)
			return got.Series[0].Values
		}
		want := func(what, more string, vs ...float64) {
			t.Helper()
			if got := values(more); !slices.Equal(got, vs) {
				t.Errorf("%s: %v, want %v", what, got, vs)
			}
		}
		r.clock.Move(time.Second)
		before := tick()
		corrections, approvals := r.path("elements", el, "corrections"), r.path("elements", el, "approvals")
		var offset, drop api.Correction
		r.as("owner@a.example", "POST", corrections, map[string]any{"from": base + 60_000, "to": base + 180_000, "kind": "offset", "a": 10, "comment": "sensor moved"}).decode(t, &offset)
		between := tick()
		r.as("owner@a.example", "POST", corrections, map[string]any{"from": base, "to": base + 60_000, "kind": "delete"}).decode(t, &drop)
		tick()
		want("corrected", "", 11, 12, 3)
		want("raw", "&raw=true", 0, 1, 2, 3)
		want("before any", fmt.Sprintf("&as_of=%d", before), 0, 1, 2, 3)
		want("between the two", fmt.Sprintf("&as_of=%d", between), 0, 11, 12, 3)
		if offset.Number != 1 || drop.Number != 2 || offset.By == nil || offset.By.ID != r.owner.Actor().ID || offset.Comment != "sensor moved" || offset.Revoked != 0 {
			t.Errorf("corrections: %+v %+v", offset, drop)
		}
		r.as("owner@a.example", "POST", corrections+"/"+string(drop.ID)+"/revoke", nil).decode(t, &drop)
		if drop.Revoked == 0 || drop.RevokedBy == nil {
			t.Errorf("revoked: %+v", drop)
		}
		tick()
		want("one revoked", "", 0, 11, 12, 3)
		if cs := items[api.Correction](t, r.as("owner@a.example", "GET", corrections, nil)); len(cs) != 2 {
			t.Errorf("%d corrections on record", len(cs))
		}

		var approval api.Approval
		r.as("owner@a.example", "POST", approvals, map[string]any{"from": base, "to": base + 120_000, "comment": "checked"}).decode(t, &approval)
		tick()
		r.upload(s, base+30_000, 99) // late, into an approved range: stored, not shown
		r.upload(s, base+150_000, 2.5)
		want("approved", "", 0, 11, 12, 12.5, 3)
		want("raw has all", "&raw=true", 0, 99, 1, 2, 2.5, 3)
		for _, a := range []answer{
			r.as("owner@a.example", "POST", corrections, map[string]any{"from": base, "to": base + 1, "kind": "factor", "a": 2}),
			r.as("owner@a.example", "POST", corrections+"/"+string(offset.ID)+"/revoke", nil),
			r.as("owner@a.example", "POST", approvals, map[string]any{"from": base, "to": base + 1}),
			r.as("owner@a.example", "DELETE", fmt.Sprintf("%s?from=%d&to=%d", r.path("elements", el, "series"), base, base+1), nil),
		} {
			if a.status != 409 || a.problem(t).Code != lh.Conflict {
				t.Errorf("an approved range is altered: %d %s", a.status, a.body)
			}
		}
		if a := r.as("owner@a.example", "POST", approvals+"/"+string(approval.ID)+"/revoke", nil); a.status != 204 {
			t.Errorf("revoke approval: %d %s", a.status, a.body)
		}
		tick()
		want("open again", "", 0, 99, 11, 12, 12.5, 3)
		if a := r.as("owner@a.example", "DELETE", fmt.Sprintf("%s?from=%d&to=%d", r.path("elements", el, "series"), base+30_000, base+30_001), nil); a.status != 204 {
			t.Errorf("delete: %d %s", a.status, a.body)
		}
		want("one deleted for good", "&raw=true", 0, 1, 2, 2.5, 3)
	})
}

func TestHostileCorrections(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		s := r.site(r.owner, "", "1/level")
		path := r.path("elements", string(s.elements[0].ID), "corrections")
		for _, body := range []string{
			`{"from":5,"to":5,"kind":"offset","a":1}`, `{"from":0,"to":1,"kind":"add","a":1}`, `{"from":0,"to":1}`, `{"from":0,"to":1,"kind":"flag"}`, `{"from":0,"to":1,"kind":"flag","flag":7}`,
			`{"from":0,"to":1,"kind":"fill"}`, `{"from":0,"to":1,"kind":"fill","samples":[{"time":1,"value":1}]}`, `{"from":0,"to":9,"kind":"fill","samples":[{"time":2,"value":1},{"time":1,"value":1}]}`,
			`{"from":0,"to":1,"kind":"offset","a":1e999}`, `{"from":0,"to":9,"kind":"offset","samples":[{"time":2,"value":1}]}`, `{"from":-99999999999999999,"to":1,"kind":"delete"}`,
		} {
			if a := r.as("owner@a.example", "POST", path, body); a.status != 400 {
				t.Errorf("%s: %d %s", body, a.status, a.body)
			}
		}
		if a := r.as("owner@a.example", "POST", path+"/cor_0000000000000000/revoke", nil); a.status != 404 {
			t.Errorf("a correction that is not there: %d %s", a.status, a.body)
		}
		if cs := items[api.Correction](t, r.as("owner@a.example", "GET", path, nil)); len(cs) != 0 {
			t.Errorf("refused corrections are on record: %+v", cs)
		}
	})
}

// TestStatistics: days are cut where the location says, functions are what they are called, and null is what is not.
func TestStatistics(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		s := r.site(r.owner, "", "1/level")
		el := string(s.elements[0].ID)
		day := time.Date(2024, 10, 27, 0, 0, 0, 0, time.UTC) // 25 hours in Copenhagen
		for i := -2; i < 48; i++ {                           // every hour from local midnight on
			r.upload(s, lh.MillisOf(day.Add(time.Duration(i)*time.Hour)), float64(i+2)) // 22:00 UTC is midnight
		}
		ask := func(more string) (out api.Statistics) {
			t.Helper()
			r.as("owner@a.example", "GET", fmt.Sprintf("%s?elements=%s&from=%d&to=%d&%s", r.path("statistics"), el,
				lh.MillisOf(day.Add(-2*time.Hour)), lh.MillisOf(day.Add(71*time.Hour)), more), nil).decode(t, &out)
			return out
		}
		got := ask("step=P1D&functions=" + url.QueryEscape("sum,min,last,p50,std_dev"))
		bs := got.Statistics[0].Buckets
		if got.Statistics[0].Zone != "Europe/Copenhagen" || len(bs) != 3 || bs[0].Received != 25 || bs[0].To-bs[0].From != 25*3600_000 || bs[1].Received != 24 {
			t.Fatalf("%+v", got)
		}
		for name, want := range map[string]float64{"sum": 300, "min": 0, "last": 24, "p50": 12} {
			if v := bs[0].Values[name]; v == nil || *v != want {
				t.Errorf("%s is %v, want %v", name, v, want)
			}
		}
		if b := bs[2]; b.Received != 1 || *b.Values["sum"] != 49 || b.Values["std_dev"] != nil || b.Flag != int(lh.FlagGood) {
			t.Errorf("%+v", b)
		}
		if got := ask("step=P1D&zone=" + url.QueryEscape("+01:00")); len(got.Statistics[0].Buckets) != 4 || got.Statistics[0].Buckets[0].Received != 1 {
			t.Errorf("in a fixed offset: %+v", got)
		}
		for _, more := range []string{"step=1d", "step=P1D&functions=median", "step=P1D&functions=p101", "step=P1D&functions=pNaN", "step=P1D&zone=Mars", "step=PT1S&zone=UTC&from=0", "step=PT7M", "zone=UTC"} {
			if a := r.as("owner@a.example", "GET", fmt.Sprintf("%s?elements=%s&to=%d&%s", r.path("statistics"), el, lh.MillisOf(day), more), nil); a.status != 400 {
				t.Errorf("%s: %d %.200s", more, a.status, a.body)
			}
		}
	})
}

func TestDeletedProjectIsNotThere(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		s := r.site(r.owner, "", "1/level")
		r.upload(s, lh.MillisOf(r.clock.Now()), 1)
		token := r.token("owner@a.example")
		if a := r.do("PATCH", r.path(), map[string]any{"retention_days": 30}, bearer(token)); a.status != 200 {
			t.Fatalf("retention: %d %s", a.status, a.body)
		}
		var p api.Project
		if r.do("GET", r.path(), nil, bearer(token)).decode(t, &p); p.RetentionDays != 30 || p.Name != "Skjern Å" {
			t.Errorf("%+v", p)
		}
		for _, name := range []string{"", "?name=Skjern", "?name="} {
			query := "?now=true" + strings.Replace(name, "?", "&", 1)
			if a := r.do("DELETE", r.path()+query, nil, bearer(token)); a.status != 400 {
				t.Fatalf("delete by the name %q: %d %s", name, a.status, a.body)
			}
		}
		if a := r.do("DELETE", r.path()+"?now=true&name=Skjern+%C3%85", nil, bearer(token)); a.status != 204 || len(a.body) != 0 {
			t.Fatalf("delete: %d %s", a.status, a.body)
		}
		for _, path := range []string{r.path(), r.path("devices"), r.path("latest")} {
			if a := r.do("GET", path, nil, bearer(token)); a.status != 404 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		if ps := items[api.Project](t, r.do("GET", "/api/v1/projects", nil, bearer(token))); len(ps) != 0 {
			t.Errorf("projects: %+v", ps)
		}
	})
}

// TestWind: 350° and 10° are north, the calm has no direction, and what has no partner at its instant is left out.
func TestWind(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		s := r.site(r.owner, "", "1/speed", "1/direction")
		hour := lh.Millis(3600_000)
		at := lh.MillisOf(r.clock.Now())/hour*hour - 3*hour
		r.upload(s, at, 2, 350)
		r.upload(s, at+1000, 2, 10)
		r.upload(s, at+2000, 0, 180) // calm
		r.upload(s, at+3000, 50)     // no direction
		r.upload(s, at+2*hour, 3, 90)
		var got api.Wind
		r.as("owner@a.example", "GET", fmt.Sprintf("%s?speed=%s&direction=%s&from=%d&to=%d&step=PT1H&zone=UTC", r.path("wind"), s.elements[0].ID, s.elements[1].ID, at, at+3*hour), nil).decode(t, &got)
		if len(got.Buckets) != 3 {
			t.Fatalf("%+v", got)
		}
		first, empty, last := got.Buckets[0], got.Buckets[1], got.Buckets[2]
		north := func(v *float64) bool { return v != nil && (*v < 1e-9 || *v > 360-1e-9) }
		if first.Pairs != 3 || *first.Speed != 4.0/3 || !north(first.Direction) || !north(first.ResultantDirection) || *first.DirectionStdDev < 9 || *first.DirectionStdDev > 11 {
			t.Errorf("%+v", first)
		}
		if empty.Pairs != 0 || empty.Speed != nil || empty.Direction != nil || empty.ResultantSpeed != nil || empty.DirectionStdDev != nil {
			t.Errorf("an hour without wind: %+v", empty)
		}
		if last.Pairs != 1 || *last.ResultantSpeed != 3 || *last.ResultantDirection != 90 {
			t.Errorf("%+v", last)
		}
		var stats api.Statistics
		r.as("owner@a.example", "GET", fmt.Sprintf("%s?elements=%s&from=%d&to=%d&step=PT1H&functions=direction", r.path("statistics"), s.elements[1].ID, at, at+hour), nil).decode(t, &stats)
		if v := stats.Statistics[0].Buckets[0].Values["direction"]; v == nil {
			t.Errorf("%+v", stats)
		}
	})
}
