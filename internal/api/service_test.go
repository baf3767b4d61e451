package api_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

// TestServiceAccountsOverTheAPI goes the way of an administrator: account, key, use, rotation, revocation.
func TestServiceAccountsOverTheAPI(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		admin := "admin@a.example"
		r.member(admin, lh.RoleAdministrator)
		var account api.ServiceAccount
		r.as(admin, "POST", r.path("service-accounts"), map[string]any{"name": "Nightly", "role": "viewer", "networks": []string{"127.0.0.1", "2001:db8::/32"}}).decode(r.t, &account)
		if account.Role != lh.RoleViewer || !account.Enabled || strings.Join(account.Networks, " ") != "127.0.0.1/32 2001:db8::/32" {
			r.t.Errorf("%+v", account)
		}
		keys := r.path("service-accounts", string(account.ID), "keys")
		var key api.NewKey
		r.as(admin, "POST", keys, map[string]any{"name": "cron"}).decode(r.t, &key)
		var caller api.Caller
		r.do("GET", "/api/v1/caller", nil, bearer(key.Secret)).decode(r.t, &caller)
		if caller.Kind != lh.ActorService || caller.ID != string(account.ID) || caller.Name != "Nightly" || caller.Project != r.owner.Project() || caller.From != "127.0.0.1" {
			r.t.Errorf("%+v", caller)
		}
		if ps := items[api.Project](r.t, r.do("GET", "/api/v1/projects", nil, bearer(key.Secret))); len(ps) != 1 || ps[0].ID != r.owner.Project() {
			r.t.Errorf("its projects: %+v", ps)
		}
		if a := r.do("POST", r.path("locations"), map[string]any{"name": "x"}, bearer(key.Secret)); a.status != 403 {
			r.t.Errorf("a viewer's key changes: %d", a.status)
		}
		// The secret is shown once and is in no list.
		if a := r.as(admin, "GET", keys, nil); bytes.Contains(a.body, []byte(key.Secret)) || bytes.Contains(a.body, []byte("secret")) {
			r.t.Errorf("the list shows %s", a.body)
		}
		if a := r.as(admin, "PATCH", r.path("service-accounts", string(account.ID)), map[string]any{"role": "editor"}); a.status != 200 {
			r.t.Errorf("%d %s", a.status, a.body)
		}
		if a := r.do("POST", r.path("locations"), map[string]any{"name": "x"}, bearer(key.Secret)); a.status != 201 {
			r.t.Errorf("after a change of role: %d", a.status)
		}
		// The audit trail names the account, and where from.
		var last api.AuditEvent
		for _, e := range items[api.AuditEvent](r.t, r.as(admin, "GET", r.path("audit")+"?limit=1000", nil)) {
			if e.Action == "location.create" {
				last = e
			}
		}
		if last.ActorKind != lh.ActorService || last.ActorID != string(account.ID) {
			r.t.Errorf("the audit trail: %+v", last)
		}
		var fresh api.NewKey
		r.as(admin, "POST", keys+"/"+string(key.ID)+"/rotate", map[string]any{"ends": lh.MillisOf(r.clock.Now().Add(time.Hour))}).decode(r.t, &fresh)
		for _, s := range []string{key.Secret, fresh.Secret} {
			if a := r.do("GET", "/api/v1/caller", nil, bearer(s)); a.status != 200 {
				r.t.Errorf("during the overlap: %d", a.status)
			}
		}
		if a := r.as(admin, "DELETE", keys+"/"+string(key.ID), nil); a.status != 204 {
			r.t.Errorf("%d %s", a.status, a.body)
		}
		a := r.do("GET", "/api/v1/caller", nil, bearer(key.Secret))
		if p := a.problem(r.t); p.Status != 401 || !strings.Contains(p.Detail, "revoked") {
			r.t.Errorf("%+v", p)
		}
		// Nor is a key a cookie, or good from elsewhere.
		if a := r.as(admin, "PATCH", r.path("service-accounts", string(account.ID)), map[string]any{"networks": []string{"203.0.113.0/24"}}); a.status != 200 {
			r.t.Errorf("%d %s", a.status, a.body)
		}
		a = r.do("GET", "/api/v1/caller", nil, bearer(fresh.Secret), header("X-Forwarded-For", "203.0.113.9"), header("Forwarded", "for=203.0.113.9"))
		if p := a.problem(r.t); p.Status != 403 || !strings.Contains(p.Detail, "127.0.0.1") {
			r.t.Errorf("from elsewhere: %+v", p)
		}
		for _, bad := range []string{"192.0.2.1/33", "192.0.2.1/24", "example.org", "", "::ffff:192.0.2.0/120", "fe80::1%eth0"} {
			if a := r.as(admin, "PATCH", r.path("service-accounts", string(account.ID)), map[string]any{"networks": []string{bad}}); a.status != 400 {
				r.t.Errorf("network %q: %d", bad, a.status)
			}
		}
	})
}

// TestRevokedKeyEndsLiveStreams: within a second or so of a revocation, by a key and by a token got with it.
func TestRevokedKeyEndsLiveStreams(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		id, key := r.service(r.owner, lh.RoleViewer)
		_, token, err := r.access.Exchange(ctx, id, key, netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			r.t.Fatal(err)
		}
		var readers []*bufio.Reader
		for _, secret := range []string{key, token} {
			c, cancel := context.WithTimeout(ctx, 30*time.Second)
			defer cancel()
			resp, err := r.server.Client().Do(r.request(c, "GET", r.path("live"), nil, bearer(secret)))
			if err != nil || resp.StatusCode != 200 {
				r.t.Fatal(resp, err)
			}
			defer resp.Body.Close()
			in := bufio.NewReader(resp.Body)
			if _, err := in.ReadString('\n'); err != nil {
				r.t.Fatal(err)
			}
			readers = append(readers, in)
		}
		ks, err := r.db.ProgramKeys(ctx, r.owner, string(id))
		if err != nil {
			r.t.Fatal(err)
		}
		start := time.Now()
		if err := r.db.RevokeKey(ctx, r.owner, string(id), ks[0].ID); err != nil {
			r.t.Fatal(err)
		}
		for _, in := range readers {
			for {
				if _, err := in.ReadString('\n'); err != nil {
					break
				}
			}
		}
		if took := time.Since(start); took > 10*time.Second { // a second, on a machine that is not busy
			r.t.Errorf("streams ended after %s", took)
		}
	})
}

// oauthClient is golang.org/x/oauth2 as a program would use it.
func (r *rig) oauthClient(id lh.ServiceID, secret string, style oauth2.AuthStyle) *clientcredentials.Config {
	return &clientcredentials.Config{ClientID: string(id), ClientSecret: secret, TokenURL: r.server.URL + "/api/v1/oauth/token", AuthStyle: style}
}

// TestOAuth gets and uses tokens with a client that is not ours, in both ways to prove oneself, and with curl.
func TestOAuth(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		id, secret := r.service(r.owner, lh.RoleViewer)
		with := context.WithValue(ctx, oauth2.HTTPClient, r.server.Client())
		for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
			conf := r.oauthClient(id, secret, style)
			token, err := conf.Token(with)
			if err != nil || token.Type() != "Bearer" || !strings.HasPrefix(token.AccessToken, "lht_") {
				r.t.Fatalf("%+v %v", token, err)
			}
			if left := time.Until(token.Expiry); left < access.TokenLife-time.Minute || left > access.TokenLife {
				r.t.Errorf("it lasts %s", left)
			}
			resp, err := conf.Client(with).Get(r.server.URL + r.path("elements"))
			if err != nil {
				r.t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				r.t.Errorf("with a token: %d", resp.StatusCode)
			}
			wrong := "x"
			if strings.HasSuffix(secret, wrong) {
				wrong = "y"
			}
			_, err = r.oauthClient(id, secret[:len(secret)-1]+wrong, style).Token(with)
			refused, ok := err.(*oauth2.RetrieveError)
			if !ok || refused.ErrorCode != "invalid_client" || refused.Response.StatusCode != 401 || refused.Response.Header.Get("WWW-Authenticate") == "" {
				r.t.Errorf("a wrong secret: %v", err)
			}
		}
		if _, err := exec.LookPath("curl"); err == nil {
			out, err := exec.CommandContext(ctx, "curl", "-sk", "--max-time", "20", "-u", string(id)+":"+secret, "-d", "grant_type=client_credentials",
				r.server.URL+"/api/v1/oauth/token").Output()
			var token api.Token
			if err != nil || json.Unmarshal(out, &token) != nil || !strings.HasPrefix(token.AccessToken, "lht_") {
				r.t.Errorf("curl: %s %v", out, err)
			}
		}
	})
}

func TestOAuthRefusals(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		id, secret := r.service(r.owner, lh.RoleViewer)
		form := header("Content-Type", "application/x-www-form-urlencoded")
		basic := func(user, password string) option {
			return header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
		}
		credentials := url.Values{"client_id": {string(id)}, "client_secret": {secret}}.Encode()
		for name, c := range map[string]struct {
			body   string
			opts   []option
			status int
			code   string
		}{
			"good":             {"grant_type=client_credentials&" + credentials, nil, 200, ""},
			"good, by Basic":   {"grant_type=client_credentials", []option{basic(string(id), secret)}, 200, ""},
			"no grant":         {credentials, nil, 400, "invalid_request"},
			"another grant":    {"grant_type=password&" + credentials, nil, 400, "unsupported_grant_type"},
			"a scope":          {"grant_type=client_credentials&scope=all&" + credentials, nil, 400, "invalid_scope"},
			"twice":            {"grant_type=client_credentials&grant_type=client_credentials&" + credentials, nil, 400, "invalid_request"},
			"two ways at once": {"grant_type=client_credentials&" + credentials, []option{basic(string(id), secret)}, 400, "invalid_request"},
			"nobody":           {"grant_type=client_credentials", nil, 401, "invalid_client"},
			"a foreign scheme": {"grant_type=client_credentials&" + credentials, []option{header("Authorization", "Bearer "+secret)}, 401, "invalid_client"},
			"no form":          {"%zz", nil, 400, "invalid_request"},
			"JSON":             {`{"grant_type":"client_credentials"}`, []option{header("Content-Type", "application/json")}, 400, "invalid_request"},
			"too long":         {"grant_type=" + strings.Repeat("x", 1<<17), nil, 400, "invalid_request"},
		} {
			a := r.do("POST", "/api/v1/oauth/token", c.body, append([]option{form}, c.opts...)...)
			var e struct{ Error, ErrorDescription string }
			if err := json.Unmarshal(a.body, &e); err != nil || a.status != c.status || e.Error != c.code {
				r.t.Errorf("%s: %d %s, want %d %s", name, a.status, a.body, c.status, c.code)
			}
			if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" || a.header.Get("Pragma") != "no-cache" {
				r.t.Errorf("%s: %v", name, a.header)
			}
		}
		// Where clients find it; the Host header has no say in it.
		a := r.do("GET", "/.well-known/oauth-authorization-server", nil, func(q *http.Request) { q.Host = "evil.example" })
		var meta map[string]any
		a.decode(r.t, &meta)
		if meta["issuer"] != "https://hub.example" || meta["token_endpoint"] != "https://hub.example/api/v1/oauth/token" {
			r.t.Errorf("%v", meta)
		}
	})
}

// TestUsageIsShown: what a program read is counted, by class, and shown to the administrator.
func TestUsageIsShown(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		s := r.site(r.owner, "Weir", "1/level")
		for i := range 5 {
			r.upload(s, lh.MillisOf(r.clock.Now())-lh.Millis(i)*1000, float64(i))
		}
		id, key := r.service(r.owner, lh.RoleViewer)
		e := string(s.elements[0].ID)
		for _, q := range []string{"series?from=0&to=4000000000000&elements=" + e, "series?format=csv&from=0&to=4000000000000&elements=" + e,
			"latest", "elements", "elements"} {
			if a := r.do("GET", r.path()+"/"+q, nil, bearer(key)); a.status != 200 {
				r.t.Fatalf("%s: %d %s", q, a.status, a.body)
			}
		}
		r.do("POST", r.path("locations"), map[string]any{"name": "x"}, bearer(key))
		if err := r.access.RecordUse(ctx); err != nil {
			r.t.Fatal(err)
		}
		us := items[api.Usage](r.t, r.as("owner@a.example", "GET", r.path("service-accounts", string(id), "usage"), nil))
		got := map[string][2]int64{}
		for _, u := range us {
			got[u.Class] = [2]int64{u.Requests, u.Samples}
			if u.Date != r.clock.Now().UTC().Format(time.DateOnly) {
				r.t.Errorf("day %s", u.Date)
			}
		}
		want := map[string][2]int64{"series": {2, 10}, "latest": {1, 1}, "read": {2, 0}, "change": {1, 0}}
		if len(got) != len(want) {
			r.t.Errorf("%v", got)
		}
		for class, n := range want {
			if got[class] != n {
				r.t.Errorf("%s: %v, want %v", class, got[class], n)
			}
		}
	})
}
