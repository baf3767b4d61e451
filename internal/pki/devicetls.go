package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// DeviceOptions says how a datalogger meets its hub.
type DeviceOptions struct {
	// Host is the DNS name or IP address of the hub as its certificate has it; with no port.
	Host string
	// Roots are the pinned roots of the installation: one, or the old and the new one while they change. No public
	// authority is believed.
	Roots []*x509.Certificate
	// Certificate is asked in every handshake, so that a renewed certificate is used at once; nil offers none. See [Live].
	Certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
	// NextProtos are the ALPN protocols.
	NextProtos []string
	// Now is the datalogger's clock, which may be wrong; nil is time.Now.
	Now func() time.Time
	// Floor is a time that has passed for certain: the greatest of the program's build time and the last time heard
	// from the hub and kept. Nil is none but the roots' own.
	Floor func() time.Time
	// Unsure reports that the clock may be far ahead: nothing has confirmed it (NTP, or the hub's own time) since the
	// program began. While it does, the hub's certificate need only be valid at Floor or later. Nil is never.
	Unsure func() bool
}

// DeviceTLS makes the TLS of a datalogger that dials its hub: TLS 1.3 and nothing else, the pinned roots and nothing
// else, the hub's name checked. Sessions are not resumed, so that every connection proves the key of today.
//
// A logger's clock is wrong sooner or later, and must not cut it off for good:
//   - behind: the time is taken as at least Floor, and at least the latest start of validity in the hub's chain. The
//     chain must verify at that time, so an authority we trust has said that this moment has passed.
//   - ahead, and Unsure: the clock is left out and the chain is checked at the lower bound alone. The price, for that
//     connection: a hub key whose certificate has ended since Floor is believed.
func DeviceTLS(o DeviceOptions) (*tls.Config, error) {
	if o.Host == "" {
		return nil, errors.New("connect to hub: no host name is set to check its certificate against")
	}
	if len(o.Roots) == 0 {
		return nil, errors.New("connect to hub: no root certificate is pinned")
	}
	v := &hubVerifier{o: o, roots: x509.NewCertPool()}
	for _, r := range o.Roots {
		if !r.IsCA {
			return nil, fmt.Errorf("connect to hub: %s is not an authority", r.Subject)
		}
		v.roots.AddCert(r)
		if r.NotBefore.After(v.rootFloor) {
			v.rootFloor = r.NotBefore
		}
	}
	if v.o.Now == nil {
		v.o.Now = time.Now
	}
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		MaxVersion:           tls.VersionTLS13,
		ServerName:           o.Host,
		RootCAs:              v.roots, // used by hubVerifier; kept here too, so that nothing falls back to public roots
		NextProtos:           o.NextProtos,
		GetClientCertificate: o.Certificate,
		Time:                 v.o.Now,
		// crypto/tls knows one clock and stops there. The same check, with the rules above for the time, is
		// hubVerifier's, which runs in every handshake, resumed or not, and refuses whatever it cannot verify.
		InsecureSkipVerify: true,
		VerifyConnection:   v.verify,
	}, nil
}

type hubVerifier struct {
	o         DeviceOptions
	roots     *x509.CertPool
	rootFloor time.Time // the newest root was given to this device after it was made
}

func (v *hubVerifier) verify(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the hub showed no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{
		DNSName:       v.o.Host,
		Roots:         v.roots,
		Intermediates: between,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		CurrentTime:   v.time(s.PeerCertificates),
	})
	if err != nil {
		// The same type as from crypto/tls itself, so that callers need to know one only.
		return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
	}
	return nil
}

// time is the moment at which the chain has to be valid. A start of validity in a forged chain can move it, but then
// the chain does not verify, and the moment is not kept.
func (v *hubVerifier) time(chain []*x509.Certificate) time.Time {
	t := v.rootFloor
	if v.o.Floor != nil {
		t = later(t, v.o.Floor())
	}
	for _, c := range chain {
		t = later(t, c.NotBefore)
	}
	if v.o.Unsure != nil && v.o.Unsure() {
		return t
	}
	return later(t, v.o.Now())
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
