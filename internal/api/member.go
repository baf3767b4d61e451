package api

import (
	"context"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Member is a member of a project in answers.
type Member struct {
	UserID    lh.UserID       `json:"user_id"`
	Email     string          `json:"email"`
	Name      string          `json:"name"`
	Role      lh.Role         `json:"role" enum:"viewer,editor,administrator,owner"`
	Locations []lh.LocationID `json:"locations" nullable:"false" doc:"Limits the role to these; empty is the whole project"`
}

func (a *API) memberOf(ctx context.Context, m lh.Member) (Member, error) {
	u, err := a.DB.User(ctx, m.User)
	if err != nil {
		return Member{}, err
	}
	if m.Locations == nil {
		m.Locations = []lh.LocationID{}
	}
	return Member{m.User, u.Email, u.Name, m.Role, m.Locations}, nil
}

type listMembersInput struct {
	ProjectPath
	Page
	Search
	Role lh.Role `query:"role" enum:"viewer,editor,administrator,owner"`
}

var memberSheet = sheet[Member]{usual: "email", id: func(m Member) string { return string(m.UserID) }, by: map[string]func(Member) sortKey{
	"email": func(m Member) sortKey { return byText(m.Email) },
	"name":  func(m Member) sortKey { return byText(m.Name) },
	"role":  func(m Member) sortKey { return byText(m.Role) },
}}

func listMembers(a *API, ctx context.Context, sc store.Scope, in *listMembersInput) (*list[Member], error) {
	ms, err := a.DB.Members(ctx, sc)
	if err != nil {
		return nil, err
	}
	var all []Member
	for _, m := range ms {
		if in.Role != "" && m.Role != in.Role {
			continue
		}
		shown, err := a.memberOf(ctx, m)
		if err != nil {
			return nil, err
		}
		if in.matches(shown.Name, shown.Email) {
			all = append(all, shown)
		}
	}
	p, err := paged(a, ctx, in.Page, &memberSheet, all)
	if err != nil {
		return nil, err
	}
	return pageOf(p, p.items), nil
}

type changeMemberInput struct {
	MemberPath
	Body struct {
		Role      lh.Role         `json:"role" enum:"viewer,editor,administrator,owner"`
		Locations []lh.LocationID `json:"locations,omitempty" maxItems:"100" doc:"Limits a viewer or editor to these; none is the whole project"`
	}
}

func changeMember(a *API, ctx context.Context, sc store.Scope, in *changeMemberInput) (*one[Member], error) {
	m := lh.Member{Project: sc.Project(), User: in.User, Role: in.Body.Role, Locations: in.Body.Locations}
	if err := a.DB.ChangeMember(ctx, sc, m); err != nil {
		return nil, err
	}
	out, err := a.memberOf(ctx, m)
	return &one[Member]{out}, err
}

type MemberPath struct {
	ProjectPath
	User lh.UserID `path:"user" maxLength:"40"`
}

func removeMember(a *API, ctx context.Context, sc store.Scope, in *MemberPath) (*struct{}, error) {
	return nil, a.DB.RemoveMember(ctx, sc, in.User)
}

func leaveProject(a *API, ctx context.Context, sc store.Scope, _ *ProjectPath) (*struct{}, error) {
	return nil, a.DB.Leave(ctx, sc)
}
