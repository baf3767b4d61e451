package pki

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

const patience = 10 * time.Second

// listener is a device listener that says who came, until the test ends.
type listener struct{ addr string }

// serve accepts connections on a port of its own; a client that gets through reads "hello <key hash> <resumed>".
func serve(t *testing.T, cfg *tls.Config) *listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer raw.Close()
				raw.SetDeadline(time.Now().Add(patience))
				c := tls.Server(raw, cfg)
				if c.Handshake() != nil {
					return
				}
				s := c.ConnectionState()
				who := "nobody"
				if len(s.PeerCertificates) > 0 {
					who = fmt.Sprintf("%x", KeyHash(s.PeerCertificates[0]))
				}
				fmt.Fprintf(c, "hello %s %v", who, s.DidResume)
				c.Close()
			}()
		}
	}()
	return &listener{addr: l.Addr().String()}
}

// dial connects and returns what the listener says. In TLS 1.3 a client learns of its refusal by reading.
func dial(l *listener, cfg *tls.Config) (string, error) {
	raw, err := net.DialTimeout("tcp", l.addr, patience)
	if err != nil {
		return "", err
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(patience))
	c := tls.Client(raw, cfg)
	if err := c.Handshake(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(c, 1000))
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(string(b), "hello ") {
		return "", fmt.Errorf("the listener said %q", b)
	}
	return string(b), nil
}

type world struct {
	h   *Hierarchy
	hub Live
	now atomic.Int64 // the hub's clock
}

func newWorld(t *testing.T) *world {
	w := &world{h: hierarchy(t, noon)}
	w.now.Store(noon.Unix())
	w.hub.Set(hubCert(t, w.h, noon, "localhost", "127.0.0.1").TLS(w.h.Hub.Cert))
	return w
}

func (w *world) clock() time.Time { return time.Unix(w.now.Load(), 0) }

func (w *world) hubTLS(t *testing.T, change func(*HubOptions)) *tls.Config {
	t.Helper()
	o := HubOptions{
		TrustDomain: domain, DeviceCAs: []*x509.Certificate{w.h.Devices.Cert}, Certificate: w.hub.Server,
		Verify: func(tls.ConnectionState) error { return nil }, Now: w.clock,
	}
	if change != nil {
		change(&o)
	}
	cfg, err := HubTLS(o)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func (w *world) deviceTLS(t *testing.T, k *KeyPair, change func(*DeviceOptions)) *tls.Config {
	t.Helper()
	o := DeviceOptions{Host: "127.0.0.1", Roots: []*x509.Certificate{w.h.Root.Cert}, Now: w.clock}
	if k != nil {
		var l Live
		l.Set(k.TLS())
		o.Certificate = l.Client
	}
	if change != nil {
		change(&o)
	}
	cfg, err := DeviceTLS(o)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestMutualTLS(t *testing.T) {
	w := newWorld(t)
	l := serve(t, w.hubTLS(t, nil))
	k := deviceCert(t, w.h, noon)
	for _, host := range []string{"127.0.0.1", "localhost"} {
		said, err := dial(l, w.deviceTLS(t, k, func(o *DeviceOptions) { o.Host = host }))
		if err != nil || said != fmt.Sprintf("hello %x false", KeyHash(k.Cert)) {
			t.Fatalf("%s: %q, %v", host, said, err)
		}
	}
}

// TestHubRefusesClients: every client here shows something, and every listener refuses it, whether it insists on a
// certificate or not.
func TestHubRefusesClients(t *testing.T) {
	w := newWorld(t)
	foreign := hierarchy(t, noon)
	id := lh.NewDeviceID()
	client := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	good := deviceCert(t, w.h, noon)
	must, may := serve(t, w.hubTLS(t, nil)), serve(t, w.hubTLS(t, func(o *HubOptions) { o.Optional = true }))
	for _, l := range []*listener{must, may} {
		if _, err := dial(l, w.deviceTLS(t, good, nil)); err != nil {
			t.Fatalf("a good device is refused: %v", err)
		}
	}
	day := 24 * time.Hour
	for name, k := range map[string]*KeyPair{
		"another installation":        deviceCert(t, foreign, noon),
		"expired":                     rogue(t, w.h.Devices, x509.Certificate{URIs: spiffe(domain, id), ExtKeyUsage: client, NotBefore: noon.Add(-31 * day), NotAfter: noon.Add(-time.Second)}),
		"not yet valid":               rogue(t, w.h.Devices, x509.Certificate{URIs: spiffe(domain, id), ExtKeyUsage: client, NotBefore: noon.Add(time.Hour), NotAfter: noon.Add(day)}),
		"a server certificate":        hubCert(t, w.h, noon, "localhost"),
		"server usage, devices CA":    rogue(t, w.h.Devices, x509.Certificate{URIs: spiffe(domain, id), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}),
		"another trust domain":        rogue(t, w.h.Devices, x509.Certificate{URIs: spiffe("else.example.com", id), ExtKeyUsage: client}),
		"a sub-domain":                rogue(t, w.h.Devices, x509.Certificate{URIs: spiffe("a."+domain, id), ExtKeyUsage: client}),
		"no URI":                      rogue(t, w.h.Devices, x509.Certificate{ExtKeyUsage: client, Subject: pkix.Name{CommonName: string(id)}}),
		"signed by the hub CA":        rogue(t, w.h.Hub, x509.Certificate{URIs: spiffe(domain, id), ExtKeyUsage: client}),
		"signed by the root":          rogue(t, w.h.Root, x509.Certificate{URIs: spiffe(domain, id), ExtKeyUsage: client}),
		"the devices CA itself":       w.h.Devices,
		"an authority of devices CA":  rogue(t, w.h.Devices, x509.Certificate{URIs: spiffe(domain, id), ExtKeyUsage: client, IsCA: true, BasicConstraintsValid: true}),
		"the certificate of somebody": {Cert: good.Cert, Key: deviceCert(t, w.h, noon).Key}, // and a key of one's own
	} {
		for _, l := range []*listener{must, may} {
			if said, err := dial(l, w.deviceTLS(t, k, nil)); err == nil {
				t.Errorf("%s: %s", name, said)
			}
		}
	}
	if said, err := dial(must, w.deviceTLS(t, nil, nil)); err == nil {
		t.Errorf("no certificate: %s", said)
	}
	if said, err := dial(may, w.deviceTLS(t, nil, nil)); err != nil || said != "hello nobody false" {
		t.Errorf("no certificate where it is optional: %q %v", said, err)
	}
	// The rest of the handshake is in order: it is the version that is refused.
	old := w.deviceTLS(t, good, nil)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for _, l := range []*listener{must, may} {
		if said, err := dial(l, old); err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("TLS 1.2: %q %v", said, err)
		}
	}
}

func TestDenyListOnResumption(t *testing.T) {
	w := newWorld(t)
	var denied atomic.Bool
	var asked atomic.Int32
	l := serve(t, w.hubTLS(t, func(o *HubOptions) {
		o.Verify = func(s tls.ConnectionState) error {
			asked.Add(1)
			if denied.Load() {
				return errors.New("denied")
			}
			return nil
		}
	}))
	cfg := w.deviceTLS(t, deviceCert(t, w.h, noon), nil)
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(4) // a foreign client may resume; ours does not
	connect := func(resumed bool) {
		t.Helper()
		said, err := dial(l, cfg)
		if err != nil || !strings.HasSuffix(said, fmt.Sprint(resumed)) {
			t.Fatalf("%q %v, want resumed %v", said, err, resumed)
		}
	}
	connect(false)
	connect(true)
	if n := asked.Load(); n != 2 {
		t.Fatalf("the deny list was asked %d times in 2 connections", n)
	}
	denied.Store(true)
	if said, err := dial(l, cfg); err == nil {
		t.Fatalf("denied, resumed: %s", said)
	}
	if n := asked.Load(); n != 3 {
		t.Fatalf("the deny list was asked %d times in 3 connections", n)
	}
	denied.Store(false)
	connect(true)
	// A session does not outlive its certificate.
	w.now.Store(noon.Add(DeviceLife + time.Minute).Unix())
	if said, err := dial(l, cfg); err == nil {
		t.Fatalf("expired, resumed: %s", said)
	}
}

func TestRenewedCertificatesAreUsed(t *testing.T) {
	w := newWorld(t)
	l := serve(t, w.hubTLS(t, nil))
	var own Live
	first, next := deviceCert(t, w.h, noon), deviceCert(t, w.h, noon)
	own.Set(first.TLS())
	cfg := w.deviceTLS(t, nil, func(o *DeviceOptions) { o.Certificate = own.Client })
	var seen [32]byte
	check := cfg.VerifyConnection
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		seen = KeyHash(s.PeerCertificates[0])
		return check(s)
	}
	if said, err := dial(l, cfg); err != nil || !strings.Contains(said, fmt.Sprintf("%x", KeyHash(first.Cert))) {
		t.Fatal(said, err)
	}
	renewed := hubCert(t, w.h, noon, "127.0.0.1")
	w.hub.Set(renewed.TLS(w.h.Hub.Cert))
	own.Set(next.TLS())
	if said, err := dial(l, cfg); err != nil || !strings.Contains(said, fmt.Sprintf("%x", KeyHash(next.Cert))) {
		t.Fatal(said, err)
	}
	if seen != KeyHash(renewed.Cert) {
		t.Error("the listener still shows its old certificate")
	}
}

func TestDeviceRefusesHubs(t *testing.T) {
	w := newWorld(t)
	k := deviceCert(t, w.h, noon)
	foreign := hierarchy(t, noon)
	server := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	lo := []net.IP{net.IPv4(127, 0, 0, 1)}
	for name, c := range map[string]*tls.Certificate{
		"another installation":     hubCert(t, foreign, noon, "127.0.0.1").TLS(foreign.Hub.Cert),
		"another host":             hubCert(t, w.h, noon, "hub.example.org", "127.0.0.2").TLS(w.h.Hub.Cert),
		"a device":                 k.TLS(w.h.Devices.Cert),
		"a device with an address": rogue(t, w.h.Devices, x509.Certificate{IPAddresses: lo, ExtKeyUsage: server}).TLS(w.h.Devices.Cert),
		"a hub's own certificates": rogue(t, hubCert(t, w.h, noon, "127.0.0.1"), x509.Certificate{IPAddresses: lo, ExtKeyUsage: server}).TLS(hubCert(t, w.h, noon, "127.0.0.1").Cert, w.h.Hub.Cert),
		"client usage":             rogue(t, w.h.Hub, x509.Certificate{IPAddresses: lo, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}).TLS(w.h.Hub.Cert),
		"no issuer":                hubCert(t, w.h, noon, "127.0.0.1").TLS(),
		"expired":                  rogue(t, w.h.Hub, x509.Certificate{IPAddresses: lo, ExtKeyUsage: server, NotBefore: noon.Add(-48 * time.Hour), NotAfter: noon.Add(-time.Hour)}).TLS(w.h.Hub.Cert),
	} {
		w.hub.Set(c)
		said, err := dial(serve(t, w.hubTLS(t, nil)), w.deviceTLS(t, k, nil))
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
			t.Errorf("%s: %q, %v", name, said, err)
		}
	}
	// A hub of TLS 1.2 is refused whatever it shows.
	w.hub.Set(hubCert(t, w.h, noon, "127.0.0.1").TLS(w.h.Hub.Cert))
	old := w.hubTLS(t, nil)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if said, err := dial(serve(t, old), w.deviceTLS(t, k, nil)); err == nil {
		t.Errorf("TLS 1.2: %s", said)
	}
}

// TestDeviceClock: the hub was set up at noon; its certificate is of a year later, when a logger comes whose clock
// shows anything.
func TestDeviceClock(t *testing.T) {
	w := newWorld(t)
	year := noon.AddDate(1, 0, 0)
	w.now.Store(year.Unix())
	w.hub.Set(hubCert(t, w.h, year, "127.0.0.1").TLS(w.h.Hub.Cert))
	l := serve(t, w.hubTLS(t, nil))
	k := deviceCert(t, w.h, year)
	at := func(t time.Time) func() time.Time { return func() time.Time { return t } }
	unsure := func() bool { return true }
	for _, c := range []struct {
		name       string
		now, floor time.Time
		unsure     func() bool
		ok         bool
	}{
		{"right", year, noon, nil, true},
		{"1970, fresh from the shelf", time.Unix(0, 0), time.Time{}, nil, true},
		{"1970, and a floor of the build", time.Unix(0, 0), noon.AddDate(-1, 0, 0), nil, true},
		{"an hour back", year.Add(-time.Hour), year, nil, true},
		{"half a year back", year.AddDate(0, -6, 0), noon, nil, true},
		{"a day ahead", year.AddDate(0, 0, 1), year, nil, true},
		{"2036, thought to be right", year.AddDate(10, 0, 0), year, nil, false},
		{"2036, nobody confirmed it", year.AddDate(10, 0, 0), year, unsure, true},
		{"2036, never spoke to the hub", year.AddDate(10, 0, 0), time.Time{}, unsure, true},
		{"the certificate ended before the floor", time.Unix(0, 0), year.Add(HubLife + time.Hour), nil, false},
		{"the same, nobody confirmed the clock", year, year.Add(HubLife + time.Hour), unsure, false},
	} {
		said, err := dial(l, w.deviceTLS(t, k, func(o *DeviceOptions) {
			o.Now, o.Floor, o.Unsure = at(c.now), at(c.floor), c.unsure
		}))
		if (err == nil) != c.ok {
			t.Errorf("%s: %q %v, want ok %v", c.name, said, err, c.ok)
		}
	}
	// A forged chain may claim any time; it stays forged.
	forged := hierarchy(t, year.AddDate(5, 0, 0))
	w.hub.Set(hubCert(t, forged, year.AddDate(5, 0, 0), "127.0.0.1").TLS(forged.Hub.Cert))
	if said, err := dial(l, w.deviceTLS(t, k, func(o *DeviceOptions) { o.Unsure = unsure })); err == nil {
		t.Errorf("forged: %s", said)
	}
}

func TestTLSRefusesToStart(t *testing.T) {
	w := newWorld(t)
	leaf := deviceCert(t, w.h, noon).Cert
	good := HubOptions{TrustDomain: domain, DeviceCAs: []*x509.Certificate{w.h.Devices.Cert}, Certificate: w.hub.Server, Verify: func(tls.ConnectionState) error { return nil }}
	for name, change := range map[string]func(*HubOptions){
		"no trust domain": func(o *HubOptions) { o.TrustDomain = "" },
		"no CA":           func(o *HubOptions) { o.DeviceCAs = nil },
		"leaf for a CA":   func(o *HubOptions) { o.DeviceCAs = []*x509.Certificate{leaf} },
		"no certificate":  func(o *HubOptions) { o.Certificate = nil },
		"no deny list":    func(o *HubOptions) { o.Verify = nil },
	} {
		o := good
		change(&o)
		if cfg, err := HubTLS(o); err == nil || cfg != nil {
			t.Errorf("hub, %s: no error", name)
		}
	}
	for name, o := range map[string]DeviceOptions{
		"no host": {Roots: []*x509.Certificate{w.h.Root.Cert}}, "no roots": {Host: "x"}, "leaf for a root": {Host: "x", Roots: []*x509.Certificate{leaf}},
	} {
		if cfg, err := DeviceTLS(o); err == nil || cfg != nil {
			t.Errorf("device, %s: no error", name)
		}
	}
	if _, err := PeopleTLS(nil, nil); err == nil {
		t.Error("people, no certificate: no error")
	}
	var empty Live
	if _, err := empty.Server(nil); err == nil {
		t.Error("a listener without a certificate goes on")
	}
}

func TestPeopleTLS(t *testing.T) {
	w := newWorld(t)
	cfg, err := PeopleTLS(w.hub.Server, w.clock)
	if err != nil {
		t.Fatal(err)
	}
	l := serve(t, cfg)
	client := &tls.Config{RootCAs: pool(w.h.Root.Cert), ServerName: "localhost", Time: w.clock}
	if said, err := dial(l, client); err != nil || said != "hello nobody false" {
		t.Errorf("%q %v", said, err)
	}
	client.MaxVersion = tls.VersionTLS12
	if said, err := dial(l, client); err == nil {
		t.Errorf("TLS 1.2: %s", said)
	}
}

// TestForeignClient: OpenSSL's client gets through with a device certificate and not without one.
func TestForeignClient(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	h := hierarchy(t, time.Now())
	var hub Live
	hub.Set(hubCert(t, h, time.Now(), "localhost").TLS(h.Hub.Cert))
	cfg, err := HubTLS(HubOptions{TrustDomain: domain, DeviceCAs: []*x509.Certificate{h.Devices.Cert}, Certificate: hub.Server,
		Verify: func(tls.ConnectionState) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	l := serve(t, cfg)
	k := deviceCert(t, h, time.Now())
	cert, key, err := k.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"cert": cert, "key": key, "root": MarshalCertsPEM(h.Root.Cert)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		args = append([]string{"s_client", "-connect", l.addr, "-servername", "localhost", "-verify_hostname", "localhost", "-verify_return_error",
			"-x509_strict", "-CAfile", filepath.Join(dir, "root"), "-quiet", "-ign_eof"}, args...)
		out, _ := exec.Command(openssl, args...).CombinedOutput() // its exit status says nothing of an alert after the handshake
		return string(out)
	}
	own := []string{"-cert", filepath.Join(dir, "cert"), "-key", filepath.Join(dir, "key")}
	if out := run(own...); !strings.Contains(out, fmt.Sprintf("hello %x", KeyHash(k.Cert))) {
		t.Errorf("with certificate: %s", out)
	}
	if out := run(); strings.Contains(out, "hello") {
		t.Errorf("without certificate: %s", out)
	}
	if out := run(append(own, "-tls1_2")...); strings.Contains(out, "hello") {
		t.Errorf("TLS 1.2: %s", out)
	}
}
