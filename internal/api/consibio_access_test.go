package api_test

import (
	"net/netip"
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

// TestConsibioSecondFactor: whoever has a second factor is refused like a wrong password, with the right one too; these
// APIs cannot ask for it.
func TestConsibioSecondFactor(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		who := func() access.Principal {
			p, err := r.access.Authenticate(ctx, r.token("owner@a.example"), netip.Addr{})
			if err != nil {
				r.t.Fatal(err)
			}
			return p
		}
		if _, err := r.access.Confirm(ctx, who(), password, access.Answer{}); err != nil {
			r.t.Fatal(err)
		}
		setup, err := r.access.BeginTOTP(ctx, who())
		if err == nil {
			_, err = r.access.ConfirmTOTP(ctx, who(), codeAt(r.t, setup.Secret, r.clock.Now()))
		}
		if err != nil {
			r.t.Fatal(err)
		}
		a := r.do("POST", "/consibio/v2/oauth/token", "grant_type=password&username=owner%40a.example&password=correct+horse+battery", header("Content-Type", "application/x-www-form-urlencoded"))
		if a.status != 403 || string(a.body) != `{"error":"unauthorized","error_description":"Invalid credentials."}` {
			r.t.Errorf("%d %s", a.status, a.body)
		}
		for _, path := range []string{"/consibio/v2/login", "/consibio/rest/login"} {
			if got := failure(r, r.do("POST", path, consibioCredentials)); got != "Invalid credentials." {
				r.t.Errorf("%s: %q", path, got)
			}
		}
	})
}

// TestConsibioPrograms: a service account's key is a token here, within its role and locations; an integration's is none.
func TestConsibioPrograms(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		mine, there := r.consibioSite(r.owner, "Here"), r.consibioSite(r.owner, "There")
		id, key := r.service(r.owner, lh.RoleViewer, mine.location.ID)
		for _, route := range api.ConsibioRoutes() {
			if route.Public {
				continue
			}
			a := r.consibio(route.ID, r.owner.Project(), mine, key)
			if a.status != 200 || strings.Contains(string(a.body), `"error"`) {
				r.t.Errorf("%s: %d %s", route.ID, a.status, a.body)
			}
			for _, secret := range []string{string(there.device.ID), string(there.elements[0].ID)} {
				if strings.Contains(string(a.body), secret) {
					r.t.Errorf("%s tells of another location: %s", route.ID, a.body)
				}
			}
		}
		if p := payload(r, r.consibio("consibio-v2-me", r.owner.Project(), mine, key)); len(p) != 1 || p[string(id)] == nil {
			r.t.Errorf("me: %v", p)
		}
		if a := r.consibio("consibio-v2-device", r.owner.Project(), there, key); string(a.body) != noData {
			r.t.Errorf("a device of another location: %s", a.body)
		}
		if err := r.db.DeleteServiceAccount(ctx, r.owner, id); err != nil {
			r.t.Fatal(err)
		}
		if a := r.consibio("consibio-v2-me", r.owner.Project(), mine, key); a.status != 401 || string(a.body) != "Unauthenticated" {
			r.t.Errorf("after it was deleted: %d %s", a.status, a.body)
		}
		sender := r.integration(r.owner)
		if a := r.consibio("consibio-v2-elements", r.owner.Project(), mine, sender.key); string(a.body) != noData {
			r.t.Errorf("an integration reads: %d %s", a.status, a.body)
		}
	})
}
