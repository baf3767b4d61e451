package series

import (
	"cmp"
	"context"
	"math"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// View is how a series is looked at. The zero View shows it as people see it now: the raw samples, with the
// corrections that stand, approved ranges as they were approved.
type View struct {
	// Raw shows what was measured, without corrections and approvals.
	Raw bool
	// AsOf shows the series as it stood at that moment: only uploads the hub had received by then, corrections and
	// approvals that stood then. 0 is now.
	AsOf lh.Millis
}

// present is the moment after all others.
const present lh.Millis = math.MaxInt64

// part is a piece of the range asked for that shows one moment.
type part struct {
	from, to lh.Millis
	asOf     lh.Millis       // present: nothing that arrived is left out
	stack    []lh.Correction // that stood at asOf and touch the part
}

// reader reads one element's series in [from, to) as a View shows it. One goroutine owns it.
type reader struct {
	e        *Engine
	sc       store.Scope
	el       lh.Element
	from, to lh.Millis
	parts    []part // ascending and joined
	past     bool   // some part is not the present
	stored   []lh.Sample
	journal  map[int32][]write // by day, once it is read; of a reader that this one was made from, also beyond the range
}

// within returns a reader of a part of the range.
func (r *reader) within(from, to lh.Millis) *reader {
	in := &reader{e: r.e, sc: r.sc, el: r.el, from: from, to: to, journal: r.journal}
	for _, p := range r.parts {
		if p.from, p.to = max(p.from, from), min(p.to, to); p.from >= p.to {
			continue
		}
		in.past = in.past || p.asOf != present
		if len(p.stack) > 0 {
			stack := p.stack
			p.stack = nil
			for _, c := range stack {
				if c.From < p.to && c.To > p.from {
					p.stack = append(p.stack, c)
				}
			}
		}
		in.parts = append(in.parts, p)
	}
	return in
}

func (e *Engine) reader(ctx context.Context, sc store.Scope, el lh.Element, from, to lh.Millis, v View) (*reader, error) {
	r := &reader{e: e, sc: sc, el: el, from: from, to: to}
	asOf := v.AsOf
	if asOf == 0 {
		asOf = present
	}
	if from >= to {
		return r, nil
	}
	var stack []lh.Correction
	var approvals []lh.Approval
	history := !v.Raw
	if history {
		var err error
		if history, err = e.db.HasHistory(ctx, sc, el.ID, from, to); err != nil {
			return nil, err
		}
	}
	if history {
		var err error
		if stack, err = e.db.Corrections(ctx, sc, el.ID, from, to); err != nil {
			return nil, err
		}
		if approvals, err = e.db.Approvals(ctx, sc, el.ID, from, to); err != nil {
			return nil, err
		}
	}
	// Approvals that stand at one moment never overlap.
	slices.SortStableFunc(approvals, func(a, b lh.Approval) int { return cmp.Compare(a.From, b.From) })
	at := from
	add := func(to, asOf lh.Millis) {
		if to > at {
			p := part{from: at, to: to, asOf: asOf}
			for _, c := range standing(stack, asOf) {
				if c.From < p.to && c.To > p.from {
					p.stack = append(p.stack, c)
				}
			}
			r.parts = append(r.parts, p)
			r.past = r.past || asOf != present
			at = to
		}
	}
	for i := range approvals {
		if a := &approvals[i]; a.Stood(asOf) {
			add(min(a.From, to), asOf)
			add(min(a.To, to), a.Created)
		}
	}
	add(to, asOf)
	return r, nil
}

// plain reports whether all of a day is shown as its chunk and summary have it, but for what is not folded yet.
func (r *reader) plain(d int32) bool {
	lo, hi := max(lh.DayStart(d), r.from), min(lh.DayStart(d+1), r.to)
	for i := range r.parts {
		p := &r.parts[i]
		if p.from >= hi || p.to <= lo {
			continue
		}
		if p.asOf != present {
			return false
		}
		for k := range p.stack {
			if p.stack[k].From < hi && p.stack[k].To > lo {
				return false
			}
		}
	}
	return true
}

// fillDays returns the days on which a fill puts samples.
func (r *reader) fillDays() map[int32]bool {
	days := map[int32]bool{}
	for i := range r.parts {
		for _, c := range r.parts[i].stack {
			for _, s := range c.Samples {
				if s.Time >= r.from && s.Time < r.to {
					days[s.Time.Day()] = true
				}
			}
		}
	}
	return days
}

// view makes a day's samples out of its chunk (body, if stored) and the journal, part by part, in dst's memory.
func (r *reader) view(ctx context.Context, d *day, body []byte, dst []lh.Sample) ([]lh.Sample, error) {
	lo, hi := max(lh.DayStart(d.number), r.from), min(lh.DayStart(d.number+1), r.to)
	if d.plain {
		return r.now(d, body, lo, hi, dst)
	}
	dst = dst[:0]
	for i := range r.parts {
		p := &r.parts[i]
		from, to := max(lo, p.from), min(hi, p.to)
		if from >= to {
			continue
		}
		var s []lh.Sample
		var err error
		if p.asOf == present {
			s, err = r.now(d, body, from, to, nil)
		} else {
			s, err = r.then(ctx, d, body, p.asOf, from, to)
		}
		if err != nil {
			return dst, err
		}
		dst = append(dst, correct(s, p.stack, from, to)...)
	}
	return dst, nil
}

// now returns the writes that stand, of chunk and journal.
func (r *reader) now(d *day, body []byte, from, to lh.Millis, dst []lh.Sample) ([]lh.Sample, error) {
	r.stored = r.stored[:0]
	if d.stored {
		if err := r.decode(d, body, from, to); err != nil {
			return dst, err
		}
	}
	return merge(dst, clip(r.stored, from, to), clip(d.journal, from, to), nil), nil
}

func (r *reader) decode(d *day, body []byte, from, to lh.Millis) (err error) {
	if r.stored, err = r.e.codec.decodeRange(r.stored[:0], chunkMagic, d.number, body, from, to); err != nil {
		return r.e.unreadable(chunkKey{r.el.ID, d.number}, err)
	}
	return nil
}

// then returns the writes that stood at a past moment: of all that had arrived by then, those of greatest rank. What is
// folded and has no arrival on record was always there: it came before arrivals were kept, or so long ago that they
// are beyond the project's retention.
func (r *reader) then(ctx context.Context, d *day, body []byte, asOf, from, to lh.Millis) ([]lh.Sample, error) {
	var folded, later, all []lh.Sample
	if d.stored {
		if err := r.decode(d, body, from, to); err != nil {
			return nil, err
		}
		k := chunkKey{r.el.ID, d.number}
		lost, err := r.e.revision(ctx, r.sc, k)
		if err != nil {
			return nil, r.e.unreadable(k, err)
		}
		folded = append(slices.Clone(clip(r.stored, from, to)), clip(lost, from, to)...)
	}
	for _, w := range d.writes {
		if w.Time < from || w.Time >= to {
			continue
		}
		if w.received <= asOf {
			all = append(all, w.Sample)
		} else {
			later = append(later, w.Sample) // it may have come before, too, and have been deleted since
		}
	}
	came, err := r.arrivals(ctx, append(slices.Clone(folded), later...))
	if err != nil {
		return nil, err
	}
	waiting := map[lh.Rank]lh.Millis{} // what the journal's rows will be on record with
	for _, w := range d.writes {
		if at, ok := waiting[w.Rank]; !ok || w.received < at {
			waiting[w.Rank] = w.received
		}
	}
	for _, s := range folded {
		at, ok := came.of(s.Rank)
		if w, again := waiting[s.Rank]; again && (!ok || w < at) {
			at, ok = w, true
		}
		if !ok || at <= asOf {
			all = append(all, s)
		}
	}
	for _, s := range later {
		if at, ok := came.of(s.Rank); ok && at <= asOf {
			all = append(all, s)
		}
	}
	return normalize(all, nil), nil
}

// arrivals reads when the ranks of some samples first arrived, those that are folded. It must be read after them.
func (r *reader) arrivals(ctx context.Context, samples []lh.Sample) (arrivals, error) {
	if len(samples) == 0 {
		return arrivals{}, nil
	}
	least, greatest := samples[0].Rank, samples[0].Rank
	for _, s := range samples {
		least, greatest = min(least, s.Rank), max(greatest, s.Rank)
	}
	var as []arrival
	for _, d := range r.el.Sources() {
		err := r.e.db.Arrivals(ctx, r.sc, d, least, greatest, func(a store.ArrivalDay) error {
			var err error
			as, err = r.e.codec.decodeArrivals(as, a.Day, a.Body)
			return err
		})
		if err != nil {
			return arrivals{}, err
		}
	}
	return newArrivals(as), nil
}
