package access_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
	"github.com/loggerhead-cloud/loggerhead/internal/notify/notifytest"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// office is a hub's mail: outbox, queue, accounts.
type office struct {
	t     *testing.T
	db    *store.DB
	a     *access.Access
	clock *clock
	reg   *prometheus.Registry
	log   *buffer
	queue *notify.Queue
	stop  func()
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) { b.mu.Lock(); defer b.mu.Unlock(); return b.b.Write(p) }
func (b *buffer) String() string              { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

func eachOffice(t *testing.T, f func(o *office)) {
	storetest.EachOptions(t, func(t *testing.T, so store.Options) {
		c := &clock{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		so.Now = c.now
		o := &office{t: t, clock: c, db: storetest.Open(t, so), stop: func() {}}
		o.a = access.New(access.Options{DB: o.db, Now: c.now, URL: "https://hub.example", SignUpOpen: true})
		f(o)
		o.stop()
	})
}

// open begins to send.
func (o *office) open(send func(context.Context, string, notify.Mail) error) {
	o.stop()
	o.reg, o.log = prometheus.NewRegistry(), &buffer{}
	o.queue = notify.NewQueue(notify.Config{Outbox: o.db, Waiting: o.db.MailWaiting, Send: send, Now: o.clock.now, Log: slog.New(slog.NewTextHandler(o.log, nil)),
		Registerer: o.reg, Poll: 2 * time.Millisecond, Rest: 2 * time.Millisecond,
		Answer: func(ctx context.Context, it notify.Item) error { return o.a.Answer(ctx, it.ID, *it.Ask) }})
	run, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { o.queue.Run(run); close(done) }()
	o.stop = sync.OnceFunc(func() { cancel(); <-done })
}

// until waits for something.
func (o *office) until(what string, ok func() bool) {
	o.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			o.t.Fatalf("%s did not happen; the log says: %s", what, o.log.String())
		}
	}
}

func (o *office) waiting() int {
	o.t.Helper()
	n, _, err := o.db.MailWaiting(ctx)
	if err != nil {
		o.t.Fatal(err)
	}
	return n
}

func (o *office) metric(name, how string) float64 {
	o.t.Helper()
	fs, err := o.reg.Gather()
	if err != nil {
		o.t.Fatal(err)
	}
	for _, f := range fs {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			if how == "" || len(m.Label) == 1 && m.Label[0].GetValue() == how {
				if f.GetType() == dto.MetricType_GAUGE {
					return m.Gauge.GetValue()
				}
				return m.Counter.GetValue()
			}
		}
	}
	o.t.Fatalf("there is no metric %s", name)
	return 0
}

func (o *office) put(to string) {
	o.t.Helper()
	if err := o.db.PutMail(ctx, lh.Millis(3600_000), notify.Mail{To: to, Subject: "Høj vandstand", Text: "Ved Skjern Å.\n"}); err != nil {
		o.t.Fatal(err)
	}
}

// TestMailOutlastsItsServer: while the server is down mail waits, health says so, and it goes out when the server is back,
// each once.
func TestMailOutlastsItsServer(t *testing.T) {
	eachOffice(t, func(o *office) {
		s := notifytest.Serve(o.t, notifytest.How{Auth: true})
		send := s.Sender(notify.StartTLS, true)
		s.Close()
		for _, to := range []string{"a@b.example", "b@b.example", "c@b.example"} {
			o.put(to)
		}
		o.open(send.Send)
		o.until("a failure", func() bool { return o.queue.Problem() != "" && o.metric("loggerhead_mail_failed_total", "later") >= 3 })
		if o.waiting() != 3 || o.metric("loggerhead_mail_waiting", "") != 3 || !strings.Contains(o.queue.Problem(), s.Addr) {
			o.t.Errorf("%d wait; %s", o.waiting(), o.queue.Problem())
		}
		if strings.Contains(o.log.String()+o.queue.Problem(), notifytest.Password) {
			o.t.Error("the log has the password")
		}
		again := notifytest.Serve(o.t, notifytest.How{Addr: s.Addr, Auth: true})
		send.Roots = again.Roots
		o.open(send.Send)
		o.clock.add(2 * time.Minute)
		o.until("an empty outbox", func() bool { return o.waiting() == 0 })
		if n := len(again.Letters()); n != 3 || o.queue.Problem() != "" || o.metric("loggerhead_mail_sent_total", "") != 3 {
			o.t.Errorf("%d letters; %s", n, o.queue.Problem())
		}
		for _, to := range []string{"a@b.example", "b@b.example", "c@b.example"} {
			if l := again.Wait(to, 1); l.Text != "Ved Skjern Å.\n" || !l.TLS {
				o.t.Errorf("%+v", l)
			}
		}
	})
}

// TestMailOutlastsItsHub: what is killed between the server's taking a mail and the outbox's forgetting it sends it again,
// under the same Message-ID; what is killed before sends it once.
func TestMailOutlastsItsHub(t *testing.T) {
	eachOffice(t, func(o *office) {
		s := notifytest.Serve(o.t, notifytest.How{})
		send := s.Sender(notify.StartTLS, false).Send
		o.put("before@b.example")
		it, ok, err := o.db.TakeMail(ctx, 60_000) // and then it is killed
		if err != nil || !ok || it.Mail.To != "before@b.example" || it.Tries != 1 {
			o.t.Fatalf("%+v %v %v", it, ok, err)
		}
		if _, ok, err := o.db.TakeMail(ctx, 60_000); ok || err != nil {
			o.t.Fatalf("two take one mail: %v", err)
		}
		o.clock.add(time.Second)
		o.put("after@b.example")
		it, ok, err = o.db.TakeMail(ctx, 60_000)
		if err != nil || !ok {
			o.t.Fatal(ok, err)
		}
		if err := send(ctx, string(it.ID), *it.Mail); err != nil { // and then it is killed
			o.t.Fatal(err)
		}
		o.clock.add(2 * time.Minute)
		o.open(send)
		o.until("an empty outbox", func() bool { return o.waiting() == 0 })
		s.Wait("before@b.example", 1)
		one, two := s.Wait("after@b.example", 1), s.Wait("after@b.example", 2)
		if one.Head.Get("Message-Id") != two.Head.Get("Message-Id") || one.Head.Get("Message-Id") == "" {
			o.t.Errorf("%q and %q", one.Head.Get("Message-Id"), two.Head.Get("Message-Id"))
		}
		if n := len(s.Letters()); n != 3 {
			o.t.Errorf("%d letters", n)
		}
	})
}

// TestRefusedMailHoldsUpNobody: what the server refuses for good is given up at once, what it cannot take now is tried
// again, what is too old is not sent.
func TestRefusedMailHoldsUpNobody(t *testing.T) {
	eachOffice(t, func(o *office) {
		s := notifytest.Serve(o.t, notifytest.How{})
		s.Refuse("gone@b.example", 550)
		s.Refuse("full@b.example", 452)
		s.Refuse("late@b.example", 452)
		for _, to := range []string{"gone@b.example", "full@b.example", "late@b.example", "fine@b.example"} {
			o.put(to)
		}
		o.open(s.Sender(notify.StartTLS, false).Send)
		s.Wait("fine@b.example", 1)
		o.until("both put off", func() bool { return o.waiting() == 2 && o.metric("loggerhead_mail_failed_total", "later") == 2 })
		if o.metric("loggerhead_mail_failed_total", "refused") != 1 || !strings.Contains(o.log.String(), "refused for good") {
			o.t.Errorf("the log says %s", o.log.String())
		}
		s.Refuse("full@b.example", 0)
		o.clock.add(2 * time.Minute)
		s.Wait("full@b.example", 1)
		o.clock.add(2 * time.Hour)
		o.until("giving up", func() bool { return o.waiting() == 0 })
		if o.metric("loggerhead_mail_failed_total", "expired") != 1 {
			o.t.Error("no mail expired")
		}
		s.Refuse("late@b.example", 0)
		if got := s.Letters(); len(got) != 2 {
			o.t.Errorf("%d letters", len(got))
		}
	})
}

// TestAMailIsSentOnlyOnceByManyHubs.
func TestAMailIsSentOnlyOnceByManyHubs(t *testing.T) {
	eachOffice(t, func(o *office) {
		var mu sync.Mutex
		sent := map[string]int{}
		for range 40 {
			o.put(strings.ToLower(string(lh.NewUserID())) + "@b.example")
		}
		var wg sync.WaitGroup
		run, cancel := context.WithCancel(ctx)
		for range 4 {
			q := notify.NewQueue(notify.Config{Outbox: o.db, Waiting: o.db.MailWaiting, Now: o.clock.now, Log: slog.New(slog.DiscardHandler), Poll: time.Millisecond,
				Send: func(_ context.Context, id string, m notify.Mail) error {
					mu.Lock()
					defer mu.Unlock()
					sent[m.To]++
					return nil
				}})
			wg.Go(func() { q.Run(run) })
		}
		for end := time.Now().Add(20 * time.Second); o.waiting() > 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		cancel()
		wg.Wait()
		for to, n := range sent {
			if n != 1 {
				o.t.Errorf("%s got %d", to, n)
			}
		}
		if len(sent) != 40 || o.waiting() != 0 {
			o.t.Errorf("%d were sent, %d wait", len(sent), o.waiting())
		}
	})
}

// TestOutboxIsSealed: nothing of a mail, a link or a question is readable in the database.
func TestOutboxIsSealed(t *testing.T) {
	o := storetest.Postgres(t)
	db := storetest.Open(t, o)
	a := access.New(access.Options{DB: db, URL: "https://hub.example", SignUpOpen: true})
	url, err := a.InviteUser(ctx, store.Console, "secret@b.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Ask(ctx, lh.LinkSignUp, "secret@c.example", "192.0.2.1"); err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(url, "#")
	for _, v := range storetest.Dump(t, o.URL) {
		for _, secret := range []string{"secret@b.example", "secret@c.example", token, "hub.example", "invited"} {
			if strings.Contains(v, secret) {
				t.Errorf("%q stands in the open: %.100q", secret, v)
			}
		}
	}
}

// TestLinkIsUsedOnce by however many open it at once.
func TestLinkIsUsedOnce(t *testing.T) {
	eachOffice(t, func(o *office) {
		url, err := o.a.InviteUser(ctx, store.Console, "new@b.example")
		if err != nil {
			o.t.Fatal(err)
		}
		_, token, _ := strings.Cut(url, "#")
		var wg sync.WaitGroup
		errs := make([]error, 6)
		for i := range errs {
			wg.Go(func() { _, errs[i] = o.a.SignUp(ctx, token, "New", good, "192.0.2.1") })
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else if c := lh.CodeOf(err); c != lh.NotFound && c != lh.Conflict {
				o.t.Error(err)
			}
		}
		us, err := o.db.Users(ctx)
		if made != 1 || err != nil || len(us) != 1 {
			o.t.Errorf("%d sign-ups, %d accounts, %v", made, len(us), err)
		}
		// It is audited, with no address.
		var actions []string
		err = o.db.AccountAudit(ctx, 0, 100, store.AuditFilter{}, func(e lh.AuditEvent) error {
			actions = append(actions, e.Action)
			if strings.Contains(e.Detail, "b.example") || strings.Contains(e.Detail, "lhl_") {
				return errors.New(e.Detail)
			}
			return nil
		})
		if err != nil || strings.Join(actions, " ") != "account.invite account.create" {
			o.t.Errorf("%v %v", actions, err)
		}
	})
}

// TestUndoTakesBackWhatWasAdded: who gives an account its old address back also removes what was added since to log in
// with, and nothing that was there before.
func TestUndoTakesBackWhatWasAdded(t *testing.T) {
	eachOffice(t, func(o *office) {
		u, err := o.a.CreateUser(ctx, lh.User{Email: "ana@test.example", Name: "Ana"}, good)
		if err != nil {
			o.t.Fatal(err)
		}
		identity := func(subject string) lh.Identity {
			return lh.Identity{ID: lh.NewIdentityID(), User: u.ID, Issuer: "https://id.example", Subject: subject}
		}
		by := lh.Actor{Kind: lh.ActorUser, ID: string(u.ID)}
		if _, err := o.db.AddIdentity(ctx, by, identity("mine")); err != nil {
			o.t.Fatal(err)
		}
		o.clock.add(time.Minute)
		s := notifytest.Serve(o.t, notifytest.How{})
		o.open(s.Sender(notify.StartTLS, false).Send)
		url, err := o.a.MailLink(ctx, by, "", lh.Link{Purpose: lh.LinkEmail, User: u.ID, Email: "thief@test.example"}, "x", func(url string) string { return url + "\n" })
		if err != nil {
			o.t.Fatal(err)
		}
		token := func(url string) string { _, token, _ := strings.Cut(url, "#"); return token }
		if _, err := o.a.UseLink(ctx, token(url), "192.0.2.9"); err != nil {
			o.t.Fatal(err)
		}
		o.clock.add(time.Minute)
		if _, err := o.db.AddIdentity(ctx, by, identity("theirs")); err != nil {
			o.t.Fatal(err)
		}
		if p, err := o.a.UseLink(ctx, token(s.Wait("ana@test.example", 1).Link(o.t)), "192.0.2.1"); err != nil || p != lh.LinkUndo {
			o.t.Fatal(p, err)
		}
		f, err := o.db.Factors(ctx, u.ID)
		if err != nil || len(f.Identities) != 1 || f.Identities[0].Subject != "mine" {
			o.t.Errorf("%+v %v", f.Identities, err)
		}
		if got, err := o.db.User(ctx, u.ID); err != nil || got.Email != "ana@test.example" {
			o.t.Errorf("%+v %v", got, err)
		}
	})
}
