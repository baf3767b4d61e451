package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/wal"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

const testDomain = "test.loggerhead.internal"

// installation is the authorities of one hub.
type installation struct {
	*pki.Hierarchy
	t testing.TB
}

func newInstallation(t testing.TB) *installation {
	t.Helper()
	h, err := pki.NewHierarchy(testDomain, time.Now().Add(-30*24*time.Hour)) // it has issued before
	if err != nil {
		t.Fatal(err)
	}
	return &installation{h, t}
}

// deviceAt issues a device certificate as of then.
func (i *installation) deviceAt(id lh.DeviceID, then time.Time) *pki.KeyPair {
	i.t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		i.t.Fatal(err)
	}
	der, err := pki.NewRequest(key, "x")
	if err != nil {
		i.t.Fatal(err)
	}
	csr, err := pki.ParseRequest(der)
	if err != nil {
		i.t.Fatal(err)
	}
	c, err := pki.IssueDevice(i.Devices, testDomain, csr, id, then)
	if err != nil {
		i.t.Fatal(err)
	}
	return &pki.KeyPair{Cert: c, Key: key}
}

// hubTLS is the TLS of a hub of this installation that is known by host.
func (i *installation) hubTLS(host string, protos ...string) *tls.Config {
	i.t.Helper()
	key, err := pki.NewKey()
	if err != nil {
		i.t.Fatal(err)
	}
	c, err := pki.IssueHub(i.Hub, key.Public(), []string{host}, time.Now())
	if err != nil {
		i.t.Fatal(err)
	}
	pair := (&pki.KeyPair{Cert: c, Key: key}).TLS(i.Hub.Cert)
	conf, err := pki.HubTLS(pki.HubOptions{TrustDomain: testDomain, DeviceCAs: []*x509.Certificate{i.Devices.Cert}, Optional: true, NextProtos: protos,
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair, nil },
		Verify:      func(tls.ConnectionState) error { return nil }})
	if err != nil {
		i.t.Fatal(err)
	}
	return conf
}

// serve runs an HTTPS server with that TLS until the test ends, and returns its address.
func serve(t testing.TB, conf *tls.Config, h http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, TLSConfig: conf, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeTLS(ln, "", "") // ends with ErrServerClosed
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return ln.Addr().String()
}

// fakeHub keeps batches in memory, after whatever fault a test puts before it.
type fakeHub struct {
	device lh.DeviceID
	// fault answers the n-th batch (from 1) in its own way and returns true, or lets it pass.
	fault func(n int, b *wire.Batch, w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	requests int
	times    map[uint64]map[uint32]int // how often each record of each log was taken
	welcomes int
}

func (f *fakeHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	now := lh.MillisOf(time.Now())
	if r.URL.Path == "/v1/manifest" {
		f.mu.Lock()
		f.welcomes++
		f.mu.Unlock()
		json.NewEncoder(w).Encode(wire.Welcome{Device: f.device, Project: "prj_0000000000000000", Time: now})
		return
	}
	var b wire.Batch
	if err := wire.Decode(&b, body); err != nil {
		refuse(w, lh.Invalid, err.Error())
		return
	}
	f.mu.Lock()
	f.requests++
	n := f.requests
	f.mu.Unlock()
	if f.fault != nil && f.fault(n, &b, w, r) {
		return
	}
	f.take(&b)
	json.NewEncoder(w).Encode(wire.Ack{AckedThrough: b.Last(), Time: now})
}

func (f *fakeHub) take(b *wire.Batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.times == nil {
		f.times = map[uint64]map[uint32]int{}
	}
	if f.times[b.Log] == nil {
		f.times[b.Log] = map[uint32]int{}
	}
	for i := range b.Records {
		f.times[b.Log][b.First+uint32(i)]++
	}
}

// has returns how many records the hub has, and how many requests it saw.
func (f *fakeHub) has() (records, requests int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.times {
		records += len(l)
	}
	return records, f.requests
}

func refuse(w http.ResponseWriter, code lh.Code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(code.HTTPStatus())
	json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "title": "no", "status": code.HTTPStatus(), "detail": detail, "code": code})
}

// bench is an uplink with a log of its own before a fake hub.
type bench struct {
	t      *testing.T
	inst   *installation
	uplink *uplink
	log    *wal.Log
	said   *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const testDevice = lh.DeviceID("dev_0123456789abcdef")

// newBench makes an uplink that is enrolled and quick to try again. Its hub is of inst and at addr.
func newBench(t *testing.T, inst *installation, addr string) *bench {
	t.Helper()
	dir := t.TempDir()
	said := &logBuffer{}
	log := slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg := DefaultConfig()
	cfg.Hub = HubConfig{HTTPS: "https://" + addr, Roots: "x"}
	cfg.Serial, cfg.Data, cfg.ClaimCodeFile = "T-1", dir, filepath.Join(dir, "claim.code")
	cfg.Upload.MaxRecords = 1000
	l, err := wal.Open(filepath.Join(dir, samplesDir), wal.Options{MaxBytes: 16 << 20, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	id, err := openIdentity(dir, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.settle(inst.deviceAt(testDevice, time.Now())); err != nil {
		t.Fatal(err)
	}
	a := &Agent{o: Options{Config: cfg, Version: "test", Log: log, Synced: func() bool { return true }}, id: id, samples: l}
	a.o.fill()
	if err := a.connect([]*x509.Certificate{inst.Root.Cert}, []byte(`{"version":"test","hardware":"x","channels":[]}`)); err != nil {
		t.Fatal(err)
	}
	u := a.uplink
	u.again, u.refused = backoff{base: 5 * time.Millisecond, max: 40 * time.Millisecond}, backoff{base: 5 * time.Millisecond, max: 40 * time.Millisecond}
	u.hub.batchTime, u.hub.askTime = 2*time.Second, 2*time.Second
	t.Cleanup(u.hub.close)
	return &bench{t, inst, u, l, said}
}

// fill appends n records.
func (b *bench) fill(n int) {
	b.t.Helper()
	recs := make([]wal.Record, n)
	for i := range recs {
		recs[i] = wal.Record{Time: lh.Millis(1700000000000 + int64(i)*60000), Values: []wal.Value{{Channel: "1/water_level", Flag: lh.FlagGood, Value: float64(i) / 1000}}}
	}
	if _, err := b.log.Append(context.Background(), recs...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) stats() wal.Stats {
	b.t.Helper()
	s, err := b.log.Stats()
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// start runs the uplink until the test ends.
func (b *bench) start() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.uplink.run(ctx, make(chan struct{}))
	}()
	b.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// until waits for a condition that has to come true.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}
