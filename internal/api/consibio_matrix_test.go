package api_test

import (
	"crypto/sha256"
	"maps"
	"net/http"
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

// TestConsibioMatrix sends every operation of the facades as everybody. The table of who may is written out by hand.
func TestConsibioMatrix(t *testing.T) {
	least := map[string]string{
		"consibio-v2-test": "public", "consibio-v2-token": "public", "consibio-v2-login": "public", "consibio-v1-login": "public",
		"consibio-v2-me": "signed in", "consibio-v2-projects": "signed in", "consibio-v1-projects": "signed in",
		"consibio-v2-project": "viewer", "consibio-v2-devices": "viewer", "consibio-v2-device": "viewer", "consibio-v2-elements": "viewer",
		"consibio-v2-element": "viewer", "consibio-v2-datalog": "viewer", "consibio-v1-devices": "viewer", "consibio-v1-elements": "viewer",
		"consibio-v1-value": "viewer", "consibio-v1-datalog": "viewer",
	}
	each(t, rigOptions{}, func(r *rig) {
		r.stranger()
		s := r.consibioSite(r.owner, "Ford")
		for _, role := range []lh.Role{lh.RoleViewer, lh.RoleEditor, lh.RoleAdministrator} {
			r.member(string(role)+"@a.example", role)
		}
		operator, err := r.db.CreateUser(ctx, lh.User{Email: "operator@hub.example", Name: "Op", Operator: true}, passwordHash(r.t))
		if err != nil {
			r.t.Fatal(err)
		}
		hash := sha256.Sum256([]byte("lhs_expired"))
		now := lh.MillisOf(r.clock.Now())
		if err := r.db.CreateSession(ctx, lh.Session{ID: lh.NewSessionID(), User: operator.ID, Created: now - 1000, Expires: now - 1}, hash[:]); err != nil {
			r.t.Fatal(err)
		}
		people := []struct {
			name, token string
			known       bool // has a session
			in          bool // is in the project
		}{
			{name: "nobody"}, {name: "garbage", token: "lhs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, {name: "no token of ours", token: "Zm9v"},
			{name: "expired", token: "lhs_expired"},
			{name: "stranger", token: r.token("owner@b.example"), known: true}, {name: "operator", token: r.token("operator@hub.example"), known: true},
			{name: "viewer", token: r.token("viewer@a.example"), known: true, in: true}, {name: "editor", token: r.token("editor@a.example"), known: true, in: true},
			{name: "administrator", token: r.token("administrator@a.example"), known: true, in: true}, {name: "owner", token: r.token("owner@a.example"), known: true, in: true},
		}
		for _, route := range api.ConsibioRoutes() {
			who, ok := least[route.ID]
			if !ok || consibioCalls[route.ID] == nil {
				r.t.Errorf("operation %s is in no table of this test", route.ID)
				continue
			}
			if route.Public != (who == "public") || (route.Permission != "") != (who == "viewer") {
				r.t.Errorf("%s is registered otherwise than the table of this test says", route.ID)
			}
			for _, p := range people {
				a := r.consibio(route.ID, r.owner.Project(), s, p.token)
				switch {
				case who == "public" || p.known && who == "signed in" || p.in:
					if a.status != 200 || strings.Contains(string(a.body), `"error"`) {
						r.t.Errorf("%s as %s: %d %.200s", route.ID, p.name, a.status, a.body)
					}
				case !p.known:
					want := `Bearer error="invalid_token"`
					if p.token == "" {
						want = "Bearer"
					}
					if a.status != 401 || string(a.body) != "Unauthenticated" || a.header.Get("WWW-Authenticate") != want {
						r.t.Errorf("%s as %s: %d %q %q", route.ID, p.name, a.status, a.header.Get("WWW-Authenticate"), a.body)
					}
				default:
					if a.status != 200 || string(a.body) != noData {
						r.t.Errorf("%s as %s: %d %.200s", route.ID, p.name, a.status, a.body)
					}
				}
				if cc := a.header.Get("Cache-Control"); cc != "no-store" {
					r.t.Errorf("%s as %s may be kept: %q", route.ID, p.name, cc)
				}
				if r.t.Failed() && p.name == "owner" {
					break
				}
			}
			// A cookie is nothing here: a page of another site cannot use it.
			if path, body := consibioCalls[route.ID](r.owner.Project(), s); who != "public" && body == "" {
				if a := r.do("GET", path, nil, cookie(r.token("owner@a.example"))); a.status != 401 {
					r.t.Errorf("%s with a cookie: %d", route.ID, a.status)
				}
			}
		}
		if len(least) != len(api.ConsibioRoutes()) || len(consibioCalls) != len(least) {
			r.t.Errorf("there are %d operations, the tables have %d and %d", len(api.ConsibioRoutes()), len(least), len(consibioCalls))
		}
	})
}

// sameAnswer compares two answers whole, but for the moment they were given.
func sameAnswer(a, b answer) bool {
	strip := func(h http.Header) http.Header {
		h = maps.Clone(h)
		h.Del("Date")
		return h
	}
	return a.status == b.status && string(a.body) == string(b.body) &&
		maps.EqualFunc(strip(a.header), strip(b.header), func(x, y []string) bool { return strings.Join(x, "\n") == strings.Join(y, "\n") })
}

// TestConsibioForeignReadsAsMissing: what is another project's, or at another location, answers with the very bytes and
// headers of what is not there.
func TestConsibioForeignReadsAsMissing(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		theirs := r.stranger()
		foreign, mine, there := r.consibioSite(theirs, "Theirs"), r.consibioSite(r.owner, "Here"), r.consibioSite(r.owner, "There")
		r.member("limited@a.example", lh.RoleEditor, mine.location.ID)
		nothing := site{device: lh.Device{ID: lh.NewDeviceID()}, elements: []lh.Element{{ID: lh.NewElementID()}, {ID: lh.NewElementID()}, {ID: lh.NewElementID()}}}
		limited, owner := r.token("limited@a.example"), r.token("owner@a.example")
		for _, route := range api.ConsibioRoutes() {
			if route.Permission == "" {
				continue
			}
			want := r.consibio(route.ID, lh.NewProjectID(), nothing, owner)
			if want.status != 200 || string(want.body) != noData {
				r.t.Errorf("%s of nothing: %d %s", route.ID, want.status, want.body)
			}
			// Somebody else's project, with its own things and with mine.
			for what, s := range map[string]site{"theirs": foreign, "mine": mine, "nothing": nothing} {
				if a := r.consibio(route.ID, theirs.Project(), s, owner); !sameAnswer(a, want) {
					r.t.Errorf("%s in their project, %s: %d %v %s", route.ID, what, a.status, a.header, a.body)
				}
			}
			// In my project: their things, those of a location that is not mine, and none.
			switch route.ID {
			case "consibio-v2-device", "consibio-v2-element", "consibio-v2-datalog", "consibio-v1-value", "consibio-v1-datalog":
				for what, s := range map[string]site{"theirs": foreign, "nothing": nothing} {
					if a := r.consibio(route.ID, r.owner.Project(), s, owner); !sameAnswer(a, want) {
						r.t.Errorf("%s in my project, %s: %d %v %s", route.ID, what, a.status, a.header, a.body)
					}
				}
				if a := r.consibio(route.ID, r.owner.Project(), there, limited); !sameAnswer(a, want) {
					r.t.Errorf("%s of another location: %d %v %s", route.ID, a.status, a.header, a.body)
				}
				if a := r.consibio(route.ID, r.owner.Project(), mine, limited); a.status != 200 || string(a.body) == noData {
					r.t.Errorf("%s of the own location: %d %s", route.ID, a.status, a.body)
				}
			default:
				a := r.consibio(route.ID, r.owner.Project(), mine, limited)
				for _, secret := range []string{string(there.device.ID), string(there.elements[0].ID), string(there.location.ID)} {
					if strings.Contains(string(a.body), secret) {
						r.t.Errorf("%s tells of another location: %s", route.ID, a.body)
					}
				}
			}
		}
		// Beside an element of mine, what is foreign is left out like what is unknown.
		for _, id := range []lh.ElementID{foreign.elements[0].ID, there.elements[0].ID, lh.NewElementID()} {
			a := r.do("GET", "/consibio/v2/projects/"+string(r.owner.Project())+"/datalog?from_time=1720961617&to_time=1721048017&elements="+
				string(mine.elements[0].ID)+";"+string(id), nil, bearer(limited))
			if p := payload(r, a); len(p) != 1 || p[string(mine.elements[0].ID)] == nil {
				r.t.Errorf("beside %s: %s", id, a.body)
			}
		}
	})
}

// TestConsibioUnknownRoutes: what is no operation is 404 for everybody, and tells nothing.
func TestConsibioUnknownRoutes(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		for _, c := range []struct{ method, path string }{
			{"GET", "/consibio/v2"}, {"GET", "/consibio/v2/"}, {"GET", "/consibio/v2/nothing"}, {"GET", "/consibio/v2/login"}, {"POST", "/consibio/v2/projects"},
			{"DELETE", "/consibio/v2/projects/" + string(r.owner.Project())}, {"GET", "/consibio/v2/projects/x/y"}, {"GET", "/consibio/rest"},
			{"GET", "/consibio/rest/nothing"}, {"POST", "/consibio/rest/list_projects"}, {"GET", "/consibio/v2/oauth/token"}, {"PUT", "/consibio/v2/test"},
			{"GET", "/consibio/v2/api/v1/projects"}, {"GET", "/consibio/v2/%00"}, {"GET", "/consibio/v2/projects%2Fx"},
		} {
			for _, token := range []string{"", r.token("owner@a.example")} {
				a := r.do(c.method, c.path, nil, bearer(token))
				if a.status != 404 || string(a.body) != `{"payload":{"error":"Not found"},"status":"error"}` {
					r.t.Errorf("%s %s: %d %.200s", c.method, c.path, a.status, a.body)
				}
			}
		}
		// Slashes too many, as scripts have them that join a host and a path.
		for _, p := range []string{"/consibio/v2//test", "/consibio/v2/test/", "/consibio/v2///users//me/"} {
			if a := r.do("GET", p, nil, bearer(r.token("owner@a.example"))); a.status != 200 {
				r.t.Errorf("%s: %d %s", p, a.status, a.body)
			}
		}
	})
}
