package series_test

import (
	"fmt"
	"math"
	"slices"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
)

// check holds some random questions about every series against the model.
func (w *world) check(questions int) {
	for _, p := range w.projects {
		latest := map[lh.ElementID]lh.Latest{}
		ls, err := w.hub().db.Latest(ctx, p.sc, nil)
		w.must(err)
		for _, l := range ls {
			latest[l.Element] = l
		}
		for _, l := range p.loggers {
			for _, m := range l.series {
				w.checkLatest(m, latest)
				for range questions {
					w.ask(p, m)
				}
			}
		}
	}
}

// newest is the newest write that may be the latest.
func (m *modelSeries) newest() lh.Sample {
	newest := lh.Sample{Time: math.MinInt64}
	for at, s := range m.trusted {
		if at > newest.Time {
			newest = s
		}
	}
	return newest
}

func (w *world) checkLatest(m *modelSeries, latest map[lh.ElementID]lh.Latest) {
	want := m.newest()
	any := want.Time > math.MinInt64
	got, ok := latest[m.el.ID]
	if ok != any || any && got.Sample != want {
		w.fatalf("latest of %s is %+v (%v), want %+v (%v)", m.el.Channel, got.Sample, ok, want, any)
	}
}

// ask asks one question in every way.
func (w *world) ask(p *modelProject, m *modelSeries) {
	w.did["questions"]++
	var v series.View
	if w.r.IntN(2) == 0 {
		v = series.View{Raw: w.r.IntN(2) == 0}
		if w.r.IntN(3) > 0 {
			v.AsOf = w.moments[w.r.IntN(len(w.moments))]
		}
	}
	from := w.some() - lh.Millis(w.r.IntN(2))*lh.DayMillis
	to := from + lh.Millis(w.r.Int64N(4*lh.DayMillis))
	switch w.r.IntN(6) {
	case 0:
		from, to = lh.MinMillis, lh.MaxMillis+1
	case 1:
		from, to = lh.DayStart(from.Day()), lh.DayStart(to.Day())
	}
	e := w.hub().e
	what := fmt.Sprintf("%s of %s, %+v, [%d, %d)", w.hub().db.Engine(), m.el.ID, v, from, to)
	all := m.view(lh.MinMillis, lh.MaxMillis+1, v)
	want := slices.DeleteFunc(slices.Clone(all), func(s lh.Sample) bool { return s.Time < from || s.Time >= to })
	var got []lh.Sample
	for s, err := range e.ReadView(ctx, p.sc, m.el, from, to, v) {
		if err != nil {
			w.fatalf("%s: %v", what, err)
		}
		got = append(got, s)
	}
	if !slices.EqualFunc(got, want, sameBits) {
		i := 0
		for i < min(len(got), len(want)) && sameBits(got[i], want[i]) {
			i++
		}
		w.fatalf("%s: %d samples, want %d; from %d on %+v\nwant %+v\ncorrections %+v\napprovals %+v", what, len(got), len(want), i, got[i:min(i+3, len(got))], want[i:min(i+3, len(want))], m.corrections, m.approvals)
	}
	compareReduced(w.t, e, p.sc, m.el, from, to, v, want, 2+w.r.IntN(80))
	if w.t.Failed() {
		w.fatalf("reducing")
	}
	w.askStats(e, p, m, v, all)
}

func sameBits(a, b lh.Sample) bool {
	return a.Time == b.Time && math.Float64bits(a.Value) == math.Float64bits(b.Value) && a.Flag == b.Flag && a.Rank == b.Rank
}

var zones = []string{"UTC", "Europe/Copenhagen", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo", "Africa/Casablanca", "-0330"}

// steps of a calendar, and the longest range of days asked for with each.
var steps = []struct {
	text string
	days int64
}{{"PT10M", 3}, {"PT1H", 10}, {"PT6H", 40}, {"P1D", 200}, {"P3D", 400}, {"P1W", 1000}, {"P1M", 4000}, {"P3M", 9000}, {"P1Y", 50000}}

// askStats asks for statistics; all is everything the view shows.
func (w *world) askStats(e *series.Engine, p *modelProject, m *modelSeries, v series.View, all []lh.Sample) {
	zone := time.FixedZone("-0330", -12600)
	if name := zones[w.r.IntN(len(zones))]; name != "-0330" {
		var err error
		if zone, err = time.LoadLocation(name); err != nil {
			w.fatalf("%v", err)
		}
	}
	step := steps[w.r.IntN(len(steps))]
	parsed, err := calc.ParseStep(step.text)
	w.must(err)
	cal, err := calc.NewCalendar(parsed, zone)
	w.must(err)
	o := calc.Options{Percentiles: []float64{0, 12.5, 50, 99, 100}[:w.r.IntN(6)], Rollover: []float64{0, 5}[w.r.IntN(2)], Complete: []float64{0, 0.3}[w.r.IntN(2)],
		GapFactor: []float64{0, 7}[w.r.IntN(2)]}
	if w.r.IntN(3) == 0 {
		o.Interval, o.Meaning = 300_000, lh.Counter
	}
	from := w.some()
	if len(all) > 0 && w.r.IntN(2) == 0 {
		from = all[w.r.IntN(len(all))].Time + lh.Millis(w.r.IntN(3)-1) // at its edge
	}
	to := from + 1 + lh.Millis(w.r.Int64N(step.days*lh.DayMillis/2))
	if w.r.IntN(4) == 0 {
		to = from + 1 + lh.Millis(w.r.Int64N(modelDays*lh.DayMillis/50))
	}
	what := fmt.Sprintf("statistics of %s, %+v, [%d, %d), %s in %s, %+v", m.el.ID, v, from, to, step.text, zone, o)
	var got, want []calc.Stats
	keep := func(into *[]calc.Stats) func(*calc.Stats) error {
		return func(s *calc.Stats) error {
			c := *s
			c.Percentiles = slices.Clone(s.Percentiles)
			*into = append(*into, c)
			return nil
		}
	}
	if err := e.Aggregate(ctx, p.sc, m.el, from, to, v, cal, o, keep(&got)); err != nil {
		w.fatalf("%s: %v", what, err)
	}
	if o.Interval == 0 {
		o.Interval = m.el.Interval
	}
	if o.Meaning == "" {
		o.Meaning = m.el.Meaning
	}
	a := calc.NewAggregator(cal, from, to, o, keep(&want))
	for _, s := range all {
		w.must(a.Add(s))
	}
	w.must(a.Finish())
	w.did["buckets"] += len(got)
	if len(got) != len(want) {
		w.fatalf("%s: %d buckets, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !sameStats(got[i], want[i]) || !slices.EqualFunc(got[i].Percentiles, want[i].Percentiles, sameFloat) {
			w.fatalf("%s: bucket %d is\n%+v, want\n%+v", what, i, got[i], want[i])
		}
	}
	w.define(what, from, to, cal, step.text, zone, o, got, all)
}

func sameFloat(x, y float64) bool {
	return math.Float64bits(x) == math.Float64bits(y) || x != x && y != y
}

// define holds buckets against the definitions of what needs no more than the samples of a bucket, and their cuts against
// the zone's calendar.
func (w *world) define(what string, from, to lh.Millis, cal calc.Calendar, step string, zone *time.Location, o calc.Options, got []calc.Stats, all []lh.Sample) {
	shift := lh.Millis(0)
	if o.Meaning == lh.PrecedingMean || o.Meaning == lh.PrecedingSum {
		shift = 1
	}
	at := from
	next := 0
	for next < len(all) && all[next].Time-shift < from {
		next++
	}
	for i := range got {
		b := &got[i]
		if b.Start != at || b.End <= b.Start || i == len(got)-1 && b.End != to {
			w.fatalf("%s: bucket %d is %d to %d after %d", what, i, b.Start, b.End, at)
		}
		at = b.End
		if k := label(b.Start, step, zone); k != label(b.End-1, step, zone) || b.End < to && k == label(b.End, step, zone) {
			w.fatalf("%s: bucket %d, %s to %s, is cut wrongly", what, i, b.Start.Time().In(zone), b.End.Time().In(zone))
		}
		var received, good int64
		var values []float64
		worst := lh.Flag(0)
		var first, last, least, greatest lh.Sample
		for ; next < len(all) && all[next].Time-shift < b.End; next++ {
			s := all[next]
			s.Rank = 0 // statistics leave ranks out
			received, worst = received+1, max(worst, s.Flag)
			if s.Flag >= lh.FlagBad {
				continue
			}
			if s.Flag != lh.FlagSuspect {
				good++
			}
			if len(values) == 0 {
				first, least, greatest = s, s, s
			}
			if s.Value < least.Value {
				least = s
			}
			if s.Value > greatest.Value {
				greatest = s
			}
			last = s
			values = append(values, s.Value)
		}
		if received == 0 {
			worst = lh.FlagMissing
		}
		if b.Received != received || b.Good != good || b.Used != int64(len(values)) || b.Flag != worst || b.First != first || b.Last != last || b.Min != least || b.Max != greatest {
			w.fatalf("%s: bucket %d is %+v; received %d good %d used %d worst %d", what, i, *b, received, good, len(values), worst)
		}
		sum, mean, deviation := math.NaN(), math.NaN(), math.NaN()
		if len(values) > 0 {
			sum = 0
			for _, x := range values {
				sum += x
			}
			mean = sum / float64(len(values))
		}
		if n := float64(len(values)); n > 1 {
			squares := 0.
			for _, x := range values {
				squares += (x - mean) * (x - mean)
			}
			deviation = math.Sqrt(squares / (n - 1))
		}
		if !about(b.Sum, sum) || !about(b.Mean, mean) || !about(b.StdDev, deviation) {
			w.fatalf("%s: bucket %d has sum %v mean %v deviation %v; want %v %v %v", what, i, b.Sum, b.Mean, b.StdDev, sum, mean, deviation)
		}
		slices.Sort(values)
		for k, q := range o.Percentiles {
			want := math.NaN()
			if n := len(values); n > 0 {
				rank := q / 100 * float64(n-1)
				low, high := values[int(math.Floor(rank))], values[int(math.Ceil(rank))]
				want = low + (high-low)*(rank-math.Floor(rank))
			}
			if !about(b.Percentiles[k], want) {
				w.fatalf("%s: percentile %v of bucket %d is %v, want %v", what, q, i, b.Percentiles[k], want)
			}
		}
	}
	if len(got) == 0 {
		w.fatalf("%s: no buckets", what)
	}
}

func about(a, b float64) bool {
	return a != a && b != b || math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b))
}

// label names the bucket of an instant by what the zone's calendar and clock show.
func label(t lh.Millis, step string, zone *time.Location) string {
	at := t.Time().In(zone)
	y, mo, d := at.Date()
	_, offset := at.Zone()
	day := time.Date(y, mo, d, 0, 0, 0, 0, time.UTC)
	switch step {
	case "PT10M":
		return fmt.Sprint(day.Format(time.DateOnly), at.Hour(), at.Minute()/10, offset)
	case "PT1H":
		return fmt.Sprint(day.Format(time.DateOnly), at.Hour(), offset)
	case "PT6H":
		return fmt.Sprint(day.Format(time.DateOnly), at.Hour()/6)
	case "P1D":
		return day.Format(time.DateOnly)
	case "P3D":
		return fmt.Sprint(math.Floor(float64(day.Unix()/86400) / 3))
	case "P1W":
		iso, week := at.ISOWeek()
		return fmt.Sprint(iso, week)
	case "P1M":
		return fmt.Sprint(y, mo)
	case "P3M":
		return fmt.Sprint(y, (mo-1)/3)
	}
	return fmt.Sprint(y)
}

// whole holds what is stored, all folded, against the model.
func (w *world) whole() {
	h := w.hub()
	if bs, err := h.db.JournalBacklog(ctx); err != nil || len(bs) > 0 {
		w.fatalf("left in the journal: %+v %v", bs, err)
	}
	var samples, lost, elements int64
	for _, p := range w.projects {
		for _, l := range p.loggers {
			for _, m := range l.series {
				elements++
				for _, ws := range m.writes {
					ranks := map[lh.Rank]bool{}
					for _, x := range ws {
						ranks[x.Rank] = true
					}
					samples, lost = samples+1, lost+int64(len(ranks)-1)
				}
			}
		}
	}
	var findings []string
	v, err := h.e.Verify(ctx, func(f string) { findings = append(findings, f) }, func(series.Verified) {})
	w.must(err)
	if len(findings) > 0 || v.Samples != samples || v.Revisions != lost || v.Elements != elements || v.Uploads != 0 {
		w.fatalf("verify reads %+v, want %d samples and %d lost writes of %d elements; findings %q", v, samples, lost, elements, findings)
	}
	for _, h := range w.hubs {
		if ps := h.e.Problems(); len(ps) > 0 {
			w.fatalf("problems: %q", ps)
		}
	}
	w.did["samples"] += int(samples)
	w.did["writes that lost"] += int(lost)
}
