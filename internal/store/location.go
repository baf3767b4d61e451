package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

type locationBody struct {
	Name      string  `json:"name"`
	Zone      string  `json:"zone"`
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
}

func (b locationBody) onto(l *lh.Location) {
	l.Name, l.Zone, l.Latitude, l.Longitude = b.Name, b.Zone, b.Latitude, b.Longitude
}

func locationBodyOf(l lh.Location) locationBody {
	return locationBody{l.Name, l.Zone, l.Latitude, l.Longitude}
}

func noLocation() error {
	return lh.Errorf(lh.NotFound, "there is no such location in this project, or it is not yours to see")
}

// Locations returns the locations the scope sees, oldest first.
func (db *DB) Locations(ctx context.Context, sc Scope) ([]lh.Location, error) {
	if err := sc.need(lh.PermRead); err != nil {
		return nil, err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return nil, err
	}
	var ls []lh.Location
	err = db.each(ctx, db.read, `SELECT id, created, body FROM location WHERE project_id = $1 ORDER BY created, id`, []any{sc.project},
		func(scan func(...any) error) error {
			l, err := scanLocation(k, sc.project, scan)
			if err == nil && sc.Sees(l.ID) {
				ls = append(ls, l)
			}
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read locations: %w", err)
	}
	return ls, nil
}

func scanLocation(k *seal.Key, p lh.ProjectID, scan func(...any) error) (lh.Location, error) {
	l := lh.Location{Project: p}
	var sealed []byte
	if err := scan(&l.ID, &l.Created, &sealed); err != nil {
		return l, err
	}
	var b locationBody
	if err := openJSON(k, sealed, place("location", p, l.ID), &b); err != nil {
		return l, err
	}
	b.onto(&l)
	return l, nil
}

// Location returns one location.
func (db *DB) Location(ctx context.Context, sc Scope, id lh.LocationID) (lh.Location, error) {
	if err := sc.need(lh.PermRead); err != nil {
		return lh.Location{}, err
	}
	if !sc.Sees(id) {
		return lh.Location{}, noLocation()
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return lh.Location{}, err
	}
	l, err := scanLocation(k, sc.project, db.row(ctx, db.read, `SELECT id, created, body FROM location WHERE project_id = $1 AND id = $2`, sc.project, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return l, noLocation()
	}
	if err != nil {
		return l, fmt.Errorf("read location %s: %w", id, err)
	}
	return l, nil
}

// CreateLocation adds a location and gives it its id. A scope limited to some locations may not.
func (db *DB) CreateLocation(ctx context.Context, sc Scope, l lh.Location) (lh.Location, error) {
	if err := sc.need(lh.PermConfigure); err != nil {
		return l, err
	}
	if sc.Limited() {
		return l, lh.Errorf(lh.Forbidden, "your access is limited to some locations; somebody with the whole project must add one")
	}
	l.ID, l.Project = lh.NewLocationID(), sc.project
	err := db.putSealed(ctx, sc, place("location", sc.project, l.ID), locationBodyOf(l), "location.create", string(l.ID),
		func(t *tx, body []byte) (int64, error) {
			l.Created = t.now
			return t.exec(ctx, `INSERT INTO location (project_id, id, created, body) VALUES ($1, $2, $3, $4)`, sc.project, l.ID, t.now, body)
		}, noLocation)
	return l, err
}

// ChangeLocation writes a location's name, zone and place.
func (db *DB) ChangeLocation(ctx context.Context, sc Scope, l lh.Location) error {
	if err := sc.need(lh.PermConfigure); err != nil {
		return err
	}
	if !sc.Sees(l.ID) {
		return noLocation()
	}
	return db.putSealed(ctx, sc, place("location", sc.project, l.ID), locationBodyOf(l), "location.change", string(l.ID),
		func(t *tx, body []byte) (int64, error) {
			return t.exec(ctx, `UPDATE location SET body = $3 WHERE project_id = $1 AND id = $2`, sc.project, l.ID, body)
		}, noLocation)
}

// DeleteLocation removes a location that has no devices and no elements. Conflict: it has some.
func (db *DB) DeleteLocation(ctx context.Context, sc Scope, id lh.LocationID) error {
	if err := sc.need(lh.PermConfigure); err != nil {
		return err
	}
	if !sc.Sees(id) {
		return noLocation()
	}
	return db.update(ctx, func(t *tx) error {
		if err := t.audit(ctx, sc.project, sc.actor, "location.delete", string(id), nil); err != nil {
			return err
		}
		var devices int
		if err := t.db.row(ctx, t, `SELECT count(*) FROM device WHERE project_id = $1 AND location_id = $2`, sc.project, id).Scan(&devices); err != nil {
			return err
		}
		if devices > 0 {
			return lh.Errorf(lh.Conflict, "the location has %d devices; move them first", devices)
		}
		var elements int
		if err := t.db.row(ctx, t, `SELECT count(*) FROM element WHERE project_id = $1 AND location_id = $2`, sc.project, id).Scan(&elements); err != nil {
			return err
		}
		if elements > 0 {
			return lh.Errorf(lh.Conflict, "the location has %d elements, which no device feeds; it stays with them", elements)
		}
		n, err := t.exec(ctx, `DELETE FROM location WHERE project_id = $1 AND id = $2`, sc.project, id)
		if err != nil {
			return fmt.Errorf("delete location: %w", err)
		}
		if n == 0 {
			return noLocation()
		}
		return nil
	})
}

// putSealed writes one sealed body with its audit event in one transaction. put returns how many rows it touched;
// none is missing's error. The body's JSON is the audit detail.
func (db *DB) putSealed(ctx context.Context, sc Scope, at string, body any, action, subject string,
	put func(t *tx, sealed []byte) (int64, error), missing func() error) error {
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return err
	}
	sealed, err := sealJSON(k, body, at)
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		if err := t.audit(ctx, sc.project, sc.actor, action, subject, body); err != nil {
			return err
		}
		n, err := put(t, sealed)
		if err != nil {
			if lh.CodeOf(err) != lh.Internal {
				return err
			}
			return fmt.Errorf("%s %s: %w", action, subject, err)
		}
		if n == 0 {
			return missing()
		}
		return nil
	})
}
