package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

type locationBody struct {
	Name      string  `json:"name"`
	Zone      string  `json:"zone"`
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`

	Attributes lh.Attributes `json:"attributes,omitempty"`
	Note       string        `json:"note,omitempty"`
}

func (b locationBody) onto(l *lh.Location) {
	l.Name, l.Zone, l.Latitude, l.Longitude, l.Attributes, l.Note = b.Name, b.Zone, b.Latitude, b.Longitude, b.Attributes, b.Note
}

func locationBodyOf(l lh.Location) locationBody {
	return locationBody{l.Name, l.Zone, l.Latitude, l.Longitude, l.Attributes, l.Note}
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
	return db.location(ctx, db.read, sc, id)
}

func (db *DB) location(ctx context.Context, on queryer, sc Scope, id lh.LocationID) (lh.Location, error) {
	k, err := db.key(ctx, on, string(sc.project))
	if err != nil {
		return lh.Location{}, err
	}
	l, err := scanLocation(k, sc.project, db.row(ctx, on, `SELECT id, created, body FROM location WHERE project_id = $1 AND id = $2`, sc.project, id).Scan)
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
	if err := checkNotes(l.Attributes, l.Note); err != nil {
		return l, err
	}
	l.ID, l.Project = lh.NewLocationID(), sc.project
	err := db.putSealed(ctx, sc, place("location", sc.project, l.ID), locationBodyOf(l), "location.create", string(l.ID), locationBodyOf(l),
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
	if err := checkNotes(l.Attributes, l.Note); err != nil {
		return err
	}
	return db.putSealed(ctx, sc, place("location", sc.project, l.ID), locationBodyOf(l), "location.change", string(l.ID),
		looked(func(t *tx) (any, error) {
			old, err := db.location(ctx, t, sc, l.ID)
			return changeDetail{locationBodyOf(old), locationBodyOf(l)}, err
		}),
		func(t *tx, body []byte) (int64, error) {
			return t.exec(ctx, `UPDATE location SET body = $3 WHERE project_id = $1 AND id = $2`, sc.project, l.ID, body)
		}, noLocation)
}

// checkNotes refuses what people wrote on a thing where it is too much.
func checkNotes(a lh.Attributes, note string) error {
	if err := a.Check(); err != nil {
		return err
	}
	return lh.CheckNote(note)
}

// Nowhere is where what stands at a location may be moved: to none.
const Nowhere lh.LocationID = "nowhere"

// DeleteLocation removes a location. What stands there is moved to another, or to none (Nowhere); with "" there must be
// nothing, else it is a Conflict that names what there is.
func (db *DB) DeleteLocation(ctx context.Context, sc Scope, id, to lh.LocationID) error {
	if err := sc.need(lh.PermConfigure); err != nil {
		return err
	}
	target := to
	if to == Nowhere {
		target = ""
	}
	if !sc.Sees(id) || to != "" && !sc.Sees(target) {
		return noLocation()
	}
	if to == id {
		return lh.Errorf(lh.Invalid, "what stands at a location cannot be moved there when it is deleted")
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		if err := t.audit(ctx, sc.project, sc.actor, "location.delete", string(id), map[string]any{"moved_to": to}); err != nil {
			return err
		}
		if to == "" {
			if err := t.nothingAt(ctx, k, sc, id); err != nil {
				return err
			}
		} else if err := t.moveAll(ctx, sc, id, target); err != nil {
			return err
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

// moveAll moves all that stands at a location.
func (t *tx) moveAll(ctx context.Context, sc Scope, from, to lh.LocationID) error {
	if to != "" {
		if err := t.locationIsThere(ctx, sc, to); err != nil {
			return err
		}
	}
	for table, kind := range map[string]lh.ChangeKind{"device": lh.ChangedDevice, "element": lh.ChangedElement} {
		if err := t.alsoChanged(ctx, sc.project, table, kind, `location_id = $6`, from); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `UPDATE `+table+` SET location_id = $3 WHERE project_id = $1 AND location_id = $2`, sc.project, from, to); err != nil {
			return err
		}
	}
	return nil
}

// nothingAt refuses a location at which something stands, and names some of it.
func (t *tx) nothingAt(ctx context.Context, k *seal.Key, sc Scope, id lh.LocationID) error {
	const most = 3
	var names []string
	devices, elements := 0, 0
	err := t.db.each(ctx, t, `SELECT `+deviceColumns+` FROM device WHERE project_id = $1 AND location_id = $2 ORDER BY created, id`, []any{sc.project, id},
		func(scan func(...any) error) error {
			d, err := scanDevice(k, sc.project, scan)
			if devices++; err == nil && devices <= most {
				names = append(names, fmt.Sprintf("device %q (%s)", d.Name, d.ID))
			}
			return err
		})
	if err == nil {
		err = t.db.each(ctx, t, `SELECT `+elementColumns+` FROM element WHERE project_id = $1 AND location_id = $2 AND device_id = '' ORDER BY created, id`, []any{sc.project, id},
			func(scan func(...any) error) error {
				e, err := scanElement(k, sc.project, scan)
				if elements++; err == nil && elements <= most {
					names = append(names, fmt.Sprintf("element %q (%s)", e.Name, e.ID))
				}
				return err
			})
	}
	if err != nil {
		return err
	}
	if devices+elements == 0 {
		return nil
	}
	return lh.Errorf(lh.Conflict, "%d devices and %d elements of no device stand there: %s; move them first, or say with move_to where they go",
		devices, elements, strings.Join(names, ", "))
}

// putSealed writes one sealed body with its audit event in one transaction. put returns how many rows it touched;
// none is missing's error.
func (db *DB) putSealed(ctx context.Context, sc Scope, at string, body any, action, subject string, detail any,
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
		if err := t.audit(ctx, sc.project, sc.actor, action, subject, detail); err != nil {
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
