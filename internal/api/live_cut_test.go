package api_test

import (
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// cutTime is within what an open stream ends once its reader may listen no longer: a second, and what the machine of a test
// may be late by.
const cutTime = time.Second + soon

// program makes a service account with a key and returns both.
func (r *rig) program(a lh.ServiceAccount) (lh.ServiceAccount, lh.ProgramKey, string) {
	r.t.Helper()
	a.Name, a.Enabled = "Reader", true
	a, err := r.db.CreateServiceAccount(ctx, r.owner, a)
	if err != nil {
		r.t.Fatal(err)
	}
	k, secret, err := r.access.NewKey(ctx, r.owner, lh.ProgramKey{Program: string(a.ID), Name: "first"})
	if err != nil {
		r.t.Fatal(err)
	}
	return a, k, secret
}

// TestRemovalCuts: whoever loses access, by whatever way, hears no more within a second, and asks in vain at once;
// everybody else goes on.
func TestRemovalCuts(t *testing.T) {
	t.Parallel()
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		s := r.site(r.owner, "Here", "1/level")
		member := func(name string, role lh.Role) (email string, id lh.UserID) {
			email = name + "@a.example"
			return email, r.member(email, role)
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		removed, removedID := member("removed", lh.RoleViewer)
		leaver, _ := member("leaver", lh.RoleEditor)
		loggedOut, _ := member("logged-out", lh.RoleViewer)
		elsewhere, elsewhereID := member("logged-out-elsewhere", lh.RoleViewer)
		deleted, deletedID := member("deleted", lh.RoleAdministrator)
		disabled, disabledID := member("disabled", lh.RoleViewer)
		_, revokedKey, revoked := r.program(lh.ServiceAccount{Role: lh.RoleViewer})
		offAccount, _, off := r.program(lh.ServiceAccount{Role: lh.RoleEditor})
		goneAccount, _, goneKey := r.program(lh.ServiceAccount{Role: lh.RoleAdministrator})
		_, _, stays := r.program(lh.ServiceAccount{Role: lh.RoleViewer})
		cases := map[string]struct {
			email, secret string
			cut           func()
			status        int // of the next request
		}{
			"a member who is removed": {removed, "", func() { must(r.db.RemoveMember(ctx, r.owner, removedID)) }, 404},
			"a member who leaves":     {leaver, "", func() { r.as(leaver, "POST", r.path("leave"), nil) }, 404},
			"a session that is ended": {loggedOut, "", func() { r.as(loggedOut, "DELETE", "/api/v1/session", nil) }, 401},
			"a session that is ended remotely": {elsewhere, "", func() {
				ss, err := r.db.Sessions(ctx, elsewhereID)
				must(err)
				must(r.db.EndSessionOf(ctx, lh.Actor{Kind: lh.ActorUser, ID: string(elsewhereID)}, elsewhereID, ss[0].ID))
			}, 401},
			"an account that is deleted":          {deleted, "", func() { must(r.db.DeleteUser(ctx, lh.Actor{Kind: lh.ActorUser, ID: string(deletedID)}, deletedID)) }, 401},
			"an account that is barred":           {disabled, "", func() { must(r.db.SetDisabled(ctx, store.Console, disabledID, true)) }, 401},
			"a key that is revoked":               {"", revoked, func() { must(r.db.RevokeKey(ctx, r.owner, revokedKey.Program, revokedKey.ID)) }, 401},
			"a service account that is off":       {"", off, func() { offAccount.Enabled = false; must(r.db.ChangeServiceAccount(ctx, r.owner, offAccount)) }, 401},
			"a service account that is deleted":   {"", goneKey, func() { must(r.db.DeleteServiceAccount(ctx, r.owner, goneAccount.ID)) }, 401},
			"the owner, who stays":                {"owner@a.example", "", nil, 200},
			"another service account, that stays": {"", stays, nil, 200},
		}
		streams := map[string]*stream{}
		for name, c := range cases {
			streams[name] = r.live(c.email, "", bearer(c.secret))
		}
		at := lh.MillisOf(r.clock.Now())
		r.upload(s, at, 1)
		for name, l := range streams {
			if _, ok := l.sample(soon); !ok {
				t.Errorf("%s hears nothing while they may", name)
			}
		}
		tokens := map[string]string{}
		for name, c := range cases {
			if tokens[name] = c.secret; c.email != "" {
				tokens[name] = r.token(c.email)
			}
		}
		for name, c := range cases {
			if c.cut == nil {
				continue
			}
			cut := time.Now()
			c.cut()
			if a := r.do("GET", r.path(), nil, bearer(tokens[name])); a.status != c.status {
				t.Errorf("%s: the next request: %d, want %d: %s", name, a.status, c.status, a.body)
			}
			if !streams[name].ends(cutTime) {
				t.Errorf("%s still listens", name)
			}
			t.Logf("%s: cut after %s", name, time.Since(cut).Round(time.Millisecond))
		}
		r.upload(s, at+1, 2)
		for name, c := range cases {
			if c.cut != nil {
				continue
			}
			if _, ok := streams[name].sample(soon); !ok {
				t.Errorf("%s hears no more", name)
			}
		}
		if strings.Contains(r.log.String(), "level=ERROR") {
			t.Errorf("logged as faults: %s", r.log)
		}
	})
}

// TestRoleChangeCuts: a member and a program that get fewer locations hear of the others no more within a second, on the
// same stream.
func TestRoleChangeCuts(t *testing.T) {
	t.Parallel()
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		here, there := r.site(r.owner, "Here", "1/level"), r.site(r.owner, "There", "1/level")
		id := r.member("limited@a.example", lh.RoleEditor)
		account, _, secret := r.program(lh.ServiceAccount{Role: lh.RoleEditor})
		streams := map[string]*stream{"member": r.live("limited@a.example", ""), "program": r.live("", "", bearer(secret))}
		at := lh.MillisOf(r.clock.Now())
		r.upload(there, at, 1)
		for name, l := range streams {
			if got, ok := l.sample(soon); !ok || got.ElementID != there.elements[0].ID {
				t.Errorf("%s hears %+v while they may hear all", name, got)
			}
		}
		if a := r.as("owner@a.example", "PATCH", r.path("members", string(id)), map[string]any{"role": "viewer", "locations": []any{here.location.ID}}); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		account.Locations = []lh.LocationID{here.location.ID}
		if err := r.db.ChangeServiceAccount(ctx, r.owner, account); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // what is promised, not what is waited for
		for i := range lh.Millis(5) {
			r.upload(there, at+1+i, 2)
			r.upload(here, at+1+i, 3)
		}
		for name, l := range streams {
			for n := 0; n < 5; n++ {
				got, ok := l.sample(soon)
				if !ok {
					t.Fatalf("%s hears nothing of their own location", name)
				}
				if got.ElementID != here.elements[0].ID {
					t.Errorf("%s hears of another location: %+v", name, got)
				}
			}
		}
	})
}

// TestProjectStateCuts: of a project that is archived people hear on; of one that is about to be destroyed people hear and
// programs do not; of one that is destroyed nobody.
func TestProjectStateCuts(t *testing.T) {
	t.Parallel()
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		s := r.site(r.owner, "Here", "1/level")
		r.member("viewer@a.example", lh.RoleViewer)
		_, _, secret := r.program(lh.ServiceAccount{Role: lh.RoleEditor})
		person, program := r.live("viewer@a.example", ""), r.live("", "", bearer(secret))
		at := lh.MillisOf(r.clock.Now())
		hears := func(what string, l *stream) {
			t.Helper()
			at++
			r.upload(s, at, 1)
			for {
				got, ok := l.sample(soon)
				if !ok {
					t.Fatalf("%s: no sample is heard", what)
				}
				if got.Time == at {
					return
				}
			}
		}
		owner := func(method, path string, want int) {
			t.Helper()
			if a := r.as("owner@a.example", method, path, nil); a.status != want {
				t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
			}
		}
		owner("POST", r.path("archive"), 200)
		hears("archived, a person", person)
		hears("archived, a program", program)
		owner("POST", r.path("restore"), 200)
		owner("DELETE", r.path(), 202)
		if !program.ends(cutTime) {
			t.Error("a program listens to a project that is about to be destroyed")
		}
		if a := r.do("GET", r.path(), nil, bearer(secret)); a.status != 403 || !strings.Contains(a.problem(t).Detail, "going to be destroyed") {
			t.Errorf("a program reads a project that is about to be destroyed: %d %s", a.status, a.body)
		}
		hears("about to be destroyed, a person", person)
		owner("POST", r.path("keep"), 200)
		again := r.live("", "", bearer(secret))
		hears("kept, a program", again)
		owner("DELETE", r.path()+"?now=true&name=Skjern+%C3%85", 204)
		for name, l := range map[string]*stream{"a person": person, "a program": again} {
			if !l.ends(cutTime) {
				t.Errorf("%s listens to a project that is destroyed", name)
			}
		}
	})
}

// TestWatchesEnd: a project that nobody listens to any more is not looked at any more.
func TestWatchesEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.SQLite(t), rigOptions{})
	var ls []*stream
	for range 5 {
		ls = append(ls, r.live("owner@a.example", ""))
	}
	if n := r.api.Watches(); n != 1 {
		t.Errorf("%d watches for one project", n)
	}
	for _, l := range ls {
		l.cancel()
	}
	for deadline := time.Now().Add(5 * time.Second); r.api.Watches() != 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d watches look on", r.api.Watches())
		}
	}
	if _, ok := r.live("owner@a.example", "").next("ping", 0); ok {
		t.Error("a ping at once")
	}
}

// TestBrokenWatchFailsClosed: when it cannot be asked who may listen, nobody does.
func TestBrokenWatchFailsClosed(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.SQLite(t), rigOptions{})
	r.broken = true
	l := r.live("owner@a.example", "")
	if err := r.db.Close(); err != nil {
		t.Fatal(err)
	}
	if !l.ends(cutTime) {
		t.Error("a stream goes on while nobody knows who may listen")
	}
}

// BenchmarkLiveStreams is what it costs to ask who of a thousand readers of one project may go on, and what there is to see:
// for all together, and for each by itself.
func BenchmarkLiveStreams(b *testing.B) {
	o := storetest.SQLite(b)
	db := storetest.Open(b, o)
	a := access.New(access.Options{DB: db})
	sc := storetest.Project(b, db)
	for range 20 {
		storetest.DeviceScope(b, db, sc, "1/level", "2/temp", "3/battery", "4/flow")
	}
	var ps []access.Principal
	for i := range 1000 {
		s := lh.Session{ID: lh.NewSessionID(), User: lh.UserID(sc.Actor().ID), Created: lh.MillisOf(time.Now()), Expires: lh.MaxMillis}
		if err := db.CreateSession(ctx, s, []byte(s.ID)); err != nil {
			b.Fatal(i, err)
		}
		ps = append(ps, access.Principal{Kind: lh.ActorUser, User: lh.User{ID: s.User}, Session: s})
	}
	b.Run("shared", func(b *testing.B) { // twice a second
		look := api.Looker(db, a, sc.Project(), ps)
		for b.Loop() {
			if err := look(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("each-by-itself", func(b *testing.B) { // as it was: once a second each, and what is in the project every two
		for b.Loop() {
			for i, p := range ps {
				if err := a.StillIn(ctx, p); err != nil {
					b.Fatal(err)
				}
				if _, err := a.Scope(ctx, p, sc.Project()); err != nil {
					b.Fatal(err)
				}
				if i%2 == 0 {
					if _, err := db.Devices(ctx, sc); err != nil {
						b.Fatal(err)
					}
					if _, err := db.Elements(ctx, sc); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
	})
}
