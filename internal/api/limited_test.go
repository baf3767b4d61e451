package api_test

import (
	"net/http"
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// TestLimitedMembers: a grant limited to some locations shows nothing of the others, in any list, value, stream or
// error, and changes nothing there.
func TestLimitedMembers(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		here, there, nowhere := r.site(r.owner, "Here", "1/level", "9/battery_voltage"), r.site(r.owner, "There", "1/level", "9/battery_voltage"), r.site(r.owner, "", "1/level")
		now := lh.MillisOf(r.clock.Now())
		for _, s := range []site{here, there} {
			r.upload(s, now, 1.5, 12.6)
		}
		r.upload(nowhere, now, 3)
		r.member("viewer@a.example", lh.RoleViewer, here.location.ID)
		r.member("editor@a.example", lh.RoleEditor, here.location.ID)
		secrets := []string{string(there.location.ID), string(there.device.ID), string(there.elements[0].ID), string(nowhere.device.ID), string(nowhere.elements[0].ID), "There"}
		for _, who := range []string{"viewer@a.example", "editor@a.example"} {
			for path, n := range map[string]int{"locations": 1, "devices": 1, "elements": 2, "latest": 2, "elements?device_id=" + string(there.device.ID): 0,
				"elements?location_id=" + string(there.location.ID): 0, "latest?device_id=" + string(there.device.ID): 0,
				"latest?elements=" + string(there.elements[0].ID): 0, "latest?elements=" + string(there.elements[0].ID) + "," + string(here.elements[0].ID): 1} {
				a := r.as(who, "GET", r.path()+"/"+path, nil)
				if got := items[any](t, a); len(got) != n {
					t.Errorf("%s: %s shows %d, want %d", who, path, len(got), n)
				}
				for _, s := range secrets {
					if strings.Contains(string(a.body), s) {
						t.Errorf("%s: %s tells %s", who, path, s)
					}
				}
			}
			series := func(id lh.ElementID) string {
				return r.path("series") + "?from=0&to=" + "9999999999999" + "&elements=" + string(id)
			}
			for _, format := range []string{"", "&format=csv", "&format=columns", "&points=10"} {
				if a := r.as(who, "GET", series(here.elements[0].ID)+format, nil); a.status != 200 {
					t.Errorf("%s: own series %s: %d %s", who, format, a.status, a.body)
				}
				a, b := r.as(who, "GET", series(there.elements[0].ID)+format, nil), r.as(who, "GET", series(lh.NewElementID())+format, nil)
				if a.status != 404 || string(a.body) != string(b.body) {
					t.Errorf("%s: series of there %s: %d %s, missing: %s", who, format, a.status, a.body, b.body)
				}
				if a := r.as(who, "GET", series(here.elements[0].ID)+","+string(there.elements[0].ID)+format, nil); a.status != 404 {
					t.Errorf("%s: a series of there beside one of here %s: %d", who, format, a.status)
				}
			}
			for _, p := range []string{"locations/" + string(there.location.ID), "devices/" + string(there.device.ID), "devices/" + string(nowhere.device.ID), "elements/" + string(there.elements[0].ID)} {
				if a := r.as(who, "GET", r.path()+"/"+p, nil); a.status != 404 {
					t.Errorf("%s: %s: %d", who, p, a.status)
				}
			}
		}
		// Changes.
		who := "editor@a.example"
		for _, c := range []struct {
			method, path string
			body         any
			want         int
		}{
			{"PATCH", "devices/" + string(there.device.ID), map[string]any{"name": "x"}, 404},
			{"POST", "devices/" + string(there.device.ID) + "/revoke", nil, 404},
			{"PATCH", "elements/" + string(there.elements[0].ID), map[string]any{"name": "x"}, 404},
			{"PATCH", "locations/" + string(there.location.ID), map[string]any{"name": "x"}, 404},
			{"DELETE", "locations/" + string(there.location.ID), nil, 404},
			{"PATCH", "devices/" + string(here.device.ID), map[string]any{"location_id": there.location.ID}, 404},
			{"PATCH", "devices/" + string(here.device.ID), map[string]any{"location_id": ""}, 404},
			{"POST", "elements", map[string]any{"name": "x"}, 404},
			{"POST", "elements", map[string]any{"name": "x", "location_id": there.location.ID}, 404},
			{"POST", "locations", map[string]any{"name": "x"}, 403},
			{"POST", "elements", map[string]any{"name": "x", "location_id": here.location.ID}, 201},
			{"PATCH", "devices/" + string(here.device.ID), map[string]any{"name": "x"}, 200},
		} {
			if a := r.as(who, c.method, r.path()+"/"+c.path, c.body); a.status != c.want {
				t.Errorf("limited editor: %s %s: %d, want %d: %s", c.method, c.path, a.status, c.want, a.body)
			}
		}
	})
}

// TestLimitedStaysLimited: a member of some locations cannot lift the limit, for themselves or for anybody, nor read of
// other locations in the audit trail; and nobody who could is limited.
func TestLimitedStaysLimited(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		here, there := r.site(r.owner, "Here", "1/level"), r.site(r.owner, "There", "1/level")
		me := r.path("members", string(r.member("admin@a.example", lh.RoleEditor, here.location.ID)))
		other := r.member("other@a.example", lh.RoleViewer, there.location.ID)
		for what, a := range map[string]answer{
			"lift the own limit":       r.as("admin@a.example", "PATCH", me, map[string]any{"role": "editor"}),
			"move the own limit":       r.as("admin@a.example", "PATCH", me, map[string]any{"role": "editor", "locations": []any{there.location.ID}}),
			"lift a friend's limit":    r.as("admin@a.example", "PATCH", r.path("members", string(other)), map[string]any{"role": "viewer"}),
			"let a friend in":          r.as("admin@a.example", "POST", r.path("invitations"), map[string]any{"email": "friend@a.example", "role": "viewer"}),
			"see who is invited":       r.as("admin@a.example", "GET", r.path("invitations"), nil),
			"throw somebody out":       r.as("admin@a.example", "DELETE", r.path("members", string(other)), nil),
			"read of there in the log": r.as("admin@a.example", "GET", r.path("audit"), nil),
			"rename the project":       r.as("admin@a.example", "PATCH", r.path(), map[string]any{"name": "Mine"}),
		} {
			if a.status != http.StatusForbidden && a.status != http.StatusNotFound {
				t.Errorf("a limited editor may %s: %d %s", what, a.status, a.body)
			}
		}
		if got := items[any](t, r.as("admin@a.example", "GET", r.path("devices"), nil)); len(got) != 1 {
			t.Errorf("the limited editor now sees %d devices", len(got))
		}
		// The member list names who is there, but not the places one may not see.
		if a := r.as("admin@a.example", "GET", r.path("members"), nil); strings.Contains(string(a.body), string(there.location.ID)) {
			t.Errorf("the member list tells of other locations: %s", a.body)
		}
		// An owner is one of the whole project: a limited one could lock everybody out of the rest for ever. So is an
		// administrator, who could lift the limit.
		a := r.as("owner@a.example", "PATCH", me, map[string]any{"role": "administrator", "locations": []any{here.location.ID}})
		if a.status != http.StatusBadRequest {
			t.Errorf("a limited administrator: %d %s", a.status, a.body)
		}
		a = r.as("owner@a.example", "PATCH", r.path("members", r.owner.Actor().ID), map[string]any{"role": "owner", "locations": []any{here.location.ID}})
		if a.status != http.StatusBadRequest {
			t.Errorf("a limited owner: %d %s", a.status, a.body)
		}
		if got := items[any](t, r.as("owner@a.example", "GET", r.path("devices"), nil)); len(got) != 2 {
			t.Errorf("the owner sees %d devices", len(got))
		}
	})
}

// TestLastOwner: a project never loses its last owner, and only owners make owners.
func TestLastOwner(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		admin, owner := string(r.member("admin@a.example", lh.RoleAdministrator)), r.owner.Actor().ID
		for _, c := range []struct {
			who, method, path string
			body              any
			want              int
		}{
			{"owner@a.example", "DELETE", r.path("members", owner), nil, 409},
			{"owner@a.example", "POST", r.path("leave"), nil, 409},
			{"owner@a.example", "PATCH", r.path("members", owner), map[string]any{"role": "viewer"}, 409},
			{"admin@a.example", "PATCH", r.path("members", owner), map[string]any{"role": "viewer"}, 403},
			{"admin@a.example", "DELETE", r.path("members", owner), nil, 403},
			{"admin@a.example", "PATCH", r.path("members", admin), map[string]any{"role": "owner"}, 403},
			{"admin@a.example", "POST", r.path("invitations"), map[string]any{"email": "friend@a.example", "role": "owner"}, 403},
			{"owner@a.example", "PATCH", r.path("members", admin), map[string]any{"role": "device"}, 400},
			{"owner@a.example", "PATCH", r.path("members", admin), map[string]any{"role": "hub"}, 400},
			{"owner@a.example", "PATCH", r.path("members", string(lh.NewUserID())), map[string]any{"role": "viewer"}, 404},
			{"owner@a.example", "POST", r.path("transfer"), map[string]any{"user_id": lh.NewUserID()}, 404},
			{"owner@a.example", "POST", r.path("transfer"), map[string]any{"user_id": owner}, 400},
			{"owner@a.example", "POST", r.path("transfer"), map[string]any{"user_id": admin}, 204},
			{"owner@a.example", "POST", r.path("transfer"), map[string]any{"user_id": admin}, 403},
			{"admin@a.example", "PATCH", r.path("members", owner), map[string]any{"role": "owner"}, 200},
			{"owner@a.example", "PATCH", r.path("members", admin), map[string]any{"role": "administrator"}, 200},
			{"owner@a.example", "PATCH", r.path("members", admin), map[string]any{"role": "owner"}, 200},
			{"admin@a.example", "PATCH", r.path("members", owner), map[string]any{"role": "viewer"}, 200},
			{"owner@a.example", "PATCH", r.path(), map[string]any{"name": "x"}, 403},
			{"owner@a.example", "POST", r.path("leave"), nil, 204},
			{"owner@a.example", "GET", r.path(), nil, 404},
			{"admin@a.example", "POST", r.path("leave"), nil, 409},
		} {
			if a := r.as(c.who, c.method, c.path, c.body); a.status != c.want {
				t.Errorf("%s: %s %s %v: %d, want %d: %s", c.who, c.method, c.path, c.body, a.status, c.want, a.body)
			}
		}
	})
}
