package sensor

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lh "github.com/loggerhead-cloud/loggerhead"
)

func mustNew(t testing.TB, c Config, base string) Sensor {
	t.Helper()
	s, err := New(c, base, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// series is one channel of a run.
type series struct {
	t []lh.Millis
	v []float64
}

// runFor samples a station every so often and sorts what it gives by channel.
func runFor(t testing.TB, s Sensor, from time.Time, n int, every time.Duration) map[string]*series {
	t.Helper()
	out := map[string]*series{}
	for i := range n {
		recs, err := s.Sample(context.Background(), from.Add(time.Duration(i)*every))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			for _, x := range r.Readings {
				c := out[x.Channel]
				if c == nil {
					c = &series{}
					out[x.Channel] = c
				}
				c.t, c.v = append(c.t, r.Time), append(c.v, x.Value)
			}
		}
	}
	return out
}

func mean(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

func correlation(a, b []float64) float64 {
	ma, mb := mean(a), mean(b)
	var ab, aa, bb float64
	for i := range a {
		ab += (a[i] - ma) * (b[i] - mb)
		aa += (a[i] - ma) * (a[i] - ma)
		bb += (b[i] - mb) * (b[i] - mb)
	}
	return ab / math.Sqrt(aa*bb)
}

// hourly returns the means of the hours of a day, by the clock.
func hourly(c *series) (h [24]float64) {
	var n [24]float64
	for i, at := range c.t {
		k := at.Time().Hour()
		h[k] += c.v[i]
		n[k]++
	}
	for k := range h {
		h[k] /= n[k]
	}
	return h
}

// Two days in minutes, as a chart would show them, of a station where it rains.
func TestSimulatorIsPhysical(t *testing.T) {
	const n, every = 2 * 24 * 60, time.Minute
	no := false
	from := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	s := mustNew(t, Config{Type: "simulator", Interval: every, Simulator: &Simulator{Seed: 1, Gaps: &no}}, "")
	got := runFor(t, s, from, n, every)
	level, rain, cond, temp, volt := got["1/water_level"], got["3/rain"], got["2/conductivity"], got["1/temperature"], got["0/battery_voltage"]
	for key, c := range got {
		if len(c.v) != n {
			t.Fatalf("%s has %d readings, not %d", key, len(c.v), n)
		}
	}

	// Rain: a counter that begins at 0, never falls, and moves in whole tips of the bucket.
	if rain.v[0] != 0 || rain.v[n-1] < 10 {
		t.Fatalf("rain goes from %v to %v mm; these two days are wet ones", rain.v[0], rain.v[n-1])
	}
	for i := 1; i < n; i++ {
		tips := (rain.v[i] - rain.v[i-1]) / bucket
		if tips < 0 || math.Abs(tips-math.Round(tips)) > 1e-6 {
			t.Fatalf("rain goes from %v to %v", rain.v[i-1], rain.v[i])
		}
		if tips*bucket > 2 {
			t.Fatalf("%v mm fell in a minute", tips*bucket)
		}
	}

	// Level: the greatest rise follows the wettest hours within hours, then a recession: slower than the rise, and slower
	// the longer it lasts.
	const h = 60
	peak, wet := 0, 0
	for i := range level.v {
		if level.v[i] > level.v[peak] {
			peak = i
		}
		if i >= 3*h && rain.v[i]-rain.v[i-3*h] > rain.v[wet]-rain.v[max(wet-3*h, 0)] {
			wet = i
		}
	}
	if lag := peak - wet; lag < 0 || lag > 14*h {
		t.Errorf("the level is highest %d min after the wettest three hours", lag)
	}
	risen := level.v[peak] - level.v[0]
	if risen < 0.1 || risen > 2.5 {
		t.Errorf("%v mm of rain raised the level by %.3f m", rain.v[n-1], risen)
	}
	for i := range level.v {
		if level.v[i] < 0.2 || level.v[i] > 4 {
			t.Fatalf("a level of %v m", level.v[i])
		}
	}
	smooth := func(c *series, i int) float64 { return mean(c.v[max(i-15, 0):min(i+15, n)]) }
	var up, down float64
	for i := h; i < n; i++ {
		d := smooth(level, i) - smooth(level, i-h)
		up, down = max(up, d), min(down, d)
	}
	if up < 2*-down || down >= 0 {
		t.Errorf("the level rises by at most %.3f m an hour and falls by at most %.3f", up, -down)
	}

	// Conductivity goes against the level.
	if r := correlation(level.v, cond.v); r > -0.9 {
		t.Errorf("level and conductivity correlate with %.2f", r)
	}
	// Temperature: warmest in the afternoon, coldest in the early morning, by some degrees.
	ht := hourly(temp)
	hottest, coldest := 0, 0
	for k := range ht {
		if ht[k] > ht[hottest] {
			hottest = k
		}
		if ht[k] < ht[coldest] {
			coldest = k
		}
	}
	if hottest < 13 || hottest > 19 || coldest < 1 || coldest > 8 || ht[hottest]-ht[coldest] < 0.5 || ht[hottest]-ht[coldest] > 6 {
		t.Errorf("warmest at %d h with %.2f, coldest at %d h with %.2f", hottest, ht[hottest], coldest, ht[coldest])
	}
	// Battery: charged by day, discharged by night.
	hv := hourly(volt)
	if day, night := mean(hv[9:15]), mean(hv[:3]); day < night+0.2 || day > 14.6 || night < 11.8 {
		t.Errorf("the battery has %.2f V by day and %.2f by night", day, night)
	}
	if hv[22] <= hv[2] {
		t.Errorf("the battery does not fall over night: %.3f V at 22 h, %.3f at 2 h", hv[22], hv[2])
	}

	// Noise: neighbours differ, by little, and to both sides.
	for key, want := range map[string]struct{ least, most float64 }{
		"1/water_level": {0.0005, 0.006}, "1/temperature": {0.005, 0.08}, "2/conductivity": {0.3, 6}, "0/battery_voltage": {0.002, 0.04},
	} {
		c := got[key]
		var sum float64
		turns := 0
		for i := 2; i < n; i++ {
			sum += math.Abs(c.v[i] - c.v[i-1])
			if (c.v[i]-c.v[i-1])*(c.v[i-1]-c.v[i-2]) < 0 {
				turns++
			}
		}
		if step := sum / (n - 2); step < want.least || step > want.most || turns < n/4 {
			t.Errorf("%s: neighbours differ by %.4f, and it turns %d times", key, step, turns)
		}
	}
}

func TestSimulatorHasSeasonsAndPlaces(t *testing.T) {
	no := false
	means := func(seed uint64, month time.Month) (temp, level float64) {
		s := mustNew(t, Config{Type: "simulator", Interval: time.Hour, Simulator: &Simulator{Seed: seed, Gaps: &no}}, "")
		got := runFor(t, s, time.Date(2026, month, 1, 0, 0, 0, 0, time.UTC), 24*28, time.Hour)
		for _, v := range got["0/battery_voltage"].v {
			if v < 11.8 || v > 14.6 {
				t.Fatalf("month %d: the battery has %v V", month, v)
			}
		}
		return mean(got["1/temperature"].v), mean(got["1/water_level"].v)
	}
	january, a := means(1, time.January)
	july, _ := means(1, time.July)
	if january < 0 || january > 5 || july < 13 || july > 21 {
		t.Errorf("the water has %.1f °C in January and %.1f in July", january, july)
	}
	if _, b := means(2, time.January); a == b {
		t.Error("two places have the same water")
	}
}

func TestSimulatorStartedAgainGoesOn(t *testing.T) {
	c := Config{Type: "simulator", Interval: time.Second, Simulator: &Simulator{Seed: 7}}
	from := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	one, two := mustNew(t, c, ""), mustNew(t, c, "")
	runFor(t, one, from.Add(-10*time.Hour), 600, time.Minute)
	a, b := runFor(t, one, from, 300, time.Second), runFor(t, two, from, 300, time.Second)
	for key := range a {
		if key == "3/rain" {
			if b[key].v[0] != 0 {
				t.Error("the rain counter of a station that begins is not 0")
			}
			continue
		}
		if d := cmp.Diff(a[key].v, b[key].v); d != "" {
			t.Errorf("%s differs:\n%s", key, d)
		}
	}
}

func TestSimulatorGapsAndFaults(t *testing.T) {
	from := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	const n = 3000
	s := mustNew(t, Config{Type: "simulator", Interval: time.Second, Simulator: &Simulator{Seed: 3, ClockFaults: true}}, "")
	records, readings, wrong := 0, 0, map[string]int{}
	longest, missing := 0, 0
	for i := range n {
		now := from.Add(time.Duration(i) * time.Second)
		recs, err := s.Sample(context.Background(), now)
		if err != nil {
			t.Fatal(err)
		}
		if len(recs) == 0 {
			missing++
			longest = max(longest, missing)
			continue
		}
		missing = 0
		records++
		readings += len(recs[0].Readings)
		switch at := recs[0].Time.Time(); {
		case at.Equal(now):
		case at.Year() == 1970:
			wrong["1970"]++
		case at.Year() == 2036:
			wrong["2036"]++
		case now.Sub(at) > 59*time.Minute && now.Sub(at) < 61*time.Minute:
			wrong["hour"]++
		default:
			t.Fatalf("at %v the clock says %v", now, at)
		}
	}
	if records < n*95/100 || records > n*998/1000 || longest < 3 || longest > 8 {
		t.Errorf("%d of %d samples are there, the longest gap is %d", records, n, longest)
	}
	if gone := 5*records - readings; gone == 0 || gone > records/10 {
		t.Errorf("%d readings of %d records are missing", gone, records)
	}
	if wrong["1970"] == 0 || wrong["2036"] == 0 || wrong["hour"] == 0 || wrong["1970"]+wrong["2036"]+wrong["hour"] > n/60 {
		t.Errorf("wrong clocks: %v", wrong)
	}
}

func TestSimulatorHistory(t *testing.T) {
	from := time.Date(2026, 6, 1, 0, 0, 0, 500, time.UTC)
	c := Config{Type: "simulator", Interval: 2 * time.Second, Simulator: &Simulator{Seed: 3, History: 24 * time.Hour, HistoryInterval: time.Minute}}
	first := func(at time.Time) map[lh.Millis]Record {
		recs, err := mustNew(t, c, "").Sample(context.Background(), at)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.IsSortedFunc(recs, func(a, b Record) int { return int(a.Time - b.Time) }) {
			t.Fatal("the history is not in order")
		}
		m := map[lh.Millis]Record{}
		for _, r := range recs {
			r.Readings = slices.DeleteFunc(r.Readings, func(x Reading) bool { return x.Channel == "3/rain" })
			m[r.Time] = r
		}
		if len(m) != len(recs) {
			t.Fatal("the history has an instant twice")
		}
		return m
	}
	a, b := first(from), first(from.Add(90*time.Second))
	if len(a) < 1380 || len(a) > 1441 {
		t.Fatalf("a day of minutes has %d records", len(a))
	}
	same := 0
	for at, r := range b {
		if have, ok := a[at]; ok {
			same++
			if d := cmp.Diff(have, r); d != "" {
				t.Fatal(d)
			}
		}
	}
	if same < len(a)-5 {
		t.Errorf("started again, %d of %d instants are the same", same, len(a))
	}
	if _, err := New(Config{Type: "simulator", Interval: time.Second, Simulator: &Simulator{History: 200 * time.Hour}}, "", nil); lh.CodeOf(err) != lh.Invalid {
		t.Errorf("a history of 720,000 records: %v", err)
	}
}

// endsSoon is a context that ends after it was asked some times.
type endsSoon struct {
	context.Context
	asked int
}

func (c *endsSoon) Err() error {
	if c.asked++; c.asked > 500 {
		return context.Canceled
	}
	return nil
}

func TestSimulatorHistoryIsGivenUpAndBegunAnew(t *testing.T) {
	from := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	c := Config{Type: "simulator", Interval: time.Minute, Simulator: &Simulator{Seed: 1, History: 24 * time.Hour}}
	s := mustNew(t, c, "")
	if recs, err := s.Sample(&endsSoon{Context: context.Background()}, from); err == nil || len(recs) > 0 {
		t.Fatalf("%d records, %v", len(recs), err)
	}
	want, err := mustNew(t, c, "").Sample(context.Background(), from)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Sample(context.Background(), from)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
}

func TestSimulatorFaster(t *testing.T) {
	no := false
	s := mustNew(t, Config{Type: "simulator", Interval: time.Second, Simulator: &Simulator{Seed: 1, Speed: 3600, Gaps: &no}}, "")
	got := runFor(t, s, time.Date(2126, 6, 1, 0, 0, 0, 0, time.UTC), 48, time.Second)
	lo, hi := slices.Min(got["0/battery_voltage"].v), slices.Max(got["0/battery_voltage"].v)
	if hi-lo < 0.3 {
		t.Errorf("two days in 48 s: the battery has %v to %v V", lo, hi)
	}
}

func BenchmarkSimulatorSample(b *testing.B) {
	s := mustNew(b, Config{Type: "simulator", Interval: time.Second}, "")
	from := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	i := 0
	for b.Loop() {
		if _, err := s.Sample(context.Background(), from.Add(time.Duration(i)*time.Second)); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
