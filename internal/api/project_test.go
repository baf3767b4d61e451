package api_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// outbox returns the mails that wait and takes them out.
func (r *rig) outbox() (mails []notify.Mail) {
	r.t.Helper()
	for range 1000 {
		it, ok, err := r.db.TakeMail(ctx, 1000)
		if err != nil {
			r.t.Fatal(err)
		}
		if !ok {
			return mails
		}
		if it.Mail != nil {
			mails = append(mails, *it.Mail)
		}
		if err := r.db.DropMail(ctx, it.ID); err != nil {
			r.t.Fatal(err)
		}
	}
	r.t.Fatal("the outbox does not end")
	return nil
}

// TestProjectSettings: made with settings, changed one by one, refused when they mean nothing, audited with before and
// after.
func TestProjectSettings(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		var p api.Project
		r.as("owner@a.example", "POST", "/api/v1/projects", map[string]any{"name": "Storå", "zone": "Europe/Copenhagen", "description": "A river", "language": "en-GB",
			"units": map[string]any{"system": "us", "quantities": map[string]string{"temperature": "[degF]"}}, "retention_days": 7}).decode(t, &p)
		if p.Description != "A river" || p.Language != "en-GB" || p.Units.System != "us" || p.Units.Quantities["temperature"] != "[degF]" || p.RetentionDays != 7 || p.Role != lh.RoleOwner {
			t.Errorf("made %+v", p)
		}
		path := "/api/v1/projects/" + string(p.ID)
		p = api.Project{}
		r.as("owner@a.example", "PATCH", path, map[string]any{"units": map[string]any{"system": "metric"}, "description": ""}).decode(t, &p)
		if p.Description != "" || p.Units.System != "metric" || len(p.Units.Quantities) != 0 || p.Name != "Storå" || p.RetentionDays != 7 {
			t.Errorf("changed to %+v", p)
		}
		es := items[api.AuditEvent](t, r.as("owner@a.example", "GET", path+"/audit?action=project.change", nil))
		if len(es) != 1 {
			t.Fatalf("audited as %+v", es)
		}
		b, err := json.Marshal(es[0].Detail)
		if err != nil || !strings.Contains(string(b), "A river") || !strings.Contains(string(b), "before") || !strings.Contains(string(b), "metric") {
			t.Errorf("audited as %s %v", b, err)
		}
		r.user("plain@a.example")
		r.api.Projects.OperatorsCreate = true
		if a := r.as("plain@a.example", "POST", "/api/v1/projects", map[string]any{"name": "x"}); a.status != http.StatusForbidden {
			t.Errorf("where operators make projects, anybody does: %d %s", a.status, a.body)
		}
	})
}

// TestArchivedAreListedApart: an archived project is in the other list, and nowhere gone.
func TestArchivedAreListedApart(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		r.member("viewer@a.example", lh.RoleViewer)
		lists := func(want map[string]int) {
			t.Helper()
			for state, n := range want {
				if got := items[api.Project](t, r.as("viewer@a.example", "GET", "/api/v1/projects"+state, nil)); len(got) != n {
					t.Errorf("%q lists %d, want %d", state, len(got), n)
				}
			}
		}
		lists(map[string]int{"": 1, "?state=archived": 0, "?state=all": 1})
		for range 2 { // twice is once
			var p api.Project
			if r.as("owner@a.example", "POST", r.path("archive"), nil).decode(t, &p); p.Archived == 0 {
				t.Errorf("%+v", p)
			}
		}
		lists(map[string]int{"": 0, "?state=archived": 1, "?state=all": 1})
		if a := r.as("viewer@a.example", "GET", r.path("devices"), nil); a.status != 200 {
			t.Errorf("an archived project cannot be read: %d", a.status)
		}
		for range 2 {
			var p api.Project
			if r.as("owner@a.example", "POST", r.path("restore"), nil).decode(t, &p); p.Archived != 0 {
				t.Errorf("%+v", p)
			}
		}
		lists(map[string]int{"": 1, "?state=archived": 0})
		for _, action := range []string{"project.archive", "project.restore"} {
			if es := items[api.AuditEvent](t, r.as("owner@a.example", "GET", r.path("audit")+"?action="+action, nil)); len(es) != 1 {
				t.Errorf("%s was audited %d times", action, len(es))
			}
		}
	})
}

// whileFrozen are the operations that change something, or may, in a project that is archived or about to be destroyed,
// written out by hand: they take somebody or something out of it, or read.
var whileFrozen = map[string]bool{
	"archive-project": true, "restore-project": true, "delete-project": true, "keep-project": true, "leave-project": true, "remove-member": true,
	"revoke-invitation": true, "revoke-device": true, "delete-service-account": true, "revoke-service-account-key": true,
	"delete-integration": true, "revoke-integration-key": true,
	"create-export": true, "remove-export": true,
}

// TestFrozenOperations: no operation changes a project that is archived or about to be destroyed, but those that take
// somebody out of it. A new operation is refused unless it stands in the table.
func TestFrozenOperations(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		token := r.token("owner@a.example")
		for _, route := range api.Routes() {
			if route.Permission == "" || route.Method == "GET" {
				continue
			}
			c := calls[route.ID](r, r.owner)
			sc := r.owner
			if p := c.path["project"]; p != "" {
				sc = store.NewScope(lh.ProjectID(p), lh.RoleOwner, r.owner.Actor())
			}
			for _, state := range []string{"archived", "doomed"} {
				var err error
				if state == "archived" {
					_, err = r.db.ArchiveProject(ctx, sc, true)
				} else if _, err = r.access.ScheduleDestruction(ctx, sc, lh.MaxMillis); err == nil {
					_, err = r.db.ArchiveProject(ctx, sc, false)
				}
				if err != nil {
					t.Fatal(err)
				}
				if whileFrozen[route.ID] {
					continue
				}
				a := r.send(route.Method, c.url(route, r.owner.Project()), c.body, bearer(token), header("Idempotency-Key", string(lh.NewElementID())))
				if want := map[string]string{"archived": "archived", "doomed": "going to be destroyed"}[state]; a.status != http.StatusConflict || !strings.Contains(string(a.body), want) {
					t.Errorf("%s in a project that is %s: %d %.300s", route.ID, state, a.status, a.body)
				}
			}
			if whileFrozen[route.ID] {
				if a := r.send(route.Method, c.url(route, r.owner.Project()), c.body, bearer(token)); a.status/100 != 2 {
					t.Errorf("%s in a project that is about to be destroyed: %d %.300s", route.ID, a.status, a.body)
				}
			}
			if p, err := r.db.Project(ctx, sc); err == nil && p.Destroy != 0 {
				if _, err := r.access.CancelDestruction(ctx, sc); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := r.db.ArchiveProject(ctx, sc, false); err != nil && lh.CodeOf(err) != lh.NotFound {
				t.Fatal(err)
			}
		}
	})
}

// TestDeletionWithADelay: an owner asks for it, every member sees when, every owner is told by mail and can call it off;
// after it, nothing is there.
func TestDeletionWithADelay(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		r.member("viewer@a.example", lh.RoleViewer)
		r.member("second@a.example", lh.RoleOwner)
		r.outbox()
		get := func() (p api.Project) {
			t.Helper()
			r.as("viewer@a.example", "GET", r.path(), nil).decode(t, &p)
			return p
		}
		before := lh.MillisOf(r.clock.Now())
		a := r.as("owner@a.example", "DELETE", r.path(), nil)
		if a.status != http.StatusAccepted {
			t.Fatalf("%d %s", a.status, a.body)
		}
		week := lh.Millis(7 * 24 * time.Hour / time.Millisecond)
		if at := get().DestroyAt; at < before+week || at > lh.MillisOf(r.clock.Now())+week {
			t.Errorf("is destroyed at %d, asked for at %d", at, before)
		}
		var to []string
		for _, m := range r.outbox() {
			to = append(to, m.To)
			if !strings.Contains(m.Text, "Skjern Å") || !strings.Contains(m.Text, hubURL+"/p/"+string(r.owner.Project())) {
				t.Errorf("mail %+v", m)
			}
		}
		slices.Sort(to)
		if !slices.Equal(to, []string{"owner@a.example", "second@a.example"}) {
			t.Errorf("told %v", to)
		}
		if a := r.as("second@a.example", "POST", r.path("keep"), nil); a.status != 200 || get().DestroyAt != 0 {
			t.Errorf("call it off: %d %s", a.status, a.body)
		}
		if n := len(r.outbox()); n != 2 {
			t.Errorf("%d owners are told that it was called off", n)
		}
		if a := r.as("owner@a.example", "DELETE", r.path(), nil); a.status != http.StatusAccepted {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if n, err := r.engine.DestroyDue(ctx); err != nil || n != 0 {
			t.Errorf("destroyed %d too early: %v", n, err)
		}
		r.clock.Move(7*24*time.Hour + time.Second)
		delete(r.tokens, "viewer@a.example") // which ended meanwhile, unused
		if n, err := r.engine.DestroyDue(ctx); err != nil || n > 1 {
			t.Errorf("destroyed %d: %v", n, err)
		}
		if a := r.as("viewer@a.example", "GET", r.path(), nil); a.status != 404 {
			t.Errorf("after its time: %d %s", a.status, a.body)
		}
	})
}

// TestInvitationsTellNothing: whoever invites learns nothing of whether an address has an account: not by answers, lists,
// errors or mails; nor does whoever is not invited learn of the invitation.
func TestInvitationsTellNothing(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		r.user("known@b.example")
		r.user("eve@b.example")
		r.outbox()
		shape := func(a answer, email string) string {
			var v map[string]any
			if json.Unmarshal(a.body, &v) != nil {
				return string(a.body)
			}
			for _, k := range []string{"id", "created", "sent", "expires", "instance"} {
				delete(v, k)
			}
			b, _ := json.Marshal(v)
			return strings.ReplaceAll(string(b), email, "…")
		}
		ids, digits := map[string]string{}, regexp.MustCompile(`\d{10,}`)
		answers := map[string][]string{}
		for _, email := range []string{"known@b.example", "unknown@b.example"} {
			body := map[string]any{"email": email, "role": "viewer"}
			first := r.as("owner@a.example", "POST", r.path("invitations"), body)
			var i api.Invitation
			first.decode(t, &i)
			ids[email] = string(i.ID)
			second := r.as("owner@a.example", "POST", r.path("invitations"), body)
			again := r.as("owner@a.example", "POST", r.path("invitations", ids[email], "resend"), nil)
			listed := r.as("owner@a.example", "GET", r.path("invitations")+"?q="+email, nil)
			headers := func(a answer) string {
				names := slices.Sorted(maps.Keys(a.header))
				return strings.Join(names, ",")
			}
			answers[email] = []string{shape(first, email), headers(first), shape(second, email), shape(again, email), digits.ReplaceAllString(strings.ReplaceAll(shape(listed, email), ids[email], "id"), "0")}
			if first.status != 201 || second.status != 409 || again.status != 429 {
				t.Errorf("%s: %d %d %d", email, first.status, second.status, again.status)
			}
		}
		if !slices.Equal(answers["known@b.example"], answers["unknown@b.example"]) {
			t.Errorf("answers differ:\n%q\n%q", answers["known@b.example"], answers["unknown@b.example"])
		}
		mails := r.outbox()
		if len(mails) != 2 {
			t.Fatalf("%d mails", len(mails))
		}
		for i := range mails {
			if mails[i].Link == "" || !strings.HasPrefix(mails[i].Link, hubURL+"/link#lhl_") {
				t.Errorf("link %q", mails[i].Link)
			}
			if strings.Contains(mails[i].Text, "Skjern") {
				t.Errorf("a mail to a stranger says what somebody called a project: %s", mails[i].Text)
			}
			mails[i].Text = strings.ReplaceAll(mails[i].Text, mails[i].Link, "…")
			mails[i].To, mails[i].Link = "", ""
		}
		if mails[0] != mails[1] {
			t.Errorf("mails differ: %+v %+v", mails[0], mails[1])
		}
		// Somebody else's invitation is not there, for whoever is not meant.
		missing := r.as("eve@b.example", "POST", "/api/v1/invitations/"+string(lh.NewInvitationID())+"/accept", nil)
		for _, what := range []string{"accept", "decline"} {
			a := r.as("eve@b.example", "POST", "/api/v1/invitations/"+ids["known@b.example"]+"/"+what, nil)
			if a.status != 404 || string(a.body) != string(missing.body) {
				t.Errorf("%s somebody else's invitation: %d %s, missing: %s", what, a.status, a.body, missing.body)
			}
		}
		if os := items[api.Offer](t, r.as("eve@b.example", "GET", "/api/v1/invitations", nil)); len(os) != 0 {
			t.Errorf("eve is offered %+v", os)
		}
		// Whoever is meant accepts.
		os := items[api.Offer](t, r.as("known@b.example", "GET", "/api/v1/invitations", nil))
		if len(os) != 1 || os[0].ProjectName != "Skjern Å" || os[0].Role != lh.RoleViewer || os[0].Inviter != "Owner" {
			t.Fatalf("%+v", os)
		}
		if a := r.as("known@b.example", "GET", r.path(), nil); a.status != 404 {
			t.Errorf("invited and not accepted: %d", a.status)
		}
		var j api.Joined
		if r.as("known@b.example", "POST", "/api/v1/invitations/"+ids["known@b.example"]+"/accept", nil).decode(t, &j); j.ProjectID != r.owner.Project() {
			t.Errorf("%+v", j)
		}
		if a := r.as("known@b.example", "GET", r.path(), nil); a.status != 200 {
			t.Errorf("accepted: %d", a.status)
		}
	})
}

// TestInvitedWithoutAnAccount: whoever has none makes one by the link in the mail and is in the project, with the limits
// they were invited with.
func TestInvitedWithoutAnAccount(t *testing.T) {
	each(t, rigOptions{closed: true}, func(r *rig) {
		t := r.t
		here := r.site(r.owner, "Here", "1/level")
		r.site(r.owner, "There", "1/level")
		r.outbox()
		if a := r.as("owner@a.example", "POST", r.path("invitations"), map[string]any{"email": "New@b.example", "role": "editor", "locations": []any{here.location.ID}}); a.status != 201 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		mails := r.outbox()
		if len(mails) != 1 || mails[0].To != "New@b.example" {
			t.Fatalf("%+v", mails)
		}
		_, token, _ := strings.Cut(mails[0].Link, "#")
		body := map[string]any{"token": token, "name": "New", "password": "a password nobody has"}
		if a := r.do("POST", "/api/v1/links/sign-up", body); a.status != 201 {
			t.Fatalf("sign up: %d %s", a.status, a.body)
		}
		if a := r.do("POST", "/api/v1/links/sign-up", body); a.status != 404 {
			t.Errorf("the link is good twice: %d %s", a.status, a.body)
		}
		a := r.do("POST", "/api/v1/session", map[string]any{"email": "new@b.example", "password": "a password nobody has"})
		var in struct{ Token string }
		a.decode(t, &in)
		if ds := items[any](t, r.do("GET", r.path("devices"), nil, bearer(in.Token))); len(ds) != 1 {
			t.Errorf("sees %d devices", len(ds))
		}
		var p api.Project
		if r.do("GET", r.path(), nil, bearer(in.Token)).decode(t, &p); p.Role != lh.RoleEditor {
			t.Errorf("is %s", p.Role)
		}
	})
}
