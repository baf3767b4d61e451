package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/sensor"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/wal"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

const (
	statusEvery = 30 * time.Second
	statusLook  = 1 * time.Second // how often a change of health is looked for
	lastSample  = 5 * time.Second // for samples under way when the program is told to stop
	lastUpload  = 2 * time.Second
	maxRoots    = 1 << 20 // bytes of the file with the pinned roots
)

// Options are what an agent is given.
type Options struct {
	Config  Config
	Version string
	Log     *slog.Logger
	Now     func() time.Time // nil is time.Now
	Dial    Dial             // nil is the network
	Synced  func() bool      // nil asks the kernel whether something keeps its clock right

	refusedWait time.Duration // shorter in tests
	statusLook  time.Duration // longer in tests
}

func (o *Options) fill() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: dialTime}).DialContext
	}
	if o.refusedWait == 0 {
		o.refusedWait = refusedWait
	}
	if o.statusLook == 0 {
		o.statusLook = statusLook
	}
	if o.Synced == nil {
		o.Synced = kernelSynced
	}
}

// Agent is a datalogger: built by New, run once by Run.
type Agent struct {
	o        Options
	pid      int
	started  lh.Millis
	lock     *os.File
	id       *identity
	samples  *wal.Log
	samplers []*sampler
	live     *live // nil without MQTT
	uplink   *uplink
}

// New opens the data folder and the sensors. On an error nothing stays open.
func New(o Options) (a *Agent, err error) {
	o.fill()
	a = &Agent{o: o, pid: os.Getpid(), started: lh.MillisOf(o.Now())}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
			a = nil
		}
	}()
	c := &a.o.Config
	if err := c.check(); err != nil {
		return a, lh.Errorf(lh.Invalid, "configuration: %v", err)
	}
	if a.lock, err = openData(c.Data); err != nil {
		return a, err
	}
	roots, err := readRoots(c.Hub.Roots)
	if err != nil {
		return a, err
	}
	if a.samples, err = wal.Open(filepath.Join(c.Data, samplesDir), wal.Options{MaxBytes: c.Samples.MaxMiB << 20, WhenFull: c.Samples.WhenFull,
		KeepAcked: max(1, c.Samples.KeepAckedMiB<<20), Log: o.Log, Now: o.Now}); err != nil {
		return a, fmt.Errorf("open own log: %w", err)
	}
	m, err := a.openSensors()
	if err != nil {
		return a, err
	}
	manifest, err := encodeManifest(m)
	if err != nil {
		return a, err
	}
	if a.id, err = openIdentity(c.Data, o.Log); err != nil {
		return a, err
	}
	return a, a.connect(roots, manifest)
}

// connect makes what goes to the hub; nothing is dialled yet.
func (a *Agent) connect(roots []*x509.Certificate, manifest []byte) error {
	o, c := &a.o, &a.o.Config
	k := openClock(c.Data, o.Now, o.Synced, o.Log)
	h, err := newHub(c, roots, k, o.Dial, o.Version, a.id.live.Client)
	if err != nil {
		return err
	}
	if c.Upload.Live && c.Hub.MQTT != "" {
		host := c.Hub.Name
		if host == "" {
			host = hostOf("//" + c.Hub.MQTT)
		}
		conf, err := deviceTLS(host, roots, k, []string{"mqtt"}, a.id.live.Client)
		if err != nil {
			return err
		}
		a.live = &live{addr: c.Hub.MQTT, tls: conf, dial: o.Dial, id: a.id, log: o.Log, wake: make(chan struct{}, 1),
			back: backoff{base: firstWait, max: c.Upload.MaxBackoff}}
	}
	a.uplink = &uplink{cfg: c, hub: h, live: a.live, id: a.id, clock: k, log: o.Log, samples: a.samples, manifest: manifest, now: o.Now, renewed: make(chan struct{}, 1),
		as:      func(p *pki.KeyPair) (*hub, error) { return newHub(c, roots, k, o.Dial, o.Version, certificate(p)) },
		maxRecs: c.Upload.MaxRecords, maxBytes: min(firstBytes, c.Upload.MaxKiB<<10),
		again: backoff{base: firstWait, max: c.Upload.MaxBackoff}, refused: backoff{base: o.refusedWait, max: min(30*o.refusedWait, refusedMax)},
		renewals: backoff{base: renewWait, max: renewMax}}
	return nil
}

// openSensors makes the sensors and what the manifest says of them.
func (a *Agent) openSensors() (wire.Manifest, error) {
	m := wire.Manifest{Version: a.o.Version, Hardware: a.o.Config.Hardware, Channels: []wire.ManifestChannel{}}
	owner := map[string]string{}
	for i, c := range a.o.Config.Sensors {
		name := strconv.Itoa(i+1) + "/" + c.Type
		s, err := sensor.New(c, a.o.Config.base, a.o.Log)
		if err != nil {
			return m, fmt.Errorf("sensor %s: %w", name, err)
		}
		a.samplers = append(a.samplers, &sampler{name: name, sensor: s, interval: c.Interval, append: a.samples.Append, now: a.o.Now, log: a.o.Log})
		for _, ch := range s.Channels() {
			if other, ok := owner[ch.Key]; ok {
				return m, lh.Errorf(lh.Invalid, "sensors %s and %s both have the channel %q", other, name, ch.Key)
			}
			owner[ch.Key] = name
			if ch.Interval == 0 {
				ch.Interval = c.Interval.Milliseconds()
			}
			m.Channels = append(m.Channels, ch)
		}
	}
	return m, nil
}

// Run samples and uploads until ctx ends, then stops in order: samples under way are kept, one more upload is tried,
// connections and files are closed.
func (a *Agent) Run(ctx context.Context) error {
	a.o.Log.Info("datalogger is up", "version", a.o.Version, "serial", a.o.Config.Serial, "device", a.id.device(), "sensors", len(a.samplers), "data", a.o.Config.Data)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var sampling, others sync.WaitGroup
	for _, s := range a.samplers {
		sampling.Go(func() { s.run(ctx) })
	}
	if a.live != nil {
		others.Go(func() { a.live.run(work) })
	}
	others.Go(func() { a.report(work) })
	stopping, uploaded := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(uploaded)
		a.uplink.run(work, stopping)
	}()

	<-ctx.Done()
	a.o.Log.Info("datalogger is stopping")
	sampled := make(chan struct{})
	go func() {
		defer close(sampled)
		sampling.Wait()
	}()
	select {
	case <-sampled:
	case <-time.After(lastSample):
		a.o.Log.Warn("a sensor does not answer; it is left behind")
	}
	close(stopping)
	last := time.AfterFunc(lastUpload, cancel)
	defer last.Stop()
	<-uploaded
	cancel()
	others.Wait()
	a.pid = 0
	s := a.status()
	err := errors.Join(s.write(a.o.Config.Data, a.o.Now()), a.close())
	a.o.Log.Info("datalogger has stopped", "unacked", s.Samples.Unacked)
	return err
}

// report keeps the status file until ctx ends.
func (a *Agent) report(ctx context.Context) {
	var written time.Time
	var health string
	t := time.NewTicker(a.o.statusLook)
	defer t.Stop()
	for {
		s := a.status()
		if now := a.o.Now(); health != s.health() || now.Sub(written) >= statusEvery {
			if err := s.write(a.o.Config.Data, now); err != nil {
				a.o.Log.Warn("status was not written", "err", err)
			}
			written, health = now, s.health()
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-a.uplink.renewed: // who has just enrolled it wants to see that it is
		}
	}
}

// close closes what New opened, as far as it came.
func (a *Agent) close() error {
	var err error
	for _, s := range a.samplers {
		if e := s.sensor.Close(); e != nil {
			err = errors.Join(err, fmt.Errorf("close sensor %s: %w", s.name, e))
		}
	}
	if a.uplink != nil {
		a.uplink.hub.close()
	}
	if a.samples != nil {
		err = errors.Join(err, a.samples.Close())
	}
	if a.lock != nil {
		err = errors.Join(err, a.lock.Close())
	}
	return err
}

// Enrol gets a certificate where there is none that is valid, and returns the device's id. Where an agent has run, its
// status says so from now on.
func Enrol(ctx context.Context, o Options) (id lh.DeviceID, err error) {
	o.fill()
	c := &o.Config
	lock, err := openData(c.Data)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	roots, err := readRoots(c.Hub.Roots)
	if err != nil {
		return "", err
	}
	i, err := openIdentity(c.Data, o.Log)
	if err != nil {
		return "", err
	}
	k := openClock(c.Data, o.Now, o.Synced, o.Log)
	as := func(p *pki.KeyPair) (*hub, error) { return newHub(c, roots, k, o.Dial, o.Version, certificate(p)) }
	h, err := as(nil)
	if err != nil {
		return "", err
	}
	u := &uplink{cfg: c, hub: h, as: as, id: i, clock: k, log: o.Log, mayNot: true} // a code that was not used yet is used
	if err := u.enrol(ctx); err != nil {
		if r, ok := errors.AsType[*refusal](err); ok && r.code != "" {
			err = lh.Hide(r.code, err, "%s", r.message)
		}
		return "", err
	}
	if err := enrolled(c.Data, i); err != nil {
		o.Log.Warn("status was not written", "err", err)
	}
	return i.device(), nil
}

func readRoots(path string) ([]*x509.Certificate, error) {
	b, err := readBounded(path, maxRoots)
	if err != nil {
		return nil, fmt.Errorf("read pinned roots (hub.roots): %w", err)
	}
	roots, err := pki.ParseCertsPEM(b)
	if err != nil {
		return nil, lh.Errorf(lh.Invalid, "pinned roots %s: %v", path, err)
	}
	return roots, nil
}
