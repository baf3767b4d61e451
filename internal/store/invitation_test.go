package store_test

import (
	"crypto/rand"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// testLink is the link of an invitation with a token that nobody knows.
func testLink(i lh.Invitation) store.NewLink {
	hash := make([]byte, 32)
	rand.Read(hash)
	return linkWith(hash)(i)
}

func linkWith(hash []byte) func(lh.Invitation) store.NewLink {
	return func(i lh.Invitation) store.NewLink {
		return store.NewLink{Hash: hash, Link: lh.Link{Purpose: lh.LinkInvite, Email: i.Email, Expires: i.Expires, Project: i.Project, Invitation: i.ID},
			Mail: notify.Mail{To: i.Email, Subject: "invited", Text: "invited"}}
	}
}

func account(t *testing.T, db *store.DB, email string) lh.User {
	t.Helper()
	u, err := db.CreateUser(ctx, lh.User{Email: email, Name: "Somebody"}, "x")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func byUser(u lh.User) lh.Actor { return lh.Actor{Kind: lh.ActorUser, ID: string(u.ID)} }

// TestInvitations: an invitation makes a member of whoever has its address, once, in its time, while it stands and while
// whoever sent it could grant it; of nobody else.
func TestInvitations(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		clock := newHandClock()
		o.Now = clock.now
		db := storetest.Open(t, o)
		sc := storetest.Project(t, db)
		here, err := db.CreateLocation(ctx, sc, lh.Location{Name: "Here"})
		if err != nil {
			t.Fatal(err)
		}
		bo, eve := account(t, db, "bo@test.example"), account(t, db, "eve@test.example")
		invite := func(by store.Scope, email string, r lh.Role, at ...lh.LocationID) lh.Invitation {
			t.Helper()
			i, err := db.Invite(ctx, by, lh.Invitation{Email: email, Role: r, Locations: at}, testLink)
			if err != nil {
				t.Fatal(err)
			}
			return i
		}
		i := invite(sc, "BO@test.example", lh.RoleEditor, here.ID)
		if i.Expires != lh.MillisOf(clock.now().Add(14*24*time.Hour)) {
			t.Errorf("expires %d", i.Expires)
		}
		_, err = db.Invite(ctx, sc, lh.Invitation{Email: "bo@test.example", Role: lh.RoleViewer}, testLink)
		wantCode(t, "invited twice", err, lh.Conflict)
		if is, err := db.Invitations(ctx, sc); err != nil || len(is) != 1 || is[0].Email != "BO@test.example" || is[0].Role != lh.RoleEditor || len(is[0].Locations) != 1 {
			t.Errorf("%+v %v", is, err)
		}
		if os, err := db.Offers(ctx, bo); err != nil || len(os) != 1 || os[0].ID != i.ID || os[0].ProjectName != "Skjern Å" || os[0].Role != lh.RoleEditor {
			t.Errorf("%+v %v", os, err)
		}
		if os, err := db.Offers(ctx, eve); err != nil || len(os) != 0 {
			t.Errorf("somebody else is offered %+v %v", os, err)
		}
		_, err = db.AnswerInvitation(ctx, byUser(eve), eve, i.ID, true)
		wantCode(t, "somebody else accepts", err, lh.NotFound)
		_, err = db.AnswerInvitation(ctx, byUser(eve), eve, i.ID, false)
		wantCode(t, "somebody else declines", err, lh.NotFound)
		if p, err := db.AnswerInvitation(ctx, byUser(bo), bo, i.ID, true); err != nil || p != sc.Project() {
			t.Fatal(p, err)
		}
		if m, err := db.Membership(ctx, bo.ID, sc.Project()); err != nil || m.Role != lh.RoleEditor || len(m.Locations) != 1 || m.Locations[0] != here.ID {
			t.Errorf("%+v %v", m, err)
		}
		_, err = db.AnswerInvitation(ctx, byUser(bo), bo, i.ID, true)
		wantCode(t, "accepted twice", err, lh.NotFound)
		_, err = db.Invite(ctx, sc, lh.Invitation{Email: "bo@TEST.example", Role: lh.RoleViewer}, testLink)
		wantCode(t, "a member is invited", err, lh.Conflict)
		if err := db.RemoveMember(ctx, sc, bo.ID); err != nil {
			t.Fatal(err)
		}
		// Declined, taken back, expired, sent again.
		i = invite(sc, "bo@test.example", lh.RoleViewer)
		if _, err := db.AnswerInvitation(ctx, byUser(bo), bo, i.ID, false); err != nil {
			t.Fatal(err)
		}
		i = invite(sc, "bo@test.example", lh.RoleViewer)
		if err := db.RevokeInvitation(ctx, sc, i.ID); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "taken back twice", db.RevokeInvitation(ctx, sc, i.ID), lh.NotFound)
		_, err = db.AnswerInvitation(ctx, byUser(bo), bo, i.ID, true)
		wantCode(t, "taken back", err, lh.NotFound)
		i = invite(sc, "bo@test.example", lh.RoleViewer)
		_, err = db.ResendInvitation(ctx, sc, i.ID, testLink)
		wantCode(t, "sent again at once", err, lh.Exhausted)
		clock.move(14 * 24 * time.Hour)
		_, err = db.AnswerInvitation(ctx, byUser(bo), bo, i.ID, true)
		wantCode(t, "too late", err, lh.NotFound)
		if os, err := db.Offers(ctx, bo); err != nil || len(os) != 0 {
			t.Errorf("offered too late: %+v %v", os, err)
		}
		if again, err := db.ResendInvitation(ctx, sc, i.ID, testLink); err != nil || again.Expires != lh.MillisOf(clock.now().Add(14*24*time.Hour)) {
			t.Errorf("%+v %v", again, err)
		}
		// Whoever sent it can grant it no more.
		admin := person(t, db, sc, lh.RoleAdministrator)
		adminID := lh.UserID(admin.Actor().ID)
		left := invite(admin, "eve@test.example", lh.RoleViewer)
		if err := db.RemoveMember(ctx, sc, adminID); err != nil {
			t.Fatal(err)
		}
		_, err = db.AnswerInvitation(ctx, byUser(eve), eve, left.ID, true)
		wantCode(t, "by somebody who was removed", err, lh.NotFound)
		owner := person(t, db, sc, lh.RoleOwner)
		high, low := invite(owner, "eve@test.example", lh.RoleOwner), invite(owner, "ida@test.example", lh.RoleViewer)
		if err := db.ChangeMember(ctx, sc, lh.Member{User: lh.UserID(owner.Actor().ID), Role: lh.RoleAdministrator}); err != nil {
			t.Fatal(err)
		}
		_, err = db.AnswerInvitation(ctx, byUser(eve), eve, high.ID, true)
		wantCode(t, "an owner by an administrator", err, lh.NotFound)
		ida := account(t, db, "ida@test.example")
		if _, err := db.AnswerInvitation(ctx, byUser(ida), ida, low.ID, true); err != nil {
			t.Errorf("a viewer by who is an administrator now: %v", err)
		}
		deleter := person(t, db, sc, lh.RoleAdministrator)
		last := invite(deleter, "eve@test.example", lh.RoleViewer)
		if err := db.DeleteUser(ctx, deleter.Actor(), lh.UserID(deleter.Actor().ID)); err != nil {
			t.Fatal(err)
		}
		_, err = db.AnswerInvitation(ctx, byUser(eve), eve, last.ID, true)
		wantCode(t, "by an account that is gone", err, lh.NotFound)
		// One is accepted once, also by two at once.
		i = invite(sc, "eve@test.example", lh.RoleViewer)
		var wg sync.WaitGroup
		var errs [8]error
		for n := range errs {
			wg.Go(func() { _, errs[n] = db.AnswerInvitation(ctx, byUser(eve), eve, i.ID, true) })
		}
		wg.Wait()
		good := 0
		for _, err := range errs {
			if err == nil {
				good++
			} else if lh.CodeOf(err) != lh.NotFound {
				t.Error(err)
			}
		}
		if good != 1 {
			t.Errorf("accepted %d times", good)
		}
		// What expired long ago is forgotten.
		clock.move(45 * 24 * time.Hour)
		if err := db.Sweep(ctx); err != nil {
			t.Fatal(err)
		}
		if is, err := db.Invitations(ctx, sc); err != nil || len(is) != 0 {
			t.Errorf("%+v %v", is, err)
		}
	})
}

// TestInvitationLinks: the link in the mail makes an account that is a member, once; a later one, or taking the invitation
// back, voids it.
func TestInvitationLinks(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		clock := newHandClock()
		o.Now = clock.now
		db := storetest.Open(t, o)
		sc := storetest.Project(t, db)
		first, second := []byte("first-hash"), []byte("second-hash")
		i, err := db.Invite(ctx, sc, lh.Invitation{Email: "new@test.example", Role: lh.RoleViewer}, linkWith(first))
		if err != nil {
			t.Fatal(err)
		}
		if l, err := db.Link(ctx, first); err != nil || l.Invitation != i.ID || l.Project != sc.Project() {
			t.Errorf("%+v %v", l, err)
		}
		clock.move(time.Hour)
		if _, err := db.ResendInvitation(ctx, sc, i.ID, linkWith(second)); err != nil {
			t.Fatal(err)
		}
		_, err = db.Link(ctx, first)
		wantCode(t, "the link before", err, lh.NotFound)
		u, l, err := db.SignUp(ctx, second, "New", "hash")
		if err != nil || u.Email != "new@test.example" || l.Invitation != i.ID {
			t.Fatalf("%+v %+v %v", u, l, err)
		}
		if p, err := db.AnswerInvitation(ctx, byUser(u), u, l.Invitation, true); err != nil || p != sc.Project() {
			t.Errorf("%s %v", p, err)
		}
		third := []byte("third-hash")
		if i, err = db.Invite(ctx, sc, lh.Invitation{Email: "other@test.example", Role: lh.RoleViewer}, linkWith(third)); err != nil {
			t.Fatal(err)
		}
		if err := db.RevokeInvitation(ctx, sc, i.ID); err != nil {
			t.Fatal(err)
		}
		_, _, err = db.SignUp(ctx, third, "Other", "hash")
		wantCode(t, "an account by an invitation that was taken back", err, lh.NotFound)
	})
}
