package series

import (
	"context"
	"errors"
	"iter"
	"math"

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
	// A sample stamped at to may count to the last bucket, and one stamped at from to none: one ms more covers both.
	before, err := e.nearest(ctx, sc, el, from, false, v)
	if err != nil {
		return err
	}
	for _, s := range before {
		if err := a.Add(s); err != nil {
			return err
		}
	}
	r, err := e.reader(ctx, sc, el, from, to+1, v)
	if err != nil {
		return err
	}
	days, err := r.days(ctx)
	if err != nil {
		return err
	}
	err = r.walk(ctx, days, func(samples []lh.Sample) error {
		for i := range samples {
			if err := a.Add(samples[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	after, err := e.nearest(ctx, sc, el, to+1, true, v)
	if err != nil {
		return err
	}
	for _, s := range after {
		if err := a.Add(s); err != nil {
			return err
		}
	}
	return a.Finish()
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

// nearest returns samples of the day nearest to t that has a usable one, on the one side or from t on, ascending:
// those before t, or those at and after it.
func (e *Engine) nearest(ctx context.Context, sc store.Scope, el lh.Element, t lh.Millis, after bool, v View) ([]lh.Sample, error) {
	lo, hi := lh.MinMillis, t
	if after {
		lo, hi = t, lh.MaxMillis+1
	}
	r, err := e.reader(ctx, sc, el, lo, hi, v)
	if err != nil {
		return nil, err
	}
	// The journal is read before the chunks, as everywhere.
	unfolded, err := e.unfolded(ctx, sc, el, lo, hi)
	if err != nil {
		return nil, err
	}
	others := r.fillDays()
	for n := range unfolded {
		others[n] = true
	}
	number := t.Day()
	if !after {
		number = (t - 1).Day()
	}
	for try := range nearestDays {
		n, ok := number, true
		if try > 0 {
			if n, ok, err = e.db.NearestDay(ctx, sc, el.ID, number, after); err != nil {
				return nil, err
			}
			for o := range others {
				if after && o > number && (!ok || o < n) || !after && o < number && (!ok || o > n) {
					n, ok = o, true
				}
			}
		}
		if !ok {
			return nil, nil
		}
		number = n
		c, err := e.db.Chunk(ctx, sc, el.ID, n)
		if err != nil {
			return nil, err
		}
		d := day{number: n, stored: c.Gen > 0, journal: winners(unfolded[n]), writes: unfolded[n], plain: r.plain(n)}
		samples, err := r.view(ctx, &d, c.Body, nil)
		if err != nil {
			return nil, err
		}
		for _, s := range samples {
			if s.Flag < lh.FlagBad {
				return samples, nil
			}
		}
	}
	return nil, nil
}
