package series_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// put uploads samples some at a time and folds now and then; all that was sent is in the answer, the later write in the
// place of the earlier.
type putter struct {
	t    *testing.T
	e    *series.Engine
	l    *logger
	have map[lh.Millis]lh.Sample
}

func (p *putter) put(samples []lh.Sample, fold bool) {
	p.t.Helper()
	for len(samples) > 0 {
		part := samples[:min(3000, len(samples))]
		samples = samples[len(part):]
		var rs []wire.Record
		for _, s := range part {
			rs = append(rs, wire.Record{Time: s.Time, Values: []wire.Value{{Channel: 0, Flag: s.Flag, Value: s.Value}}})
			p.have[s.Time] = lh.Sample{Time: s.Time, Value: s.Value, Flag: s.Flag}
		}
		if err := p.e.Append(ctx, p.l.upload(p.t, p.l.seq, rs...)); err != nil {
			p.t.Fatal(err)
		}
		p.l.seq += uint32(len(rs))
	}
	if fold {
		if err := p.e.FoldNow(ctx); err != nil {
			p.t.Fatal(err)
		}
	}
}

// all returns what must be there in [from, to).
func (p *putter) all(from, to lh.Millis) []lh.Sample {
	var out []lh.Sample
	for at, s := range p.have {
		if at >= from && at < to {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b lh.Sample) int { return int(a.Time - b.Time) })
	return out
}

func unranked(s []lh.Sample) []lh.Sample {
	for i := range s {
		s[i].Rank = 0
	}
	return s
}

// reduced is what Reduce must answer, by its definition.
func reduced(s []lh.Sample, points int) []lh.Sample {
	if points == 0 || len(s) <= points {
		return s
	}
	first, width, buckets := s[0].Time, uint64(s[len(s)-1].Time-s[0].Time)+1, uint64(points/2)
	var out []lh.Sample
	for i := 0; i < len(s); {
		bucket := func(t lh.Millis) uint64 { return uint64(t-first) * buckets / width }
		b, least, greatest := bucket(s[i].Time), s[i], s[i]
		for ; i < len(s) && bucket(s[i].Time) == b; i++ {
			if s[i].Value < least.Value {
				least = s[i]
			}
			if s[i].Value > greatest.Value {
				greatest = s[i]
			}
		}
		if least.Time > greatest.Time {
			least, greatest = greatest, least
		}
		if out = append(out, least); least.Time != greatest.Time {
			out = append(out, greatest)
		}
	}
	return out
}

// ask compares every kind of answer over some ranges with what was sent.
func (p *putter) ask(sc store.Scope, r *rand.Rand, from, to lh.Millis, tries int) {
	p.t.Helper()
	el := p.l.elements[0]
	for try := range tries {
		a := from + lh.Millis(r.Int64N(int64(to-from)))
		b := a + 1 + lh.Millis(r.Int64N(int64(to-a)))
		if try == 0 {
			a, b = from, to
		}
		want := p.all(a, b)
		if got := unranked(read(p.t, p.e, sc, el, a, b)); !slices.Equal(got, want) {
			p.t.Fatalf("read %d to %d: %d samples, want %d", a, b, len(got), len(want))
		}
		points := []int{0, 2, 10, 200, 5000}[r.IntN(5)]
		got, err := p.e.Reduce(ctx, sc, el, a, b, points)
		if err != nil {
			p.t.Fatal(err)
		}
		if want := reduced(want, points); !slices.Equal(unranked(got.Samples), want) || got.Count != int64(len(p.all(a, b))) {
			p.t.Fatalf("reduce %d to %d to %d points: %d of %d, want %d", a, b, points, len(got.Samples), got.Count, len(want))
		}
		cal, err := calc.NewCalendar(calc.Step{N: 1, Unit: []calc.Unit{calc.Minute, calc.Hour, calc.Day, calc.Week}[r.IntN(4)]}, time.UTC)
		if err != nil {
			p.t.Fatal(err)
		}
		if b-a > 90_000_000 && cal.Next(a)-a <= 60_000 {
			continue
		}
		simple := r.IntN(2) == 0
		var stats, wanted []calc.Stats
		if err := p.e.Aggregate(ctx, sc, el, a, b, series.View{}, cal, calc.Options{Simple: simple}, func(s *calc.Stats) error { stats = append(stats, *s); return nil }); err != nil {
			p.t.Fatal(err)
		}
		agg := calc.NewAggregator(cal, a, b, calc.Options{Meaning: el.Meaning, Interval: el.Interval, Simple: simple}, func(s *calc.Stats) error { wanted = append(wanted, *s); return nil })
		for _, s := range p.all(lh.MinMillis, lh.MaxMillis) {
			if err := agg.Add(s); err != nil {
				p.t.Fatal(err)
			}
		}
		if err := agg.Finish(); err != nil {
			p.t.Fatal(err)
		}
		if !slices.EqualFunc(stats, wanted, sameStats) {
			p.t.Fatalf("statistics of %d to %d differ", a, b)
		}
	}
}

// A day of more samples than a block holds is cut into blocks: whatever comes late, before, between and over them.
func TestDenseDays(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		e, stop := start(t, db, series.Options{})
		defer stop()
		p := &putter{t, e, newLogger(t, db, sc, "1/level"), map[lh.Millis]lh.Sample{}}
		p.l.elements[0].Interval = 2000
		r := rand.New(rand.NewPCG(21, 22))
		from := lh.DayStart(20000) + 3_600_000
		span := func(at, n, step int) (out []lh.Sample) {
			for i := range n {
				s := lh.Sample{Time: from + lh.Millis(at+i)*lh.Millis(step), Value: math.Round(1000+300*math.Sin(float64(i)/500)+5*r.NormFloat64()) / 100, Flag: 1}
				if r.IntN(500) == 0 {
					s.Flag = lh.FlagSuspect
				}
				if r.IntN(3000) == 0 {
					s.Value += r.Float64() // not decimal: its block is of floats
				}
				out = append(out, s)
			}
			return out
		}
		to := from + 30*3_600_000
		p.put(span(0, 9000, 2000), true)
		p.ask(sc, r, from, to, 12)
		p.put(span(9000, 5000, 2000), true) // goes on
		p.put(span(9300, 6, 2001), true)    // between, and over some
		p.put(span(15000, 30000, 2000), true)
		p.ask(sc, r, from, to, 25)
		p.put(span(-100, 50, 2000), true) // before all
		p.put(span(45000, 9000, 2000), false)
		p.ask(sc, r, from-100_000, to, 12)
		if _, findings := verify(t, e); len(findings) > 0 {
			t.Error(findings)
		}
		// One whose directory lies is found.
		hub := storetest.HubScope(sc.Project())
		c, err := db.WholeChunk(ctx, hub, p.l.elements[0].ID, 20000)
		if err != nil || len(c.Summary) == 0 {
			t.Fatal(err)
		}
		if c.Body, err = series.OtherDirectory(c.Body); err != nil {
			t.Fatal(err)
		}
		if err := db.Fold(ctx, hub, []store.Chunk{c}, nil, nil); err != nil {
			t.Fatal(err)
		}
		if _, findings := verify(t, e); len(findings) != 1 {
			t.Errorf("a directory that counts otherwise: %q", findings)
		}
	})
}

// Days of few samples have no summary beside them, and answer all the same.
func TestSparseDays(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		e, stop := start(t, db, series.Options{})
		defer stop()
		p := &putter{t, e, newLogger(t, db, sc, "1/level"), map[lh.Millis]lh.Sample{}}
		p.l.elements[0].Interval = lh.DayMillis
		r := rand.New(rand.NewPCG(23, 24))
		from := lh.DayStart(15000)
		var s []lh.Sample
		for d := range 900 {
			for range 1 + r.IntN(2)*r.IntN(60) {
				s = append(s, lh.Sample{Time: from + lh.Millis(d)*lh.DayMillis + lh.Millis(r.IntN(24*60))*60_000, Value: float64(r.IntN(100000)) / 100, Flag: 1})
			}
		}
		slices.SortFunc(s, func(a, b lh.Sample) int { return int(a.Time - b.Time) })
		s = slices.CompactFunc(s, func(a, b lh.Sample) bool { return a.Time == b.Time })
		p.put(s, true)
		p.ask(sc, r, from, from+901*lh.DayMillis, 40)
		if v, findings := verify(t, e); len(findings) > 0 || v.Samples != int64(len(s)) {
			t.Errorf("%+v %q", v, findings)
		}
	})
}
