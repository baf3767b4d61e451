package report_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/fleet"
	"github.com/loggerhead-cloud/loggerhead/internal/ingest"
	"github.com/loggerhead-cloud/loggerhead/internal/report"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

var ctx = context.Background()

// rig is a hub's exports with all that is below them.
type rig struct {
	t      *testing.T
	o      store.Options
	db     *store.DB
	clock  *storetest.Clock
	engine *series.Engine
	access *access.Access
	ingest *ingest.Ingest
	owner  store.Scope
}

func each(t *testing.T, f func(r *rig)) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		r := &rig{t: t, clock: &storetest.Clock{}}
		o.Now, o.Log = r.clock.Now, slog.New(slog.DiscardHandler)
		r.o = o
		r.db = storetest.Open(t, o)
		r.access = access.New(access.Options{DB: r.db, Now: r.clock.Now, Log: o.Log})
		r.engine = series.New(r.db, series.Options{Scope: r.access.Hub, FoldAge: time.Hour, Now: r.clock.Now, Log: o.Log})
		r.ingest = ingest.New(ingest.Options{Append: r.engine.Append, DB: r.db, Bind: fleet.New(fleet.Options{DB: r.db, DeviceScope: r.access.DeviceScope, Now: r.clock.Now, Log: o.Log}).Bind, Now: r.clock.Now, Log: o.Log})
		run, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- r.engine.Run(run) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
		r.owner = storetest.Project(t, r.db)
		f(r)
	})
}

// options are a hub's, with a quick poll.
func (r *rig) options() report.Options {
	return report.Options{DB: r.db, Series: r.engine, Hub: r.access.Hub, Asker: r.access.OnBehalf, Poll: 20 * time.Millisecond, Now: r.clock.Now,
		Log: slog.New(slog.DiscardHandler)}
}

// run has exports made until the test ends, or stop is called.
func (r *rig) run(o report.Options) (x *report.Exports, stop func()) {
	r.t.Helper()
	x = report.New(o)
	return x, r.start(x)
}

func (r *rig) start(x *report.Exports) (stop func()) {
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- x.Run(run) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

// logger makes a device with an element for each channel; "temperature [Cel]" is one with a unit.
func (r *rig) logger(sc store.Scope, at lh.LocationID, channels ...string) (store.Scope, lh.Device, []lh.Element) {
	r.t.Helper()
	names := make([]string, len(channels))
	for i, c := range channels {
		names[i], _, _ = strings.Cut(c, " [")
	}
	d, own, es := storetest.DeviceScope(r.t, r.db, sc, names...)
	if at != "" {
		d.Location = at
		if err := r.db.ChangeDevice(ctx, sc, d); err != nil {
			r.t.Fatal(err)
		}
	}
	for i, c := range channels {
		if _, unit, ok := strings.Cut(c, " ["); ok {
			es[i].Unit = strings.TrimSuffix(unit, "]")
			if err := r.db.ChangeElement(ctx, sc, es[i]); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	return own, d, es
}

// upload stores samples of a device: rows of values, one for each channel, from at on, step apart; NaN is none.
func (r *rig) upload(own store.Scope, d lh.Device, es []lh.Element, at, step lh.Millis, rows ...[]float64) {
	r.t.Helper()
	b := wire.Batch{}
	for _, e := range es {
		b.Channels = append(b.Channels, e.Channel)
	}
	for i, values := range rows {
		rec := wire.Record{Time: at + lh.Millis(i)*step}
		for c, v := range values {
			if v == v {
				rec.Values = append(rec.Values, wire.Value{Channel: uint16(c), Flag: lh.FlagGood, Value: v})
			}
		}
		b.Records = append(b.Records, rec)
	}
	raw, err := b.Append(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.ingest.Accept(ctx, own, d.ID, raw); err != nil {
		r.t.Fatal(err)
	}
}

// ask asks for an export, or fails the test.
func (r *rig) ask(x *report.Exports, sc store.Scope, q lh.ExportRequest) lh.Export {
	r.t.Helper()
	e, err := x.Ask(ctx, sc, q, "")
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

// wait waits until an export is in a state; it gives up after 20 s.
func (r *rig) wait(sc store.Scope, id lh.ExportID, state lh.ExportState) lh.Export {
	r.t.Helper()
	var e lh.Export
	for range 2000 {
		var err error
		if e, err = r.db.Export(ctx, sc, id); err != nil {
			r.t.Fatal(err)
		}
		if e.State == state {
			return e
		}
		if e.State == lh.ExportFailed {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.t.Fatalf("the export is %s (%s), not %s", e.State, e.Reason, state)
	return e
}

// export asks for one, waits and reads it.
func (r *rig) export(x *report.Exports, sc store.Scope, q lh.ExportRequest) []byte {
	r.t.Helper()
	return r.read(x, sc, r.wait(sc, r.ask(x, sc, q).ID, lh.ExportReady))
}

func (r *rig) read(x *report.Exports, sc store.Scope, e lh.Export) []byte {
	r.t.Helper()
	f, err := x.Open(ctx, sc, e)
	if err != nil {
		r.t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, f); err != nil {
		r.t.Fatal(err)
	}
	if int64(b.Len()) != e.Size {
		r.t.Fatalf("%d bytes of an export of %d", b.Len(), e.Size)
	}
	return b.Bytes()
}
