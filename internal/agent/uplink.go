package agent

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/wal"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

const (
	firstWait   = time.Second
	refusedWait = 30 * time.Second // after being told that this device may not
	refusedMax  = 15 * time.Minute
	lieMax      = time.Minute

	// A batch begins small and grows while it takes little time: on a slow link a large one would never get through
	// before the hub's patience ends.
	firstBytes = 64 << 10
	leastBytes = 2 << 10
	quickBatch = 4 * time.Second
	slowBatch  = 20 * time.Second

	idleCheck = time.Minute // how often an idle uplink looks after its certificate
	shunLive  = time.Minute // how long MQTT is left alone after the hub refused a batch there
)

// records is the device's own log, as the uplink uses it; see [wal.Log].
type records interface {
	Batch(b *wire.Batch, maxRecords, maxBytes int) error
	Ack(log uint64, through uint32) error
	SetAside(log uint64, first, last uint32, reason string) error
	Wait() <-chan struct{}
}

// uplink brings records to the hub. Its fields are owned by the goroutine of run, but for what mu guards.
type uplink struct {
	cfg      *Config
	hub      *hub
	live     *live // nil without MQTT
	id       *identity
	clock    *clock
	log      *slog.Logger
	samples  records
	manifest []byte
	as       func(*pki.KeyPair) (*hub, error) // the hub as one who shows another certificate, or none (nil), sees it
	now      func() time.Time
	renewed  chan struct{} // gets one when the identity is new; nil: nobody asks

	welcomed  lh.DeviceID // as whom the hub has our manifest
	batch     wire.Batch
	buf       []byte
	maxRecs   int // of the next batch: halved to find a record the hub cannot read
	maxBytes  int
	believed  bool // something was accepted since maxRecs was last full
	shun      time.Time
	sent      time.Time // of the last upload, for gathering
	renewAt   time.Time // not before
	again     backoff   // cannot
	refused   backoff   // may not
	renewals  backoff
	mayNot    bool // the hub said that this device may not
	clockSaid complaint

	mu    sync.Mutex
	state UplinkStatus
}

// run uploads until ctx ends. When stopping is closed it makes one attempt more at what is left, and returns.
func (u *uplink) run(ctx context.Context, stopping <-chan struct{}) {
	for ctx.Err() == nil {
		idle, err := u.step(ctx)
		last := closed(stopping)
		switch {
		case last && (idle || err != nil):
			return
		case err != nil:
			u.wait(ctx, stopping, u.after(err))
		case idle:
			u.rest(ctx, stopping)
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// rest waits for samples, and now and then looks whether the certificate is to be renewed.
func (u *uplink) rest(ctx context.Context, stopping <-chan struct{}) {
	look := idleCheck
	if d := u.renewAt.Sub(u.now()); d > 0 { // a renewal failed
		look = min(look, d)
	}
	t := time.NewTimer(look)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return
	case <-stopping:
		return
	case <-t.C:
		return
	case <-u.samples.Wait():
	}
	if gather := u.cfg.Upload.Interval - u.now().Sub(u.sent); !u.cfg.Upload.Live && gather > 0 {
		u.wait(ctx, stopping, min(gather, u.cfg.Upload.Interval))
	}
}

func (u *uplink) wait(ctx context.Context, stopping <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-stopping:
	case <-t.C:
	}
}

// step does the next thing there is to do with the hub; idle is that there is none.
func (u *uplink) step(ctx context.Context) (idle bool, err error) {
	if err := u.enrol(ctx); err != nil {
		return false, err
	}
	u.renew(ctx)
	if err := u.greet(ctx); err != nil {
		return false, err
	}
	return u.upload(ctx)
}

// after records a failure and says how long to wait.
func (u *uplink) after(err error) time.Duration {
	var wait time.Duration
	r, isRefusal := errors.AsType[*refusal](err)
	u.mayNot = mayNot(err)
	switch {
	case u.mayNot:
		wait = u.refused.next()
	case errors.Is(err, errLie):
		wait = min(u.again.next(), lieMax)
	default:
		wait = u.again.next()
	}
	if isRefusal {
		wait = max(wait, r.after)
	}
	u.log.Warn("no upload", "err", explain(err), "again_in", wait.Round(time.Millisecond), "failures", u.again.failures+u.refused.failures)
	u.mu.Lock()
	u.state.Hub, u.state.Failures = printable(explain(err).Error()), u.again.failures+u.refused.failures
	u.mu.Unlock()
	return wait
}

// mayNot reports whether the hub said that this device may not: by a code, or by ending the handshake, which is how a
// certificate that is expired, revoked or of another installation is refused.
func mayNot(err error) bool {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.code == lh.Unauthenticated || r.code == lh.Forbidden
	}
	if errors.Is(err, errNoCode) || errors.Is(err, errExpired) {
		return true
	}
	return remoteAlert(err)
}

// remoteAlert reports a TLS alert of the other side.
func remoteAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// explain adds what a person can do.
func explain(err error) error {
	if v, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("the hub's certificate is not of the pinned root, not of this name, or not valid now; nothing was sent: %w", v.Err)
	}
	if remoteAlert(err) {
		return fmt.Errorf("the hub refuses this device's certificate: is it revoked, expired, or of another installation? %w", err)
	}
	return err
}

// ok records that the hub took something.
func (u *uplink) ok(acked bool) {
	u.again.reset()
	u.refused.reset()
	u.mayNot = false
	off, heard := u.clock.offset()
	u.mu.Lock()
	u.state.Hub, u.state.Failures = "", 0
	u.state.Reached = lh.MillisOf(u.now())
	if acked {
		u.state.Acked = u.state.Reached
	}
	u.state.ClockOffset = off.Milliseconds()
	u.mu.Unlock()
	if heard && off.Abs() > 2*time.Minute {
		if due, _ := u.clockSaid.due(u.now()); due {
			u.log.Warn("this device's clock is wrong; its samples will be flagged", "offset", off.Round(time.Second))
		}
	}
}

// greet sends the manifest, once for each identity, before the first batch: elements then have their names and units
// from the beginning.
func (u *uplink) greet(ctx context.Context) error {
	if id := u.id.device(); u.welcomed == id {
		return nil
	}
	w, err := u.hub.manifest(ctx, u.manifest)
	if r, ok := errors.AsType[*refusal](err); ok && r.code == lh.Invalid {
		u.log.Error("the hub cannot use this device's manifest; samples are sent all the same", "err", err)
		u.welcomed = u.id.device()
		return nil
	}
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if w.Device != u.id.device() {
		return fmt.Errorf("manifest: %w: it calls this device %s", errLie, w.Device)
	}
	u.welcomed = w.Device
	u.log.Info("the hub knows this device", "device", w.Device, "project", w.Project)
	u.mu.Lock()
	u.state.Project = w.Project
	u.mu.Unlock()
	u.ok(false)
	return nil
}

// upload sends the next batch; idle is that everything is acknowledged, but for what can wait for the next interval.
func (u *uplink) upload(ctx context.Context) (idle bool, err error) {
	if err := u.samples.Batch(&u.batch, u.maxRecs, u.maxBytes); err != nil {
		return false, fmt.Errorf("read own log: %w", err)
	}
	n := len(u.batch.Records)
	if n == 0 {
		return true, nil
	}
	u.batch.Sent = lh.MillisOf(u.now())
	if u.buf, err = u.batch.Append(u.buf[:0]); err != nil {
		return false, u.unreadable(ctx, err)
	}
	began := u.now()
	rest := n >= u.maxRecs || len(u.buf) >= u.maxBytes/2 // there may be more; otherwise what comes meanwhile can wait
	through, err := u.send(ctx)
	if err == nil && through+1 == u.batch.First {
		err = fmt.Errorf("%w: it acknowledges nothing", errLie)
	}
	if err != nil {
		if r, ok := errors.AsType[*refusal](err); !ok && !errors.Is(err, errLie) && ctx.Err() == nil {
			u.maxBytes = max(leastBytes, min(u.maxBytes, len(u.buf))/2)
		} else if ok && r.status == 400 && r.code == lh.Invalid {
			return false, u.unreadable(ctx, r)
		}
		return false, err
	}
	if err := u.samples.Ack(u.batch.Log, through); err != nil {
		return false, fmt.Errorf("keep what is acknowledged: %w", err)
	}
	u.sent = u.now()
	u.believed = true
	u.grow(u.sent.Sub(began))
	u.ok(true)
	u.mu.Lock()
	u.state.Records += int64(through + 1 - u.batch.First)
	u.mu.Unlock()
	return !u.cfg.Upload.Live && !rest && through == u.batch.Last(), nil
}

// grow fits the next batch to how long this one took.
func (u *uplink) grow(took time.Duration) {
	u.maxRecs = min(2*u.maxRecs, u.cfg.Upload.MaxRecords)
	switch {
	case took < quickBatch:
		u.maxBytes = min(2*u.maxBytes, u.cfg.Upload.MaxKiB<<10)
	case took > slowBatch:
		u.maxBytes = max(leastBytes, u.maxBytes/2)
	}
}

// send brings the batch in buf to the hub: by MQTT when it is the last few records and there is a session, else, or
// when that fails, by HTTPS.
func (u *uplink) send(ctx context.Context) (through uint32, err error) {
	first, last := u.batch.First, u.batch.Last()
	if s := u.live.up(); s != nil && s.device == u.id.device() && len(u.buf) <= maxLive && u.maxRecs == u.cfg.Upload.MaxRecords && u.now().After(u.shun) {
		err := s.publish(ctx, u.buf)
		r, isRefusal := errors.AsType[*refusal](err)
		switch {
		case err == nil:
			u.count(true)
			return last, nil
		case isRefusal && r.code == lh.Unavailable, ctx.Err() != nil:
			return 0, err
		case isRefusal: // HTTPS says it again, in words
			u.shun = u.now().Add(shunLive)
		}
		u.log.Warn("mqtt: batch was not taken; it goes by https", "err", err)
	}
	through, err = u.hub.batch(ctx, u.buf, first, last)
	if err == nil {
		u.count(false)
	}
	return through, err
}

func (u *uplink) count(live bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if live {
		u.state.ByMQTT++
	} else {
		u.state.ByHTTPS++
	}
}

// unreadable is called when the batch can never be read, by the hub's word or our own. It halves the next batch until
// a single record is left, and sets that one aside. Before it does so on the hub's word, and if that has accepted
// nothing meanwhile, it asks the hub to take an empty batch: who calls even that invalid does not mean the record.
func (u *uplink) unreadable(ctx context.Context, cause error) error {
	n := len(u.batch.Records)
	if u.maxRecs == u.cfg.Upload.MaxRecords {
		u.believed = false
		u.log.Warn("a batch cannot be read; looking for the record", "first", u.batch.First, "records", n, "err", cause)
	}
	if n > 1 {
		u.maxRecs = n / 2
		return nil
	}
	if _, ok := errors.AsType[*refusal](cause); ok && !u.believed {
		empty := wire.Batch{Log: u.batch.Log, First: u.batch.First, Sent: u.batch.Sent}
		b, err := empty.Append(nil)
		if err != nil {
			return err
		}
		if _, err := u.hub.batch(ctx, b, empty.First, empty.Last()); err != nil {
			return fmt.Errorf("the hub takes not even an empty batch; nothing is set aside: %w", err)
		}
		u.believed = true
	}
	seq := u.batch.First
	if err := u.samples.SetAside(u.batch.Log, seq, seq, cause.Error()); err != nil {
		return fmt.Errorf("set record %d aside: %w", seq, err)
	}
	u.log.Error("the hub cannot read this record; it is set aside", "record", seq, "err", cause)
	return nil
}

// status is for the status file.
func (u *uplink) status() UplinkStatus {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.state
}

func encodeManifest(m wire.Manifest) ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

var _ records = (*wal.Log)(nil)
