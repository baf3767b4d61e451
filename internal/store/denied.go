package store

import (
	"context"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Denied is a certificate that is revoked and has not expired.
type Denied struct {
	KeyHash [32]byte
	Device  lh.DeviceID
}

// Denied returns the certificates that were revoked at since or later, by the clock of whichever process revoked them,
// and have not expired. It takes no scope: with it the hub cuts connections, whoever's they are.
func (db *DB) Denied(ctx context.Context, since lh.Millis) ([]Denied, error) {
	var ds []Denied
	// The first condition is the partial index's own.
	err := db.each(ctx, db.read, `SELECT key_hash, device_id FROM device_certificate WHERE revoked <> 0 AND revoked >= $1 AND not_after > $2`,
		[]any{since, lh.MillisOf(db.now())}, func(scan func(...any) error) error {
			var d Denied
			var hash []byte
			if err := scan(&hash, &d.Device); err != nil {
				return err
			}
			if len(hash) != len(d.KeyHash) {
				return fmt.Errorf("a key hash has %d bytes", len(hash))
			}
			d.KeyHash = [32]byte(hash)
			ds = append(ds, d)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("read denied certificates: %w", err)
	}
	return ds, nil
}
