package series

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// maxBuckets bounds one aggregation.
const maxBuckets = 1_000_000

// Aggregate hands emit the statistics of an element's series in [from, to) as v shows it, bucket by bucket of the
// calendar, empty ones too; emit must not keep its argument. Meaning and Interval of o are the element's where they are not set. What
// lies just outside the range makes the values at its edges right. Invalid: the range has too many buckets.
func (e *Engine) Aggregate(ctx context.Context, sc store.Scope, el lh.Element, from, to lh.Millis, v View, cal calc.Calendar, o calc.Options, emit func(*calc.Stats) error) error {
	if o.Meaning == "" {
		o.Meaning = el.Meaning
	}
	if o.Interval == 0 {
		o.Interval = el.Interval
	}
	if from >= to {
		return nil
	}
	if width := cal.Next(from) - cal.Start(from); uint64(to-from)/uint64(width) > maxBuckets {
		return lh.Errorf(lh.Invalid, "the range has more than %d buckets; ask for longer buckets or a shorter range", maxBuckets)
	}
	a := calc.NewAggregator(cal, from, to, o, emit)
	all, err := e.reader(ctx, sc, el, lh.MinMillis, lh.MaxMillis+1, v)
	if err == nil {
		err = all.unfolded(ctx)
	}
	if err != nil {
		return err
	}
	// A sample stamped at to may count to the last bucket, and one stamped at from to none: one ms more covers both.
	for _, part := range []func() error{
		func() error { return all.nearest(ctx, from, false, a.Add) },
		func() error {
			r := all.within(from, min(to, lh.MaxMillis)+1)
			if o.Simple && cal.HoldsDays(from) {
				return r.aggregateDays(ctx, a)
			}
			return r.stream(ctx, asValues, func(p piece) error { return p.aggregate(a) })
		},
		func() error { return all.nearest(ctx, to+1, true, a.Add) },
	} {
		if err := part(); err != nil {
			return err
		}
	}
	return a.Finish()
}

// aggregateDays aggregates where few days lie across the edges of buckets: for the others their summaries are enough.
func (r *reader) aggregateDays(ctx context.Context, a *calc.Aggregator) error {
	days, err := r.days(ctx)
	if err != nil {
		return err
	}
	var whole calc.WholeDay
	fits := func(d *day) bool {
		s := &d.summary
		whole = calc.WholeDay{Count: s.count, First: s.first, Last: s.last, Min: s.min, Max: s.max, Sum: s.sum, Flag: s.worst}
		return d.straight() && r.covers(d.number) && a.Fits(&whole)
	}
	for i := 0; i < len(days); {
		if fits(&days[i]) {
			if err := a.AddDay(&whole); err != nil {
				return err
			}
			i++
			continue
		}
		j := i + 1
		for j < len(days) && !fits(&days[j]) {
			j++
		}
		if err := r.streamDays(ctx, asValues, days[i:j], func(p piece) error { return p.aggregate(a) }); err != nil {
			return err
		}
		i = j
	}
	return nil
}

func (p piece) aggregate(a *calc.Aggregator) error {
	if p.cols != nil {
		return p.cols.aggregate(a)
	}
	for i := range p.samples {
		if err := a.Add(p.samples[i]); err != nil {
			return err
		}
	}
	return nil
}

// WindStats are the statistics of the wind in one bucket: of the instants at which both speed and direction were
// measured and neither is bad. What has no value is NaN.
type WindStats struct {
	Start, End lh.Millis
	Pairs      int64
	// Speed is the mean of the speeds, ResultantSpeed and ResultantDirection the speed-weighted mean vector, Direction
	// the unit-vector mean without the calm, DirectionDeviation Yamartino's; degrees where the wind comes from.
	Speed, ResultantSpeed, ResultantDirection, Direction, DirectionDeviation float64
}

// Wind hands emit the wind's statistics in [from, to), bucket by bucket, empty ones too. Samples of speed and direction
// belong together when they have the same time.
func (e *Engine) Wind(ctx context.Context, sc store.Scope, speed, direction lh.Element, from, to lh.Millis, v View, cal calc.Calendar, emit func(WindStats) error) error {
	if from >= to {
		return nil
	}
	if width := cal.Next(from) - cal.Start(from); uint64(to-from)/uint64(width) > maxBuckets {
		return lh.Errorf(lh.Invalid, "the range has more than %d buckets; ask for longer buckets or a shorter range", maxBuckets)
	}
	next, stop := iter.Pull2(e.ReadView(ctx, sc, direction, from, to, v))
	defer stop()
	var wind calc.Wind
	start, end := from, min(cal.Next(from), to)
	flush := func(until lh.Millis) error {
		for until >= end && start < to {
			s := WindStats{Start: start, End: end, Pairs: wind.Pairs(), Speed: math.NaN(), Direction: wind.MeanDirection(), DirectionDeviation: wind.Yamartino()}
			if s.Pairs > 0 {
				s.Speed = wind.MeanSpeed()
			}
			s.ResultantSpeed, s.ResultantDirection = wind.Resultant()
			if err := emit(s); err != nil {
				return err
			}
			wind, start, end = calc.Wind{}, end, min(cal.Next(end), to)
		}
		return nil
	}
	d, err, more := next()
	for s, serr := range e.ReadView(ctx, sc, speed, from, to, v) {
		for more && err == nil && serr == nil && d.Time < s.Time {
			d, err, more = next()
		}
		if serr != nil || more && err != nil {
			return errors.Join(serr, err)
		}
		if !more {
			break
		}
		if d.Time != s.Time || s.Flag >= lh.FlagBad || d.Flag >= lh.FlagBad || s.Value < 0 {
			continue
		}
		if err := flush(s.Time); err != nil {
			return err
		}
		wind.Add(s.Value, d.Value)
	}
	return flush(to)
}

// nearestDays bounds how many days with nothing but bad samples are looked through for a usable one.
const nearestDays = 64

// nearest hands fn the usable sample nearest to t on the one side, before it, or on the other, at or after it; none where
// there is none. r reads all times.
func (r *reader) nearest(ctx context.Context, t lh.Millis, after bool, fn func(lh.Sample) error) error {
	if after && t > lh.MaxMillis || !after && t <= lh.MinMillis {
		return nil
	}
	number, side := (t - 1).Day(), r.within(lh.MinMillis, t)
	if after {
		number, side = t.Day(), r.within(t, lh.MaxMillis+1)
	}
	others := side.extra()
	for range nearestDays {
		c, stored, err := r.e.db.NearestChunk(ctx, r.sc, r.el.ID, number, after)
		if err != nil {
			return err
		}
		n, ok := c.Day, stored
		for _, o := range others {
			if after && o >= number && (!ok || o < n) || !after && o <= number && (!ok || o > n) {
				n, ok = o, true
			}
		}
		if !ok {
			return nil
		}
		d := side.dayOf(n, stored && c.Day == n)
		var body []byte
		if d.stored {
			if body, err = c.Body(); err != nil {
				return r.e.unreadable(chunkKey{r.el.ID, n}, err)
			}
		}
		samples, err := side.view(ctx, &d, body, nil)
		if err != nil {
			return err
		}
		usable := func(s lh.Sample) bool { return s.Flag < lh.FlagBad }
		if !after {
			slices.Reverse(samples)
		}
		if i := slices.IndexFunc(samples, usable); i >= 0 {
			return fn(samples[i])
		}
		if number = n - 1; after {
			number = n + 1
		}
	}
	return nil
}
