package agent_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/agent"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/wal"
	"github.com/loggerhead-cloud/loggerhead/internal/fleet"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
	"github.com/loggerhead-cloud/loggerhead/internal/server"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

const email, password = "owner@test.example", "correct horse battery staple"

// realHub is a whole hub in this process, with a clock that a test can set forward.
type realHub struct {
	t       *testing.T
	cfg     server.Config
	addrs   server.Addrs
	ahead   atomic.Int64 // ns before the real time
	api     *client.Client
	project string
	stop    func()
}

func (h *realHub) now() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }

func startHub(t *testing.T) *realHub {
	t.Helper()
	h := &realHub{t: t}
	c := server.DefaultConfig()
	c.Data = filepath.Join(t.TempDir(), "hub")
	c.People.Listen, c.MQTT.Listen, c.Devices.Listen, c.Private.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	if _, err := server.Init(t.Context(), c, time.Now()); err != nil {
		t.Fatal(err)
	}
	var err error
	if h.cfg, err = server.LoadConfig(filepath.Join(c.Data, server.ConfigFile)); err != nil {
		t.Fatal(err)
	}
	h.operate(func(db *store.DB) error {
		_, err := access.New(access.Options{DB: db}).CreateUser(t.Context(), lh.User{Email: email, Name: "Owner"}, password)
		return err
	})
	h.run()
	h.logIn()
	p, err := h.api.CreateProject(t.Context(), "Skjern Å", "Europe/Copenhagen")
	if err != nil {
		t.Fatal(err)
	}
	h.project = p.ID
	return h
}

// operate does what an operator does on the hub's machine, beside the running hub.
func (h *realHub) operate(do func(db *store.DB) error) {
	h.t.Helper()
	master, err := seal.LoadMaster(h.cfg.MasterKey)
	if err != nil {
		h.t.Fatal(err)
	}
	db, err := store.Open(h.t.Context(), store.Options{URL: h.cfg.Database, Master: master, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		h.t.Fatal(err)
	}
	err = do(db)
	if e := db.Close(); err == nil {
		err = e
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// run starts the hub; a second time on the ports of the first.
func (h *realHub) run() {
	h.t.Helper()
	s, err := server.New(context.Background(), h.cfg, server.Deps{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: h.now, Version: "test"})
	if err != nil {
		h.t.Fatal(err)
	}
	h.addrs = s.Addrs()
	h.cfg.People.Listen, h.cfg.MQTT.Listen, h.cfg.Devices.Listen, h.cfg.Private.Listen = h.addrs.People, h.addrs.MQTT, h.addrs.Devices, h.addrs.Private
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("hub: %v", err)
		}
	})
	h.t.Cleanup(h.stop)
}

func (h *realHub) roots() string { return filepath.Join(h.cfg.Data, server.RootFile) }

func (h *realHub) logIn() {
	h.t.Helper()
	pem, err := os.ReadFile(h.roots())
	if err != nil {
		h.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	if h.api, err = client.New("https://"+h.addrs.People, client.Options{Roots: pool}); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(h.api.Close)
	if _, err := h.api.LogIn(h.t.Context(), email, password); err != nil {
		h.t.Fatal(err)
	}
}

// list gives a serial a new claim code.
func (h *realHub) list(serial string) (code string) {
	h.t.Helper()
	h.operate(func(db *store.DB) (err error) {
		code, err = fleet.New(fleet.Options{DB: db}).List(h.t.Context(), serial, "test-1")
		return err
	})
	return code
}

func (h *realHub) claim(serial, code string) {
	h.t.Helper()
	if _, err := h.api.ClaimDevice(h.t.Context(), h.project, client.Claim{Serial: serial, ClaimCode: code, Name: serial}); err != nil {
		h.t.Fatal(err)
	}
}

// logger is a datalogger's folder: configuration, claim code, data.
type logger struct {
	t    *testing.T
	hub  *realHub
	dir  string
	said *buffer

	agent *agent.Agent // while it runs in this process
}

// newLogger lists and claims a device and writes its configuration. Sensors are the YAML of the list.
func (h *realHub) newLogger(serial, sensors, extra string) *logger {
	h.t.Helper()
	l := &logger{t: h.t, hub: h, dir: h.t.TempDir(), said: &buffer{}}
	h.t.Cleanup(func() {
		if said := l.said.String(); h.t.Failed() {
			h.t.Logf("the agent said:\n%s\n...\n%s", said[:min(len(said), 4000)], said[max(0, len(said)-4000):])
		}
	})
	code := h.list(serial)
	h.claim(serial, code)
	l.code(code)
	text := fmt.Sprintf("serial: %s\nhub: {https: 'https://%s', mqtt: '%s', roots: '%s'}\nlog: {level: debug}\n%s\nsensors:\n%s", serial, h.addrs.Devices, h.addrs.MQTT, h.roots(), extra, sensors)
	if err := os.WriteFile(l.config(), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return l
}

func (l *logger) config() string { return filepath.Join(l.dir, "agent.yaml") }

func (l *logger) code(code string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, "claim.code"), []byte(code+"\n"), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// start runs the agent in this process; the function it returns stops it.
func (l *logger) start(edit func(*agent.Options)) (stop func()) {
	l.t.Helper()
	cfg, err := agent.LoadConfig(l.config())
	if err != nil {
		l.t.Fatal(err)
	}
	o := agent.Options{Config: cfg, Version: "test", Log: cfg.Log.Logger(l.said), Synced: func() bool { return false }}
	if edit != nil {
		edit(&o)
	}
	a, err := agent.New(o)
	if err != nil {
		l.t.Fatal(err)
	}
	l.agent = a
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		l.agent = nil
		cancel()
		if err := <-done; err != nil {
			l.t.Errorf("agent: %v", err)
		}
	})
	l.t.Cleanup(stop)
	return stop
}

// status is that of the running agent, or else the status file; zero while there is none.
func (l *logger) status() agent.Status {
	l.t.Helper()
	if l.agent != nil {
		return agent.StatusOf(l.agent)
	}
	return readStatus(l.t, filepath.Join(l.dir, "data", "status.json"))
}

// ownLog is every value in the device's own log, and how many of its records are acked. The log must be without a hole.
func (l *logger) ownLog() (all map[value]float64, records, acked int) {
	l.t.Helper()
	all = map[value]float64{}
	next := map[uint64]uint32{}
	err := wal.Each(filepath.Join(l.dir, "data", "samples"), func(log uint64, seq uint32, isAcked bool, r wal.Record) error {
		if n := next[log]; n != 0 && seq != n {
			l.t.Errorf("record %d follows %d", seq, n-1)
		}
		next[log] = seq + 1
		records++
		if isAcked {
			acked++
		}
		for _, v := range r.Values {
			all[value{v.Channel, int64(r.Time)}] = v.Value
		}
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return all, records, acked
}

// value names one sample.
type value struct {
	channel string
	time    int64
}

// atHub is every sample the hub has of the project, each exactly once.
func (h *realHub) atHub() map[value]float64 {
	h.t.Helper()
	elements, err := h.api.Elements(h.t.Context(), h.project, "")
	if err != nil {
		h.t.Fatal(err)
	}
	all := map[value]float64{}
	for _, e := range elements {
		for s, err := range h.api.Export(h.t.Context(), h.project, []string{e.ID}, int64(lh.MinMillis), int64(lh.MaxMillis)) {
			if err != nil {
				h.t.Fatal(err)
			}
			v := value{e.Channel, s.Time}
			if _, twice := all[v]; twice {
				h.t.Errorf("the hub has %+v twice", v)
			}
			all[v] = s.Value
		}
	}
	return all
}

// sameAtHub compares the device's own log with the hub, sample by sample and bit by bit.
func (l *logger) sameAtHub() {
	l.t.Helper()
	own, records, acked := l.ownLog()
	if acked != records || records == 0 {
		l.t.Errorf("%d of %d records are acked", acked, records)
	}
	have := l.hub.atHub()
	for v, x := range own {
		if y, ok := have[v]; !ok || math.Float64bits(x) != math.Float64bits(y) {
			l.t.Errorf("%+v is %v in the device's log and %v (%t) at the hub", v, x, y, ok)
			return
		}
	}
	if len(have) != len(own) {
		l.t.Errorf("the hub has %d samples, the device has %d", len(have), len(own))
	}
}

type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *buffer) has(s string) bool { return strings.Contains(b.String(), s) }

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// program builds the real program once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "loggerhead-agent-test-*")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "loggerhead-agent")
	c := exec.Command("go", "build", "-o", path, "github.com/loggerhead-cloud/loggerhead/cmd/loggerhead-agent")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := c.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	if path, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(status)
}
