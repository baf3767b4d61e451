package server_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/fleet"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/pki/pkitest"
	"github.com/loggerhead-cloud/loggerhead/internal/server"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

var (
	ctx    = context.Background()
	update = flag.Bool("update", false, "write the golden files anew")
)

const password = "correct horse battery"

// config is a configuration on loopback with free ports.
func config(dir string) server.Config {
	c := server.DefaultConfig()
	c.Data = dir
	c.People.Listen, c.Devices.Listen, c.MQTT.Listen, c.Private.Listen = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	return c
}

// eachDatabase runs f with an empty database of each engine.
func eachDatabase(t *testing.T, f func(t *testing.T, database string)) {
	t.Run("sqlite", func(t *testing.T) { f(t, "sqlite:hub.db") })
	t.Run("postgres", func(t *testing.T) { f(t, storetest.Postgres(t).URL) })
}

// install makes an installation in a fresh folder and returns its configuration as read from the file.
func install(t *testing.T, database string) server.Config {
	t.Helper()
	c := config(t.TempDir())
	c.Database = database
	if _, err := server.Init(ctx, c, time.Now()); err != nil {
		t.Fatal(err)
	}
	c, err := server.LoadConfig(filepath.Join(c.Data, server.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// hub is a running hub.
type hub struct {
	t     *testing.T
	cfg   server.Config
	s     *server.Server
	a     server.Addrs
	log   *logBuffer
	roots *x509.CertPool
	stop  func() error // asks it to stop and waits
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *logBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// start runs a hub; change may alter what it is given.
func start(t *testing.T, c server.Config, change ...func(*server.Deps)) *hub {
	t.Helper()
	h := &hub{t: t, cfg: c, log: &logBuffer{}, roots: x509.NewCertPool()}
	d := server.Deps{Version: "test", Log: slog.New(slog.NewTextHandler(h.log, nil))}
	for _, f := range change {
		f(&d)
	}
	var err error
	if h.s, err = server.New(ctx, c, d); err != nil {
		t.Fatal(err)
	}
	h.a = h.s.Addrs()
	root, err := os.ReadFile(filepath.Join(c.Data, server.RootFile))
	if err != nil || !h.roots.AppendCertsFromPEM(root) {
		t.Fatalf("root: %v", err)
	}
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- h.s.Run(run) }()
	h.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(30 * time.Second):
			return errors.New("the hub does not stop")
		}
	})
	t.Cleanup(func() { h.stop() }) // a test that cares has asked before
	return h
}

// client logs in as the owner of a new project.
func (h *hub) client(email string) (*client.Client, client.Project) {
	h.t.Helper()
	a := access.New(access.Options{DB: h.s.DB()})
	if _, err := a.CreateUser(ctx, lh.User{Email: email, Name: "Owner"}, password); err != nil && lh.CodeOf(err) != lh.Conflict {
		h.t.Fatal(err)
	}
	c, err := client.New("https://"+h.a.People, client.Options{Roots: h.roots})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	if _, err := c.LogIn(ctx, email, password); err != nil {
		h.t.Fatal(err)
	}
	ps, err := c.Projects(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	if len(ps) > 0 {
		return c, ps[0]
	}
	p, err := c.CreateProject(ctx, "Skjern Å", "Europe/Copenhagen")
	if err != nil {
		h.t.Fatal(err)
	}
	return c, p
}

// device is an enrolled datalogger.
type device struct {
	*pkitest.Device
	id string
}

// device lists, claims and enrols one, as a logger does it.
func (h *hub) device(c *client.Client, project, serial string) *device {
	h.t.Helper()
	code, err := fleet.New(fleet.Options{DB: h.s.DB()}).List(ctx, serial, "lh-test-1")
	if err != nil {
		h.t.Fatal(err)
	}
	claimed, err := c.ClaimDevice(ctx, project, client.Claim{Serial: serial, ClaimCode: code, Name: "Logger"})
	if err != nil {
		h.t.Fatal(err)
	}
	pem, err := os.ReadFile(filepath.Join(h.cfg.Data, server.RootFile))
	if err != nil {
		h.t.Fatal(err)
	}
	root, err := pki.ParseCertPEM(pem)
	if err != nil {
		h.t.Fatal(err)
	}
	return &device{pkitest.Enrol(h.t, h.a.Devices, root, serial, code), claimed.ID}
}

// batch is an upload of n samples from at on, a second apart.
func batch(t *testing.T, first uint32, at lh.Millis, n int) []byte {
	t.Helper()
	b := wire.Batch{Log: 1, First: first, Channels: []string{"1/level"}}
	for i := range n {
		b.Records = append(b.Records, wire.Record{Time: at + lh.Millis(i)*1000, Values: []wire.Value{{Flag: 1, Value: float64(first) + float64(i)/8}}})
	}
	raw, err := b.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// upload sends a batch and returns the answer's status.
func (d *device) upload(h *hub, raw []byte) (int, wire.Ack, error) {
	t := &http.Transport{TLSClientConfig: d.TLS(d.Pair()), ForceAttemptHTTP2: true, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: t, Timeout: 20 * time.Second}).Post("https://"+h.a.Devices+"/v1/batch", wire.ContentBatch, bytes.NewReader(raw))
	if err != nil {
		return 0, wire.Ack{}, err
	}
	defer resp.Body.Close()
	var ack wire.Ack
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode == 200 {
		err = json.Unmarshal(b, &ack)
	}
	return resp.StatusCode, ack, err
}

// samples reads all of a project's one element.
func samples(t *testing.T, c *client.Client, project string) []client.Sample {
	t.Helper()
	es, err := c.Elements(ctx, project, "")
	if err != nil {
		t.Fatal(err)
	}
	var out []client.Sample
	for _, e := range es {
		for s, err := range c.Export(ctx, project, []string{e.ID}, int64(lh.MinMillis), int64(lh.MaxMillis)) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, s)
		}
	}
	return out
}

// health is what /healthz says.
type health struct {
	OK     bool
	Checks []struct {
		Name   string
		OK     bool
		Detail string
	}
}

func (h health) failed() (names []string) {
	for _, c := range h.Checks {
		if !c.OK {
			names = append(names, c.Name)
		}
	}
	return names
}

func (h *hub) health() (int, health) {
	h.t.Helper()
	resp, err := http.Get("http://" + h.a.Private + "/healthz")
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out health
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		h.t.Fatal(err)
	}
	if out.OK != (resp.StatusCode == 200) || out.OK != (len(out.failed()) == 0) || len(out.Checks) < 4 {
		h.t.Errorf("status %d for %+v", resp.StatusCode, out)
	}
	return resp.StatusCode, out
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(fmt.Errorf("must: %w", err))
	}
}
