package notify_test

import (
	"context"
	"crypto/x509"
	"mime"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/loggerhead-cloud/loggerhead/internal/notify"
	"github.com/loggerhead-cloud/loggerhead/internal/notify/notifytest"
)

var ctx = context.Background()

var hello = notify.Mail{To: "ana@test.example", Subject: "Grüße vom Fluß", Text: "Hej Åse,\n\n" + strings.Repeat("høj vandstand ", 30) + "\n.\n..\nFrom here\nslut\n"}

// TestSend: what arrives is what was sent, letter by letter, over TLS, from whom and to whom it says.
func TestSend(t *testing.T) {
	for name, h := range map[string]notifytest.How{"starttls": {}, "implicit": {Implicit: true}, "starttls, log-in": {Auth: true}, "implicit, log-in": {Implicit: true, Auth: true}, "none": {Plain: true}} {
		t.Run(name, func(t *testing.T) {
			s := notifytest.Serve(t, h)
			mode := notify.StartTLS
			if h.Implicit {
				mode = notify.Implicit
			} else if h.Plain {
				mode = notify.NoTLS
			}
			if err := s.Sender(mode, h.Auth).Send(ctx, "eml_1", hello); err != nil {
				t.Fatal(err)
			}
			got := s.Letters()
			if len(got) != 1 {
				t.Fatalf("%d mails arrived", len(got))
			}
			l := got[0]
			subject, err := new(mime.WordDecoder).DecodeHeader(l.Head.Get("Subject"))
			if err != nil || subject != hello.Subject {
				t.Errorf("subject %q, %v", subject, err)
			}
			if text := strings.ReplaceAll(l.Text, "\r\n", "\n"); strings.TrimRight(text, "\n") != strings.TrimRight(hello.Text, "\n") {
				t.Errorf("text\n%q\nwant\n%q", text, hello.Text)
			}
			kind, params, err := mime.ParseMediaType(l.Head.Get("Content-Type"))
			if err != nil || kind != "text/plain" || !strings.EqualFold(params["charset"], "utf-8") {
				t.Errorf("type %q %v", l.Head.Get("Content-Type"), err)
			}
			if l.From != "hub@mail.test" || len(l.To) != 1 || l.To[0] != hello.To || l.Head.Get("To") != "<"+hello.To+">" || !strings.Contains(l.Head.Get("From"), "<hub@mail.test>") {
				t.Errorf("from %q to %v; %v", l.From, l.To, l.Head)
			}
			if l.Head.Get("Auto-Submitted") != "auto-generated" || l.Head.Get("Message-Id") != "<eml_1@mail.test>" || l.Head.Get("Date") == "" || l.Head.Get("User-Agent")+l.Head.Get("X-Mailer") != "" {
				t.Errorf("head %v", l.Head)
			}
			if l.TLS == h.Plain {
				t.Errorf("over TLS: %v", l.TLS)
			}
			if s.LogIns() != map[bool]int{true: 1}[h.Auth] {
				t.Errorf("%d log-ins", s.LogIns())
			}
			for line := range strings.Lines(string(l.Raw)) {
				if len(line) > 1000 {
					t.Errorf("a line has %d bytes", len(line))
				}
			}
		})
	}
}

// TestNoSendingInPlaintext: no mail, and no password, goes to a server that does not prove who it is.
func TestNoSendingInPlaintext(t *testing.T) {
	fails := func(name string, s *notifytest.Server, c notify.SMTP) {
		t.Helper()
		err := c.Send(ctx, "eml_1", hello)
		if err == nil || notify.Refused(err) || len(s.Letters()) > 0 || s.LogIns() > 0 {
			t.Errorf("%s: %v, %d mails, %d log-ins", name, err, len(s.Letters()), s.LogIns())
		}
		if err != nil && strings.Contains(err.Error(), notifytest.Password) {
			t.Errorf("%s: the error says the password", name)
		}
	}
	s := notifytest.Serve(t, notifytest.How{Plain: true})
	fails("no STARTTLS is offered", s, s.Sender(notify.StartTLS, false))
	fails("no STARTTLS is offered, with log-in", s, s.Sender(notify.StartTLS, true))
	fails("no TLS at all", s, s.Sender(notify.Implicit, false))
	s = notifytest.Serve(t, notifytest.How{})
	c := s.Sender(notify.StartTLS, true)
	c.Roots = x509.NewCertPool()
	fails("of nobody's authority", s, c)
	c.Roots = nil
	fails("of no authority of the system's", s, c)
	s = notifytest.Serve(t, notifytest.How{Host: "other.test"})
	fails("another's certificate", s, s.Sender(notify.StartTLS, true))
	s = notifytest.Serve(t, notifytest.How{Implicit: true, Host: "other.test"})
	fails("another's certificate, implicit", s, s.Sender(notify.Implicit, true))
	s = notifytest.Serve(t, notifytest.How{Auth: true})
	fails("no log-in", s, s.Sender(notify.StartTLS, false))
	c = s.Sender(notify.StartTLS, true)
	c.PasswordFile = notifytest.PasswordFile(t, "another password", 0o600)
	fails("the wrong password", s, c)
	for name, p := range map[string]string{"readable by others": notifytest.PasswordFile(t, notifytest.Password, 0o644), "empty": notifytest.PasswordFile(t, "", 0o600), "not there": "/nonexistent/x"} {
		c.PasswordFile = p
		fails("a password file that is "+name, s, c)
	}
}

// TestServersThatDoNotAnswer cost their time and no more.
func TestServersThatDoNotAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // takes connections and says nothing
		var kept []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				for _, c := range kept {
					c.Close()
				}
				return
			}
			kept = append(kept, c)
		}
	}()
	for _, mode := range []string{notify.StartTLS, notify.Implicit} {
		begun := time.Now()
		c := notify.SMTP{Address: l.Addr().String(), TLS: mode, From: "hub@mail.test", Timeout: 300 * time.Millisecond}
		if err := c.Send(ctx, "eml_1", hello); err == nil || notify.Refused(err) {
			t.Errorf("%s: %v", mode, err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s took %s", mode, took)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := (notify.SMTP{Address: l.Addr().String(), TLS: notify.StartTLS, From: "hub@mail.test"}).Send(ended, "eml_1", hello); err == nil {
		t.Error("sent although it was told to stop")
	}
}

// TestWhatIsRefusedForGood: a refusal of this mail ends it, whatever else goes wrong does not.
func TestWhatIsRefusedForGood(t *testing.T) {
	s := notifytest.Serve(t, notifytest.How{})
	c := s.Sender(notify.StartTLS, false)
	for code, refused := range map[int]bool{550: true, 553: true, 450: false, 451: false, 421: false} {
		s.Refuse("ana@test.example", code)
		if err := c.Send(ctx, "eml_1", hello); err == nil || notify.Refused(err) != refused {
			t.Errorf("recipient, %d: %v", code, err)
		}
	}
	s.Refuse("ana@test.example", 0)
	for code, refused := range map[int]bool{554: true, 552: true, 452: false} {
		s.RefuseText(code)
		if err := c.Send(ctx, "eml_1", hello); err == nil || notify.Refused(err) != refused {
			t.Errorf("text, %d: %v", code, err)
		}
	}
	if len(s.Letters()) != 0 {
		t.Errorf("%d mails", len(s.Letters()))
	}
}

// TestNothingIsSmuggledIn: what would write a header, a second recipient or a command is no mail.
func TestNothingIsSmuggledIn(t *testing.T) {
	s := notifytest.Serve(t, notifytest.How{})
	c := s.Sender(notify.StartTLS, false)
	bad := map[string]notify.Mail{}
	for _, to := range []string{"", "ana", "ana@test", "a@b.example\r\nBcc: c@d.example", "a@b.example,c@d.example", "a@b.example, c@d.example", "<a@b.example>", "Ana <a@b.example>",
		"a@b.example\x00", "a b@c.example", "\"a\r\nRCPT TO:<x@y.example>\"@b.example", "\"a b\"@c.example", "a@[127.0.0.1]", "a@b.example\n", "a@b.example\u2028x", strings.Repeat("a", 300) + "@b.example", "a@@b.example"} {
		bad["to "+to] = notify.Mail{To: to, Subject: "x", Text: "x"}
	}
	for _, subject := range []string{"", "x\r\nBcc: c@d.example", "x\ny", "x\ry", "x\x00", "x\u0085y", "\xff", "x\u2029y", strings.Repeat("x", 300)} {
		bad["subject "+subject] = notify.Mail{To: "a@b.example", Subject: subject, Text: "x"}
	}
	for _, text := range []string{"", "a\x00b", "a\r\n.\r\nMAIL FROM:<x@y.example>\r\n", "\xff", strings.Repeat("x", 1<<17)} {
		bad["text "+text[:min(len(text), 20)]] = notify.Mail{To: "a@b.example", Subject: "x", Text: text}
	}
	for name, m := range bad {
		if err := m.Check(); err == nil {
			t.Errorf("%q passes", name)
		}
		if err := c.Send(ctx, "eml_1", m); err == nil || !notify.Refused(err) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if len(s.Letters()) != 0 {
		t.Errorf("%d mails arrived", len(s.Letters()))
	}
	// What looks like the end of a mail is text.
	if err := c.Send(ctx, "eml_1", notify.Mail{To: "o'neil+tag@sub.test.example", Subject: "=?utf-8?q?x?=", Text: "a\n.\nRCPT TO:<x@y.example>\n"}); err != nil {
		t.Fatal(err)
	}
	if l := s.Letters(); len(l) != 1 || !strings.Contains(l[0].Text, "\nRCPT TO:") && !strings.Contains(l[0].Text, "\r\nRCPT TO:") || len(l[0].To) != 1 {
		t.Errorf("%+v", l)
	}
}

func TestCheck(t *testing.T) {
	good := notify.SMTP{Address: "smtp.example.org:587", TLS: notify.StartTLS, From: "hub@example.org", User: "u", PasswordFile: "f"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(*notify.SMTP){
		"no port": func(s *notify.SMTP) { s.Address = "smtp.example.org" }, "port": func(s *notify.SMTP) { s.Address = "smtp.example.org:smtp" },
		"no host": func(s *notify.SMTP) { s.Address = ":587" }, "tls": func(s *notify.SMTP) { s.TLS = "yes" }, "no tls": func(s *notify.SMTP) { s.TLS = "" },
		"plaintext": func(s *notify.SMTP) { s.TLS, s.User, s.PasswordFile = notify.NoTLS, "", "" },
		"plaintext to a name like ours": func(s *notify.SMTP) {
			s.Address, s.TLS, s.User, s.PasswordFile = "localhost.example.org:25", notify.NoTLS, "", ""
		},
		"password in plaintext": func(s *notify.SMTP) { s.Address, s.TLS = "127.0.0.1:25", notify.NoTLS },
		"from":                  func(s *notify.SMTP) { s.From = "Hub <hub@example.org>" }, "from with header": func(s *notify.SMTP) { s.From = "hub@example.org\r\nBcc: a@b.example" },
		"user alone": func(s *notify.SMTP) { s.PasswordFile = "" }, "password alone": func(s *notify.SMTP) { s.User = "" },
	} {
		bad := good
		f(&bad)
		if err := bad.Check(); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	for _, local := range []string{"127.0.0.1:25", "[::1]:25", "localhost:25"} {
		s := notify.SMTP{Address: local, TLS: notify.NoTLS, From: "hub@example.org"}
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", local, err)
		}
	}
}
