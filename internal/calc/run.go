package calc

import (
	"math"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// AddRun takes samples that lie step apart, from start on, all with one flag: what [Aggregator.Add] of each in turn
// does, bit for bit, but faster.
func (a *Aggregator) AddRun(start, step lh.Millis, values []float64, f lh.Flag) error {
	for i := 0; i < len(values); {
		at := start + lh.Millis(i)*step
		if err := a.Add(lh.Sample{Time: at, Value: values[i], Flag: f}); err != nil {
			return err
		}
		i++
		if n := a.within(at, step, len(values)-i); n > 0 && f != lh.FlagBad && f != lh.FlagMissing {
			a.run(at, step, values[i:i+n], f)
			i += n
		}
	}
	return nil
}

// WholeDay is all samples of one UTC day, none suspect, bad or missing, as a summary has them.
type WholeDay struct {
	Count                 int64
	First, Last, Min, Max lh.Sample
	Sum                   float64 // added in order of time
	Flag                  lh.Flag // the worst
}

// Fits reports whether a day lies in one bucket of the range, so that it may come as a whole.
func (a *Aggregator) Fits(d *WholeDay) bool {
	first, last := d.First.Time-a.shift, d.Last.Time-a.shift
	return a.o.Simple && a.o.Meaning != lh.Counter && !a.o.Directions && len(a.o.Percentiles) == 0 && d.Flag <= lh.FlagNotEvaluated &&
		first >= a.from && last < a.to && last < a.cal.next(first, &a.zone)
}

// AddDay takes a whole day that [Aggregator.Fits]: what [Aggregator.Add] of its samples does, bit for bit.
func (a *Aggregator) AddDay(d *WholeDay) error {
	if err := a.reach(d.First.Time - a.shift); err != nil {
		return err
	}
	s := &a.s
	if s.Used == 0 {
		s.First, s.Min, s.Max = d.First, d.Min, d.Max
	}
	if d.Min.Value < s.Min.Value {
		s.Min = d.Min
	}
	if d.Max.Value > s.Max.Value {
		s.Max = d.Max
	}
	s.Last = d.Last
	s.Received += d.Count
	s.Used += d.Count
	s.Good += d.Count
	s.Flag = max(s.Flag, d.Flag)
	a.sum.whole(d.First.Time.Day(), d.Sum)
	a.prev, a.have = d.Last, true
	return nil
}

// within returns how many of the next samples count to the open bucket, with no gap before any and all of the line to
// each within it. The newest sample is at.
func (a *Aggregator) within(at, step lh.Millis, most int) int {
	if !a.open || at-a.shift < a.s.Start || at-a.shift >= a.s.End || step <= 0 || float64(step) > a.gap || a.o.Rollover > 0 && !a.o.Simple {
		return 0
	}
	end := min(a.s.End+a.shift, a.sum.end) // daySum begins anew with each UTC day
	return int(min(lh.Millis(most), (end-1-at)/step))
}

// run adds samples of the open bucket. Each sum takes them in the order in which Add would: floating-point sums are only
// the same if their order is.
func (a *Aggregator) run(at, step lh.Millis, values []float64, f lh.Flag) {
	s := &a.s
	n := int64(len(values))
	s.Received += n
	s.Used += n
	s.Flag = max(s.Flag, f)
	if f != lh.FlagSuspect {
		s.Good += n
	}
	if a.o.Simple {
		a.simple(at, step, values, f)
		return
	}
	a.stretch(step, len(values))
	prev := a.prev.Value
	sum, even, increase := a.sum.current, a.even.sum, s.Increase
	lo, hi, least, greatest := s.Min.Value, s.Max.Value, -1, -1
	for at := 0; at < len(values); {
		m := &a.moment
		if m.k == 0 {
			m.first = values[at]
		}
		part := values[at:min(at+momentBlock-m.k, len(values))]
		first, dist, squares := m.first, m.sum, m.squares
		for i, v := range part {
			sum += v
			even += v
			// Where it fell, since it was reset it has counted v; without a branch, which noise would mispredict.
			rise := math.Float64bits(v - prev)
			fell := uint64(int64(rise) >> 63)
			bits := math.Float64bits(v)
			increase += math.Float64frombits(rise&^fell | bits&^uint64(int64(bits)>>63)&fell)
			d := v - first
			dist += d
			squares += float64(d * d)
			if v < lo {
				lo, least = v, at+i
			}
			if v > hi {
				hi, greatest = v, at+i
			}
			prev = v
		}
		m.sum, m.squares = dist, squares
		if m.k += len(part); m.k == momentBlock {
			m.join()
		}
		at += len(part)
	}
	a.sum.current, a.even.sum, s.Increase = sum, even, increase
	a.ran(at, step, values, f, least, greatest)
}

// simple is run where little is asked.
func (a *Aggregator) simple(at, step lh.Millis, values []float64, f lh.Flag) {
	sum, lo, hi, least, greatest := a.sum.current, a.s.Min.Value, a.s.Max.Value, -1, -1
	for i, v := range values {
		sum += v
		if v < lo {
			lo, least = v, i
		}
		if v > hi {
			hi, greatest = v, i
		}
	}
	a.sum.current = sum
	a.ran(at, step, values, f, least, greatest)
}

// ran does what is the same for all that run adds; least and greatest are -1 where they stay what they were.
func (a *Aggregator) ran(at, step lh.Millis, values []float64, f lh.Flag, least, greatest int) {
	sample := func(i int) lh.Sample { return lh.Sample{Time: at + step*lh.Millis(i+1), Value: values[i], Flag: f} }
	if least >= 0 {
		a.s.Min = sample(least)
	}
	if greatest >= 0 {
		a.s.Max = sample(greatest)
	}
	a.prev = sample(len(values) - 1)
	a.s.Last = a.prev
	if len(a.o.Percentiles) > 0 {
		a.values = append(a.values, values...)
	}
	if a.o.Directions {
		for _, v := range values {
			a.wind.AddDirection(v)
		}
	}
}
