package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

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

	Attributes lh.Attributes `json:"attributes,omitempty"`
	Note       string        `json:"note,omitempty"`
	Fed        []lh.DeviceID `json:"fed,omitempty"`
}

func elementBodyOf(e lh.Element) elementBody {
	return elementBody{e.Channel, e.Name, e.Quantity, e.Unit, e.Color, e.Digits, e.Interval, e.Meaning, e.Attributes, e.Note, e.Fed}
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
	e.Attributes, e.Note, e.Fed = b.Attributes, b.Note, b.Fed
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
	return db.element(ctx, db.read, sc, id)
}

func (db *DB) element(ctx context.Context, on queryer, sc Scope, id lh.ElementID) (lh.Element, error) {
	k, err := db.key(ctx, on, string(sc.project))
	if err != nil {
		return lh.Element{}, err
	}
	e, err := scanElement(k, sc.project, db.row(ctx, on, `SELECT `+elementColumns+` FROM element WHERE project_id = $1 AND id = $2`, sc.project, id).Scan)
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
	if err := checkNotes(e.Attributes, e.Note); err != nil {
		return e, err
	}
	e.ID, e.Project, e.Device, e.Channel, e.Fed = lh.NewElementID(), sc.project, "", "", nil
	index, err := db.master.BlindIndex("element.channel", string(e.ID))
	if err != nil {
		return e, err
	}
	err = db.putSealed(ctx, sc, place("element", sc.project, e.ID), elementBodyOf(e), "element.create", string(e.ID), elementBodyOf(e),
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

// elementDetail is what the audit trail tells of an element that is changed.
type elementDetail struct {
	elementBody
	Device   lh.DeviceID   `json:"device_id"`
	Location lh.LocationID `json:"location_id"`
}

func elementDetailOf(e lh.Element) elementDetail {
	b := elementBodyOf(e)
	if e.Device == "" {
		b.Channel = ""
	}
	return elementDetail{b, e.Device, e.Location}
}

// ChangeElement writes what describes an element, and moves it: to another location where no device feeds it; to a
// channel of a device, at whose location it then stands; or, with no device, off the one that feeds it. The series stays,
// and what the device brings next goes to a new element. Conflict: the device has an element at that channel.
func (db *DB) ChangeElement(ctx context.Context, sc Scope, e lh.Element) error {
	if err := sc.need(lh.PermConfigure); err != nil {
		return err
	}
	if err := checkNotes(e.Attributes, e.Note); err != nil {
		return err
	}
	err := db.update(ctx, func(t *tx) error {
		var old lh.Element
		err := t.audit(ctx, sc.project, sc.actor, "element.change", string(e.ID), looked(func(t *tx) (_ any, err error) {
			old, err = db.element(ctx, t, sc, e.ID)
			return changeDetail{elementDetailOf(old), elementDetailOf(e)}, err
		}))
		if err != nil {
			return err
		}
		e.Fed, e.Interval, e.Meaning = old.Fed, old.Interval, old.Meaning
		if e.Device != "" {
			d, err := db.device(ctx, t, sc, e.Device)
			if err != nil {
				return err
			}
			e.Location = d.Location
			if e.Channel == "" {
				return lh.Errorf(lh.Invalid, "channel: say which channel of the device feeds the element")
			}
		} else if e.Location != old.Location {
			if !sc.Sees(e.Location) {
				return noLocation()
			}
			if e.Location != "" {
				if err := t.locationIsThere(ctx, sc, e.Location); err != nil {
					return err
				}
			}
		}
		if e.Device != old.Device || e.Device != "" && e.Channel != old.Channel {
			to, channel := e.Device, e.Channel
			e.Device, e.Channel = old.Device, old.Channel
			return t.rebind(ctx, sc, e, to, channel)
		}
		e.Channel = old.Channel
		return t.writeElement(ctx, sc, e)
	})
	if unique(err) {
		return lh.Errorf(lh.Conflict, "this device has an element at that channel already; take that one off it first")
	}
	if err != nil && lh.CodeOf(err) == lh.Internal {
		return fmt.Errorf("change element %s: %w", e.ID, err)
	}
	return err
}

// rebind binds an element to a channel of a device, or to none, and remembers what fed it.
func (t *tx) rebind(ctx context.Context, sc Scope, e lh.Element, to lh.DeviceID, channel string) error {
	from := e.Source()
	if !slices.Contains(e.Fed, from) {
		e.Fed = append(e.Fed, from)
	}
	if len(e.Fed) > MaxFed {
		return lh.Errorf(lh.Exhausted, "this element was fed by %d devices already; make a new one", MaxFed)
	}
	index := string(e.ID)
	if e.Device, e.Channel = to, channel; to == "" {
		e.Channel = ""
	} else {
		var n int
		if err := t.db.row(ctx, t, `SELECT count(*) FROM element WHERE project_id = $1 AND device_id = $2`, sc.project, to).Scan(&n); err != nil {
			return err
		}
		if n >= MaxDeviceElements {
			return lh.Errorf(lh.Exhausted, "a device feeds at most %d elements; this one would pass that", MaxDeviceElements)
		}
		index = string(to) + "\x00" + channel
	}
	e.Fed = slices.DeleteFunc(e.Fed, func(d lh.DeviceID) bool { return d == e.Source() })
	hash, err := t.db.master.BlindIndex("element.channel", index)
	if err != nil {
		return err
	}
	if from != e.Source() {
		if err := t.moveLatest(ctx, sc, e.ID, from, e.Source()); err != nil {
			return err
		}
	}
	if _, err := t.exec(ctx, `UPDATE element SET device_id = $3, channel_index = $4 WHERE project_id = $1 AND id = $2`, sc.project, e.ID, e.Device, hash); err != nil {
		return err
	}
	return t.writeElement(ctx, sc, e)
}

// MaxFed bounds how many devices fed one element.
const MaxFed = 50

// writeElement writes an element's body and location.
func (t *tx) writeElement(ctx context.Context, sc Scope, e lh.Element) error {
	k, err := t.db.key(ctx, t, string(sc.project))
	if err != nil {
		return err
	}
	body, err := sealJSON(k, elementBodyOf(e), place("element", sc.project, e.ID))
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `UPDATE element SET location_id = $3, body = $4 WHERE project_id = $1 AND id = $2`, sc.project, e.ID, e.Location, body)
	return err
}

// DeleteElement removes an element with its series, corrections and approvals, for good. Conflict: part of it is approved,
// or a device that is not revoked feeds it.
func (db *DB) DeleteElement(ctx context.Context, sc Scope, id lh.ElementID) error {
	if err := sc.need(lh.PermDestroy); err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		e, err := db.element(ctx, t, sc, id)
		if err != nil {
			return err
		}
		if err := t.audit(ctx, sc.project, sc.actor, "element.delete", string(id), map[string]any{"name": e.Name, "device_id": e.Device, "location_id": e.Location}); err != nil {
			return err
		}
		if err := t.mayDelete(ctx, sc, id); err != nil {
			return err
		}
		err = t.editLatest(ctx, sc, id, func(ls []lh.Latest) []lh.Latest {
			return slices.DeleteFunc(ls, func(l lh.Latest) bool { return l.Element == id })
		}, nil)
		if err != nil {
			return err
		}
		if err := t.dropSeries(ctx, sc.project, id); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `INSERT INTO deleted_element (project_id, id, deleted) VALUES ($1, $2, $3)`, sc.project, id, t.now); err != nil {
			return err
		}
		_, err = t.exec(ctx, `DELETE FROM element WHERE project_id = $1 AND id = $2`, sc.project, id)
		return err
	})
}

// MayDeleteElement says whether [DB.DeleteElement] would refuse now.
func (db *DB) MayDeleteElement(ctx context.Context, sc Scope, id lh.ElementID) error {
	if err := sc.need(lh.PermDestroy); err != nil {
		return err
	}
	t := &tx{db: db}
	return t.mayDeleteOn(ctx, db.read, sc, id)
}

func (t *tx) mayDelete(ctx context.Context, sc Scope, id lh.ElementID) error {
	return t.mayDeleteOn(ctx, t, sc, id)
}

func (t *tx) mayDeleteOn(ctx context.Context, on queryer, sc Scope, id lh.ElementID) error {
	e, err := t.db.element(ctx, on, sc, id)
	if err != nil {
		return err
	}
	if e.Device != "" {
		d, err := t.db.device(ctx, on, sc, e.Device)
		if err == nil && d.State != lh.DeviceRevoked {
			return lh.Errorf(lh.Conflict, "the device %s feeds it; take the element off it (device_id empty), or revoke the device, so that nothing it sends is lost", e.Device)
		}
		if err != nil && lh.CodeOf(err) != lh.NotFound {
			return err
		}
	} else if len(e.Fed) > 0 {
		// A hub may still take samples in for it; see ingest.
		var changed sql.NullInt64
		if err := t.db.row(ctx, on, `SELECT max(time) FROM change WHERE project_id = $1 AND subject = $2 AND kind = $3 AND operation <> $4`,
			sc.project, id, lh.ChangedElement, lh.OperationDelete).Scan(&changed); err != nil {
			return err
		}
		if wait := lh.Millis(changed.Int64) + lh.Millis(Unbound.Milliseconds()) - lh.MillisOf(t.db.now()); wait > 0 {
			return lh.Errorf(lh.Conflict, "a device fed it until a moment ago, and samples may be on their way; try again in %d s", (wait+999)/1000)
		}
	}
	return notApprovedOn(ctx, t.db, on, sc, id, lh.MinMillis, lh.MaxMillis+1)
}

// Unbound is how long after an element was taken off a device samples may still come into it.
const Unbound = 20 * time.Second

// dropSeries removes all that belongs to an element but itself.
func (t *tx) dropSeries(ctx context.Context, p lh.ProjectID, id lh.ElementID) error {
	for _, table := range []string{"chunk", "latest", "correction", "approval"} {
		if _, err := t.exec(ctx, `DELETE FROM `+table+` WHERE project_id = $1 AND element_id = $2`, p, id); err != nil {
			return fmt.Errorf("delete from %s: %w", table, err)
		}
	}
	return nil
}

// sweepElements removes what came for deleted elements after they were deleted, for a day.
func (db *DB) sweepElements(ctx context.Context) error {
	type gone struct {
		p       lh.ProjectID
		id      lh.ElementID
		deleted lh.Millis
	}
	var all []gone
	err := db.each(ctx, db.read, `SELECT project_id, id, deleted FROM deleted_element ORDER BY deleted LIMIT 10000`, nil, func(scan func(...any) error) error {
		var g gone
		err := scan(&g.p, &g.id, &g.deleted)
		all = append(all, g)
		return err
	})
	for _, g := range all {
		if err != nil {
			return err
		}
		err = db.update(ctx, func(t *tx) error {
			if err := t.dropSeries(ctx, g.p, g.id); err != nil {
				return err
			}
			_, err := t.exec(ctx, `DELETE FROM deleted_element WHERE project_id = $1 AND id = $2 AND deleted < $3`, g.p, g.id, t.now-lh.DayMillis)
			return err
		})
	}
	return err
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
				before := elementDetailOf(*old)
				old.Interval, old.Meaning = e.Interval, e.Meaning
				body, err := sealJSON(k, elementBodyOf(*old), place("element", sc.project, old.ID))
				if err != nil {
					return err
				}
				if _, err := t.exec(ctx, `UPDATE element SET body = $3 WHERE project_id = $1 AND id = $2`, sc.project, old.ID, body); err != nil {
					return err
				}
				if err := t.audit(ctx, sc.project, sc.actor, "element.change", string(old.ID), changeDetail{before, elementDetailOf(*old)}); err != nil {
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
