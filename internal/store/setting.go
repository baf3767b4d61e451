package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Setting returns what the installation keeps under a name, opened; nil when there is nothing.
func (db *DB) Setting(ctx context.Context, name string) ([]byte, error) {
	var sealed []byte
	err := db.row(ctx, db.read, `SELECT body FROM setting WHERE name = $1`, name).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read setting %s: %w", name, err)
	}
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return nil, err
	}
	return k.Open(sealed, place("setting", name))
}

// SetSetting keeps something of the installation, such as an issuing key, sealed, under a name.
func (db *DB) SetSetting(ctx context.Context, name string, value []byte) error {
	return db.SetSettings(ctx, map[string][]byte{name: value})
}

// SetSettings keeps several together: all or none.
func (db *DB) SetSettings(ctx context.Context, values map[string][]byte) error {
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		for name, value := range values {
			sealed, err := k.Seal(value, place("setting", name))
			if err != nil {
				return err
			}
			if _, err := t.exec(ctx, `INSERT INTO setting (name, body) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET body = excluded.body`, name, sealed); err != nil {
				return fmt.Errorf("set %s: %w", name, err)
			}
		}
		return nil
	})
}
