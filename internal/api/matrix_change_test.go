package api_test

import (
	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

var changeLeast = map[string]string{
	"delete-device": "editor", "delete-element": "owner", "get-correction": "viewer", "get-approval": "viewer",
	"list-changes": "viewer", "create-locations": "editor", "create-elements": "editor", "claim-devices": "editor",
}

var changeCalls = map[string]func(*rig, store.Scope) call{
	"delete-device": func(r *rig, sc store.Scope) call {
		c := deviceCall(nil)(r, sc)
		if err := r.db.RevokeDevice(ctx, sc, lh.DeviceID(c.path["device"])); err != nil {
			r.t.Fatal(err)
		}
		return c
	},
	"delete-element": elementCall(nil),
	"create-locations": func(*rig, store.Scope) call {
		return call{body: []map[string]any{{"name": "Bridge"}, {"name": "Weir"}}}
	},
	"create-elements": func(*rig, store.Scope) call { return call{body: []map[string]any{{"name": "Discharge"}}} },
	"claim-devices": func(r *rig, sc store.Scope) call {
		return call{body: []any{coreCalls["claim-device"](r, sc).body}}
	},
	"list-changes":   func(*rig, store.Scope) call { return call{query: "since=start"} },
	"get-correction": coreCalls["revoke-correction"],
	"get-approval":   coreCalls["revoke-approval"],
}
