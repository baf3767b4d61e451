package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

const (
	// maxTurns is how often a hub may end while it makes an export before it is given up: one that ends hubs would do so
	// for ever.
	maxTurns = 5
	// sweepEvery is how often expired exports are looked for.
	sweepEvery = time.Minute
	// partsAtOnce is how many parts are kept with one disk sync.
	partsAtOnce = 4
)

// Run makes exports until ctx ends; what is under way then is given back for another hub, or for the next start.
func (x *Exports) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range x.o.Workers {
		wg.Go(func() { x.work(ctx) })
	}
	wg.Go(func() {
		t := time.NewTicker(sweepEvery)
		defer t.Stop()
		for {
			if err := x.o.DB.SweepExports(ctx); err != nil && ctx.Err() == nil {
				x.o.Log.Error("expired exports were not removed", "err", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
		}
	})
	wg.Wait()
	return nil
}

// work makes one export after the other.
func (x *Exports) work(ctx context.Context) {
	t := time.NewTicker(x.o.Poll)
	defer t.Stop()
	for ctx.Err() == nil {
		turn, ok, err := x.o.DB.TakeExport(ctx, x.o.Lease)
		if err != nil && ctx.Err() == nil {
			x.o.Log.Error("no export could be taken", "err", err)
		}
		if ok {
			x.turn(ctx, turn)
			continue
		}
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-x.nudge:
		}
	}
}

// errSize and errTime end an export that takes too much.
var (
	errSize = errors.New("the file is too large")
	errTime = errors.New("it took too long")
)

// turn makes one export and says how it ended.
func (x *Exports) turn(ctx context.Context, turn store.ExportTurn) {
	x.running.Add(1)
	defer x.running.Add(-1)
	hub := x.o.Hub(turn.Project)
	log := x.o.Log.With("project", turn.Project, "export", turn.ID)
	err := x.make(ctx, hub, turn)
	// What is said now must be said although ctx has ended.
	say, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	outcome, reason := "ready", ""
	switch {
	case err == nil:
	case errors.Is(err, store.ErrExportLost):
		x.ended.WithLabelValues("removed").Inc()
		return
	case ctx.Err() != nil: // the hub stops
		x.ended.WithLabelValues("given back").Inc()
		if err := x.o.DB.YieldExport(say, hub, turn); err != nil {
			log.Warn("an export was not given back; another hub takes it when its lease has run out", "err", err)
		}
		return
	case turn.Attempt < maxTurns && (lh.CodeOf(err) == lh.Internal || lh.CodeOf(err) == lh.Unavailable) && !errors.Is(err, errSize) && !errors.Is(err, errTime):
		x.ended.WithLabelValues("tried again").Inc()
		log.Error("an export failed; it is tried again", "attempt", turn.Attempt, "err", err)
		return // when the lease has run out
	default:
		outcome, reason = "failed", x.inWords(err)
		log.Warn("an export failed", "err", err)
	}
	x.ended.WithLabelValues(outcome).Inc()
	if err := x.o.DB.EndExport(say, hub, turn, reason, x.o.Keep); err != nil && !errors.Is(err, store.ErrExportLost) {
		log.Error("an export's end was not noted; it is made again", "err", err)
	}
}

// inWords says why an export failed, and what to do.
func (x *Exports) inWords(err error) string {
	switch {
	case errors.Is(err, errSize):
		return fmt.Sprintf("the file would be larger than the %d MiB this hub allows; ask for a shorter range, fewer elements or a step", x.o.MaxSize>>20)
	case errors.Is(err, errTime):
		return fmt.Sprintf("it took longer than the %s this hub allows; ask for a shorter range, fewer elements or a step", x.o.MaxTime)
	}
	return lh.PublicMessage(err)
}

// make writes an export's file.
func (x *Exports) make(ctx context.Context, hub store.Scope, turn store.ExportTurn) error {
	e, err := x.o.DB.Export(ctx, hub, turn.ID)
	if lh.CodeOf(err) == lh.NotFound {
		return store.ErrExportLost
	}
	if err != nil {
		return err
	}
	if turn.Attempt > maxTurns {
		return lh.Errorf(lh.Conflict, "a hub stopped %d times while it made this export; ask for it again, in parts perhaps", maxTurns)
	}
	// As its asker may now, and no more: somebody who was removed gets nothing any more.
	sc, err := x.o.Asker(ctx, e.By, turn.Project)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(x.o.MaxTime, func() { cancel(errTime) })
	defer late.Stop()
	f := &file{x: x, ctx: ctx, hub: hub, turn: turn}
	stop := f.keepLease(cancel)
	err = x.write(ctx, sc, e.Request, f)
	if err == nil {
		err = f.flush(true)
	}
	stop()
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

func (x *Exports) write(ctx context.Context, sc store.Scope, q lh.ExportRequest, f *file) error {
	count := func(n int64) { f.done.Add(n) }
	if q.Kind == lh.ExportProject {
		es, err := x.o.DB.Elements(ctx, sc)
		if err != nil {
			return err
		}
		if err := x.total(ctx, sc, q, es, f); err != nil {
			return err
		}
		return x.writeProject(ctx, sc, f, count)
	}
	elements := make([]lh.Element, len(q.Elements))
	for i, id := range q.Elements {
		var err error
		if elements[i], err = x.o.DB.Element(ctx, sc, id); err != nil {
			if lh.CodeOf(err) == lh.NotFound {
				return lh.Errorf(lh.NotFound, "the element %s is gone, or not the asker's to see any more", id)
			}
			return err
		}
	}
	l, o, err := newLayout(q, elements)
	if err != nil {
		return err
	}
	if err := x.total(ctx, sc, q, elements, f); err != nil {
		return err
	}
	w, err := newWriter(f, l)
	if err != nil {
		return err
	}
	if err := x.each(ctx, sc, l, o, w, count); err != nil {
		return err
	}
	return w.close()
}

// newWriter returns the writer of a request's format.
func newWriter(to io.Writer, l *layout) (writer, error) {
	switch l.request.Format {
	case lh.ExportCSV:
		return newCSV(to, l)
	case lh.ExportNDJSON:
		return newNDJSON(to, l)
	case lh.ExportXLSX:
		return newXLSX(to, l)
	case lh.ExportParquet:
		return newParquet(to, l)
	}
	return nil, lh.Errorf(lh.Invalid, "there is no format %q", l.request.Format)
}

// total counts the samples there are, by summaries, so that progress can be told.
func (x *Exports) total(ctx context.Context, sc store.Scope, q lh.ExportRequest, es []lh.Element, f *file) error {
	for _, e := range es {
		r, err := x.o.Series.ReduceView(ctx, sc, e, q.From, q.To, 2, series.View{})
		if err != nil {
			return err
		}
		f.total.Add(r.Count)
	}
	return nil
}

// file is a turn's file as it grows: cut into parts, which are kept as they fill.
type file struct {
	x           *Exports
	ctx         context.Context
	hub         store.Scope
	turn        store.ExportTurn
	done, total atomic.Int64

	mu    sync.Mutex // guards the rest: the lease is lengthened beside the writing
	buf   []byte
	parts [][]byte
	first int64 // number of the first of parts
	size  int64
	err   error // is kept: a file with a hole in it is none
}

func (f *file) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(b)
	if f.size += int64(n); f.size > f.x.o.MaxSize && f.err == nil {
		f.err = errSize
	}
	for len(b) > 0 && f.err == nil {
		if f.err = context.Cause(f.ctx); f.err != nil {
			break
		}
		if f.buf == nil {
			f.buf = make([]byte, 0, store.ExportPart)
		}
		k := copy(f.buf[len(f.buf):cap(f.buf)], b)
		f.buf, b = f.buf[:len(f.buf)+k], b[k:]
		if len(f.buf) == cap(f.buf) {
			f.parts, f.buf = append(f.parts, f.buf), nil
			if len(f.parts) == partsAtOnce {
				f.err = f.keep()
			}
		}
	}
	if f.err != nil {
		return 0, f.err
	}
	return n, nil
}

// keep makes the full parts last.
func (f *file) keep() error {
	p := store.ExportProgress{Done: f.done.Load(), Total: f.total.Load(), Size: f.size, First: f.first, Parts: f.parts}
	if err := f.x.o.DB.AppendExport(f.ctx, f.hub, f.turn, p, f.x.o.Lease); err != nil {
		return err
	}
	for _, part := range f.parts {
		f.x.bytes.Add(float64(len(part)))
	}
	f.first += int64(len(f.parts))
	f.parts = f.parts[:0]
	if f.x.afterParts != nil {
		f.x.afterParts(f.turn)
	}
	return nil
}

// flush keeps what there is.
func (f *file) flush(last bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	if last && len(f.buf) > 0 {
		f.parts, f.buf = append(f.parts, f.buf), nil
	}
	f.err = f.keep()
	if last {
		f.x.samples.Add(float64(f.done.Load()))
	}
	return f.err
}

// keepLease lengthens the lease and tells the progress while the file is written; where the turn is over it ends the
// writing.
func (f *file) keepLease(cancel context.CancelCauseFunc) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(min(f.x.o.Lease/4, 2*time.Second))
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-f.ctx.Done():
				return
			case <-t.C:
			}
			if err := f.flush(false); errors.Is(err, store.ErrExportLost) {
				cancel(err)
				return
			} else if err != nil && f.ctx.Err() == nil {
				f.x.o.Log.Warn("an export's progress was not noted", "export", f.turn.ID, "err", err)
			}
		}
	})
	return func() { close(done); wg.Wait() }
}
