package api_test

import (
	"net/netip"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

var serviceLeast = map[string]string{
	"get-caller": "signed in", "get-token": "public",
	"list-service-accounts": "administrator", "create-service-account": "administrator", "get-service-account": "administrator",
	"change-service-account": "administrator", "delete-service-account": "administrator",
	"list-service-account-keys": "administrator", "create-service-account-key": "administrator", "rotate-service-account-key": "administrator",
	"revoke-service-account-key": "administrator", "get-service-account-usage": "administrator",
	"list-integrations": "administrator", "create-integration": "administrator", "get-integration": "administrator",
	"change-integration": "administrator", "delete-integration": "administrator", "list-integration-keys": "administrator",
	"create-integration-key": "administrator", "rotate-integration-key": "administrator", "revoke-integration-key": "administrator",
	"get-integration-usage": "administrator",
	"send-samples":          "integration", "send-lines": "integration", "send-influx-2": "integration", "send-influx-1": "integration",
}

var serviceCalls = map[string]func(*rig, store.Scope) call{
	"get-caller": func(*rig, store.Scope) call { return call{} },
	"get-token": func(r *rig, sc store.Scope) call {
		id, secret := r.service(sc, lh.RoleViewer)
		return call{body: "grant_type=client_credentials&client_id=" + string(id) + "&client_secret=" + secret, kind: "application/x-www-form-urlencoded"}
	},
	"list-service-accounts":      func(*rig, store.Scope) call { return call{} },
	"create-service-account":     func(*rig, store.Scope) call { return call{body: map[string]any{"name": "Script", "role": "viewer"}} },
	"get-service-account":        serviceCall(nil),
	"change-service-account":     serviceCall(map[string]any{"name": "Renamed", "networks": []string{"192.0.2.0/24"}}),
	"delete-service-account":     serviceCall(nil),
	"list-service-account-keys":  serviceCall(nil),
	"create-service-account-key": serviceCall(map[string]any{"name": "cron"}),
	"rotate-service-account-key": serviceCall(map[string]any{}),
	"revoke-service-account-key": serviceCall(nil),
	"get-service-account-usage":  serviceCall(nil),
	"list-integrations":          func(*rig, store.Scope) call { return call{} },
	"create-integration":         func(*rig, store.Scope) call { return call{body: map[string]any{"name": "Weather"}} },
	"get-integration":            integrationCall(nil),
	"change-integration":         integrationCall(map[string]any{"name": "Renamed"}),
	"delete-integration":         integrationCall(nil),
	"list-integration-keys":      integrationCall(nil),
	"create-integration-key":     integrationCall(map[string]any{}),
	"rotate-integration-key":     integrationCall(map[string]any{}),
	"revoke-integration-key":     integrationCall(nil),
	"get-integration-usage":      integrationCall(nil),
	"send-samples": func(r *rig, sc store.Scope) call {
		i := r.integration(sc, lh.IntegrationElement{})
		return call{path: map[string]string{"integration": string(i.ID)},
			body: map[string]any{"samples": []any{map[string]any{"element": string(i.Elements[0].Element), "time": 1_700_000_000_000, "value": 1}}}}
	},
	"send-lines":    lineCall,
	"send-influx-2": lineCall,
	"send-influx-1": lineCall,
}

// service makes a service account with a key.
func (r *rig) service(sc store.Scope, role lh.Role, at ...lh.LocationID) (lh.ServiceID, string) {
	r.t.Helper()
	s, err := r.db.CreateServiceAccount(ctx, sc, lh.ServiceAccount{Name: "Script", Role: role, Locations: at, Enabled: true})
	if err != nil {
		r.t.Fatal(err)
	}
	_, secret, err := r.access.NewKey(ctx, sc, lh.ProgramKey{Program: string(s.ID)})
	if err != nil {
		r.t.Fatal(err)
	}
	return s.ID, secret
}

func serviceCall(body any) func(*rig, store.Scope) call {
	return func(r *rig, sc store.Scope) call {
		id, _ := r.service(sc, lh.RoleViewer)
		ks, err := r.db.ProgramKeys(ctx, sc, string(id))
		if err != nil {
			r.t.Fatal(err)
		}
		return call{path: map[string]string{"account": string(id), "key": string(ks[0].ID)}, body: body}
	}
}

// sender is an integration with its key.
type sender struct {
	lh.Integration
	key   string
	keyID lh.KeyID
}

// integration makes an integration that feeds new elements, as they are called there, with a key.
func (r *rig) integration(sc store.Scope, elements ...lh.IntegrationElement) sender {
	r.t.Helper()
	for i := range elements {
		e, err := r.db.CreateElement(ctx, sc, lh.Element{Name: "Sent", Color: "#3366cc", Meaning: lh.Instantaneous})
		if err != nil {
			r.t.Fatal(err)
		}
		elements[i].Element = e.ID
	}
	i, err := r.db.CreateIntegration(ctx, sc, lh.Integration{Name: "Weather", Enabled: true, Elements: elements})
	if err != nil {
		r.t.Fatal(err)
	}
	k, secret, err := r.access.NewKey(ctx, sc, lh.ProgramKey{Program: string(i.ID)})
	if err != nil {
		r.t.Fatal(err)
	}
	return sender{i, secret, k.ID}
}

func integrationCall(body any) func(*rig, store.Scope) call {
	return func(r *rig, sc store.Scope) call {
		i := r.integration(sc)
		return call{path: map[string]string{"integration": string(i.ID), "key": string(i.keyID)}, body: body}
	}
}

func lineCall(r *rig, sc store.Scope) call {
	i := r.integration(sc, lh.IntegrationElement{Measurement: "m", Field: "f"})
	return call{path: map[string]string{"integration": string(i.ID)}, body: "m f=1 1700000000000000000", kind: "text/plain; charset=utf-8"}
}

// openToPrograms are the operations that concern the caller alone and that a service account may call, too.
var openToPrograms = map[string]bool{"get-caller": true, "list-projects": true}

// forPeople are those of a project that no service account may call, whatever its role: they give or take the means to
// get in.
var forPeople = map[string]bool{
	"create-service-account": true, "change-service-account": true, "delete-service-account": true, "create-service-account-key": true,
	"rotate-service-account-key": true, "revoke-service-account-key": true,
	"create-integration": true, "change-integration": true, "delete-integration": true, "create-integration-key": true,
	"rotate-integration-key": true, "revoke-integration-key": true,
	"change-member": true, "remove-member": true, "invite": true, "resend-invitation": true, "revoke-invitation": true,
}

// TestMatrixOfPrograms sends every operation as service accounts of every role, by their key and by an access token, as
// one of another project, and as integrations.
func TestMatrixOfPrograms(t *testing.T) {
	each(t, rigOptions{provider: true}, func(r *rig) {
		theirs := r.stranger()
		rank := map[string]int{"viewer": 1, "editor": 2, "administrator": 3, "owner": 4}
		type program struct {
			name  string
			token string
			kind  lh.ActorKind
		}
		var programs []program
		for _, role := range []lh.Role{lh.RoleViewer, lh.RoleEditor, lh.RoleAdministrator} {
			id, key := r.service(r.owner, role)
			_, token, err := r.access.Exchange(ctx, id, key, netip.MustParseAddr("127.0.0.1"))
			if err != nil {
				r.t.Fatal(err)
			}
			programs = append(programs, program{string(role), key, lh.ActorService}, program{string(role), token, lh.ActorService})
		}
		_, foreign := r.service(theirs, lh.RoleAdministrator)
		programs = append(programs, program{"stranger", foreign, lh.ActorService}, program{"integration", r.integration(r.owner).key, lh.ActorIntegration})
		for _, route := range api.Routes() {
			who, make := least[route.ID], calls[route.ID]
			if make == nil || who == "public" {
				continue // TestMatrix has them
			}
			refused := make(r, r.owner)
			for _, p := range programs {
				want := 200
				switch {
				case who == "signed in" || who == "operator":
					if p.kind != lh.ActorService || !openToPrograms[route.ID] {
						want = 403
					}
				case who == "integration":
					want = 403
					if p.kind == lh.ActorIntegration {
						continue // what it sends is another test's
					}
				case refused.path["project"] != "": // of another project
					want = 404
				case p.kind == lh.ActorIntegration:
					want = 403
				case rank[p.name] == 0:
					want = 404
				case rank[p.name] < rank[who] || forPeople[route.ID]:
					want = 403
				}
				c := refused
				if want == 200 {
					if c = make(r, r.owner); c.from != nil {
						c = c.from("owner@a.example")
					}
				}
				a := r.send(route.Method, c.url(route, r.owner.Project()), c.body, bearer(p.token), c.typed())
				if got := a.status / 100 * 100; want == 200 && got != 200 || want != 200 && a.status != want {
					r.t.Errorf("%s as %s %s (%.4s): status %d, want %d: %.200s", route.ID, p.kind, p.name, p.token, a.status, want, a.body)
				}
			}
		}
	})
}
