package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
)

type projectBody struct {
	Name string `json:"name"`
	Zone string `json:"zone"`
}

// CreateProject makes a project with a data key of its own and its first owner, in one transaction. It gives the
// project its id.
func (db *DB) CreateProject(ctx context.Context, owner lh.UserID, p lh.Project) (lh.Project, error) {
	p.ID = lh.NewProjectID()
	k, wrapped, err := db.master.NewKey(string(p.ID))
	if err != nil {
		return p, err
	}
	err = db.update(ctx, func(t *tx) error {
		p.Created = t.now
		body, err := sealJSON(k, projectBody{p.Name, p.Zone}, place("project", p.ID))
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, `INSERT INTO owner_key (owner, created, wrapped) VALUES ($1, $2, $3)`, p.ID, t.now, wrapped); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `INSERT INTO project (id, created, audit_number, audit_hash, body) VALUES ($1, $2, 0, $3, $4)`,
			p.ID, t.now, auditSeed(p.ID), body); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `INSERT INTO member (project_id, user_id, role, locations, created) VALUES ($1, $2, $3, '', $4)`,
			p.ID, owner, lh.RoleOwner, t.now); err != nil {
			return err
		}
		return t.audit(ctx, p.ID, lh.Actor{Kind: lh.ActorUser, ID: string(owner)}, "project.create", string(p.ID), projectBody{p.Name, p.Zone})
	})
	if err != nil {
		return p, fmt.Errorf("create project: %w", err)
	}
	return p, nil
}

// Project returns the scope's project.
func (db *DB) Project(ctx context.Context, sc Scope) (lh.Project, error) {
	if err := sc.need(lh.PermRead); err != nil {
		return lh.Project{}, err
	}
	return db.project(ctx, db.read, sc.project)
}

func (db *DB) project(ctx context.Context, on queryer, id lh.ProjectID) (lh.Project, error) {
	p := lh.Project{ID: id}
	k, err := db.key(ctx, on, string(id))
	if err != nil {
		return p, err
	}
	var sealed []byte
	err = db.row(ctx, on, `SELECT created, retention_days, body FROM project WHERE id = $1`, id).Scan(&p.Created, &p.Retention, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return p, lh.Errorf(lh.NotFound, "there is no such project, or it is not yours to see")
	}
	if err != nil {
		return p, fmt.Errorf("read project: %w", err)
	}
	var b projectBody
	if err := openJSON(k, sealed, place("project", id), &b); err != nil {
		return p, err
	}
	p.Name, p.Zone = b.Name, b.Zone
	return p, nil
}

// ChangeProject writes the project's name, zone and retention.
func (db *DB) ChangeProject(ctx context.Context, sc Scope, p lh.Project) error {
	if err := sc.need(lh.PermAdminister); err != nil {
		return err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return err
	}
	if p.Retention < 0 || p.Retention > lh.MaxRetention {
		return lh.Errorf(lh.Invalid, "retention is 0 (for ever) to %d days", lh.MaxRetention)
	}
	body, err := sealJSON(k, projectBody{p.Name, p.Zone}, place("project", sc.project))
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `UPDATE project SET body = $2, retention_days = $3 WHERE id = $1`, sc.project, body, p.Retention); err != nil {
			return fmt.Errorf("change project: %w", err)
		}
		return t.audit(ctx, sc.project, sc.actor, "project.change", string(sc.project),
			map[string]any{"name": p.Name, "zone": p.Zone, "retention_days": p.Retention})
	})
}

// ProjectIDs returns every project of the installation, for the hub's own background work.
func (db *DB) ProjectIDs(ctx context.Context) ([]lh.ProjectID, error) {
	var ids []lh.ProjectID
	err := db.each(ctx, db.read, `SELECT id FROM project ORDER BY id`, nil, func(scan func(...any) error) error {
		var id lh.ProjectID
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, err
}

// Memberships returns what a user is in which projects; it is what access builds scopes from.
func (db *DB) Memberships(ctx context.Context, u lh.UserID) ([]lh.Member, error) {
	return db.members(ctx, `SELECT project_id, user_id, role, locations FROM member WHERE user_id = $1 ORDER BY project_id`, u)
}

// Membership returns a user's grant on one project; NotFound when there is none.
func (db *DB) Membership(ctx context.Context, u lh.UserID, p lh.ProjectID) (lh.Member, error) {
	ms, err := db.members(ctx, `SELECT project_id, user_id, role, locations FROM member WHERE user_id = $1 AND project_id = $2`, u, p)
	if err != nil {
		return lh.Member{}, err
	}
	if len(ms) == 0 {
		return lh.Member{}, lh.Errorf(lh.NotFound, "there is no such project, or it is not yours to see")
	}
	return ms[0], nil
}

// Members returns the members of the scope's project. A limited scope sees those of its locations, and of their limits
// only those locations.
func (db *DB) Members(ctx context.Context, sc Scope) ([]lh.Member, error) {
	if err := sc.need(lh.PermRead); err != nil {
		return nil, err
	}
	ms, err := db.members(ctx, `SELECT project_id, user_id, role, locations FROM member WHERE project_id = $1 ORDER BY created, user_id`, sc.project)
	if err != nil || !sc.Limited() {
		return ms, err
	}
	var seen []lh.Member
	for _, m := range ms {
		whole := len(m.Locations) == 0
		m.Locations = slices.DeleteFunc(m.Locations, func(l lh.LocationID) bool { return !sc.Sees(l) })
		if whole || len(m.Locations) > 0 {
			seen = append(seen, m)
		}
	}
	return seen, nil
}

func (db *DB) members(ctx context.Context, query string, args ...any) ([]lh.Member, error) {
	var ms []lh.Member
	err := db.each(ctx, db.read, query, args, func(scan func(...any) error) error {
		var m lh.Member
		var locations string
		if err := scan(&m.Project, &m.User, &m.Role, &locations); err != nil {
			return err
		}
		for l := range strings.SplitSeq(locations, ",") {
			if l != "" {
				m.Locations = append(m.Locations, lh.LocationID(l))
			}
		}
		ms = append(ms, m)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	return ms, nil
}

// SetMember gives a user a role in the scope's project, or changes it. The last owner stays one.
func (db *DB) SetMember(ctx context.Context, sc Scope, m lh.Member) error {
	if err := sc.need(lh.PermAdminister); err != nil {
		return err
	}
	if !m.Role.Valid() {
		return lh.Errorf(lh.Invalid, "there is no role %q; it is viewer, editor, administrator or owner", m.Role)
	}
	if m.Role == lh.RoleOwner && len(m.Locations) > 0 {
		// The last owner of the whole could lock everybody out of the rest.
		return lh.Errorf(lh.Invalid, "an owner is one of the whole project; limit another role to locations")
	}
	locations := make([]string, len(m.Locations))
	for i, l := range m.Locations {
		if !l.Valid() {
			return lh.Errorf(lh.Invalid, "%q is no location id", l)
		}
		locations[i] = string(l)
	}
	return db.update(ctx, func(t *tx) error {
		// The audit event takes the project's row first, so that two changes cannot each remove the other's last owner.
		if err := t.audit(ctx, sc.project, sc.actor, "member.set", string(m.User), map[string]any{"role": m.Role, "locations": locations}); err != nil {
			return err
		}
		if err := t.mayTouchOwner(ctx, sc, m.User, m.Role); err != nil {
			return err
		}
		_, err := t.exec(ctx, `INSERT INTO member (project_id, user_id, role, locations, created) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role, locations = excluded.locations`,
			sc.project, m.User, m.Role, strings.Join(locations, ","), t.now)
		if err != nil {
			return fmt.Errorf("set member: %w", err)
		}
		return nil
	})
}

// RemoveMember takes a user's role in the scope's project away. The last owner cannot be removed.
func (db *DB) RemoveMember(ctx context.Context, sc Scope, u lh.UserID) error {
	if err := sc.need(lh.PermAdminister); err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		if err := t.audit(ctx, sc.project, sc.actor, "member.remove", string(u), nil); err != nil {
			return err
		}
		if err := t.mayTouchOwner(ctx, sc, u, ""); err != nil {
			return err
		}
		n, err := t.exec(ctx, `DELETE FROM member WHERE project_id = $1 AND user_id = $2`, sc.project, u)
		if err != nil {
			return fmt.Errorf("remove member: %w", err)
		}
		if n == 0 {
			return lh.Errorf(lh.NotFound, "this user is no member of the project")
		}
		return nil
	})
}

// mayTouchOwner refuses to take the last owner's role away, and refuses anybody but an owner to make or unmake one.
func (t *tx) mayTouchOwner(ctx context.Context, sc Scope, u lh.UserID, becomes lh.Role) error {
	var was lh.Role
	err := t.db.row(ctx, t, `SELECT role FROM member WHERE project_id = $1 AND user_id = $2`, sc.project, u).Scan(&was)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if was != lh.RoleOwner && becomes != lh.RoleOwner {
		return nil
	}
	if sc.role != lh.RoleOwner {
		return lh.Errorf(lh.Forbidden, "only an owner makes or unmakes an owner")
	}
	if becomes == lh.RoleOwner {
		return nil
	}
	var owners int
	if err := t.db.row(ctx, t, `SELECT count(*) FROM member WHERE project_id = $1 AND role = $2`, sc.project, lh.RoleOwner).Scan(&owners); err != nil {
		return err
	}
	if owners <= 1 {
		return lh.Errorf(lh.Conflict, "this is the project's last owner; make somebody else an owner first")
	}
	return nil
}
