package access_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// TestManyNetworksGuess: an account's password is guessed at slowly by however many networks, and its owner is not locked
// out where they have been before, nor after choosing a new password by mail.
func TestManyNetworksGuess(t *testing.T) {
	a, db, c := setup(t)
	u, err := a.CreateUser(ctx, lh.User{Email: "ana@test.example", Name: "Ana"}, good)
	if err != nil {
		t.Fatal(err)
	}
	p, token, err := a.LogIn(ctx, "ana@test.example", good, "198.51.100.1")
	if err != nil {
		t.Fatal(err)
	}
	// Somebody who knows nothing comes from everywhere.
	guess := func(a *access.Access, email string) (n int) {
		for i := range 100 {
			_, _, err := a.LogIn(ctx, email, "wrong password", netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)}).String())
			if lh.CodeOf(err) == lh.Exhausted {
				break
			}
			n++
		}
		return n
	}
	if n, m := guess(a, "nobody@test.example"), guess(a, "ANA@test.example"); n < 20 || n > 60 || m != n-1 { // the owner's own log-in was one
		t.Errorf("%d guesses of no account, %d of one", n, m)
	}
	_, _, err = a.LogIn(ctx, "ana@test.example", good, "192.0.2.77")
	wantCode(t, "from a new network while it lasts", err, lh.Exhausted)
	if _, _, err := a.LogIn(ctx, "ana@test.example", good, "198.51.100.1:55"); err != nil {
		t.Errorf("the owner, from where they were before: %v", err)
	}
	// Another process, which has only what is stored: where the sessions are used from.
	p.Remote = netip.MustParseAddr("198.51.100.1")
	a.Seen(ctx, p, "test")
	b := access.New(access.Options{DB: db, Now: c.now})
	guess(b, "ana@test.example")
	_, _, err = b.LogIn(ctx, "ana@test.example", good, "192.0.2.77")
	wantCode(t, "from a new network after a restart", err, lh.Exhausted)
	if _, _, err := b.LogIn(ctx, "ANA@test.example", good, "198.51.100.1"); err != nil {
		t.Errorf("the owner, after a restart: %v", err)
	}
	url, err := b.ResetByConsole(ctx, store.Console, u.Email)
	if err != nil {
		t.Fatal(err)
	}
	_, link, _ := strings.Cut(url, "#")
	if err := b.ResetPassword(ctx, link, "another good one", "192.0.2.77"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.LogIn(ctx, "ana@test.example", "another good one", "192.0.2.77"); err != nil {
		t.Errorf("after a new password by mail: %v", err)
	}
	_, err = b.Authenticate(ctx, token, home)
	wantCode(t, "the session before the new password", err, lh.Unauthenticated)
	// From one known network, guessing is as slow as from any.
	n := 0
	for ; n < 20; n++ {
		if _, _, err := b.LogIn(ctx, "ana@test.example", "wrong", "192.0.2.77"); lh.CodeOf(err) == lh.Exhausted {
			break
		}
	}
	if n != 8 {
		t.Errorf("%d guesses from a known network", n)
	}
	c.add(3 * time.Hour)
	if _, _, err := b.LogIn(ctx, "ana@test.example", "another good one", "203.0.113.9"); err != nil {
		t.Errorf("when it is over: %v", err)
	}
}
