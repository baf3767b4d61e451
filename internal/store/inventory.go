package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

type inventoryBody struct {
	Serial   string `json:"serial"`
	Hardware string `json:"hardware"`
}

// AddInventory lists devices that may be claimed, or gives listed ones a new claim code; all or none. A listed device
// keeps its project: a new code lets it enrol again.
func (db *DB) AddInventory(ctx context.Context, items []lh.Inventory) error {
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		for _, it := range items {
			index, err := db.master.BlindIndex("inventory.serial", it.Serial)
			if err != nil {
				return err
			}
			body, err := sealJSON(k, inventoryBody{it.Serial, it.Hardware}, place("inventory", fmt.Sprintf("%x", index)))
			if err != nil {
				return err
			}
			_, err = t.exec(ctx, `INSERT INTO inventory (serial_index, claim_hash, used_key, project_id, device_id, created, body) VALUES ($1, $2, $3, '', '', $4, $5)
				ON CONFLICT (serial_index) DO UPDATE SET claim_hash = excluded.claim_hash, used_key = excluded.used_key, body = excluded.body`,
				index, it.ClaimHash, []byte{}, t.now, body)
			if err != nil {
				return fmt.Errorf("add to inventory: %w", err)
			}
		}
		return nil
	})
}

// Inventory looks a device up by its serial. NotFound when it is not listed. It takes no scope: whoever calls it has
// the claim code checked next.
func (db *DB) Inventory(ctx context.Context, serial string) (lh.Inventory, error) {
	var it lh.Inventory
	index, err := db.master.BlindIndex("inventory.serial", serial)
	if err != nil {
		return it, err
	}
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return it, err
	}
	var sealed []byte
	err = db.row(ctx, db.read, `SELECT claim_hash, used_key, project_id, device_id, created, body FROM inventory WHERE serial_index = $1`, index).
		Scan(&it.ClaimHash, &it.UsedKey, &it.Project, &it.Device, &it.Created, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return it, lh.Errorf(lh.NotFound, "no device with this serial is listed")
	}
	if err != nil {
		return it, fmt.Errorf("read inventory: %w", err)
	}
	var b inventoryBody
	if err := openJSON(k, sealed, place("inventory", fmt.Sprintf("%x", index)), &b); err != nil {
		return it, err
	}
	it.Serial, it.Hardware = b.Serial, b.Hardware
	return it, nil
}

// ClaimDevice binds a listed device to the scope's project: d is its name, location, longest silence, attributes and note.
// claimHash must be the hash of its claim code. A device that is in this project already (revoked, or with a new code) is
// let back in; one of another project is a Conflict, said without naming it. A wrong code and an unlisted serial read
// alike.
func (db *DB) ClaimDevice(ctx context.Context, sc Scope, serial string, claimHash []byte, d lh.Device) (lh.Device, error) {
	ds, refused, err := db.ClaimDevices(ctx, sc, []Claim{{serial, claimHash, d}}, false)
	if err != nil {
		return d, err
	}
	if len(refused) > 0 {
		return d, refused[0].Err
	}
	return ds[0], nil
}

// Claim is one device to be claimed; see [DB.ClaimDevice].
type Claim struct {
	Serial string
	Hash   []byte // of the claim code
	Device lh.Device
}

// ClaimDevices claims all of them or none, in one transaction, and then says for each row that is in the way why. With dry
// it only says so.
func (db *DB) ClaimDevices(ctx context.Context, sc Scope, claims []Claim, dry bool) (ds []lh.Device, refused []RowError, err error) {
	if err := sc.need(lh.PermConfigure); err != nil {
		return nil, nil, err
	}
	items := make([]listed, len(claims))
	seen := make(map[string]bool, len(claims))
	for i, c := range claims {
		if items[i], err = db.claimable(ctx, sc, c); err == nil && seen[c.Serial] {
			err = lh.Errorf(lh.Conflict, "this serial stands in an earlier row, too")
		}
		if err != nil && lh.CodeOf(err) == lh.Internal {
			return nil, nil, fmt.Errorf("claim device: %w", err)
		}
		if err != nil {
			refused = append(refused, RowError{i, err})
		}
		seen[c.Serial] = true
	}
	if len(refused) > 0 {
		return nil, refused, nil
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return nil, nil, err
	}
	err = db.bulk(ctx, dry, func(t *tx) error {
		ds, refused = make([]lh.Device, len(claims)), nil
		var notes []note
		for i, c := range claims {
			if ds[i], err = t.claim(ctx, sc, k, items[i], c, &notes); err != nil {
				if lh.CodeOf(err) == lh.Internal {
					return err
				}
				refused = append(refused, RowError{i, err})
			}
		}
		if err := enough(refused); err != nil {
			return err
		}
		return t.auditMany(ctx, sc, notes)
	})
	if err != nil && len(refused) == 0 {
		if lh.CodeOf(err) == lh.Internal {
			err = fmt.Errorf("claim device: %w", err)
		}
		return nil, nil, err
	}
	return ds, refused, nil
}

// listed is a device in the inventory that may be claimed.
type listed struct {
	lh.Inventory
	index []byte
}

// claimable looks a device up whose code is right.
func (db *DB) claimable(ctx context.Context, sc Scope, c Claim) (listed, error) {
	if !sc.Sees(c.Device.Location) {
		return listed{}, noLocation()
	}
	if err := checkNotes(c.Device.Attributes, c.Device.Note); err != nil {
		return listed{}, err
	}
	wrong := lh.Errorf(lh.Invalid, "serial and claim code do not fit; check both on the device's label")
	it, err := db.Inventory(ctx, c.Serial)
	if lh.CodeOf(err) == lh.NotFound {
		return listed{}, wrong
	}
	if err != nil {
		return listed{}, err
	}
	if !hashesEqual(it.ClaimHash, c.Hash) {
		return listed{}, wrong
	}
	if len(it.UsedKey) > 0 {
		return listed{}, lh.Errorf(lh.Conflict, "this claim code is used up; ask the operator for a new one")
	}
	index, err := db.master.BlindIndex("inventory.serial", c.Serial)
	return listed{it, index}, err
}

// claim binds a device to the scope's project. The event of a new one goes to notes.
func (t *tx) claim(ctx context.Context, sc Scope, k *seal.Key, it listed, c Claim, notes *[]note) (lh.Device, error) {
	d := c.Device
	var project lh.ProjectID
	var device lh.DeviceID
	err := t.db.row(ctx, t, `SELECT project_id, device_id FROM inventory WHERE serial_index = $1`, it.index).Scan(&project, &device)
	if err != nil {
		return d, err
	}
	if project != "" && project != sc.project {
		return d, lh.Errorf(lh.Conflict, "this device belongs to a project already; its owner must release it first")
	}
	if d.Location != "" {
		if err := t.locationIsThere(ctx, sc, d.Location); err != nil {
			return d, err
		}
	}
	d.Serial, d.Hardware, d.Project, d.State, d.Created = c.Serial, it.Hardware, sc.project, lh.DeviceClaimed, t.now
	again := device != ""
	if d.ID = device; !again {
		d.ID = lh.NewDeviceID()
	}
	detail := map[string]any{"serial": c.Serial, "name": d.Name, "location_id": d.Location}
	if again {
		if err := t.audit(ctx, sc.project, sc.actor, "device.claim", string(d.ID), detail); err != nil {
			return d, err
		}
		if _, err := t.db.device(ctx, t, sc, d.ID); err != nil { // it may be at a location this scope does not see
			return d, err
		}
		if err := t.alsoChanged(ctx, sc.project, "element", lh.ChangedElement, `device_id = $6`, d.ID); err != nil {
			return d, err
		}
		if _, err := t.exec(ctx, `UPDATE device SET state = $3 WHERE project_id = $1 AND id = $2`, sc.project, d.ID, lh.DeviceClaimed); err != nil {
			return d, err
		}
		if _, err := t.exec(ctx, `UPDATE element SET location_id = $3 WHERE project_id = $1 AND device_id = $2`, sc.project, d.ID, d.Location); err != nil {
			return d, err
		}
		if err := t.writeDevice(ctx, sc, d, d.Location); err != nil {
			return d, err
		}
		return t.db.device(ctx, t, sc, d.ID)
	}
	*notes = append(*notes, note{"device.claim", string(d.ID), detail})
	body, err := sealJSON(k, deviceBodyOf(d), place("device", sc.project, d.ID))
	if err != nil {
		return d, err
	}
	_, err = t.exec(ctx, `INSERT INTO device (project_id, id, location_id, state, created, last_seen, clock_offset, clock_suspect, body)
		VALUES ($1, $2, $3, $4, $5, 0, 0, 0, $6)`, sc.project, d.ID, d.Location, d.State, d.Created, body)
	if err != nil {
		return d, err
	}
	n, err := t.exec(ctx, `UPDATE inventory SET project_id = $2, device_id = $3 WHERE serial_index = $1 AND device_id = ''`, it.index, sc.project, d.ID)
	if err == nil && n == 0 {
		return d, lh.Errorf(lh.Conflict, "this device was claimed just now by somebody else")
	}
	return d, err
}
