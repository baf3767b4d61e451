package store_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// handClock is a clock that is set by hand, for a hub or several.
type handClock struct {
	mu sync.Mutex
	t  time.Time
}

func newHandClock() *handClock { return &handClock{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *handClock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }
func (c *handClock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func notice(to lh.User, p lh.Project) notify.Mail {
	return notify.Mail{To: to.Email, Subject: "destroy", Text: p.Name}
}

// person makes a user that is a member of a project and returns their scope.
func person(t *testing.T, db *store.DB, sc store.Scope, r lh.Role) store.Scope {
	t.Helper()
	u, err := db.CreateUser(ctx, lh.User{Email: strings.ToLower(string(lh.NewUserID())) + "@test.example", Name: "Somebody"}, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.SetMember(ctx, sc, lh.Member{User: u.ID, Role: r}); err != nil {
		t.Fatal(err)
	}
	return store.NewScope(sc.Project(), r, lh.Actor{Kind: lh.ActorUser, ID: string(u.ID)})
}

func events(t *testing.T, db *store.DB, sc store.Scope, action string) (es []lh.AuditEvent) {
	t.Helper()
	if err := db.Audit(ctx, sc, 0, 1000, store.AuditFilter{}, func(e lh.AuditEvent) error {
		if e.Action == action {
			es = append(es, e)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return es
}

// TestChangesOfAProject: settings are checked, changed without losing what somebody else changed meanwhile, and audited
// as they were and as they are.
func TestChangesOfAProject(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		units := lh.Units{System: "us", Quantities: map[string]string{"temperature": "[degF]"}}
		p, err := db.ChangeProject(ctx, sc, func(p *lh.Project) error {
			p.Name, p.Description, p.Language, p.Units, p.Retention = "Storå", "A river", "en-GB", units, 30
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := db.Project(ctx, sc)
		if err != nil || got.Name != "Storå" || got.Description != "A river" || got.Language != "en-GB" || got.Units.System != "us" ||
			got.Units.Quantities["temperature"] != "[degF]" || got.Retention != 30 || got.Zone != p.Zone {
			t.Errorf("%+v %v", got, err)
		}
		es := events(t, db, sc, "project.change")
		var d struct {
			Before, After struct {
				Name      string
				Retention int `json:"retention_days"`
			}
		}
		if len(es) != 1 || json.Unmarshal([]byte(es[0].Detail), &d) != nil || d.Before.Name != "Skjern Å" || d.Before.Retention != 0 || d.After.Name != "Storå" || d.After.Retention != 30 {
			t.Errorf("audited as %+v", es)
		}
		_, err = db.ChangeProject(ctx, sc, func(p *lh.Project) error { p.Language = "tlh"; return nil })
		wantCode(t, "no such language", err, lh.Invalid)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if _, err := db.ChangeProject(ctx, sc, func(p *lh.Project) error { p.Retention++; return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got, err := db.Project(ctx, sc); err != nil || got.Retention != 40 {
			t.Errorf("ten changes at once made %d of 30: %v", got.Retention, err)
		}
	})
}

// TestFrozenProjects: in a project that is archived, or about to be destroyed, people and programs change nothing, not
// even by a scope from before; devices go on, reading goes on, and whoever shall go can go.
func TestFrozenProjects(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for name, freeze := range map[string]func(store.Scope) (undo func() error){
			"archived": func(sc store.Scope) func() error {
				if p, err := db.ArchiveProject(ctx, sc, true); err != nil || p.Archived == 0 {
					t.Fatalf("%+v %v", p, err)
				}
				return func() error { _, err := db.ArchiveProject(ctx, sc, false); return err }
			},
			"doomed": func(sc store.Scope) func() error {
				if p, err := db.ScheduleDestruction(ctx, sc, lh.MaxMillis, notice); err != nil || p.Destroy != lh.MaxMillis {
					t.Fatalf("%+v %v", p, err)
				}
				return func() error { _, err := db.CancelDestruction(ctx, sc, notice); return err }
			},
		} {
			sc := storetest.Project(t, db)
			device, own, els := storetest.DeviceScope(t, db, sc, "a")
			viewer, leaver := person(t, db, sc, lh.RoleViewer), person(t, db, sc, lh.RoleViewer)
			change := func() map[string]error {
				errs := map[string]error{}
				_, errs["settings"] = db.ChangeProject(ctx, sc, func(p *lh.Project) error { p.Name = "x"; return nil })
				_, errs["a location"] = db.CreateLocation(ctx, sc, lh.Location{Name: "x"})
				errs["a device"] = db.ChangeDevice(ctx, sc, device)
				_, errs["an element"] = db.CreateElement(ctx, sc, lh.Element{Name: "x", Meaning: lh.Instantaneous})
				_, errs["a correction"] = db.AddCorrection(ctx, sc, lh.Correction{Element: els[0].ID, To: 9, Kind: lh.CorrectDelete})
				errs["a role"] = db.ChangeMember(ctx, sc, lh.Member{User: lh.UserID(viewer.Actor().ID), Role: lh.RoleEditor})
				_, errs["an invitation"] = db.Invite(ctx, sc, lh.Invitation{Email: string(lh.NewUserID()) + "@test.example", Role: lh.RoleViewer}, testLink)
				_, errs["samples"] = db.DeleteSeries(ctx, sc, store.Deletion{Element: els[0].ID, To: 9, FirstDay: 1})
				return errs
			}
			undo := freeze(sc)
			for what, err := range change() {
				wantCode(t, name+": "+what, err, lh.Conflict)
			}
			if p, err := db.Project(ctx, viewer); err != nil || p.Name != "Skjern Å" {
				t.Errorf("%s: reading: %+v %v", name, p, err)
			}
			row := store.JournalAppend{Scope: own, Device: device.ID, Samples: 1, Body: []byte("x"), Latest: []lh.Latest{{Element: els[0].ID, Sample: lh.Sample{Time: 1, Flag: 1}}}}
			if err := db.AppendJournal(ctx, []store.JournalAppend{row}); err != nil {
				t.Errorf("%s: an upload: %v", name, err)
			}
			if _, err := db.BindElements(ctx, own, device.ID, []lh.Element{{Channel: "new", Name: "new", Meaning: lh.Instantaneous}}); err != nil {
				t.Errorf("%s: a new channel: %v", name, err)
			}
			if err := db.Leave(ctx, leaver); err != nil {
				t.Errorf("%s: leaving: %v", name, err)
			}
			if err := db.RevokeDevice(ctx, sc, device.ID); err != nil {
				t.Errorf("%s: barring a device: %v", name, err)
			}
			if err := undo(); err != nil {
				t.Fatal(err)
			}
			for what, err := range change() {
				if err != nil {
					t.Errorf("no longer %s: %s: %v", name, what, err)
				}
			}
			if err := db.RemoveMember(ctx, sc, lh.UserID(viewer.Actor().ID)); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestDestructionComesLater: a project is destroyed when its time has come, not before; not where it was called off; by
// one hub of several, and by one that was started after; its owners are told.
func TestDestructionComesLater(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		clock := newHandClock()
		o.Now = clock.now
		a, b := storetest.Open(t, o), storetest.Open(t, o)
		doomed, kept, other := storetest.Project(t, a), storetest.Project(t, a), storetest.Project(t, a)
		device, own, els := storetest.DeviceScope(t, a, doomed, "a")
		at := lh.MillisOf(clock.now().Add(7 * 24 * time.Hour))
		for _, sc := range []store.Scope{doomed, kept} {
			if p, err := a.ScheduleDestruction(ctx, sc, at, notice); err != nil || p.Destroy != at {
				t.Fatalf("%+v %v", p, err)
			}
		}
		again, err := b.ScheduleDestruction(ctx, doomed, at+1000, notice)
		if err != nil || again.Destroy != at {
			t.Errorf("asking again moves it to %d: %v", again.Destroy, err)
		}
		mails := 0
		for {
			it, ok, err := a.TakeMail(ctx, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if it.Mail == nil || it.Mail.Text != "Skjern Å" {
				t.Errorf("mail %+v", it)
			}
			mails++
			if err := a.DropMail(ctx, it.ID); err != nil {
				t.Fatal(err)
			}
		}
		if mails != 2 {
			t.Errorf("%d mails to two owners", mails)
		}
		admin := person2(doomed, lh.RoleAdministrator)
		_, err = a.ScheduleDestruction(ctx, admin, at, notice)
		wantCode(t, "an administrator destroys", err, lh.Forbidden)
		_, err = a.CancelDestruction(ctx, admin, notice)
		wantCode(t, "an administrator calls it off", err, lh.Forbidden)
		_, err = a.CancelDestruction(ctx, other, notice)
		wantCode(t, "nothing to call off", err, lh.Conflict)
		clock.move(7*24*time.Hour - time.Millisecond)
		if n, _, err := a.DestroyDue(ctx); err != nil || n != 0 {
			t.Fatalf("too early: %d %v", n, err)
		}
		if _, err := a.CancelDestruction(ctx, kept, notice); err != nil {
			t.Fatal(err)
		}
		clock.move(time.Millisecond)
		// Both hubs, and one that starts only now.
		c := storetest.Open(t, o)
		var wg sync.WaitGroup
		var mu sync.Mutex
		total, cut := 0, []lh.DeviceID{}
		for _, db := range []*store.DB{a, b, c} {
			wg.Go(func() {
				n, ds, err := db.DestroyDue(ctx)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				total += n
				cut = append(cut, ds...)
			})
		}
		wg.Wait()
		if total != 1 || len(cut) != 1 || cut[0] != device.ID {
			t.Errorf("destroyed %d times, with the devices %v", total, cut)
		}
		for name, db := range map[string]*store.DB{"a": a, "b": b, "c": c} {
			db.KeepKeys(0)
			_, err = db.Project(ctx, doomed)
			wantCode(t, "the project at "+name, err, lh.NotFound)
			row := store.JournalAppend{Scope: own, Device: device.ID, Samples: 1, Body: []byte("x"), Latest: []lh.Latest{{Element: els[0].ID, Sample: lh.Sample{Time: 1, Flag: 1}}}}
			wantCode(t, "an upload at "+name, db.AppendJournal(ctx, []store.JournalAppend{row}), lh.NotFound)
			for _, sc := range []store.Scope{kept, other} {
				if p, err := db.Project(ctx, sc); err != nil || p.Destroy != 0 {
					t.Errorf("a project that stays: %+v %v", p, err)
				}
			}
		}
		if err := a.Sweep(ctx); err != nil {
			t.Error(err)
		}
		_, err = a.CancelDestruction(ctx, doomed, notice)
		wantCode(t, "calling it off too late", err, lh.NotFound)
	})
}

func person2(sc store.Scope, r lh.Role) store.Scope {
	return store.NewScope(sc.Project(), r, lh.Actor{Kind: lh.ActorUser, ID: string(lh.NewUserID())})
}

// TestLastOwnersAtOnce: of two owners who leave, step down, are removed or hand the project over at the same moment, one
// stays.
func TestLastOwnersAtOnce(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		dbs := []*store.DB{storetest.Open(t, o), storetest.Open(t, o)}
		me := func(sc store.Scope) lh.UserID { return lh.UserID(sc.Actor().ID) }
		for name, step := range map[string]func(db *store.DB, own, other store.Scope) error{
			"leave": func(db *store.DB, own, _ store.Scope) error { return db.Leave(ctx, own) },
			"step down": func(db *store.DB, own, _ store.Scope) error {
				return db.ChangeMember(ctx, own, lh.Member{User: me(own), Role: lh.RoleViewer})
			},
			"remove the other": func(db *store.DB, own, other store.Scope) error { return db.RemoveMember(ctx, own, me(other)) },
			"demote the other": func(db *store.DB, own, other store.Scope) error {
				return db.ChangeMember(ctx, own, lh.Member{User: me(other), Role: lh.RoleEditor})
			},
			"delete the account": func(db *store.DB, own, _ store.Scope) error { return db.DeleteUser(ctx, own.Actor(), me(own)) },
			"hand over and leave": func(db *store.DB, own, other store.Scope) error {
				if err := db.TransferProject(ctx, own, me(other)); err != nil {
					return err
				}
				return db.Leave(ctx, own)
			},
		} {
			for range 5 {
				first := storetest.Project(t, dbs[0])
				second := person(t, dbs[0], first, lh.RoleOwner)
				pair := [2]store.Scope{first, second}
				var wg sync.WaitGroup
				var errs [2]error
				start := make(chan struct{})
				for i := range pair {
					wg.Go(func() {
						<-start
						errs[i] = step(dbs[i], pair[i], pair[1-i])
					})
				}
				close(start)
				wg.Wait()
				for i, err := range errs {
					if code := lh.CodeOf(err); err != nil && code != lh.Conflict && code != lh.NotFound {
						t.Errorf("%s: owner %d: %v", name, i, err)
					}
				}
				ms, err := dbs[0].Members(ctx, first)
				owners := 0
				for _, m := range ms {
					if m.Role == lh.RoleOwner {
						owners++
					}
				}
				if err != nil || owners == 0 {
					t.Fatalf("%s: the project has %d owners; %v %v; %v", name, owners, errs[0], errs[1], err)
				}
			}
		}
	})
}

// TestGrants: nobody grants more than they have, nobody who could lift a limit is limited, and a location of another
// project is not there.
func TestGrants(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc, other := storetest.Project(t, db), storetest.Project(t, db)
		theirs, err := db.CreateLocation(ctx, other, lh.Location{Name: "Theirs"})
		if err != nil {
			t.Fatal(err)
		}
		here, err := db.CreateLocation(ctx, sc, lh.Location{Name: "Here"})
		if err != nil {
			t.Fatal(err)
		}
		admin, viewer := person(t, db, sc, lh.RoleAdministrator), person(t, db, sc, lh.RoleViewer)
		u := lh.UserID(viewer.Actor().ID)
		for name, c := range map[string]struct {
			by   store.Scope
			m    lh.Member
			want lh.Code
		}{
			"an administrator makes an owner":  {admin, lh.Member{User: u, Role: lh.RoleOwner}, lh.Forbidden},
			"an administrator unmakes one":     {admin, lh.Member{User: lh.UserID(sc.Actor().ID), Role: lh.RoleViewer}, lh.Forbidden},
			"an editor makes a viewer":         {person2(sc, lh.RoleEditor), lh.Member{User: u, Role: lh.RoleViewer}, lh.Forbidden},
			"a limited administrator":          {sc, lh.Member{User: u, Role: lh.RoleAdministrator, Locations: []lh.LocationID{here.ID}}, lh.Invalid},
			"a limited owner":                  {sc, lh.Member{User: u, Role: lh.RoleOwner, Locations: []lh.LocationID{here.ID}}, lh.Invalid},
			"to a location of somebody else's": {sc, lh.Member{User: u, Role: lh.RoleViewer, Locations: []lh.LocationID{here.ID, theirs.ID}}, lh.NotFound},
			"to no location at all":            {sc, lh.Member{User: u, Role: lh.RoleViewer, Locations: []lh.LocationID{"x"}}, lh.NotFound},
			"the device's role":                {sc, lh.Member{User: u, Role: lh.RoleDevice}, lh.Invalid},
			"to nobody":                        {sc, lh.Member{User: lh.NewUserID(), Role: lh.RoleViewer}, lh.NotFound},
			"limited viewer":                   {admin, lh.Member{User: u, Role: lh.RoleViewer, Locations: []lh.LocationID{here.ID}}, ""},
		} {
			wantCode(t, name, db.ChangeMember(ctx, c.by, c.m), c.want)
			if c.m.Role.Valid() && name != "to nobody" && name != "an administrator unmakes one" {
				i := lh.Invitation{Email: string(lh.NewUserID()) + "@test.example", Role: c.m.Role, Locations: c.m.Locations}
				_, err := db.Invite(ctx, c.by, i, testLink)
				wantCode(t, "invitation: "+name, err, c.want)
			}
		}
		_, err = db.Invite(ctx, store.NewScope(sc.Project(), lh.RoleAdministrator, lh.Actor{Kind: lh.ActorService, ID: "svc"}), lh.Invitation{Email: "x@test.example", Role: lh.RoleViewer}, testLink)
		wantCode(t, "a program invites", err, lh.Forbidden)
		wantCode(t, "a program leaves", db.Leave(ctx, store.NewScope(sc.Project(), lh.RoleEditor, lh.Actor{Kind: lh.ActorService, ID: "svc"})), lh.Forbidden)
	})
}
