package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/fleet"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
	"github.com/loggerhead-cloud/loggerhead/internal/server"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// installation is a hub's data folder with one user, one project and enrolled devices.
type installation struct {
	b        *bench
	config   string
	database string
	master   string // file
	roots    []*x509.Certificate
	pool     *x509.CertPool
	email    string
	password string
	token    string
	project  string
	devices  []*device
}

// device is a datalogger as its owner sees it: a serial and code, then a key and a certificate.
type device struct {
	index        int
	serial, code string
	id           lh.DeviceID
	cert         tls.Certificate
	log          uint64
	next         uint32 // number of its log's next record
}

// install makes an installation the way an operator does: `init`, a user, an inventory. No hub runs meanwhile.
func (b *bench) install(ctx context.Context, devices int) (in *installation, err error) {
	b.say("making an installation, %d devices in its inventory", devices)
	c := server.DefaultConfig()
	c.Data = filepath.Join(b.dir, "data")
	if b.database != "" {
		c.Database = b.database
	}
	loopback := server.ListenConfig{Listen: "127.0.0.1:0"}
	c.People.Listen, c.Devices, c.MQTT, c.Private = loopback.Listen, loopback, loopback, loopback
	c.TrustDomain = "bench.loggerhead.internal"
	c.Log.Format = "json"
	c.Series.FoldAge = 5 * time.Second // the figures wait until everything is folded
	if b.small {
		c.Series.FoldAge = 500 * time.Millisecond
	}
	if _, err := server.Init(ctx, c, time.Now()); err != nil {
		return nil, err
	}
	in = &installation{b: b, config: filepath.Join(c.Data, server.ConfigFile), email: "bench@loggerhead.example", pool: x509.NewCertPool()}
	if c, err = server.LoadConfig(in.config); err != nil {
		return nil, err
	}
	in.database, in.master = c.Database, c.MasterKey
	pem, err := os.ReadFile(filepath.Join(c.Data, server.RootFile))
	if err != nil {
		return nil, err
	}
	root, err := pki.ParseCertPEM(pem)
	if err != nil {
		return nil, err
	}
	in.roots = []*x509.Certificate{root}
	in.pool.AddCert(root)
	var secret [18]byte
	rand.Read(secret[:]) // never fails
	in.password = base64.RawURLEncoding.EncodeToString(secret[:])
	err = in.open(ctx, func(db *store.DB) error {
		_, err := access.New(access.Options{DB: db}).CreateUser(ctx, lh.User{Email: in.email, Name: "Bench"}, in.password)
		if err != nil {
			return err
		}
		f := fleet.New(fleet.Options{DB: db})
		for i := range devices {
			d := &device{index: i, serial: fmt.Sprintf("BENCH-%05d", i), log: uint64(i + 1), next: 1}
			if d.code, err = f.List(ctx, d.serial, "lh-bench-1"); err != nil {
				return err
			}
			in.devices = append(in.devices, d)
		}
		return nil
	})
	return in, err
}

// open opens the database while no hub runs on it.
func (in *installation) open(ctx context.Context, use func(*store.DB) error) error {
	m, err := seal.LoadMaster(in.master)
	if err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Options{URL: in.database, Master: m, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return errors.Join(use(db), db.Close())
}

// client returns a client of the hub's REST API that is logged in.
func (in *installation) client(ctx context.Context, h *hub) (*client.Client, error) {
	c, err := client.New("https://"+h.people, client.Options{Roots: in.pool, Token: in.token})
	if err != nil {
		return nil, err
	}
	if in.token == "" {
		if _, err := c.LogIn(ctx, in.email, in.password); err != nil {
			return nil, fmt.Errorf("log in: %w", err)
		}
		in.token = c.Token()
	}
	return c, nil
}

// enrolDevices claims every device over the REST API and enrols it over EST: its key is made here, its certificate by the hub.
func (in *installation) enrolDevices(ctx context.Context, h *hub) error {
	start := time.Now()
	c, err := in.client(ctx, h)
	if err != nil {
		return err
	}
	defer c.Close()
	p, err := c.CreateProject(ctx, "Skjern Å", "Europe/Copenhagen")
	if err != nil {
		return err
	}
	in.project = p.ID
	// Enrolment is the one thing a device does without a certificate.
	conf, err := pki.DeviceTLS(pki.DeviceOptions{Host: "127.0.0.1", Roots: in.roots, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		return err
	}
	t := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}
	defer t.CloseIdleConnections()
	est := &http.Client{Transport: t, Timeout: 30 * time.Second}
	err = each(ctx, in.devices, 16, func(ctx context.Context, d *device) error {
		got, err := c.ClaimDevice(ctx, in.project, client.Claim{Serial: d.serial, ClaimCode: d.code, Name: "Station " + d.serial, MaxOffline: 3600})
		if err != nil {
			return fmt.Errorf("claim %s: %w", d.serial, err)
		}
		d.id = lh.DeviceID(got.ID)
		if err := d.enrol(ctx, est, "https://"+h.devices); err != nil {
			return fmt.Errorf("enrol %s: %w", d.serial, err)
		}
		return nil
	})
	if err == nil {
		in.b.say("claimed and enrolled %d devices over REST and EST in %.1f s", len(in.devices), time.Since(start).Seconds())
	}
	return err
}

func (d *device) enrol(ctx context.Context, c *http.Client, base string) error {
	key, err := pki.NewKey()
	if err != nil {
		return err
	}
	csr, err := pki.NewRequest(key, d.serial)
	if err != nil {
		return err
	}
	u, err := url.JoinPath(base, "/.well-known/est/simpleenroll")
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, "POST", u, bytes.NewReader(pki.EncodeEST(csr)))
	if err != nil {
		return err
	}
	req.SetBasicAuth(d.serial, d.code)
	req.Header.Set("Content-Type", "application/pkcs10")
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	der, err := pki.DecodeEST(body)
	if err != nil {
		return err
	}
	certs, err := pki.ParseCertsOnly(der)
	if err != nil {
		return err
	}
	d.cert = *(&pki.KeyPair{Cert: certs[0], Key: key}).TLS(certs[1:]...)
	return nil
}

// tls returns the device's own TLS: its certificate, the pinned root, no resumption.
func (in *installation) tls(d *device, protos ...string) (*tls.Config, error) {
	return pki.DeviceTLS(pki.DeviceOptions{Host: "127.0.0.1", Roots: in.roots, NextProtos: protos,
		Certificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &d.cert, nil }})
}

// uplink returns an HTTP/2 client with one connection of the device's own, already open: the manifest went over it.
func (in *installation) uplink(ctx context.Context, h *hub, d *device, channels []channel) (*http.Client, error) {
	conf, err := in.tls(d, "h2")
	if err != nil {
		return nil, err
	}
	c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true, IdleConnTimeout: 5 * time.Minute,
		DialContext: (&net.Dialer{Timeout: 20 * time.Second}).DialContext}}
	m := wire.Manifest{Version: "bench", Hardware: "lh-bench-1"}
	for _, ch := range channels {
		m.Channels = append(m.Channels, wire.ManifestChannel{Key: ch.key, Name: ch.key, Quantity: ch.quantity, Unit: ch.unit, Digits: ch.digits,
			Interval: time.Minute.Milliseconds(), Meaning: lh.Instantaneous})
	}
	body, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, "POST", "https://"+h.devices+"/v1/manifest", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", wire.ContentJSON)
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("manifest of %s: %s: %s", d.serial, resp.Status, answer)
	}
	if err == nil && resp.ProtoMajor != 2 {
		err = fmt.Errorf("the hub speaks %s to devices, not HTTP/2", resp.Proto)
	}
	return c, err
}

// each runs fn for every item, so many at once, and stops at the first error.
func each[T any](ctx context.Context, items []T, workers int, fn func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan T)
	var wg sync.WaitGroup
	for range min(workers, len(items)) {
		wg.Go(func() {
			for i := range work {
				if err := fn(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
feed:
	for _, i := range items {
		select {
		case work <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}
