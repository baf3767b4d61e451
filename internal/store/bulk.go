package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// RowError says what is wrong with one of many things to be made.
type RowError struct {
	Row int // from 0
	Err error
}

// errRows ends a transaction whose rows are refused, errDry one that was only to be tried.
var (
	errRows = errors.New("rows are refused")
	errDry  = errors.New("tried only")
)

// enough ends the transaction where a row is refused.
func enough(refused []RowError) error {
	if len(refused) > 0 {
		return errRows
	}
	return nil
}

// bulk makes many things in one transaction, or, with dry, only tries. An error may be errRows.
func (db *DB) bulk(ctx context.Context, dry bool, fn func(*tx) error) error {
	err := db.update(ctx, func(t *tx) error {
		if err := fn(t); err != nil {
			return err
		}
		if dry {
			return errDry
		}
		return nil
	})
	if errors.Is(err, errDry) {
		return nil
	}
	return err
}

// note is an audit event to be.
type note struct {
	action, subject string
	detail          any
}

var noteChange = insertion{head: insertChange, columns: 11}

// auditMany is [tx.audit] for things that are new, all at once: few statements for many events.
func (t *tx) auditMany(ctx context.Context, sc Scope, notes []note) error {
	if len(notes) == 0 {
		return nil
	}
	k, err := t.db.key(ctx, t, string(sc.project))
	if err != nil {
		return err
	}
	var last int64
	var hash []byte
	err = t.db.row(ctx, t, `UPDATE project SET audit_number = audit_number + $2 WHERE id = $1 RETURNING audit_number, audit_hash`, sc.project, len(notes)).Scan(&last, &hash)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if err := t.unfrozen(ctx, sc.project, sc.actor, notes[0].action); err != nil {
		return err
	}
	if r, ok := ctx.Value(requestKey{}).(*Request); ok {
		for _, n := range notes {
			if err := t.asked(ctx, r, n.subject, 0); err != nil {
				return err
			}
		}
	}
	events, changes := make([][]any, len(notes)), make([][]any, len(notes))
	for i, n := range notes {
		d, err := json.Marshal(n.detail)
		if err != nil {
			return err
		}
		e := lh.AuditEvent{Project: sc.project, Number: last - int64(len(notes)-1-i), Time: t.now, Actor: sc.actor, Action: n.action, Subject: n.subject, Detail: string(d)}
		if events[i], err = chained(k, hash, &e); err != nil {
			return err
		}
		hash = e.Hash
		c := changeOf(n.action, n.subject, n.detail)
		changes[i] = []any{string(sc.project), e.Number, c.ID, int64(1), string(c.Kind), string(lh.OperationCreate), "", "", int64(t.now), int64(0), int64(0)}
	}
	if _, err := t.insert(ctx, insertAudit, events); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if _, err := t.insert(ctx, noteChange, changes); err != nil {
		return fmt.Errorf("note changes: %w", err)
	}
	_, err = t.exec(ctx, `UPDATE project SET audit_hash = $2 WHERE id = $1`, sc.project, hash)
	return err
}

// CreateLocations adds all the locations or none; see [DB.CreateLocation] and [DB.ClaimDevices].
func (db *DB) CreateLocations(ctx context.Context, sc Scope, ls []lh.Location, dry bool) ([]lh.Location, []RowError, error) {
	if err := sc.need(lh.PermConfigure); err != nil {
		return nil, nil, err
	}
	if sc.Limited() {
		return nil, nil, lh.Errorf(lh.Forbidden, "your access is limited to some locations; somebody with the whole project must add one")
	}
	var refused []RowError
	for i, l := range ls {
		if err := checkNotes(l.Attributes, l.Note); err != nil {
			refused = append(refused, RowError{i, err})
		}
	}
	if len(refused) > 0 {
		return nil, refused, nil
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return nil, nil, err
	}
	out := make([]lh.Location, len(ls))
	err = db.bulk(ctx, dry, func(t *tx) error {
		rows, notes := make([][]any, len(ls)), make([]note, len(ls))
		for i, l := range ls {
			// A millisecond apart, so that lists by age keep the order of the rows.
			l.ID, l.Project, l.Created = lh.NewLocationID(), sc.project, t.now+lh.Millis(i)
			body, err := sealJSON(k, locationBodyOf(l), place("location", sc.project, l.ID))
			if err != nil {
				return err
			}
			notes[i] = note{"location.create", string(l.ID), locationBodyOf(l)}
			out[i], rows[i] = l, []any{string(sc.project), string(l.ID), int64(l.Created), body}
		}
		if err := t.auditMany(ctx, sc, notes); err != nil {
			return err
		}
		_, err := t.insert(ctx, insertion{head: `INSERT INTO location (project_id, id, created, body) VALUES `, columns: 4}, rows)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("add locations: %w", err)
	}
	return out, nil, nil
}

// CreateElements adds all the elements or none; see [DB.CreateElement] and [DB.ClaimDevices].
func (db *DB) CreateElements(ctx context.Context, sc Scope, es []lh.Element, dry bool) ([]lh.Element, []RowError, error) {
	if err := sc.need(lh.PermConfigure); err != nil {
		return nil, nil, err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return nil, nil, err
	}
	var refused []RowError
	out := make([]lh.Element, len(es))
	err = db.bulk(ctx, dry, func(t *tx) error {
		refused = nil
		there := map[lh.LocationID]error{"": nil}
		for i, e := range es {
			err := checkNotes(e.Attributes, e.Note)
			if err == nil && !sc.Sees(e.Location) {
				err = noLocation()
			}
			if _, known := there[e.Location]; err == nil && !known {
				there[e.Location] = t.locationIsThere(ctx, sc, e.Location)
			}
			if err == nil {
				err = there[e.Location]
			}
			if err != nil && lh.CodeOf(err) == lh.Internal {
				return err
			}
			if err != nil {
				refused = append(refused, RowError{i, err})
			}
		}
		if len(refused) > 0 {
			return errRows
		}
		rows, notes := make([][]any, len(es)), make([]note, len(es))
		for i, e := range es {
			e.ID, e.Project, e.Device, e.Channel, e.Fed, e.Created = lh.NewElementID(), sc.project, "", "", nil, t.now+lh.Millis(i)
			index, err := db.master.BlindIndex("element.channel", string(e.ID))
			if err != nil {
				return err
			}
			body, err := sealJSON(k, elementBodyOf(e), place("element", sc.project, e.ID))
			if err != nil {
				return err
			}
			notes[i] = note{"element.create", string(e.ID), elementBodyOf(e)}
			out[i], rows[i] = e, []any{string(sc.project), string(e.ID), "", string(e.Location), index, int64(e.Created), body}
		}
		if err := t.auditMany(ctx, sc, notes); err != nil {
			return err
		}
		_, err := t.insert(ctx, insertion{head: `INSERT INTO element (project_id, id, device_id, location_id, channel_index, created, body) VALUES `, columns: 7}, rows)
		return err
	})
	if err != nil && len(refused) == 0 {
		return nil, nil, fmt.Errorf("add elements: %w", err)
	}
	return out, refused, nil
}
