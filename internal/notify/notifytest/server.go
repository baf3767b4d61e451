// Package notifytest is a real mail server on loopback for tests: it speaks SMTP with TLS and log-in, keeps what it is
// given, and refuses what it is told to.
package notifytest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/loggerhead-cloud/loggerhead/internal/notify"
)

// Server is a mail server.
type Server struct {
	Addr     string
	Roots    *x509.CertPool // that its certificate comes from
	PEM      []byte         // the same
	t        testing.TB
	smtp     *smtp.Server
	done     chan struct{}
	listener net.Listener

	mu     sync.Mutex
	got    []Letter
	refuse map[string]int // SMTP code by recipient
	data   int            // SMTP code of the answer to every mail's text; 0 takes it
	lose   bool           // it takes a mail and says that it did not
	logins int
}

// Letter is a mail that arrived.
type Letter struct {
	From string
	To   []string
	Head mail.Header
	Text string
	Raw  []byte
	TLS  bool
}

// What the server wants of whoever logs in.
const (
	User     = "hub"
	Password = "mail server's password"
)

// How says what kind of server it is.
type How struct {
	Addr     string // to listen on; "" is any port of 127.0.0.1
	Implicit bool   // TLS from the first byte
	Plain    bool   // offers no TLS
	Host     string // of its certificate; "" is 127.0.0.1
	Auth     bool   // wants a log-in
}

// Serve runs a server until the test ends or it is closed.
func Serve(t testing.TB, h How) *Server {
	t.Helper()
	s := &Server{t: t, Roots: x509.NewCertPool(), refuse: map[string]int{}, done: make(chan struct{})}
	s.smtp = smtp.NewServer(backend{s, h.Auth})
	s.smtp.Domain = "mail.test"
	s.smtp.ReadTimeout, s.smtp.WriteTimeout = 10*time.Second, 10*time.Second
	s.smtp.ErrorLog = discard{}
	cert := s.certificate(h.Host)
	c := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if !h.Plain && !h.Implicit {
		s.smtp.TLSConfig = c
	}
	addr := h.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s.Addr = l.Addr().String()
	if h.Implicit {
		l = tls.NewListener(l, c)
	}
	s.listener = l
	go func() { s.smtp.Serve(l); close(s.done) }() // its end is Close's
	t.Cleanup(s.Close)
	return s
}

// Close ends the server; its address refuses connections then.
func (s *Server) Close() {
	s.smtp.Close()     // a second time says that it is closed
	s.listener.Close() // which the server does not, where it has not begun to serve
	<-s.done
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

func (s *Server) certificate(host string) tls.Certificate {
	t := s.t
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	if host == "" {
		c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	} else {
		c.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s.Roots.AddCert(leaf)
	s.PEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

type backend struct {
	s    *Server
	auth bool
}

func (b backend) NewSession(c *smtp.Conn) (smtp.Session, error) {
	_, secure := c.TLSConnectionState()
	if !secure {
		_, secure = c.Conn().(*tls.Conn)
	}
	return &session{b: b, l: Letter{TLS: secure}, in: !b.auth}, nil
}

type session struct {
	b  backend
	l  Letter
	in bool
}

func (s *session) AuthMechanisms() []string {
	if !s.b.auth {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, u, p string) error {
		if u != User || p != Password {
			return errors.New("wrong")
		}
		s.in = true
		s.b.s.mu.Lock()
		s.b.s.logins++
		s.b.s.mu.Unlock()
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if !s.in {
		return &smtp.SMTPError{Code: 530, Message: "log in first"}
	}
	s.l.From = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.b.s.mu.Lock()
	defer s.b.s.mu.Unlock()
	if code := s.b.s.refuse[to]; code != 0 {
		return answer(code)
	}
	s.l.To = append(s.l.To, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.b.s.mu.Lock()
	lose, data := s.b.s.lose, s.b.s.data
	s.b.s.mu.Unlock()
	if data != 0 {
		return answer(data)
	}
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(decoded(m))
	if err != nil {
		return err
	}
	l := s.l
	l.Raw, l.Head, l.Text = raw, m.Header, strings.ReplaceAll(string(text), "\r\n", "\n")
	s.b.s.mu.Lock()
	s.b.s.got = append(s.b.s.got, l)
	s.b.s.mu.Unlock()
	if lose {
		return answer(451)
	}
	return nil
}

func answer(code int) error { return &smtp.SMTPError{Code: code, Message: "as the test wants it"} }

func decoded(m *mail.Message) io.Reader {
	switch strings.ToLower(m.Header.Get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		return quotedprintable.NewReader(m.Body)
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, m.Body)
	}
	return m.Body
}

func (s *session) Reset()        { s.l.To, s.l.From = nil, "" }
func (s *session) Logout() error { return nil }

// Letters returns what has arrived.
func (s *Server) Letters() []Letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// Wait returns the nth letter to an address, counted from 1, when it has arrived.
func (s *Server) Wait(to string, n int) Letter {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		found := 0
		for _, l := range s.Letters() {
			if len(l.To) == 1 && l.To[0] == to {
				if found++; found == n {
					return l
				}
			}
		}
		if time.Now().After(end) {
			s.t.Fatalf("%d letters to %s arrived, not %d", found, to, n)
		}
	}
}

// Refuse answers an address with an SMTP code; 0 takes its mail again.
func (s *Server) Refuse(to string, code int) { s.mu.Lock(); defer s.mu.Unlock(); s.refuse[to] = code }

// RefuseText answers every mail's text with an SMTP code; 0 takes it again.
func (s *Server) RefuseText(code int) { s.mu.Lock(); defer s.mu.Unlock(); s.data = code }

// LoseAnswers makes the server take mail and say that it did not.
func (s *Server) LoseAnswers(lose bool) { s.mu.Lock(); defer s.mu.Unlock(); s.lose = lose }

// LogIns returns how often somebody has logged in.
func (s *Server) LogIns() int { s.mu.Lock(); defer s.mu.Unlock(); return s.logins }

// Sender sends by the server in a mode of TLS, with its log-in where auth is set.
func (s *Server) Sender(mode string, auth bool) notify.SMTP {
	c := notify.SMTP{Address: s.Addr, TLS: mode, From: "hub@mail.test", Roots: s.Roots, Timeout: 5 * time.Second}
	if auth {
		c.User, c.PasswordFile = User, PasswordFile(s.t, Password, 0o600)
	}
	return c
}

// PasswordFile makes a file with a password.
func PasswordFile(t testing.TB, text string, mode os.FileMode) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "password")
	if err := errors.Join(os.WriteFile(p, []byte(text+"\n"), 0o600), os.Chmod(p, mode)); err != nil {
		t.Fatal(err)
	}
	return p
}

// Link returns the one link in a letter.
func (l Letter) Link(t testing.TB) string {
	t.Helper()
	var found []string
	for line := range strings.Lines(l.Text) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "https://") && strings.Contains(line, "/link#") {
			found = append(found, line)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d links in the letter to %v: %s", len(found), l.To, l.Text)
	}
	return found[0]
}
