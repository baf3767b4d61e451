package store_test

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// TestIdempotencyKeys: a key has one turn at a time; a hub that stops before the change leaves the turn to others, one that
// stops after it leaves the change, and never is it made twice.
func TestIdempotencyKeys(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		now := time.Now()
		o.Now = func() time.Time { return now }
		db := storetest.Open(t, o)
		owner := storetest.Project(t, db)
		h := func(s string) []byte { b := sha256.Sum256([]byte(s)); return b[:] }
		q := store.Idempotent{Actor: h("who"), Key: h("key"), Fingerprint: h("request"), Project: owner.Project()}
		make := func(a *store.Attempt) error {
			_, err := db.CreateLocation(store.WithRequest(ctx, &store.Request{Attempt: a}), owner, lh.Location{Name: "Bridge"})
			return err
		}
		count := func() int {
			ls, err := db.Locations(ctx, owner)
			if err != nil {
				t.Fatal(err)
			}
			return len(ls)
		}
		first, before, err := db.Begin(ctx, q)
		if err != nil || before != nil {
			t.Fatal(before, err)
		}
		other := q
		other.Fingerprint = h("another")
		if _, _, err := db.Begin(ctx, other); !errors.Is(err, store.ErrKeyReused) || lh.CodeOf(err) != lh.Invalid {
			t.Errorf("another request with the key: %v", err)
		}
		if _, _, err := db.Begin(ctx, q); !errors.Is(err, store.ErrUnderWay) || lh.CodeOf(err) != lh.Conflict {
			t.Errorf("the same while it is under way: %v", err)
		}
		// The hub is not heard of any more. Another takes the turn; then the first wakes up.
		now = now.Add(3 * time.Minute)
		second, before, err := db.Begin(ctx, q)
		if err != nil || before != nil || second == nil {
			t.Fatalf("after the first was given up: %v %v", before, err)
		}
		if err := make(first); lh.CodeOf(err) != lh.Conflict || count() != 0 {
			t.Errorf("the first, awake again: %v, %d made", err, count())
		}
		if err := make(second); err != nil || count() != 1 {
			t.Fatalf("the second: %v, %d made", err, count())
		}
		// It stops before the answer is kept.
		now = now.Add(3 * time.Minute)
		_, before, err = db.Begin(ctx, q)
		if err != nil || before == nil || before.Status != 0 || before.Subject == "" {
			t.Fatalf("after the change, without an answer: %+v %v", before, err)
		}
		// The answer comes late after all.
		if err := db.Finish(ctx, second, 201, []byte("made")); err != nil {
			t.Fatal(err)
		}
		_, before, err = db.Begin(ctx, q)
		if err != nil || before == nil || before.Status != 201 || string(before.Answer) != "made" {
			t.Fatalf("with an answer: %+v %v", before, err)
		}
		if err := db.Finish(ctx, second, 500, []byte("another")); err != nil {
			t.Fatal(err)
		}
		if _, before, _ = db.Begin(ctx, q); before == nil || before.Status != 201 {
			t.Errorf("an answer was replaced: %+v", before)
		}
		// What changed nothing is given back.
		q.Key = h("key 2")
		a, _, err := db.Begin(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.GiveBack(ctx, a); err != nil {
			t.Fatal(err)
		}
		if a, before, err = db.Begin(ctx, q); err != nil || a == nil || before != nil {
			t.Errorf("given back: %v %v", before, err)
		}
		if err := make(a); err != nil {
			t.Fatal(err)
		}
		if err := db.GiveBack(ctx, a); err != nil {
			t.Fatal(err)
		}
		if a, before, err = db.Begin(ctx, q); err != nil || a != nil || before == nil || before.Subject == "" {
			t.Errorf("given back after a change: %v %+v %v", a, before, err)
		}
		// After a day nothing is left, and a key may be used anew.
		now = now.Add(25 * time.Hour)
		if n, err := db.DropIdempotency(ctx); err != nil || n != 2 {
			t.Errorf("%d forgotten, %v", n, err)
		}
		q.Key = h("key")
		if a, before, err = db.Begin(ctx, q); err != nil || a == nil || before != nil {
			t.Errorf("a day later: %v %v", before, err)
		}
	})
}
