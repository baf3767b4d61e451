package api_test

import (
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

var projectLeast = map[string]string{
	"list-projects": "signed in", "create-project": "signed in", "get-project": "viewer", "change-project": "administrator",
	"archive-project": "administrator", "restore-project": "administrator",
	"delete-project": "owner", "keep-project": "owner", "transfer-project": "owner",
	"list-members": "viewer", "leave-project": "viewer", "change-member": "administrator", "remove-member": "administrator",
	"list-invitations": "administrator", "invite": "administrator", "resend-invitation": "administrator", "revoke-invitation": "administrator",
	"list-offers": "signed in", "accept-invitation": "signed in", "decline-invitation": "signed in",
}

var projectCalls = map[string]func(*rig, store.Scope) call{
	"list-projects":  func(*rig, store.Scope) call { return call{} },
	"create-project": func(*rig, store.Scope) call { return call{body: map[string]any{"name": "New", "zone": "UTC"}} },
	"get-project":    func(*rig, store.Scope) call { return call{} },
	"change-project": func(*rig, store.Scope) call {
		return call{body: map[string]any{"name": "Skjern Å", "language": "en-GB", "units": map[string]any{"system": "metric"}}}
	},
	"archive-project": twinCall(nil),
	"restore-project": func(*rig, store.Scope) call { return call{} },
	"delete-project":  twinCall(nil),
	"keep-project": twinCall(func(r *rig, sc store.Scope) {
		if _, err := r.access.ScheduleDestruction(ctx, sc, lh.MaxMillis); err != nil {
			r.t.Fatal(err)
		}
	}),
	"transfer-project": func(r *rig, sc store.Scope) call {
		twin := r.twin(sc)
		return call{path: map[string]string{"project": string(twin.Project())}, body: map[string]any{"user_id": newMember(r, twin)}}
	},
	"list-members": func(*rig, store.Scope) call { return call{} },
	"leave-project": twinCall(func(r *rig, sc store.Scope) {
		if err := r.db.SetMember(ctx, sc, lh.Member{User: newMember(r, sc), Role: lh.RoleOwner}); err != nil {
			r.t.Fatal(err)
		}
	}),
	"change-member": func(r *rig, sc store.Scope) call {
		return call{path: map[string]string{"user": string(newMember(r, sc))}, body: map[string]any{"role": "editor"}}
	},
	"remove-member": func(r *rig, sc store.Scope) call {
		return call{path: map[string]string{"user": string(newMember(r, sc))}}
	},
	"list-invitations": func(*rig, store.Scope) call { return call{} },
	"invite": func(*rig, store.Scope) call {
		return call{body: map[string]any{"email": newAddress(), "role": "viewer"}}
	},
	"resend-invitation": func(r *rig, sc store.Scope) call {
		c := call{path: map[string]string{"invitation": string(invitation(r, sc, newAddress()))}}
		r.clock.Move(2 * resendAfter)
		return c
	},
	"revoke-invitation": func(r *rig, sc store.Scope) call {
		return call{path: map[string]string{"invitation": string(invitation(r, sc, newAddress()))}}
	},
	"list-offers":        func(*rig, store.Scope) call { return call{} },
	"accept-invitation":  offerCall,
	"decline-invitation": offerCall,
}

const resendAfter = time.Minute

func newAddress() string { return strings.ToLower(string(lh.NewUserID())) + "@new.example" }

// newMember makes an account that is a viewer of a scope's project.
func newMember(r *rig, sc store.Scope) lh.UserID {
	r.t.Helper()
	id := r.user(newAddress())
	if err := r.db.SetMember(ctx, sc, lh.Member{User: id, Role: lh.RoleViewer}); err != nil {
		r.t.Fatal(err)
	}
	return id
}

func invitation(r *rig, sc store.Scope, email string) lh.InvitationID {
	r.t.Helper()
	i, err := r.access.Invite(ctx, sc, lh.Invitation{Email: email, Role: lh.RoleViewer})
	if err != nil {
		r.t.Fatal(err)
	}
	return i.ID
}

// twin makes another project with the same members.
func (r *rig) twin(sc store.Scope) store.Scope {
	r.t.Helper()
	p, err := r.db.CreateProject(ctx, lh.UserID(sc.Actor().ID), lh.Project{Name: "Twin", Zone: "UTC"})
	if err != nil {
		r.t.Fatal(err)
	}
	twin := store.NewScope(p.ID, lh.RoleOwner, sc.Actor())
	ms, err := r.db.Members(ctx, sc)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, m := range ms {
		if m.Role == lh.RoleOwner {
			continue
		}
		if err := r.db.SetMember(ctx, twin, lh.Member{User: m.User, Role: m.Role}); err != nil {
			r.t.Fatal(err)
		}
	}
	return twin
}

// twinCall calls an operation that leaves nothing as it was, on another project with the same members.
func twinCall(prepare func(*rig, store.Scope)) func(*rig, store.Scope) call {
	return func(r *rig, sc store.Scope) call {
		twin := r.twin(sc)
		if prepare != nil {
			prepare(r, twin)
		}
		return call{path: map[string]string{"project": string(twin.Project())}}
	}
}

// offerCall answers an invitation of whoever asks, to a project of its own.
func offerCall(r *rig, sc store.Scope) call {
	p, err := r.db.CreateProject(ctx, r.user(newAddress()), lh.Project{Name: "Elsewhere", Zone: "UTC"})
	if err != nil {
		r.t.Fatal(err)
	}
	ms, err := r.db.Members(ctx, store.NewScope(p.ID, lh.RoleOwner, sc.Actor()))
	if err != nil {
		r.t.Fatal(err)
	}
	theirs := store.NewScope(p.ID, lh.RoleOwner, lh.Actor{Kind: lh.ActorUser, ID: string(ms[0].User)})
	return call{path: map[string]string{"invitation": string(lh.NewInvitationID())}, from: func(email string) call {
		return call{path: map[string]string{"invitation": string(invitation(r, theirs, email))}}
	}}
}
