package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/loggerhead-cloud/loggerhead/internal/notify"
)

// noMail is what health and the log say of a hub without a mail server.
const noMail = "no mail server is set (mail.address): links to sign up, and to new passwords, are written into the log for the operator to pass on"

// wireMail makes what works the outbox off.
func (s *Server) wireMail() error {
	c := notify.Config{Outbox: s.db, Waiting: s.db.MailWaiting, Now: s.now, Log: s.log, Registerer: s.metrics,
		Answer: func(ctx context.Context, it notify.Item) error { return s.access.Answer(ctx, it.ID, *it.Ask) }}
	if s.cfg.Mail.Address != "" {
		var roots *x509.CertPool
		if p := s.cfg.Mail.CA; p != "" {
			pem, err := os.ReadFile(p)
			if err != nil {
				return fmt.Errorf("mail.ca: %w", err)
			}
			roots = x509.NewCertPool()
			if !roots.AppendCertsFromPEM(pem) {
				return fmt.Errorf("mail.ca: %s holds no certificate in PEM", p)
			}
		}
		c.Send = s.cfg.Mail.smtp(roots).Send
	} else {
		s.log.Warn(noMail)
	}
	s.mail = notify.NewQueue(c)
	return nil
}

// mailHealth says whether mail is sent.
func (s *Server) mailHealth(ctx context.Context) (detail string, err error) {
	if s.cfg.Mail.Address == "" {
		return noMail, nil
	}
	if p := s.mail.Problem(); p != "" {
		return "", errors.New(p)
	}
	n, _, err := s.db.MailWaiting(ctx)
	return fmt.Sprintf("mail goes out by %s; %d waiting", s.cfg.Mail.Address, n), err
}
