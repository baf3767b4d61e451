package api_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
	"github.com/loggerhead-cloud/loggerhead/internal/notify/notifytest"
)

// post sends the hub's mail by a real mail server, as long as the test lasts.
func (r *rig) post() *notifytest.Server {
	r.t.Helper()
	s := notifytest.Serve(r.t, notifytest.How{})
	r.deliver(s.Sender(notify.StartTLS, false).Send)
	return s
}

func (r *rig) deliver(send func(context.Context, string, notify.Mail) error) {
	q := notify.NewQueue(notify.Config{Outbox: r.db, Waiting: r.db.MailWaiting, Send: send, Now: r.clock.Now, Log: r.logger(), Poll: 5 * time.Millisecond,
		Answer: func(ctx context.Context, it notify.Item) error { return r.access.Answer(ctx, it.ID, *it.Ask) }})
	run, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { q.Run(run); close(done) }()
	r.t.Cleanup(func() { cancel(); <-done })
}

func tokenIn(t *testing.T, l notifytest.Letter) string {
	t.Helper()
	link := l.Link(t)
	if !strings.HasPrefix(link, hubURL+"/link#lhl_") {
		t.Errorf("the link is %s", link)
	}
	_, token, _ := strings.Cut(link, "#")
	return token
}

func (r *rig) postJSON(path string, body any, opts ...option) answer {
	r.t.Helper()
	return r.do("POST", path, body, opts...)
}

func (r *rig) want(status int, a answer) answer {
	r.t.Helper()
	if a.status != status {
		r.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

type object = map[string]any

// TestSignUp: whoever proves an address gets an account with it, once; nobody learns from the answers whether an address
// has one.
func TestSignUp(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t, box := r.t, r.post()
		var here api.Installation
		r.want(200, r.do("GET", "/api/v1/installation", nil)).decode(t, &here)
		if here.SignUp != "open" || here.MinPassword != 10 {
			t.Errorf("%+v", here)
		}
		ask := func(email string) answer { return r.want(202, r.postJSON("/api/v1/sign-up", object{"email": email})) }
		a, b := ask("new@c.example"), ask("Owner@a.example")
		if string(a.body) != string(b.body) || !slices.Equal(names(a.header), names(b.header)) {
			t.Errorf("an address with an account answers %s, one without %s", b.body, a.body)
		}
		if l := box.Wait("owner@a.example", 1); strings.Contains(l.Text, "/link#") || !strings.Contains(l.Text, "have one already") {
			t.Errorf("the owner of the address reads: %s", l.Text)
		}
		first := tokenIn(t, box.Wait("new@c.example", 1))
		ask("new@c.example")
		token := tokenIn(t, box.Wait("new@c.example", 2))
		var l api.Link
		r.want(200, r.postJSON("/api/v1/links/show", object{"token": token})).decode(t, &l)
		if l.Purpose != lh.LinkSignUp || l.Email != "new@c.example" || l.Project {
			t.Errorf("%+v", l)
		}
		gone := r.want(404, r.postJSON("/api/v1/links/show", object{"token": first})) // a later one was asked for
		for _, bad := range []string{"", "lhl_", "lhl_" + strings.Repeat("A", 43), token + "x", strings.ToUpper(token), "lhs_" + token[4:]} {
			if a := r.postJSON("/api/v1/links/show", object{"token": bad}); a.status != 404 || string(a.body) != string(gone.body) {
				t.Errorf("token %q: %d %s", bad, a.status, a.body)
			}
		}
		for _, bad := range []string{"short", "1234567890", "new@c.example", "passwordpassword"} {
			r.want(400, r.postJSON("/api/v1/links/sign-up", object{"token": token, "name": "New", "password": bad}))
		}
		r.want(400, r.postJSON("/api/v1/links/sign-up", object{"token": token, "name": "a\nb", "password": password}))
		r.want(404, r.postJSON("/api/v1/links/password", object{"token": token, "password": password}))
		r.want(404, r.postJSON("/api/v1/links/use", object{"token": token}))
		made := r.want(201, r.postJSON("/api/v1/links/sign-up", object{"token": token, "name": "New", "password": password}))
		if made.header.Get("Set-Cookie") != "" {
			t.Error("signing up logs in, past what logging in asks")
		}
		r.want(404, r.postJSON("/api/v1/links/sign-up", object{"token": token, "name": "Twice", "password": password}))
		in := r.want(200, r.logIn("new@c.example", password))
		var me api.Account
		r.want(200, r.do("GET", "/api/v1/me", nil, cookie(sessionCookie(t, in).Value))).decode(t, &me)
		if me.Email != "new@c.example" || me.Name != "New" || me.Verified == 0 || me.Operator {
			t.Errorf("%+v", me)
		}
	})
}

func names(h http.Header) []string {
	var n []string
	for k := range h {
		n = append(n, k)
	}
	slices.Sort(n)
	return n
}

// TestSignUpByInvitation: where sign-up is closed, only who was invited makes an account, by links that last two weeks.
func TestSignUpByInvitation(t *testing.T) {
	each(t, rigOptions{closed: true}, func(r *rig) {
		t, box := r.t, r.post()
		r.want(403, r.postJSON("/api/v1/sign-up", object{"email": "new@c.example"}))
		op, err := r.db.CreateUser(ctx, lh.User{Email: "op@hub.example", Name: "Op", Operator: true}, passwordHash(t))
		if err != nil {
			t.Fatal(err)
		}
		_, operator := r.session(op.ID)
		invite := func(email string) answer {
			return r.postJSON("/api/v1/users/invitations", object{"email": email}, bearer(operator))
		}
		r.want(403, r.as("owner@a.example", "POST", "/api/v1/users/invitations", object{"email": "new@c.example"}))
		r.want(409, invite("owner@a.example"))
		r.want(400, invite("no address"))
		r.want(202, invite("new@c.example"))
		r.want(202, invite("late@c.example"))
		token, late := tokenIn(t, box.Wait("new@c.example", 1)), tokenIn(t, box.Wait("late@c.example", 1))
		r.want(201, r.postJSON("/api/v1/links/sign-up", object{"token": token, "name": "New", "password": password}))
		r.want(200, r.logIn("new@c.example", password))
		r.clock.Move(14*24*time.Hour + time.Minute)
		r.want(404, r.postJSON("/api/v1/links/sign-up", object{"token": late, "name": "Late", "password": password}))
	})
}

// TestPasswordReset: by a link to the account's own address, once, within an hour; every session ends and the owner hears
// of it. Asking tells nobody anything, and the link is the hub's whatever Host says.
func TestPasswordReset(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t, box := r.t, r.post()
		evil := func(q *http.Request) {
			q.Host = "evil.example"
			q.Header.Set("X-Forwarded-Host", "evil.example")
		}
		ask := func(email string) answer {
			return r.want(202, r.postJSON("/api/v1/password-reset", object{"email": email}, evil))
		}
		a, b := ask("owner@a.example"), ask("nobody@a.example")
		if string(a.body) != string(b.body) || !slices.Equal(names(a.header), names(b.header)) {
			t.Errorf("an address with an account answers %s, one without %s", a.body, b.body)
		}
		old := tokenIn(t, box.Wait("owner@a.example", 1))
		ask("owner@a.example")
		token := tokenIn(t, box.Wait("owner@a.example", 2))
		r.want(404, r.postJSON("/api/v1/links/password", object{"token": old, "password": "an all new password"}))
		session := r.token("owner@a.example")
		r.want(400, r.postJSON("/api/v1/links/password", object{"token": token, "password": "qwertyuiop"}))
		r.want(400, r.postJSON("/api/v1/links/password", object{"token": token, "password": "owner@a.example"}))
		r.want(204, r.postJSON("/api/v1/links/password", object{"token": token, "password": "an all new password"}))
		r.want(404, r.postJSON("/api/v1/links/password", object{"token": token, "password": "and another password"}))
		r.want(401, r.do("GET", "/api/v1/session", nil, bearer(session)))
		r.want(401, r.logIn("owner@a.example", password))
		r.want(200, r.logIn("owner@a.example", "an all new password"))
		if l := box.Wait("owner@a.example", 3); !strings.Contains(l.Text, "was changed") {
			t.Errorf("the owner reads: %s", l.Text)
		}
		r.clock.Move(time.Hour)
		ask("owner@a.example")
		token = tokenIn(t, box.Wait("owner@a.example", 4))
		r.clock.Move(time.Hour + time.Minute)
		r.want(404, r.postJSON("/api/v1/links/password", object{"token": token, "password": "and another password"}))
		for _, l := range box.Letters() {
			if strings.Contains(string(l.Raw), "evil.example") || slices.Contains(l.To, "nobody@a.example") {
				t.Errorf("a letter to %v: %s", l.To, l.Raw)
			}
		}
	})
}

// TestAskingTellsNothing: whether an address has an account shows neither in what is written before the answer nor in how
// long that takes; and nobody floods a box.
func TestAskingTellsNothing(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		took := map[string][]time.Duration{}
		for i := range 40 {
			r.clock.Move(10 * time.Minute)
			for _, email := range []string{"owner@a.example", "nobody@a.example"} {
				begun := time.Now()
				r.want(202, r.postJSON("/api/v1/password-reset", object{"email": email}))
				took[email] = append(took[email], time.Since(begun))
			}
			if n, _, err := r.db.MailWaiting(ctx); err != nil || n != 2*(i+1) {
				t.Fatalf("%d wait, %v", n, err) // nobody answers them in this test
			}
		}
		median := func(ds []time.Duration) time.Duration { slices.Sort(ds); return ds[len(ds)/2] }
		known, unknown := median(took["owner@a.example"]), median(took["nobody@a.example"])
		if known > 3*unknown || unknown > 3*known {
			t.Errorf("with an account %s, without %s", known, unknown)
		}
		r.clock.Move(time.Hour)
		before, _, _ := r.db.MailWaiting(ctx)
		for range 8 {
			r.want(202, r.postJSON("/api/v1/password-reset", object{"email": "owner@a.example"}))
		}
		if n, _, err := r.db.MailWaiting(ctx); err != nil || n-before != 3 {
			t.Errorf("%d mails for eight questions, %v", n-before, err)
		}
		r.want(202, r.postJSON("/api/v1/sign-up", object{"email": "x1@a.example"}))
		r.want(202, r.postJSON("/api/v1/sign-up", object{"email": "x2@a.example"}))
		a := r.want(429, r.postJSON("/api/v1/sign-up", object{"email": "x3@a.example"}))
		if a.header.Get("Retry-After") == "" {
			t.Error("too many questions, and no word of when")
		}
		for _, bad := range []string{"", "x", "a@b.example\r\nBcc: c@d.example", "Ana <a@b.example>", "a@b.example,c@d.example"} {
			r.clock.Move(time.Minute)
			r.want(400, r.postJSON("/api/v1/sign-up", object{"email": bad}))
		}
	})
}

// TestChangeOfAddress: the new address confirms, the old one hears of it and can take the account back for seven days.
func TestChangeOfAddress(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t, box := r.t, r.post()
		me := bearer(r.token("owner@a.example"))
		ask := func(email, pass string) answer {
			return r.postJSON("/api/v1/me/email", object{"email": email, "password": pass}, me)
		}
		r.want(403, ask("new@c.example", "wrong password"))
		r.want(403, ask("new@c.example", ""))
		r.want(400, ask("no address", password))
		other := r.user("taken@c.example")
		free, taken := r.want(202, ask("new@c.example", password)), r.want(202, ask("taken@c.example", password))
		if string(free.body) != string(taken.body) {
			t.Error("the answer tells that the address has an account")
		}
		r.want(409, r.postJSON("/api/v1/links/use", object{"token": tokenIn(t, box.Wait("taken@c.example", 1))}))
		r.want(404, r.postJSON("/api/v1/links/use", object{"token": tokenIn(t, box.Wait("new@c.example", 1))})) // a later one was asked for
		r.want(202, ask("new@c.example", password))
		token := tokenIn(t, box.Wait("new@c.example", 2))
		r.want(200, r.logIn("owner@a.example", password))
		r.want(200, r.postJSON("/api/v1/links/use", object{"token": token}))
		r.want(404, r.postJSON("/api/v1/links/use", object{"token": token}))
		r.want(401, r.logIn("owner@a.example", password))
		r.want(200, r.logIn("new@c.example", password))
		undo := tokenIn(t, box.Wait("owner@a.example", 1))

		// Whoever took it goes on: once more, and a new password.
		thief := bearer(sessionCookie(t, r.logIn("new@c.example", password)).Value)
		r.want(202, r.postJSON("/api/v1/me/email", object{"email": "thief@d.example", "password": password}, thief))
		r.want(200, r.postJSON("/api/v1/links/use", object{"token": tokenIn(t, box.Wait("thief@d.example", 1))}))
		changed := r.want(200, r.do("PUT", "/api/v1/me/password", object{"current": password, "password": "the thief's own one"}, thief))
		var in api.LogIn
		changed.decode(t, &in)

		r.clock.Move(4 * 24 * time.Hour)
		r.want(200, r.do("GET", "/api/v1/me", nil, bearer(in.Token)))
		r.clock.Move(2 * 24 * time.Hour)
		r.want(200, r.postJSON("/api/v1/links/use", object{"token": undo}))
		r.want(401, r.do("GET", "/api/v1/me", nil, bearer(in.Token)))
		r.want(401, r.logIn("thief@d.example", "the thief's own one"))
		r.want(204, r.postJSON("/api/v1/links/password", object{"token": tokenIn(t, box.Wait("owner@a.example", 2)), "password": "mine again, all mine"}))
		r.want(200, r.logIn("owner@a.example", "mine again, all mine"))
		if u, err := r.db.User(ctx, other); err != nil || u.Email != "taken@c.example" {
			t.Errorf("%+v %v", u, err)
		}
		for _, l := range box.Letters() { // what they set up for the way back is void
			if slices.Contains(l.To, "new@c.example") && strings.Contains(l.Text, "Take it back") {
				r.want(404, r.postJSON("/api/v1/links/use", object{"token": tokenIn(t, l)}))
			}
		}
	})
}

// TestUndoEndsAfterAWeek.
func TestUndoEndsAfterAWeek(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		box := r.post()
		r.want(202, r.as("owner@a.example", "POST", "/api/v1/me/email", object{"email": "new@c.example", "password": password}))
		r.want(200, r.postJSON("/api/v1/links/use", object{"token": tokenIn(r.t, box.Wait("new@c.example", 1))}))
		undo := tokenIn(r.t, box.Wait("owner@a.example", 1))
		r.clock.Move(7*24*time.Hour + time.Minute)
		r.want(404, r.postJSON("/api/v1/links/use", object{"token": undo}))
	})
}

// TestChangeOfPassword: it needs the one there is; other sessions end at once, this one goes on under another token.
func TestChangeOfPassword(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t, box := r.t, r.post()
		mine, other := sessionCookie(t, r.logIn("owner@a.example", password)), r.token("owner@a.example")
		change := func(current, to string) answer {
			return r.do("PUT", "/api/v1/me/password", object{"current": current, "password": to}, cookie(mine.Value))
		}
		r.want(403, change("wrong password", "an all new password"))
		r.want(403, change("", "an all new password"))
		for _, bad := range []string{"short", "qwertyuiop", "owner@a.example", strings.Repeat("x", 257)} {
			r.want(400, change(password, bad))
		}
		a := r.want(200, change(password, "an all new password"))
		now := sessionCookie(t, a)
		if now.Value == mine.Value || !now.HttpOnly || !now.Secure {
			t.Errorf("cookie %+v", now)
		}
		r.want(200, r.do("GET", "/api/v1/me", nil, cookie(now.Value)))
		r.want(401, r.do("GET", "/api/v1/me", nil, cookie(mine.Value)))
		r.want(401, r.do("GET", "/api/v1/me", nil, bearer(other)))
		r.want(401, r.logIn("owner@a.example", password))
		r.want(200, r.logIn("owner@a.example", "an all new password"))
		box.Wait("owner@a.example", 1)
		bounded := false
		for range 40 {
			if a := r.do("PUT", "/api/v1/me/password", object{"current": "wrong password", "password": "an all new password"}, cookie(now.Value)); a.status == 429 {
				bounded = true
				break
			}
		}
		if !bounded {
			t.Error("who has a session may guess the password without a bound")
		}
	})
}

// TestSessionList: one sees where one is logged in, and ends it from afar.
func TestSessionList(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		var tokens []string
		for _, agent := range []string{"Firefox/150", "curl/9\x01" + strings.Repeat("x", 400), "phone"} {
			r.clock.Move(time.Minute)
			token := sessionCookie(t, r.logIn("owner@a.example", password)).Value
			tokens = append(tokens, token)
			r.want(200, r.do("GET", "/api/v1/session", nil, cookie(token), header("User-Agent", strings.ReplaceAll(agent, "\x01", "\t"))))
		}
		ss := items[api.LoggedIn](t, r.do("GET", "/api/v1/me/sessions", nil, bearer(tokens[2])))
		if len(ss) != 3 || !ss[0].Current || ss[1].Current || ss[0].Agent != "phone" || ss[2].Agent != "Firefox/150" || ss[0].Address != "127.0.0.1" || ss[0].Used == 0 ||
			len(ss[1].Agent) > 200 || !strings.HasPrefix(ss[1].Agent, "curl/9") || strings.Contains(ss[1].Agent, "\t") {
			t.Fatalf("%+v", ss)
		}
		end := func(token string, id lh.SessionID) answer {
			return r.do("DELETE", "/api/v1/me/sessions/"+string(id), nil, bearer(token))
		}
		theirs, _ := r.session(r.user("other@c.example"))
		foreign, missing := r.want(404, end(tokens[2], theirs)), r.want(404, end(tokens[2], lh.NewSessionID()))
		if string(foreign.body) != string(missing.body) {
			t.Errorf("somebody's session: %s, none: %s", foreign.body, missing.body)
		}
		r.want(204, end(tokens[2], ss[2].ID))
		r.want(401, r.do("GET", "/api/v1/session", nil, bearer(tokens[0])))
		var n api.Ended
		r.want(200, r.postJSON("/api/v1/me/sessions/end-others", nil, bearer(tokens[2]))).decode(t, &n)
		if n.Ended != 1 {
			t.Errorf("%d ended", n.Ended)
		}
		r.want(401, r.do("GET", "/api/v1/session", nil, bearer(tokens[1])))
		r.want(200, r.do("GET", "/api/v1/session", nil, bearer(tokens[2])))
		// Unused, it ends; used, it does not.
		for range 3 {
			r.clock.Move(access.IdleLife - time.Hour)
			if ss := items[api.LoggedIn](t, r.do("GET", "/api/v1/me/sessions", nil, bearer(tokens[2]))); len(ss) != 1 || ss[0].Used < lh.MillisOf(r.clock.Now().Add(-time.Minute)) {
				t.Errorf("%+v", ss)
			}
			if r.clock.Now().After(ss[0].Expires.Time().Add(-access.IdleLife - time.Hour)) {
				break
			}
		}
		r.clock.Move(access.IdleLife + time.Minute)
		r.want(401, r.do("GET", "/api/v1/session", nil, bearer(tokens[2])))
	})
}

// TestDeleteAccount: not while projects would be left without an owner; then all of it goes but its id in the trails.
func TestDeleteAccount(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t, box := r.t, r.post()
		me := r.token("owner@a.example")
		del := func(pass string) answer {
			return r.postJSON("/api/v1/me/delete", object{"password": pass}, bearer(me))
		}
		r.want(403, del("wrong password"))
		r.want(403, del(""))
		if p := r.want(409, del(password)).problem(t); !strings.Contains(p.Detail, "Skjern Å") {
			t.Errorf("the refusal does not name the project: %s", p.Detail)
		}
		second := r.user("second@a.example")
		if err := r.db.SetMember(ctx, r.owner, lh.Member{User: second, Role: lh.RoleOwner}); err != nil {
			t.Fatal(err)
		}
		a := r.want(204, del(password))
		if c := sessionCookie(t, a); c.Value != "" || !c.Expires.Before(time.Now()) {
			t.Errorf("cookie %+v", c)
		}
		r.want(401, r.do("GET", "/api/v1/session", nil, bearer(me)))
		r.want(401, r.logIn("owner@a.example", password))
		if l := box.Wait("owner@a.example", 1); !strings.Contains(l.Text, "was deleted") {
			t.Errorf("they read: %s", l.Text)
		}
		_, token := r.session(second)
		id := r.owner.Actor().ID
		trail := string(r.want(200, r.do("GET", r.path("audit")+"?limit=100", nil, bearer(token))).body)
		if !strings.Contains(trail, id) || !strings.Contains(trail, "member.leave") || strings.Contains(trail, "owner@a.example") {
			t.Errorf("the project's trail: %s", trail)
		}
		u, err := r.db.CreateUser(ctx, lh.User{Email: "owner@a.example", Name: "Another"}, passwordHash(t)) // the address is free again
		if err != nil || string(u.ID) == id {
			t.Errorf("%+v %v", u, err)
		}
	})
}

// TestBarredAccounts: an operator bars an account, and whatever it has ends; not their own.
func TestBarredAccounts(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t, box := r.t, r.post()
		op, err := r.db.CreateUser(ctx, lh.User{Email: "op@hub.example", Name: "Op", Operator: true}, passwordHash(t))
		if err != nil {
			t.Fatal(err)
		}
		_, operator := r.session(op.ID)
		owner := r.owner.Actor().ID
		set := func(user, how string) answer {
			return r.postJSON("/api/v1/users/"+user+"/"+how, nil, bearer(operator))
		}
		r.want(409, set(string(op.ID), "disable"))
		r.want(404, set(string(lh.NewUserID()), "disable"))
		session := r.token("owner@a.example")
		r.want(204, set(owner, "disable"))
		r.want(401, r.do("GET", "/api/v1/session", nil, bearer(session)))
		wrong, right := r.logIn("owner@a.example", "wrong password"), r.logIn("owner@a.example", password)
		if wrong.status != 401 || right.status != 403 {
			t.Errorf("barred: wrong password %d, right one %d", wrong.status, right.status)
		}
		us := items[api.Account](t, r.do("GET", "/api/v1/users?q=OWNER", nil, bearer(operator)))
		if len(us) != 1 || us[0].Disabled == 0 || us[0].Email != "owner@a.example" {
			t.Errorf("%+v", us)
		}
		r.want(202, r.postJSON("/api/v1/password-reset", object{"email": "owner@a.example"}))
		r.want(202, r.postJSON("/api/v1/password-reset", object{"email": "op@hub.example"}))
		box.Wait("op@hub.example", 1) // which was asked for later
		if got := box.Letters(); len(got) != 1 {
			t.Errorf("%d letters", len(got))
		}
		r.want(204, set(owner, "enable"))
		r.want(200, r.logIn("owner@a.example", password))
	})
}

// TestWithoutAMailServer: the log has each link once, for the operator to pass on.
func TestWithoutAMailServer(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		r.deliver(nil)
		a := r.want(202, r.postJSON("/api/v1/sign-up", object{"email": "new@c.example"}))
		if !strings.Contains(string(a.body), "sends no mail") {
			r.t.Errorf("the answer does not say so: %s", a.body)
		}
		var lines []string
		for end := time.Now().Add(10 * time.Second); len(lines) == 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			for line := range strings.Lines(r.log.String()) {
				if strings.Contains(line, "/link#lhl_") {
					lines = append(lines, line)
				}
			}
		}
		if len(lines) != 1 || !strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[0], "to=new@c.example") {
			r.t.Fatalf("%q", lines)
		}
		_, token, _ := strings.Cut(lines[0], "#")
		r.want(201, r.postJSON("/api/v1/links/sign-up", object{"token": strings.TrimSpace(token), "name": "New", "password": password}))
	})
}

// TestVerification: a link proves the address of an account that an operator made.
func TestVerification(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t, box := r.t, r.post()
		r.want(202, r.as("owner@a.example", "POST", "/api/v1/me/verification", nil))
		token := tokenIn(t, box.Wait("owner@a.example", 1))
		var used api.UsedLink
		r.want(200, r.postJSON("/api/v1/links/use", object{"token": token})).decode(t, &used)
		var me api.Account
		r.as("owner@a.example", "GET", "/api/v1/me", nil).decode(t, &me)
		if used.Purpose != lh.LinkVerify || me.Verified == 0 {
			t.Errorf("%+v %+v", used, me)
		}
		r.want(409, r.as("owner@a.example", "POST", "/api/v1/me/verification", nil))
	})
}

// TestLogInMakesItsOwnSession: a token that somebody planted, or had before, is never taken over.
func TestLogInMakesItsOwnSession(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		planted := "lhs_" + strings.Repeat("A", 43)
		_, attacker := r.session(r.user("attacker@c.example"))
		for _, before := range []string{planted, attacker} {
			c := sessionCookie(t, r.want(200, r.logIn("owner@a.example", password, cookie(before))))
			if c.Value == before || len(c.Value) < 40 {
				t.Errorf("logging in with a planted cookie gives %q", c.Value)
			}
		}
		r.want(401, r.do("GET", "/api/v1/session", nil, cookie(planted)))
		var s api.Session
		r.do("GET", "/api/v1/session", nil, cookie(attacker)).decode(t, &s)
		if s.User.Email != "attacker@c.example" {
			t.Errorf("the planted session became %s's", s.User.Email)
		}
	})
}
