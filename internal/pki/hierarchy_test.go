package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"
)

const domain = "loggers.example.org"

var noon = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

func hierarchy(t testing.TB, now time.Time) *Hierarchy {
	t.Helper()
	h, err := NewHierarchy(domain, now)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func deviceCert(t testing.TB, h *Hierarchy, now time.Time) *KeyPair {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := NewRequest(key, "whoever")
	if err != nil {
		t.Fatal(err)
	}
	csr, err := ParseRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	c, err := IssueDevice(h.Devices, domain, csr, lh.NewDeviceID(), now)
	if err != nil {
		t.Fatal(err)
	}
	return &KeyPair{Cert: c, Key: key}
}

func hubCert(t testing.TB, h *Hierarchy, now time.Time, hosts ...string) *KeyPair {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	c, err := IssueHub(h.Hub, key.Public(), hosts, now)
	if err != nil {
		t.Fatal(err)
	}
	return &KeyPair{Cert: c, Key: key}
}

// rogue signs whatever the template says with the authority's key: a thief of that key, or a fault in the issuer.
func rogue(t testing.TB, ca *KeyPair, tmpl x509.Certificate) *KeyPair {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if tmpl.SerialNumber == nil {
		tmpl.SerialNumber = big.NewInt(77)
	}
	if tmpl.NotAfter.IsZero() {
		tmpl.NotBefore, tmpl.NotAfter = noon.Add(-time.Hour), noon.Add(time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, ca.Cert, key.Public(), ca.Key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &KeyPair{Cert: c, Key: key}
}

func spiffe(domain string, id lh.DeviceID) []*url.URL {
	return []*url.URL{{Scheme: "spiffe", Host: domain, Path: "/d/" + string(id)}}
}

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

func TestHierarchyShape(t *testing.T) {
	h := hierarchy(t, noon)
	for _, c := range []*x509.Certificate{h.Root.Cert, h.Devices.Cert, h.Hub.Cert} {
		if c.PublicKey.(*ecdsa.PublicKey).Curve != elliptic.P256() || !c.IsCA || c.SerialNumber.BitLen() < 64 {
			t.Errorf("%s: curve, CA or serial number is wrong", c.Subject)
		}
	}
	if h.Root.Cert.MaxPathLen != 1 || h.Root.Cert.NotAfter.Sub(noon) < 10*365*24*time.Hour {
		t.Error("root: path length or life is wrong")
	}
	d := h.Devices.Cert
	if d.MaxPathLen != 0 || !d.MaxPathLenZero || len(d.ExtKeyUsage) != 1 || d.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth {
		t.Error("devices CA: path length or usage is wrong")
	}
	if !d.PermittedDNSDomainsCritical || len(d.PermittedURIDomains) != 1 || d.PermittedURIDomains[0] != domain {
		t.Error("devices CA: name constraint is not critical or not the trust domain")
	}
	if u := h.Hub.Cert; !u.MaxPathLenZero || len(u.ExtKeyUsage) != 1 || u.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
		t.Error("hub CA: path length or usage is wrong")
	}
	again := hierarchy(t, noon)
	if again.Root.Cert.Subject.String() == h.Root.Cert.Subject.String() {
		t.Error("two roots have one name")
	}
}

func TestDeviceCertificate(t *testing.T) {
	h := hierarchy(t, noon)
	key, _ := NewKey()
	// A request that asks for everything it may not have.
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: "dev_0000000000000000", Organization: []string{"Evil"}},
		DNSNames:    []string{"hub.example.org"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		URIs:        spiffe(domain, "dev_0000000000000000"),
		ExtraExtensions: []pkix.Extension{
			{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}, // CA:TRUE
		},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := ParseRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	id := lh.NewDeviceID()
	c, err := IssueDevice(h.Devices, domain, csr, id, noon)
	if err != nil {
		t.Fatal(err)
	}
	if c.Subject.String() != "CN="+string(id) || len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses) != 0 || c.IsCA {
		t.Errorf("the request decided something: %s, %v %v, CA %v", c.Subject, c.DNSNames, c.IPAddresses, c.IsCA)
	}
	if len(c.URIs) != 1 || c.URIs[0].String() != "spiffe://"+domain+"/d/"+string(id) {
		t.Errorf("URIs %v", c.URIs)
	}
	if got, err := DeviceID(c); err != nil || got != id {
		t.Errorf("DeviceID %q, %v", got, err)
	}
	if !c.NotBefore.Equal(noon.Add(-5*time.Minute)) || !c.NotAfter.Equal(noon.Add(30*24*time.Hour)) {
		t.Errorf("valid %s to %s", c.NotBefore, c.NotAfter)
	}
	if len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth || c.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("usage %v %v", c.ExtKeyUsage, c.KeyUsage)
	}
	if other, _ := IssueDevice(h.Devices, domain, csr, id, noon); KeyHash(other) != KeyHash(c) || other.SerialNumber.Cmp(c.SerialNumber) == 0 {
		t.Error("key hash must follow the key, serial number must not repeat")
	}
	if KeyHash(deviceCert(t, h, noon).Cert) == KeyHash(c) {
		t.Error("two keys have one hash")
	}
	// Near the end of the authority's life the certificate ends with it.
	late := h.Devices.Cert.NotAfter.Add(-24 * time.Hour)
	if c, err := IssueDevice(h.Devices, domain, csr, id, late); err != nil || !c.NotAfter.Equal(h.Devices.Cert.NotAfter) {
		t.Errorf("outlives its issuer, or %v", err)
	}
	for name, err := range map[string]error{
		"issuer expired":       second(IssueDevice(h.Devices, domain, csr, id, h.Devices.Cert.NotAfter.Add(time.Second))),
		"other trust domain":   second(IssueDevice(h.Devices, "else.example.org", csr, id, noon)),
		"sub-domain":           second(IssueDevice(h.Devices, "a."+domain, csr, id, noon)),
		"hub CA":               second(IssueDevice(h.Hub, domain, csr, id, noon)),
		"root":                 second(IssueDevice(h.Root, domain, csr, id, noon)),
		"a device as issuer":   second(IssueDevice(&KeyPair{Cert: c, Key: key}, domain, csr, id, noon)),
		"no issuer":            second(IssueDevice(nil, domain, csr, id, noon)),
		"bad id":               second(IssueDevice(h.Devices, domain, csr, "../../etc", noon)),
		"no request":           second(IssueDevice(h.Devices, domain, nil, id, noon)),
		"hub by devices CA":    second(IssueHub(h.Devices, key.Public(), []string{"localhost"}, noon)),
		"hub without names":    second(IssueHub(h.Hub, key.Public(), nil, noon)),
		"hub with wildcard":    second(IssueHub(h.Hub, key.Public(), []string{"*.example.org"}, noon)),
		"hub with unspecified": second(IssueHub(h.Hub, key.Public(), []string{"0.0.0.0"}, noon)),
		"CA below devices CA":  second(NewDevicesCA(h.Devices, domain, h.Devices.Cert.NotAfter.Add(time.Hour))),
	} {
		if err == nil {
			t.Errorf("%s: was issued", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestTrustDomain(t *testing.T) {
	for _, s := range []string{"example.org", "localhost", "a-b.c3.example", "3com.com"} {
		if err := CheckTrustDomain(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", "Example.org", "example.org.", ".example.org", "a..b", "10.0.0.1", "1.2.3", "::1", "a_b.org",
		"-a.org", "a-.org", "a/b", "a b", "*.org", "å.dk", strings.Repeat("a", 64) + ".org", strings.Repeat("a.", 40) + "org"} {
		if CheckTrustDomain(s) == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

// TestChains verifies chains with Go and with OpenSSL, and shows that neither believes one that breaks a rule.
func TestChains(t *testing.T) {
	h := hierarchy(t, noon)
	foreign := hierarchy(t, noon)
	id := lh.NewDeviceID()
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	server := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	below := rogue(t, h.Devices, x509.Certificate{IsCA: true, BasicConstraintsValid: true, Subject: pkix.Name{CommonName: "below"},
		KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte{1, 2, 3}, ExtKeyUsage: client})
	dev := deviceCert(t, h, noon)
	cases := []struct {
		name    string
		leaf    *x509.Certificate
		between []*x509.Certificate
		purpose string // OpenSSL's name
		ok      bool
	}{
		{"device", deviceCert(t, h, noon).Cert, []*x509.Certificate{h.Devices.Cert}, "sslclient", true},
		{"hub", hubCert(t, h, noon, "localhost", "127.0.0.1", "::1", "hub.example.org").Cert, []*x509.Certificate{h.Hub.Cert}, "sslserver", true},
		{"device as a server", deviceCert(t, h, noon).Cert, []*x509.Certificate{h.Devices.Cert}, "sslserver", false},
		{"hub as a client", hubCert(t, h, noon, "localhost").Cert, []*x509.Certificate{h.Hub.Cert}, "sslclient", false},
		{"another installation's device", deviceCert(t, foreign, noon).Cert, []*x509.Certificate{foreign.Devices.Cert}, "sslclient", false},
		{"expired", deviceCert(t, h, noon.Add(-2*time.Hour)).Cert, []*x509.Certificate{h.Devices.Cert}, "sslclient", false}, // looked at in 30 days
		{"another trust domain", rogue(t, h.Devices, x509.Certificate{URIs: spiffe("else.example.com", id), ExtKeyUsage: client}).Cert, []*x509.Certificate{h.Devices.Cert}, "sslclient", false},
		{"devices CA signs a server", rogue(t, h.Devices, x509.Certificate{DNSNames: []string{"localhost"}, ExtKeyUsage: server}).Cert, []*x509.Certificate{h.Devices.Cert}, "sslserver", false},
		{"hub CA signs a device", rogue(t, h.Hub, x509.Certificate{URIs: spiffe(domain, id), ExtKeyUsage: client}).Cert, []*x509.Certificate{h.Hub.Cert}, "sslclient", false},
		{"an authority below the devices CA", rogue(t, below, x509.Certificate{URIs: spiffe(domain, id), ExtKeyUsage: client}).Cert, []*x509.Certificate{h.Devices.Cert, below.Cert}, "sslclient", false},
		{"a device signs a device", rogue(t, dev, x509.Certificate{URIs: spiffe(domain, id), ExtKeyUsage: client}).Cert, []*x509.Certificate{h.Devices.Cert, dev.Cert}, "sslclient", false},
	}
	openssl, lookErr := exec.LookPath("openssl")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			at := noon
			if c.name == "expired" {
				at = noon.Add(30*24*time.Hour - time.Hour)
			}
			usage := client
			if c.purpose == "sslserver" {
				usage = server
			}
			_, err := c.leaf.Verify(x509.VerifyOptions{Roots: pool(h.Root.Cert), Intermediates: pool(c.between...), KeyUsages: usage, CurrentTime: at})
			if (err == nil) != c.ok {
				t.Errorf("Go: %v, want ok %v", err, c.ok)
			}
			if lookErr != nil {
				t.Skip("openssl is not installed; only Go's verifier was asked")
			}
			dir := t.TempDir()
			file := func(name string, certs ...*x509.Certificate) string {
				p := filepath.Join(dir, name)
				if err := os.WriteFile(p, MarshalCertsPEM(certs...), 0o600); err != nil {
					t.Fatal(err)
				}
				return p
			}
			out, err := exec.Command(openssl, "verify", "-x509_strict", "-attime", fmt.Sprint(at.Unix()), "-purpose", c.purpose,
				"-CAfile", file("root.pem", h.Root.Cert), "-untrusted", file("between.pem", c.between...), file("leaf.pem", c.leaf)).CombinedOutput()
			if (err == nil) != c.ok {
				t.Errorf("OpenSSL: %v, want ok %v: %s", err, c.ok, out)
			}
		})
	}
	// The constraint holds as well where the devices CA itself is the anchor, as in [HubTLS].
	if _, err := cases[6].leaf.Verify(x509.VerifyOptions{Roots: pool(h.Devices.Cert), KeyUsages: client, CurrentTime: noon}); err == nil {
		t.Error("name constraint of an anchor is not applied")
	}
}

// TestLint runs zlint. For the device certificate every lint counts. Authorities and the hub's certificate are those
// of a private installation: the rules of the browsers' public programmes (CA/Browser Forum, root programmes: OCSP,
// policies, only public names) do not apply to them, those of the standards do. Two notices, which zlint itself ranks
// below a warning, are about public authorities and are let pass by name.
func TestLint(t *testing.T) {
	publicOnly := map[string]bool{
		"n_ct_sct_policy_count_unsatisfied": true, // no entry in public transparency logs
		"n_san_iana_pub_suffix_empty":       true, // localhost is a bare top-level name
	}
	h := hierarchy(t, noon)
	standards, err := lint.GlobalRegistry().Filter(lint.FilterOptions{
		IncludeSources: lint.SourceList{lint.RFC3279, lint.RFC5280, lint.RFC5480, lint.RFC5891, lint.RFC6962, lint.RFC8813, lint.Community},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		cert *x509.Certificate
		reg  lint.Registry
	}{
		{"device", deviceCert(t, h, noon).Cert, lint.GlobalRegistry()},
		{"hub", hubCert(t, h, noon, "localhost", "127.0.0.1", "hub.example.org").Cert, standards},
		{"root", h.Root.Cert, standards},
		{"devices CA", h.Devices.Cert, standards},
		{"hub CA", h.Hub.Cert, standards},
	} {
		z, err := zx509.ParseCertificate(c.cert.Raw)
		if err != nil {
			t.Fatal(err)
		}
		ran := 0
		for name, r := range zlint.LintCertificateEx(z, c.reg).Results {
			switch r.Status {
			case lint.NA, lint.NE:
			case lint.Pass:
				ran++
			case lint.Notice:
				if !publicOnly[name] {
					t.Errorf("%s: %s: %s %s", c.name, name, r.Status, r.Details)
				}
			default:
				t.Errorf("%s: %s: %s %s", c.name, name, r.Status, r.Details)
			}
		}
		if ran < 20 {
			t.Errorf("%s: only %d lints applied", c.name, ran)
		}
	}
}

func TestIdentityRefuses(t *testing.T) {
	h := hierarchy(t, noon)
	id := string(lh.NewDeviceID())
	for _, s := range []string{"spiffe://" + domain + "/d/dev_1", "https://" + domain + "/d/" + id, "spiffe://" + domain + "/x/" + id,
		"spiffe://" + domain + "/d/" + id + "/", "spiffe://" + domain + ":1/d/" + id, "spiffe://u@" + domain + "/d/" + id,
		"spiffe://" + domain + "/d/" + id + "?a=b", "spiffe://" + domain + "/d/" + id + "#f", "spiffe://" + domain + "/d/%64ev_" + id[4:],
		"spiffe://" + strings.ToUpper(domain) + "/d/" + id} {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		c := rogue(t, h.Root, x509.Certificate{URIs: []*url.URL{u}}).Cert
		if got, err := DeviceID(c); err == nil {
			t.Errorf("%s gives %s", s, got)
		}
	}
	two := append(spiffe(domain, lh.DeviceID(id)), spiffe(domain, lh.NewDeviceID())...)
	for _, c := range []*x509.Certificate{nil, rogue(t, h.Root, x509.Certificate{URIs: two}).Cert, rogue(t, h.Root, x509.Certificate{}).Cert} {
		if _, err := DeviceID(c); err == nil {
			t.Error("a certificate without exactly one URI has an identity")
		}
	}
}

func TestRenewAt(t *testing.T) {
	h := hierarchy(t, noon)
	times := map[time.Time]bool{}
	for range 20 {
		c := deviceCert(t, h, noon).Cert
		life := c.NotAfter.Sub(c.NotBefore)
		at := RenewAt(c)
		if part := float64(at.Sub(c.NotBefore)) / float64(life); part < 0.666 || part > 0.74 {
			t.Errorf("renewal at %.3f of the life", part)
		}
		if !RenewAt(c).Equal(at) {
			t.Error("renewal time changes")
		}
		times[at] = true
	}
	if len(times) < 15 {
		t.Errorf("20 certificates renew at %d moments", len(times))
	}
}

func TestKeyPairKeepsItsSecret(t *testing.T) {
	k := deviceCert(t, hierarchy(t, noon), noon)
	raw, err := k.Key.(*ecdsa.PrivateKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{new(big.Int).SetBytes(raw).String(), fmt.Sprintf("%x", raw), fmt.Sprint(raw)}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "pair", k)
	fmt.Fprintf(&b, "%v %+v %#v %s", k, k, k, k)
	for _, secret := range secrets {
		if strings.Contains(b.String(), secret) || !strings.Contains(b.String(), "CN=dev_") {
			t.Errorf("printed: %s", b.String())
		}
	}
}
