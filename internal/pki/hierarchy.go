package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/big"
	"net/netip"
	"strings"
	"time"
)

const (
	rootLife    = 25 * 365 * 24 * time.Hour
	issuingLife = 10 * 365 * 24 * time.Hour
	// backdate is how far before now the validity of the authorities and of the hub begins, so that a logger whose
	// clock is some hours behind still believes a hub that was set up a minute ago.
	backdate = 24 * time.Hour
	// maxTrustDomain is the bound of an X.520 organization name, where the trust domain also stands.
	maxTrustDomain = 64
)

// KeyPair is a certificate and its private key. It formats and logs as its subject only.
type KeyPair struct {
	Cert *x509.Certificate
	Key  crypto.Signer
}

// LogValue keeps the key out of every log; String and GoString keep it out of every message.
func (k *KeyPair) LogValue() slog.Value { return slog.StringValue(k.String()) }
func (k *KeyPair) GoString() string     { return k.String() }
func (k *KeyPair) String() string {
	if k == nil || k.Cert == nil {
		return "[key pair]"
	}
	return "[key pair of " + k.Cert.Subject.String() + "]"
}

// TLS returns the pair as crypto/tls wants it, followed by the issuers the other side needs (never the root).
func (k *KeyPair) TLS(issuers ...*x509.Certificate) *tls.Certificate {
	c := &tls.Certificate{Certificate: [][]byte{k.Cert.Raw}, PrivateKey: k.Key, Leaf: k.Cert}
	for _, i := range issuers {
		c.Certificate = append(c.Certificate, i.Raw)
	}
	return c
}

// Hierarchy is the authorities of one installation. Root belongs offline: it is needed again only to make the next
// issuing authorities.
type Hierarchy struct {
	Root    *KeyPair // 25 years, path length 1
	Devices *KeyPair // 10 years, path length 0, client certificates of the trust domain only
	Hub     *KeyPair // 10 years, path length 0, server certificates only
}

// NewHierarchy makes three fresh authorities. The trust domain is the installation's name in device identities: a
// lower-case DNS name of at most 64 bytes that need not resolve (see [CheckTrustDomain]).
func NewHierarchy(trustDomain string, now time.Time) (*Hierarchy, error) {
	root, err := NewRoot(trustDomain, now)
	if err != nil {
		return nil, err
	}
	devices, err := NewDevicesCA(root, trustDomain, now)
	if err != nil {
		return nil, err
	}
	hub, err := NewHubCA(root, trustDomain, now)
	if err != nil {
		return nil, err
	}
	return &Hierarchy{Root: root, Devices: devices, Hub: hub}, nil
}

// NewRoot makes a self-signed root.
func NewRoot(trustDomain string, now time.Time) (*KeyPair, error) {
	return newAuthority(nil, "root", trustDomain, now, &x509.Certificate{MaxPathLen: 1, NotAfter: now.Add(rootLife)})
}

// NewDevicesCA makes an authority for device certificates of the trust domain below root. The hub accepts the old and
// the new one for the life of one device certificate when it is replaced.
func NewDevicesCA(root *KeyPair, trustDomain string, now time.Time) (*KeyPair, error) {
	return newAuthority(root, "devices", trustDomain, now, &x509.Certificate{
		MaxPathLenZero:              true,
		NotAfter:                    now.Add(issuingLife),
		ExtKeyUsage:                 []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		PermittedDNSDomainsCritical: true, // makes the whole extension critical, despite its name
		PermittedURIDomains:         []string{trustDomain},
	})
}

// NewHubCA makes an authority for the hub's server certificates below root. It carries no name constraint: a hub is
// reached as localhost and by IP addresses too, and small TLS libraries (mbedTLS) refuse a chain with one.
func NewHubCA(root *KeyPair, trustDomain string, now time.Time) (*KeyPair, error) {
	return newAuthority(root, "hub", trustDomain, now, &x509.Certificate{
		MaxPathLenZero: true,
		NotAfter:       now.Add(issuingLife),
		ExtKeyUsage:    []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// newAuthority completes and signs the template; issuer nil is self-signed. The common name ends in the key's hash, so
// that no two generations of an authority share a name and a chain is never ambiguous.
func newAuthority(issuer *KeyPair, role, trustDomain string, now time.Time, t *x509.Certificate) (*KeyPair, error) {
	if err := CheckTrustDomain(trustDomain); err != nil {
		return nil, fmt.Errorf("make %s CA: %w", role, err)
	}
	key, err := NewKey()
	if err != nil {
		return nil, fmt.Errorf("make %s CA: %w", role, err)
	}
	id, err := keyID(key.Public())
	if err != nil {
		return nil, fmt.Errorf("make %s CA: %w", role, err)
	}
	t.SerialNumber = newSerial()
	t.Subject = pkix.Name{
		Organization: []string{trustDomain},
		CommonName:   "Loggerhead " + role + " CA " + hex.EncodeToString(id[:4]),
	}
	t.NotBefore = now.Add(-backdate)
	t.SubjectKeyId = id
	t.BasicConstraintsValid, t.IsCA = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	pair := &KeyPair{Cert: t, Key: key}
	if issuer == nil {
		issuer = pair
	} else if err := issuer.mayIssue(now, 0); err != nil {
		return nil, fmt.Errorf("make %s CA: %w", role, err)
	} else if t.NotAfter.After(issuer.Cert.NotAfter) {
		t.NotAfter = issuer.Cert.NotAfter
	}
	pair.Cert, err = issuer.sign(t, key.Public())
	if err != nil {
		return nil, fmt.Errorf("make %s CA: %w", role, err)
	}
	return pair, nil
}

// NewKey makes a P-256 key.
func NewKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// mayIssue refuses a pair that is no authority, is out of its life, or (usage not 0) is not for that usage.
func (k *KeyPair) mayIssue(now time.Time, usage x509.ExtKeyUsage) error {
	switch {
	case k == nil || k.Cert == nil || k.Key == nil:
		return fmt.Errorf("the issuing authority is missing")
	case !k.Cert.IsCA || k.Cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Errorf("%s is not an authority", k.Cert.Subject)
	case now.Before(k.Cert.NotBefore) || now.After(k.Cert.NotAfter):
		return fmt.Errorf("%s is valid from %s to %s and it is %s; make a new authority or set the clock",
			k.Cert.Subject, k.Cert.NotBefore.Format(time.RFC3339), k.Cert.NotAfter.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	if usage == 0 {
		return nil
	}
	for _, u := range k.Cert.ExtKeyUsage {
		if u == usage {
			return nil
		}
	}
	return fmt.Errorf("%s may not sign certificates of this kind", k.Cert.Subject)
}

// sign signs the template for pub and reads the result back, so that what is handed out parses and verifies.
func (k *KeyPair) sign(t *x509.Certificate, pub crypto.PublicKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, k.Cert, pub, k.Key)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if k.Cert.Raw != nil {
		if err := c.CheckSignatureFrom(k.Cert); err != nil {
			return nil, err
		}
		if !bytes.Equal(c.RawIssuer, k.Cert.RawSubject) {
			return nil, fmt.Errorf("issuer name was changed in signing")
		}
	}
	return c, nil
}

// newSerial returns 128 random bits, never zero.
func newSerial() *big.Int {
	var b [16]byte
	for {
		rand.Read(b[:])
		if n := new(big.Int).SetBytes(b[:]); n.Sign() > 0 {
			return n
		}
	}
}

// keyID is the subject key identifier: the first 160 bits of the SHA-256 of the public key (RFC 7093, method 1, over
// the whole SubjectPublicKeyInfo).
func keyID(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	h := sha256.Sum256(der)
	return h[:20], nil
}

// CheckTrustDomain accepts a lower-case DNS name of at most 64 bytes that is not an IP address: what both a SPIFFE ID
// and a URI name constraint can carry.
func CheckTrustDomain(s string) error {
	if len(s) > maxTrustDomain || !validName(s) {
		return fmt.Errorf("trust domain %.80q must be a lower-case DNS name of at most %d bytes, like loggers.example.org", s, maxTrustDomain)
	}
	return nil
}

// validName reports whether s is a lower-case DNS name (of one label or more) that cannot be taken for an IP address.
func validName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return false
		}
		for _, c := range []byte(l) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	last := labels[len(labels)-1]
	return strings.Trim(last, "0123456789") != ""
}
