package api_test

import (
	"crypto/sha256"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

var peopleLeast = map[string]string{
	"get-installation": "public", "ask-sign-up": "public", "ask-password-reset": "public", "show-link": "public", "sign-up": "public", "reset-password": "public", "use-link": "public",
	"get-account": "signed in", "change-account": "signed in", "change-password": "signed in", "change-email": "signed in", "verify-email": "signed in",
	"list-sessions": "signed in", "end-session": "signed in", "end-other-sessions": "signed in", "delete-account": "signed in",
	"list-users": "operator", "invite-user": "operator", "disable-user": "operator", "enable-user": "operator",
}

var peopleCalls = map[string]func(*rig, store.Scope) call{
	"get-installation": func(*rig, store.Scope) call { return call{} },
	"ask-sign-up": func(r *rig, _ store.Scope) call {
		r.clock.Move(time.Minute) // asking is bounded
		return call{body: map[string]any{"email": fresh()}}
	},
	"ask-password-reset": func(r *rig, _ store.Scope) call {
		r.clock.Move(time.Minute)
		return call{body: map[string]any{"email": "owner@a.example"}}
	},
	"show-link": func(r *rig, _ store.Scope) call {
		return call{body: map[string]any{"token": r.link(lh.Link{Purpose: lh.LinkInvite, Email: fresh()})}}
	},
	"sign-up": func(r *rig, _ store.Scope) call {
		return call{body: map[string]any{"token": r.link(lh.Link{Purpose: lh.LinkSignUp, Email: fresh()}), "name": "New", "password": password}}
	},
	"reset-password": func(r *rig, _ store.Scope) call {
		u := r.person()
		return call{body: map[string]any{"token": r.link(lh.Link{Purpose: lh.LinkReset, User: u.ID, Email: u.Email}), "password": password}}
	},
	"use-link": func(r *rig, _ store.Scope) call {
		u := r.person()
		return call{body: map[string]any{"token": r.link(lh.Link{Purpose: lh.LinkVerify, User: u.ID, Email: u.Email})}}
	},
	"get-account":    func(*rig, store.Scope) call { return call{} },
	"change-account": func(*rig, store.Scope) call { return call{body: map[string]any{"name": "Somebody else"}} },
	"change-password": spent(func(r *rig, u lh.User) call {
		return call{body: map[string]any{"current": password, "password": password + "!"}}
	}),
	"change-email": spent(func(r *rig, u lh.User) call {
		return call{body: map[string]any{"email": fresh(), "password": password}}
	}),
	"verify-email":  spent(func(*rig, lh.User) call { return call{} }),
	"list-sessions": func(*rig, store.Scope) call { return call{} },
	"end-session": spent(func(r *rig, u lh.User) call {
		id, _ := r.session(u.ID)
		return call{path: map[string]string{"session": string(id)}}
	}),
	"end-other-sessions": spent(func(*rig, lh.User) call { return call{} }),
	"delete-account":     spent(func(*rig, lh.User) call { return call{body: map[string]any{"password": password}} }),
	"list-users":         func(*rig, store.Scope) call { return call{query: "limit=5&sort=-email"} },
	"invite-user":        func(*rig, store.Scope) call { return call{body: map[string]any{"email": fresh()}} },
	"disable-user": func(r *rig, _ store.Scope) call {
		return call{path: map[string]string{"user": string(r.person().ID)}}
	},
	"enable-user": func(r *rig, _ store.Scope) call {
		return call{path: map[string]string{"user": string(r.person().ID)}}
	},
}

// spent is a call by somebody who is there for it alone: it would end what others ask with, or can be done a few times only.
func spent(f func(*rig, lh.User) call) func(*rig, store.Scope) call {
	return func(r *rig, _ store.Scope) call {
		u := r.person()
		c := f(r, u)
		_, c.token = r.session(u.ID)
		return c
	}
}

// fresh is an address that nobody has.
func fresh() string { return strings.ToLower(string(lh.NewUserID())) + "@fresh.example" }

// person makes an account that is in no project.
func (r *rig) person() lh.User {
	r.t.Helper()
	u, err := r.db.User(ctx, r.user(fresh()))
	if err != nil {
		r.t.Fatal(err)
	}
	return u
}

// session begins one.
func (r *rig) session(u lh.UserID) (lh.SessionID, string) {
	r.t.Helper()
	id, token := lh.NewSessionID(), "lhs_"+string(lh.NewSessionID())
	hash := sha256.Sum256([]byte(token))
	now := lh.MillisOf(r.clock.Now())
	s := lh.Session{ID: id, User: u, Created: now, Expires: now + 3600_000, Proof: lh.ProofPassword}
	if err := r.db.CreateSession(ctx, s, hash[:]); err != nil {
		r.t.Fatal(err)
	}
	return id, token
}

// link makes a one-time link and returns its token.
func (r *rig) link(l lh.Link) string {
	r.t.Helper()
	r.clock.Move(2 * time.Second) // opening links is bounded
	url, err := r.access.MailLink(ctx, lh.Actor{}, "", l, "A link", func(url string) string { return url + "\n" })
	if err != nil {
		r.t.Fatal(err)
	}
	_, token, _ := strings.Cut(url, "#")
	return token
}
