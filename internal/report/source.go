package report

import (
	"context"
	"errors"
	"iter"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// point is a sample, or a bucket's statistics. Whoever yields it uses its memory again.
type point struct {
	at                       lh.Millis
	values                   []float64
	flag                     lh.Flag
	expected, received, good int64
}

// errEnough ends a walk whose receiver wants no more.
var errEnough = errors.New("no more is wanted")

// points yields an element's samples or buckets, ascending.
func (x *Exports) points(ctx context.Context, sc store.Scope, e lh.Element, q lh.ExportRequest, l *layout, o calc.Options) iter.Seq2[*point, error] {
	view := series.View{Raw: q.Raw, AsOf: q.AsOf}
	p := &point{values: make([]float64, len(l.values()))}
	if q.Step == "" {
		return func(yield func(*point, error) bool) {
			for s, err := range x.o.Series.ReadView(ctx, sc, e, q.From, q.To, view) {
				p.at, p.values[0], p.flag, p.received = s.Time, s.Value, s.Flag, 1
				if !yield(p, err) || err != nil {
					return
				}
			}
		}
	}
	return func(yield func(*point, error) bool) {
		step, err := calc.ParseStep(q.Step)
		var cal calc.Calendar
		if err == nil {
			cal, err = calc.NewCalendar(step, l.zone)
		}
		if err == nil {
			err = x.o.Series.Aggregate(ctx, sc, e, q.From, q.To, view, cal, o, func(s *calc.Stats) error {
				p.at, p.flag, p.expected, p.received, p.good = s.Start, s.Flag, s.Expected, s.Received, s.Good
				for i, f := range l.functions {
					p.values[i] = f.Of(s)
				}
				if !yield(p, nil) {
					return errEnough
				}
				return nil
			})
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(nil, err)
		}
	}
}

// each hands the rows of a table to w, and counts the samples in them.
func (x *Exports) each(ctx context.Context, sc store.Scope, l *layout, o calc.Options, w writer, count func(int64)) error {
	row := make([]cell, len(l.columns))
	if l.request.Layout == lh.ExportLong {
		for _, e := range l.elements {
			for p, err := range x.points(ctx, sc, e, l.request, l, o) {
				if err != nil {
					return err
				}
				l.long(row, &e, p)
				if err := w.row(row); err != nil {
					return err
				}
				count(p.received)
			}
		}
		return nil
	}
	// A row for each time that any of the elements has.
	type source struct {
		next func() (*point, error, bool)
		head *point // nil when it has ended
	}
	sources := make([]source, len(l.elements))
	advance := func(s *source) error {
		p, err, ok := s.next()
		if s.head = p; !ok {
			s.head, err = nil, nil
		}
		return err
	}
	for i, e := range l.elements {
		next, stop := iter.Pull2(x.points(ctx, sc, e, l.request, l, o))
		defer stop()
		sources[i].next = next
		if err := advance(&sources[i]); err != nil {
			return err
		}
	}
	for {
		at, any := lh.Millis(0), false
		for i := range sources {
			if p := sources[i].head; p != nil && (!any || p.at < at) {
				at, any = p.at, true
			}
		}
		if !any {
			return nil
		}
		clear(row)
		row[0] = timeCell(at)
		samples := int64(0)
		for i := range sources {
			s := &sources[i]
			if s.head == nil || s.head.at != at {
				continue
			}
			l.wide(row, i, s.head)
			samples += s.head.received
			if err := advance(s); err != nil {
				return err
			}
		}
		if err := w.row(row); err != nil {
			return err
		}
		count(samples)
	}
}
