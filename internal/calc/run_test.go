package calc_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
)

// run is what AddRun takes.
type run struct {
	start, step lh.Millis
	values      []float64
	flag        lh.Flag
}

func same(x, y float64) bool {
	return math.Float64bits(x) == math.Float64bits(y) || x != x && y != y
}

func sameStats(a, b calc.Stats) bool {
	point := func(x, y lh.Sample) bool { return x.Time == y.Time && x.Flag == y.Flag && same(x.Value, y.Value) }
	return a.Start == b.Start && a.End == b.End && a.Expected == b.Expected && a.Received == b.Received && a.Used == b.Used && a.Good == b.Good &&
		a.Incomplete == b.Incomplete && a.Flag == b.Flag && point(a.Min, b.Min) && point(a.Max, b.Max) && point(a.First, b.First) && point(a.Last, b.Last) &&
		same(a.Sum, b.Sum) && same(a.Mean, b.Mean) && same(a.StdDev, b.StdDev) && same(a.TimeMeanLinear, b.TimeMeanLinear) &&
		same(a.TimeMeanCarried, b.TimeMeanCarried) && same(a.Increase, b.Increase) && same(a.Direction, b.Direction) &&
		same(a.DirectionDeviation, b.DirectionDeviation) && slices.EqualFunc(a.Percentiles, b.Percentiles, same)
}

// randomRuns are runs of a series: of any length and step, with gaps between them, good and bad, decimal and not.
func randomRuns(r *rand.Rand, at lh.Millis, n int) []run {
	var out []run
	for range n {
		x := run{start: at, step: lh.Millis(1 + r.Int64N(1<<r.IntN(28))), flag: []lh.Flag{1, 1, 1, 2, 3, 4, 9}[r.IntN(7)]}
		for range 1 + r.IntN(1<<r.IntN(8)) {
			v := math.Round(r.NormFloat64()*1000) / 100
			switch r.IntN(40) {
			case 0:
				v = r.NormFloat64() * 1e9
			case 1:
				v = math.Copysign(0, -1)
			case 2:
				v = 0
			}
			x.values = append(x.values, v)
		}
		at += x.step * lh.Millis(len(x.values))
		if r.IntN(3) == 0 {
			at += lh.Millis(r.Int64N(1 << r.IntN(32)))
		}
		out = append(out, x)
	}
	return out
}

// AddRun gives what Add gives of each sample in turn, bit for bit.
func TestRunsEqualSamples(t *testing.T) {
	for seed := range uint64(250) {
		r := rand.New(rand.NewPCG(seed, 11))
		zone := []string{"UTC", "Europe/Copenhagen", "Asia/Kathmandu", "Australia/Lord_Howe"}[r.IntN(4)]
		step := []string{"PT1M", "PT15M", "PT1H", "PT6H", "P1D", "P1W", "P1M"}[r.IntN(7)]
		cal := calendar(t, step, zone)
		from := at(t, "2024-03-29T21:00:00Z") + lh.Millis(r.IntN(3))*7*minute
		runs := randomRuns(r, from-lh.Millis(r.Int64N(int64(3*hour))), 1+r.IntN(30))
		last := runs[len(runs)-1]
		end := last.start + last.step*lh.Millis(len(last.values))
		to := from + 1 + lh.Millis(r.Int64N(int64(max(end-from, 1))+int64(hour)))
		if (to-from)/minute > 100_000 && step < "P2" && step != "P1D" { // buckets take longer than the samples
			to = from + 100_000*minute
		}
		o := calc.Options{Interval: []int64{0, 1 << r.IntN(28)}[r.IntN(2)], Directions: r.IntN(8) == 0, Rollover: []float64{0, 0, 0, 100}[r.IntN(4)],
			Meaning: []lh.Meaning{lh.Instantaneous, lh.PrecedingMean, lh.Counter}[r.IntN(3)]}
		o.Simple = r.IntN(4) == 0
		if r.IntN(4) == 0 {
			o.Percentiles = []float64{5, 50}
		}
		var samples []lh.Sample
		var got []calc.Stats
		a := calc.NewAggregator(cal, from, to, o, func(s *calc.Stats) error {
			c := *s
			c.Percentiles = slices.Clone(s.Percentiles)
			got = append(got, c)
			return nil
		})
		for _, x := range runs {
			for i, v := range x.values {
				samples = append(samples, lh.Sample{Time: x.start + x.step*lh.Millis(i), Value: v, Flag: x.flag, Rank: 7})
			}
			if err := a.AddRun(x.start, x.step, x.values, x.flag); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Finish(); err != nil {
			t.Fatal(err)
		}
		want := aggregate(t, cal, from, to, o, samples)
		if len(got) != len(want) {
			t.Fatalf("seed %d: %d buckets, want %d", seed, len(got), len(want))
		}
		if o.Simple {
			all := o
			all.Simple = false
			for i, full := range aggregate(t, cal, from, to, all, samples) {
				full.StdDev, full.TimeMeanLinear, full.TimeMeanCarried, full.Increase = math.NaN(), math.NaN(), math.NaN(), math.NaN()
				if !sameStats(got[i], full) {
					t.Fatalf("seed %d %s %s: simple %+v, want %+v", seed, step, zone, got[i], full)
				}
			}
		}
		for i := range got {
			if !sameStats(got[i], want[i]) {
				t.Fatalf("seed %d %s %s %+v: bucket %d\n%+v, want\n%+v", seed, step, zone, o, i, got[i], want[i])
			}
		}
	}
}

// FuzzRuns: any runs give what their samples give.
func FuzzRuns(f *testing.F) {
	f.Add(uint8(2), uint8(0), uint32(60_000), []byte("\x01\x05\x80some values, and then\x01others of another step"))
	f.Add(uint8(77), uint8(9), uint32(1), []byte{1, 0, 0, 255, 0, 0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, kind, options uint8, interval uint32, b []byte) {
		step := []string{"PT1M", "PT15M", "PT1H", "P1D"}[kind%4]
		cal := calendar(t, step, []string{"UTC", "Europe/Copenhagen", "Australia/Lord_Howe"}[kind/4%3])
		o := calc.Options{Interval: int64(interval), Simple: options&1 != 0, Directions: options&2 != 0,
			Meaning: []lh.Meaning{lh.Instantaneous, lh.PrecedingMean, lh.Counter}[options/4%3]}
		from := at(t, "2024-03-30T23:00:00Z")
		to := from + 3*hour + lh.Millis(kind)*minute
		var got []calc.Stats
		a := calc.NewAggregator(cal, from, to, o, func(s *calc.Stats) error { got = append(got, *s); return nil })
		var samples []lh.Sample
		for next := from - 10*minute; len(b) > 3; {
			n, wide, flag := 1+int(b[0]%32), lh.Millis(1)<<(b[1]%22), []lh.Flag{1, 1, 2, 3, 4, 9}[b[2]%6]
			b = b[3:]
			var values []float64
			for ; n > 0 && len(b) > 0; n, b = n-1, b[1:] {
				values = append(values, float64(int8(b[0]))/10*math.Pow(10, float64(b[0]%5)))
			}
			for i, v := range values {
				samples = append(samples, lh.Sample{Time: next + wide*lh.Millis(i), Value: v, Flag: flag})
			}
			if err := a.AddRun(next, wide, values, flag); err != nil {
				t.Fatal(err)
			}
			next += wide * lh.Millis(len(values))
		}
		if err := a.Finish(); err != nil {
			t.Fatal(err)
		}
		if want := aggregate(t, cal, from, to, o, samples); !slices.EqualFunc(got, want, sameStats) {
			t.Fatalf("%+v\nwant %+v", got, want)
		}
	})
}

// The deviation keeps its digits where values are large and close together, and where the first is far from the rest.
func TestDeviationKeepsItsDigits(t *testing.T) {
	cal := calendar(t, "P1Y", "UTC")
	for _, first := range []float64{1e9, 1e9 + 1e6, -1e9} {
		r := rand.New(rand.NewPCG(1, 12))
		values := []float64{first}
		for range 100_000 {
			values = append(values, 1e9+math.Round(r.NormFloat64()*1000)/1000)
		}
		mean, squares := 0., 0. // in two passes, of numbers that lose nothing by it
		for _, v := range values {
			mean += (v - 1e9) / float64(len(values))
		}
		for _, v := range values {
			squares += (v - 1e9 - mean) * (v - 1e9 - mean)
		}
		var got calc.Stats
		a := calc.NewAggregator(cal, 0, 1e9, calc.Options{}, func(s *calc.Stats) error { got = *s; return nil })
		if err := a.AddRun(0, 1000, values, lh.FlagGood); err != nil {
			t.Fatal(err)
		}
		if err := a.Finish(); err != nil {
			t.Fatal(err)
		}
		if want := math.Sqrt(squares / 1e5); math.Abs(got.StdDev/want-1) > 1e-9 {
			t.Errorf("first %v: deviation %v, want %v", first, got.StdDev, want)
		}
	}
}

func BenchmarkRun(b *testing.B) {
	cal := calendar(b, "PT1H", "UTC")
	r := rand.New(rand.NewPCG(1, 13))
	values := make([]float64, 1440)
	v := 4200.0
	for i := range values {
		v += 4 * r.NormFloat64()
		values[i] = math.Round(v) / 1000
	}
	for _, step := range []string{"runs", "samples"} {
		b.Run(step, func(b *testing.B) {
			used := processorTime(b)
			for b.Loop() {
				a := calc.NewAggregator(cal, 0, lh.DayMillis, calc.Options{Interval: 60_000}, func(*calc.Stats) error { return nil })
				if step == "runs" {
					a.AddRun(0, minute, values, 1)
				} else {
					for i, v := range values {
						a.Add(lh.Sample{Time: lh.Millis(i) * minute, Value: v, Flag: 1})
					}
				}
				a.Finish()
			}
			b.ReportMetric(float64(processorTime(b)-used)/float64(b.N)/1440, "cpu-ns/sample")
		})
	}
}

// processorTime is what a shared machine's clock cannot tell.
func processorTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
