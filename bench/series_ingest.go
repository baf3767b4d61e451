package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// sampledSeries is how many series are compared value by value.
const sampledSeries = 24

// seriesRun is a database with an engine on it.
type seriesRun struct {
	b       *bench
	db      *store.DB
	engine  *series.Engine
	stop    context.CancelFunc
	done    chan error
	access  *access.Access
	reader  store.Scope // of the project's owner
	devices []*seriesDevice
}

// seriesDevice is a device as the hub knows it.
type seriesDevice struct {
	number   int
	id       lh.DeviceID
	own      store.Scope
	elements []lh.Element
	ids      []lh.ElementID
}

// openSeries opens an empty database, makes a project with devices, and starts the engine as the hub does.
func (b *bench) openSeries(ctx context.Context, o store.Options, devices int) (in *seriesRun, err error) {
	in = &seriesRun{b: b}
	if err := in.reopen(ctx, o); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.shut())
		}
	}()
	const password = "only for this measurement"
	user, err := in.access.CreateUser(ctx, lh.User{Email: "owner@bench.example", Name: "Owner"}, password)
	if err != nil {
		return nil, err
	}
	p, err := in.db.CreateProject(ctx, user.ID, lh.Project{Name: "Bench", Zone: "Europe/Copenhagen"})
	if err != nil {
		return nil, err
	}
	who, _, err := in.access.LogIn(ctx, user.Email, password, "127.0.0.1")
	if err != nil {
		return nil, err
	}
	if in.reader, err = in.access.Scope(ctx, who, p.ID); err != nil {
		return nil, err
	}
	for d := range devices {
		one, err := in.addDevice(ctx, d, seriesPerDevice)
		if err != nil {
			return nil, err
		}
		in.devices = append(in.devices, one)
	}
	return in, nil
}

// reopen opens the database and starts an engine on it.
func (in *seriesRun) reopen(ctx context.Context, o store.Options) error {
	var err error
	if in.db, err = store.Open(ctx, o); err != nil {
		return err
	}
	in.access = access.New(access.Options{DB: in.db, Log: in.b.log()})
	in.engine = series.New(in.db, series.Options{Scope: in.access.Hub, Log: in.b.log()})
	run, stop := context.WithCancel(context.Background())
	in.stop, in.done = stop, make(chan error, 1)
	go func() { in.done <- in.engine.Run(run) }()
	return nil
}

// shut stops the engine and closes the database.
func (in *seriesRun) shut() error {
	if in.db == nil {
		return nil
	}
	in.stop()
	err := errors.Join(<-in.done, in.db.Close())
	in.db = nil
	return err
}

func (in *seriesRun) close(err *error) { *err = errors.Join(*err, in.shut()) }

func (in *seriesRun) addDevice(ctx context.Context, number, channels int) (*seriesDevice, error) {
	serial := "BENCH-" + strconv.Itoa(number)
	if err := in.db.AddInventory(ctx, []lh.Inventory{{Serial: serial, Hardware: "bench", ClaimHash: []byte(serial)}}); err != nil {
		return nil, err
	}
	dev, err := in.db.ClaimDevice(ctx, in.reader, serial, []byte(serial), lh.Device{Name: serial, MaxOffline: 300})
	if err != nil {
		return nil, err
	}
	d := &seriesDevice{number: number, id: dev.ID, own: in.access.DeviceScope(in.reader.Project(), dev.ID)}
	keys := channelKeys(channels)
	want := make([]lh.Element, channels)
	for i, k := range keys {
		want[i] = lh.Element{Channel: k, Name: k, Digits: 2 + i%2, Interval: minute, Meaning: lh.Instantaneous, Color: "#3366cc"}
	}
	bound, err := in.db.BindElements(ctx, d.own, d.id, want)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		for _, e := range bound {
			if e.Channel == k {
				d.elements, d.ids = append(d.elements, e), append(d.ids, e.ID)
			}
		}
	}
	if len(d.ids) != channels {
		return nil, fmt.Errorf("device %d has %d of %d elements", number, len(d.ids), channels)
	}
	return d, nil
}

// seriesSender uploads for one device; its memory is used again from upload to upload.
type seriesSender struct {
	in    *seriesRun
	d     *seriesDevice
	batch wire.Batch
}

// send makes one encoded batch durable, as the hub does with what a device sends. "Later" is tried again, and counted.
func (s *seriesSender) send(ctx context.Context, raw []byte) (later int64, err error) {
	if err := wire.Decode(&s.batch, raw); err != nil {
		return 0, err
	}
	now := lh.MillisOf(time.Now())
	u := series.Upload{Scope: s.d.own, Device: s.d.id, Received: now, Epoch: 1_700_000_000, Sequence: s.batch.First, Elements: s.d.ids,
		NotBefore: 0, NotAfter: now, Raw: raw, Batch: &s.batch}
	for {
		err := s.in.engine.Append(ctx, u)
		if lh.CodeOf(err) != lh.Unavailable || ctx.Err() != nil {
			return later, err
		}
		later++
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// fed is what an ingest took.
type fed struct {
	samples       float64 // those sent again are not counted twice
	acked, folded time.Duration
	cpu           time.Duration
	later         int64
}

// feed sends what the devices sampled before a minute: all of them at once, each its next upload when the last one is
// acknowledged. Reading, checking and decoding the batches is in all figures.
func (in *seriesRun) feed(ctx context.Context, up *uploads, minutes int) (fed, error) {
	var got fed
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	before, err := processCPU()
	if err != nil {
		return got, err
	}
	start := time.Now()
	var samples, later atomic.Int64
	var wg sync.WaitGroup
	for i, d := range in.devices {
		wg.Go(func() {
			s := &seriesSender{in: in, d: d}
			var raw []byte
			for _, one := range up.by[i] {
				if int(one.last) > minutes {
					continue
				}
				if cap(raw) < int(one.length) {
					raw = make([]byte, 2*one.length)
				}
				raw = raw[:one.length]
				_, err := up.file.ReadAt(raw, one.at)
				if err == nil {
					var n int64
					n, err = s.send(ctx, raw)
					later.Add(n)
				}
				if err != nil {
					cancel(fmt.Errorf("device %d: %w", i, err))
					return
				}
				samples.Add(int64(one.samples))
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return got, err
	}
	got.acked, got.samples, got.later = time.Since(start), float64(samples.Load()), later.Load()
	if err := in.fold(ctx); err != nil {
		return got, err
	}
	got.folded = time.Since(start)
	after, err := processCPU()
	got.cpu = after - before
	return got, err
}

// fold folds until nothing is left.
func (in *seriesRun) fold(ctx context.Context) error {
	for {
		if err := in.engine.FoldNow(ctx); err != nil {
			return err
		}
		left, err := in.db.JournalBacklog(ctx)
		if err != nil || len(left) == 0 {
			return err
		}
		if p := in.engine.Problems(); len(p) > 0 {
			return fmt.Errorf("some cannot be folded: %s", p[0])
		}
	}
}

// verify proves that every series has exactly its minutes, and that some are the generator's value by value.
func (in *seriesRun) verify(ctx context.Context, minutes int) error {
	from := lh.DayStart(ingestDay)
	r := rand.New(rand.NewPCG(1, 5))
	compare := map[int]bool{0: true}
	for len(compare) < min(sampledSeries, len(in.devices)*seriesPerDevice) {
		compare[r.IntN(len(in.devices)*seriesPerDevice)] = true
	}
	for i, d := range in.devices {
		for c, el := range d.elements {
			got, err := in.engine.Reduce(ctx, in.reader, el, 0, lh.MaxMillis, 2)
			if err != nil {
				return err
			}
			if got.Count != int64(minutes) {
				return fmt.Errorf("series %d of device %d has %d samples, not %d", c, i, got.Count, minutes)
			}
			if !compare[i*seriesPerDevice+c] {
				continue
			}
			want, m := final(d.number, c, minutes), 0
			for s, err := range in.engine.Read(ctx, in.reader, el, 0, lh.MaxMillis) {
				if err != nil {
					return err
				}
				if at := from + lh.Millis(m)*minute; s.Time != at || s.Value != want[m] || s.Flag != lh.FlagGood {
					return fmt.Errorf("series %d of device %d: minute %d holds %v at %d with flag %d; it was %v at %d", c, i, m, s.Value, s.Time, s.Flag, want[m], at)
				}
				m++
			}
			if m != minutes {
				return fmt.Errorf("series %d of device %d reads %d samples, not %d", c, i, m, minutes)
			}
		}
	}
	return nil
}
