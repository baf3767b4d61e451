package notify

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// How a connection to the mail server is protected.
const (
	StartTLS = "starttls" // begun in plaintext and refused unless it becomes TLS at once
	Implicit = "implicit" // TLS from the first byte
	NoTLS    = "none"     // to this machine only
)

// SMTP sends by a mail server.
type SMTP struct {
	Address      string // host and port
	TLS          string // [StartTLS], [Implicit] or [NoTLS]
	From         string // the sender's address
	User         string // "" logs in nowhere
	PasswordFile string // of which the first line is the password; read anew for each mail
	Roots        *x509.CertPool
	Timeout      time.Duration // of connecting, and of each step after; 0 is 20 s
}

const smtpTimeout = 20 * time.Second

// Check refuses what cannot work or would give a password away.
func (s SMTP) Check() error {
	host, port, err := net.SplitHostPort(s.Address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" {
		return fmt.Errorf("address: %q is no host and port, such as smtp.example.org:587", s.Address)
	}
	switch s.TLS {
	case StartTLS, Implicit:
	case NoTLS:
		if !loopback(host) {
			return fmt.Errorf("tls: mail goes to %s in plaintext only where that is this machine; set starttls or implicit", host)
		}
		if s.User != "" {
			return errors.New("user: a password is sent over TLS only; set tls to starttls or implicit")
		}
	default:
		return fmt.Errorf("tls: %q is neither %s, %s nor %s", s.TLS, StartTLS, Implicit, NoTLS)
	}
	if !Address(s.From) {
		return fmt.Errorf("from: %q is no e-mail address", s.From)
	}
	if (s.User == "") != (s.PasswordFile == "") {
		return errors.New("user and password_file go together: set both or none")
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// refused is an error of a mail that the server will take at no time.
type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

// Refused reports whether a mail failed by its own fault, so that sending it again is of no use.
func Refused(err error) bool {
	_, ok := errors.AsType[refused](err)
	return ok
}

// Send gives one mail to the server. It returns nil only when the server has taken it. id names the mail: one that is
// sent twice, because its first answer was lost, has the same.
func (s SMTP) Send(ctx context.Context, id string, m Mail) error {
	if err := m.Check(); err != nil {
		return refused{err}
	}
	msg, err := s.message(id, m)
	if err != nil {
		return refused{err}
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	if err := c.DialWithContext(ctx); err != nil {
		return fmt.Errorf("connect to mail server %s: %w", s.Address, err)
	}
	err = c.Send(msg)
	closed := c.Close()
	if msg.IsDelivered() { // what comes after the server has answered for it changes nothing
		return nil
	}
	if err == nil {
		err = closed
	}
	if err == nil {
		err = errors.New("the server did not answer for it")
	}
	err = fmt.Errorf("send mail by %s: %w", s.Address, err)
	if e, ok := errors.AsType[*mail.SendError](err); ok && e.ErrorCode()/100 == 5 {
		switch e.Reason {
		case mail.ErrSMTPRcptTo, mail.ErrSMTPData, mail.ErrSMTPDataClose, mail.ErrWriteContent:
			return refused{err}
		}
	}
	return err
}

func (s SMTP) message(id string, m Mail) (*mail.Msg, error) {
	msg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := msg.FromFormat("Loggerhead", s.From); err != nil {
		return nil, err
	}
	if err := msg.To(m.To); err != nil {
		return nil, err
	}
	msg.Subject(m.Subject)
	_, domain, _ := strings.Cut(s.From, "@")
	msg.SetMessageIDWithValue(id + "@" + domain)
	msg.SetDate()
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no machine answers it
	msg.SetBodyString(mail.TypeTextPlain, m.Text)
	return msg, nil
}

func (s SMTP) client() (*mail.Client, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	timeout := s.Timeout
	if timeout == 0 {
		timeout = smtpTimeout
	}
	opts := []mail.Option{mail.WithPort(n), mail.WithTimeout(timeout),
		mail.WithTLSConfig(&tls.Config{ServerName: host, RootCAs: s.Roots, MinVersion: tls.VersionTLS12})}
	switch s.TLS {
	case Implicit:
		opts = append(opts, mail.WithSSL())
	case StartTLS:
		opts = append(opts, mail.WithTLSPolicy(mail.TLSMandatory))
	case NoTLS:
		opts = append(opts, mail.WithTLSPolicy(mail.NoTLS))
	}
	if s.User != "" {
		password, err := readPassword(s.PasswordFile)
		if err != nil {
			return nil, err
		}
		opts = append(opts, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.User), mail.WithPassword(password))
	}
	return mail.NewClient(host, opts...)
}

// readPassword returns the first line of a file that nobody else may read.
func readPassword(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("mail password file: %w", err)
	}
	defer f.Close() // read only
	st, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("mail password file: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return "", lh.Errorf(lh.Invalid, "others may read the mail password file %s; run: chmod 600 %s", path, path)
	}
	line, err := bufio.NewReader(io.LimitReader(f, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("mail password file: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", lh.Errorf(lh.Invalid, "the mail password file %s is empty", path)
	}
	return line, nil
}
