package access

import (
	"context"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Rechecked is what a principal may do in a project now, or why it may not be there.
type Rechecked struct {
	Scope store.Scope
	Err   error
}

// Recheck asks again for principals who had access to a project, in their order: whether what they proved themselves with
// still stands, and what they are in the project. It takes a few queries for people, however many, and some for each
// program.
func (a *Access) Recheck(ctx context.Context, project lh.ProjectID, ps []Principal) ([]Rechecked, error) {
	var sessions []lh.SessionID
	var users []lh.UserID
	session, user := map[lh.SessionID]bool{}, map[lh.UserID]bool{}
	for _, p := range ps {
		if p.Kind != lh.ActorUser {
			continue
		}
		if !session[p.Session.ID] {
			session[p.Session.ID] = true
			sessions = append(sessions, p.Session.ID)
		}
		if !user[p.User.ID] {
			user[p.User.ID] = true
			users = append(users, p.User.ID)
		}
	}
	stand, err := a.db.SessionsStand(ctx, sessions)
	if err != nil {
		return nil, err
	}
	members, err := a.db.ProjectMemberships(ctx, project, users)
	if err != nil {
		return nil, err
	}
	out := make([]Rechecked, len(ps))
	programs := map[string]Rechecked{} // by what they proved themselves with
	for i, p := range ps {
		if p.Kind != lh.ActorUser {
			key := p.how.prefix + string(p.how.hash) + p.Remote.String()
			r, known := programs[key]
			if !known {
				var now Principal
				if now, r.Err = a.program(ctx, p.how, p.Remote); r.Err == nil {
					r.Scope, r.Err = a.programScope(ctx, now, project)
				}
				programs[key] = r
			}
			out[i] = r
			continue
		}
		m, isMember := members[p.User.ID]
		switch {
		case !stand[p.Session.ID]:
			out[i].Err = gone()
		case !isMember:
			out[i].Err = lh.Errorf(lh.NotFound, "there is no such project, or it is not yours to see")
		default:
			out[i].Scope = scopeOf(m, p)
		}
	}
	return out, nil
}

// InUse notes that a principal goes on using what it has: a page that only shows live values is used, too. It may write.
func (a *Access) InUse(ctx context.Context, p Principal) { a.noteUse(ctx, p, "") }
