package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
)

// Notice is a mail to an owner of a project.
type Notice func(to lh.User, p lh.Project) notify.Mail

// ScheduleDestruction has the project destroyed at a time, by [DB.DestroyDue], and tells its owners. One that is scheduled
// already stays as it is.
func (db *DB) ScheduleDestruction(ctx context.Context, sc Scope, at lh.Millis, notice Notice) (lh.Project, error) {
	return db.setDestroy(ctx, sc, "project.delete", notice, func(was, now lh.Millis) (lh.Millis, error) {
		if was != 0 {
			return was, nil
		}
		return max(at, now+1), nil
	})
}

// CancelDestruction calls the destruction of the project off and tells its owners. Conflict: there is none to come.
func (db *DB) CancelDestruction(ctx context.Context, sc Scope, notice Notice) (lh.Project, error) {
	return db.setDestroy(ctx, sc, "project.keep", notice, func(was, now lh.Millis) (lh.Millis, error) {
		if was == 0 {
			return 0, lh.Errorf(lh.Conflict, "the project is not going to be destroyed; there is nothing to call off")
		}
		return 0, nil
	})
}

func (db *DB) setDestroy(ctx context.Context, sc Scope, action string, notice Notice, set func(was, now lh.Millis) (lh.Millis, error)) (lh.Project, error) {
	var p lh.Project
	if err := sc.need(lh.PermDestroy); err != nil {
		return p, err
	}
	err := db.update(ctx, func(t *tx) error {
		var err error
		if p, err = t.lockProject(ctx, sc.project); err != nil {
			return err
		}
		was := p.Destroy
		if p.Destroy, err = set(was, t.now); err != nil || p.Destroy == was {
			return err
		}
		if _, err := t.exec(ctx, `UPDATE project SET destroy = $2 WHERE id = $1`, sc.project, p.Destroy); err != nil {
			return err
		}
		if err := t.tellOwners(ctx, p, notice); err != nil {
			return err
		}
		return t.audit(ctx, sc.project, sc.actor, action, string(sc.project), map[string]any{"before": was, "after": p.Destroy})
	})
	if err != nil {
		return p, fmt.Errorf("%s: %w", action, err)
	}
	return p, nil
}

// tellOwners puts a mail to each owner into the outbox. An address that no mail can be sent to gets none; nor does it stand
// in the way.
func (t *tx) tellOwners(ctx context.Context, p lh.Project, notice Notice) error {
	var owners []lh.UserID
	err := t.db.each(ctx, t, `SELECT user_id FROM member WHERE project_id = $1 AND role = $2 ORDER BY user_id`, []any{p.ID, lh.RoleOwner},
		func(scan func(...any) error) error {
			var id lh.UserID
			err := scan(&id)
			owners = append(owners, id)
			return err
		})
	if err != nil {
		return err
	}
	for _, id := range owners {
		u, _, err := t.db.userOn(ctx, t, `id = $1`, id)
		if err != nil {
			return err
		}
		if m := notice(u, p); m.Check() == nil {
			if err := t.mail(ctx, noticeLife, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// errNotDue: somebody called it off, or another hub was quicker.
var errNotDue = errors.New("not due")

// DestroyDue destroys the projects whose time has come, and returns how many, and the devices that were in them. It is the
// hub's own. Each project is destroyed by one hub: the first to take its row.
func (db *DB) DestroyDue(ctx context.Context) (n int, devices []lh.DeviceID, err error) {
	var due []lh.ProjectID
	now := lh.MillisOf(db.now())
	err = db.each(ctx, db.read, `SELECT id FROM project WHERE destroy <> 0 AND destroy <= $1 ORDER BY destroy, id`, []any{now}, func(scan func(...any) error) error {
		var id lh.ProjectID
		err := scan(&id)
		due = append(due, id)
		return err
	})
	if err != nil {
		return 0, nil, fmt.Errorf("read projects to destroy: %w", err)
	}
	var errs []error
	for _, id := range due {
		var had []lh.DeviceID
		err := db.destroy(ctx, id, func(t *tx) error {
			taken, err := t.exec(ctx, `UPDATE project SET destroy = destroy WHERE id = $1 AND destroy <> 0 AND destroy <= $2`, id, now)
			if err == nil && taken == 0 {
				err = errNotDue
			}
			if err != nil {
				return err
			}
			had = nil
			return db.each(ctx, t, `SELECT id FROM device WHERE project_id = $1`, []any{id}, func(scan func(...any) error) error {
				var d lh.DeviceID
				err := scan(&d)
				had = append(had, d)
				return err
			})
		})
		switch {
		case err == nil:
			n++
			devices = append(devices, had...)
			db.log.InfoContext(ctx, "project destroyed as scheduled", "project", id)
		case !errors.Is(err, errNotDue):
			errs = append(errs, err)
		}
	}
	return n, devices, errors.Join(errs...)
}

// DeleteProject destroys a project. When it returns nil, the project's key is gone for good and with it everything
// that was sealed under it, in this database and in every copy that has not the key; what is left of its rows goes by
// and by ([DB.Sweep]). The serials of its devices are free for a new claim code.
func (db *DB) DeleteProject(ctx context.Context, sc Scope) error {
	if err := sc.need(lh.PermDestroy); err != nil {
		return err
	}
	return db.destroy(ctx, sc.project, func(*tx) error { return nil })
}

// destroy destroys a project unless may, which runs first in the same transaction, returns an error.
func (db *DB) destroy(ctx context.Context, p lh.ProjectID, may func(*tx) error) error {
	err := db.update(ctx, func(t *tx) error {
		if err := may(t); err != nil {
			return err
		}
		// Overwritten before it is deleted, so that the bytes are not left in the page.
		if _, err := t.exec(ctx, `UPDATE owner_key SET wrapped = $2 WHERE owner = $1`, p, make([]byte, 256)); err != nil {
			return err
		}
		for _, statement := range []string{
			`DELETE FROM owner_key WHERE owner = $1`,
			`DELETE FROM device_certificate WHERE project_id = $1`,
			`DELETE FROM device_log WHERE project_id = $1`,
			`DELETE FROM latest WHERE project_id = $1`,
			`UPDATE inventory SET project_id = '', device_id = '' WHERE project_id = $1`,
		} {
			if _, err := t.exec(ctx, statement, p); err != nil {
				return err
			}
		}
		n, err := t.exec(ctx, `DELETE FROM project WHERE id = $1`, p) // members, locations, devices, elements go with it
		if err != nil {
			return err
		}
		if n == 0 {
			return noProject()
		}
		_, err = t.exec(ctx, `INSERT INTO deleted_project (id, deleted) VALUES ($1, $2)`, p, t.now)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete project %s: %w", p, err)
	}
	db.keysMu.Lock()
	delete(db.keys, string(p))
	db.keysMu.Unlock()
	if !db.sqlite {
		return nil
	}
	// The key's page is still in the write-ahead log until that is copied into the file and begun anew.
	if _, err := db.write.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		db.log.Warn("the write-ahead log could not be cut after a project was deleted", "err", err)
	}
	return nil
}

// Sweep removes what deleted projects have left, in small transactions. It is the hub's own; what it does not finish,
// the next call does.
func (db *DB) Sweep(ctx context.Context) error {
	var ids []lh.ProjectID
	err := db.each(ctx, db.read, `SELECT id FROM deleted_project ORDER BY id`, nil, func(scan func(...any) error) error {
		var id lh.ProjectID
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	var errs []error
	for _, id := range ids {
		errs = append(errs, db.sweep(ctx, id))
	}
	if err == nil {
		err = db.sweepInvitations(ctx)
	}
	errs = append(errs, db.sweepElements(ctx))
	_, e := db.DropIdempotency(ctx)
	errs = append(errs, e)
	return errors.Join(append(errs, err)...)
}

// sweepInvitations forgets those that expired long ago.
func (db *DB) sweepInvitations(ctx context.Context) error {
	old := lh.MillisOf(db.now()) - lh.Millis(keepInvitations.Milliseconds())
	var n int
	if err := db.row(ctx, db.read, `SELECT count(*) FROM invitation WHERE expires < $1`, old).Scan(&n); err != nil || n == 0 {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM invitation WHERE expires < $1`, old)
		return err
	})
}

func (db *DB) sweep(ctx context.Context, p lh.ProjectID) error {
	for _, table := range []struct{ name, key string }{{"chunk", "element_id"}, {"intake", "device_id"}, {"arrival", "device_id"}} {
		for {
			var keys []string
			query := `SELECT ` + table.key + ` FROM ` + table.name + ` WHERE project_id = $1 ORDER BY ` + table.key + ` LIMIT 1000`
			err := db.each(ctx, db.read, query, []any{p}, func(scan func(...any) error) error {
				var k string
				err := scan(&k)
				keys = append(keys, k)
				return err
			})
			if err != nil {
				return fmt.Errorf("sweep %s: %w", table.name, err)
			}
			if len(keys) == 0 {
				break
			}
			for _, k := range slices.Compact(keys) {
				err := db.update(ctx, func(t *tx) error {
					if table.name == "intake" { // the journal goes with it
						_, err := t.exec(ctx, `DELETE FROM journal WHERE stream = (SELECT stream FROM intake WHERE project_id = $1 AND device_id = $2)`, p, k)
						if err != nil {
							return err
						}
					}
					_, err := t.exec(ctx, `DELETE FROM `+table.name+` WHERE project_id = $1 AND `+table.key+` = $2`, p, k)
					return err
				})
				if err != nil {
					return fmt.Errorf("sweep %s: %w", table.name, err)
				}
			}
		}
	}
	if err := db.dropParts(ctx, `project_id = $1`, p); err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `DELETE FROM audit WHERE project_id = $1`, p); err != nil {
			return err
		}
		_, err := t.exec(ctx, `DELETE FROM deleted_project WHERE id = $1`, p)
		return err
	})
}
