package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"

	lh "github.com/loggerhead-cloud/loggerhead"
)

type sessionBody struct {
	Remote netip.Addr `json:"remote"`
	Agent  string     `json:"agent"`
}

// CreateSession stores a log-in by the hash of its token; the token itself is nowhere. It clears away old ones.
func (db *DB) CreateSession(ctx context.Context, s lh.Session, tokenHash []byte) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `DELETE FROM session WHERE expires < $1`, t.now); err != nil {
			return fmt.Errorf("clear sessions: %w", err)
		}
		_, err := t.exec(ctx, `INSERT INTO session (id, token_hash, user_id, created, expires, proof, strong) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			s.ID, tokenHash, s.User, s.Created, s.Expires, s.Proof, flag(s.Strong))
		if err != nil {
			return fmt.Errorf("create session: %w", err)
		}
		return nil
	})
}

// Session returns the log-in whose token has this hash. NotFound when there is none; whether it has expired is the
// caller's to check.
func (db *DB) Session(ctx context.Context, tokenHash []byte) (lh.Session, error) {
	var s lh.Session
	var strong int
	err := db.row(ctx, db.read, `SELECT id, user_id, created, expires, used, proof, strong, confirmed FROM session WHERE token_hash = $1`, tokenHash).
		Scan(&s.ID, &s.User, &s.Created, &s.Expires, &s.Used, &s.Proof, &strong, &s.Confirmed)
	s.Strong = strong != 0
	if errors.Is(err, sql.ErrNoRows) {
		return s, lh.Errorf(lh.NotFound, "there is no such session")
	}
	if err != nil {
		return s, fmt.Errorf("read session: %w", err)
	}
	return s, nil
}

// SessionStands returns nil while a log-in is neither ended nor expired, and Unauthenticated after.
func (db *DB) SessionStands(ctx context.Context, id lh.SessionID) error {
	var expires lh.Millis
	err := db.row(ctx, db.read, `SELECT expires FROM session WHERE id = $1`, id).Scan(&expires)
	if errors.Is(err, sql.ErrNoRows) || err == nil && expires <= lh.MillisOf(db.now()) {
		return lh.Errorf(lh.Unauthenticated, "log in first, or again")
	}
	return err
}

// EndSession ends a log-in. Ending one that is not there is no error.
func (db *DB) EndSession(ctx context.Context, id lh.SessionID) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM session WHERE id = $1`, id)
		return err
	})
}
