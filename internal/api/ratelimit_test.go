package api_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

// TestRateLimits: each principal has points of their own, dear operations take more, and the headers say how it stands.
func TestRateLimits(t *testing.T) {
	limits := access.Limits{Rate: 0.001, Burst: 20, StrangerRate: 0.001, StrangerBurst: 5, AtOnce: 4}
	each(t, rigOptions{limits: limits}, func(r *rig) {
		s := r.site(r.owner, "Weir", "1/level")
		_, key := r.service(r.owner, lh.RoleViewer)
		owner := r.token("owner@a.example")
		get := func(path, token string) answer { return r.do("GET", r.path()+path, nil, bearer(token)) }
		a := get("/elements", key)
		if a.status != 200 || a.header.Get("RateLimit-Policy") != `"points";q=20;w=20000` || a.header.Get("RateLimit") != `"points";r=19;t=1000` {
			r.t.Errorf("%d %v", a.status, a.header)
		}
		series := "/series?from=0&to=1&elements=" + string(s.elements[0].ID)
		if a = get(series, key); a.status != 200 || !strings.Contains(a.header.Get("RateLimit"), "r=14;") {
			r.t.Errorf("a dear one: %d %v", a.status, a.header)
		}
		get(series, key)
		get(series, key)
		a = get(series, key)
		p := a.problem(r.t)
		if p.Status != 429 || p.Code != lh.Exhausted || !strings.Contains(a.header.Get("RateLimit"), "r=4;") {
			r.t.Errorf("too much: %+v %v", p, a.header)
		}
		if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < 900 || after > 1000 {
			r.t.Errorf("Retry-After: %q", a.header.Get("Retry-After"))
		}
		if a = get("/elements", key); a.status != 200 {
			r.t.Errorf("what is cheap is not possible any more: %d", a.status)
		}
		if a = get("/elements", owner); a.status != 200 || !strings.Contains(a.header.Get("RateLimit"), "r=19;") {
			r.t.Errorf("another principal: %d %v", a.status, a.header)
		}
		r.clock.Move(1000 * time.Second * 5)
		if a = get(series, key); a.status != 200 {
			r.t.Errorf("later: %d %s", a.status, a.body)
		}
		// Strangers: by network, whatever they say they are.
		var last answer
		for i := range 8 {
			last = r.do("GET", "/api/v1/projects", nil, bearer(fmt.Sprint("lhs_", i)))
		}
		if p := last.problem(r.t); p.Status != 429 || last.header.Get("Retry-After") == "" {
			r.t.Errorf("a stranger: %+v", p)
		}
		if a := r.do("POST", "/api/v1/session", map[string]any{"email": "owner@a.example", "password": password}); a.status != 429 {
			r.t.Errorf("a stranger logs in: %d", a.status)
		}
		if a = get("/elements", owner); a.status != 200 {
			r.t.Errorf("somebody known, from the same network: %d", a.status)
		}
	})
}

// TestOneFloodSlowsNobodyElse: a principal that sends much at once waits for itself alone.
func TestOneFloodSlowsNobodyElse(t *testing.T) {
	each(t, rigOptions{limits: access.Limits{AtOnce: 2}}, func(r *rig) {
		_, flood := r.service(r.owner, lh.RoleViewer)
		_, calm := r.service(r.owner, lh.RoleViewer)
		var wg sync.WaitGroup
		var mu sync.Mutex
		statuses := map[int]int{}
		for range 100 {
			wg.Go(func() {
				a := r.do("GET", r.path("elements"), nil, bearer(flood))
				mu.Lock()
				defer mu.Unlock()
				statuses[a.status]++
			})
		}
		for range 5 {
			if a := r.do("GET", r.path("elements"), nil, bearer(calm)); a.status != 200 {
				r.t.Errorf("somebody else: %d", a.status)
			}
		}
		wg.Wait()
		if statuses[200] < 10 || statuses[200]+statuses[429] != 100 {
			r.t.Errorf("the flood: %v", statuses)
		}
	})
}
