package server_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loggerhead-cloud/loggerhead/internal/notify/notifytest"
	"github.com/loggerhead-cloud/loggerhead/internal/server"
)

// ask asks the hub for a link to sign up.
func (h *hub) ask(email string) (status int, text string) {
	h.t.Helper()
	body, err := json.Marshal(map[string]string{"email": email})
	must(h.t, err)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots}, DisableKeepAlives: true}, Timeout: 20 * time.Second}
	resp, err := c.Post("https://"+h.a.People+"/api/v1/sign-up", "application/json", bytes.NewReader(body))
	must(h.t, err)
	defer resp.Body.Close()
	var out struct{ Detail string }
	must(h.t, json.NewDecoder(resp.Body).Decode(&out))
	return resp.StatusCode, out.Detail
}

// detail is what health says of a check.
func (h health) detail(name string) (string, bool) {
	for _, c := range h.Checks {
		if c.Name == name {
			return c.Detail, c.OK
		}
	}
	return "", false
}

// TestMailOfAHub: a hub with a mail server sends, by what its configuration says, and its health tells when it cannot.
func TestMailOfAHub(t *testing.T) {
	s := notifytest.Serve(t, notifytest.How{Implicit: true, Auth: true})
	c := install(t, "sqlite:hub.db")
	ca := filepath.Join(c.Data, "mail-ca.pem")
	must(t, os.WriteFile(ca, s.PEM, 0o600))
	c.People.SignUp, c.People.URL = "open", "https://hub.example.org/"
	c.Mail = server.MailConfig{Address: s.Addr, TLS: "implicit", From: "hub@mail.test", User: notifytest.User, PasswordFile: notifytest.PasswordFile(t, notifytest.Password, 0o600), CA: ca}
	h := start(t, c)
	if status, text := h.ask("ana@b.example"); status != 202 || strings.Contains(text, "sends no mail") {
		t.Errorf("%d %s", status, text)
	}
	if link := s.Wait("ana@b.example", 1).Link(t); !strings.HasPrefix(link, "https://hub.example.org/link#lhl_") {
		t.Errorf("the link is %s", link)
	}
	if d, ok := func() (string, bool) { _, now := h.health(); return now.detail("mail") }(); !ok || !strings.Contains(d, s.Addr) {
		t.Errorf("health says %q", d)
	}
	s.Close()
	if status, _ := h.ask("bo@b.example"); status != 202 {
		t.Errorf("%d", status)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, now := h.health(); len(now.failed()) == 1 && now.failed()[0] == "mail" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("health does not tell that no mail is sent")
		}
	}
	if strings.Contains(h.log.String(), "lhl_") || strings.Contains(h.log.String(), notifytest.Password) {
		t.Error("the log has a link or the password")
	}
	must(t, h.stop())
	// What was not sent is sent by the hub that comes next.
	again := notifytest.Serve(t, notifytest.How{Implicit: true, Auth: true})
	must(t, os.WriteFile(ca, again.PEM, 0o600))
	c.Mail.Address = again.Addr
	later := func(d *server.Deps) { d.Now = func() time.Time { return time.Now().Add(3 * time.Minute) } }
	start(t, c, later)
	again.Wait("bo@b.example", 1).Link(t)
}

// TestHubWithoutMail says so at its start and in its health, and puts links into the log.
func TestHubWithoutMail(t *testing.T) {
	h := start(t, install(t, "sqlite:hub.db"))
	if !strings.Contains(h.log.String(), "no mail server is set") {
		t.Errorf("the log says %s", h.log.String())
	}
	if _, now := h.health(); true {
		if d, ok := now.detail("mail"); !ok || !strings.Contains(d, "no mail server is set") {
			t.Errorf("health says %q, %v", d, ok)
		}
	}
}

// TestMailConfig refuses what would send in plaintext or nowhere.
func TestMailConfig(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"plaintext":        {"mail: {address: smtp.example.org:25, tls: none, from: hub@example.org}", "mail.tls"},
		"no sender":        {"mail: {address: smtp.example.org:25}", "mail.from"},
		"no server":        {"mail: {from: hub@example.org}", "mail.address"},
		"password missing": {"mail: {address: smtp.example.org:587, from: hub@example.org, user: hub}", "mail.user"},
		"open, no server":  {"people: {sign_up: open}", "people.sign_up"},
		"sign up":          {"people: {sign_up: anybody}", "people.sign_up"},
		"url":              {"people: {url: http://hub.example.org}", "people.url"},
		"url with path":    {"people: {url: https://hub.example.org/x}", "people.url"},
	} {
		if _, err := load(t, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := load(t, "people: {url: https://hub.example.org:8443}\nmail: {address: smtp.example.org:587, from: hub@example.org, user: hub, password_file: mail.password}\npasswords: {breached: pwned.txt}")
	if err != nil || c.Mail.PasswordFile != filepath.Join(c.Data, "mail.password") || c.Passwords.Breached != filepath.Join(c.Data, "pwned.txt") {
		t.Errorf("%+v %v", c, err)
	}
	for listen, want := range map[string]string{":8443": "https://a.example:8443", ":443": "https://a.example"} {
		d := server.DefaultConfig()
		d.Hosts = []string{"a.example"}
		if got := d.PeopleURL(listen); got != want {
			t.Errorf("%s: %s", listen, got)
		}
	}
}

// TestBreachedPasswords: with a list of leaked passwords, the hub does not start on what is none.
func TestBreachedPasswords(t *testing.T) {
	c := install(t, "sqlite:hub.db")
	c.Passwords.Breached = filepath.Join(c.Data, "pwned.txt")
	must(t, os.WriteFile(c.Passwords.Breached, []byte("password\n"), 0o600))
	if _, err := server.New(ctx, c, server.Deps{}); err == nil || !strings.Contains(err.Error(), "passwords.breached") {
		t.Errorf("%v", err)
	}
	must(t, os.WriteFile(c.Passwords.Breached, []byte("5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:9\r\n"), 0o600))
	must(t, start(t, c).stop())
}
