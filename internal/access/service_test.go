package access_test

import (
	"fmt"
	"hash/crc32"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// programs is a project with an owner, on each engine.
type programs struct {
	t     *testing.T
	a     *access.Access
	db    *store.DB
	clock *clock
	owner store.Scope
}

func eachPrograms(t *testing.T, f func(p programs)) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		c := &clock{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		o.Now = c.now
		db := storetest.Open(t, o)
		u, err := db.CreateUser(ctx, lh.User{Email: "ana@test.example", Name: "Ana"}, "x")
		if err != nil {
			t.Fatal(err)
		}
		p, err := db.CreateProject(ctx, u.ID, lh.Project{Name: "Weir", Zone: "UTC"})
		if err != nil {
			t.Fatal(err)
		}
		f(programs{t, access.New(access.Options{DB: db, Now: c.now}), db, c,
			store.NewScope(p.ID, lh.RoleOwner, lh.Actor{Kind: lh.ActorUser, ID: string(u.ID)})})
	})
}

func (p programs) account(a lh.ServiceAccount) lh.ServiceAccount {
	p.t.Helper()
	a.Name, a.Enabled = "reader", true
	if a.Role == "" {
		a.Role = lh.RoleViewer
	}
	a, err := p.db.CreateServiceAccount(ctx, p.owner, a)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

func (p programs) key(program string, expires lh.Millis) (lh.ProgramKey, string) {
	p.t.Helper()
	k, secret, err := p.a.NewKey(ctx, p.owner, lh.ProgramKey{Program: program, Name: "first", Expires: expires})
	if err != nil {
		p.t.Fatal(err)
	}
	return k, secret
}

// TestSecretsTellWhatTheyAre: a secret can be known for one, and a mistyped one for none, with what the documentation
// says alone.
func TestSecretsTellWhatTheyAre(t *testing.T) {
	eachPrograms(t, func(p programs) {
		_, secret := p.key(string(p.account(lh.ServiceAccount{}).ID), 0)
		const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		if len(secret) != 53 || !strings.HasPrefix(secret, "lhk_") || strings.Trim(secret[4:], alphabet) != "" {
			p.t.Fatalf("the key is %q", secret)
		}
		n := new(big.Int)
		for _, c := range secret[47:] {
			n.Add(n.Mul(n, big.NewInt(62)), big.NewInt(int64(strings.IndexRune(alphabet, c))))
		}
		if want := crc32.ChecksumIEEE([]byte(secret[:47])); n.Uint64() != uint64(want) {
			p.t.Errorf("the checksum of %s is %d, want %d", secret, n, want)
		}
		if _, err := p.a.Authenticate(ctx, secret, home); err != nil {
			p.t.Fatal(err)
		}
		for i := range secret {
			bad := []byte(secret)
			bad[i] = alphabet[(strings.IndexByte(alphabet, bad[i])+1)%62]
			_, err := p.a.Authenticate(ctx, string(bad), home)
			wantCode(p.t, fmt.Sprintf("with digit %d changed", i), err, lh.Unauthenticated)
		}
	})
}

// TestServiceAccountStandsOrFalls: a key is good for exactly as long as it, its account and the networks say.
func TestServiceAccountStandsOrFalls(t *testing.T) {
	eachPrograms(t, func(p programs) {
		start := p.clock.now()
		account := p.account(lh.ServiceAccount{Role: lh.RoleEditor, Expires: lh.MillisOf(start.Add(48 * time.Hour)),
			Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:7::/48")}})
		key, secret := p.key(string(account.ID), lh.MillisOf(start.Add(24*time.Hour)))
		who, err := p.a.Authenticate(ctx, secret, home)
		if err != nil || who.Kind != lh.ActorService || who.Service.ID != account.ID || who.Service.Name != "reader" || who.Key != key.ID ||
			who.Actor() != (lh.Actor{Kind: lh.ActorService, ID: string(account.ID), From: home}) {
			p.t.Fatalf("%+v %v", who, err)
		}
		sc, err := p.a.Scope(ctx, who, p.owner.Project())
		if err != nil || sc.Role() != lh.RoleEditor || sc.Actor() != who.Actor() {
			p.t.Errorf("%v %v", sc.Role(), err)
		}
		_, err = p.a.Scope(ctx, who, lh.NewProjectID())
		wantCode(p.t, "another project", err, lh.NotFound)
		for from, want := range map[string]lh.Code{"192.0.2.255": "", "::ffff:192.0.2.9": "", "2001:db8:7::1": "", "192.0.3.1": lh.Forbidden,
			"2001:db8:8::1": lh.Forbidden, "::1": lh.Forbidden} {
			_, err := p.a.Authenticate(ctx, secret, netip.MustParseAddr(from))
			if lh.CodeOf(err) != want {
				p.t.Errorf("from %s: %v", from, err)
			}
		}
		_, err = p.a.Authenticate(ctx, secret, netip.Addr{})
		wantCode(p.t, "from nowhere", err, lh.Forbidden)

		change := func(f func(*lh.ServiceAccount)) {
			p.t.Helper()
			f(&account)
			if err := p.db.ChangeServiceAccount(ctx, p.owner, account); err != nil {
				p.t.Fatal(err)
			}
		}
		// What is asked of a principal later sees the change, within a second.
		change(func(a *lh.ServiceAccount) { a.Role = lh.RoleViewer })
		p.clock.add(time.Second)
		if sc, err := p.a.Scope(ctx, who, p.owner.Project()); err != nil || sc.Role() != lh.RoleViewer {
			p.t.Errorf("a changed role: %v %v", sc.Role(), err)
		}
		change(func(a *lh.ServiceAccount) { a.Enabled = false })
		wantCode(p.t, "switched off", p.a.StillIn(ctx, who), lh.Unauthenticated)
		_, err = p.a.Authenticate(ctx, secret, home)
		wantCode(p.t, "switched off, anew", err, lh.Unauthenticated)
		change(func(a *lh.ServiceAccount) { a.Enabled = true })
		if err := p.a.StillIn(ctx, who); err != nil {
			p.t.Error(err)
		}
		p.clock.add(24*time.Hour - 1001*time.Millisecond)
		if err := p.a.StillIn(ctx, who); err != nil {
			p.t.Error(err)
		}
		p.clock.add(time.Millisecond)
		wantCode(p.t, "an ended key", p.a.StillIn(ctx, who), lh.Unauthenticated)
		_, forever := p.key(string(account.ID), 0)
		if _, err := p.a.Authenticate(ctx, forever, home); err != nil {
			p.t.Error(err)
		}
		p.clock.add(24 * time.Hour)
		_, err = p.a.Authenticate(ctx, forever, home)
		wantCode(p.t, "an expired account", err, lh.Unauthenticated)
	})
}

// TestKeysRotateAndEnd: an old key goes on beside the new one until the time that was set, and a key that is revoked
// ends at once, with every token got by it.
func TestKeysRotateAndEnd(t *testing.T) {
	eachPrograms(t, func(p programs) {
		account := p.account(lh.ServiceAccount{})
		id := string(account.ID)
		old, oldSecret := p.key(id, 0)
		_, token, err := p.a.Exchange(ctx, account.ID, oldSecret, home)
		if err != nil {
			p.t.Fatal(err)
		}
		ends := lh.MillisOf(p.clock.now().Add(time.Minute))
		fresh, secret, err := p.a.RotateKey(ctx, p.owner, lh.ProgramKey{Program: id}, old.ID, ends)
		if err != nil || fresh.Name != "first" || fresh.ID == old.ID {
			p.t.Fatalf("%+v %v", fresh, err)
		}
		for _, s := range []string{oldSecret, secret, token} {
			if _, err := p.a.Authenticate(ctx, s, home); err != nil {
				p.t.Errorf("%.4s: %v", s, err)
			}
		}
		_, _, err = p.a.RotateKey(ctx, p.owner, lh.ProgramKey{Program: id}, old.ID, lh.MillisOf(p.clock.now().Add(access.MaxOverlap+time.Second)))
		wantCode(p.t, "an overlap without end", err, lh.Invalid)
		_, _, err = p.a.RotateKey(ctx, p.owner, lh.ProgramKey{Program: id}, lh.NewKeyID(), ends)
		wantCode(p.t, "no such key", err, lh.NotFound)
		_, _, err = p.a.RotateKey(ctx, p.owner, lh.ProgramKey{Program: string(p.account(lh.ServiceAccount{}).ID)}, old.ID, ends)
		wantCode(p.t, "a key of another account", err, lh.NotFound)
		p.clock.add(time.Minute)
		for _, s := range []string{oldSecret, token} {
			_, err := p.a.Authenticate(ctx, s, home)
			wantCode(p.t, "after the overlap", err, lh.Unauthenticated)
		}
		// A later rotation of the same key does not bring it back.
		if _, _, err := p.a.RotateKey(ctx, p.owner, lh.ProgramKey{Program: id}, old.ID, lh.MillisOf(p.clock.now().Add(time.Hour))); err != nil {
			p.t.Fatal(err)
		}
		_, err = p.a.Authenticate(ctx, oldSecret, home)
		wantCode(p.t, "an ended key that was rotated again", err, lh.Unauthenticated)

		who, token, err := p.a.Exchange(ctx, account.ID, secret, home)
		if err != nil || who.Service.ID != account.ID || !strings.HasPrefix(token, "lht_") {
			p.t.Fatalf("%v %v", who, err)
		}
		byToken, err := p.a.Authenticate(ctx, token, home)
		if err != nil || byToken.Kind != lh.ActorService || byToken.Key != fresh.ID {
			p.t.Fatalf("%+v %v", byToken, err)
		}
		if err := p.db.RevokeKey(ctx, p.owner, id, fresh.ID); err != nil {
			p.t.Fatal(err)
		}
		wantCode(p.t, "a revoked key", p.a.StillIn(ctx, who), lh.Unauthenticated)
		wantCode(p.t, "its token", p.a.StillIn(ctx, byToken), lh.Unauthenticated)
		wantCode(p.t, "revoked twice", p.db.RevokeKey(ctx, p.owner, id, fresh.ID), lh.NotFound)

		_, last := p.key(id, 0)
		_, token, err = p.a.Exchange(ctx, account.ID, last, home)
		if err != nil {
			p.t.Fatal(err)
		}
		if err := p.db.DeleteServiceAccount(ctx, p.owner, account.ID); err != nil {
			p.t.Fatal(err)
		}
		for _, s := range []string{last, token} {
			_, err := p.a.Authenticate(ctx, s, home)
			wantCode(p.t, "of a deleted account", err, lh.Unauthenticated)
		}
	})
}

func TestExchange(t *testing.T) {
	eachPrograms(t, func(p programs) {
		account := p.account(lh.ServiceAccount{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
		_, secret := p.key(string(account.ID), 0)
		_, other := p.key(string(p.account(lh.ServiceAccount{}).ID), 0)
		_, _, unknown := p.a.Exchange(ctx, lh.NewServiceID(), secret, home)
		_, _, wrong := p.a.Exchange(ctx, account.ID, other, home)
		_, _, garbage := p.a.Exchange(ctx, account.ID, "x", home)
		for _, err := range []error{unknown, wrong, garbage} {
			if lh.CodeOf(err) != lh.Unauthenticated || err.Error() != garbage.Error() {
				p.t.Errorf("%v", err)
			}
		}
		_, _, err := p.a.Exchange(ctx, account.ID, secret, netip.MustParseAddr("203.0.113.5"))
		wantCode(p.t, "from a foreign network", err, lh.Forbidden)
		_, token, err := p.a.Exchange(ctx, account.ID, secret, home)
		if err != nil {
			p.t.Fatal(err)
		}
		_, err = p.a.Authenticate(ctx, token, netip.MustParseAddr("203.0.113.5"))
		wantCode(p.t, "a token from a foreign network", err, lh.Forbidden)
		_, _, err = p.a.Exchange(ctx, account.ID, token, home)
		wantCode(p.t, "a token for a secret", err, lh.Unauthenticated)
		p.clock.add(access.TokenLife - time.Millisecond)
		if _, err := p.a.Authenticate(ctx, token, home); err != nil {
			p.t.Error(err)
		}
		p.clock.add(time.Millisecond)
		_, err = p.a.Authenticate(ctx, token, home)
		wantCode(p.t, "an expired token", err, lh.Unauthenticated)

		var bounded error
		for range 100 {
			if _, _, err := p.a.Exchange(ctx, account.ID, "x", home); lh.CodeOf(err) == lh.Exhausted {
				bounded = err
				break
			}
		}
		wantCode(p.t, "many tries", bounded, lh.Exhausted)
		if _, _, err := p.a.Exchange(ctx, account.ID, "x", netip.MustParseAddr("192.0.2.77")); lh.CodeOf(err) != lh.Unauthenticated {
			p.t.Errorf("another address is locked out too: %v", err)
		}
	})
}

// TestNobodyGrantsMoreThanTheyHave: neither by role nor by a scope that is limited.
func TestNobodyGrantsMoreThanTheyHave(t *testing.T) {
	eachPrograms(t, func(p programs) {
		l, err := p.db.CreateLocation(ctx, p.owner, lh.Location{Name: "Weir"})
		if err != nil {
			p.t.Fatal(err)
		}
		as := func(r lh.Role, at ...lh.LocationID) store.Scope {
			return store.NewScope(p.owner.Project(), r, p.owner.Actor(), at...)
		}
		for _, c := range []struct {
			who  store.Scope
			what lh.ServiceAccount
			want lh.Code
		}{
			{as(lh.RoleOwner), lh.ServiceAccount{Role: lh.RoleAdministrator}, ""},
			{as(lh.RoleAdministrator), lh.ServiceAccount{Role: lh.RoleAdministrator}, ""},
			{as(lh.RoleAdministrator), lh.ServiceAccount{Role: lh.RoleEditor, Locations: []lh.LocationID{l.ID}}, ""},
			{as(lh.RoleOwner), lh.ServiceAccount{Role: lh.RoleOwner}, lh.Invalid},
			{as(lh.RoleOwner), lh.ServiceAccount{Role: lh.RoleDevice}, lh.Invalid},
			{as(lh.RoleOwner), lh.ServiceAccount{Role: lh.RoleHub}, lh.Invalid},
			{as(lh.RoleOwner), lh.ServiceAccount{Role: lh.RoleAdministrator, Locations: []lh.LocationID{l.ID}}, lh.Invalid},
			{as(lh.RoleOwner), lh.ServiceAccount{Role: lh.RoleViewer, Locations: []lh.LocationID{lh.NewLocationID()}}, lh.NotFound},
			{as(lh.RoleAdministrator, l.ID), lh.ServiceAccount{Role: lh.RoleViewer, Locations: []lh.LocationID{l.ID}}, lh.Forbidden},
			{as(lh.RoleEditor), lh.ServiceAccount{Role: lh.RoleViewer}, lh.Forbidden},
			{as(lh.RoleViewer), lh.ServiceAccount{Role: lh.RoleViewer}, lh.Forbidden},
			{as(lh.RoleDevice), lh.ServiceAccount{Role: lh.RoleViewer}, lh.NotFound},
			{as(lh.RoleOwner), lh.ServiceAccount{Role: lh.RoleViewer, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}, lh.Invalid},
			{as(lh.RoleOwner), lh.ServiceAccount{Role: lh.RoleViewer, Networks: []netip.Prefix{{}}}, lh.Invalid},
			{store.Scope{}, lh.ServiceAccount{Role: lh.RoleViewer}, lh.NotFound},
		} {
			c.what.Name = "x"
			made, err := p.db.CreateServiceAccount(ctx, c.who, c.what)
			if lh.CodeOf(err) != c.want {
				p.t.Errorf("%s makes %s: %v, want %q", c.who.Role(), c.what.Role, err, c.want)
			}
			if err != nil {
				continue
			}
			if _, _, err := p.a.NewKey(ctx, as(lh.RoleEditor), lh.ProgramKey{Program: string(made.ID)}); lh.CodeOf(err) != lh.Forbidden {
				p.t.Errorf("an editor makes a key: %v", err)
			}
			if err := p.db.DeleteServiceAccount(ctx, as(lh.RoleAdministrator, l.ID), made.ID); lh.CodeOf(err) != lh.Forbidden {
				p.t.Errorf("a limited administrator deletes: %v", err)
			}
		}
	})
}

// TestUseIsRecorded: what programs did adds up in SQL, and when and from where a key was used, at most once a minute.
func TestUseIsRecorded(t *testing.T) {
	eachPrograms(t, func(p programs) {
		account := p.account(lh.ServiceAccount{})
		id := string(account.ID)
		_, secret := p.key(id, 0)
		key := func() lh.ProgramKey {
			p.t.Helper()
			ks, err := p.db.ProgramKeys(ctx, p.owner, id)
			if err != nil || len(ks) != 1 {
				p.t.Fatalf("%v %v", ks, err)
			}
			return ks[0]
		}
		if k := key(); k.Used != 0 || k.UsedFrom.IsValid() || k.Name != "first" {
			p.t.Errorf("a new key: %+v", k)
		}
		ask := func() access.Principal {
			p.t.Helper()
			who, err := p.a.Authenticate(ctx, secret, home)
			if err != nil {
				p.t.Fatal(err)
			}
			return who
		}
		record := func() {
			p.t.Helper()
			if err := p.a.RecordUse(ctx); err != nil {
				p.t.Fatal(err)
			}
		}
		who := ask()
		first := lh.MillisOf(p.clock.now())
		p.a.Count(who, "series", 1, 100)
		p.a.Count(who, "series", 1, 11)
		p.a.Count(who, "latest", 1, 0)
		p.a.Count(access.Principal{Kind: lh.ActorUser}, "series", 1, 1)
		record()
		if k := key(); k.Used != first || k.UsedFrom.String() != "192.0.2.1/32" {
			p.t.Errorf("a used key: %+v", k)
		}
		p.clock.add(59 * time.Second)
		ask()
		record()
		if k := key(); k.Used != first {
			p.t.Errorf("written again within a minute: %+v", k)
		}
		p.clock.add(time.Second)
		ask()
		p.a.Count(who, "series", 1, 5)
		record()
		if k := key(); k.Used != first+60_000 {
			p.t.Errorf("not written after a minute: %+v", k)
		}
		p.clock.add(24 * time.Hour)
		p.a.Count(who, "series", 1, 7)
		record()
		today := lh.MillisOf(p.clock.now()).Day()
		us, err := p.db.Usage(ctx, p.owner, id, today-1, today)
		want := []lh.Usage{{Day: today - 1, Class: "latest", Requests: 1}, {Day: today - 1, Class: "series", Requests: 3, Samples: 116},
			{Day: today, Class: "series", Requests: 1, Samples: 7}}
		if err != nil || fmt.Sprint(us) != fmt.Sprint(want) {
			p.t.Errorf("%v %v, want %v", us, err, want)
		}
		if us, err := p.db.Usage(ctx, p.owner, id, today, today); err != nil || len(us) != 1 {
			p.t.Errorf("one day: %v %v", us, err)
		}
		_, err = p.db.Usage(ctx, store.NewScope(p.owner.Project(), lh.RoleEditor, p.owner.Actor()), id, 0, today)
		wantCode(p.t, "an editor reads the usage", err, lh.Forbidden)
		// What belongs to a project that is gone holds nothing up.
		p.a.Count(access.Principal{Kind: lh.ActorService, Service: lh.ServiceAccount{ID: account.ID, Project: lh.NewProjectID()}}, "series", 1, 1)
		p.a.Count(who, "series", 1, 1)
		record()
		if us, err := p.db.Usage(ctx, p.owner, id, today, today); err != nil || us[0].Samples != 8 {
			p.t.Errorf("after a project that is gone: %v %v", us, err)
		}
	})
}
