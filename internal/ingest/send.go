package ingest

import (
	"context"
	"math"
	"slices"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// MaxRows is how many samples one sending may have: so many always fit a batch.
const MaxRows = 20_000

// Row is one sample that an integration sends.
type Row struct {
	Element lh.ElementID
	Time    lh.Millis
	Value   float64
	Flag    lh.Flag
}

// Send takes in samples that an integration sends, by its own scope: all of them, or none. When it returns nil, they are
// on disk, synced. They are journalled as an upload is, under [lh.Sent], and rank by arrival: of two samples of an element
// at one time the one that came later stands, and what is sent again changes nothing. Invalid: a row cannot be a sample,
// and never will be; Unavailable: later. That the integration may send these elements is the caller's to check.
func (i *Ingest) Send(ctx context.Context, sc store.Scope, rows []Row) error {
	start := time.Now()
	err := i.send(ctx, sc, rows)
	if err != nil {
		i.uploads.WithLabelValues(string(lh.CodeOf(err))).Inc()
		return err
	}
	i.uploads.WithLabelValues("ok").Inc()
	i.samples.Add(float64(len(rows)))
	i.latency.Observe(time.Since(start).Seconds())
	return nil
}

func (i *Ingest) send(ctx context.Context, sc store.Scope, rows []Row) error {
	if len(rows) == 0 {
		return nil
	}
	if len(rows) > MaxRows {
		return lh.Errorf(lh.Invalid, "%d samples at once; at most %d are possible", len(rows), MaxRows)
	}
	now := i.o.Now()
	received := lh.MillisOf(now)
	b, elements := batchOf(rows)
	raw, err := b.Append(nil)
	if err != nil {
		return err
	}
	u := series.Upload{Scope: sc, Device: lh.Sent, Received: received, Batch: b, Raw: raw, Elements: elements,
		NotBefore: earliest, NotAfter: received + lh.Millis(ahead.Milliseconds())}
	rank := i.sent.rank(now, len(b.Records))
	u.Epoch, u.Sequence = uint32(rank>>32), uint32(rank)
	if err := i.o.Append(ctx, u); err != nil {
		return err
	}
	if i.feed.listening(sc.Project()) {
		i.feed.publish(eventOf(sc.Project(), &u))
	}
	var suspects int
	for _, r := range rows {
		if r.Time < u.NotBefore || r.Time > u.NotAfter {
			suspects++
		}
	}
	i.suspects.Add(float64(suspects))
	return nil
}

// batchOf puts rows into a batch: a record for each time, with a channel for each element, named by its id. Of two rows of
// an element at one time, the later is in a later record.
func batchOf(rows []Row) (*wire.Batch, []lh.ElementID) {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b Row) int {
		switch {
		case a.Time < b.Time:
			return -1
		case a.Time > b.Time:
			return 1
		}
		return 0
	})
	b := &wire.Batch{}
	var elements []lh.ElementID
	channels := map[lh.ElementID]uint16{}
	within := map[uint16]bool{} // channels of the record that is being made
	for _, r := range rows {
		c, ok := channels[r.Element]
		if !ok {
			c = uint16(min(len(elements), math.MaxUint16))
			channels[r.Element] = c
			elements = append(elements, r.Element)
			b.Channels = append(b.Channels, string(r.Element))
		}
		n := len(b.Records)
		if n == 0 || b.Records[n-1].Time != r.Time || within[c] {
			b.Records = append(b.Records, wire.Record{Time: r.Time})
			n++
			clear(within)
		}
		within[c] = true
		b.Records[n-1].Values = append(b.Records[n-1].Values, wire.Value{Channel: c, Flag: r.Flag, Value: r.Value})
	}
	return b, elements
}

// rank gives n ranks one after another: the second of now as the epoch, its microsecond times 4096 as the sequence, and
// in any case more than all before, so that what comes later ranks higher, through whichever of several hubs it comes, as
// far as their clocks agree.
func (s *sent) rank(now time.Time, n int) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := uint64(now.Unix())<<32 | uint64(now.Nanosecond()/1000)<<12
	r = max(r, s.next)
	if uint32(r)+uint32(n) < uint32(r) { // an upload's ranks are of one epoch
		r = (r>>32 + 1) << 32
	}
	s.next = r + uint64(n)
	return r
}
