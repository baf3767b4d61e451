package api

import (
	"context"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Invitation is an invitation in answers to the project's administrators. It says nothing of whether the address has an
// account.
type Invitation struct {
	ID        lh.InvitationID `json:"id" example:"inv_0123456789abcdef"`
	Email     string          `json:"email" example:"bo@example.org"`
	Role      lh.Role         `json:"role" enum:"viewer,editor,administrator,owner"`
	Locations []lh.LocationID `json:"locations" nullable:"false" doc:"Limits the role to these; empty is the whole project"`
	Inviter   lh.UserID       `json:"inviter_id"`
	Created   lh.Millis       `json:"created"`
	Sent      lh.Millis       `json:"sent" doc:"When its mail last went out"`
	Expires   lh.Millis       `json:"expires" doc:"Until when it can be accepted"`
}

func invitationOf(i lh.Invitation) Invitation {
	if i.Locations == nil {
		i.Locations = []lh.LocationID{}
	}
	return Invitation{i.ID, i.Email, i.Role, i.Locations, i.Inviter, i.Created, i.Sent, i.Expires}
}

type listInvitationsInput struct {
	ProjectPath
	Page
	Search
}

var invitationSheet = sheet[lh.Invitation]{usual: "-created", id: func(i lh.Invitation) string { return string(i.ID) }, by: map[string]func(lh.Invitation) sortKey{
	"created": func(i lh.Invitation) sortKey { return byNumber(i.Created) },
	"expires": func(i lh.Invitation) sortKey { return byNumber(i.Expires) },
	"email":   func(i lh.Invitation) sortKey { return byText(i.Email) },
}}

func listInvitations(a *API, ctx context.Context, sc store.Scope, in *listInvitationsInput) (*list[Invitation], error) {
	all, err := a.DB.Invitations(ctx, sc)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(i lh.Invitation) bool { return !in.matches(i.Email) })
	p, err := paged(a, ctx, in.Page, &invitationSheet, all)
	if err != nil {
		return nil, err
	}
	return pageEach(p, invitationOf), nil
}

type inviteInput struct {
	ProjectPath
	Body struct {
		Email     string          `json:"email" maxLength:"254" example:"bo@example.org"`
		Role      lh.Role         `json:"role" enum:"viewer,editor,administrator,owner"`
		Locations []lh.LocationID `json:"locations,omitempty" maxItems:"100" doc:"Limits a viewer or editor to these; none is the whole project"`
	}
}

func invite(a *API, ctx context.Context, sc store.Scope, in *inviteInput) (*one[Invitation], error) {
	i, err := a.Access.Invite(ctx, sc, lh.Invitation{Email: in.Body.Email, Role: in.Body.Role, Locations: in.Body.Locations})
	if err != nil {
		return nil, err
	}
	return &one[Invitation]{invitationOf(i)}, nil
}

type InvitationPath struct {
	ProjectPath
	Invitation lh.InvitationID `path:"invitation" maxLength:"40" example:"inv_0123456789abcdef"`
}

func resendInvitation(a *API, ctx context.Context, sc store.Scope, in *InvitationPath) (*one[Invitation], error) {
	i, err := a.Access.ResendInvitation(ctx, sc, in.Invitation)
	if err != nil {
		return nil, err
	}
	return &one[Invitation]{invitationOf(i)}, nil
}

func revokeInvitation(a *API, ctx context.Context, sc store.Scope, in *InvitationPath) (*struct{}, error) {
	return nil, a.DB.RevokeInvitation(ctx, sc, in.Invitation)
}

// Offer is an invitation in answers to whoever is invited.
type Offer struct {
	ID          lh.InvitationID `json:"id" example:"inv_0123456789abcdef"`
	ProjectID   lh.ProjectID    `json:"project_id"`
	ProjectName string          `json:"project_name" example:"Skjern Å"`
	Role        lh.Role         `json:"role" enum:"viewer,editor,administrator,owner"`
	Limited     bool            `json:"limited" doc:"To some of the project's locations"`
	Inviter     string          `json:"inviter" doc:"Name of who sent it; empty when they have no account any more"`
	Created     lh.Millis       `json:"created"`
	Expires     lh.Millis       `json:"expires"`
}

func listOffers(a *API, ctx context.Context, p access.Principal, _ *struct{}) (*list[Offer], error) {
	all, err := a.DB.Offers(ctx, p.User)
	if err != nil {
		return nil, err
	}
	out := make([]Offer, len(all))
	for i, o := range all {
		u, err := a.DB.User(ctx, o.Inviter)
		if err != nil && lh.CodeOf(err) != lh.NotFound {
			return nil, err
		}
		out[i] = Offer{o.ID, o.Project, o.ProjectName, o.Role, len(o.Locations) > 0, u.Name, o.Created, o.Expires}
	}
	return listOf(out), nil
}

type offerPath struct {
	Invitation lh.InvitationID `path:"invitation" maxLength:"40" example:"inv_0123456789abcdef"`
}

// Joined is the project somebody is now in.
type Joined struct {
	ProjectID lh.ProjectID `json:"project_id" example:"prj_0123456789abcdef"`
}

func acceptInvitation(a *API, ctx context.Context, p access.Principal, in *offerPath) (*one[Joined], error) {
	project, err := a.DB.AnswerInvitation(ctx, p.Actor(), p.User, in.Invitation, true)
	if err != nil {
		return nil, err
	}
	return &one[Joined]{Joined{project}}, nil
}

func declineInvitation(a *API, ctx context.Context, p access.Principal, in *offerPath) (*struct{}, error) {
	_, err := a.DB.AnswerInvitation(ctx, p.Actor(), p.User, in.Invitation, false)
	return nil, err
}
