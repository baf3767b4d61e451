package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Challenge is a step of logging in, or of setting a factor up, that waits for a browser's answer. It is found by the
// hash of a secret that the browser brings back.
type Challenge struct {
	Kind string
	User lh.UserID // "" where nobody is known yet
	Body []byte    // what the step needs to go on; sealed where it lies
}

// maxChallenges bounds how many may wait at once, since strangers make them. Each lives for minutes.
const maxChallenges = 100_000

func noChallenge() error {
	return lh.Errorf(lh.Unauthenticated, "this step was answered already, or took too long; begin again")
}

// AddChallenge keeps a challenge until it expires. It clears away those that have.
func (db *DB) AddChallenge(ctx context.Context, hash []byte, c Challenge, expires lh.Millis) error {
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return err
	}
	body, err := k.Seal(c.Body, place("challenge", c.Kind, hex.EncodeToString(hash)))
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `DELETE FROM challenge WHERE expires <= $1`, t.now); err != nil {
			return fmt.Errorf("clear challenges: %w", err)
		}
		var n int
		if err := db.row(ctx, t, `SELECT count(*) FROM challenge`).Scan(&n); err != nil {
			return fmt.Errorf("count challenges: %w", err)
		}
		if n >= maxChallenges {
			return lh.Errorf(lh.Unavailable, "too many people are logging in at once; try again in some minutes")
		}
		_, err := t.exec(ctx, `INSERT INTO challenge (hash, kind, user_id, expires, tries, body) VALUES ($1, $2, $3, $4, 0, $5)`,
			hash, c.Kind, c.User, expires, body)
		if err != nil {
			return fmt.Errorf("add challenge: %w", err)
		}
		return nil
	})
}

// Challenge returns a challenge that waits. Unauthenticated: there is none of the kind, or no longer.
func (db *DB) Challenge(ctx context.Context, hash []byte, kind string) (Challenge, error) {
	return db.openChallenge(ctx, hash, kind, db.row(ctx, db.read, `SELECT user_id, expires, body FROM challenge WHERE hash = $1 AND kind = $2`, hash, kind))
}

// TakeChallenge returns a challenge and removes it: of those who bring its secret at once, on any replica, one gets it.
func (db *DB) TakeChallenge(ctx context.Context, hash []byte, kind string) (c Challenge, err error) {
	err = db.update(ctx, func(t *tx) error {
		c, err = db.openChallenge(ctx, hash, kind, db.row(ctx, t, `DELETE FROM challenge WHERE hash = $1 AND kind = $2 RETURNING user_id, expires, body`, hash, kind))
		return err
	})
	return c, err
}

func (db *DB) openChallenge(ctx context.Context, hash []byte, kind string, row *sql.Row) (Challenge, error) {
	c := Challenge{Kind: kind}
	var expires lh.Millis
	var sealed []byte
	err := row.Scan(&c.User, &expires, &sealed)
	if errors.Is(err, sql.ErrNoRows) || err == nil && expires <= lh.MillisOf(db.now()) {
		return c, noChallenge()
	}
	if err != nil {
		return c, fmt.Errorf("read challenge: %w", err)
	}
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return c, err
	}
	c.Body, err = k.Open(sealed, place("challenge", kind, hex.EncodeToString(hash)))
	return c, err
}

// WrongAnswer counts a wrong answer to a challenge; after the most-th it is gone.
func (db *DB) WrongAnswer(ctx context.Context, hash []byte, kind string, most int) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `UPDATE challenge SET tries = tries + 1 WHERE hash = $1 AND kind = $2`, hash, kind)
		if err == nil {
			_, err = t.exec(ctx, `DELETE FROM challenge WHERE hash = $1 AND kind = $2 AND tries >= $3`, hash, kind, most)
		}
		if err != nil {
			return fmt.Errorf("count wrong answer: %w", err)
		}
		return nil
	})
}
