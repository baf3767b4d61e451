package series

import (
	"cmp"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
)

// settle makes values of mantissas.
func (c *columns) settle() {
	if len(c.mants) == 0 {
		return
	}
	scale := pow10[c.places]
	c.values = slices.Grow(c.values[:0], c.n)[:c.n]
	for i, m := range c.mants {
		c.values[i] = float64(m) / scale
	}
	c.mants = c.mants[:0]
}

// last returns the time of the last sample.
func (c *columns) last() lh.Millis {
	if len(c.times) > 0 {
		return c.times[c.n-1]
	}
	t := c.first
	for _, r := range c.steps {
		t += r.step * lh.Millis(r.n)
	}
	return t
}

// at returns sample i, without its rank.
func (c *columns) at(i int) lh.Sample {
	s := lh.Sample{Time: c.first}
	if len(c.times) > 0 {
		s.Time = c.times[i]
	} else {
		left := i
		for _, r := range c.steps {
			n := min(left, r.n)
			s.Time += r.step * lh.Millis(n)
			if left -= n; left == 0 {
				break
			}
		}
	}
	if len(c.mants) > 0 {
		s.Value = float64(c.mants[i]) / pow10[c.places]
	} else {
		s.Value = c.values[i]
	}
	for _, r := range c.flags {
		if i < r.n {
			s.Flag = r.flag
			break
		}
		i -= r.n
	}
	return s
}

// before returns how many samples are before t.
func (c *columns) before(t lh.Millis) int {
	if t <= c.first {
		return 0
	}
	if len(c.times) > 0 {
		i, _ := slices.BinarySearchFunc(c.times, t, func(x, t lh.Millis) int { return cmp.Compare(x, t) })
		return i
	}
	n, at := 1, c.first // at is before t
	for _, r := range c.steps {
		if k := int((t - 1 - at) / r.step); k < r.n {
			return n + k
		}
		at += r.step * lh.Millis(r.n)
		n += r.n
	}
	return n
}

// extremes returns where the least and the greatest value of some samples are, the first of equal ones.
func (c *columns) extremes(from, to int) (least, greatest int) {
	if len(c.mants) > 0 {
		return extremes(c.mants, from, to)
	}
	return extremes(c.values, from, to)
}

func extremes[T int64 | float64](v []T, from, to int) (least, greatest int) {
	least, greatest = from, from
	lo, hi := v[from], v[from]
	for i, x := range v[from:to] {
		if x < lo {
			lo, least = x, from+i
		}
		if x > hi {
			hi, greatest = x, from+i
		}
	}
	return least, greatest
}

// aggregate hands an aggregator the samples, in runs as long as they come.
func (c *columns) aggregate(a *calc.Aggregator) error {
	if len(c.times) > 0 {
		i := 0
		for _, f := range c.flags {
			for range f.n {
				if err := a.Add(lh.Sample{Time: c.times[i], Value: c.values[i], Flag: f.flag}); err != nil {
					return err
				}
				i++
			}
		}
		return nil
	}
	// A run of even steps begins with the sample before its first step; it ends early where the flag changes.
	flags, flag := c.flags, c.flags[0].flag
	flagged := flags[0].n // samples left with that flag
	values, at := c.values, c.first
	steps := c.steps
	step, left := lh.Millis(1), 0 // steps left of the current run
	for len(values) > 0 {
		if left == 0 && len(steps) > 0 {
			step, left, steps = steps[0].step, steps[0].n, steps[1:]
		}
		n := min(left+1, flagged)
		if len(steps) > 0 { // the last of them may be the first of the next run
			n = min(max(left, 1), flagged)
		}
		if err := a.AddRun(at, step, values[:n], flag); err != nil {
			return err
		}
		values = values[n:]
		at += step * lh.Millis(n)
		left = max(left-n, 0)
		if flagged -= n; flagged == 0 && len(values) > 0 {
			flags = flags[1:]
			flag, flagged = flags[0].flag, flags[0].n
		}
	}
	return nil
}
