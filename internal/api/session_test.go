package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

func (r *rig) logIn(email, pass string, opts ...option) answer {
	r.t.Helper()
	return r.do("POST", "/api/v1/session", map[string]any{"email": email, "password": pass}, opts...)
}

func sessionCookie(t *testing.T, a answer) *http.Cookie {
	t.Helper()
	lines := a.header.Values("Set-Cookie")
	if len(lines) != 1 {
		t.Fatalf("%d cookies are set", len(lines))
	}
	c, err := http.ParseSetCookie(lines[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSessions(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		a := r.logIn("OWNER@a.example", password)
		var in api.LogIn
		a.decode(t, &in)
		c := sessionCookie(t, a)
		if c.Name != "__Host-loggerhead" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode && c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.Value != in.Token {
			t.Errorf("cookie %+v", c)
		}
		if left := time.Until(c.Expires); left < access.SessionLife-time.Minute || left > access.SessionLife || in.Expires.Time().Sub(c.Expires).Abs() > time.Second {
			t.Errorf("the cookie ends in %s, the session at %s", left, in.Expires.Time())
		}
		if a.header.Get("Cache-Control") != "no-store" || a.status != 200 || len(in.Token) < 40 {
			t.Errorf("log-in: %d, token of %d characters, Cache-Control %q", a.status, len(in.Token), a.header.Get("Cache-Control"))
		}
		var s api.Session
		for _, o := range []option{cookie(c.Value), bearer(in.Token), header("Authorization", "bearer "+in.Token)} {
			r.do("GET", "/api/v1/session", nil, o).decode(t, &s)
			if s.User.Email != "owner@a.example" || len(s.Projects) != 1 || s.Projects[0].Role != lh.RoleOwner || s.Projects[0].ID != r.owner.Project() || s.User.ID != in.User.ID {
				t.Errorf("session %+v", s)
			}
		}
		second := r.token("owner@a.example")
		out := r.do("DELETE", "/api/v1/session", nil, cookie(c.Value))
		gone := sessionCookie(t, out)
		if out.status != 204 || gone.Name != c.Name || gone.Value != "" || !gone.Expires.Before(time.Now()) || !gone.Secure || gone.Path != "/" {
			t.Errorf("log-out: %d, cookie %+v", out.status, gone)
		}
		for _, o := range []option{cookie(c.Value), bearer(in.Token)} {
			if a := r.do("GET", "/api/v1/session", nil, o); a.status != 401 {
				t.Errorf("after log-out: %d", a.status)
			}
		}
		if a := r.do("GET", "/api/v1/session", nil, bearer(second)); a.status != 200 {
			t.Errorf("another session ended with it: %d", a.status)
		}
		for left := access.SessionLife - time.Minute; left > 0; { // in use all the time
			step := min(left, access.IdleLife-time.Hour)
			r.clock.Move(step)
			left -= step
			if a := r.do("GET", "/api/v1/session", nil, bearer(second)); a.status != 200 {
				t.Errorf("%s before its end: %d", left+time.Minute, a.status)
			}
		}
		r.clock.Move(2 * time.Minute)
		if a := r.do("GET", "/api/v1/session", nil, bearer(second)); a.status != 401 {
			t.Errorf("after its end: %d", a.status)
		}
		if a := r.do("GET", r.path("devices"), nil, bearer(second)); a.status != 401 {
			t.Errorf("devices after its end: %d", a.status)
		}
	})
}

// TestLogInTells no more than it must: a wrong password and an unknown address read alike, and tries are bounded.
func TestLogInTells(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		a, b := r.logIn("owner@a.example", "wrong password"), r.logIn("nobody@a.example", password)
		if a.status != 401 || b.status != 401 || string(a.body) != string(b.body) {
			t.Errorf("wrong password: %d %s; unknown address: %d %s", a.status, a.body, b.status, b.body)
		}
		for _, a := range []answer{a, b, r.logIn("owner@a.example", ""), r.logIn("", password), r.logIn("owner@a.example", strings.ToUpper(password)), r.logIn("owner@a.example", password+" ")} {
			if a.status != 401 || a.header.Get("Set-Cookie") != "" || a.problem(t).Code != lh.Unauthenticated {
				t.Errorf("refused log-in: %d %s, cookie %q", a.status, a.body, a.header.Get("Set-Cookie"))
			}
		}
		bounded := false
		for range 20 {
			a := r.logIn("owner@a.example", "wrong password")
			if a.status == 429 {
				if a.problem(t).Code != lh.Exhausted || a.header.Get("Retry-After") == "" {
					t.Errorf("too many tries: %s, Retry-After %q", a.body, a.header.Get("Retry-After"))
				}
				bounded = true
				break
			}
		}
		if !bounded {
			t.Error("passwords may be guessed without a bound")
		}
		if a := r.logIn("owner@a.example", password); a.status != 429 {
			t.Errorf("the right password after too many tries: %d", a.status)
		}
		r.clock.Move(5 * time.Minute)
		if a := r.logIn("owner@a.example", password); a.status != 200 {
			t.Errorf("the right password five minutes later: %d %s", a.status, a.body)
		}
		// Many addresses from one place are bounded too.
		bounded = false
		for i := range 60 {
			if a := r.logIn(strings.Repeat("x", i+1)+"@a.example", "wrong password"); a.status == 429 {
				bounded = true
				break
			}
		}
		if !bounded {
			t.Error("addresses may be tried without a bound")
		}
	})
}

// TestOtherSites: a page of another origin can use nobody's cookie.
func TestOtherSites(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		c := cookie(r.token("owner@a.example"))
		for name, h := range map[string][2]string{"origin": {"Origin", "https://evil.example"}, "site": {"Sec-Fetch-Site", "cross-site"}, "same site, other origin": {"Sec-Fetch-Site", "same-site"}, "no origin at all": {"Origin", "null"}} {
			for _, q := range []struct{ method, path string }{{"POST", r.path("locations")}, {"PATCH", r.path()}, {"DELETE", "/api/v1/session"}, {"PUT", r.path("members")}, {"POST", "/api/v1/session"}} {
				a := r.do(q.method, q.path, map[string]any{"name": "evil", "email": "owner@a.example", "password": password, "role": "viewer"}, c, header(h[0], h[1]))
				if a.status != 403 {
					t.Errorf("%s by %s: %d %s", q.method, name, a.status, a.body)
					continue
				}
				if p := a.problem(t); p.Code != lh.Forbidden {
					t.Errorf("%s by %s: %+v", q.method, name, p)
				}
			}
		}
		a := r.do("POST", r.path("locations"), map[string]any{"name": "ours"}, c, header("Origin", r.server.URL), header("Sec-Fetch-Site", "same-origin"))
		if a.status != 201 {
			t.Errorf("our own page: %d %s", a.status, a.body)
		}
		// What another origin may ask, it may not read: no answer allows it.
		for _, path := range []string{"/api/v1/session", r.path("devices"), "/"} {
			a := r.do("GET", path, nil, c, header("Origin", "https://evil.example"))
			for k := range a.header {
				if strings.HasPrefix(k, "Access-Control-") {
					t.Errorf("%s says %s", path, k)
				}
			}
		}
	})
}

// TestHeaders: every answer of the listener is locked down, errors too.
func TestHeaders(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		token := bearer(r.token("owner@a.example"))
		for _, a := range []answer{r.do("GET", "/", nil), r.do("GET", "/api/v1/session", nil), r.do("GET", r.path("devices"), nil, token), r.do("GET", "/api/docs", nil, token),
			r.do("GET", "/api/v1/nothing", nil, token), r.do("POST", "/x", nil), r.send("GET", r.path("live"), nil, token)} {
			for k, want := range map[string]string{"Strict-Transport-Security": "max-age=", "Content-Security-Policy": "default-src 'self'", "X-Content-Type-Options": "nosniff",
				"Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin"} {
				if !strings.Contains(a.header.Get(k), want) {
					r.t.Errorf("status %d: %s is %q", a.status, k, a.header.Get(k))
				}
			}
			csp := a.header.Get("Content-Security-Policy")
			for _, want := range []string{"frame-ancestors 'none'", "object-src 'none'", "base-uri 'none'", "form-action 'self'"} {
				if !strings.Contains(csp, want) {
					r.t.Errorf("CSP lacks %s: %s", want, csp)
				}
			}
			if script, _, _ := strings.Cut(csp[strings.Index(csp+"script-src", "script-src"):], ";"); strings.Contains(script, "unsafe") {
				r.t.Errorf("CSP allows inline scripts: %s", csp)
			}
			if a.header.Get("Server") != "" || a.header.Get("X-Powered-By") != "" {
				r.t.Error("the answer tells what serves it")
			}
		}
		for _, path := range []string{"/api/v1/session", r.path("devices"), r.path("series")} {
			if a := r.do("GET", path, nil, token); a.header.Get("Cache-Control") != "no-store" {
				r.t.Errorf("%s may be cached: %q", path, a.header.Get("Cache-Control"))
			}
		}
	})
}
