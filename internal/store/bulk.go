package store

import (
	"context"
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
		rows := make([][]any, len(ls))
		for i, l := range ls {
			// A millisecond apart, so that lists by age keep the order of the rows.
			l.ID, l.Project, l.Created = lh.NewLocationID(), sc.project, t.now+lh.Millis(i)
			body, err := sealJSON(k, locationBodyOf(l), place("location", sc.project, l.ID))
			if err != nil {
				return err
			}
			if err := t.audit(ctx, sc.project, sc.actor, "location.create", string(l.ID), locationBodyOf(l)); err != nil {
				return err
			}
			out[i], rows[i] = l, []any{string(sc.project), string(l.ID), int64(l.Created), body}
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
		rows := make([][]any, len(es))
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
			if err := t.audit(ctx, sc.project, sc.actor, "element.create", string(e.ID), elementBodyOf(e)); err != nil {
				return err
			}
			out[i], rows[i] = e, []any{string(sc.project), string(e.ID), "", string(e.Location), index, int64(e.Created), body}
		}
		_, err := t.insert(ctx, insertion{head: `INSERT INTO element (project_id, id, device_id, location_id, channel_index, created, body) VALUES `, columns: 7}, rows)
		return err
	})
	if err != nil && len(refused) == 0 {
		return nil, nil, fmt.Errorf("add elements: %w", err)
	}
	return out, refused, nil
}
