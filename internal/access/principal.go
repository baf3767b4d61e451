package access

import (
	"context"
	"net/netip"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Principal is a person or a program that has proven who it is. The zero Principal is nobody.
type Principal struct {
	Kind    lh.ActorKind      // ActorUser, ActorService or ActorIntegration
	User    lh.User           // of ActorUser
	Session lh.Session        // of ActorUser
	Service lh.ServiceAccount // of ActorService
	// Integration is of ActorIntegration; Key is of both kinds of programs.
	Integration lh.Integration
	Key         lh.KeyID
	Remote      netip.Addr // where it asks from: the connection's other end, never what a header says

	how      proof          // of programs: asked again by what lasts
	at       time.Time      // when it was last asked
	standing store.Standing // of the program's project
}

// Actor returns the principal as the audit trail names it.
func (p Principal) Actor() lh.Actor {
	a := lh.Actor{Kind: p.Kind, From: p.Remote}
	switch p.Kind {
	case lh.ActorUser:
		a.ID = string(p.User.ID)
	case lh.ActorService:
		a.ID = string(p.Service.ID)
	case lh.ActorIntegration:
		a.ID = string(p.Integration.ID)
	}
	return a
}

func gone() error { return lh.Errorf(lh.Unauthenticated, "log in first, or again") }

// Authenticate returns whose token this is; its prefix says of which kind. remote is the connection's other end.
// Unauthenticated: nobody's, or expired.
func (a *Access) Authenticate(ctx context.Context, token string, remote netip.Addr) (Principal, error) {
	remote = remote.Unmap()
	switch {
	case len(token) > 100:
		return Principal{}, gone()
	case strings.HasPrefix(token, tokenPrefix):
		return a.session(ctx, token, remote)
	}
	prefix := kindOf(token)
	switch {
	case prefix == "":
		return Principal{}, gone()
	case !wellFormed(token, prefix):
		return Principal{}, wrongKey()
	}
	return a.program(ctx, proof{prefix, tokenHash(token)}, remote)
}

// session returns who a session's token belongs to.
func (a *Access) session(ctx context.Context, token string, remote netip.Addr) (Principal, error) {
	s, err := a.db.Session(ctx, tokenHash(token))
	if lh.CodeOf(err) == lh.NotFound || err == nil && (s.Expires <= lh.MillisOf(a.now()) || a.idle(s)) {
		return Principal{}, gone()
	}
	if err != nil {
		return Principal{}, err
	}
	u, err := a.db.User(ctx, s.User)
	if lh.CodeOf(err) == lh.NotFound || err == nil && u.Disabled != 0 {
		return Principal{}, gone()
	}
	return Principal{Kind: lh.ActorUser, User: u, Session: s, Remote: remote}, err
}

// StillIn reports whether what a principal proved itself with still stands. Unauthenticated: it was ended.
func (a *Access) StillIn(ctx context.Context, p Principal) error {
	if p.Kind != lh.ActorUser {
		_, err := a.program(ctx, p.how, p.Remote)
		return err
	}
	if err := a.db.SessionStands(ctx, p.Session.ID); err != nil {
		return err
	}
	a.noteUse(ctx, p, "") // a page that only shows live values is used, too
	return nil
}

// Grant is what a principal is in a project.
type Grant struct {
	Member lh.Member
	Scope  store.Scope
}

// Grants returns every grant of a principal.
func (a *Access) Grants(ctx context.Context, p Principal) ([]Grant, error) {
	if p.Kind != lh.ActorUser {
		sc, err := a.programScope(ctx, p, p.project())
		if err != nil {
			return nil, err
		}
		return []Grant{{lh.Member{Project: sc.Project(), Role: sc.Role(), Locations: p.Service.Locations}, sc}}, nil
	}
	ms, err := a.db.Memberships(ctx, p.User.ID)
	gs := make([]Grant, len(ms))
	for i, m := range ms {
		gs[i] = Grant{Member: m.Member, Scope: scopeOf(m, p)}
	}
	return gs, err
}

// Scope returns what a principal may do in a project. NotFound: nothing, or there is no such project.
func (a *Access) Scope(ctx context.Context, p Principal, project lh.ProjectID) (store.Scope, error) {
	if p.Kind != lh.ActorUser {
		return a.programScope(ctx, p, project)
	}
	m, err := a.db.Membership(ctx, p.User.ID, project)
	if err != nil {
		return store.Scope{}, err
	}
	return scopeOf(m, p), nil
}

func scopeOf(m store.Membership, p Principal) store.Scope {
	return store.NewScope(m.Project, m.Role, p.Actor(), m.Locations...).In(m.Standing)
}
