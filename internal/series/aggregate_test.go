package series_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	_ "time/tzdata"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// Aggregating through the engine, whatever is folded, gives what aggregating all samples of the element gives.
func TestAggregateEqualsAllSamples(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		sc := storetest.Project(t, db)
		e, stop := start(t, db, series.Options{})
		defer stop()
		l := newLogger(t, db, sc, "1/level")
		r := rand.New(rand.NewPCG(1, 2))
		base := lh.MillisOf(time.Date(2024, 3, 29, 20, 0, 0, 0, time.UTC))
		at := base
		for seq := uint32(1); seq < 400; seq += 20 {
			var records []wire.Record
			for range 20 {
				at += lh.Millis(60_000 * (1 + r.Int64N(25)))
				if r.IntN(40) == 0 {
					at += 40 * 3600_000
				}
				records = append(records, record(at, math.Round(r.NormFloat64()*100)/100))
			}
			if err := e.Append(ctx, l.upload(t, seq, records...)); err != nil {
				t.Fatal(err)
			}
			if r.IntN(3) == 0 {
				if err := e.FoldNow(ctx); err != nil {
					t.Fatal(err)
				}
			}
		}
		el := l.elements[0]
		all := read(t, e, sc, el, lh.MinMillis, lh.MaxMillis)
		zone, err := time.LoadLocation("Europe/Copenhagen")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 60 {
			step := calc.Step{N: 1, Unit: []calc.Unit{calc.Hour, calc.Day, calc.Week, calc.Month}[r.IntN(4)]}
			cal, err := calc.NewCalendar(step, []*time.Location{zone, time.UTC}[r.IntN(2)])
			if err != nil {
				t.Fatal(err)
			}
			el.Meaning = []lh.Meaning{lh.Instantaneous, lh.PrecedingMean, lh.Counter}[r.IntN(3)]
			el.Interval = []int64{0, 600_000}[r.IntN(2)]
			from := all[r.IntN(len(all))].Time - lh.Millis(r.IntN(3))*1800_000
			to := min(from+lh.Millis(r.Int64N(int64(at-base))), at+86400_000)
			var got, want []calc.Stats
			keep := func(into *[]calc.Stats) func(*calc.Stats) error {
				return func(s *calc.Stats) error { *into = append(*into, *s); return nil }
			}
			simple := r.IntN(2) == 0
			if err := e.Aggregate(ctx, sc, el, from, to, series.View{}, cal, calc.Options{Simple: simple}, keep(&got)); err != nil {
				t.Fatal(err)
			}
			a := calc.NewAggregator(cal, from, to, calc.Options{Meaning: el.Meaning, Interval: el.Interval, Simple: simple}, keep(&want))
			for _, s := range all {
				if err := a.Add(s); err != nil {
					t.Fatal(err)
				}
			}
			if err := a.Finish(); err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(got, want, sameStats) {
				t.Fatalf("question %d: %+v\nwant %+v", i, got, want)
			}
		}
	})
}

// sameStats compares bit for bit; NaN is itself.
func sameStats(a, b calc.Stats) bool {
	same := func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) || x != x && y != y }
	return a.Start == b.Start && a.End == b.End && a.Expected == b.Expected && a.Received == b.Received && a.Used == b.Used && a.Good == b.Good &&
		a.Incomplete == b.Incomplete && a.Flag == b.Flag && a.Min == b.Min && a.Max == b.Max && a.First == b.First && a.Last == b.Last &&
		same(a.Sum, b.Sum) && same(a.Mean, b.Mean) && same(a.StdDev, b.StdDev) && same(a.TimeMeanLinear, b.TimeMeanLinear) &&
		same(a.TimeMeanCarried, b.TimeMeanCarried) && same(a.Increase, b.Increase)
}
