package access_test

import (
	"fmt"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

func TestNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:1234": "192.0.2.7/32", "192.0.2.7": "192.0.2.7/32", "[::ffff:192.0.2.7]:1": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64", "fe80::1%eth0": "fe80::/64",
		"pipe": "invalid Prefix", "": "invalid Prefix", "192.0.2.7:http": "invalid Prefix", "192.0.2.0/24": "invalid Prefix",
	} {
		if got := access.Network(remote).String(); got != want {
			t.Errorf("%q: %s, want %s", remote, got, want)
		}
	}
}

// TestTriesOfANetworkAreBounded: the addresses of one IPv6 network are one place, whichever accounts are tried from them.
func TestTriesOfANetworkAreBounded(t *testing.T) {
	a, _, _ := setup(t)
	if _, err := a.CreateUser(ctx, lh.User{Email: "ana@test.example", Name: "Ana"}, good); err != nil {
		t.Fatal(err)
	}
	tries := func(email func(i int) string) int {
		t.Helper()
		for i := range 100 {
			_, _, err := a.LogIn(ctx, email(i), "wrong", fmt.Sprintf("2001:db8:1:2::%x", i+1))
			if lh.CodeOf(err) == lh.Exhausted {
				return i
			}
			wantCode(t, "a wrong password", err, lh.Unauthenticated)
		}
		t.Fatal("tries have no bound")
		return 0
	}
	if n := tries(func(int) string { return "ana@test.example" }); n != 8 {
		t.Errorf("%d tries of one account", n)
	}
	if n := tries(func(i int) string { return fmt.Sprintf("%d@test.example", i) }); n > 30-8 {
		t.Errorf("%d more tries of others", n)
	}
	if _, _, err := a.LogIn(ctx, "ana@test.example", good, "2001:db8:1:3::1"); err != nil {
		t.Errorf("another network is locked out too: %v", err)
	}
}
