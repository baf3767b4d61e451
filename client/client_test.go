package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/loggerhead-cloud/loggerhead/client"
)

var ctx = context.Background()

// serve starts a server that answers like a hub does, or as badly as a test wants. What the client does with a real
// hub, the tests of internal/server and e2e show.
func serve(t *testing.T, h http.HandlerFunc) (*client.Client, *httptest.Server) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c, err := client.New(s.URL, client.Options{Roots: roots, Token: "lhs_x", Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, s
}

func TestOnlyHTTPS(t *testing.T) {
	for _, base := range []string{"", "hub.example.org", "http://hub.example.org", "ftp://x", "https://", "//hub", "://"} {
		if _, err := client.New(base, client.Options{}); err == nil {
			t.Errorf("%q is taken", base)
		}
	}
	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
	old.Config.ErrorLog = log.New(io.Discard, "", 0)
	old.StartTLS()
	defer old.Close()
	roots := x509.NewCertPool()
	roots.AddCert(old.Certificate())
	c, err := client.New(old.URL, client.Options{Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Projects(ctx); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.2: %v", err)
	}
	stranger := httptest.NewUnstartedServer(http.NotFoundHandler())
	stranger.Config.ErrorLog = log.New(io.Discard, "", 0)
	stranger.StartTLS()
	defer stranger.Close()
	c, err = client.New(stranger.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Projects(ctx); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody known: %v", err)
	}
}

// TestRedirects: a token goes to the hub it is of and nowhere else, least of all in plaintext.
func TestRedirects(t *testing.T) {
	var seen []string
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		io.WriteString(w, `{"items":[]}`)
	}))
	defer plain.Close()
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL, http.StatusTemporaryRedirect)
	})
	if _, err := c.Projects(ctx); err == nil {
		t.Error("a redirect is followed, or taken for an answer")
	}
	if len(seen) > 0 {
		t.Errorf("the client went to a plaintext server, with %q", seen)
	}
}

func TestErrors(t *testing.T) {
	for _, a := range []struct {
		status     int
		kind, body string
		want       client.Error
	}{
		{404, "application/problem+json", `{"status":404,"code":"not_found","detail":"there is no such project"}`, client.Error{Status: 404, Code: "not_found", Detail: "there is no such project"}},
		{502, "text/html", "<html>", client.Error{Status: 502, Detail: "502 Bad Gateway"}},
		{500, "application/problem+json", `{"status`, client.Error{Status: 500, Detail: "500 Internal Server Error"}},
		{429, "application/problem+json; charset=utf-8", `{"code":"exhausted","detail":"later"}`, client.Error{Status: 429, Code: "exhausted", Detail: "later"}},
	} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", a.kind)
			w.WriteHeader(a.status)
			io.WriteString(w, a.body)
		})
		_, err := c.Projects(ctx)
		var e *client.Error
		if !errors.As(err, &e) || e.Status != a.want.Status || e.Code != a.want.Code || e.Detail != a.want.Detail || e.Error() != a.want.Detail {
			t.Errorf("status %d: %+v, want %+v", a.status, err, a.want)
		}
	}
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := c.Projects(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a hub that says nothing: %v", err)
	}
	c, _ = serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"items":[{"id":"prj_`) })
	if _, err := c.Projects(ctx); err == nil {
		t.Error("half an answer is taken for the whole")
	}
}

// TestPages: a list is read to its end, and a hub whose list leads in a circle, or elsewhere, is not followed.
func TestPages(t *testing.T) {
	next := map[string]string{"": "/api/v1/projects?cursor=a&limit=1000", "a": "https://elsewhere.example/?cursor=b", "b": ""}
	c, s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		at := r.URL.Query().Get("cursor")
		fmt.Fprintf(w, `{"items":[{"id":"p%s"}],"next":%q}`, at, next[at])
	})
	ps, err := c.Projects(ctx)
	if err != nil || len(ps) != 3 || ps[2].ID != "pb" {
		t.Errorf("%+v, %v", ps, err)
	}
	next["b"] = "/api/v1/projects?cursor=b"
	if _, err := c.Projects(ctx); err == nil || !strings.Contains(err.Error(), "leads nowhere") {
		t.Errorf("a list in a circle: %v", err)
	}
	s.Close()
}

// TestRequests: each call is the operation it says, with the token, and what it is told arrives.
func TestRequests(t *testing.T) {
	var got *http.Request
	var body map[string]any
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got, body = r, nil
		json.NewDecoder(r.Body).Decode(&body) // most have none
		switch {
		case r.Method == "POST" && r.URL.Path == "/api/v1/session":
			io.WriteString(w, `{"user":{"id":"usr_1","email":"a@b.example","operator":true},"token":"lhs_new"}`)
		case r.URL.Path == "/api/v1/projects/p%2F1/series" || strings.HasSuffix(r.URL.Path, "/series"):
			io.WriteString(w, `{"series":[{"element_id":"e","count":2,"times":[1,2],"values":[0.5,-1e300],"flags":[1,9],"gaps":[[1,2]],"reduced":true}]}`)
		case r.Method == "DELETE" || r.Method == "PUT":
			w.WriteHeader(http.StatusNoContent)
		default:
			io.WriteString(w, `{"id":"x","items":[{"id":"y","name":"n"}]}`)
		}
	})
	check := func(err error, method, path string) {
		t.Helper()
		if err != nil || got.Method != method || got.URL.RequestURI() != path || got.Header.Get("Authorization") != "Bearer "+"lhs_x" {
			t.Errorf("%s %s with %q: %v; want %s %s", got.Method, got.URL.RequestURI(), got.Header.Get("Authorization"), err, method, path)
		}
	}
	ps, err := c.Projects(ctx)
	check(err, "GET", "/api/v1/projects?limit=1000")
	if len(ps) != 1 || ps[0].ID != "y" || ps[0].Name != "n" {
		t.Errorf("projects %+v", ps)
	}
	_, err = c.CreateProject(ctx, "Å", "UTC")
	check(err, "POST", "/api/v1/projects")
	if body["name"] != "Å" || body["zone"] != "UTC" {
		t.Errorf("sent %v", body)
	}
	_, err = c.Devices(ctx, "a/../b?c")
	check(err, "GET", "/api/v1/projects/a%2F..%2Fb%3Fc/devices?limit=1000")
	_, err = c.Elements(ctx, "p", "dev&x=1")
	check(err, "GET", "/api/v1/projects/p/elements?device_id=dev%26x%3D1&limit=1000")
	check(c.RevokeDevice(ctx, "p", "d"), "POST", "/api/v1/projects/p/devices/d/revoke")
	check(c.ChangeMember(ctx, "p", "u/v", "viewer", "loc"), "PATCH", "/api/v1/projects/p/members/u%2Fv")
	if body["role"] != "viewer" || len(body["locations"].([]any)) != 1 || len(body) != 2 {
		t.Errorf("sent %v", body)
	}
	_, err = c.Invite(ctx, "p", "a@b.example", "editor")
	check(err, "POST", "/api/v1/projects/p/invitations")
	if body["email"] != "a@b.example" || body["role"] != "editor" || len(body) != 2 {
		t.Errorf("sent %v", body)
	}
	_, err = c.AcceptInvitation(ctx, "i?x")
	check(err, "POST", "/api/v1/invitations/i%3Fx/accept")
	check(c.DestroyProject(ctx, "p", "Å &c"), "DELETE", "/api/v1/projects/p?name=%C3%85+%26c&now=true")
	days := 0
	_, err = c.ChangeProject(ctx, "p", client.ProjectChange{RetentionDays: &days})
	check(err, "PATCH", "/api/v1/projects/p")
	if body["retention_days"] != 0.0 || len(body) != 1 {
		t.Errorf("sent %v", body)
	}
	_, err = c.ClaimDevice(ctx, "p", client.Claim{Serial: "s", ClaimCode: "c", Name: "n", MaxOffline: 60})
	check(err, "POST", "/api/v1/projects/p/devices")
	if body["serial"] != "s" || body["claim_code"] != "c" || body["max_offline"] != 60.0 || len(body) != 4 {
		t.Errorf("sent %v", body)
	}
	_, err = c.CreateLocation(ctx, "p", client.Location{ID: "mine to choose?", Name: "n", Latitude: 1})
	check(err, "POST", "/api/v1/projects/p/locations")
	if _, ok := body["id"]; ok {
		t.Errorf("sent %v", body)
	}
	s, err := c.Series(ctx, "p", []string{"a", "b"}, -5, 10, 100)
	check(err, "GET", "/api/v1/projects/p/series?elements=a%2Cb&format=json&from=-5&points=100&to=10")
	if len(s) != 1 || s[0].Values[1] != -1e300 || s[0].Gaps[0] != [2]int64{1, 2} || !s[0].Reduced || s[0].Flags[1] != 9 {
		t.Errorf("series %+v", s)
	}
	check(c.LogOut(ctx), "DELETE", "/api/v1/session")
	if c.Token() != "" {
		t.Error("the token outlives the log-out")
	}
	u, err := c.LogIn(ctx, "a@b.example", "secret")
	if err != nil || c.Token() != "lhs_new" || !u.Operator || got.Header.Get("Authorization") != "" {
		t.Errorf("log-in: %+v %v, token %q", u, err, c.Token())
	}
}

func TestExport(t *testing.T) {
	const head = "time,element_id,value,flag\n"
	for name, a := range map[string]struct {
		body string
		cut  bool
		n    int
		ok   bool
	}{
		"whole":        {body: head + "1969-12-31T23:59:59.999Z,e,-0.1,1\n0001-01-01T00:00:00.000Z,e,1e300,9\n", n: 2, ok: true},
		"none":         {body: head, ok: true},
		"cut":          {body: head + "2026-01-01T00:00:00.000Z,e,1,1\n2026-01-", cut: true, n: 1},
		"bad time":     {body: head + "yesterday,e,1,1\n"},
		"bad value":    {body: head + "2026-01-01T00:00:00.000Z,e,one,1\n"},
		"bad flag":     {body: head + "2026-01-01T00:00:00.000Z,e,1,x\n"},
		"few columns":  {body: head + "2026-01-01T00:00:00.000Z,e,1\n"},
		"another form": {body: "<html>"},
		"another head": {body: "zeit,element_id,value,flag\n2026-01-01T00:00:00.000Z,e,1,1\n"},
		"empty":        {},
	} {
		c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("format") != "csv" {
				t.Errorf("%s: asked for %s", name, r.URL)
			}
			io.WriteString(w, a.body)
			if a.cut {
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
		})
		var got []client.Sample
		var err error
		for s, e := range c.Export(ctx, "p", []string{"e"}, 0, 1) {
			if err = e; err == nil {
				got = append(got, s)
			}
		}
		if (err == nil) != a.ok || len(got) != a.n {
			t.Errorf("%s: %d samples, %v", name, len(got), err)
		}
		if name == "whole" && (got[0] != client.Sample{ElementID: "e", Time: -1, Value: -0.1, Flag: 1} || got[1].Time != -62135596800000 || got[1].Value != 1e300) {
			t.Errorf("%+v", got)
		}
	}
	// A reader that has enough leaves; nothing hangs.
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, head)
		for i := range 1_000_000 {
			if _, err := fmt.Fprintf(w, "2026-01-01T00:00:00.%03dZ,e,1,1\n", i%1000); err != nil {
				return
			}
		}
	})
	for _, err := range c.Export(ctx, "p", []string{"e"}, 0, 1) {
		if err != nil {
			t.Error(err)
		}
		break
	}
}
