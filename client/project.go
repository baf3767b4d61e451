package client

import (
	"context"
	"net/url"
)

// Project is a project as the asker sees it.
type Project struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	Description   string `json:"description"`
	Zone          string `json:"zone"` // IANA name
	Language      string `json:"language"`
	Units         Units  `json:"units"`
	Role          string `json:"role"`
	Created       int64  `json:"created"`
	RetentionDays int    `json:"retention_days"`
	Archived      int64  `json:"archived"`   // since when; 0 is not
	DestroyAt     int64  `json:"destroy_at"` // 0 is never
}

// Units are in which units values of a project are shown.
type Units struct {
	System     string            `json:"system"` // "metric", "us", "imperial"; "" as measured
	Quantities map[string]string `json:"quantities,omitempty"`
}

// Projects lists the asker's projects but for archived ones.
func (c *Client) Projects(ctx context.Context) ([]Project, error) {
	return items[Project](ctx, c, "/api/v1/projects", nil)
}

// ArchivedProjects lists the asker's archived projects.
func (c *Client) ArchivedProjects(ctx context.Context) ([]Project, error) {
	return items[Project](ctx, c, "/api/v1/projects", url.Values{"state": {"archived"}})
}

// Project returns one project.
func (c *Client) Project(ctx context.Context, project string) (Project, error) {
	var p Project
	err := c.call(ctx, "GET", projectPath(project), nil, nil, &p)
	return p, err
}

// CreateProject makes a project; zone is an IANA name.
func (c *Client) CreateProject(ctx context.Context, name, zone string) (Project, error) {
	var p Project
	err := c.call(ctx, "POST", "/api/v1/projects", nil, map[string]string{"name": name, "zone": zone}, &p)
	return p, err
}

// ProjectChange is what is to change of a project's settings; what is nil stays.
type ProjectChange struct {
	Name          *string `json:"name,omitempty"`
	Description   *string `json:"description,omitempty"`
	Zone          *string `json:"zone,omitempty"`
	Language      *string `json:"language,omitempty"`
	Units         *Units  `json:"units,omitempty"`
	RetentionDays *int    `json:"retention_days,omitempty"`
}

// ChangeProject changes settings of a project.
func (c *Client) ChangeProject(ctx context.Context, project string, change ProjectChange) (Project, error) {
	var p Project
	err := c.call(ctx, "PATCH", projectPath(project), nil, change, &p)
	return p, err
}

// ArchiveProject archives a project: it can be read and its devices upload, but nothing else changes in it.
func (c *Client) ArchiveProject(ctx context.Context, project string) error {
	return c.call(ctx, "POST", projectPath(project, "archive"), nil, nil, nil)
}

// RestoreProject takes a project out of the archive.
func (c *Client) RestoreProject(ctx context.Context, project string) error {
	return c.call(ctx, "POST", projectPath(project, "restore"), nil, nil, nil)
}

// DeleteProject has a project destroyed, for good, at the DestroyAt of the project it returns.
func (c *Client) DeleteProject(ctx context.Context, project string) (Project, error) {
	var p Project
	err := c.call(ctx, "DELETE", projectPath(project), nil, nil, &p)
	return p, err
}

// KeepProject calls the destruction of a project off.
func (c *Client) KeepProject(ctx context.Context, project string) error {
	return c.call(ctx, "POST", projectPath(project, "keep"), nil, nil, nil)
}

// DestroyProject destroys a project at once and for good. name must be the project's.
func (c *Client) DestroyProject(ctx context.Context, project, name string) error {
	return c.call(ctx, "DELETE", projectPath(project), url.Values{"now": {"true"}, "name": {name}}, nil, nil)
}

// TransferProject makes a member the owner of a project in place of the asker, who stays as an administrator.
func (c *Client) TransferProject(ctx context.Context, project, user string) error {
	return c.call(ctx, "POST", projectPath(project, "transfer"), nil, map[string]string{"user_id": user}, nil)
}

// Member is a member of a project.
type Member struct {
	UserID    string   `json:"user_id"`
	Email     string   `json:"email"`
	Name      string   `json:"name"`
	Role      string   `json:"role"`      // viewer, editor, administrator or owner
	Locations []string `json:"locations"` // to which the role is limited; none is the whole project
}

// Members lists the members of a project.
func (c *Client) Members(ctx context.Context, project string) ([]Member, error) {
	return items[Member](ctx, c, projectPath(project, "members"), nil)
}

// grant is a role to give.
type grant struct {
	Email     string   `json:"email,omitempty"`
	Role      string   `json:"role"`
	Locations []string `json:"locations,omitempty"`
}

// ChangeMember changes a member's role. It is limited to locations, where there are some.
func (c *Client) ChangeMember(ctx context.Context, project, user, role string, locations ...string) error {
	return c.call(ctx, "PATCH", projectPath(project, "members", user), nil, grant{Role: role, Locations: locations}, nil)
}

// RemoveMember takes a member out of a project.
func (c *Client) RemoveMember(ctx context.Context, project, user string) error {
	return c.call(ctx, "DELETE", projectPath(project, "members", user), nil, nil, nil)
}

// LeaveProject takes the asker out of a project.
func (c *Client) LeaveProject(ctx context.Context, project string) error {
	return c.call(ctx, "POST", projectPath(project, "leave"), nil, nil, nil)
}

// Invitation asks whoever an address belongs to into a project.
type Invitation struct {
	ID        string   `json:"id"`
	Email     string   `json:"email"`
	Role      string   `json:"role"`
	Locations []string `json:"locations"`
	InviterID string   `json:"inviter_id"`
	Created   int64    `json:"created"`
	Sent      int64    `json:"sent"`
	Expires   int64    `json:"expires"`
}

// Invitations lists who is invited to a project.
func (c *Client) Invitations(ctx context.Context, project string) ([]Invitation, error) {
	return items[Invitation](ctx, c, projectPath(project, "invitations"), nil)
}

// Invite asks whoever an address belongs to into a project, with or without an account. The role is limited to
// locations, where there are some.
func (c *Client) Invite(ctx context.Context, project, email, role string, locations ...string) (Invitation, error) {
	var i Invitation
	err := c.call(ctx, "POST", projectPath(project, "invitations"), nil, grant{email, role, locations}, &i)
	return i, err
}

// ResendInvitation sends an invitation once more.
func (c *Client) ResendInvitation(ctx context.Context, project, invitation string) error {
	return c.call(ctx, "POST", projectPath(project, "invitations", invitation, "resend"), nil, nil, nil)
}

// RevokeInvitation takes an invitation back.
func (c *Client) RevokeInvitation(ctx context.Context, project, invitation string) error {
	return c.call(ctx, "DELETE", projectPath(project, "invitations", invitation), nil, nil, nil)
}

// Offer is an invitation of the asker.
type Offer struct {
	ID          string `json:"id"`
	ProjectID   string `json:"project_id"`
	ProjectName string `json:"project_name"`
	Role        string `json:"role"`
	Limited     bool   `json:"limited"` // to some locations
	Inviter     string `json:"inviter"` // name
	Created     int64  `json:"created"`
	Expires     int64  `json:"expires"`
}

// Offers lists the invitations of the asker's own address.
func (c *Client) Offers(ctx context.Context) ([]Offer, error) {
	return whole[Offer](ctx, c, "/api/v1/invitations", nil)
}

// AcceptInvitation makes the asker a member and returns the project's id.
func (c *Client) AcceptInvitation(ctx context.Context, invitation string) (project string, err error) {
	var out struct {
		Project string `json:"project_id"`
	}
	err = c.call(ctx, "POST", "/api/v1/invitations/"+url.PathEscape(invitation)+"/accept", nil, nil, &out)
	return out.Project, err
}

// DeclineInvitation turns an invitation down.
func (c *Client) DeclineInvitation(ctx context.Context, invitation string) error {
	return c.call(ctx, "POST", "/api/v1/invitations/"+url.PathEscape(invitation)+"/decline", nil, nil, nil)
}
