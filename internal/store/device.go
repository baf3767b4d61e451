package store

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

type deviceBody struct {
	Serial     string `json:"serial"`
	Hardware   string `json:"hardware"`
	Name       string `json:"name"`
	MaxOffline int    `json:"max_offline"`
	Firmware   string `json:"firmware"`

	Attributes lh.Attributes `json:"attributes,omitempty"`
	Note       string        `json:"note,omitempty"`
}

func deviceBodyOf(d lh.Device) deviceBody {
	return deviceBody{d.Serial, d.Hardware, d.Name, d.MaxOffline, d.Firmware, d.Attributes, d.Note}
}

const deviceColumns = `id, location_id, state, created, last_seen, clock_offset, clock_suspect, body`

func scanDevice(k *seal.Key, p lh.ProjectID, scan func(...any) error) (lh.Device, error) {
	d := lh.Device{Project: p}
	var sealed []byte
	if err := scan(&d.ID, &d.Location, &d.State, &d.Created, &d.LastSeen, &d.ClockOffset, &d.ClockSuspect, &sealed); err != nil {
		return d, err
	}
	var b deviceBody
	if err := openJSON(k, sealed, place("device", p, d.ID), &b); err != nil {
		return d, err
	}
	d.Serial, d.Hardware, d.Name, d.MaxOffline, d.Firmware = b.Serial, b.Hardware, b.Name, b.MaxOffline, b.Firmware
	d.Attributes, d.Note = b.Attributes, b.Note
	return d, nil
}

func noDevice() error {
	return lh.Errorf(lh.NotFound, "there is no such device in this project, or it is not yours to see")
}

// Devices returns the devices the scope sees, oldest first.
func (db *DB) Devices(ctx context.Context, sc Scope) ([]lh.Device, error) {
	if err := sc.need(lh.PermRead); err != nil {
		return nil, err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return nil, err
	}
	var ds []lh.Device
	err = db.each(ctx, db.read, `SELECT `+deviceColumns+` FROM device WHERE project_id = $1 ORDER BY created, id`, []any{sc.project},
		func(scan func(...any) error) error {
			d, err := scanDevice(k, sc.project, scan)
			if err == nil && sc.Sees(d.Location) {
				ds = append(ds, d)
			}
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read devices: %w", err)
	}
	return ds, nil
}

// Device returns one device.
func (db *DB) Device(ctx context.Context, sc Scope, id lh.DeviceID) (lh.Device, error) {
	if !sc.Allows(lh.PermRead) && !sc.ownDevice(id) {
		return lh.Device{}, sc.need(lh.PermRead)
	}
	return db.device(ctx, db.read, sc, id)
}

func (db *DB) device(ctx context.Context, on queryer, sc Scope, id lh.DeviceID) (lh.Device, error) {
	k, err := db.key(ctx, on, string(sc.project))
	if err != nil {
		return lh.Device{}, err
	}
	d, err := scanDevice(k, sc.project, db.row(ctx, on, `SELECT `+deviceColumns+` FROM device WHERE project_id = $1 AND id = $2`, sc.project, id).Scan)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !sc.Sees(d.Location) {
		return lh.Device{}, noDevice()
	}
	if err != nil {
		return d, fmt.Errorf("read device %s: %w", id, err)
	}
	return d, nil
}

// ownDevice reports whether the scope is the device's own. [lh.Sent] is every integration's.
func (s Scope) ownDevice(id lh.DeviceID) bool {
	if id == lh.Sent {
		return s.Allows(lh.PermAppend) && s.actor.Kind == lh.ActorIntegration
	}
	return s.Allows(lh.PermAppend) && s.actor.Kind == lh.ActorDevice && s.actor.ID == string(id)
}

// deviceDetail is what the audit trail tells of a device that is changed.
type deviceDetail struct {
	Name       string        `json:"name"`
	Location   lh.LocationID `json:"location_id"`
	MaxOffline int           `json:"max_offline"`
	Attributes lh.Attributes `json:"attributes,omitempty"`
	Note       string        `json:"note,omitempty"`
}

func deviceDetailOf(d lh.Device) deviceDetail {
	return deviceDetail{d.Name, d.Location, d.MaxOffline, d.Attributes, d.Note}
}

// ChangeDevice writes a device's name, location, longest silence, attributes and note; the rest of d is ignored. Its elements follow it
// to the new location.
func (db *DB) ChangeDevice(ctx context.Context, sc Scope, d lh.Device) error {
	if err := sc.need(lh.PermConfigure); err != nil {
		return err
	}
	if !sc.Sees(d.Location) {
		return noLocation()
	}
	if err := checkNotes(d.Attributes, d.Note); err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		var old lh.Device
		err := t.audit(ctx, sc.project, sc.actor, "device.change", string(d.ID), looked(func(t *tx) (_ any, err error) {
			old, err = db.device(ctx, t, sc, d.ID)
			return changeDetail{deviceDetailOf(old), deviceDetailOf(d)}, err
		}))
		if err != nil {
			return err
		}
		if d.Location != "" {
			if err := t.locationIsThere(ctx, sc, d.Location); err != nil {
				return err
			}
		}
		old.Name, old.MaxOffline, old.Attributes, old.Note = d.Name, d.MaxOffline, d.Attributes, d.Note
		if old.Location != d.Location {
			if err := t.alsoChanged(ctx, sc.project, "element", lh.ChangedElement, `device_id = $6`, d.ID); err != nil {
				return err
			}
		}
		if _, err := t.exec(ctx, `UPDATE element SET location_id = $3 WHERE project_id = $1 AND device_id = $2`, sc.project, d.ID, d.Location); err != nil {
			return err
		}
		return t.writeDevice(ctx, sc, old, d.Location)
	})
}

func (t *tx) locationIsThere(ctx context.Context, sc Scope, l lh.LocationID) error {
	var n int
	if err := t.db.row(ctx, t, `SELECT count(*) FROM location WHERE project_id = $1 AND id = $2`, sc.project, l).Scan(&n); err != nil {
		return err
	}
	if n == 0 {
		return noLocation()
	}
	return nil
}

// writeDevice writes the device's body and location.
func (t *tx) writeDevice(ctx context.Context, sc Scope, d lh.Device, l lh.LocationID) error {
	k, err := t.db.key(ctx, t, string(sc.project))
	if err != nil {
		return err
	}
	body, err := sealJSON(k, deviceBodyOf(d), place("device", sc.project, d.ID))
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `UPDATE device SET location_id = $3, body = $4 WHERE project_id = $1 AND id = $2`, sc.project, d.ID, l, body)
	return err
}

// SetFirmware records which firmware a device says it runs, by the device's own scope.
func (db *DB) SetFirmware(ctx context.Context, sc Scope, id lh.DeviceID, firmware string) error {
	if !sc.ownDevice(id) {
		return sc.need(lh.PermMaintain)
	}
	return db.update(ctx, func(t *tx) error {
		d, err := db.device(ctx, t, sc, id)
		if err != nil || d.Firmware == firmware {
			return err
		}
		d.Firmware = firmware
		if err := t.audit(ctx, sc.project, sc.actor, "device.firmware", string(id), map[string]any{"firmware": firmware}); err != nil {
			return err
		}
		return t.writeDevice(ctx, sc, d, d.Location)
	})
}

// RevokeDevice bars a device: every certificate of it, now and at once. Claim it anew to let it back in.
func (db *DB) RevokeDevice(ctx context.Context, sc Scope, id lh.DeviceID) error {
	if err := sc.need(lh.PermConfigure); err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		if err := t.audit(ctx, sc.project, sc.actor, "device.revoke", string(id), nil); err != nil {
			return err
		}
		if _, err := db.device(ctx, t, sc, id); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `UPDATE device SET state = $3 WHERE project_id = $1 AND id = $2`, sc.project, id, lh.DeviceRevoked); err != nil {
			return err
		}
		_, err := t.exec(ctx, `UPDATE device_certificate SET revoked = $3 WHERE project_id = $1 AND device_id = $2 AND revoked = 0`, sc.project, id, t.now)
		return err
	})
}

// DeleteDevice removes a device that is revoked; its elements stay with their series, fed by none, and its serial may be
// claimed anew with a new code. Conflict: it is not revoked.
func (db *DB) DeleteDevice(ctx context.Context, sc Scope, id lh.DeviceID) error {
	if err := sc.need(lh.PermConfigure); err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		d, err := db.device(ctx, t, sc, id)
		if err != nil {
			return err
		}
		if err := t.audit(ctx, sc.project, sc.actor, "device.delete", string(id), map[string]any{"name": d.Name, "serial": d.Serial}); err != nil {
			return err
		}
		if d, err = db.device(ctx, t, sc, id); err != nil { // as it is now that nobody else may change it
			return err
		}
		if d.State != lh.DeviceRevoked {
			return lh.Errorf(lh.Conflict, "the device is not revoked; revoke it first, so that nothing it still sends is lost")
		}
		if err := t.alsoChanged(ctx, sc.project, "element", lh.ChangedElement, `device_id = $6`, id); err != nil {
			return err
		}
		es, err := db.elements(ctx, t, sc, `project_id = $1 AND device_id = $2`, sc.project, id)
		if err != nil {
			return err
		}
		for _, e := range es {
			if err := t.rebind(ctx, sc, e, "", ""); err != nil {
				return err
			}
		}
		// Certificates stay on record: their keys are never certified again.
		for _, statement := range []string{
			`DELETE FROM device_log WHERE project_id = $1 AND device_id = $2`,
			`UPDATE inventory SET project_id = '', device_id = '' WHERE project_id = $1 AND device_id = $2`,
			`DELETE FROM device WHERE project_id = $1 AND id = $2`,
		} {
			if _, err := t.exec(ctx, statement, sc.project, id); err != nil {
				return fmt.Errorf("delete device: %w", err)
			}
		}
		return nil
	})
}

// DeviceSeen is what a contact with a device told of it.
type DeviceSeen struct {
	At           lh.Millis // the hub's time
	ClockOffset  *int64    // device's clock less the hub's, ms; nil when the contact did not say
	ClockSuspect int64     // samples with an impossible time since the last call; added up
}

// touchDevice records that a device was heard of. Time never goes back.
const touchDevice = `UPDATE device SET last_seen = CASE WHEN last_seen < $3 THEN $3 ELSE last_seen END,
	clock_offset = coalesce($4, clock_offset), clock_suspect = clock_suspect + $5 WHERE project_id = $1 AND id = $2`

// args are those of touchDevice.
func (s *DeviceSeen) args(p lh.ProjectID, id lh.DeviceID) []any {
	args := []any{string(p), string(id), int64(s.At), nil, s.ClockSuspect}
	if s.ClockOffset != nil {
		args[3] = *s.ClockOffset
	}
	return args
}

// TouchDevice records that a device was heard of, by its own scope.
func (db *DB) TouchDevice(ctx context.Context, sc Scope, id lh.DeviceID, s DeviceSeen) error {
	if !sc.ownDevice(id) {
		return noDevice()
	}
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, touchDevice, s.args(sc.project, id)...)
		if err == nil && n == 0 {
			return noDevice()
		}
		return err
	})
}

// Certificate is a device certificate as the hub knows it.
type Certificate struct {
	KeyHash  [32]byte // SHA-256 of the public key
	Project  lh.ProjectID
	Device   lh.DeviceID
	Serial   string // hexadecimal
	Created  lh.Millis
	NotAfter lh.Millis
	Revoked  lh.Millis // 0 is not
	State    lh.DeviceState
	Location lh.LocationID // of its device
}

// Certificate looks a certificate up by its key. It takes no scope: it is how a device gets one. NotFound when this
// installation never issued it or its device is gone.
func (db *DB) Certificate(ctx context.Context, keyHash [32]byte) (Certificate, error) {
	c := Certificate{KeyHash: keyHash}
	err := db.row(ctx, db.read, `SELECT c.project_id, c.device_id, c.serial, c.created, c.not_after, c.revoked, d.state, d.location_id
		FROM device_certificate c JOIN device d ON d.project_id = c.project_id AND d.id = c.device_id
		WHERE c.key_hash = $1`, keyHash[:]).
		Scan(&c.Project, &c.Device, &c.Serial, &c.Created, &c.NotAfter, &c.Revoked, &c.State, &c.Location)
	if errors.Is(err, sql.ErrNoRows) {
		return c, lh.Errorf(lh.NotFound, "no device of this installation has this certificate")
	}
	if err != nil {
		return c, fmt.Errorf("read certificate: %w", err)
	}
	return c, nil
}

// AddCertificate records a certificate of a claimed or enrolled device, which then counts as enrolled. A non-empty
// claim is the hash of the one-time code that pays for it: the code is bound to this key in the same transaction, so
// that a device whose answer got lost may ask again, and another key gets Unauthenticated. Conflict: the key is, or
// was, another device's, or is revoked.
func (db *DB) AddCertificate(ctx context.Context, sc Scope, serial string, claim []byte, c Certificate) error {
	if !sc.ownDevice(c.Device) {
		return noDevice()
	}
	index, err := db.master.BlindIndex("inventory.serial", serial)
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		if err := t.audit(ctx, sc.project, sc.actor, "device.certificate", string(c.Device), map[string]any{"serial": c.Serial, "not_after": c.NotAfter}); err != nil {
			return err
		}
		if len(claim) > 0 {
			n, err := t.exec(ctx, `UPDATE inventory SET used_key = $4 WHERE serial_index = $1 AND claim_hash = $2 AND device_id = $3
				AND (used_key = $4 OR used_key = $5)`, index, claim, c.Device, c.KeyHash[:], []byte{})
			if err != nil {
				return err
			}
			if n == 0 {
				return lh.Errorf(lh.Unauthenticated, "the claim code is used up; ask for a new one")
			}
		}
		n, err := t.exec(ctx, `UPDATE device SET state = $3 WHERE project_id = $1 AND id = $2 AND state <> $4`,
			sc.project, c.Device, lh.DeviceEnrolled, lh.DeviceRevoked)
		if err != nil {
			return err
		}
		if n == 0 {
			return lh.Errorf(lh.Forbidden, "this device is revoked")
		}
		n, err = t.exec(ctx, `INSERT INTO device_certificate (key_hash, project_id, device_id, serial, created, not_after, revoked)
			VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (key_hash) DO UPDATE SET serial = excluded.serial, not_after = excluded.not_after
			WHERE device_certificate.project_id = excluded.project_id AND device_certificate.device_id = excluded.device_id
			AND device_certificate.revoked = 0`, c.KeyHash[:], sc.project, c.Device, c.Serial, t.now, c.NotAfter)
		if err == nil && n == 0 {
			return lh.Errorf(lh.Conflict, "this key cannot have a certificate any more; make a new key")
		}
		return err
	})
}

// LogEpoch returns the epoch of a device's log, making it at first sight: the second of now, or one more than the
// device's newest, whichever is greater. See [lh.Rank].
func (db *DB) LogEpoch(ctx context.Context, sc Scope, id lh.DeviceID, log uint64, now lh.Millis) (uint32, error) {
	if !sc.ownDevice(id) {
		return 0, noDevice()
	}
	name := fmt.Sprintf("%016x", log)
	find := func(on queryer) (uint32, error) {
		var e uint32
		err := db.row(ctx, on, `SELECT epoch FROM device_log WHERE project_id = $1 AND device_id = $2 AND log = $3`, sc.project, id, name).Scan(&e)
		return e, err
	}
	if e, err := find(db.read); err == nil || !errors.Is(err, sql.ErrNoRows) {
		return e, err
	}
	var epoch uint32
	for try := 0; ; try++ {
		err := db.update(ctx, func(t *tx) error {
			var err error
			if epoch, err = find(t); err == nil || !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			var newest sql.NullInt64
			if err := db.row(ctx, t, `SELECT max(epoch) FROM device_log WHERE project_id = $1 AND device_id = $2`, sc.project, id).Scan(&newest); err != nil {
				return err
			}
			epoch = uint32(max(int64(now)/1000, newest.Int64+1))
			_, err = t.exec(ctx, `INSERT INTO device_log (project_id, device_id, log, epoch) VALUES ($1, $2, $3, $4)`, sc.project, id, name, epoch)
			return err
		})
		if unique(err) && try < 5 { // another replica was first
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("epoch of log %s of %s: %w", name, id, err)
		}
		return epoch, nil
	}
}

// hashesEqual compares two hashes without telling by its time where they differ.
func hashesEqual(a, b []byte) bool { return len(a) > 0 && subtle.ConstantTimeCompare(a, b) == 1 }
