package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
	"github.com/loggerhead-cloud/loggerhead/internal/fleet"
	"github.com/loggerhead-cloud/loggerhead/internal/gateway"
	"github.com/loggerhead-cloud/loggerhead/internal/ingest"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/report"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// How long each phase of a shutdown may take.
const (
	drainTime = 5 * time.Second  // requests under way
	foldTime  = 15 * time.Second // queued uploads and the last fold
)

// Server is a hub: built by New, run once by Run.
type Server struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	metrics *prometheus.Registry

	db       *store.DB
	engine   *series.Engine
	access   *access.Access
	gateway  *gateway.Gateway
	api      *api.API
	exports  *report.Exports
	mail     *notify.Queue
	breached *access.Breached
	certs    *certificates

	people, devices, mqtt, private net.Listener
	servers                        []*httpServer
	stopping                       atomic.Bool
}

type httpServer struct {
	name     string
	server   *http.Server
	listener net.Listener
}

// Deps are what a hub is given beside its configuration.
type Deps struct {
	Web     fs.FS // the built web app; nil serves none
	Version string
	Log     *slog.Logger
	Now     func() time.Time // nil is time.Now
}

// New opens the database and the listeners and wires the hub. On an error nothing stays open.
func New(ctx context.Context, c Config, d Deps) (s *Server, err error) {
	s = &Server{cfg: c, log: d.Log, now: d.Now, metrics: prometheus.NewRegistry()}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
			s = nil
		}
	}()
	if err := c.check(); err != nil {
		return s, err
	}
	s.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// Listeners first: a port in use is the commonest mistake and should cost nothing else.
	for _, l := range []struct {
		name, addr string
		to         *net.Listener
	}{{"people", c.People.Listen, &s.people}, {"devices", c.Devices.Listen, &s.devices}, {"mqtt", c.MQTT.Listen, &s.mqtt}, {"private", c.Private.Listen, &s.private}} {
		if *l.to, err = net.Listen("tcp", l.addr); err != nil {
			return s, lh.Hide(lh.Conflict, err, "cannot listen on %s for %s.listen: is another program on that port?", l.addr, l.name)
		}
	}
	master, err := seal.LoadMaster(c.MasterKey)
	if err != nil {
		return s, err
	}
	if s.db, err = store.Open(ctx, store.Options{URL: c.Database, Master: master, Now: s.now, Log: s.log}); err != nil {
		return s, err
	}
	auth, err := loadAuthorities(ctx, s.db)
	if err != nil {
		return s, err
	}
	if auth.trustDomain != c.TrustDomain {
		return s, fmt.Errorf("trust_domain is %q in the configuration, but this installation was made as %q; devices know it by that name", c.TrustDomain, auth.trustDomain)
	}
	if err := s.wire(auth, d); err != nil {
		return s, err
	}
	return s, nil
}

// wire builds the parts in the order they depend on each other.
func (s *Server) wire(auth *authorities, d Deps) error {
	var err error
	if err := s.wireMail(); err != nil {
		return err
	}
	if s.cfg.Passwords.Breached != "" {
		if s.breached, err = access.OpenBreached(s.cfg.Passwords.Breached); err != nil {
			return fmt.Errorf("passwords.breached: %w", err)
		}
	}
	providers, err := s.cfg.providers()
	if err != nil {
		return err
	}
	s.access = access.New(access.Options{DB: s.db, Now: s.now, Log: s.log, URL: s.cfg.PeopleURL(s.people.Addr().String()),
		Providers: providers, RequireFactor: s.cfg.People.RequireSecondFactor,
		SignUpOpen: s.cfg.People.SignUp == "open", Breached: s.breached, Mailed: s.mail.Wake})
	wait := s.cfg.Series.CommitWait
	if wait == 0 {
		wait = -1 // for series, 0 is what it takes by itself
	}
	s.engine = series.New(s.db, series.Options{CommitWait: wait, FoldAge: s.cfg.Series.FoldAge, Scope: s.access.Hub,
		Cut: func(id lh.DeviceID) { s.gateway.Cut(id) },
		Now: s.now, Log: s.log, Registerer: s.metrics})
	fl := fleet.New(fleet.Options{DB: s.db, Issuer: auth.devices, TrustDomain: auth.trustDomain, DeviceScope: s.access.DeviceScope,
		Cut: func(id lh.DeviceID) { s.gateway.Cut(id) }, Now: s.now, Log: s.log})
	in := ingest.New(ingest.Options{Append: s.engine.Append, DB: s.db, Bind: fl.Bind, Now: s.now, Log: s.log, Registerer: s.metrics})
	root, err := pki.ParseCertPEM(auth.root)
	if err != nil {
		return err
	}
	s.gateway = gateway.New(gateway.Config{Identify: s.access.Device, Denied: s.db.Denied, Accept: in.Accept, Manifest: fl.Manifest, Enroll: fl.Enroll,
		Reenroll: fl.Reenroll, CACerts: func() []*x509.Certificate { return []*x509.Certificate{root, auth.devices.Cert} },
		Now: s.now, Log: s.log, Registerer: s.metrics})
	s.exports = report.New(report.Options{DB: s.db, Series: s.engine, Hub: s.access.Hub, Asker: s.access.OnBehalf, Workers: s.cfg.Exports.AtOnce,
		MaxSize: int64(s.cfg.Exports.MaxSize) << 20, Keep: s.cfg.Exports.Keep, MaxTime: s.cfg.Exports.MaxTime, Now: s.now, Log: s.log, Registerer: s.metrics})
	s.api = api.New(api.Config{Access: s.access, DB: s.db, Fleet: fl, Series: s.engine, Subscribe: in.Subscribe, Send: in.Send, Exports: s.exports, ConsibioHost: s.cfg.People.ConsibioHost, Limits: s.cfg.Limits.access(), Web: d.Web,
		Projects: api.ProjectOptions{OperatorsCreate: s.cfg.Projects.Create == "operators", DestroyAfter: s.cfg.Projects.DestroyAfter},
		Mail:     s.cfg.Mail.Address != "", URL: s.cfg.PeopleURL(s.people.Addr().String()),
		Version: d.Version, Now: s.now, Log: s.log, Metrics: s.metrics})
	if s.certs, err = newCertificates(auth, s.cfg, s.now, s.log); err != nil {
		return err
	}
	peopleTLS, err := pki.PeopleTLS(s.certs.people.Server, s.now)
	if err != nil {
		return err
	}
	// The deny list is asked in every handshake, resumed ones too: a certificate that this hub does not know, or that
	// is revoked, gets no connection. The gateway asks again while a connection lasts.
	verify := func(cs tls.ConnectionState) error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := s.access.Device(ctx, pki.KeyHash(cs.PeerCertificates[0]))
		return err
	}
	hub := pki.HubOptions{TrustDomain: auth.trustDomain, DeviceCAs: []*x509.Certificate{auth.devices.Cert}, Certificate: s.certs.hub.Server,
		Verify: verify, Now: s.now, NextProtos: []string{"h2", "http/1.1"}, Optional: true}
	devicesTLS, err := pki.HubTLS(hub)
	if err != nil {
		return err
	}
	hub.NextProtos, hub.Optional = []string{"mqtt"}, false
	mqttTLS, err := pki.HubTLS(hub)
	if err != nil {
		return err
	}
	s.people, s.devices, s.mqtt = records{s.people}, records{s.devices}, tls.NewListener(records{s.mqtt}, mqttTLS)
	errorLog := slog.NewLogLogger(s.log.Handler(), slog.LevelDebug) // failed handshakes of strangers
	devices := &http.Server{Handler: s.gateway.Handler(), TLSConfig: devicesTLS, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute,
		WriteTimeout: 2 * time.Minute, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: errorLog}
	s.gateway.Guard(devices)
	s.servers = []*httpServer{
		{"people", &http.Server{Handler: s.api, TLSConfig: peopleTLS, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
			WriteTimeout: 2 * time.Minute, // what takes longer gives itself more as it goes
			IdleTimeout:  2 * time.Minute, MaxHeaderBytes: 32 << 10, ErrorLog: errorLog}, s.people},
		{"devices", devices, s.devices},
		{"private", &http.Server{Handler: s.privateHandler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: errorLog}, s.private},
	}
	return nil
}

// Addrs are where a hub listens, after New has bound them.
type Addrs struct{ People, Devices, MQTT, Private string }

// Addrs returns where the hub listens.
func (s *Server) Addrs() Addrs {
	return Addrs{s.people.Addr().String(), s.devices.Addr().String(), s.mqtt.Addr().String(), s.private.Addr().String()}
}

// Run serves until ctx ends or a part fails, then stops in phases: health says so; nothing new is taken; what is under
// way is finished and acknowledged; what is queued is committed and folded; the database is closed.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 8)
	engineCtx, stopEngine := context.WithCancel(context.Background())
	defer stopEngine()
	engineDone := make(chan error, 1)
	go func() { engineDone <- s.engine.Run(engineCtx) }()
	edgeCtx, stopEdges := context.WithCancel(context.Background())
	defer stopEdges()
	edges := 0
	done := make(chan struct{}, 8)
	serve := func(name string, run func() error) {
		edges++
		go func() {
			if err := run(); err != nil && !errors.Is(err, http.ErrServerClosed) && edgeCtx.Err() == nil {
				failed <- fmt.Errorf("%s listener: %w", name, err)
			}
			done <- struct{}{}
		}()
	}
	for _, h := range s.servers {
		serve(h.name, func() error {
			if h.server.TLSConfig == nil {
				return h.server.Serve(h.listener)
			}
			return h.server.ServeTLS(h.listener, "", "")
		})
	}
	serve("mqtt", func() error { return s.gateway.ServeMQTT(edgeCtx, s.mqtt) })
	serve("use of keys", func() error { s.access.KeepUse(edgeCtx); return nil })
	serve("exports", func() error { return s.exports.Run(edgeCtx) })
	serve("mail", func() error { s.mail.Run(edgeCtx); return nil })
	serve("certificate renewal", func() error { s.certs.keep(edgeCtx); return nil })

	a := s.Addrs()
	s.log.Info("hub is up", "people", a.People, "devices", a.Devices, "mqtt", a.MQTT, "private", a.Private, "database", s.db.Engine())
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	case err = <-engineDone:
		err = fmt.Errorf("series engine: %w", err)
		engineDone <- err
	}
	s.log.Info("hub is stopping")
	s.stopping.Store(true)
	s.api.CloseStreams()
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	// All at once: a browser's idle connection must not use up the time of an upload that is under way.
	drained := make(chan error, len(s.servers)+1)
	go func() { drained <- s.gateway.Shutdown(drain) }()
	for _, h := range s.servers {
		go func() {
			if h.name == "private" { // health answers to the end
				drained <- nil
				return
			}
			e := h.server.Shutdown(drain)
			if e != nil {
				s.log.Warn("requests were cut off", "listener", h.name, "err", e)
				e = h.server.Close()
			}
			drained <- e
		}()
	}
	for range cap(drained) {
		err = errors.Join(err, <-drained)
	}
	stopEngine()
	select {
	case e := <-engineDone:
		err = errors.Join(err, e)
	case <-time.After(foldTime):
		err = errors.Join(err, errors.New("the series engine did not stop in time; what was acknowledged is in the journal"))
	}
	stopEdges()
	for _, h := range s.servers {
		if h.name == "private" {
			err = errors.Join(err, h.server.Close())
		}
	}
	for range edges {
		<-done
	}
	err = errors.Join(err, s.close())
	s.log.Info("hub has stopped")
	return err
}

// close closes what New opened, as far as it came.
func (s *Server) close() error {
	var err error
	for _, l := range []net.Listener{s.people, s.devices, s.mqtt, s.private} {
		if l != nil {
			if e := l.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
				err = errors.Join(err, e)
			}
		}
	}
	if s.breached != nil {
		err = errors.Join(err, s.breached.Close())
	}
	if s.db != nil {
		err = errors.Join(err, s.db.Close())
	}
	return err
}

// certificates are the hub's own, renewed while it runs.
type certificates struct {
	auth        *authorities
	cfg         Config
	now         func() time.Time
	log         *slog.Logger
	hub, people pki.Live
	hubLeaf     atomic.Pointer[x509.Certificate]
	peopleLeaf  atomic.Pointer[x509.Certificate]
	filesSeen   time.Time // newest change of the people's certificate files; keep's own
}

func newCertificates(auth *authorities, c Config, now func() time.Time, log *slog.Logger) (*certificates, error) {
	k := &certificates{auth: auth, cfg: c, now: now, log: log}
	if err := k.issue(); err != nil {
		return nil, err
	}
	if err := k.loadFiles(); err != nil {
		return nil, err
	}
	return k, nil
}

// issue makes a certificate for the device listeners, and for people where no files are set. Its key lives in memory
// only: each process and each renewal has its own.
func (k *certificates) issue() error {
	key, err := pki.NewKey()
	if err != nil {
		return err
	}
	c, err := pki.IssueHub(k.auth.hub, key.Public(), k.cfg.Hosts, k.now())
	if err != nil {
		return err
	}
	pair := (&pki.KeyPair{Cert: c, Key: key}).TLS(k.auth.hub.Cert)
	k.hub.Set(pair)
	k.hubLeaf.Store(c)
	if k.cfg.People.Certificate == "" {
		k.people.Set(pair)
		k.peopleLeaf.Store(c)
	}
	return nil
}

// loadFiles reads the people's certificate from its files when they changed.
func (k *certificates) loadFiles() error {
	if k.cfg.People.Certificate == "" {
		return nil
	}
	var newest time.Time
	for _, p := range []string{k.cfg.People.Certificate, k.cfg.People.Key} {
		st, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("people.certificate: %w", err)
		}
		if st.ModTime().After(newest) {
			newest = st.ModTime()
		}
	}
	if newest.Equal(k.filesSeen) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(k.cfg.People.Certificate, k.cfg.People.Key)
	if err != nil {
		return fmt.Errorf("people.certificate %s: %w", filepath.Base(k.cfg.People.Certificate), err)
	}
	k.people.Set(&pair)
	k.peopleLeaf.Store(pair.Leaf)
	k.filesSeen = newest
	return nil
}

// keep renews the certificates until ctx ends.
func (k *certificates) keep(ctx context.Context) {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if !k.now().Before(pki.RenewAt(k.hubLeaf.Load())) {
			if err := k.issue(); err != nil {
				k.log.Error("hub certificate was not renewed", "err", err)
			}
		}
		if err := k.loadFiles(); err != nil {
			k.log.Error("people's certificate was not read anew", "err", err)
		}
	}
}
