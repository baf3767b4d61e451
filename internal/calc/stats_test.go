package calc_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
)

// aggregate runs all samples through an Aggregator and returns copies of what it emits.
func aggregate(t testing.TB, cal calc.Calendar, from, to lh.Millis, o calc.Options, samples []lh.Sample) []calc.Stats {
	t.Helper()
	var out []calc.Stats
	a := calc.NewAggregator(cal, from, to, o, func(s *calc.Stats) error {
		c := *s
		c.Percentiles = slices.Clone(s.Percentiles)
		out = append(out, c)
		return nil
	})
	for _, s := range samples {
		if err := a.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Finish(); err != nil {
		t.Fatal(err)
	}
	return out
}

const (
	minute = lh.Millis(60_000)
	hour   = 60 * minute
)

func good(at lh.Millis, v float64) lh.Sample { return lh.Sample{Time: at, Value: v, Flag: lh.FlagGood} }

func near(a, b float64) bool {
	if math.IsNaN(a) || math.IsNaN(b) {
		return math.IsNaN(a) == math.IsNaN(b)
	}
	return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b))
}

func TestCounterRain(t *testing.T) {
	cal := calendar(t, "PT1H", "UTC")
	o := calc.Options{Meaning: lh.Counter, Interval: 20 * int64(minute)}
	got := aggregate(t, cal, 0, 4*hour, o, []lh.Sample{
		good(-20*minute, 10),                                      // before the range: what the first one grew from
		good(0, 10.4), good(20*minute, 10.4), good(40*minute, 11), // 0.4 + 0 + 0.6
		good(hour, 11.2), good(hour+20*minute, 0.2), good(hour+40*minute, 0.4), // 0.2, reset to 0.2, 0.2
		good(3*hour+20*minute, 1.4), // a gap: the total is there, and incomplete
	})
	want := []float64{1, 0.6, math.NaN(), 1}
	gapped := []bool{false, false, true, true}
	for i, s := range got {
		if !near(s.Increase, want[i]) || s.Incomplete != gapped[i] {
			t.Errorf("hour %d rained %v (incomplete %v), want %v (%v)", i, s.Increase, s.Incomplete, want[i], gapped[i])
		}
	}
	o.Rollover = 100
	got = aggregate(t, cal, 0, hour, o, []lh.Sample{good(-minute, 99), good(minute, 3)})
	if !near(got[0].Increase, 4) {
		t.Errorf("over the roll-over it rained %v, want 4", got[0].Increase)
	}
}

func TestTimeWeightedMeans(t *testing.T) {
	cal := calendar(t, "PT1H", "UTC")
	got := aggregate(t, cal, 0, 4*hour, calc.Options{}, []lh.Sample{good(-30*minute, 0), good(30*minute, 10), good(150*minute, 10), good(180*minute, 40)})
	// Straight lines: -30→30 min rises 0→10, then 10 until 150, then to 40 at 180.
	linear := []float64{(7.5*30 + 10*30) / 60, 10, (10*30 + 25*30) / 60., 40}
	carried := []float64{(0*30 + 10*30) / 60., 10, 10, 40}
	for i, s := range got {
		if !near(s.TimeMeanLinear, linear[i]) || !near(s.TimeMeanCarried, carried[i]) {
			t.Errorf("hour %d: linear %v carried %v, want %v and %v", i, s.TimeMeanLinear, s.TimeMeanCarried, linear[i], carried[i])
		}
	}
	// With an interval, a gap has no line; the carried value goes on.
	got = aggregate(t, cal, 0, 3*hour, calc.Options{Interval: int64(10 * minute)}, []lh.Sample{good(0, 1), good(10*minute, 3), good(170*minute, 9)})
	if !near(got[0].TimeMeanLinear, 2) || !math.IsNaN(got[1].TimeMeanLinear) || !near(got[1].TimeMeanCarried, 3) || !got[1].Incomplete || got[1].Flag != lh.FlagMissing {
		t.Errorf("over a gap: %+v", got[:2])
	}
}

func TestPrecedingStatisticsBelongToTheIntervalThatEnds(t *testing.T) {
	cal := calendar(t, "PT1H", "UTC")
	o := calc.Options{Meaning: lh.PrecedingSum, Interval: int64(30 * minute)}
	got := aggregate(t, cal, 0, 2*hour, o, []lh.Sample{good(0, 100), good(30*minute, 1), good(hour, 2), good(hour+30*minute, 3), good(2*hour, 4), good(2*hour+30*minute, 100)})
	if len(got) != 2 || got[0].Sum != 3 || got[1].Sum != 7 || got[0].Incomplete || got[1].Received != 2 {
		t.Errorf("sums by hour: %+v", got)
	}
}

func TestBadSamplesAreReceivedAndNothingElse(t *testing.T) {
	cal := calendar(t, "PT1H", "UTC")
	bad := good(20*minute, 1e9)
	bad.Flag = lh.FlagBad
	suspect := good(40*minute, 4)
	suspect.Flag = lh.FlagSuspect
	s := aggregate(t, cal, 0, hour, calc.Options{Interval: int64(20 * minute), Complete: 0.5}, []lh.Sample{good(0, 2), bad, suspect})[0]
	if s.Received != 3 || s.Used != 2 || s.Good != 1 || s.Mean != 3 || s.Max.Value != 4 || s.Flag != lh.FlagBad || !s.Incomplete || s.Expected != 3 {
		t.Errorf("%+v", s)
	}
}

func TestPercentilesAndDeviation(t *testing.T) {
	cal := calendar(t, "PT1H", "UTC")
	var samples []lh.Sample
	for i, v := range []float64{7, 1, 3, 5} {
		samples = append(samples, good(lh.Millis(i)*minute, 1e9+v))
	}
	s := aggregate(t, cal, 0, hour, calc.Options{Percentiles: []float64{0, 25, 50, 100}}, samples)[0]
	for i, want := range []float64{1, 2.5, 4, 7} {
		if !near(s.Percentiles[i]-1e9, want) {
			t.Errorf("percentile %d is %v, want %v", i, s.Percentiles[i]-1e9, want)
		}
	}
	if math.Abs(s.StdDev-math.Sqrt(20./3)) > 1e-6 {
		t.Errorf("standard deviation %v", s.StdDev)
	}
}

// Against the definitions, written down the slow way, on random series with gaps, bad samples and a clock change.
func TestAggregatorAgainstDefinitions(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		zone := []string{"UTC", "Europe/Copenhagen", "Asia/Kathmandu"}[r.IntN(3)]
		step := []string{"PT15M", "PT1H", "PT6H", "P1D", "P1M"}[r.IntN(5)]
		cal := calendar(t, step, zone)
		o := calc.Options{Interval: []int64{0, int64(10 * minute)}[r.IntN(2)]}
		from := at(t, "2024-03-29T00:00:00Z") + lh.Millis(r.IntN(3))*7*minute
		to := from + lh.Millis(1+r.IntN(80))*hour
		var samples []lh.Sample
		for x := from - 2*hour; x < to+2*hour; x += lh.Millis(1+r.IntN(20)) * minute {
			if r.IntN(30) == 0 {
				x += 5 * hour
			}
			s := good(x, math.Round(r.NormFloat64()*1000)/100)
			s.Flag = []lh.Flag{1, 1, 1, 2, 3, 4}[r.IntN(6)]
			samples = append(samples, s)
		}
		got := aggregate(t, cal, from, to, o, samples)
		next := from
		for _, b := range got {
			if b.Start != next || b.End != min(cal.Next(b.Start), to) {
				t.Fatalf("seed %d: bucket %d–%d after %d", seed, b.Start, b.End, next)
			}
			next = b.End
			compare(t, seed, b, o, samples)
		}
		if next != to {
			t.Fatalf("seed %d: buckets end at %d, want %d", seed, next, to)
		}
	}
}

// compare checks one bucket by integrating millisecond-exact pieces of every pair of neighbours.
func compare(t *testing.T, seed uint64, b calc.Stats, o calc.Options, samples []lh.Sample) {
	t.Helper()
	var in, usable []lh.Sample
	var received int64
	for _, s := range samples {
		bad := s.Flag == lh.FlagBad
		if !bad {
			usable = append(usable, s)
		}
		if s.Time >= b.Start && s.Time < b.End {
			received++
			if !bad {
				in = append(in, s)
			}
		}
	}
	sum, lo, hi := 0., math.Inf(1), math.Inf(-1)
	for _, s := range in {
		sum, lo, hi = sum+s.Value, min(lo, s.Value), max(hi, s.Value)
	}
	var linear, linearMs, carried, carriedMs, grew float64
	for i, p := range usable {
		end := b.End
		if i+1 < len(usable) {
			end = min(end, usable[i+1].Time)
		}
		if x, y := max(p.Time, b.Start), end; x < y {
			carried, carriedMs = carried+p.Value*float64(y-x), carriedMs+float64(y-x)
		}
		if i+1 == len(usable) {
			break
		}
		q := usable[i+1]
		if q.Time >= b.Start && q.Time < b.End {
			grew += map[bool]float64{true: q.Value - p.Value, false: max(q.Value, 0)}[q.Value >= p.Value]
		}
		if o.Interval > 0 && float64(q.Time-p.Time) > 2.5*float64(o.Interval) {
			continue
		}
		if x, y := max(p.Time, b.Start), min(q.Time, b.End); x < y {
			at := func(t lh.Millis) float64 {
				return p.Value + (q.Value-p.Value)*float64(t-p.Time)/float64(q.Time-p.Time)
			}
			linear, linearMs = linear+(at(x)+at(y))/2*float64(y-x), linearMs+float64(y-x)
		}
	}
	ok := b.Received == received && b.Used == int64(len(in))
	if len(in) > 0 {
		ok = ok && near(b.Sum, sum) && b.Min.Value == lo && b.Max.Value == hi && b.First == in[0] && b.Last == in[len(in)-1] && near(b.Increase, grew)
	}
	if linearMs > 0 {
		ok = ok && near(b.TimeMeanLinear, linear/linearMs)
	}
	if carriedMs > 0 {
		ok = ok && near(b.TimeMeanCarried, carried/carriedMs)
	} else {
		ok = ok && math.IsNaN(b.TimeMeanCarried)
	}
	if !ok {
		t.Fatalf("seed %d: bucket %+v\nreceived %d used %d sum %v linear %v carried %v grew %v", seed, b, received, len(in), sum, linear/linearMs, carried/carriedMs, grew)
	}
}

func TestWind(t *testing.T) {
	var w calc.Wind
	w.AddDirection(350)
	w.AddDirection(10)
	if d := w.MeanDirection(); d > 1e-9 && d < 360-1e-9 {
		t.Errorf("350° and 10° give %v°", d)
	}
	w = calc.Wind{}
	w.AddDirection(90)
	w.AddDirection(270)
	if d := w.MeanDirection(); !math.IsNaN(d) {
		t.Errorf("opposite directions give %v°, not none", d)
	}
	w = calc.Wind{}
	w.Add(3, 90)
	w.Add(0, 200) // calm
	w.Add(3, 0)
	if s, d := w.Resultant(); !near(s, math.Hypot(1, 1)) || !near(d, 45) || !near(w.MeanSpeed(), 2) || !near(w.MeanDirection(), 45) {
		t.Errorf("resultant %v from %v°, mean speed %v from %v°", s, d, w.MeanSpeed(), w.MeanDirection())
	}
	w = calc.Wind{}
	for range 5 {
		w.AddDirection(123)
	}
	if d := w.Yamartino(); d > 1e-5 {
		t.Errorf("one direction deviates by %v°", d)
	}
	w = calc.Wind{}
	for i := range 360 {
		w.AddDirection(float64(i))
	}
	if d, want := w.Yamartino(), 90*(1+0.1547); math.Abs(d-want) > 1e-6 {
		t.Errorf("all directions deviate by %v°, want %v°", d, want)
	}
}
