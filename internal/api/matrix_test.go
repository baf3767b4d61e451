package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// least is the least role that may call each operation, written out by hand: "public", "signed in",
// "operator", or a role in the project.
var least = joined(coreLeast, peopleLeast, factorLeast, serviceLeast, projectLeast, changeLeast, exportLeast, auditLeast, pairingLeast)

// joined puts tables together that have no name in common.
func joined[T any](tables ...map[string]T) map[string]T {
	all := map[string]T{}
	for _, t := range tables {
		for name, v := range t {
			if _, there := all[name]; there {
				panic("operation " + name + " is in two tables")
			}
			all[name] = v
		}
	}
	return all
}

var coreLeast = map[string]string{
	"log-in": "public", "get-session": "signed in", "log-out": "signed in",
	"list-locations": "viewer", "get-location": "viewer", "list-devices": "viewer",
	"get-device": "viewer", "list-elements": "viewer", "get-element": "viewer", "list-latest": "viewer", "get-series": "viewer", "stream-live": "viewer",
	"create-location": "editor", "change-location": "editor", "delete-location": "editor", "claim-device": "editor", "change-device": "editor",
	"revoke-device": "editor", "create-element": "editor", "change-element": "editor",
	"get-statistics": "viewer", "get-wind": "viewer", "list-corrections": "viewer", "list-approvals": "viewer",
	"add-correction": "editor", "revoke-correction": "editor", "approve-series": "editor", "revoke-approval": "editor",
	"delete-series": "owner",
}

// call is a request that succeeds for whoever may send it: the path's parts, the query and the body.
type call struct {
	path  map[string]string
	query string
	body  any
	kind  string                  // type of the body; "" is JSON
	token string                  // to ask with instead of one's own, since the call ends it
	visit string                  // cookie of a visit to a provider
	from  func(email string) call // where it depends on who asks; the rest is then for who is refused
}

// calls makes a fresh call of each operation, on things of scope's project.
var calls = joined(coreCalls, peopleCalls, factorCalls, serviceCalls, projectCalls, changeCalls, exportCalls, auditCalls, pairingCalls)

var coreCalls = map[string]func(r *rig, sc store.Scope) call{
	"log-in": func(*rig, store.Scope) call {
		return call{body: map[string]any{"email": "owner@a.example", "password": password}}
	},
	"get-session":     func(*rig, store.Scope) call { return call{} },
	"log-out":         func(*rig, store.Scope) call { return call{} },
	"list-locations":  func(*rig, store.Scope) call { return call{} },
	"create-location": func(*rig, store.Scope) call { return call{body: map[string]any{"name": "Bridge"}} },
	"get-location":    locationCall(nil),
	"change-location": locationCall(map[string]any{"name": "Weir"}),
	"delete-location": locationCall(nil),
	"list-devices":    func(*rig, store.Scope) call { return call{} },
	"claim-device": func(r *rig, _ store.Scope) call {
		serial := string(lh.NewDeviceID())
		code, err := r.fleet.List(ctx, serial, "lh-test-1")
		if err != nil {
			r.t.Fatal(err)
		}
		return call{body: map[string]any{"serial": serial, "claim_code": code, "name": "Logger"}}
	},
	"get-device":     deviceCall(nil),
	"change-device":  deviceCall(map[string]any{"name": "Renamed"}),
	"revoke-device":  deviceCall(nil),
	"list-elements":  func(*rig, store.Scope) call { return call{} },
	"create-element": func(*rig, store.Scope) call { return call{body: map[string]any{"name": "Discharge", "unit": "m3/s"}} },
	"get-element":    elementCall(nil),
	"change-element": elementCall(map[string]any{"color": "#112233"}),
	"list-latest":    func(*rig, store.Scope) call { return call{} },
	"get-series": func(r *rig, sc store.Scope) call {
		return call{query: "from=0&to=1000&elements=" + elementCall(nil)(r, sc).path["element"]}
	},
	"stream-live": func(*rig, store.Scope) call { return call{} },
	"get-statistics": func(r *rig, sc store.Scope) call {
		return call{query: "from=0&to=1000&step=P1D&elements=" + elementCall(nil)(r, sc).path["element"]}
	},
	"get-wind": func(r *rig, sc store.Scope) call {
		return call{query: "from=0&to=1000&step=PT1H&speed=" + elementCall(nil)(r, sc).path["element"] + "&direction=" + elementCall(nil)(r, sc).path["element"]}
	},
	"list-corrections": elementCall(nil),
	"add-correction":   elementCall(map[string]any{"from": 0, "to": 1000, "kind": "offset", "a": 0.5, "comment": "sensor moved"}),
	"revoke-correction": func(r *rig, sc store.Scope) call {
		c := elementCall(nil)(r, sc)
		made, err := r.db.AddCorrection(ctx, sc, lh.Correction{Element: lh.ElementID(c.path["element"]), To: 1000, Kind: lh.CorrectDelete})
		if err != nil {
			r.t.Fatal(err)
		}
		c.path["correction"] = string(made.ID)
		return c
	},
	"list-approvals": elementCall(nil),
	"approve-series": elementCall(map[string]any{"from": 0, "to": 1000}),
	"revoke-approval": func(r *rig, sc store.Scope) call {
		c := elementCall(nil)(r, sc)
		made, err := r.db.Approve(ctx, sc, lh.Approval{Element: lh.ElementID(c.path["element"]), To: 1000})
		if err != nil {
			r.t.Fatal(err)
		}
		c.path["approval"] = string(made.ID)
		return c
	},
	"delete-series": func(r *rig, sc store.Scope) call {
		c := elementCall(nil)(r, sc)
		c.query = "from=0&to=1000"
		return c
	},
}

func locationCall(body any) func(*rig, store.Scope) call {
	return func(r *rig, sc store.Scope) call {
		l, err := r.db.CreateLocation(ctx, sc, lh.Location{Name: "Ford"})
		if err != nil {
			r.t.Fatal(err)
		}
		return call{path: map[string]string{"location": string(l.ID)}, body: body}
	}
}

func deviceCall(body any) func(*rig, store.Scope) call {
	return func(r *rig, sc store.Scope) call {
		return call{path: map[string]string{"device": string(r.site(sc, "").device.ID)}, body: body}
	}
}

func elementCall(body any) func(*rig, store.Scope) call {
	return func(r *rig, sc store.Scope) call {
		e, err := r.db.CreateElement(ctx, sc, lh.Element{Name: "Discharge", Color: "#3366cc", Meaning: lh.Instantaneous})
		if err != nil {
			r.t.Fatal(err)
		}
		return call{path: map[string]string{"element": string(e.ID)}, body: body}
	}
}

// typed sets the type of a call's body.
func (c call) typed() option {
	if c.kind == "" {
		return func(*http.Request) {}
	}
	return header("Content-Type", c.kind)
}

func (c call) visited() option {
	return func(r *http.Request) {
		if c.visit != "" {
			r.AddCookie(&http.Cookie{Name: "__Host-loggerhead-visit", Value: c.visit})
		}
	}
}

func (c call) url(route api.Route, project lh.ProjectID) string {
	p := route.Path
	for k, v := range c.path {
		p = strings.ReplaceAll(p, "{"+k+"}", v)
	}
	p = strings.ReplaceAll(p, "{project}", string(project))
	if c.query != "" {
		p += "?" + c.query
	}
	return p
}

// send answers with status and body; of a stream, with its beginning.
func (r *rig) send(method, path string, body any, opts ...option) answer {
	r.t.Helper()
	c, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	resp, err := r.server.Client().Do(r.request(c, method, path, body, opts...))
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		if a.body, err = io.ReadAll(resp.Body); err != nil {
			r.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	return a
}

// stranger makes a project of somebody else.
func (r *rig) stranger() store.Scope {
	r.t.Helper()
	id := r.user("owner@b.example")
	p, err := r.db.CreateProject(ctx, id, lh.Project{Name: "Theirs", Zone: "UTC"})
	if err != nil {
		r.t.Fatal(err)
	}
	return store.NewScope(p.ID, lh.RoleOwner, lh.Actor{Kind: lh.ActorUser, ID: string(id)})
}

// TestMatrix sends every operation as everybody, with the token and with the cookie.
func TestMatrix(t *testing.T) {
	each(t, rigOptions{provider: true}, func(r *rig) {
		r.stranger()
		for _, role := range []lh.Role{lh.RoleViewer, lh.RoleEditor, lh.RoleAdministrator} {
			r.member(string(role)+"@a.example", role)
		}
		if err := r.db.RemoveMember(ctx, r.owner, r.member("removed@a.example", lh.RoleOwner)); err != nil {
			r.t.Fatal(err)
		}
		operator, err := r.db.CreateUser(ctx, lh.User{Email: "operator@hub.example", Name: "Op", Operator: true}, passwordHash(r.t))
		if err != nil || !operator.Operator {
			r.t.Fatal(err)
		}
		rank := map[string]int{"viewer": 1, "editor": 2, "administrator": 3, "owner": 4}
		people := []struct {
			name, email, token string
			known              bool
		}{
			{name: "nobody"}, {name: "garbage", token: "lhs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, {name: "no token of ours", token: "Zm9v"},
			{name: "expired", token: "lhs_expired"},
			{name: "stranger", email: "owner@b.example", known: true}, {name: "operator", email: "operator@hub.example", known: true},
			{name: "removed", email: "removed@a.example", known: true},
			{name: "viewer", email: "viewer@a.example", known: true}, {name: "editor", email: "editor@a.example", known: true},
			{name: "administrator", email: "administrator@a.example", known: true}, {name: "owner", email: "owner@a.example", known: true},
		}
		for i, p := range people {
			if p.known {
				people[i].token = r.token(p.email)
			}
		}
		hash := sha256.Sum256([]byte("lhs_expired"))
		now := lh.MillisOf(r.clock.Now())
		if err := r.db.CreateSession(ctx, lh.Session{ID: lh.NewSessionID(), User: operator.ID, Created: now - 1000, Expires: now - 1}, hash[:]); err != nil {
			r.t.Fatal(err)
		}
		for _, route := range api.Routes() {
			who, ok := least[route.ID]
			make := calls[route.ID]
			if !ok || make == nil {
				r.t.Errorf("operation %s is in no table of this test", route.ID)
				continue
			}
			refused := make(r, r.owner)
			for _, p := range people {
				for _, way := range []string{"bearer", "cookie"} {
					if route.ID == "get-token" && way == "bearer" {
						continue // Authorization is where a client proves itself; TestOAuth has it wrong in every way
					}
					want, detail := 200, ""
					switch {
					case who == "public":
					case !p.known:
						want, detail = 401, "log in first, or again"
					case who == "signed in":
					case who == "integration":
						want = 403
					case who == "operator":
						if p.name != "operator" {
							want = 403
						}
					case rank[p.name] == 0:
						want, detail = 404, "there is no such project, or it is not yours to see"
					case rank[p.name] < rank[who]:
						want = 403
					}
					token := p.token
					if route.ID == "log-out" && p.known {
						var err error
						if _, token, err = r.access.LogIn(ctx, p.email, password, "log-out "+p.name); err != nil {
							r.t.Fatal(err)
						}
					}
					opt := bearer(token)
					if way == "cookie" && token != "" {
						opt = cookie(token)
					}
					c := refused // made once: whoever is refused uses nothing up
					if want == 200 {
						if c = make(r, r.owner); c.from != nil {
							c = c.from(p.email)
						}
					}
					if want == 200 && c.token != "" {
						if opt = bearer(c.token); way == "cookie" {
							opt = cookie(c.token)
						}
					}
					a := r.send(route.Method, c.url(route, r.owner.Project()), c.body, opt, c.typed(), c.visited())
					if got := a.status / 100 * 100; want == 200 && got != 200 || want != 200 && a.status != want {
						r.t.Errorf("%s as %s by %s: status %d, want %d: %.200s", route.ID, p.name, way, a.status, want, a.body)
						continue
					}
					if want == 200 {
						continue
					}
					if got := a.problem(r.t); detail != "" && got.Detail != detail {
						r.t.Errorf("%s as %s: %q", route.ID, p.name, got.Detail)
					}
					if want == 401 && a.header.Get("WWW-Authenticate") == "" {
						r.t.Errorf("%s as %s: 401 does not say how", route.ID, p.name)
					}
				}
			}
		}
		if len(least) != len(api.Routes()) || len(calls) != len(least) {
			r.t.Errorf("there are %d operations, the tables have %d and %d", len(api.Routes()), len(least), len(calls))
		}
	})
}

// TestForeignReadsAsMissing: what is another project's answers with the very bytes of what is not there, wherever its
// id stands.
func TestForeignReadsAsMissing(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		theirs := r.stranger()
		token := r.token("owner@a.example")
		same := func(what, method, foreign, missing string, bodies ...any) {
			r.t.Helper()
			var body [2]any // for theirs, and for what is missing
			for i := range bodies {
				body[0], body[1] = bodies[0], bodies[i]
			}
			a, b := r.send(method, foreign, body[0], bearer(token)), r.send(method, missing, body[1], bearer(token))
			if a.status != 404 || b.status != 404 || !bytes.Equal(a.body, b.body) {
				r.t.Errorf("%s: theirs %d %s, missing %d %s", what, a.status, a.body, b.status, b.body)
			}
			for _, id := range []string{string(theirs.Project()), "theirs"} {
				if bytes.Contains(bytes.ToLower(a.body), []byte(id)) {
					r.t.Errorf("%s: the refusal names %s", what, id)
				}
			}
		}
		fresh := map[string]func() string{"user": func() string { return string(lh.NewUserID()) }, "location": func() string { return string(lh.NewLocationID()) },
			"device": func() string { return string(lh.NewDeviceID()) }, "element": func() string { return string(lh.NewElementID()) },
			"account": func() string { return string(lh.NewServiceID()) }, "key": func() string { return string(lh.NewKeyID()) },
			"integration": func() string { return string(lh.NewIntegrationID()) },
			"invitation":  func() string { return string(lh.NewInvitationID()) }}
		for _, route := range api.Routes() {
			if route.Permission == "" {
				continue
			}
			c := calls[route.ID](r, theirs)
			same(route.ID+" in their project", route.Method, c.url(route, theirs.Project()), c.url(route, lh.NewProjectID()), c.body)
			for kind, id := range fresh {
				if c.path[kind] == "" {
					continue
				}
				missing := call{path: map[string]string{kind: id()}, query: c.query}
				same(route.ID+" of theirs in mine", route.Method, c.url(route, r.owner.Project()), missing.url(route, r.owner.Project()), c.body)
			}
		}
		// In queries and bodies.
		e, l := elementCall(nil)(r, theirs).path["element"], locationCall(nil)(r, theirs).path["location"]
		mine := deviceCall(nil)(r, r.owner).path["device"]
		same("series", "GET", r.path("series")+"?from=0&to=9&elements="+e, r.path("series")+"?from=0&to=9&elements="+string(lh.NewElementID()))
		same("move a device there", "PATCH", r.path("devices", mine), r.path("devices", mine), map[string]any{"location_id": l}, map[string]any{"location_id": lh.NewLocationID()})
		same("make an element there", "POST", r.path("elements"), r.path("elements"), map[string]any{"name": "x", "location_id": l}, map[string]any{"name": "x", "location_id": lh.NewLocationID()})
		member := r.path("members", string(r.member("member@a.example", lh.RoleViewer)))
		same("limit a member to it", "PATCH", member, member, map[string]any{"role": "viewer", "locations": []string{l}},
			map[string]any{"role": "viewer", "locations": []any{lh.NewLocationID()}})
		same("invite somebody to it", "POST", r.path("invitations"), r.path("invitations"), map[string]any{"email": "owner@b.example", "role": "viewer", "locations": []string{l}},
			map[string]any{"email": "owner@b.example", "role": "viewer", "locations": []any{lh.NewLocationID()}})
		claim := calls["claim-device"](r, r.owner).body.(map[string]any)
		other := map[string]any{"serial": claim["serial"], "claim_code": claim["claim_code"], "name": "x", "location_id": lh.NewLocationID()}
		claim["location_id"] = l
		same("claim a device to it", "POST", r.path("devices"), r.path("devices"), claim, other)
		// In lists and streams: nothing of theirs, and not a word that it is there.
		s := r.site(theirs, "Theirs", "1/level")
		r.upload(s, lh.MillisOf(r.clock.Now()), 1)
		for _, list := range []string{"elements?device_id=" + string(s.device.ID), "elements?location_id=" + string(s.location.ID), "latest?device_id=" + string(s.device.ID),
			"latest?elements=" + string(s.elements[0].ID)} {
			if got := items[any](r.t, r.do("GET", r.path()+"/"+list, nil, bearer(token))); len(got) != 0 {
				r.t.Errorf("%s shows %v", list, got)
			}
		}
	})
}

// TestEverythingElseNeedsASession: paths that are no operation answer 401 to strangers like all others.
func TestEverythingElseNeedsASession(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		for _, p := range []string{"/api/", "/api/v1", "/api/v1/", "/api/v1/openapi.json", "/api/docs", "/api/docs/errors", "/api/v1/nothing", "/api/v2/session", "/api/v1/session/",
			"/api/v1/session/x", "/api/v1/%73ession/", "/api//v1/session", "/api/v1/projects/../session"} {
			for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "LOGIN"} {
				if a := r.do(m, p, nil); a.status != 401 && a.status/100 != 3 {
					r.t.Errorf("%s %s: %d %.100s", m, p, a.status, a.body)
				}
			}
		}
		for _, m := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			if a := r.do(m, "/api/v1/session", nil); a.status != 401 {
				r.t.Errorf("%s session: %d", m, a.status)
			}
		}
		a := r.as("owner@a.example", "GET", "/api/v1/nothing", nil)
		if p := a.problem(r.t); p.Status != 404 || p.Code != lh.NotFound {
			r.t.Errorf("an unknown operation: %+v", p)
		}
		if a := r.as("owner@a.example", "TRACE", "/api/v1/projects", nil); a.status < http.StatusBadRequest {
			r.t.Errorf("TRACE: %d", a.status)
		}
		// An Authorization that is not ours is not passed over in favour of the cookie.
		a = r.do("GET", "/api/v1/session", nil, cookie(r.token("owner@a.example")), header("Authorization", "Basic eDp5"))
		if a.status != 401 {
			r.t.Errorf("foreign authorization beside a good cookie: %d", a.status)
		}
	})
}
