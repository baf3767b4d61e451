package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

type approvalBody struct {
	Comment string `json:"comment,omitempty"`
}

const approvalColumns = `id, from_time, to_time, created, actor_kind, actor_id, revoked, revoked_kind, revoked_id, body`

func scanApproval(k *seal.Key, p lh.ProjectID, e lh.ElementID, scan func(...any) error) (lh.Approval, error) {
	a := lh.Approval{Project: p, Element: e}
	var sealed []byte
	err := scan(&a.ID, &a.From, &a.To, &a.Created, &a.By.Kind, &a.By.ID, &a.Revoked, &a.RevokedBy.Kind, &a.RevokedBy.ID, &sealed)
	if err != nil {
		return a, err
	}
	var b approvalBody
	err = openJSON(k, sealed, place("approval", p, e, a.ID), &b)
	a.Comment = b.Comment
	return a, err
}

// Approvals returns an element's approvals that touch [from, to), revoked ones too, oldest first.
func (db *DB) Approvals(ctx context.Context, sc Scope, e lh.ElementID, from, to lh.Millis) ([]lh.Approval, error) {
	k, err := db.seriesKey(ctx, sc, e)
	if err != nil {
		return nil, err
	}
	var as []lh.Approval
	err = db.each(ctx, db.read, `SELECT `+approvalColumns+` FROM approval WHERE project_id = $1 AND element_id = $2
		AND from_time < $4 AND to_time > $3 ORDER BY created, id`, []any{sc.project, e, from, to}, func(scan func(...any) error) error {
		a, err := scanApproval(k, sc.project, e, scan)
		as = append(as, a)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read approvals of %s: %w", e, err)
	}
	return as, nil
}

// notApproved is the check of whoever changes what readers see of a range. The caller's transaction holds the
// project's row, by its audit event.
func (t *tx) notApproved(ctx context.Context, sc Scope, e lh.ElementID, from, to lh.Millis) error {
	return notApprovedOn(ctx, t.db, t, sc, e, from, to)
}

func notApprovedOn(ctx context.Context, db *DB, on queryer, sc Scope, e lh.ElementID, from, to lh.Millis) error {
	var at lh.Millis
	err := db.row(ctx, on, `SELECT from_time FROM approval WHERE project_id = $1 AND element_id = $2 AND revoked = 0
		AND from_time < $4 AND to_time > $3 ORDER BY from_time LIMIT 1`, sc.project, e, from, to).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return lh.Errorf(lh.Conflict, "the series is approved from %s on; revoke that approval first", max(at, from).Time().Format(time.RFC3339))
}

// Approve locks a range of an element's series as readers see it now. Conflict: part of it is approved already.
func (db *DB) Approve(ctx context.Context, sc Scope, a lh.Approval) (lh.Approval, error) {
	if err := sc.need(lh.PermConfigure); err != nil {
		return a, err
	}
	if a.From >= a.To || a.From < lh.MinMillis || a.To > lh.MaxMillis+1 {
		return a, lh.Errorf(lh.Invalid, "an approval needs a range: from before to, both within the years 1 to 9999")
	}
	if len(a.Comment) > lh.MaxComment {
		return a, lh.Errorf(lh.Invalid, "a comment has at most %d bytes", lh.MaxComment)
	}
	if _, err := db.Element(ctx, sc, a.Element); err != nil {
		return a, err
	}
	a.ID, a.Project, a.By, a.Revoked, a.RevokedBy = lh.NewApprovalID(), sc.project, sc.actor, 0, lh.Actor{}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return a, err
	}
	sealed, err := sealJSON(k, approvalBody{a.Comment}, place("approval", sc.project, a.Element, a.ID))
	if err != nil {
		return a, err
	}
	err = db.update(ctx, func(t *tx) error {
		detail := map[string]any{"element_id": a.Element, "from": a.From, "to": a.To, "comment": a.Comment}
		if err := t.audit(ctx, sc.project, sc.actor, "series.approve", string(a.ID), detail); err != nil {
			return err
		}
		if err := t.notApproved(ctx, sc, a.Element, a.From, a.To); err != nil {
			return err
		}
		// Not before the newest correction, whose time another hub's clock may have given.
		var newest sql.NullInt64
		if err := db.row(ctx, t, `SELECT max(created) FROM correction WHERE project_id = $1 AND element_id = $2`, sc.project, a.Element).Scan(&newest); err != nil {
			return err
		}
		a.Created = max(t.now, lh.Millis(newest.Int64))
		_, err := t.exec(ctx, `INSERT INTO approval (project_id, element_id, id, from_time, to_time, created, actor_kind, actor_id, revoked, revoked_kind, revoked_id, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, '', '', $9)`,
			sc.project, a.Element, a.ID, a.From, a.To, a.Created, a.By.Kind, a.By.ID, sealed)
		return err
	})
	if err != nil {
		return a, fmt.Errorf("approve %s: %w", a.Element, err)
	}
	return a, nil
}

// RevokeApproval opens an approved range again; the approval stays on record. Conflict: it is revoked already.
func (db *DB) RevokeApproval(ctx context.Context, sc Scope, e lh.ElementID, id lh.ApprovalID) error {
	if err := sc.need(lh.PermConfigure); err != nil {
		return err
	}
	if _, err := db.Element(ctx, sc, e); err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		if err := t.audit(ctx, sc.project, sc.actor, "series.unapprove", string(id), map[string]any{"element_id": e}); err != nil {
			return err
		}
		var created, revoked lh.Millis
		err := db.row(ctx, t, `SELECT created, revoked FROM approval WHERE project_id = $1 AND element_id = $2 AND id = $3`, sc.project, e, id).Scan(&created, &revoked)
		if errors.Is(err, sql.ErrNoRows) {
			return lh.Errorf(lh.NotFound, "there is no such approval of this element")
		}
		if err != nil {
			return fmt.Errorf("revoke approval of %s: %w", e, err)
		}
		if revoked != 0 {
			return lh.Errorf(lh.Conflict, "this approval is revoked already")
		}
		_, err = t.exec(ctx, `UPDATE approval SET revoked = $4, revoked_kind = $5, revoked_id = $6 WHERE project_id = $1 AND element_id = $2 AND id = $3`,
			sc.project, e, id, max(t.now, created), sc.actor.Kind, sc.actor.ID)
		return err
	})
}
