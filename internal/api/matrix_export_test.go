package api_test

import (
	"context"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

var exportLeast = map[string]string{
	"list-exports": "viewer", "create-export": "viewer", "get-export": "viewer", "get-export-file": "viewer",
	"remove-export": "editor", // somebody else's, as here; TestExports has one's own
}

var exportCalls = map[string]func(*rig, store.Scope) call{
	"list-exports": func(*rig, store.Scope) call { return call{} },
	"create-export": func(r *rig, sc store.Scope) call {
		c := elementCall(nil)(r, sc)
		r.dropExports(sc)
		return call{body: map[string]any{"elements": []string{c.path["element"]}, "from": 0, "to": 1000}}
	},
	"get-export": exportCall, "remove-export": exportCall, "get-export-file": exportCall,
}

// exportCall makes an export that is ready.
func exportCall(r *rig, sc store.Scope) call {
	r.t.Helper()
	c := elementCall(nil)(r, sc)
	r.dropExports(sc)
	e, err := r.exports.Ask(ctx, sc, lh.ExportRequest{Elements: []lh.ElementID{lh.ElementID(c.path["element"])}, From: 0, To: 1000, Zone: "UTC"}, "")
	if err != nil {
		r.t.Fatal(err)
	}
	r.exportReady(sc, e.ID)
	return call{path: map[string]string{"export": string(e.ID)}}
}

// exportReady waits for an export, at most 20 s.
func (r *rig) exportReady(sc store.Scope, id lh.ExportID) lh.Export {
	r.t.Helper()
	wait, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		e, err := r.db.Export(wait, sc, id)
		if err != nil || e.State == lh.ExportFailed {
			r.t.Fatalf("export %s: %v %s", id, err, e.Reason)
		}
		if e.State == lh.ExportReady {
			return e
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// dropExports makes room for more.
func (r *rig) dropExports(sc store.Scope) {
	r.t.Helper()
	es, err := r.db.Exports(ctx, sc)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range es {
		if err := r.db.RemoveExport(ctx, sc, e.ID); err != nil && lh.CodeOf(err) != lh.NotFound {
			r.t.Fatal(err)
		}
	}
}
