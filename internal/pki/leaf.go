package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

const (
	// DeviceLife and HubLife are how long a certificate is valid; both are renewed at two thirds (see [RenewAt]).
	DeviceLife = 30 * 24 * time.Hour
	HubLife    = 90 * 24 * time.Hour

	deviceBackdate = 5 * time.Minute
	maxHosts       = 64
)

// IssueDevice signs a device certificate: 30 days from now (never longer than the authority lives), valid 5 minutes
// back, common name id, one URI name spiffe://<trust domain>/d/<id>, for client authentication only. Of the request
// only the key is used: whatever names or extensions it asks for are ignored, since a device decides nothing.
func IssueDevice(ca *KeyPair, trustDomain string, csr *x509.CertificateRequest, id lh.DeviceID, now time.Time) (*x509.Certificate, error) {
	if !id.Valid() {
		return nil, fmt.Errorf("issue device certificate: %q is not a device id", id)
	}
	if err := CheckTrustDomain(trustDomain); err != nil {
		return nil, fmt.Errorf("issue device certificate: %w", err)
	}
	if err := ca.mayIssue(now, x509.ExtKeyUsageClientAuth); err != nil {
		return nil, fmt.Errorf("issue device certificate: %w", err)
	}
	if d := ca.Cert.PermittedURIDomains; len(d) != 1 || d[0] != trustDomain {
		return nil, fmt.Errorf("issue device certificate: %s is bound to trust domain %q, not %q", ca.Cert.Subject, d, trustDomain)
	}
	if csr == nil {
		return nil, fmt.Errorf("issue device certificate: no request")
	}
	if err := checkRequest(csr); err != nil {
		return nil, err
	}
	c, err := issueLeaf(ca, csr.PublicKey, &x509.Certificate{
		Subject:     pkix.Name{CommonName: string(id)},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: trustDomain, Path: "/d/" + string(id)}},
		NotBefore:   now.Add(-deviceBackdate),
		NotAfter:    now.Add(DeviceLife),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, fmt.Errorf("issue device certificate: %w", err)
	}
	return c, nil
}

// IssueHub signs a server certificate of 90 days for the hosts: DNS names (no wildcards) and IP addresses, 1 to 64.
func IssueHub(ca *KeyPair, pub crypto.PublicKey, hosts []string, now time.Time) (*x509.Certificate, error) {
	if err := ca.mayIssue(now, x509.ExtKeyUsageServerAuth); err != nil {
		return nil, fmt.Errorf("issue hub certificate: %w", err)
	}
	if err := checkKey(pub); err != nil {
		return nil, fmt.Errorf("issue hub certificate: %w", err)
	}
	t := &x509.Certificate{
		NotBefore:   now.Add(-backdate),
		NotAfter:    now.Add(HubLife),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if len(hosts) == 0 || len(hosts) > maxHosts {
		return nil, fmt.Errorf("issue hub certificate: %d host names; 1 to %d are possible", len(hosts), maxHosts)
	}
	seen := map[string]bool{}
	for _, h := range hosts {
		name := strings.ToLower(h)
		ip, err := netip.ParseAddr(name)
		switch {
		case err == nil && ip.Zone() == "" && !ip.IsUnspecified():
			ip = ip.Unmap()
			if name = ip.String(); !seen[name] {
				t.IPAddresses = append(t.IPAddresses, net.IP(ip.AsSlice()))
			}
		case err != nil && validName(name):
			if !seen[name] {
				t.DNSNames = append(t.DNSNames, name)
			}
		default:
			return nil, fmt.Errorf("issue hub certificate: host %.80q is neither a DNS name nor the address of one interface", h)
		}
		if t.Subject.CommonName == "" && len(name) <= 64 {
			t.Subject.CommonName = name // for people reading it; TLS looks at the alternative names only
		}
		seen[name] = true
	}
	c, err := issueLeaf(ca, pub, t)
	if err != nil {
		return nil, fmt.Errorf("issue hub certificate: %w", err)
	}
	return c, nil
}

func issueLeaf(ca *KeyPair, pub crypto.PublicKey, t *x509.Certificate) (*x509.Certificate, error) {
	id, err := keyID(pub)
	if err != nil {
		return nil, err
	}
	t.SerialNumber = newSerial()
	t.SubjectKeyId = id
	t.BasicConstraintsValid = true
	t.KeyUsage = x509.KeyUsageDigitalSignature
	if t.NotBefore.Before(ca.Cert.NotBefore) {
		t.NotBefore = ca.Cert.NotBefore
	}
	if t.NotAfter.After(ca.Cert.NotAfter) {
		t.NotAfter = ca.Cert.NotAfter
	}
	return ca.sign(t, pub)
}

// checkKey accepts P-256 keys only: what every microcontroller, TPM and library can do.
func checkKey(pub crypto.PublicKey) error {
	k, ok := pub.(*ecdsa.PublicKey)
	if !ok || k.Curve != elliptic.P256() {
		return fmt.Errorf("the key must be an elliptic curve key on P-256")
	}
	if _, err := k.Bytes(); err != nil { // a point off the curve
		return fmt.Errorf("the key is not a point of P-256")
	}
	return nil
}

// DeviceID reads the device id from the certificate's URI name, for logs and messages. It authorises nothing: who a
// device is, the hub looks up by [KeyHash].
func DeviceID(c *x509.Certificate) (lh.DeviceID, error) {
	_, id, err := identity(c)
	return id, err
}

// identity splits the certificate's one URI name, spiffe://<trust domain>/d/<device id>.
func identity(c *x509.Certificate) (trustDomain string, id lh.DeviceID, err error) {
	if c == nil || len(c.URIs) != 1 {
		return "", "", fmt.Errorf("certificate does not carry exactly one URI name")
	}
	u := c.URIs[0]
	path, ok := strings.CutPrefix(u.Path, "/d/")
	id = lh.DeviceID(path)
	if !ok || !id.Valid() || u.String() != "spiffe://"+u.Host+"/d/"+path || CheckTrustDomain(u.Host) != nil {
		return "", "", fmt.Errorf("certificate's URI name %.100q is not spiffe://<trust domain>/d/<device id>", u.String())
	}
	return u.Host, id, nil
}

// KeyHash is the SHA-256 of the certificate's SubjectPublicKeyInfo: what a device is known by.
func KeyHash(c *x509.Certificate) [32]byte { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// RenewAt is when to ask for the next certificate: after two thirds of the life and up to a fifteenth more. The extra
// follows from the certificate itself: it spreads a fleet that was enrolled in one morning, and a program that
// restarts comes to the same answer.
func RenewAt(c *x509.Certificate) time.Time {
	life := c.NotAfter.Sub(c.NotBefore)
	h := sha256.Sum256(c.Raw)
	extra := float64(life) / 15 * float64(binary.BigEndian.Uint32(h[:])) / (1 << 32)
	return c.NotBefore.Add(life*2/3 + time.Duration(extra))
}
