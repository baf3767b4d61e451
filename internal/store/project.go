package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
)

type projectBody struct {
	Name        string   `json:"name"`
	Zone        string   `json:"zone"`
	Description string   `json:"description,omitempty"`
	Language    string   `json:"language,omitempty"`
	Units       lh.Units `json:"units,omitzero"`
}

func projectBodyOf(p lh.Project) projectBody {
	return projectBody{p.Name, p.Zone, p.Description, p.Language, p.Units}
}

// settings are what a project's people may change of it, for the audit trail.
type settings struct {
	projectBody
	Retention int `json:"retention_days"`
}

func noProject() error {
	return lh.Errorf(lh.NotFound, "there is no such project, or it is not yours to see")
}

// CreateProject makes a project with a data key of its own and its first owner, in one transaction. It gives the
// project its id.
func (db *DB) CreateProject(ctx context.Context, owner lh.UserID, p lh.Project) (lh.Project, error) {
	return db.CreateProjectBy(ctx, lh.Actor{Kind: lh.ActorUser, ID: string(owner)}, p)
}

// CreateProjectBy is [DB.CreateProject] by somebody whose address the audit trail shall tell: a user.
func (db *DB) CreateProjectBy(ctx context.Context, owner lh.Actor, p lh.Project) (lh.Project, error) {
	if err := p.Check(); err != nil {
		return p, err
	}
	p.ID = lh.NewProjectID()
	k, wrapped, err := db.master.NewKey(string(p.ID))
	if err != nil {
		return p, err
	}
	err = db.update(ctx, func(t *tx) error {
		p.Created = t.now
		body, err := sealJSON(k, projectBodyOf(p), place("project", p.ID))
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, `INSERT INTO owner_key (owner, created, wrapped) VALUES ($1, $2, $3)`, p.ID, t.now, wrapped); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `INSERT INTO project (id, created, retention_days, audit_number, audit_hash, body) VALUES ($1, $2, $3, 0, $4, $5)`,
			p.ID, t.now, p.Retention, auditSeed(p.ID), body); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `INSERT INTO member (project_id, user_id, role, locations, created) VALUES ($1, $2, $3, '', $4)`,
			p.ID, owner.ID, lh.RoleOwner, t.now); err != nil {
			return err
		}
		return t.audit(ctx, p.ID, owner, "project.create", string(p.ID), settings{projectBodyOf(p), p.Retention})
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
	err = db.row(ctx, on, `SELECT created, retention_days, archived, destroy, body FROM project WHERE id = $1`, id).
		Scan(&p.Created, &p.Retention, &p.Archived, &p.Destroy, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return p, noProject()
	}
	if err != nil {
		return p, fmt.Errorf("read project: %w", err)
	}
	var b projectBody
	if err := openJSON(k, sealed, place("project", id), &b); err != nil {
		return p, err
	}
	p.Name, p.Zone, p.Description, p.Language, p.Units = b.Name, b.Zone, b.Description, b.Language, b.Units
	return p, nil
}

// ChangeProject has edit change the project's settings, in one transaction with nobody in between, and returns what they
// are then. edit may run more than once; the ids and times of a project are not its to change.
func (db *DB) ChangeProject(ctx context.Context, sc Scope, edit func(*lh.Project) error) (lh.Project, error) {
	var p lh.Project
	if err := sc.need(lh.PermAdminister); err != nil {
		return p, err
	}
	err := db.update(ctx, func(t *tx) error {
		was, err := t.lockProject(ctx, sc.project)
		if err != nil {
			return err
		}
		p = was
		if err := edit(&p); err != nil {
			return err
		}
		if err := p.Check(); err != nil {
			return err
		}
		k, err := db.key(ctx, t, string(sc.project))
		if err != nil {
			return err
		}
		body, err := sealJSON(k, projectBodyOf(p), place("project", sc.project))
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, `UPDATE project SET body = $2, retention_days = $3 WHERE id = $1`, sc.project, body, p.Retention); err != nil {
			return fmt.Errorf("change project: %w", err)
		}
		return t.audit(ctx, sc.project, sc.actor, "project.change", string(sc.project),
			map[string]any{"before": settings{projectBodyOf(was), was.Retention}, "after": settings{projectBodyOf(p), p.Retention}})
	})
	return p, err
}

// lockProject takes the project's row, so that changes of the project queue up, and reads it.
func (t *tx) lockProject(ctx context.Context, p lh.ProjectID) (lh.Project, error) {
	n, err := t.exec(ctx, `UPDATE project SET archived = archived WHERE id = $1`, p)
	if err != nil {
		return lh.Project{}, fmt.Errorf("take project: %w", err)
	}
	if n == 0 {
		return lh.Project{}, noProject()
	}
	return t.db.project(ctx, t, p)
}

// ArchiveProject puts the project away, or takes it out again: while it is archived, nothing changes in it but what
// devices upload, and who is taken out of it.
func (db *DB) ArchiveProject(ctx context.Context, sc Scope, archived bool) (lh.Project, error) {
	var p lh.Project
	if err := sc.need(lh.PermAdminister); err != nil {
		return p, err
	}
	err := db.update(ctx, func(t *tx) error {
		var err error
		if p, err = t.lockProject(ctx, sc.project); err != nil || (p.Archived != 0) == archived {
			return err
		}
		action := "project.restore"
		if p.Archived = 0; archived {
			p.Archived, action = t.now, "project.archive"
		}
		if _, err := t.exec(ctx, `UPDATE project SET archived = $2 WHERE id = $1`, sc.project, p.Archived); err != nil {
			return fmt.Errorf("archive project: %w", err)
		}
		return t.audit(ctx, sc.project, sc.actor, action, string(sc.project), nil)
	})
	return p, err
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
