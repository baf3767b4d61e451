package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

// TestConditions: what is shown has a tag; who has it already is not sent it again; who changes what has changed since is
// refused and told the version there is.
func TestConditions(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		token := bearer(r.token("owner@a.example"))
		s := r.site(r.owner, "Bridge", "1/level")
		r.upload(s, lh.MillisOf(r.clock.Now()), 1.5)
		loc, dev, elm := r.path("locations", string(s.location.ID)), r.path("devices", string(s.device.ID)), r.path("elements", string(s.elements[0].ID))
		for _, path := range []string{r.path(), loc, dev, elm, r.path("locations"), r.path("devices"), r.path("elements"), r.path("members"), r.path("latest"), "/api/v1/projects", "/api/v1/session"} {
			a := r.do("GET", path, nil, token)
			tag := a.header.Get("ETag")
			if a.status != 200 || len(tag) < 12 || tag[0] != '"' {
				t.Errorf("%s: %d, ETag %q", path, a.status, tag)
				continue
			}
			for given, want := range map[string]int{tag: 304, `"x", ` + tag: 304, "W/" + tag: 304, "*": 304, `"x"`: 200, tag[1:]: 200, "": 200, `"` + strings.Repeat("x", 5000) + `"`: 200} {
				b := r.do("GET", path, nil, token, header("If-None-Match", given))
				if b.status != want || want == 304 && (len(b.body) > 0 || b.header.Get("ETag") != tag) || want == 200 && string(b.body) != string(a.body) {
					t.Errorf("%s with If-None-Match %.40s: %d %.100s", path, given, b.status, b.body)
				}
			}
		}
		for _, path := range []string{r.path(), loc, dev, elm} {
			first := r.do("GET", path, nil, token).header.Get("ETag")
			change := func(name, match string) answer {
				return r.do("PATCH", path, map[string]any{"name": name}, token, header("If-Match", match))
			}
			a := change("One", first)
			second := a.header.Get("ETag")
			if a.status != 200 || second == first || second == "" {
				t.Fatalf("%s: %d %s, tag %q after %q", path, a.status, a.body, second, first)
			}
			if got := r.do("GET", path, nil, token); got.header.Get("ETag") != second {
				t.Errorf("%s: PATCH tells the tag %s, GET %s", path, second, got.header.Get("ETag"))
			}
			a = change("Two", first)
			p := a.problem(t)
			if a.status != 412 || p.Code != lh.Stale || p.Version == 0 || !strings.HasPrefix(second, fmt.Sprintf(`"%d-`, p.Version)) {
				t.Errorf("%s: a change of what changed: %d %+v", path, a.status, p)
			}
			for match, want := range map[string]int{"*": 200, `W/` + second: 412, `"other"`: 412, `"999999999999999999999-x"`: 412, `"-1-x"`: 412, "x": 400, `"`: 400, `"a" "b"`: 400, `"a",`: 400, "\"a\x01\"": 400,
				strings.Repeat(`"a",`, 60) + `"a"`: 400} {
				if strings.ContainsAny(match, "\x01") {
					continue // not to be sent by a client of ours
				}
				if a := change("Two", match); a.status != want {
					t.Errorf("%s with If-Match %.40s: %d %s, want %d", path, match, a.status, a.body, want)
				}
			}
			if a := r.do("GET", path, nil, token); !strings.Contains(string(a.body), `"Two"`) {
				t.Errorf("%s: %s", path, a.body)
			}
		}
		// What a device says of itself changes what is shown, and is no change that somebody could overwrite.
		tag := r.do("GET", dev, nil, token).header.Get("ETag")
		r.clock.Move(60e9)
		r.upload(s, lh.MillisOf(r.clock.Now()), 1.6)
		if a := r.do("GET", dev, nil, token, header("If-None-Match", tag)); a.status != 200 {
			t.Errorf("a device that was heard of meanwhile: %d", a.status)
		}
		if a := r.do("PATCH", dev, map[string]any{"name": "Three"}, token, header("If-Match", tag)); a.status != 200 {
			t.Errorf("a change of it: %d %s", a.status, a.body)
		}
		// Deleting, and what moves with something else.
		tag = r.do("GET", elm, nil, token).header.Get("ETag")
		r.do("PATCH", dev, map[string]any{"location_id": ""}, token)
		if a := r.do("PATCH", elm, map[string]any{"name": "x"}, token, header("If-Match", tag)); a.status != 412 {
			t.Errorf("an element that moved with its device: %d", a.status)
		}
		tag = r.do("GET", loc, nil, token).header.Get("ETag")
		r.do("PATCH", loc, map[string]any{"note": "flooded"}, token)
		if a := r.do("DELETE", loc, nil, token, header("If-Match", tag)); a.status != 412 {
			t.Errorf("delete with an old tag: %d", a.status)
		}
		tag = r.do("GET", loc, nil, token).header.Get("ETag")
		if a := r.do("DELETE", loc, nil, token, header("If-Match", tag)); a.status != 204 {
			t.Errorf("delete with the tag: %d %s", a.status, a.body)
		}
		// What is not there, or not theirs to see, is not found, whatever the condition.
		r.member("limited@a.example", lh.RoleEditor, r.site(r.owner, "There").location.ID)
		for _, path := range []string{loc, dev, elm} {
			for _, match := range []string{"*", `"1-x"`} {
				if a := r.do("PATCH", path, map[string]any{"name": "x"}, bearer(r.token("limited@a.example")), header("If-Match", match)); a.status != 404 {
					t.Errorf("%s by somebody who does not see it: %d", path, a.status)
				}
			}
		}
		if a := r.do("POST", dev+"/revoke", nil, bearer(r.token("limited@a.example")), header("If-Match", `"1-x"`)); a.status != 404 {
			t.Errorf("revoke by somebody who does not see it: %d", a.status)
		}
	})
}

// TestConcurrentChanges: of many who change what they read, one wins; of many who change different fields, all do.
func TestConcurrentChanges(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		token := bearer(r.token("owner@a.example"))
		var l api.Location
		r.do("POST", r.path("locations"), map[string]any{"name": "Bridge"}, token).decode(t, &l)
		path := r.path("locations", string(l.ID))
		for round := range 5 {
			tag := r.do("GET", path, nil, token).header.Get("ETag")
			var mu sync.Mutex
			var wg sync.WaitGroup
			got := map[int]int{}
			for i := range 8 {
				wg.Go(func() {
					a := r.do("PATCH", path, map[string]any{"name": fmt.Sprintf("%d by %d", round, i)}, token, header("If-Match", tag))
					mu.Lock()
					defer mu.Unlock()
					got[a.status]++
				})
			}
			wg.Wait()
			if got[http.StatusOK] != 1 || got[http.StatusPreconditionFailed] != 7 {
				t.Fatalf("of 8 who read the same: %v", got)
			}
		}
		for range 5 {
			var wg sync.WaitGroup
			for _, body := range []map[string]any{{"name": "Weir"}, {"zone": "Europe/Oslo"}, {"latitude": 55.5}, {"note": "by boat"}} {
				wg.Go(func() {
					if a := r.do("PATCH", path, body, token); a.status != 200 {
						t.Errorf("%v: %d %s", body, a.status, a.body)
					}
				})
			}
			wg.Wait()
			r.do("GET", path, nil, token).decode(t, &l)
			if l.Name != "Weir" || l.Zone != "Europe/Oslo" || l.Latitude != 55.5 || l.Note != "by boat" {
				t.Fatalf("a change of another field was lost: %+v", l)
			}
			r.do("PATCH", path, map[string]any{"name": "x", "zone": "", "latitude": 0, "note": ""}, token)
		}
	})
}
