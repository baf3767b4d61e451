package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Bounds of idempotency keys.
const (
	// IdempotencyKept is how long an answer is kept to be given again.
	IdempotencyKept = 24 * time.Hour
	// idempotencyLease is how long an attempt is taken to be under way when nothing is heard of it: longer than any
	// request may take.
	idempotencyLease = 2 * time.Minute
	// MaxIdempotencyKeys is how many keys of one principal are kept at once.
	MaxIdempotencyKeys = 10_000
)

// Attempt is one request's turn at an idempotency key.
type Attempt struct {
	key, turn []byte
	owner     string
}

// Remembered is the answer to the first request with a key.
type Remembered struct {
	Status int
	Answer []byte // opened; what it means is the caller's business
	// Subject is what that request changed; Status is 0 when its answer was lost after that.
	Subject string
}

// Idempotent is a request with an idempotency key: the hashes of who asks, of who asks for what with which key, and of the
// whole request; and the project it concerns, "" for none, whose key seals the answer.
type Idempotent struct {
	Actor, Key, Fingerprint []byte
	Project                 lh.ProjectID
}

// Begin takes a turn at a key, or returns what its first request got. Invalid: the key was used for another request.
// Conflict: that request is under way. Exhausted: this principal has too many keys. A turn whose hub stopped is free
// again after a while; if what it changed was committed, it is never made again: Remembered has a Subject and no Status.
func (db *DB) Begin(ctx context.Context, q Idempotent) (*Attempt, *Remembered, error) {
	a := &Attempt{key: q.Key, turn: make([]byte, 16), owner: installation}
	rand.Read(a.turn) // never fails
	if q.Project != "" {
		a.owner = string(q.Project)
	}
	var r *Remembered
	err := db.update(ctx, func(t *tx) error {
		r = nil
		if _, err := t.exec(ctx, `DELETE FROM idempotency WHERE key_hash = $1 AND created < $2`, q.Key, t.now-lh.Millis(IdempotencyKept.Milliseconds())); err != nil {
			return err
		}
		n, err := t.exec(ctx, `INSERT INTO idempotency (key_hash, actor, owner, fingerprint, attempt, created, lease, subject, status, answer)
			VALUES ($1, $2, $3, $4, $5, $6, $7, '', 0, $8) ON CONFLICT (key_hash) DO NOTHING`,
			q.Key, q.Actor, a.owner, q.Fingerprint, a.turn, t.now, t.now+lh.Millis(idempotencyLease.Milliseconds()), []byte{})
		if err != nil {
			return err
		}
		if n == 1 {
			var keys int
			if err := t.db.row(ctx, t, `SELECT count(*) FROM idempotency WHERE actor = $1`, q.Actor).Scan(&keys); err != nil {
				return err
			}
			if keys > MaxIdempotencyKeys {
				return lh.Errorf(lh.Exhausted, "you have used %d idempotency keys within a day; send without one, or later", keys-1)
			}
			return nil
		}
		r, err = t.remembered(ctx, q, a)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if r != nil {
		return nil, r, nil
	}
	return a, nil, nil
}

// remembered returns what is on record of a key; nil where the turn is free, which it takes.
func (t *tx) remembered(ctx context.Context, q Idempotent, a *Attempt) (*Remembered, error) {
	var r Remembered
	var fingerprint, sealed []byte
	var lease lh.Millis
	var owner string
	err := t.db.row(ctx, t, `SELECT owner, fingerprint, lease, subject, status, answer FROM idempotency WHERE key_hash = $1`, q.Key).
		Scan(&owner, &fingerprint, &lease, &r.Subject, &r.Status, &sealed)
	switch {
	case err != nil:
		return nil, err
	case !bytes.Equal(fingerprint, q.Fingerprint):
		return nil, errKeyReused
	case r.Status == 0 && lease > t.now:
		return nil, errUnderWay
	case r.Status == 0 && r.Subject == "": // whoever had the turn is gone, and changed nothing
		n, err := t.exec(ctx, `UPDATE idempotency SET attempt = $2, lease = $3 WHERE key_hash = $1 AND lease = $4 AND status = 0 AND subject = ''`,
			q.Key, a.turn, t.now+lh.Millis(idempotencyLease.Milliseconds()), lease)
		if err == nil && n == 0 {
			return nil, errUnderWay
		}
		return nil, err
	case r.Status == 0:
		return &r, nil
	}
	k, err := t.db.key(ctx, t, owner)
	if err != nil {
		return nil, err
	}
	r.Answer, err = k.Open(sealed, answerPlace(q.Key))
	return &r, err
}

var (
	errKeyReused = lh.Hide(lh.Invalid, ErrKeyReused, "this Idempotency-Key was used for another request; a new request needs a new key")
	errUnderWay  = lh.Hide(lh.Conflict, ErrUnderWay, "the first request with this Idempotency-Key is still under way; ask again in a moment")
)

// ErrKeyReused and ErrUnderWay are the causes of what [DB.Begin] refuses.
var (
	ErrKeyReused = errors.New("key used for another request")
	ErrUnderWay  = errors.New("key under way")
)

func answerPlace(key []byte) string { return place("idempotency", fmt.Sprintf("%x", key)) }

// attempted notes in a change's transaction that it is made, once and for all. Conflict: the turn was given to another
// request meanwhile; then nothing is changed.
func (t *tx) attempted(ctx context.Context, r *Request, subject string) error {
	if r.Attempt == nil || t.noted {
		return nil
	}
	n, err := t.exec(ctx, `UPDATE idempotency SET subject = $3 WHERE key_hash = $1 AND attempt = $2 AND status = 0`, r.Attempt.key, r.Attempt.turn, subject)
	if err == nil && n == 0 {
		return errUnderWay
	}
	t.noted = true
	return err
}

// Finish keeps the answer of a turn.
func (db *DB) Finish(ctx context.Context, a *Attempt, status int, answer []byte) error {
	k, err := db.key(ctx, db.read, a.owner)
	if err != nil {
		return err
	}
	sealed, err := k.Seal(answer, answerPlace(a.key))
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `UPDATE idempotency SET status = $3, answer = $4 WHERE key_hash = $1 AND attempt = $2 AND status = 0`, a.key, a.turn, status, sealed)
		return err
	})
}

// GiveBack frees a key whose request changed nothing, so that it may be sent again. What was changed stays on record.
func (db *DB) GiveBack(ctx context.Context, a *Attempt) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM idempotency WHERE key_hash = $1 AND attempt = $2 AND status = 0 AND subject = ''`, a.key, a.turn)
		if err == nil { // it is over: whoever asks again is not told to wait
			_, err = t.exec(ctx, `UPDATE idempotency SET lease = 0 WHERE key_hash = $1 AND attempt = $2 AND status = 0`, a.key, a.turn)
		}
		return err
	})
}

// DropIdempotency forgets answers that are old enough and returns how many.
func (db *DB) DropIdempotency(ctx context.Context) (int64, error) {
	var n int64
	err := db.update(ctx, func(t *tx) error {
		var err error
		n, err = t.exec(ctx, `DELETE FROM idempotency WHERE created < $1`, t.now-lh.Millis(IdempotencyKept.Milliseconds()))
		return err
	})
	return n, err
}
