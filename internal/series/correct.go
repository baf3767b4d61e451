package series

import (
	"math"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// correct applies a stack of corrections, in the order given, to a sorted run of samples in [from, to) and returns it,
// in s's memory where it fits. A value that leaves the finite numbers is a gap from then on.
func correct(s []lh.Sample, stack []lh.Correction, from, to lh.Millis) []lh.Sample {
	for i := range stack {
		c := &stack[i]
		lo, hi := max(c.From, from), min(c.To, to)
		if lo >= hi {
			continue
		}
		switch c.Kind {
		case lh.CorrectDelete:
			a, b := position(s, lo), position(s, hi)
			s = slices.Delete(s, a, b)
			continue
		case lh.CorrectFill:
			s = fill(s, clip(c.Samples, lo, hi))
			continue
		}
		part := clip(s, lo, hi)
		lost := false
		for k := range part {
			p := &part[k]
			switch c.Kind {
			case lh.CorrectOffset:
				p.Value += c.A
			case lh.CorrectFactor:
				p.Value *= c.A
			case lh.CorrectDrift:
				p.Value += c.A + (c.B-c.A)*(float64(p.Time-c.From)/float64(c.To-c.From))
			case lh.CorrectFlag:
				p.Flag = c.Flag
			}
			lost = lost || math.IsInf(p.Value, 0) || math.IsNaN(p.Value)
		}
		if lost {
			s = slices.DeleteFunc(s, func(p lh.Sample) bool { return math.IsInf(p.Value, 0) || math.IsNaN(p.Value) })
		}
	}
	return s
}

// fill adds samples at the times where s has none.
func fill(s, with []lh.Sample) []lh.Sample {
	if len(with) == 0 {
		return s
	}
	out := make([]lh.Sample, 0, len(s)+len(with))
	for len(s) > 0 && len(with) > 0 {
		switch {
		case s[0].Time < with[0].Time:
			out, s = append(out, s[0]), s[1:]
		case s[0].Time > with[0].Time:
			out, with = append(out, with[0]), with[1:]
		default: // what was measured stands
			with = with[1:]
		}
	}
	return append(append(out, s...), with...)
}

// standing returns the corrections that stood at a moment, in their order.
func standing(stack []lh.Correction, at lh.Millis) []lh.Correction {
	var out []lh.Correction
	for i := range stack {
		if stack[i].Stood(at) {
			out = append(out, stack[i])
		}
	}
	return out
}
