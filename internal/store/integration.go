package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

// MaxIntegrationElements bounds the list of one integration: as many as a device has channels.
const MaxIntegrationElements = 512

type integrationBody struct {
	Name        string                `json:"name"`
	SkipUnknown bool                  `json:"skip_unknown,omitempty"`
	Elements    []integrationElements `json:"elements"`
}

type integrationElements struct {
	Element     lh.ElementID      `json:"element"`
	Name        string            `json:"name,omitempty"`
	Measurement string            `json:"measurement,omitempty"`
	Field       string            `json:"field,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
}

func integrationBodyOf(i lh.Integration) integrationBody {
	b := integrationBody{Name: i.Name, SkipUnknown: i.SkipUnknown, Elements: []integrationElements{}}
	for _, e := range i.Elements {
		b.Elements = append(b.Elements, integrationElements(e))
	}
	return b
}

func noIntegration() error {
	return lh.Errorf(lh.NotFound, "there is no such integration in this project")
}

const integrationColumns = `a.id, a.networks, a.expires, a.enabled, a.created, a.body`

type integrationRow struct {
	lh.Integration
	networks string
	enabled  int
	sealed   []byte
}

func (r *integrationRow) fields() []any {
	return []any{&r.ID, &r.networks, &r.Expires, &r.enabled, &r.Created, &r.sealed}
}

func (r *integrationRow) open(k *seal.Key, p lh.ProjectID) (lh.Integration, error) {
	i := r.Integration
	i.Project, i.Enabled = p, r.enabled != 0
	var err error
	if i.Networks, err = splitNetworks(r.networks); err != nil {
		return i, fmt.Errorf("integration %s: %w", i.ID, err)
	}
	var b integrationBody
	if err := openJSON(k, r.sealed, place("integration", p, string(i.ID)), &b); err != nil {
		return i, err
	}
	i.Name, i.SkipUnknown = b.Name, b.SkipUnknown
	for _, e := range b.Elements {
		i.Elements = append(i.Elements, lh.IntegrationElement(e))
	}
	return i, nil
}

// Integrations returns the integrations of the scope's project, oldest first.
func (db *DB) Integrations(ctx context.Context, sc Scope) ([]lh.Integration, error) {
	if err := sc.need(lh.PermAdminister); err != nil {
		return nil, err
	}
	return db.integrations(ctx, sc, `a.project_id = $1 ORDER BY a.created, a.id`, sc.project)
}

// Integration returns one.
func (db *DB) Integration(ctx context.Context, sc Scope, id lh.IntegrationID) (lh.Integration, error) {
	if err := sc.need(lh.PermAdminister); err != nil {
		return lh.Integration{}, err
	}
	is, err := db.integrations(ctx, sc, `a.project_id = $1 AND a.id = $2`, sc.project, id)
	if err == nil && len(is) == 0 {
		err = noIntegration()
	}
	if err != nil {
		return lh.Integration{}, err
	}
	return is[0], nil
}

func (db *DB) integrations(ctx context.Context, sc Scope, where string, args ...any) ([]lh.Integration, error) {
	return programs[integrationRow, lh.Integration](ctx, db, sc, `SELECT `+integrationColumns+` FROM integration a WHERE `+where, args)
}

func checkIntegration(i lh.Integration) error {
	switch {
	case len(i.Name) == 0 || len(i.Name) > 200:
		return lh.Errorf(lh.Invalid, "an integration's name has 1 to 200 bytes")
	case len(i.Elements) > MaxIntegrationElements:
		return lh.Errorf(lh.Invalid, "an integration feeds at most %d elements", MaxIntegrationElements)
	case i.Expires < 0:
		return lh.Errorf(lh.Invalid, "expires is a time, or 0 for never")
	}
	ids, names := map[lh.ElementID]bool{}, map[string]bool{}
	for n, e := range i.Elements {
		switch {
		case ids[e.Element]:
			return lh.Errorf(lh.Invalid, "element %s is in the list twice", e.Element)
		case e.Name != "" && names[e.Name]:
			return lh.Errorf(lh.Invalid, "the name %q is in the list twice", e.Name)
		case lh.ElementID(e.Name).Valid():
			return lh.Errorf(lh.Invalid, "the name %q looks like an element's id", e.Name)
		case len(e.Name) > 200 || len(e.Measurement) > 200 || len(e.Field) > 200 || len(e.Tags) > 20:
			return lh.Errorf(lh.Invalid, "names, measurements and fields have at most 200 bytes, and an element at most 20 tags")
		case (e.Measurement == "") != (e.Field == ""):
			return lh.Errorf(lh.Invalid, "measurement and field go together: give element %s both or none", e.Element)
		case e.Measurement == "" && len(e.Tags) > 0:
			return lh.Errorf(lh.Invalid, "tags of element %s need a measurement and a field", e.Element)
		}
		for k, v := range e.Tags {
			if k == "" || len(k)+len(v) > 400 {
				return lh.Errorf(lh.Invalid, "a tag has a key, and at most 400 bytes with its value")
			}
		}
		for _, o := range i.Elements[:n] {
			if e.Measurement != "" && e.SamePoint(o) {
				return lh.Errorf(lh.Invalid, "elements %s and %s have the same measurement, field and tags", o.Element, e.Element)
			}
		}
		ids[e.Element], names[e.Name] = true, true
	}
	return checkNetworks(i.Networks)
}

// elementsAreFree refuses elements that are not the project's, or that a device feeds.
func (t *tx) elementsAreFree(ctx context.Context, sc Scope, es []lh.IntegrationElement) error {
	for _, e := range es {
		var device lh.DeviceID
		err := t.db.row(ctx, t, `SELECT device_id FROM element WHERE project_id = $1 AND id = $2`, sc.project, e.Element).Scan(&device)
		if errors.Is(err, sql.ErrNoRows) {
			return noElement()
		}
		if err != nil {
			return err
		}
		if device != "" {
			return lh.Errorf(lh.Invalid, "element %s is fed by a device; an integration feeds only elements that no device does", e.Element)
		}
	}
	return nil
}

// CreateIntegration makes an integration and gives it its id.
func (db *DB) CreateIntegration(ctx context.Context, sc Scope, i lh.Integration) (lh.Integration, error) {
	if err := sc.need(lh.PermAdminister); err != nil {
		return i, err
	}
	if err := checkIntegration(i); err != nil {
		return i, err
	}
	i.ID, i.Project = lh.NewIntegrationID(), sc.project
	err := db.putIntegration(ctx, sc, "integration.create", i, func(t *tx, body []byte) (int64, error) {
		if err := t.room(ctx, "integration", sc.project, MaxIntegrations, "integrations"); err != nil {
			return 0, err
		}
		i.Created = t.now
		return t.exec(ctx, `INSERT INTO integration (project_id, id, networks, expires, enabled, created, body) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			sc.project, i.ID, joinNetworks(i.Networks), i.Expires, flag(i.Enabled), t.now, body)
	})
	return i, err
}

// ChangeIntegration writes what an integration is and may send. It holds from its next request on.
func (db *DB) ChangeIntegration(ctx context.Context, sc Scope, i lh.Integration) error {
	if err := sc.need(lh.PermAdminister); err != nil {
		return err
	}
	if err := checkIntegration(i); err != nil {
		return err
	}
	return db.putIntegration(ctx, sc, "integration.change", i, func(t *tx, body []byte) (int64, error) {
		return t.exec(ctx, `UPDATE integration SET networks = $3, expires = $4, enabled = $5, body = $6 WHERE project_id = $1 AND id = $2`,
			sc.project, i.ID, joinNetworks(i.Networks), i.Expires, flag(i.Enabled), body)
	})
}

func (db *DB) putIntegration(ctx context.Context, sc Scope, action string, i lh.Integration, put func(*tx, []byte) (int64, error)) error {
	detail := struct {
		integrationBody
		Networks []netip.Prefix `json:"networks,omitempty"`
		Expires  lh.Millis      `json:"expires,omitempty"`
		Enabled  bool           `json:"enabled"`
	}{integrationBodyOf(i), i.Networks, i.Expires, i.Enabled}
	return db.putSealed(ctx, sc, place("integration", sc.project, string(i.ID)), integrationBodyOf(i), action, string(i.ID), detail,
		func(t *tx, body []byte) (int64, error) {
			if err := t.elementsAreFree(ctx, sc, i.Elements); err != nil {
				return 0, err
			}
			return put(t, body)
		}, noIntegration)
}

// DeleteIntegration removes an integration with its keys, at once. The samples it sent stay.
func (db *DB) DeleteIntegration(ctx context.Context, sc Scope, id lh.IntegrationID) error {
	return db.deleteProgram(ctx, sc, "integration", string(id), noIntegration)
}

// IntegrationByKey is [DB.ServiceByKey] for an integration.
func (db *DB) IntegrationByKey(ctx context.Context, hash []byte) (lh.Integration, KeyProof, error) {
	var r integrationRow
	p, k, proof, err := db.programBy(ctx, r.fields(), `SELECT a.project_id, k.expires`+proofColumns+integrationColumns+` FROM program_key k
		JOIN integration a ON a.project_id = k.project_id AND a.id = k.program_id
		JOIN project p ON p.id = a.project_id WHERE k.key_hash = $1`, hash)
	if err != nil {
		return lh.Integration{}, proof, err
	}
	i, err := r.open(k, p)
	return i, proof, err
}

// FreeElements returns the elements of the project that no device feeds, for an integration that is about to send.
func (db *DB) FreeElements(ctx context.Context, sc Scope) (map[lh.ElementID]bool, error) {
	if !sc.ownDevice(lh.Sent) {
		return nil, noIntegration()
	}
	ids := map[lh.ElementID]bool{}
	err := db.each(ctx, db.read, `SELECT id FROM element WHERE project_id = $1 AND device_id = ''`, []any{sc.project}, func(scan func(...any) error) error {
		var id lh.ElementID
		err := scan(&id)
		ids[id] = true
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read elements: %w", err)
	}
	return ids, nil
}
