package access

import (
	"context"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// OnBehalf returns what a person or a service account may do in a project now, for work they have asked the hub to do
// later. NotFound: nothing any more.
func (a *Access) OnBehalf(ctx context.Context, by lh.Actor, project lh.ProjectID) (store.Scope, error) {
	nothing := lh.Errorf(lh.NotFound, "whoever asked for this may not read the project any more")
	switch by.Kind {
	case lh.ActorUser:
		u, err := a.db.User(ctx, lh.UserID(by.ID))
		if lh.CodeOf(err) == lh.NotFound || err == nil && u.Disabled != 0 {
			return store.Scope{}, nothing
		}
		if err != nil {
			return store.Scope{}, err
		}
		sc, err := a.Scope(ctx, Principal{Kind: lh.ActorUser, User: u}, project)
		if lh.CodeOf(err) == lh.NotFound {
			return store.Scope{}, nothing
		}
		return sc, err
	case lh.ActorService:
		hub := store.NewScope(project, lh.RoleAdministrator, lh.Actor{Kind: lh.ActorHub, ID: "hub"})
		s, err := a.db.ServiceAccount(ctx, hub, lh.ServiceID(by.ID))
		if lh.CodeOf(err) == lh.NotFound || err == nil && (!s.Enabled || s.Expires != 0 && s.Expires <= lh.MillisOf(a.now())) {
			return store.Scope{}, nothing
		}
		if err != nil {
			return store.Scope{}, err
		}
		return store.NewScope(project, s.Role, by, s.Locations...), nil
	}
	return store.Scope{}, nothing
}
