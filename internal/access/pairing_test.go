package access_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

func TestPairing(t *testing.T) {
	a, db, c := setup(t)
	if _, err := a.CreateUser(ctx, lh.User{Email: "ana@test.example", Name: "Ana"}, good); err != nil {
		t.Fatal(err)
	}
	ana, _, err := a.LogIn(ctx, "ana@test.example", good, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	ask := func() access.Pairing {
		t.Helper()
		c.add(access.PairingLife) // the bound on asking lies behind
		p, err := a.AskPairing(ctx, "a laptop", "198.51.100.7")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	take := func(p access.Pairing) error {
		_, _, err := a.TakePairing(ctx, p.Code, p.Secret)
		return err
	}

	p := ask()
	if len(p.Code) != 9 || p.Code[4] != '-' || !strings.HasPrefix(p.Secret, "lhp_") {
		t.Errorf("%+v", p)
	}
	wantCode(t, "not answered yet", take(p), lh.Unavailable)
	wantCode(t, "the code alone", take(access.Pairing{Code: p.Code, Secret: ask().Secret}), lh.Unauthenticated)
	p = ask()
	wantCode(t, "a secret of nobody", take(access.Pairing{Code: p.Code, Secret: "lhp_x"}), lh.Unauthenticated)
	typed := " " + strings.ToLower(p.Code[:4]+p.Code[5:])
	if got, err := a.Pairing(ctx, ana, typed); err != nil || got.Client != "a laptop" || got.Remote != "198.51.100.7" || got.Secret != "" {
		t.Errorf("what asks: %+v %v", got, err)
	}
	if err := a.AnswerPairing(ctx, ana, typed, true); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "answered twice", a.AnswerPairing(ctx, ana, p.Code, true), lh.NotFound)
	// Of many who bring the secret at once, one is logged in.
	var in atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, token, err := a.TakePairing(ctx, p.Code, p.Secret)
			if err == nil && got.User.ID == ana.User.ID {
				if _, err := a.Authenticate(ctx, token, home); err == nil {
					in.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if in.Load() != 1 {
		t.Errorf("%d sessions of one pairing", in.Load())
	}
	wantCode(t, "used up", take(p), lh.Unauthenticated)

	p = ask()
	if err := a.AnswerPairing(ctx, ana, p.Code, false); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "refused", take(p), lh.Unauthenticated)

	p = ask()
	c.add(access.PairingLife)
	wantCode(t, "too late to allow", a.AnswerPairing(ctx, ana, p.Code, true), lh.NotFound)
	wantCode(t, "too late to ask", take(p), lh.Unauthenticated)

	p = ask()
	if err := a.AnswerPairing(ctx, ana, p.Code, true); err != nil {
		t.Fatal(err)
	}
	c.add(access.PairingLife)
	wantCode(t, "allowed, but not taken in time", take(p), lh.Unauthenticated)

	p = ask()
	if err := a.AnswerPairing(ctx, ana, p.Code, true); err != nil {
		t.Fatal(err)
	}
	if err := db.EndSession(ctx, ana.Session.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "who allowed it was logged out", take(p), lh.Unauthenticated)
}

// TestPairingIsBounded: neither can codes be guessed, nor can a stranger fill the hub with them.
func TestPairingIsBounded(t *testing.T) {
	a, _, _ := setup(t)
	if _, err := a.CreateUser(ctx, lh.User{Email: "ana@test.example", Name: "Ana"}, good); err != nil {
		t.Fatal(err)
	}
	ana, _, err := a.LogIn(ctx, "ana@test.example", good, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	bounded := func(try func() error) bool {
		for range 100 {
			if lh.CodeOf(try()) == lh.Exhausted {
				return true
			}
		}
		return false
	}
	if !bounded(func() error { _, err := a.AskPairing(ctx, "x", "2001:db8::1"); return err }) {
		t.Error("asking has no bound")
	}
	if _, err := a.AskPairing(ctx, "x", "198.51.100.7"); err != nil {
		t.Errorf("others are bounded with them: %v", err)
	}
	if !bounded(func() error { _, err := a.Pairing(ctx, ana, "BBBB-BBBB"); return err }) {
		t.Error("guessing has no bound")
	}
}
