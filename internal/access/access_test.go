package access_test

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

var (
	ctx  = context.Background()
	home = netip.MustParseAddr("192.0.2.1")
)

// clock is a hand-set clock.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func setup(t *testing.T) (*access.Access, *store.DB, *clock) {
	c := &clock{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	o := storetest.SQLite(t)
	o.Now = c.now
	db := storetest.Open(t, o)
	return access.New(access.Options{DB: db, Now: c.now}), db, c
}

func wantCode(t *testing.T, what string, err error, code lh.Code) {
	t.Helper()
	if lh.CodeOf(err) != code {
		t.Errorf("%s: got %v (%q), want code %q", what, err, lh.CodeOf(err), code)
	}
}

const good = "correct horse battery"

func TestLogInLifeOfASession(t *testing.T) {
	a, db, c := setup(t)
	for _, bad := range []lh.User{{Email: "ana", Name: "A"}, {Email: "Ana <a@b.example>", Name: "A"}, {Email: "a@b", Name: "A"}, {Email: "a@b.example"}} {
		_, err := a.CreateUser(ctx, bad, good)
		wantCode(t, bad.Email, err, lh.Invalid)
	}
	for _, bad := range []string{"", "short", "ana@test.example", strings.Repeat("x", 300)} {
		_, err := a.CreateUser(ctx, lh.User{Email: "ana@test.example", Name: "A"}, bad)
		wantCode(t, "password "+bad, err, lh.Invalid)
	}
	u, err := a.CreateUser(ctx, lh.User{Email: "Ana@test.example", Name: "Ana"}, good)
	if err != nil {
		t.Fatal(err)
	}
	if _, hash, err := db.UserByEmail(ctx, u.Email); err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("stored hash %q, %v", hash, err)
	}
	_, _, err1 := a.LogIn(ctx, "ana@test.example", "wrong password", "192.0.2.1")
	wantCode(t, "wrong password", err1, lh.Unauthenticated)
	_, _, err2 := a.LogIn(ctx, "bob@test.example", good, "192.0.2.1")
	if err2 == nil || err1.Error() != err2.Error() {
		t.Errorf("an unknown address reads unlike a wrong password: %v, %v", err1, err2)
	}
	p, token, err := a.LogIn(ctx, "ANA@test.example", good, "192.0.2.1")
	if err != nil || p.User.ID != u.ID {
		t.Fatalf("%+v %v", p, err)
	}
	if got, err := a.Authenticate(ctx, token, home); err != nil || got.Kind != lh.ActorUser || got.User != p.User || got.Session != p.Session || got.Actor() != (lh.Actor{Kind: lh.ActorUser, ID: string(u.ID), From: home}) {
		t.Errorf("%+v %v", got, err)
	}
	for _, bad := range []string{"", "lhs_", token + "x", token[:len(token)-1], strings.ToUpper(token), strings.Repeat("lhs_", 1000)} {
		_, err := a.Authenticate(ctx, bad, home)
		wantCode(t, "token "+bad[:min(len(bad), 10)], err, lh.Unauthenticated)
	}
	_, second, err := a.LogIn(ctx, "ana@test.example", good, "192.0.2.1")
	if err != nil || second == token {
		t.Fatal(err)
	}
	if err := a.LogOut(ctx, p); err != nil {
		t.Fatal(err)
	}
	_, err = a.Authenticate(ctx, token, home)
	wantCode(t, "after log-out", err, lh.Unauthenticated)
	if _, err := a.Authenticate(ctx, second, home); err != nil {
		t.Errorf("another session ended too: %v", err)
	}
	c.add(access.SessionLife)
	_, err = a.Authenticate(ctx, second, home)
	wantCode(t, "expired", err, lh.Unauthenticated)
	_, third, err := a.LogIn(ctx, "ana@test.example", good, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.SetPassword(ctx, "ana@test.example", "another good one"); err != nil {
		t.Fatal(err)
	}
	_, err = a.Authenticate(ctx, third, home)
	wantCode(t, "after a new password", err, lh.Unauthenticated)
	_, _, err = a.LogIn(ctx, "ana@test.example", good, "192.0.2.1")
	wantCode(t, "the old password", err, lh.Unauthenticated)
}

func TestTriesAreBounded(t *testing.T) {
	a, _, c := setup(t)
	if _, err := a.CreateUser(ctx, lh.User{Email: "ana@test.example", Name: "Ana"}, good); err != nil {
		t.Fatal(err)
	}
	var err error
	n := 0
	for n = 0; n < 20; n++ {
		if _, _, err = a.LogIn(ctx, "ana@test.example", "wrong", "192.0.2.1"); lh.CodeOf(err) == lh.Exhausted {
			break
		}
	}
	if n != 8 {
		t.Errorf("%d tries, then %v", n, err)
	}
	_, _, err = a.LogIn(ctx, "ana@test.example", good, "192.0.2.1")
	wantCode(t, "right password after too many tries", err, lh.Exhausted)
	if _, _, err = a.LogIn(ctx, "ana@test.example", good, "192.0.2.2"); err != nil {
		t.Errorf("another address is locked out too: %v", err)
	}
	c.add(time.Minute)
	if _, _, err = a.LogIn(ctx, "ana@test.example", good, "192.0.2.1"); err != nil {
		t.Errorf("still locked out after a minute: %v", err)
	}
}

func TestScopesComeFromGrants(t *testing.T) {
	a, db, _ := setup(t)
	sc, other := storetest.Project(t, db), storetest.Project(t, db)
	if _, err := a.CreateUser(ctx, lh.User{Email: "ana@test.example", Name: "Ana", Operator: true}, good); err != nil {
		t.Fatal(err)
	}
	p, _, err := a.LogIn(ctx, "ana@test.example", good, "x")
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Scope(ctx, p, sc.Project())
	wantCode(t, "an operator without a grant", err, lh.NotFound)
	if err := db.SetMember(ctx, sc, lh.Member{User: p.User.ID, Role: lh.RoleViewer}); err != nil {
		t.Fatal(err)
	}
	got, err := a.Scope(ctx, p, sc.Project())
	if err != nil || got.Role() != lh.RoleViewer || got.Allows(lh.PermConfigure) || !got.Allows(lh.PermRead) {
		t.Errorf("%+v %v", got, err)
	}
	_, err = a.Scope(ctx, p, other.Project())
	wantCode(t, "another project", err, lh.NotFound)
	if gs, err := a.Grants(ctx, p); err != nil || len(gs) != 1 || gs[0].Scope.Project() != sc.Project() {
		t.Errorf("%+v %v", gs, err)
	}
}

func TestDeviceByItsKey(t *testing.T) {
	a, db, c := setup(t)
	sc := storetest.Project(t, db)
	d, own, _ := storetest.DeviceScope(t, db, sc, "a")
	_, err := a.Device(ctx, [32]byte{9})
	wantCode(t, "unknown key", err, lh.Unauthenticated)
	cert := store.Certificate{KeyHash: [32]byte{9}, Device: d.ID, Serial: "01", NotAfter: lh.MillisOf(c.now().Add(time.Hour))}
	if err := db.AddCertificate(ctx, own, d.Serial, nil, cert); err != nil {
		t.Fatal(err)
	}
	got, err := a.Device(ctx, cert.KeyHash)
	if err != nil || got.ID != d.ID || got.Project != sc.Project() || !got.Scope.Allows(lh.PermAppend) || got.Scope.Allows(lh.PermRead) {
		t.Errorf("%+v %v", got, err)
	}
	c.add(2 * time.Hour)
	_, err = a.Device(ctx, cert.KeyHash)
	wantCode(t, "expired", err, lh.Unauthenticated)
	c.add(-2 * time.Hour)
	if err := db.RevokeDevice(ctx, sc, d.ID); err != nil {
		t.Fatal(err)
	}
	_, err = a.Device(ctx, cert.KeyHash)
	wantCode(t, "revoked", err, lh.Forbidden)
}
