package api_test

import (
	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

var serviceLeast = map[string]string{
	"get-caller": "signed in", "get-token": "public",
	"list-service-accounts": "administrator", "create-service-account": "administrator", "get-service-account": "administrator",
	"change-service-account": "administrator", "delete-service-account": "administrator",
	"list-service-account-keys": "administrator", "create-service-account-key": "administrator", "rotate-service-account-key": "administrator",
	"revoke-service-account-key": "administrator", "get-service-account-usage": "administrator",
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
