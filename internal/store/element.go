package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

// MaxDeviceElements bounds how many elements one device can bring about.
const MaxDeviceElements = 1024

type elementBody struct {
	Channel  string     `json:"channel"`
	Name     string     `json:"name"`
	Quantity string     `json:"quantity"`
	Unit     string     `json:"unit"`
	Color    string     `json:"color"`
	Digits   int        `json:"digits"`
	Interval int64      `json:"interval_ms"`
	Meaning  lh.Meaning `json:"meaning"`
}

func elementBodyOf(e lh.Element) elementBody {
	return elementBody{e.Channel, e.Name, e.Quantity, e.Unit, e.Color, e.Digits, e.Interval, e.Meaning}
}

const elementColumns = `id, device_id, location_id, created, body`

func scanElement(k *seal.Key, p lh.ProjectID, scan func(...any) error) (lh.Element, error) {
	e := lh.Element{Project: p}
	var sealed []byte
	if err := scan(&e.ID, &e.Device, &e.Location, &e.Created, &sealed); err != nil {
		return e, err
	}
	var b elementBody
	if err := openJSON(k, sealed, place("element", p, e.ID), &b); err != nil {
		return e, err
	}
	e.Channel, e.Name, e.Quantity, e.Unit = b.Channel, b.Name, b.Quantity, b.Unit
	e.Color, e.Digits, e.Interval, e.Meaning = b.Color, b.Digits, b.Interval, b.Meaning
	return e, nil
}

func noElement() error {
	return lh.Errorf(lh.NotFound, "there is no such element in this project, or it is not yours to see")
}

// Elements returns the elements the scope sees, oldest first.
func (db *DB) Elements(ctx context.Context, sc Scope) ([]lh.Element, error) {
	if err := sc.need(lh.PermRead); err != nil {
		return nil, err
	}
	return db.elements(ctx, db.read, sc, `project_id = $1`, sc.project)
}

// DeviceElements returns the elements a device feeds, oldest first.
func (db *DB) DeviceElements(ctx context.Context, sc Scope, d lh.DeviceID) ([]lh.Element, error) {
	if !sc.Allows(lh.PermRead) && !sc.ownDevice(d) {
		return nil, sc.need(lh.PermRead)
	}
	return db.elements(ctx, db.read, sc, `project_id = $1 AND device_id = $2`, sc.project, d)
}

func (db *DB) elements(ctx context.Context, on queryer, sc Scope, where string, args ...any) ([]lh.Element, error) {
	k, err := db.key(ctx, on, string(sc.project))
	if err != nil {
		return nil, err
	}
	var es []lh.Element
	err = db.each(ctx, on, `SELECT `+elementColumns+` FROM element WHERE `+where+` ORDER BY created, id`, args,
		func(scan func(...any) error) error {
			e, err := scanElement(k, sc.project, scan)
			if err == nil && sc.Sees(e.Location) {
				es = append(es, e)
			}
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read elements: %w", err)
	}
	return es, nil
}

// Element returns one element.
func (db *DB) Element(ctx context.Context, sc Scope, id lh.ElementID) (lh.Element, error) {
	if err := sc.need(lh.PermRead); err != nil {
		return lh.Element{}, err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return lh.Element{}, err
	}
	e, err := scanElement(k, sc.project, db.row(ctx, db.read, `SELECT `+elementColumns+` FROM element WHERE project_id = $1 AND id = $2`, sc.project, id).Scan)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !sc.Sees(e.Location) {
		return lh.Element{}, noElement()
	}
	if err != nil {
		return e, fmt.Errorf("read element %s: %w", id, err)
	}
	return e, nil
}

// CreateElement adds an element that no device feeds and gives it its id.
func (db *DB) CreateElement(ctx context.Context, sc Scope, e lh.Element) (lh.Element, error) {
	if err := sc.need(lh.PermConfigure); err != nil {
		return e, err
	}
	if !sc.Sees(e.Location) {
		return e, noLocation()
	}
	e.ID, e.Project, e.Device, e.Channel = lh.NewElementID(), sc.project, "", ""
	index, err := db.master.BlindIndex("element.channel", string(e.ID))
	if err != nil {
		return e, err
	}
	err = db.putSealed(ctx, sc, place("element", sc.project, e.ID), elementBodyOf(e), "element.create", string(e.ID),
		func(t *tx, body []byte) (int64, error) {
			if e.Location != "" {
				if err := t.locationIsThere(ctx, sc, e.Location); err != nil {
					return 0, err
				}
			}
			e.Created = t.now
			return t.exec(ctx, `INSERT INTO element (project_id, id, device_id, location_id, channel_index, created, body)
				VALUES ($1, $2, '', $3, $4, $5, $6)`, sc.project, e.ID, e.Location, index, t.now, body)
		}, noElement)
	return e, err
}

// ChangeElement writes what describes an element; whose it is and what feeds it stay.
func (db *DB) ChangeElement(ctx context.Context, sc Scope, e lh.Element) error {
	if err := sc.need(lh.PermConfigure); err != nil {
		return err
	}
	old, err := db.Element(ctx, sc, e.ID)
	if err != nil {
		return err
	}
	e.Channel = old.Channel
	return db.putSealed(ctx, sc, place("element", sc.project, e.ID), elementBodyOf(e), "element.change", string(e.ID),
		func(t *tx, body []byte) (int64, error) {
			return t.exec(ctx, `UPDATE element SET body = $3 WHERE project_id = $1 AND id = $2`, sc.project, e.ID, body)
		}, noElement)
}

// BindElements makes sure that every channel in want (e.Channel) of the device has an element, by the device's own
// scope, and returns all elements of the device. An element that is there keeps what people called it; only its
// expected interval and the meaning of its times, which the device alone knows, follow the device when it states them.
// Exhausted: the device would pass MaxDeviceElements.
func (db *DB) BindElements(ctx context.Context, sc Scope, d lh.DeviceID, want []lh.Element) ([]lh.Element, error) {
	if !sc.ownDevice(d) {
		return nil, noDevice()
	}
	var all []lh.Element
	err := db.update(ctx, func(t *tx) error {
		// The device's row is taken first, so that two bindings of one device queue up.
		if _, err := t.exec(ctx, `UPDATE device SET state = state WHERE project_id = $1 AND id = $2`, sc.project, d); err != nil {
			return err
		}
		dev, err := db.device(ctx, t, sc, d)
		if err != nil {
			return err
		}
		k, err := db.key(ctx, t, string(sc.project))
		if err != nil {
			return err
		}
		if all, err = db.elements(ctx, t, sc, `project_id = $1 AND device_id = $2`, sc.project, d); err != nil {
			return err
		}
		byChannel := make(map[string]int, len(all))
		for i, e := range all {
			byChannel[e.Channel] = i
		}
		for _, e := range want {
			if i, ok := byChannel[e.Channel]; ok {
				old := &all[i]
				if e.Meaning == "" || old.Interval == e.Interval && old.Meaning == e.Meaning {
					continue
				}
				old.Interval, old.Meaning = e.Interval, e.Meaning
				body, err := sealJSON(k, elementBodyOf(*old), place("element", sc.project, old.ID))
				if err != nil {
					return err
				}
				if _, err := t.exec(ctx, `UPDATE element SET body = $3 WHERE project_id = $1 AND id = $2`, sc.project, old.ID, body); err != nil {
					return err
				}
				if err := t.audit(ctx, sc.project, sc.actor, "element.change", string(old.ID), elementBodyOf(*old)); err != nil {
					return err
				}
				continue
			}
			if len(all) >= MaxDeviceElements {
				return lh.Errorf(lh.Exhausted, "a device feeds at most %d elements; this one would pass that", MaxDeviceElements)
			}
			// A millisecond apart, so that lists by age keep the order of the device's own list.
			e.ID, e.Project, e.Device, e.Location, e.Created = lh.NewElementID(), sc.project, d, dev.Location, t.now+lh.Millis(len(all))
			if e.Meaning == "" {
				e.Meaning = lh.Instantaneous
			}
			index, err := db.master.BlindIndex("element.channel", string(d)+"\x00"+e.Channel)
			if err != nil {
				return err
			}
			body, err := sealJSON(k, elementBodyOf(e), place("element", sc.project, e.ID))
			if err != nil {
				return err
			}
			_, err = t.exec(ctx, `INSERT INTO element (project_id, id, device_id, location_id, channel_index, created, body)
				VALUES ($1, $2, $3, $4, $5, $6, $7)`, sc.project, e.ID, d, e.Location, index, e.Created, body)
			if err != nil {
				return err
			}
			if err := t.audit(ctx, sc.project, sc.actor, "element.create", string(e.ID), elementBodyOf(e)); err != nil {
				return err
			}
			byChannel[e.Channel] = len(all)
			all = append(all, e)
		}
		return nil
	})
	if err != nil && lh.CodeOf(err) == lh.Internal {
		return nil, fmt.Errorf("bind elements of %s: %w", d, err)
	}
	return all, err
}
