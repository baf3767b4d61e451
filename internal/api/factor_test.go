package api_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/access/accesstest"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

// TestSecondFactor: with one, a log-in gives no session and no cookie, but a token that a code makes one of.
func TestSecondFactor(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		own := bearer(r.token("owner@a.example"))
		if a := r.do("POST", "/api/v1/me/totp", nil, own); a.status != 403 || !strings.Contains(a.problem(t).Detail, "confirm first") {
			t.Errorf("set-up without confirming: %d %s", a.status, a.body)
		}
		if a := r.do("POST", "/api/v1/session/confirm", map[string]any{"password": "wrong password"}, own); a.status != 403 {
			t.Errorf("confirmed by a wrong password: %d %s", a.status, a.body)
		}
		var until api.Confirmation
		r.do("POST", "/api/v1/session/confirm", map[string]any{"password": password}, own).decode(t, &until)
		var setup api.TOTPSetup
		r.do("POST", "/api/v1/me/totp", nil, own).decode(t, &setup)
		if u, err := url.Parse(setup.URI); err != nil || u.Scheme != "otpauth" || u.Query().Get("secret") != setup.Secret || u.Query().Get("issuer") != "Loggerhead hub.example" || u.Path != "/Loggerhead hub.example:owner@a.example" {
			t.Errorf("URI %s", setup.URI)
		}
		var codes api.RecoveryCodes
		r.do("POST", "/api/v1/me/totp/confirm", map[string]any{"code": codeAt(t, setup.Secret, r.clock.Now())}, own).decode(t, &codes)
		if len(codes.Codes) != 10 {
			t.Errorf("%d recovery codes", len(codes.Codes))
		}
		var f api.Factors
		r.do("GET", "/api/v1/me/factors", nil, own).decode(t, &f)
		if !f.Password || f.TOTP == 0 || f.Codes != 10 || f.Confirmed != until.Until || !f.CanPasskey || f.Passkeys == nil || f.Identities == nil {
			t.Errorf("%+v", f)
		}
		r.clock.Move(30 * time.Second)

		a := r.logIn("owner@a.example", password)
		var in api.LogIn
		a.decode(t, &in)
		if in.User != nil || in.Token != "" || in.Expires != 0 || in.Factor == nil || !in.Factor.TOTP || !in.Factor.Codes || in.Factor.Passkey || a.header.Get("Set-Cookie") != "" {
			t.Fatalf("log-in: %s, cookie %q", a.body, a.header.Get("Set-Cookie"))
		}
		for _, o := range []option{bearer(in.Factor.Token), cookie(in.Factor.Token)} {
			if a := r.do("GET", "/api/v1/session", nil, o); a.status != 401 {
				t.Errorf("the token of half a log-in is a session: %d", a.status)
			}
		}
		if a := r.logIn("owner@a.example", "wrong password"); a.status != 401 || strings.Contains(string(a.body), "factor") {
			t.Errorf("a wrong password tells of the second factor: %s", a.body)
		}
		finish := func(body map[string]any) answer {
			body["token"] = in.Factor.Token
			return r.do("POST", "/api/v1/session/factor", body)
		}
		if a := finish(map[string]any{"code": "000000"}); a.status != 401 || a.header.Get("Set-Cookie") != "" {
			t.Errorf("a wrong code: %d %s", a.status, a.body)
		}
		if a := finish(map[string]any{}); a.status != 400 {
			t.Errorf("no answer: %d %s", a.status, a.body)
		}
		a = finish(map[string]any{"code": codeAt(t, setup.Secret, r.clock.Now())})
		c := sessionCookie(t, a)
		var full api.LogIn
		a.decode(t, &full)
		if c.Name != "__Host-loggerhead" || c.Value != full.Token || !c.HttpOnly || !c.Secure || full.Factor != nil || full.User == nil {
			t.Errorf("%+v, %s", c, a.body)
		}
		var s api.Session
		r.do("GET", "/api/v1/session", nil, cookie(c.Value)).decode(t, &s)
		if s.Proof != lh.ProofTOTP || s.Missing {
			t.Errorf("%+v", s)
		}
		// The Consibio API cannot ask for a code, and says so in its own way; nor does it take half a log-in.
		for _, path := range []string{"/api/v1/me/totp", "/api/v1/me/recovery-codes"} {
			if a := r.do("GET", path, nil, own); a.status != 405 && a.status != 404 {
				t.Errorf("GET %s: %d", path, a.status)
			}
		}
		if a := r.do("DELETE", "/api/v1/me/totp", nil, own); a.status != 204 {
			t.Errorf("removal: %d %s", a.status, a.body)
		}
		if a := r.do("DELETE", "/api/v1/me/totp", nil, own); a.status != 404 {
			t.Errorf("removal of nothing: %d %s", a.status, a.body)
		}
		// Secrets are in no log.
		for what, secret := range map[string]string{"secret": setup.Secret, "recovery code": codes.Codes[0], "token": full.Token, "half a log-in": in.Factor.Token} {
			if strings.Contains(r.log.String(), secret) {
				t.Errorf("the log has the %s", what)
			}
		}
	})
}

// TestPasskey: made, named, and logging in, over HTTP; a page of another site cannot ask for it.
func TestPasskey(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		own := bearer(r.token("owner@a.example"))
		r.do("POST", "/api/v1/session/confirm", map[string]any{"password": password}, own)
		var q api.PasskeyQuestion
		r.do("POST", "/api/v1/me/passkeys/question", nil, own).decode(t, &q)
		auth := &accesstest.Authenticator{Origin: hubURL}
		made, err := auth.Create(q.Options)
		if err != nil {
			t.Fatal(err)
		}
		var added api.AddedPasskey
		r.do("POST", "/api/v1/me/passkeys", map[string]any{"name": "Phone", "passkey": made}, own).decode(t, &added)
		if added.Passkey.Name != "Phone" || len(added.Codes) != 10 {
			t.Errorf("%+v", added)
		}
		if a := r.do("POST", "/api/v1/me/passkeys", map[string]any{"name": "Phone", "passkey": made}, own); a.status != 403 {
			t.Errorf("the same answer again: %d %s", a.status, a.body)
		}
		r.do("POST", "/api/v1/session/passkey/question", map[string]any{}).decode(t, &q)
		got, err := auth.Get(q.Options, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a := r.do("POST", "/api/v1/session/passkey", map[string]any{"passkey": got}, header("Origin", "https://evil.example")); a.status != 403 {
			t.Errorf("from another site: %d %s", a.status, a.body)
		}
		a := r.do("POST", "/api/v1/session/passkey", map[string]any{"passkey": got})
		var in api.LogIn
		a.decode(t, &in)
		if in.User == nil || in.User.Email != "owner@a.example" || sessionCookie(t, a).Value != in.Token {
			t.Errorf("%s", a.body)
		}
		if a := r.do("POST", "/api/v1/session/passkey", map[string]any{"passkey": got}); a.status != 401 || a.header.Get("Set-Cookie") != "" {
			t.Errorf("replay: %d %s", a.status, a.body)
		}
		path := "/api/v1/me/passkeys/" + string(added.Passkey.ID)
		if a := r.do("PATCH", path, map[string]any{"name": "Old phone"}, own); a.status != 204 {
			t.Errorf("rename: %d %s", a.status, a.body)
		}
		stranger := r.proven(r.person())
		if a := r.do("DELETE", path, nil, bearer(r.tokens[stranger.User.Email])); a.status != 404 {
			t.Errorf("removed by a stranger: %d %s", a.status, a.body)
		}
		if a := r.do("DELETE", path, nil, own); a.status != 204 {
			t.Errorf("removal: %d %s", a.status, a.body)
		}
	})
}

// TestProviderLogIn: the browser that set out, and no other, comes back to a session; where it comes back to is the
// configuration's alone.
func TestProviderLogIn(t *testing.T) {
	each(t, rigOptions{provider: true}, func(r *rig) {
		t := r.t
		who := r.proven(r.person())
		r.linked(who)
		r.provider.Claims = nil
		if ps := items[api.Provider](t, r.do("GET", "/api/v1/session/providers", nil)); len(ps) != 1 || ps[0] != (api.Provider{Name: "corp", Label: "Corp"}) {
			t.Errorf("providers %+v", ps)
		}
		start := func() (*http.Cookie, url.Values) {
			t.Helper()
			a := r.do("POST", "/api/v1/session/oidc/start", map[string]any{"provider": "corp"}, func(q *http.Request) { q.Host = "evil.example" },
				header("X-Forwarded-Host", "evil.example"), header("Forwarded", "host=evil.example"))
			c := sessionCookie(t, a)
			if c.Name != "__Host-loggerhead-visit" || !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || time.Until(c.Expires) > 5*time.Minute {
				t.Errorf("cookie %+v", c)
			}
			var v api.Visit
			a.decode(t, &v)
			if u, err := url.Parse(v.URL); err != nil || u.Query().Get("redirect_uri") != hubURL+"/sso/corp" || strings.Contains(v.URL, "evil.example") {
				t.Errorf("sent to %s", v.URL)
			}
			q, err := r.provider.Visit(v.URL)
			if err != nil {
				t.Fatal(err)
			}
			return c, q
		}
		finish := func(c *http.Cookie, q url.Values) answer {
			return r.do("POST", "/api/v1/session/oidc/finish", map[string]any{"provider": "corp", "state": q.Get("state"), "code": q.Get("code")}, func(r *http.Request) {
				if c != nil {
					r.AddCookie(c)
				}
			})
		}
		_, q := start()
		if a := finish(nil, q); a.status != 401 || a.header.Get("Set-Cookie") != "" {
			t.Errorf("without the cookie: %d %s", a.status, a.body)
		}
		c, _ := start()
		_, q = start()
		if a := finish(c, q); a.status != 401 {
			t.Errorf("another browser: %d %s", a.status, a.body)
		}
		c, q = start()
		a := finish(c, q)
		var in api.LogIn
		a.decode(t, &in)
		if in.User == nil || in.User.ID != who.User.ID {
			t.Fatalf("%s", a.body)
		}
		lines := a.header.Values("Set-Cookie")
		if len(lines) != 2 || !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "__Host-loggerhead="+in.Token+";") }) ||
			!slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "__Host-loggerhead-visit=;") }) {
			t.Errorf("cookies %q", lines)
		}
		if a := finish(c, q); a.status != 401 {
			t.Errorf("again: %d %s", a.status, a.body)
		}
		if a := r.do("POST", "/api/v1/session/oidc/start", map[string]any{"provider": "nobody"}); a.status != 404 {
			t.Errorf("an unknown provider: %d %s", a.status, a.body)
		}
		if a := r.do("POST", "/api/v1/session/oidc/start", map[string]any{"provider": "corp"}, header("Origin", "https://evil.example")); a.status != 403 {
			t.Errorf("set out by another site: %d %s", a.status, a.body)
		}
		// A stranger there is refused here, and is told nothing of who has an account.
		r.provider.As(accesstest.Person{Subject: "stranger", Email: "owner@a.example", Verified: true})
		c, q = start()
		if a := finish(c, q); a.status != 403 || !strings.HasPrefix(a.problem(t).Detail, "no account here goes with yours at Corp") {
			t.Errorf("a stranger: %d %s", a.status, a.body)
		}
	})
}

// TestFactorRequired: where the installation wants a second factor, a session without opens what sets one up, and nothing
// else of all there is.
func TestFactorRequired(t *testing.T) {
	setsUp := []string{"get-session", "log-out", "confirm-session", "ask-passkey-again", "get-factors", "begin-totp", "confirm-totp", "begin-passkey", "add-passkey",
		"get-account", "change-password", "list-sessions", "end-session", "end-other-sessions"}
	each(t, rigOptions{require: access.RequireAll, provider: true}, func(r *rig) {
		t := r.t
		token := r.token("owner@a.example")
		var s api.Session
		r.do("GET", "/api/v1/session", nil, bearer(token)).decode(t, &s)
		if !s.Missing || len(s.Projects) != 0 {
			t.Errorf("%+v", s)
		}
		for _, route := range api.Routes() {
			if route.Public {
				continue
			}
			p := strings.NewReplacer("{project}", string(r.owner.Project())).Replace(route.Path)
			if strings.Contains(p, "{") || slices.Contains(setsUp, route.ID) {
				continue
			}
			for _, o := range []option{bearer(token), cookie(token)} {
				if a := r.send(route.Method, p, nil, o); a.status != 403 || !strings.Contains(a.problem(t).Detail, "wants a second factor") {
					t.Errorf("%s: %d %s", route.ID, a.status, a.body)
				}
			}
		}
		p, err := r.access.Authenticate(ctx, token, access.Principal{}.Remote)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.db.ConfirmSession(ctx, p.Session.ID, lh.MillisOf(r.clock.Now())); err != nil {
			t.Fatal(err)
		}
		if p, err = r.access.Authenticate(ctx, token, access.Principal{}.Remote); err != nil {
			t.Fatal(err)
		}
		r.app(p)
		if a := r.do("GET", r.path("devices"), nil, bearer(token)); a.status != 200 {
			t.Errorf("after setting one up: %d %s", a.status, a.body)
		}
	})
}
