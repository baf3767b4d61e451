package api

import (
	"context"
	"net/http"
	"slices"
	"time"
	_ "time/tzdata" // zones are known on machines without zone files

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Project is a project in answers.
type Project struct {
	ID            lh.ProjectID `json:"id" example:"prj_0123456789abcdef"`
	Name          string       `json:"name" example:"Skjern Å"`
	Description   string       `json:"description"`
	Zone          string       `json:"zone" doc:"IANA time zone in which days are cut" example:"Europe/Copenhagen"`
	Language      string       `json:"language" doc:"BCP 47 tag of the language of mails and reports; empty is the hub's own" example:"en-GB"`
	Units         Units        `json:"units"`
	Role          lh.Role      `json:"role" doc:"The asker's role"`
	Created       lh.Millis    `json:"created"`
	RetentionDays int          `json:"retention_days" doc:"After how many days samples are deleted for good; 0 keeps them for ever"`
	Archived      lh.Millis    `json:"archived" doc:"Since when the project is archived: it can be read, and devices upload, but nothing else changes. 0 is not"`
	DestroyAt     lh.Millis    `json:"destroy_at" doc:"When the project is destroyed, for good; an owner can call it off until then. 0 is never"`
}

// Units are in which units values of a project are shown.
type Units struct {
	System     string            `json:"system" required:"false" enum:",metric,us,imperial" doc:"Empty shows values as they were measured"`
	Quantities map[string]string `json:"quantities" required:"false" nullable:"false" doc:"UCUM codes by the name of a quantity; they go before the system" example:"{\"temperature\":\"[degF]\"}"`
}

func (u Units) units() lh.Units { return lh.Units{System: u.System, Quantities: u.Quantities} }

func projectOf(p lh.Project, r lh.Role) Project {
	u := Units{p.Units.System, p.Units.Quantities}
	if u.Quantities == nil {
		u.Quantities = map[string]string{}
	}
	return Project{p.ID, p.Name, p.Description, p.Zone, p.Language, u, r, p.Created, p.Retention, p.Archived, p.Destroy}
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
	State string `query:"state" enum:"active,archived,all" default:"active" doc:"Archived ones are left out unless asked for"`
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
	ps = slices.DeleteFunc(ps, func(p Project) bool {
		return !in.matches(p.Name) || in.State != "all" && (p.Archived != 0) != (in.State == "archived")
	})
	page, err := paged(a, ctx, in.Page, &projectSheet, ps)
	if err != nil {
		return nil, err
	}
	return pageOf(page, page.items), nil
}

type createProjectInput struct {
	Body struct {
		Name          string `json:"name" minLength:"1" maxLength:"200" example:"Skjern Å"`
		Description   string `json:"description,omitempty" maxLength:"4000"`
		Zone          string `json:"zone,omitempty" maxLength:"64" default:"UTC" example:"Europe/Copenhagen"`
		Language      string `json:"language,omitempty" maxLength:"35" example:"en-GB"`
		Units         Units  `json:"units,omitzero"`
		RetentionDays int    `json:"retention_days,omitempty" minimum:"0" maximum:"366000"`
	}
}

func createProject(a *API, ctx context.Context, p access.Principal, in *createProjectInput) (*one[Project], error) {
	if a.Projects.OperatorsCreate && !p.User.Operator {
		return nil, lh.Errorf(lh.Forbidden, "on this hub the operators make projects; ask one, who can then make you the owner")
	}
	b := in.Body
	if err := checkZone(b.Zone); err != nil {
		return nil, err
	}
	made, err := a.DB.CreateProjectBy(ctx, p.Actor(), lh.Project{Name: b.Name, Description: b.Description, Zone: b.Zone, Language: b.Language,
		Units: b.Units.units(), Retention: b.RetentionDays})
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
		Name          *string `json:"name,omitempty" minLength:"1" maxLength:"200" example:"Skjern Å"`
		Description   *string `json:"description,omitempty" maxLength:"4000"`
		Zone          *string `json:"zone,omitempty" maxLength:"64" example:"Europe/Copenhagen"`
		Language      *string `json:"language,omitempty" maxLength:"35" example:"en-GB"`
		Units         *Units  `json:"units,omitempty" doc:"Takes the place of all units before"`
		RetentionDays *int    `json:"retention_days,omitempty" minimum:"0" maximum:"366000" doc:"After how many days samples are deleted for good, approved ones too; 0 keeps them for ever"`
	}
}

func changeProject(a *API, ctx context.Context, sc store.Scope, in *changeProjectInput) (*one[Project], error) {
	p, err := a.DB.ChangeProject(ctx, sc, func(p *lh.Project) error {
		set(&p.Name, in.Body.Name)
		set(&p.Description, in.Body.Description)
		set(&p.Zone, in.Body.Zone)
		set(&p.Language, in.Body.Language)
		set(&p.Retention, in.Body.RetentionDays)
		if in.Body.Units != nil {
			p.Units = in.Body.Units.units()
		}
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

func archiveProject(a *API, ctx context.Context, sc store.Scope, _ *ProjectPath) (*one[Project], error) {
	p, err := a.DB.ArchiveProject(ctx, sc, true)
	return &one[Project]{projectOf(p, sc.Role())}, err
}

func restoreProject(a *API, ctx context.Context, sc store.Scope, _ *ProjectPath) (*one[Project], error) {
	p, err := a.DB.ArchiveProject(ctx, sc, false)
	return &one[Project]{projectOf(p, sc.Role())}, err
}

type deleteProjectInput struct {
	ProjectPath
	Now  bool   `query:"now" doc:"Destroy it at once; it cannot be called off"`
	Name string `query:"name" maxLength:"200" doc:"With now: the project's name, to say that it is this one"`
}

// deleteProjectOutput is the project that is still there, or nothing.
type deleteProjectOutput struct {
	Status int
	Body   *Project
}

func deleteProject(a *API, ctx context.Context, sc store.Scope, in *deleteProjectInput) (*deleteProjectOutput, error) {
	if !in.Now {
		p, err := a.Access.ScheduleDestruction(ctx, sc, lh.MillisOf(a.Now().Add(a.Projects.DestroyAfter)))
		if err != nil {
			return nil, err
		}
		shown := projectOf(p, sc.Role())
		return &deleteProjectOutput{http.StatusAccepted, &shown}, nil
	}
	p, err := a.DB.Project(ctx, sc)
	if err != nil {
		return nil, err
	}
	if in.Name != p.Name {
		return nil, lh.Errorf(lh.Invalid, "query.name: to destroy the project at once, give its name %q, letter by letter", p.Name)
	}
	ds, err := a.DB.Devices(ctx, sc)
	if err != nil {
		return nil, err
	}
	if err := a.Series.DeleteProject(ctx, sc); err != nil {
		return nil, err
	}
	for _, d := range ds {
		a.Fleet.Cut(d.ID)
	}
	return &deleteProjectOutput{Status: http.StatusNoContent}, nil
}

func keepProject(a *API, ctx context.Context, sc store.Scope, _ *ProjectPath) (*one[Project], error) {
	p, err := a.Access.CancelDestruction(ctx, sc)
	return &one[Project]{projectOf(p, sc.Role())}, err
}

type transferProjectInput struct {
	ProjectPath
	Body struct {
		UserID lh.UserID `json:"user_id" maxLength:"40" doc:"A member, who becomes an owner of the whole project"`
	}
}

func transferProject(a *API, ctx context.Context, sc store.Scope, in *transferProjectInput) (*struct{}, error) {
	return nil, a.DB.TransferProject(ctx, sc, in.Body.UserID)
}
