package ingest

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// What counts as an impossible time. A sample with one is stored and flagged, never refused.
const (
	// ahead is how far after its arrival a sample may claim to be taken: as far as a clock that is not wrong may be off.
	ahead = clockWrong
	// earliest is the first time a clock that was ever set shows: 2001-09-09, 10^12 ms.
	earliest lh.Millis = 1e12
	// clockWrong is by how much a device's clock may differ from the hub's before all it says now is suspect.
	clockWrong = 2 * time.Minute
	// clockMoved is a change of a device's clock that is recorded at once.
	clockMoved = 10 * time.Second
	// touchEvery is how often a device that keeps sending is recorded as seen.
	touchEvery = 5 * time.Second
)

// bindEvery is how often the elements of a device are looked up again: people may take one off it on any hub. It is well
// below [store.Unbound].
const bindEvery = 10 * time.Second

// maxDevices bounds the devices remembered in memory; one that is forgotten is looked up again.
const maxDevices = 20000

// Options are what ingest works with.
type Options struct {
	// Append makes an upload durable; see [series.Engine.Append].
	Append func(context.Context, series.Upload) error
	DB     *store.DB
	// Bind returns a device's elements by channel, making those that are not there.
	Bind       func(ctx context.Context, sc store.Scope, d lh.DeviceID, keys []string) (map[string]lh.ElementID, error)
	Now        func() time.Time // nil is time.Now
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Ingest is safe for concurrent use.
type Ingest struct {
	o       Options
	feed    feed
	batches sync.Pool // *wire.Batch

	mu      sync.Mutex
	devices map[lh.DeviceID]*device
	arrival atomic.Uint32 // ranks uploads without a log
	sent    sent

	uploads  *prometheus.CounterVec
	samples  prometheus.Counter
	suspects prometheus.Counter
	latency  prometheus.Histogram
}

// device is what is remembered of a device between uploads. Losing it costs a look-up.
type device struct {
	mu       sync.Mutex
	elements map[string]lh.ElementID
	bound    lh.Millis // when elements was looked up
	log      uint64    // of epoch
	epoch    uint32
	touched  lh.Millis
	offset   int64 // as recorded
	known    bool  // offset is
	suspects int64 // not recorded yet
}

// sent ranks what integrations send.
type sent struct {
	mu   sync.Mutex
	next uint64
}

// New returns an Ingest.
func New(o Options) *Ingest {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
	i := &Ingest{o: o, devices: map[lh.DeviceID]*device{}}
	i.batches.New = func() any { return new(wire.Batch) }
	i.uploads = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loggerhead_ingest_uploads_total",
		Help: "Uploads by outcome: ok, or the code of the refusal."}, []string{"outcome"})
	i.samples = prometheus.NewCounter(prometheus.CounterOpts{Name: "loggerhead_ingest_samples_total", Help: "Samples acknowledged, repeated ones included."})
	i.suspects = prometheus.NewCounter(prometheus.CounterOpts{Name: "loggerhead_ingest_clock_suspect_samples_total", Help: "Samples stored with an impossible time."})
	i.latency = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "loggerhead_ingest_seconds", Help: "From receiving an upload to its acknowledgement.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)})
	o.Registerer.MustRegister(i.uploads, i.samples, i.suspects, i.latency)
	return i
}

// Accept takes in one upload of a device, by its own scope. When it returns an Ack, the samples are on disk, synced.
// Invalid: the batch cannot be read or has more channels than a device may, and never will be taken; Unavailable: later.
func (i *Ingest) Accept(ctx context.Context, sc store.Scope, id lh.DeviceID, payload []byte) (wire.Ack, error) {
	start := time.Now()
	ack, n, err := i.accept(ctx, sc, id, payload)
	if err != nil {
		i.uploads.WithLabelValues(string(lh.CodeOf(err))).Inc()
		return ack, err
	}
	i.uploads.WithLabelValues("ok").Inc()
	i.samples.Add(float64(n))
	i.latency.Observe(time.Since(start).Seconds())
	return ack, nil
}

func (i *Ingest) accept(ctx context.Context, sc store.Scope, id lh.DeviceID, payload []byte) (wire.Ack, int, error) {
	b := i.batches.Get().(*wire.Batch)
	defer i.batches.Put(b)
	if err := wire.Decode(b, payload); err != nil {
		return wire.Ack{}, 0, err
	}
	received := lh.MillisOf(i.o.Now())
	ack := wire.Ack{AckedThrough: b.Last(), Time: received}
	d := i.device(id)
	if len(b.Records) == 0 {
		see := d.see(received, b, 0)
		if see == nil {
			return ack, 0, nil
		}
		err := i.o.DB.TouchDevice(ctx, sc, id, see.DeviceSeen)
		i.saw(ctx, sc, id, d, see, err)
		return ack, 0, err
	}
	u := series.Upload{Scope: sc, Device: id, Received: received, Batch: b, Raw: payload,
		NotBefore: earliest, NotAfter: received + lh.Millis(ahead.Milliseconds())}
	if off := int64(b.Sent - received); b.Sent != 0 && (off > clockWrong.Milliseconds() || off < -clockWrong.Milliseconds()) {
		// The clock is wrong now: whatever this batch says of time is suspect. The window is empty, and what is after
		// the hub's own clock does not become the latest.
		u.NotBefore, u.NotAfter = lh.MaxMillis, received
	}
	var err error
	if u.Elements, err = i.elements(ctx, sc, id, d, b.Channels, received); err != nil {
		return ack, 0, err
	}
	if u.Epoch, u.Sequence, err = i.rank(ctx, sc, id, d, b, received); err != nil {
		return ack, 0, err
	}
	var suspects int64
	for k := range b.Records {
		if t := b.Records[k].Time; t < u.NotBefore || t > u.NotAfter {
			suspects += int64(len(b.Records[k].Values))
		}
	}
	// What the upload tells of its device goes to disk with it, in the same commit.
	see := d.see(received, b, suspects)
	if see != nil {
		u.Seen = &see.DeviceSeen
	}
	err = i.o.Append(ctx, u)
	i.saw(ctx, sc, id, d, see, err)
	if err != nil {
		return ack, 0, err
	}
	if see == nil {
		d.mu.Lock()
		d.suspects += suspects
		d.mu.Unlock()
	}
	if i.feed.listening(sc.Project()) {
		i.feed.publish(eventOf(sc.Project(), &u))
	}
	if suspects > 0 {
		i.suspects.Add(float64(suspects))
	}
	return ack, b.Samples(), nil
}

func (i *Ingest) device(id lh.DeviceID) *device {
	i.mu.Lock()
	defer i.mu.Unlock()
	d := i.devices[id]
	if d == nil {
		for old := range i.devices {
			if len(i.devices) < maxDevices {
				break
			}
			delete(i.devices, old)
		}
		d = &device{}
		i.devices[id] = d
	}
	return d
}

// elements returns the elements of the batch's channels, in their order.
func (i *Ingest) elements(ctx context.Context, sc store.Scope, id lh.DeviceID, d *device, channels []string, now lh.Millis) ([]lh.ElementID, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now-d.bound > lh.Millis(bindEvery.Milliseconds()) || now < d.bound {
		d.elements = nil
	}
	out := make([]lh.ElementID, len(channels))
	for try := 0; ; try++ {
		missing := false
		for k, c := range channels {
			out[k] = d.elements[c]
			missing = missing || out[k] == ""
		}
		if !missing {
			return out, nil
		}
		if try > 0 {
			return nil, lh.Errorf(lh.Internal, "an element of %s could not be made", id)
		}
		have, err := i.o.Bind(ctx, sc, id, channels)
		if lh.CodeOf(err) == lh.Exhausted {
			// It does not get better by waiting: "later" would block the device's queue for ever.
			return nil, lh.Hide(lh.Invalid, err, "%s", lh.PublicMessage(err))
		}
		if err != nil {
			return nil, err
		}
		d.elements, d.bound = have, now
	}
}

// rank returns the epoch and the sequence of the batch's first record. A device without a log ranks by arrival.
func (i *Ingest) rank(ctx context.Context, sc store.Scope, id lh.DeviceID, d *device, b *wire.Batch, received lh.Millis) (epoch, sequence uint32, err error) {
	if b.Log == 0 {
		n := uint32(len(b.Records))
		return uint32(int64(received) / 1000), i.arrival.Add(n) - n, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.log != b.Log {
		e, err := i.o.DB.LogEpoch(ctx, sc, id, b.Log, received)
		if err != nil {
			return 0, 0, err
		}
		d.log, d.epoch = b.Log, e
	}
	return d.epoch, b.First, nil
}

// sighting is a contact with a device on its way into the database.
type sighting struct {
	store.DeviceSeen
	earlier int64 // of ClockSuspect, what earlier uploads brought
	moved   bool  // the device's clock is not where it was
}

// see notes that the device was heard of and returns what is to be recorded of it: at once when its clock changed,
// else now and then, nil in between. Whoever gets a sighting tells [Ingest.saw] what became of it.
func (d *device) see(received lh.Millis, b *wire.Batch, suspects int64) *sighting {
	d.mu.Lock()
	defer d.mu.Unlock()
	offset := int64(b.Sent - received)
	moved := b.Sent != 0 && (!d.known || max(offset-d.offset, d.offset-offset) > clockMoved.Milliseconds())
	if !moved && received-d.touched < lh.Millis(touchEvery.Milliseconds()) && received >= d.touched {
		return nil
	}
	s := &sighting{DeviceSeen: store.DeviceSeen{At: received, ClockSuspect: d.suspects + suspects}, earlier: d.suspects, moved: moved}
	d.suspects, d.touched = 0, received
	if b.Sent != 0 {
		s.ClockOffset = &offset
		d.offset, d.known = offset, true
	}
	return s
}

// saw ends a sighting: it is on record, or err says why not; then the next contact tells all of it.
func (i *Ingest) saw(ctx context.Context, sc store.Scope, id lh.DeviceID, d *device, s *sighting, err error) {
	if s == nil {
		return
	}
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.suspects += s.earlier
		d.touched, d.known = 0, false
		return
	}
	if s.moved && max(*s.ClockOffset, -*s.ClockOffset) > clockWrong.Milliseconds() {
		i.o.Log.WarnContext(ctx, "a device's clock is wrong; its samples are flagged", "device", id, "project", sc.Project(),
			"offset", time.Duration(*s.ClockOffset)*time.Millisecond)
	}
}

// Event is what the feed tells of one upload.
type Event struct {
	Project lh.ProjectID
	Device  lh.DeviceID
	// Samples are the upload's newest few of each element, ascending by time within each.
	Samples []lh.Latest
}

// feedPerElement is how many samples of an element one event tells; a chart that wants all of a backlog reads them.
const feedPerElement = 32

func eventOf(p lh.ProjectID, u *series.Upload) Event {
	e := Event{Project: p, Device: u.Device}
	by := make([][]lh.Latest, len(u.Elements))
	u.Each(func(c uint16, s lh.Sample) {
		by[c] = append(by[c], lh.Latest{Element: u.Elements[c], Sample: s, Received: u.Received})
	})
	for _, ls := range by {
		slices.SortStableFunc(ls, func(a, b lh.Latest) int {
			return cmp.Compare(a.Sample.Time, b.Sample.Time)
		})
		e.Samples = append(e.Samples, ls[max(0, len(ls)-feedPerElement):]...)
	}
	return e
}
