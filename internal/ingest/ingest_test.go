package ingest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/fleet"
	"github.com/loggerhead-cloud/loggerhead/internal/ingest"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

var ctx = context.Background()

// hubTime is what the hub's clock shows at first.
var hubTime = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}
func (c *clock) millis() lh.Millis { return lh.MillisOf(c.now()) }

// hub is ingest on a real engine and database.
type hub struct {
	t      *testing.T
	o      store.Options
	db     *store.DB
	clock  *clock
	engine *series.Engine
	ingest *ingest.Ingest
	owner  store.Scope
	stop   func()
}

func each(t *testing.T, f func(h *hub)) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		h := &hub{t: t, o: o, clock: &clock{t: hubTime}}
		h.o.Now, h.o.Log = h.clock.now, slog.New(slog.DiscardHandler)
		h.start()
		t.Cleanup(func() { h.stop() })
		h.owner = storetest.Project(t, h.db)
		f(h)
	})
}

func (h *hub) start() {
	h.t.Helper()
	var err error
	if h.db, err = store.Open(ctx, h.o); err != nil {
		h.t.Fatal(err)
	}
	h.engine = series.New(h.db, series.Options{Scope: storetest.HubScope, FoldAge: time.Hour, Now: h.clock.now, Log: h.o.Log})
	fl := fleet.New(fleet.Options{DB: h.db, Now: h.clock.now, Log: h.o.Log})
	h.ingest = ingest.New(ingest.Options{Append: h.engine.Append, DB: h.db, Bind: fl.Bind, Now: h.clock.now, Log: h.o.Log})
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- h.engine.Run(run) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, h.db.Close()); err != nil {
			h.t.Error(err)
		}
	})
}

func (h *hub) restart() { h.t.Helper(); h.stop(); h.start() }

// logger is a device with a log of its own.
type logger struct {
	id  lh.DeviceID
	own store.Scope
	log uint64
}

func (h *hub) logger() *logger {
	h.t.Helper()
	d, own, _ := storetest.DeviceScope(h.t, h.db, h.owner)
	return &logger{d.ID, own, 7}
}

// rec is a record with one value for each of the batch's channels; NaN is none.
func rec(at lh.Millis, values ...float64) wire.Record {
	r := wire.Record{Time: at}
	for i, v := range values {
		if !math.IsNaN(v) {
			r.Values = append(r.Values, wire.Value{Channel: uint16(i), Flag: lh.FlagGood, Value: v})
		}
	}
	return r
}

func (h *hub) send(l *logger, b wire.Batch) (wire.Ack, error) {
	h.t.Helper()
	if b.Log == 0 {
		b.Log = l.log
	}
	if b.Channels == nil {
		b.Channels = []string{"1/level"}
	}
	raw, err := b.Append(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.ingest.Accept(ctx, l.own, l.id, raw)
}

func (h *hub) mustSend(l *logger, b wire.Batch) wire.Ack {
	h.t.Helper()
	ack, err := h.send(l, b)
	if err != nil {
		h.t.Fatalf("upload refused: %v", err)
	}
	return ack
}

func (h *hub) element(l *logger, channel string) lh.Element {
	h.t.Helper()
	es, err := h.db.DeviceElements(ctx, h.owner, l.id)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range es {
		if e.Channel == channel {
			return e
		}
	}
	h.t.Fatalf("channel %s has no element", channel)
	return lh.Element{}
}

func (h *hub) read(l *logger, channel string) []lh.Sample {
	h.t.Helper()
	var out []lh.Sample
	for s, err := range h.engine.Read(ctx, h.owner, h.element(l, channel), lh.MinMillis, lh.MaxMillis+1) {
		if err != nil {
			h.t.Fatal(err)
		}
		s.Rank = 0
		out = append(out, s)
	}
	return out
}

func (h *hub) latest(l *logger, channel string) lh.Sample {
	h.t.Helper()
	ls, err := h.db.Latest(ctx, h.owner, []lh.ElementID{h.element(l, channel).ID})
	if err != nil {
		h.t.Fatal(err)
	}
	if len(ls) == 0 {
		return lh.Sample{}
	}
	ls[0].Sample.Rank = 0
	return ls[0].Sample
}

func (h *hub) fold() {
	h.t.Helper()
	if err := h.engine.FoldNow(ctx); err != nil {
		h.t.Fatal(err)
	}
}

func good(at lh.Millis, v float64) lh.Sample {
	return lh.Sample{Time: at, Value: v, Flag: lh.FlagGood}
}

// TestAckedIsRead: what is acknowledged is there after the hub was stopped without a fold.
func TestAckedIsRead(t *testing.T) {
	each(t, func(h *hub) {
		l := h.logger()
		at := h.clock.millis()
		ack := h.mustSend(l, wire.Batch{First: 1, Sent: at, Channels: []string{"1/level", "2/temp"},
			Records: []wire.Record{rec(at-2000, 1.5, math.NaN()), rec(at-1000, 1.6, 8), rec(at, math.NaN(), 9)}})
		if ack != (wire.Ack{AckedThrough: 3, Time: at}) {
			h.t.Errorf("ack %+v", ack)
		}
		check := func() {
			h.t.Helper()
			if got, want := h.read(l, "1/level"), []lh.Sample{good(at-2000, 1.5), good(at-1000, 1.6)}; !slices.Equal(got, want) {
				h.t.Errorf("level %v, want %v", got, want)
			}
			if got, want := h.read(l, "2/temp"), []lh.Sample{good(at-1000, 8), good(at, 9)}; !slices.Equal(got, want) {
				h.t.Errorf("temp %v, want %v", got, want)
			}
		}
		check()
		h.restart()
		check()
		h.fold()
		check()
	})
}

// TestLastWriteWins: the later record of a log wins in whatever order uploads arrive, and a new log wins over an old
// one; the same upload twice is one.
func TestLastWriteWins(t *testing.T) {
	each(t, func(h *hub) {
		at := h.clock.millis() - 5000
		write := func(first uint32, v float64) wire.Batch {
			return wire.Batch{First: first, Records: []wire.Record{rec(at, v)}}
		}
		for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {2, 0, 1, 2, 0}} {
			for _, fold := range []bool{false, true} {
				l := h.logger()
				for _, i := range order {
					h.mustSend(l, write(uint32(i+1), float64(10*(i+1))))
					if fold {
						h.fold()
					}
				}
				if got := h.read(l, "1/level"); !slices.Equal(got, []lh.Sample{good(at, 30)}) {
					h.t.Errorf("order %v, folded %v: read %v, want the third record alone", order, fold, got)
				}
				if got := h.latest(l, "1/level"); got != good(at, 30) {
					h.t.Errorf("order %v, folded %v: latest %v", order, fold, got)
				}
				// The logger is wiped and begins a new log, at record 1; a record of the old one comes late.
				h.clock.add(time.Second)
				l.log++
				h.mustSend(l, write(1, 99))
				l.log--
				h.mustSend(l, write(4, 40))
				if got := h.read(l, "1/level"); !slices.Equal(got, []lh.Sample{good(at, 99)}) {
					h.t.Errorf("order %v, folded %v: a new log reads %v", order, fold, got)
				}
			}
		}
		// In one batch, the later record.
		l := h.logger()
		h.mustSend(l, wire.Batch{First: 1, Records: []wire.Record{rec(at, 1), rec(at-1, 5), rec(at, 2)}})
		if got := h.read(l, "1/level"); !slices.Equal(got, []lh.Sample{good(at-1, 5), good(at, 2)}) {
			h.t.Errorf("twice in one batch: %v", got)
		}
	})
}

// TestWithoutALog: a device that keeps no log ranks by arrival.
func TestWithoutALog(t *testing.T) {
	each(t, func(h *hub) {
		l := h.logger()
		at := h.clock.millis()
		for i, v := range []float64{3, 1, 2} {
			js := fmt.Sprintf(`{"sent":%d,"records":[{"t":%d,"v":{"1/level":%g,"2/none":null}}]}`, at, at, v)
			if _, err := h.ingest.Accept(ctx, l.own, l.id, []byte(js)); err != nil {
				h.t.Fatal(err)
			}
			if i == 1 {
				h.clock.add(time.Second)
				h.restart()
			}
		}
		if got := h.read(l, "1/level"); len(got) != 1 || got[0].Value != 2 || got[0].Flag != lh.FlagNotEvaluated {
			h.t.Errorf("read %v, want the last to arrive", got)
		}
	})
}

// TestModel plays random devices that repeat, reorder and overwrite, against a plain map.
func TestModel(t *testing.T) {
	each(t, func(h *hub) {
		r := rand.New(rand.NewPCG(3, 4))
		type key struct {
			l  *logger
			ch string
			at lh.Millis
		}
		type written struct {
			log uint64
			seq uint32
			v   float64
		}
		want := map[key]written{}
		ls := []*logger{h.logger(), h.logger()}
		type upload struct {
			l *logger
			b wire.Batch
		}
		var uploads []upload
		next := map[*logger]uint32{ls[0]: 1, ls[1]: 1}
		channels := []string{"1/a", "2/b"}
		base := h.clock.millis() - 5*lh.DayMillis
		for range 60 {
			l := ls[r.IntN(2)]
			b := wire.Batch{Log: l.log, First: next[l], Channels: channels}
			if r.IntN(4) == 0 { // channels in another order
				b.Channels = []string{"2/b", "1/a"}
			}
			for range 1 + r.IntN(20) {
				rc := wire.Record{Time: base + lh.Millis(r.IntN(200))*30*60*1000}
				for c := range b.Channels {
					if r.IntN(3) > 0 {
						rc.Values = append(rc.Values, wire.Value{Channel: uint16(c), Flag: lh.FlagGood, Value: math.Round(r.Float64()*1e4) / 100})
					}
				}
				b.Records = append(b.Records, rc)
			}
			next[l] += uint32(len(b.Records))
			uploads = append(uploads, upload{l, b})
			if r.IntN(3) == 0 {
				uploads = append(uploads, uploads[r.IntN(len(uploads))]) // an answer was lost
			}
			if r.IntN(15) == 0 { // wiped
				l.log++
				next[l] = 1
			}
		}
		// The hub meets the logs in order; within that, uploads come in any.
		first := map[[2]any]bool{}
		var met []upload
		for _, u := range uploads {
			if k := [2]any{u.l, u.b.Log}; !first[k] {
				first[k] = true
				met = append(met, u)
			}
		}
		for _, u := range met {
			h.mustSend(u.l, u.b)
		}
		r.Shuffle(len(uploads), func(i, j int) { uploads[i], uploads[j] = uploads[j], uploads[i] })
		slices.SortStableFunc(uploads[:len(uploads)/4], func(a, b upload) int { return cmp.Compare(a.b.First, b.b.First) })
		for i, u := range uploads {
			h.mustSend(u.l, u.b)
			if r.IntN(10) == 0 {
				h.fold()
			}
			if i%40 == 39 {
				h.restart()
			}
		}
		for _, u := range uploads {
			for i, rc := range u.b.Records {
				for _, v := range rc.Values {
					k := key{u.l, u.b.Channels[v.Channel], rc.Time}
					w := written{u.b.Log, u.b.First + uint32(i), v.Value}
					if old, ok := want[k]; !ok || w.log > old.log || w.log == old.log && w.seq >= old.seq {
						want[k] = w
					}
				}
			}
		}
		for _, l := range ls {
			for _, ch := range channels {
				byTime := map[lh.Millis]float64{}
				for k, w := range want {
					if k.l == l && k.ch == ch {
						byTime[k.at] = w.v
					}
				}
				var exp []lh.Sample
				for _, at := range slices.Sorted(maps.Keys(byTime)) {
					exp = append(exp, good(at, byTime[at]))
				}
				got := h.read(l, ch)
				if len(got) != len(exp) {
					h.t.Fatalf("%s %s: %d samples read, want %d", l.id, ch, len(got), len(exp))
				}
				for i := range got {
					if got[i] != exp[i] {
						h.t.Fatalf("%s %s: read %v, want %v", l.id, ch, got[i], want[key{l, ch, got[i].Time}])
					}
				}
				if lt := h.latest(l, ch); lt != exp[len(exp)-1] {
					h.t.Errorf("%s %s: latest %v, want %v", l.id, ch, lt, exp[len(exp)-1])
				}
			}
		}
	})
}

// TestRefusals: what can never be read is invalid; nothing of it is stored, and the next good upload goes through.
func TestRefusals(t *testing.T) {
	each(t, func(h *hub) {
		l := h.logger()
		b := wire.Batch{Log: 7, First: 1, Channels: []string{"1/level"}, Records: []wire.Record{rec(h.clock.millis(), 1)}}
		raw, err := b.Append(nil)
		if err != nil {
			h.t.Fatal(err)
		}
		flipped := slices.Clone(raw)
		flipped[len(flipped)/2] ^= 1
		for name, p := range map[string][]byte{"nothing": nil, "noise": []byte("noise"), "cut": raw[:len(raw)-1], "more": append(slices.Clone(raw), 0),
			"flipped": flipped, "huge": make([]byte, wire.MaxBatchBytes+1), "json": []byte(`{"records":[{"t":1,"v":{"a":1e999}}]}`),
			"unknown key": []byte(`{"records":[],"extra":1}`), "no time": []byte(`{"records":[{"v":{"a":1}}]}`), "deep": []byte(strings.Repeat(`{"records":[`, 1000)),
			"year 10000": []byte(`{"records":[{"t":253402300800000,"v":{"a":1}}]}`)} {
			if _, err := h.ingest.Accept(ctx, l.own, l.id, p); lh.CodeOf(err) != lh.Invalid {
				h.t.Errorf("%s: %v (%s)", name, err, lh.CodeOf(err))
			}
		}
		if es, err := h.db.DeviceElements(ctx, h.owner, l.id); err != nil || len(es) != 0 {
			h.t.Errorf("refused uploads made elements: %v, %v", es, err)
		}
		if _, err := h.ingest.Accept(ctx, l.own, lh.NewDeviceID(), raw); lh.CodeOf(err) != lh.NotFound {
			h.t.Errorf("upload for another device: %v", err)
		}
		if _, err := h.ingest.Accept(ctx, store.Scope{}, l.id, raw); lh.CodeOf(err) != lh.NotFound {
			h.t.Errorf("upload with the zero scope: %v", err)
		}
		if _, err := h.ingest.Accept(ctx, h.owner, l.id, raw); lh.CodeOf(err) != lh.NotFound {
			h.t.Errorf("upload with the owner's scope: %v", err)
		}
		h.mustSend(l, b)
		if got := h.read(l, "1/level"); len(got) != 1 {
			h.t.Errorf("read %v", got)
		}
	})
}

// TestTooManyChannels: a device that passes its bound of elements is told so in a way that makes it set the batch
// aside; "later" would block its queue for ever.
func TestTooManyChannels(t *testing.T) {
	each(t, func(h *hub) {
		l := h.logger()
		at := h.clock.millis()
		send := func(first uint32, from, n int) error {
			b := wire.Batch{First: first, Records: []wire.Record{{Time: at}}}
			for i := range n {
				b.Channels = append(b.Channels, fmt.Sprint("c", from+i))
				b.Records[0].Values = append(b.Records[0].Values, wire.Value{Channel: uint16(i), Flag: lh.FlagGood, Value: 1})
			}
			_, err := h.send(l, b)
			return err
		}
		for i := range store.MaxDeviceElements / wire.MaxChannels {
			if err := send(uint32(i+1), i*wire.MaxChannels, wire.MaxChannels); err != nil {
				h.t.Fatal(err)
			}
		}
		if err := send(9, store.MaxDeviceElements, 1); lh.CodeOf(err) != lh.Invalid {
			h.t.Errorf("one channel too many: %v (%s)", err, lh.CodeOf(err))
		}
		if err := send(10, 0, 1); err != nil {
			h.t.Errorf("a known channel after that: %v", err)
		}
	})
}

// TestStorageFails: an upload that cannot be made durable is not acknowledged.
func TestStorageFails(t *testing.T) {
	each(t, func(h *hub) {
		l := h.logger()
		b := wire.Batch{First: 1, Records: []wire.Record{rec(h.clock.millis(), 1)}}
		h.mustSend(l, b)
		events, _, cancel := h.ingest.Subscribe(h.owner.Project(), 8)
		defer cancel()
		h.stop()
		if _, err := h.send(l, b); lh.CodeOf(err) != lh.Unavailable {
			h.t.Errorf("upload to a hub that has stopped: %v (%s)", err, lh.CodeOf(err))
		}
		select {
		case e := <-events:
			h.t.Errorf("live charts were told of what is not stored: %+v", e)
		default:
		}
		h.start()
		h.mustSend(l, b)
	})
}
