package store

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// auditAccount writes an event about an account, or whatever else belongs to no project, into the installation's own
// chain, in the caller's transaction. subject is an id; detail holds ids and states, no address and no name: the event
// outlives the account.
func (t *tx) auditAccount(ctx context.Context, by lh.Actor, action string, subject lh.UserID, detail any) error {
	d, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	e := lh.AuditEvent{Project: installation, Time: t.now, Actor: by, Action: action, Subject: string(subject), Detail: string(d)}
	var prev []byte
	err = t.db.row(ctx, t, `UPDATE installation SET audit_number = audit_number + 1 WHERE id = 1 RETURNING audit_number, audit_hash`).Scan(&e.Number, &prev)
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	if len(prev) == 0 {
		prev = auditSeed(installation)
	}
	k, err := t.db.key(ctx, t, installation)
	if err != nil {
		return err
	}
	sealed, err := k.Seal(d, place("audit", installation, e.Number))
	if err != nil {
		return err
	}
	e.Hash = auditHash(prev, e)
	_, err = t.exec(ctx, `INSERT INTO audit (project_id, number, time, actor_kind, actor_id, action, subject, detail, hash)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		installation, e.Number, e.Time, e.Actor.Kind, e.Actor.ID, e.Action, e.Subject, sealed, e.Hash)
	if err == nil {
		_, err = t.exec(ctx, `UPDATE installation SET audit_hash = $1 WHERE id = 1`, e.Hash)
	}
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	return nil
}

// AccountAudit hands fn the installation's own events numbered after after, in order, at most limit, and checks their
// chain as [DB.Audit] does. Whoever calls it has made sure that an operator asks.
func (db *DB) AccountAudit(ctx context.Context, after int64, limit int, fn func(lh.AuditEvent) error) error {
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return err
	}
	prev := auditSeed(installation)
	next := after
	if after > 0 {
		if err := db.row(ctx, db.read, `SELECT hash FROM audit WHERE project_id = $1 AND number = $2`, installation, after).Scan(&prev); err != nil {
			return lh.Errorf(lh.NotFound, "there is no audit event %d of the installation", after)
		}
	}
	return db.each(ctx, db.read, `SELECT number, time, actor_kind, actor_id, action, subject, detail, hash FROM audit
		WHERE project_id = $1 AND number > $2 ORDER BY number LIMIT $3`, []any{installation, after, limit},
		func(scan func(...any) error) error {
			e := lh.AuditEvent{Project: installation}
			var sealed []byte
			if err := scan(&e.Number, &e.Time, &e.Actor.Kind, &e.Actor.ID, &e.Action, &e.Subject, &sealed, &e.Hash); err != nil {
				return err
			}
			d, err := k.Open(sealed, place("audit", installation, e.Number))
			if err != nil {
				return err
			}
			e.Detail = string(d)
			next++
			if e.Number != next || !bytes.Equal(e.Hash, auditHash(prev, e)) {
				return fmt.Errorf("the audit trail of the installation is broken at event %d", next)
			}
			prev = e.Hash
			return fn(e)
		})
}
