package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// audit writes one event in the caller's transaction: either the change and its event last, or neither. detail is
// anything JSON can write and holds no secret. It takes the project's row, so that events of a project queue up and
// are numbered without a hole. In a project that is frozen, nobody changes anything but what takes somebody or
// something out of it: a Conflict.
func (t *tx) audit(ctx context.Context, project lh.ProjectID, actor lh.Actor, action, subject string, detail any) error {
	d, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	e := lh.AuditEvent{Project: project, Time: t.now, Actor: actor, Action: action, Subject: subject, Detail: string(d)}
	var prev []byte
	var st Standing
	err = t.db.row(ctx, t, `UPDATE project SET audit_number = audit_number + 1 WHERE id = $1 RETURNING audit_number, audit_hash, archived, destroy`,
		project).Scan(&e.Number, &prev, &st.Archived, &st.Destroy)
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	if actor.Kind != lh.ActorDevice && actor.Kind != lh.ActorHub && changes[action] {
		if err := st.Frozen(); err != nil {
			return err
		}
	}
	k, err := t.db.key(ctx, t, string(project))
	if err != nil {
		return err
	}
	sealed, err := k.Seal(d, place("audit", project, e.Number))
	if err != nil {
		return err
	}
	e.Hash = auditHash(prev, e)
	_, err = t.exec(ctx, `INSERT INTO audit (project_id, number, time, actor_kind, actor_id, action, subject, detail, hash)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		project, e.Number, e.Time, e.Actor.Kind, e.Actor.ID, e.Action, e.Subject, sealed, e.Hash)
	if err == nil {
		_, err = t.exec(ctx, `UPDATE project SET audit_hash = $2 WHERE id = $1`, project, e.Hash)
	}
	if err == nil {
		err = t.changed(ctx, project, e.Number, action, subject, detail)
	}
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	return nil
}

// changes are the actions that a frozen project refuses to people and programs, also those that were under way when it
// was frozen.
var changes = map[string]bool{
	"project.change": true, "project.transfer": true, "member.set": true, "invitation.create": true, "invitation.resend": true, "invitation.accept": true,
	"location.create": true, "location.change": true, "location.delete": true, "device.claim": true, "device.change": true, "device.delete": true,
	"element.create": true, "element.change": true, "element.delete": true, "series.delete": true,
	"service_account.create": true, "service_account.change": true, "integration.create": true, "integration.change": true, "key.create": true,
	"correction.add": true, "correction.revoke": true, "series.approve": true, "series.unapprove": true,
}

// auditHash chains an event to the one before it: SHA-256 over the previous hash and the event's JSON.
func auditHash(prev []byte, e lh.AuditEvent) []byte {
	e.Hash = prev
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // a struct of strings, numbers and bytes always marshals
	}
	h := sha256.Sum256(b)
	return h[:]
}

// Audit hands fn the project's events numbered after after, in order, at most limit, and checks their chain: an event
// altered, removed or put in between is an error that names its number.
func (db *DB) Audit(ctx context.Context, sc Scope, after int64, limit int, fn func(lh.AuditEvent) error) error {
	if err := sc.need(lh.PermAdminister); err != nil && !sc.Allows(lh.PermMaintain) {
		return err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return err
	}
	var prev []byte
	next := after
	if after > 0 {
		if err := db.row(ctx, db.read, `SELECT hash FROM audit WHERE project_id = $1 AND number = $2`, sc.project, after).Scan(&prev); err != nil {
			return lh.Errorf(lh.NotFound, "there is no audit event %d in this project", after)
		}
	}
	return db.each(ctx, db.read, `SELECT number, time, actor_kind, actor_id, action, subject, detail, hash FROM audit
		WHERE project_id = $1 AND number > $2 ORDER BY number LIMIT $3`, []any{sc.project, after, limit},
		func(scan func(...any) error) error {
			e := lh.AuditEvent{Project: sc.project}
			var sealed []byte
			if err := scan(&e.Number, &e.Time, &e.Actor.Kind, &e.Actor.ID, &e.Action, &e.Subject, &sealed, &e.Hash); err != nil {
				return err
			}
			d, err := k.Open(sealed, place("audit", sc.project, e.Number))
			if err != nil {
				return err
			}
			e.Detail = string(d)
			next++
			if prev == nil {
				prev = auditSeed(sc.project)
			}
			if e.Number != next || !bytes.Equal(e.Hash, auditHash(prev, e)) {
				return fmt.Errorf("the audit trail of %s is broken at event %d", sc.project, next)
			}
			prev = e.Hash
			return fn(e)
		})
}

// auditSeed is what the first event of a project is chained to.
func auditSeed(p lh.ProjectID) []byte {
	h := sha256.Sum256([]byte("loggerhead audit " + p))
	return h[:]
}
