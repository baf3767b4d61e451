package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// HubOptions says how a listener for devices meets them.
type HubOptions struct {
	// TrustDomain is the installation's; a certificate of another is refused.
	TrustDomain string
	// DeviceCAs sign device certificates: one, or the old and the new one while they change.
	DeviceCAs []*x509.Certificate
	// Optional lets a client in without a certificate (for enrolment; the handler decides what it may then do).
	// A certificate that is given is checked all the same.
	Optional bool
	// Certificate is asked in every handshake, so that a renewed certificate is used without a restart; see [Live].
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Verify may refuse a client whose certificate is in order, e.g. because it is on the deny list. It runs in every
	// handshake with a client certificate, resumed ones too. PeerCertificates[0] is the device's. Required.
	Verify func(tls.ConnectionState) error
	// NextProtos are the ALPN protocols, e.g. h2 and http/1.1, or mqtt.
	NextProtos []string
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// HubTLS makes the TLS of a listener for devices: TLS 1.3 and nothing else, client certificates by the devices CA.
//
// Sessions may be resumed: it saves a logger on a poor link two kilobytes and a signature. A ticket carries the
// client's certificate, so a resumed client is checked anew for its validity, its trust domain and by Verify. Ticket
// keys are the listener's own, change daily and are on no disk; a ticket of another replica costs a full handshake.
func HubTLS(o HubOptions) (*tls.Config, error) {
	if err := CheckTrustDomain(o.TrustDomain); err != nil {
		return nil, fmt.Errorf("device listener: %w", err)
	}
	if o.Certificate == nil || o.Verify == nil {
		return nil, errors.New("device listener: its certificate and the check of its clients must be set")
	}
	if len(o.DeviceCAs) == 0 {
		return nil, errors.New("device listener: no devices CA is set, so no device could be told from another")
	}
	pool := x509.NewCertPool()
	for _, ca := range o.DeviceCAs {
		if !ca.IsCA {
			return nil, fmt.Errorf("device listener: %s is not an authority", ca.Subject)
		}
		pool.AddCert(ca)
	}
	now := o.Now
	if now == nil {
		now = time.Now
	}
	auth := tls.RequireAndVerifyClientCert
	if o.Optional {
		auth = tls.VerifyClientCertIfGiven
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		MaxVersion:     tls.VersionTLS13,
		ClientAuth:     auth,
		ClientCAs:      pool,
		GetCertificate: o.Certificate,
		NextProtos:     o.NextProtos,
		Time:           now,
		// An answer is one record, not several of a packet each: there are clients (strongSwan's pki --est) that read
		// an answer by records and lose what comes in the third.
		DynamicRecordSizingDisabled: true,
		// Not VerifyPeerCertificate: that is skipped when a session is resumed.
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				if o.Optional {
					return nil
				}
				return errors.New("no client certificate")
			}
			if err := checkClient(s, o.TrustDomain, now()); err != nil {
				return err
			}
			return o.Verify(s)
		},
	}, nil
}

// checkClient is what crypto/tls has not done, or has done only when the session began.
func checkClient(s tls.ConnectionState, trustDomain string, now time.Time) error {
	c := s.PeerCertificates[0]
	if len(s.VerifiedChains) == 0 {
		return errors.New("client certificate was not verified")
	}
	if c.IsCA {
		return errors.New("client certificate is an authority's")
	}
	if now.Before(c.NotBefore) || now.After(c.NotAfter) {
		return fmt.Errorf("client certificate is valid from %s to %s", c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
	}
	// The name constraint lets subdomains pass (in Go's reading); the trust domain is exact.
	domain, _, err := identity(c)
	if err != nil {
		return err
	}
	if domain != trustDomain {
		return fmt.Errorf("client certificate is of trust domain %s, not %s", domain, trustDomain)
	}
	return nil
}

// PeopleTLS makes the TLS of a listener for people and programs: TLS 1.3 and nothing else, HTTP/2 or 1.1, never a client certificate.
func PeopleTLS(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), now func() time.Time) (*tls.Config, error) {
	if certificate == nil {
		return nil, errors.New("people's listener: its certificate must be set")
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		MaxVersion:     tls.VersionTLS13,
		ClientAuth:     tls.NoClientCert,
		GetCertificate: certificate,
		NextProtos:     []string{"h2", "http/1.1"},
		Time:           now,
	}, nil
}

// Live holds the certificate in use and lets it be replaced while handshakes go on. The zero value has none and
// refuses handshakes. It is safe for concurrent use.
type Live struct {
	current atomic.Pointer[tls.Certificate]
}

// Set makes c the certificate of every later handshake.
func (l *Live) Set(c *tls.Certificate) { l.current.Store(c) }

// Server is for [HubOptions] Certificate.
func (l *Live) Server(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := l.current.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("no server certificate is set")
}

// Client is for [DeviceOptions] Certificate. Without a certificate it offers none, as before enrolment.
func (l *Live) Client(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if c := l.current.Load(); c != nil {
		return c, nil
	}
	return &tls.Certificate{}, nil
}
