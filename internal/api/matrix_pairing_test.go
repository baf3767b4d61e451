package api_test

import (
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

var pairingLeast = map[string]string{"ask-pairing": "public", "finish-pairing": "public", "get-pairing": "signed in", "answer-pairing": "signed in"}

var pairingCalls = map[string]func(*rig, store.Scope) call{
	"ask-pairing": func(r *rig, _ store.Scope) call {
		r.clock.Move(10 * time.Second) // so that the bound on asking lies behind
		return call{body: map[string]any{"client": "a test"}}
	},
	"finish-pairing": func(r *rig, _ store.Scope) call {
		p, err := r.access.AskPairing(ctx, "a test", string(lh.NewUserID()))
		if err != nil {
			r.t.Fatal(err)
		}
		return call{body: map[string]any{"code": p.Code, "secret": p.Secret}}
	},
	"get-pairing":    pairingCall(nil),
	"answer-pairing": pairingCall(map[string]any{"allow": true}),
}

func pairingCall(body any) func(*rig, store.Scope) call {
	return func(r *rig, _ store.Scope) call {
		p, err := r.access.AskPairing(ctx, "a test", string(lh.NewUserID()))
		if err != nil {
			r.t.Fatal(err)
		}
		return call{path: map[string]string{"code": p.Code}, body: body}
	}
}
