package store

import (
	"context"
	"time"
)

// KeepKeys sets for how long an opened data key is used before it is read anew.
func (db *DB) KeepKeys(d time.Duration) { db.keepKey = d }

// Exec does what nobody may do to the database from outside.
func (db *DB) Exec(ctx context.Context, query string, args ...any) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, query, args...)
		return err
	})
}
