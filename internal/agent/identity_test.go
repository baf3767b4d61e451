package agent

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
)

// estHub signs certificate requests, after whatever fault a test puts before it, and is otherwise a fakeHub.
type estHub struct {
	*fakeHub
	inst  *installation
	code  string
	fault func(n int, w http.ResponseWriter, good *pki.KeyPair) bool

	mu   sync.Mutex
	n    int
	keys map[[32]byte]bool // of all that was signed
	bars map[[32]byte]bool // certificates that are not welcome
}

func (e *estHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(r.TLS.PeerCertificates) > 0 {
		e.mu.Lock()
		barred := e.bars[pki.KeyHash(r.TLS.PeerCertificates[0])]
		e.mu.Unlock()
		if barred {
			refuse(w, lh.Unauthenticated, "not you")
			return
		}
	}
	if !strings.HasPrefix(r.URL.Path, "/.well-known/est/") {
		e.fakeHub.ServeHTTP(w, r)
		return
	}
	if _, code, _ := r.BasicAuth(); strings.HasSuffix(r.URL.Path, "/simpleenroll") && code != e.code {
		refuse(w, lh.Unauthenticated, "serial and code do not fit")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	der, err := pki.DecodeEST(body)
	if err != nil {
		refuse(w, lh.Invalid, err.Error())
		return
	}
	csr, err := pki.ParseRequest(der)
	if err != nil {
		refuse(w, lh.Invalid, err.Error())
		return
	}
	c, err := pki.IssueDevice(e.inst.Devices, testDomain, csr, e.device, time.Now())
	if err != nil {
		refuse(w, lh.Internal, err.Error())
		return
	}
	e.mu.Lock()
	e.n++
	n := e.n
	if e.keys == nil {
		e.keys = map[[32]byte]bool{}
	}
	e.keys[pki.KeyHash(c)] = true
	e.mu.Unlock()
	if e.fault != nil && e.fault(n, w, &pki.KeyPair{Cert: c}) {
		return
	}
	answerCerts(w, &pki.KeyPair{Cert: c})
}

func answerCerts(w http.ResponseWriter, p *pki.KeyPair) {
	der, err := pki.CertsOnly(p.Cert)
	if err != nil {
		panic(err)
	}
	w.Write(pki.EncodeEST(der))
}

// newESTBench is a bench whose device has no certificate yet, or (renewing) one that is to be renewed.
func newESTBench(t *testing.T, renewing bool) (*bench, *estHub) {
	t.Helper()
	inst := newInstallation(t)
	e := &estHub{fakeHub: &fakeHub{device: testDevice}, inst: inst, code: "ABCD-EFGH", bars: map[[32]byte]bool{}}
	b := newBench(t, inst, serve(t, inst.hubTLS("127.0.0.1", "h2", "http/1.1"), e))
	b.uplink.renewals = backoff{base: 5 * time.Millisecond, max: 20 * time.Millisecond}
	if renewing {
		if err := b.uplink.id.settle(inst.deviceAt(testDevice, time.Now().Add(-25*24*time.Hour))); err != nil {
			t.Fatal(err)
		}
	} else {
		if err := os.Remove(filepath.Join(b.uplink.cfg.Data, identityFile)); err != nil {
			t.Fatal(err)
		}
		b.uplink.id.cert.Store(nil)
		if err := os.WriteFile(b.uplink.cfg.ClaimCodeFile, []byte(e.code+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.fill(3)
	return b, e
}

// TestEnrolmentFaults asks a hub for a certificate whose answers get lost or are wrong: the device asks again with the
// same key, and believes no answer that is not for it.
func TestEnrolmentFaults(t *testing.T) {
	stranger := newInstallation(t).deviceAt(testDevice, time.Now())
	for name, fault := range map[string]func(w http.ResponseWriter){
		"answer lost":     func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"not base64":      func(w http.ResponseWriter) { w.Write([]byte("%%%")) },
		"not PKCS#7":      func(w http.ResponseWriter) { w.Write([]byte("AAAA")) },
		"empty":           func(http.ResponseWriter) {},
		"for another key": func(w http.ResponseWriter) { answerCerts(w, stranger) },
		"503":             func(w http.ResponseWriter) { refuse(w, lh.Unavailable, "later") },
	} {
		for _, renewing := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b, e := newESTBench(t, renewing)
				e.fault = func(n int, w http.ResponseWriter, _ *pki.KeyPair) bool {
					if n <= 3 {
						fault(w)
					}
					return n <= 3
				}
				before := b.uplink.id.cert.Load()
				b.uplink.welcomed = testDevice
				if !renewing {
					b.uplink.welcomed = ""
				}
				b.start()
				until(t, "a certificate", func() bool { c := b.uplink.id.cert.Load(); return c != nil && c != before })
				until(t, "all acknowledged", func() bool { return b.stats().Unacked == 0 })
				e.mu.Lock()
				defer e.mu.Unlock()
				if len(e.keys) != 1 {
					t.Errorf("%d keys were used", len(e.keys))
				}
				if p, err := readPair(filepath.Join(b.uplink.cfg.Data, identityFile)); err != nil || !e.keys[pki.KeyHash(p.Cert)] {
					t.Errorf("%v %v", p, err)
				}
				for _, f := range []string{pendingFile, nextFile} {
					if _, err := os.Lstat(filepath.Join(b.uplink.cfg.Data, f)); !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("%s: %v", f, err)
					}
				}
				if st, err := os.Stat(filepath.Join(b.uplink.cfg.Data, identityFile)); err != nil || st.Mode().Perm() != 0o600 {
					t.Errorf("%v %v", st, err)
				}
			})
		}
	}
}

// TestRenewedNotWelcome gives a renewed certificate that the hub then does not know: the old one stays in use, and
// uploads go on.
func TestRenewedNotWelcome(t *testing.T) {
	b, e := newESTBench(t, true)
	old := b.uplink.id.cert.Load()
	e.fault = func(n int, _ http.ResponseWriter, p *pki.KeyPair) bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.bars[pki.KeyHash(p.Cert)] = n <= 2
		return false
	}
	b.start()
	until(t, "the third to be taken", func() bool { return b.uplink.id.cert.Load() != old })
	until(t, "all acknowledged", func() bool { return b.stats().Unacked == 0 })
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.n != 3 || len(e.keys) != 3 {
		t.Errorf("%d certificates for %d keys", e.n, len(e.keys))
	}
	if n, _ := e.has(); int64(n) != int64(b.stats().Last) {
		t.Errorf("the hub has %d of %d records", n, b.stats().Last)
	}
}

// TestStagedSurvives cuts the power between the answer of the hub and the first use of the renewed certificate.
func TestStagedSurvives(t *testing.T) {
	b, e := newESTBench(t, true)
	next := b.inst.deviceAt(testDevice, time.Now())
	if err := b.uplink.id.stage(next); err != nil {
		t.Fatal(err)
	}
	b.start()
	until(t, "the staged certificate in use", func() bool { return b.uplink.id.cert.Load().Equal(next.Cert) })
	if e.n != 0 {
		t.Errorf("%d more were asked for", e.n)
	}
}

// TestDamagedIdentity has the file of the identity damaged: the device is not enrolled then, and the file is kept.
func TestDamagedIdentity(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	inst := newInstallation(t)
	i, err := openIdentity(dir, log)
	if err != nil || i.device() != "" {
		t.Fatal(i.device(), err)
	}
	pair := inst.deviceAt(testDevice, time.Now())
	if err := i.settle(pair); err != nil {
		t.Fatal(err)
	}
	if i, err = openIdentity(dir, log); err != nil || i.device() != testDevice {
		t.Fatal(i.device(), err)
	}
	good, err := os.ReadFile(i.path(identityFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, len(good) / 3, len(good) - 40} {
		if err := os.WriteFile(i.path(identityFile), good[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		i, err := openIdentity(dir, log)
		if err != nil || i.device() != "" {
			t.Errorf("cut at %d: %q %v", n, i.device(), err)
		}
		if b, err := os.ReadFile(i.path(identityFile + ".damaged")); err != nil || len(b) != n {
			t.Errorf("cut at %d: %d bytes kept, %v", n, len(b), err)
		}
	}
}

// TestKeyIsSecret looks for the private key where it must not be.
func TestKeyIsSecret(t *testing.T) {
	b, _ := newESTBench(t, false)
	b.start()
	until(t, "all acknowledged", func() bool { return b.stats().Unacked == 0 })
	if s := b.said.String(); strings.Contains(s, "PRIVATE") || strings.Contains(s, "ABCD-EFGH") {
		t.Error("the log tells a secret")
	}
	for _, name := range []string{identityFile, claimedFile, clockFile} {
		st, err := os.Stat(filepath.Join(b.uplink.cfg.Data, name))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, st, err)
		}
	}
}
