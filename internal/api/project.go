package api

import (
	"context"
	"slices"
	"time"
	_ "time/tzdata" // zones are known on machines without zone files

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Project is a project in answers.
type Project struct {
	ID            lh.ProjectID `json:"id"`
	Name          string       `json:"name"`
	Zone          string       `json:"zone" doc:"IANA time zone" example:"Europe/Copenhagen"`
	Role          lh.Role      `json:"role" doc:"The asker's role"`
	Created       lh.Millis    `json:"created"`
	RetentionDays int          `json:"retention_days" doc:"After how many days samples are deleted for good; 0 keeps them for ever"`
}

func projectOf(p lh.Project, r lh.Role) Project {
	return Project{p.ID, p.Name, p.Zone, r, p.Created, p.Retention}
}

// checkZone refuses a name that is no IANA time zone. "" and "Local" are zones to Go, and mean nothing on a server.
func checkZone(zone string) error {
	if _, err := time.LoadLocation(zone); err != nil || zone == "" || zone == "Local" {
		return lh.Errorf(lh.Invalid, "there is no time zone %q; use an IANA name such as Europe/Copenhagen, or UTC", zone)
	}
	return nil
}

func (a *API) projectsOf(ctx context.Context, p access.Principal) ([]Project, error) {
	gs, err := a.Access.Grants(ctx, p)
	if err != nil {
		return nil, err
	}
	ps := make([]Project, 0, len(gs))
	for _, g := range gs {
		p, err := a.DB.Project(ctx, g.Scope)
		if err != nil {
			return nil, err
		}
		ps = append(ps, projectOf(p, g.Member.Role))
	}
	return ps, nil
}

type listProjectsInput struct {
	Page
	Search
}

var projectSheet = sheet[Project]{usual: "created", id: func(p Project) string { return string(p.ID) }, by: map[string]func(Project) sortKey{
	"created": func(p Project) sortKey { return byNumber(p.Created) },
	"name":    func(p Project) sortKey { return byText(p.Name) },
}}

func listProjects(a *API, ctx context.Context, p access.Principal, in *listProjectsInput) (*list[Project], error) {
	ps, err := a.projectsOf(ctx, p)
	if err != nil {
		return nil, err
	}
	ps = slices.DeleteFunc(ps, func(p Project) bool { return !in.matches(p.Name) })
	page, err := paged(a, ctx, in.Page, &projectSheet, ps)
	if err != nil {
		return nil, err
	}
	return pageOf(page, page.items), nil
}

type createProjectInput struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"200"`
		Zone string `json:"zone,omitempty" maxLength:"64" default:"UTC"`
	}
}

func createProject(a *API, ctx context.Context, p access.Principal, in *createProjectInput) (*one[Project], error) {
	if err := checkZone(in.Body.Zone); err != nil {
		return nil, err
	}
	made, err := a.DB.CreateProject(ctx, p.User.ID, lh.Project{Name: in.Body.Name, Zone: in.Body.Zone})
	if err != nil {
		return nil, err
	}
	return &one[Project]{projectOf(made, lh.RoleOwner)}, nil
}

func getProject(a *API, ctx context.Context, sc store.Scope, _ *ProjectPath) (*one[Project], error) {
	p, err := a.DB.Project(ctx, sc)
	if err != nil {
		return nil, err
	}
	return &one[Project]{projectOf(p, sc.Role())}, nil
}

type changeProjectInput struct {
	ProjectPath
	Body struct {
		Name          *string `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Zone          *string `json:"zone,omitempty" maxLength:"64"`
		RetentionDays *int    `json:"retention_days,omitempty" minimum:"0" maximum:"366000" doc:"After how many days samples are deleted for good, approved ones too; 0 keeps them for ever"`
	}
}

func changeProject(a *API, ctx context.Context, sc store.Scope, in *changeProjectInput) (*one[Project], error) {
	p, err := a.DB.ChangeProject(ctx, sc, func(p *lh.Project) error {
		set(&p.Name, in.Body.Name)
		set(&p.Zone, in.Body.Zone)
		set(&p.Retention, in.Body.RetentionDays)
		return checkZone(p.Zone)
	})
	if err != nil {
		return nil, err
	}
	return &one[Project]{projectOf(p, sc.Role())}, nil
}

// set takes over a value that was given.
func set[T any](to *T, given *T) {
	if given != nil {
		*to = *given
	}
}

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

type setMemberInput struct {
	ProjectPath
	Body struct {
		Email     string          `json:"email" maxLength:"254"`
		Role      lh.Role         `json:"role" enum:"viewer,editor,administrator,owner"`
		Locations []lh.LocationID `json:"locations,omitempty" maxItems:"100"`
	}
}

func setMember(a *API, ctx context.Context, sc store.Scope, in *setMemberInput) (*one[Member], error) {
	u, _, err := a.DB.UserByEmail(ctx, in.Body.Email)
	if lh.CodeOf(err) == lh.NotFound {
		return nil, lh.Errorf(lh.NotFound, "nobody has an account with the address %s", in.Body.Email)
	}
	if err != nil {
		return nil, err
	}
	for _, l := range in.Body.Locations {
		if _, err := a.DB.Location(ctx, sc, l); err != nil {
			return nil, err
		}
	}
	m := lh.Member{Project: sc.Project(), User: u.ID, Role: in.Body.Role, Locations: in.Body.Locations}
	if err := a.DB.SetMember(ctx, sc, m); err != nil {
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

// AuditEvent is one thing somebody did, in answers.
type AuditEvent struct {
	Number    int64        `json:"number" doc:"Counts from 1 without a hole"`
	Time      lh.Millis    `json:"time"`
	ActorKind lh.ActorKind `json:"actor_kind"`
	ActorID   string       `json:"actor_id"`
	Action    string       `json:"action" example:"device.claim"`
	Subject   string       `json:"subject"`
	Detail    string       `json:"detail" doc:"JSON of what changed"`
	Hash      []byte       `json:"hash" doc:"Covers the event and the hash before it"`
}

type auditInput struct {
	ProjectPath
	After  int64  `query:"after" minimum:"0" doc:"Number after which to begin"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Cursor string `query:"cursor" maxLength:"2048" doc:"Where to go on: that of next in the page before"`
}

func listAudit(a *API, ctx context.Context, sc store.Scope, in *auditInput) (*list[AuditEvent], error) {
	after := in.After
	if _, err := a.openCursor(ctx, in.Cursor, &after); err != nil {
		return nil, err
	}
	var es []AuditEvent
	err := a.DB.Audit(ctx, sc, after, in.Limit+1, func(e lh.AuditEvent) error {
		es = append(es, AuditEvent{e.Number, e.Time, e.Actor.Kind, e.Actor.ID, e.Action, e.Subject, e.Detail, e.Hash})
		return nil
	})
	if err != nil {
		return nil, err
	}
	next := ""
	if len(es) > in.Limit {
		es = es[:in.Limit]
		if next, err = a.cursor(ctx, es[in.Limit-1].Number); err != nil {
			return nil, err
		}
	}
	return onwards(ctx, listOf(es), next), nil
}
