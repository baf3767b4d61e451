package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

// TestIdempotency: a request with a key is carried out once, however often it is sent, and gets the same answer each time.
func TestIdempotency(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		r.member("editor@a.example", lh.RoleEditor)
		token, other := bearer(r.token("owner@a.example")), bearer(r.token("editor@a.example"))
		key := func(k string) option { return header("Idempotency-Key", k) }
		count := func() int { return len(items[any](t, r.do("GET", r.path("locations")+"?limit=1000", nil, token))) }
		body := map[string]any{"name": "Bridge"}
		first := r.do("POST", r.path("locations"), body, token, key("k1"))
		again := r.do("POST", r.path("locations"), body, token, key(`"k1"`))
		if first.status != 201 || again.status != 201 || !bytes.Equal(first.body, again.body) || again.header.Get("Idempotency-Replayed") != "true" ||
			first.header.Get("Idempotency-Replayed") != "" || again.header.Get("ETag") != first.header.Get("ETag") || again.header.Get("Content-Type") != first.header.Get("Content-Type") || count() != 1 {
			t.Errorf("twice with one key: %d %v %s, then %d %v %s; %d made", first.status, first.header, first.body, again.status, again.header, again.body, count())
		}
		if a := r.do("POST", r.path("locations"), map[string]any{"name": "Weir"}, token, key("k1")); a.status != 422 || a.problem(t).Code != "key_reused" {
			t.Errorf("another request with the key: %d %s", a.status, a.body)
		}
		// Somebody else's key, and the same for another operation, are others.
		if a := r.do("POST", r.path("locations"), body, other, key("k1")); a.status != 201 || a.header.Get("Idempotency-Replayed") != "" || count() != 2 {
			t.Errorf("the same key by somebody else: %d", a.status)
		}
		if a := r.do("POST", r.path("elements"), map[string]any{"name": "E"}, token, key("k1")); a.status != 201 || a.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("the same key for another operation: %d", a.status)
		}
		// Refusals are answers, too; what may get better is not kept.
		for range 2 {
			if a := r.do("POST", r.path("locations"), map[string]any{"name": ""}, token, key("k2")); a.status != 400 {
				t.Errorf("invalid: %d", a.status)
			}
		}
		for _, k := range []string{"", strings.Repeat("x", 256), "a\\b", `"`, `"a`} {
			if a := r.do("POST", r.path("locations"), body, token, key(k)); a.status != 400 && k != "" {
				t.Errorf("key %.20q: %d", k, a.status)
			}
		}
		n := count()
		// Many at once: one is carried out.
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := map[string]int{}
		for range 10 {
			wg.Go(func() {
				a := r.do("POST", r.path("locations"), map[string]any{"name": "Race"}, token, key("k3"))
				mu.Lock()
				defer mu.Unlock()
				got[fmt.Sprint(a.status)]++
				if a.status == 201 {
					got[string(a.body)]++
				} else if p := a.problem(t); p.Code != "under_way" || a.header.Get("Retry-After") == "" {
					t.Errorf("meanwhile: %d %+v", a.status, p)
				}
			})
		}
		wg.Wait()
		if count() != n+1 || got["201"] == 0 || got["201"]+got["409"] != 10 {
			t.Errorf("10 at once made %d: %v", count()-n, got)
		}
		// Bulks.
		for range 2 {
			if a := r.do("POST", r.path("locations", "bulk"), "name\na\nb\n", token, key("k4"), header("Content-Type", "text/csv")); a.status != 201 {
				t.Errorf("bulk: %d %s", a.status, a.body)
			}
		}
		if count() != n+3 {
			t.Errorf("a bulk sent twice made %d", count()-n-1)
		}
		// Who may not any more is not told what their key gave.
		who := items[api.Member](t, r.do("GET", r.path("members")+"?q=editor@a.example", nil, token))[0].UserID
		r.do("DELETE", r.path("members", string(who)), nil, token)
		if a := r.do("POST", r.path("locations"), body, other, key("k1")); a.status != 404 || a.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("a removed member gets %d %s", a.status, a.body)
		}
		// On what is no POST the header says nothing.
		if a := r.do("GET", r.path("locations"), nil, token, key("k1")); a.status != http.StatusOK {
			t.Errorf("GET with a key: %d", a.status)
		}
	})
}

// TestSecretsAreNotKept: an answer that shows a secret is not kept for its key; whoever repeats the request is told so.
func TestSecretsAreNotKept(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		token := bearer(r.token("owner@a.example"))
		body := map[string]any{"name": "Scripts", "role": "viewer"}
		var made struct{ ID string }
		r.do("POST", r.path("service-accounts"), body, token).decode(t, &made)
		path := r.path("service-accounts", made.ID, "keys")
		first := r.do("POST", path, map[string]any{"name": "laptop"}, token, header("Idempotency-Key", "s1"))
		again := r.do("POST", path, map[string]any{"name": "laptop"}, token, header("Idempotency-Key", "s1"))
		if first.status != 201 || again.status != 409 || again.problem(t).Code != lh.Conflict || !strings.Contains(string(again.body), "carried out") {
			t.Errorf("%d %s, then %d %s", first.status, first.body, again.status, again.body)
		}
		if n := len(items[any](t, r.do("GET", path, nil, token))); n != 1 {
			t.Errorf("%d keys were made", n)
		}
		var secret []string
		for id, keeps := range api.Secrets() {
			if keeps {
				secret = append(secret, id)
			}
		}
		for _, id := range []string{"create-service-account-key", "rotate-service-account-key", "create-integration-key", "renew-recovery-codes", "log-in"} {
			if !api.Secrets()[id] {
				t.Errorf("the answer of %s would be kept; those of %v are not", id, secret)
			}
		}
	})
}
