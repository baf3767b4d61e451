package main

import (
	"context"
	"fmt"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
)

type projectCommand struct {
	List    projectListCommand    `cmd:"" help:"List my projects."`
	Show    projectShowCommand    `cmd:"" help:"Show a project's settings."`
	Create  projectCreateCommand  `cmd:"" help:"Make a project, as its owner."`
	Change  projectChangeCommand  `cmd:"" help:"Change a project's settings; what is not given stays."`
	Archive projectArchiveCommand `cmd:"" help:"Archive a project: it can be read, its devices go on uploading, and nothing else changes."`
	Restore projectRestoreCommand `cmd:"" help:"Take a project out of the archive."`
	Delete  projectDeleteCommand  `cmd:"" help:"Have a project destroyed, for good, after a delay."`
	Keep    projectKeepCommand    `cmd:"" help:"Call the destruction of a project off."`
	Members projectMembersCommand `cmd:"" help:"List the members and who is invited."`
	Invite  projectInviteCommand  `cmd:"" help:"Invite somebody by e-mail, with or without an account."`
	Role    projectRoleCommand    `cmd:"" help:"Change a member's role."`
	Remove  projectRemoveCommand  `cmd:"" help:"Take a member, or an invitation, out of the project, at once."`
}

var projectColumns = []column[client.Project]{
	{"id", func(p client.Project) string { return p.ID }},
	{"name", func(p client.Project) string { return p.Name }},
	{"role", func(p client.Project) string { return p.Role }},
	{"zone", func(p client.Project) string { return p.Zone }},
	{"state", func(p client.Project) string {
		switch {
		case p.DestroyAt != 0:
			return "destroyed at " + moment(p.DestroyAt)
		case p.Archived != 0:
			return "archived"
		}
		return "active"
	}},
	{"created", func(p client.Project) string { return moment(p.Created) }},
}

type projectListCommand struct {
	hubFlags
	outputFlags
	Archived bool `help:"List those that are archived instead."`
}

func (l projectListCommand) Run(ctx context.Context, p program) error {
	return l.withHub(p, func(c *client.Client) error {
		read := c.Projects
		if l.Archived {
			read = c.ArchivedProjects
		}
		all, err := read(ctx)
		if err != nil {
			return err
		}
		return show(p, l.outputFlags, all, projectColumns...)
	})
}

type projectShowCommand struct {
	projectFlags
	outputFlags
}

func (s projectShowCommand) Run(ctx context.Context, p program) error {
	return s.inProject(ctx, p, func(c *client.Client, project string) error {
		got, err := c.Project(ctx, project)
		if err != nil {
			return err
		}
		return showProject(p, s.outputFlags, got)
	})
}

func showProject(p program, o outputFlags, got client.Project) error {
	return showOne(p, o, got, append(projectColumns,
		column[client.Project]{"description", func(p client.Project) string { return p.Description }},
		column[client.Project]{"language", func(p client.Project) string { return p.Language }},
		column[client.Project]{"retention", func(p client.Project) string {
			if p.RetentionDays == 0 {
				return "everything"
			}
			return fmt.Sprintf("%d days", p.RetentionDays)
		}})...)
}

type projectCreateCommand struct {
	hubFlags
	outputFlags
	Name string `arg:"" help:"Its name."`
	Zone string `help:"The time zone its days are cut in, such as Europe/Copenhagen." default:"UTC"`
}

func (n projectCreateCommand) Run(ctx context.Context, p program) error {
	return n.withHub(p, func(c *client.Client) error {
		made, err := c.CreateProject(ctx, n.Name, n.Zone)
		if err != nil {
			return err
		}
		return showOne(p, n.outputFlags, made, projectColumns...)
	})
}

type projectChangeCommand struct {
	projectFlags
	outputFlags
	Name          *string `help:"New name."`
	Description   *string `help:"New description."`
	Zone          *string `help:"New time zone."`
	Language      *string `help:"New language, such as en."`
	RetentionDays *int    `help:"For how many days samples are kept; 0 keeps everything. What is older is deleted, for good."`
}

func (g projectChangeCommand) Run(ctx context.Context, p program) error {
	return g.inProject(ctx, p, func(c *client.Client, project string) error {
		got, err := c.ChangeProject(ctx, project, client.ProjectChange{Name: g.Name, Description: g.Description, Zone: g.Zone, Language: g.Language,
			RetentionDays: g.RetentionDays})
		if err != nil {
			return err
		}
		return showProject(p, g.outputFlags, got)
	})
}

type projectArchiveCommand struct{ projectFlags }

func (a projectArchiveCommand) Run(ctx context.Context, p program) error {
	return a.inProject(ctx, p, func(c *client.Client, project string) error { return c.ArchiveProject(ctx, project) })
}

type projectRestoreCommand struct{ projectFlags }

func (r projectRestoreCommand) Run(ctx context.Context, p program) error {
	// An archived project is not in the list of projects, so that a name could not be found: it takes the id.
	return r.inProject(ctx, p, func(c *client.Client, project string) error { return c.RestoreProject(ctx, project) })
}

type projectDeleteCommand struct {
	projectFlags
	Now  bool   `help:"Destroy it at once. There is no way back, and no backup of the key."`
	Name string `help:"The project's whole name, to be sure; needed with --now." placeholder:"NAME"`
}

func (d projectDeleteCommand) Run(ctx context.Context, p program) error {
	if d.Now && d.Name == "" {
		return lh.Errorf(lh.Invalid, "to destroy a project at once, give its whole name with --name")
	}
	return d.inProject(ctx, p, func(c *client.Client, project string) error {
		if d.Now {
			return c.DestroyProject(ctx, project, d.Name)
		}
		got, err := c.DeleteProject(ctx, project)
		if err == nil {
			fmt.Fprintf(p.stdout, "%s will be destroyed at %s. Until then loggerhead project keep calls it off, and loggerhead export saves what is in it.\n",
				printable(got.Name), moment(got.DestroyAt))
		}
		return err
	})
}

type projectKeepCommand struct{ projectFlags }

func (k projectKeepCommand) Run(ctx context.Context, p program) error {
	return k.inProject(ctx, p, func(c *client.Client, project string) error { return c.KeepProject(ctx, project) })
}

// person is a member, or somebody invited.
type person struct {
	ID        string   `json:"id"` // of the user, or of the invitation
	Email     string   `json:"email"`
	Name      string   `json:"name,omitempty"`
	Role      string   `json:"role"`
	Locations []string `json:"locations"`
	Invited   bool     `json:"invited"`
}

var personColumns = []column[person]{
	{"id", func(m person) string { return m.ID }},
	{"email", func(m person) string { return m.Email }},
	{"name", func(m person) string { return m.Name }},
	{"role", func(m person) string { return m.Role }},
	{"limited_to", func(m person) string { return strings.Join(m.Locations, " ") }},
	{"state", func(m person) string {
		if m.Invited {
			return "invited"
		}
		return "member"
	}},
}

type projectMembersCommand struct {
	projectFlags
	outputFlags
}

func (m projectMembersCommand) Run(ctx context.Context, p program) error {
	return m.inProject(ctx, p, func(c *client.Client, project string) error {
		members, err := c.Members(ctx, project)
		if err != nil {
			return err
		}
		var all []person
		for _, m := range members {
			all = append(all, person{m.UserID, m.Email, m.Name, m.Role, m.Locations, false})
		}
		invited, err := c.Invitations(ctx, project)
		if err != nil && lh.CodeOf(told(err)) != lh.Forbidden { // who may not invite does not see who is invited
			return err
		}
		for _, i := range invited {
			all = append(all, person{i.ID, i.Email, "", i.Role, i.Locations, true})
		}
		return show(p, m.outputFlags, all, personColumns...)
	})
}

type projectInviteCommand struct {
	projectFlags
	outputFlags
	Email     string   `arg:"" help:"Their e-mail address."`
	Role      string   `help:"viewer, editor, administrator or owner." enum:"viewer,editor,administrator,owner" default:"viewer"`
	Locations []string `name:"location" help:"Limit them to this location, by id; repeat it for more." placeholder:"ID"`
}

func (i projectInviteCommand) Run(ctx context.Context, p program) error {
	return i.inProject(ctx, p, func(c *client.Client, project string) error {
		got, err := c.Invite(ctx, project, i.Email, i.Role, i.Locations...)
		if err != nil {
			return err
		}
		return showOne(p, i.outputFlags, person{got.ID, got.Email, "", got.Role, got.Locations, true}, personColumns...)
	})
}

type projectRoleCommand struct {
	projectFlags
	User      string   `arg:"" help:"The member, by id or e-mail address."`
	Role      string   `arg:"" help:"viewer, editor, administrator or owner." enum:"viewer,editor,administrator,owner"`
	Locations []string `name:"location" help:"Limit them to this location, by id; repeat it for more." placeholder:"ID"`
}

func (r projectRoleCommand) Run(ctx context.Context, p program) error {
	return r.inProject(ctx, p, func(c *client.Client, project string) error {
		id, err := memberID(ctx, c, project, r.User)
		if err != nil {
			return err
		}
		return c.ChangeMember(ctx, project, id, r.Role, r.Locations...)
	})
}

type projectRemoveCommand struct {
	projectFlags
	Who string `arg:"" help:"The member, by id or e-mail address, or an invitation by its id."`
}

func (r projectRemoveCommand) Run(ctx context.Context, p program) error {
	return r.inProject(ctx, p, func(c *client.Client, project string) error {
		if strings.HasPrefix(r.Who, "inv_") {
			return c.RevokeInvitation(ctx, project, r.Who)
		}
		id, err := memberID(ctx, c, project, r.Who)
		if err != nil {
			return err
		}
		return c.RemoveMember(ctx, project, id)
	})
}

// memberID finds a member by id or address.
func memberID(ctx context.Context, c *client.Client, project, who string) (string, error) {
	if !strings.Contains(who, "@") {
		return who, nil
	}
	members, err := c.Members(ctx, project)
	if err != nil {
		return "", err
	}
	for _, m := range members {
		if strings.EqualFold(m.Email, who) {
			return m.UserID, nil
		}
	}
	return "", lh.Errorf(lh.NotFound, "%s is no member of this project", who)
}
