package api_test

import (
	"encoding/json"
	"errors"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/access/accesstest"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

var factorLeast = map[string]string{
	"finish-log-in": "public", "ask-passkey": "public", "log-in-with-passkey": "public", "list-providers": "public",
	"start-provider-log-in": "public", "finish-provider-log-in": "public",
	"confirm-session": "signed in", "ask-passkey-again": "signed in", "get-factors": "signed in", "begin-totp": "signed in", "confirm-totp": "signed in",
	"remove-totp": "signed in", "renew-recovery-codes": "signed in", "begin-passkey": "signed in", "add-passkey": "signed in", "rename-passkey": "signed in",
	"remove-passkey": "signed in", "start-link": "signed in", "link-identity": "signed in", "unlink-identity": "signed in",
}

var factorCalls = map[string]func(*rig, store.Scope) call{
	"finish-log-in": func(r *rig, _ store.Scope) call {
		u := r.person()
		codes := r.app(r.proven(u)).codes
		return call{body: map[string]any{"token": r.half(u.Email).Token, "recovery_code": codes[0]}}
	},
	"ask-passkey": func(*rig, store.Scope) call { return call{body: map[string]any{}} },
	"log-in-with-passkey": func(r *rig, _ store.Scope) call {
		auth := r.passkey(r.proven(r.person()))
		return call{body: map[string]any{"passkey": r.assert(auth, "")}}
	},
	"list-providers":        func(*rig, store.Scope) call { return call{} },
	"start-provider-log-in": func(*rig, store.Scope) call { return call{body: map[string]any{"provider": "corp"}} },
	"finish-provider-log-in": func(r *rig, _ store.Scope) call {
		r.linked(r.proven(r.person()))
		return r.visited(nil)
	},
	"confirm-session":   ofProven(func(*rig, access.Principal) call { return call{body: map[string]any{"password": password}} }),
	"ask-passkey-again": ofProven(func(r *rig, p access.Principal) call { r.passkey(p); return call{} }),
	"get-factors":       func(*rig, store.Scope) call { return call{} },
	"begin-totp":        ofProven(func(*rig, access.Principal) call { return call{} }),
	"confirm-totp": ofProven(func(r *rig, p access.Principal) call {
		s, err := r.access.BeginTOTP(ctx, p)
		if err != nil {
			r.t.Fatal(err)
		}
		return call{body: map[string]any{"code": codeAt(r.t, s.Secret, r.clock.Now())}}
	}),
	"remove-totp":          ofProven(func(r *rig, p access.Principal) call { r.app(p); return call{} }),
	"renew-recovery-codes": ofProven(func(r *rig, p access.Principal) call { r.app(p); return call{} }),
	"begin-passkey":        ofProven(func(*rig, access.Principal) call { return call{} }),
	"add-passkey": ofProven(func(r *rig, p access.Principal) call {
		o, err := r.access.BeginPasskey(ctx, p)
		if err != nil {
			r.t.Fatal(err)
		}
		made, err := (&accesstest.Authenticator{Origin: hubURL}).Create(o)
		if err != nil {
			r.t.Fatal(err)
		}
		return call{body: map[string]any{"name": "Phone", "passkey": made}}
	}),
	"rename-passkey": ofProven(func(r *rig, p access.Principal) call {
		return call{path: map[string]string{"passkey": r.keyOf(p)}, body: map[string]any{"name": "Laptop"}}
	}),
	"remove-passkey": ofProven(func(r *rig, p access.Principal) call { return call{path: map[string]string{"passkey": r.keyOf(p)}} }),
	"start-link": ofProven(func(r *rig, _ access.Principal) call {
		r.clock.Move(2 * time.Second) // setting out is bounded
		return call{body: map[string]any{"provider": "corp"}}
	}),
	"link-identity": ofProven(func(r *rig, p access.Principal) call { return r.visited(&p) }),
	"unlink-identity": ofProven(func(r *rig, p access.Principal) call {
		return call{path: map[string]string{"identity": string(r.linked(p).ID)}}
	}),
}

// ofProven is a call by somebody of their own, who has just confirmed that it is them.
func ofProven(f func(*rig, access.Principal) call) func(*rig, store.Scope) call {
	return func(r *rig, _ store.Scope) call {
		p := r.proven(r.person())
		c := f(r, p)
		c.token = r.tokens[p.User.Email]
		return c
	}
}

// proven begins a session of somebody, and confirms it.
func (r *rig) proven(u lh.User) access.Principal {
	r.t.Helper()
	id, token := r.session(u.ID)
	if err := r.db.ConfirmSession(ctx, id, lh.MillisOf(r.clock.Now())); err != nil {
		r.t.Fatal(err)
	}
	p, err := r.access.Authenticate(ctx, token, access.Principal{}.Remote)
	if err != nil {
		r.t.Fatal(err)
	}
	r.tokens[u.Email] = token
	return p
}

// authenticatorApp is what somebody has after setting one up.
type authenticatorApp struct {
	secret string
	codes  []string
}

func (r *rig) app(p access.Principal) authenticatorApp {
	r.t.Helper()
	s, err := r.access.BeginTOTP(ctx, p)
	if err != nil {
		r.t.Fatal(err)
	}
	codes, err := r.access.ConfirmTOTP(ctx, p, codeAt(r.t, s.Secret, r.clock.Now()))
	if err != nil {
		r.t.Fatal(err)
	}
	return authenticatorApp{s.Secret, codes}
}

func (r *rig) half(email string) *access.FactorNeeded {
	r.t.Helper()
	_, _, err := r.access.LogIn(ctx, email, password, "half "+email)
	need, ok := errors.AsType[*access.FactorNeeded](err)
	if !ok {
		r.t.Fatal(err)
	}
	return need
}

func (r *rig) passkey(p access.Principal) *accesstest.Authenticator {
	r.t.Helper()
	auth := &accesstest.Authenticator{Origin: hubURL}
	o, err := r.access.BeginPasskey(ctx, p)
	if err != nil {
		r.t.Fatal(err)
	}
	made, err := auth.Create(o)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, _, err := r.access.AddPasskey(ctx, p, "Phone", made); err != nil {
		r.t.Fatal(err)
	}
	return auth
}

func (r *rig) keyOf(p access.Principal) string {
	r.t.Helper()
	r.passkey(p)
	f, err := r.access.Factors(ctx, p)
	if err != nil || len(f.Passkeys) != 1 {
		r.t.Fatalf("%+v %v", f, err)
	}
	return string(f.Passkeys[0].ID)
}

func (r *rig) assert(auth *accesstest.Authenticator, token string) json.RawMessage {
	r.t.Helper()
	o, err := r.access.AskPasskey(ctx, token, "assert "+string(lh.NewSessionID()))
	if err != nil {
		r.t.Fatal(err)
	}
	a, err := auth.Get(o, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

// visited goes to the provider, as whoever it has now, and is the call that finishes there.
func (r *rig) visited(link *access.Principal) call {
	r.t.Helper()
	if link != nil {
		r.provider.As(accesstest.Person{Subject: string(lh.NewUserID()), Email: link.User.Email})
	}
	now := r.clock.Now().Unix() // the provider's own clock is the real one
	r.provider.Claims = func(c map[string]any) { c["iat"], c["exp"], c["auth_time"] = now, now+300, now }
	v, err := r.access.Visit(ctx, "corp", link, "visit "+string(lh.NewSessionID()))
	if err != nil {
		r.t.Fatal(err)
	}
	q, err := r.provider.Visit(v.URL)
	if err != nil {
		r.t.Fatal(err)
	}
	return call{visit: v.Cookie, body: map[string]any{"provider": "corp", "state": q.Get("state"), "code": q.Get("code")}}
}

func (r *rig) linked(p access.Principal) lh.Identity {
	r.t.Helper()
	c := r.visited(&p)
	b := c.body.(map[string]any)
	i, err := r.access.Link(ctx, p, "corp", access.Return{State: b["state"].(string), Code: b["code"].(string), Cookie: c.visit})
	if err != nil {
		r.t.Fatal(err)
	}
	return i
}
