package series

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
)

func TestCorrectOneOfEachKind(t *testing.T) {
	raw := func() []lh.Sample {
		return []lh.Sample{{Time: 0, Value: 1, Flag: 1}, {Time: 10, Value: 2, Flag: 1}, {Time: 20, Value: 3, Flag: 1}, {Time: 30, Value: 4, Flag: 1}}
	}
	values := func(s []lh.Sample) (vs []float64) {
		for _, p := range s {
			vs = append(vs, p.Value)
		}
		return vs
	}
	for _, c := range []struct {
		name  string
		stack []lh.Correction
		want  []float64
	}{
		{"offset ends before to", []lh.Correction{{From: 10, To: 30, Kind: lh.CorrectOffset, A: 0.5}}, []float64{1, 2.5, 3.5, 4}},
		{"factor", []lh.Correction{{From: 0, To: 100, Kind: lh.CorrectFactor, A: 2}}, []float64{2, 4, 6, 8}},
		{"drift from 0 to 4 over 40", []lh.Correction{{From: 0, To: 40, Kind: lh.CorrectDrift, A: 0, B: 4}}, []float64{1, 3, 5, 7}},
		{"delete", []lh.Correction{{From: 5, To: 25, Kind: lh.CorrectDelete}}, []float64{1, 4}},
		{"fill leaves what is there", []lh.Correction{{From: 5, To: 25, Kind: lh.CorrectFill, Samples: []lh.Sample{{Time: 10, Value: 9}, {Time: 15, Value: 2.5}}}}, []float64{1, 2, 2.5, 3, 4}},
		{"delete, then fill", []lh.Correction{{From: 5, To: 25, Kind: lh.CorrectDelete}, {From: 5, To: 25, Kind: lh.CorrectFill, Samples: []lh.Sample{{Time: 10, Value: 9}}}}, []float64{1, 9, 4}},
		{"in the order of the stack", []lh.Correction{{From: 0, To: 40, Kind: lh.CorrectOffset, A: 1}, {From: 0, To: 40, Kind: lh.CorrectFactor, A: 10}}, []float64{20, 30, 40, 50}},
		{"what overflows is a gap", []lh.Correction{{From: 10, To: 20, Kind: lh.CorrectFactor, A: math.MaxFloat64}}, []float64{1, 3, 4}},
	} {
		if got := values(correct(raw(), c.stack, -1000, 1000)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if got := correct(raw(), []lh.Correction{{From: 10, To: 20, Kind: lh.CorrectFlag, Flag: lh.FlagBad}}, -1000, 1000); got[1].Flag != lh.FlagBad || got[2].Flag != lh.FlagGood || got[1].Value != 2 {
		t.Errorf("flagged: %v", got)
	}
}

// A day is corrected by itself: correcting parts and joining them is correcting the whole.
func TestCorrectingPartsIsCorrectingTheWhole(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var raw []lh.Sample
		for x := lh.Millis(0); x < 1000; x += lh.Millis(1 + r.IntN(30)) {
			raw = append(raw, lh.Sample{Time: x, Value: float64(r.IntN(100)), Flag: 1})
		}
		var stack []lh.Correction
		for range r.IntN(8) {
			from := lh.Millis(r.IntN(1000))
			c := lh.Correction{From: from, To: from + 1 + lh.Millis(r.IntN(500)), A: float64(r.IntN(9) - 4), B: float64(r.IntN(9)), Flag: lh.FlagSuspect,
				Kind: []lh.CorrectionKind{lh.CorrectOffset, lh.CorrectFactor, lh.CorrectDrift, lh.CorrectDelete, lh.CorrectFlag, lh.CorrectFill}[r.IntN(6)]}
			if c.Kind == lh.CorrectFill {
				for x := c.From; x < c.To; x += lh.Millis(1 + r.IntN(40)) {
					c.Samples = append(c.Samples, lh.Sample{Time: x, Value: -1, Flag: lh.FlagSuspect})
				}
			}
			stack = append(stack, c)
		}
		whole := correct(slices.Clone(raw), stack, 0, 2000)
		cut := lh.Millis(r.IntN(1000))
		parts := correct(slices.Clone(clip(raw, 0, cut)), stack, 0, cut)
		parts = append(slices.Clone(parts), correct(slices.Clone(clip(raw, cut, 2000)), stack, cut, 2000)...)
		if !slices.Equal(whole, parts) {
			t.Fatalf("seed %d: whole %v\nparts %v", seed, whole, parts)
		}
		if !slices.IsSortedFunc(whole, func(a, b lh.Sample) int { return int(a.Time - b.Time) }) {
			t.Fatalf("seed %d: not sorted", seed)
		}
	}
}
