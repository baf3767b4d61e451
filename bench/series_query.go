package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// addWide stores what the wide queries ask for, in uploads of a day: months of some series, a year of one.
func (in *seriesRun) addWide(ctx context.Context, z seriesSizes) error {
	add := func(number, channels, day, days int) error {
		d, err := in.addDevice(ctx, number, channels)
		if err != nil {
			return err
		}
		in.devices = append(in.devices, d)
		vs, _ := values(number, channels, days*24*60)
		s := &seriesSender{in: in, d: d}
		first := uint32(1)
		for n := range days {
			b := wire.Batch{Log: uint64(number), First: first, Channels: channelKeys(channels)}
			for m := n * 24 * 60; m < (n+1)*24*60; m++ {
				rec := wire.Record{Time: lh.DayStart(int32(day)) + lh.Millis(m)*minute}
				for c := range vs {
					rec.Values = append(rec.Values, wire.Value{Channel: uint16(c), Flag: lh.FlagGood, Value: vs[c][m]})
				}
				b.Records = append(b.Records, rec)
			}
			first += uint32(len(b.Records))
			raw, err := b.Append(nil)
			if err != nil {
				return err
			}
			if _, err := s.send(ctx, raw); err != nil {
				return err
			}
		}
		return nil
	}
	for i := 0; i*seriesPerDevice < z.wide; i++ {
		if err := add(wideDevice+i, min(seriesPerDevice, z.wide-i*seriesPerDevice), wideDay, z.wideDays); err != nil {
			return err
		}
	}
	if err := add(yearDevice, 1, yearDay, z.yearDays); err != nil {
		return err
	}
	return in.fold(ctx)
}

// warmUps is how often a query is asked before it is measured.
const warmUps = 2

// median asks a query so many times, after those that warm up, and returns the median of the times in ms.
func median(times int, query func() error) (float64, error) {
	took := make([]float64, 0, times)
	for i := range times + warmUps {
		start := time.Now()
		if err := query(); err != nil {
			return 0, err
		}
		if i >= warmUps {
			took = append(took, float64(time.Since(start).Microseconds())/1000)
		}
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// queries asks the engine what people ask.
func (in *seriesRun) queries(ctx context.Context, z seriesSizes) error {
	var wide []lh.Element
	var fleet []*seriesDevice
	var year lh.Element
	for _, d := range in.devices {
		switch {
		case d.number == yearDevice:
			year = d.elements[0]
		case d.number >= wideDevice:
			wide = append(wide, d.elements...)
		default:
			fleet = append(fleet, d)
		}
	}
	r := rand.New(rand.NewPCG(2, 6))
	from, to := lh.DayStart(yearDay), lh.DayStart(int32(yearDay+z.yearDays))
	yearMinutes := int64(z.yearDays * 24 * 60)
	zone, err := time.LoadLocation("Europe/Copenhagen")
	if err != nil {
		return err
	}
	daily, err := calc.NewCalendar(calc.Step{N: 1, Unit: calc.Day}, zone)
	if err != nil {
		return err
	}
	hourly, err := calc.NewCalendar(calc.Step{N: 1, Unit: calc.Hour}, time.UTC)
	if err != nil {
		return err
	}
	for _, q := range []struct {
		name  string
		times int
		ask   func() error
	}{
		{"query_raw_day_ms", 10 * z.queries, func() error {
			d := fleet[r.IntN(len(fleet))]
			el := d.elements[r.IntN(len(d.elements))]
			day := ingestDay + int32(r.IntN(max(z.minutes/(24*60), 1)))
			n := 0
			for _, err := range in.engine.Read(ctx, in.reader, el, lh.DayStart(day), lh.DayStart(day+1)) {
				if err != nil {
					return err
				}
				n++
			}
			return exactly(int64(n), int64(min(24*60, z.minutes)))
		}},
		{"query_year_1000_buckets_ms", z.queries, func() error {
			got, err := in.engine.Reduce(ctx, in.reader, year, from, to, 2000)
			if err != nil {
				return err
			}
			return exactly(got.Count, yearMinutes)
		}},
		{"query_latest_8000_series_ms", z.queries, func() error {
			got, err := in.db.Latest(ctx, in.reader, nil)
			if err != nil {
				return err
			}
			return exactly(int64(len(got)), int64(len(fleet)*seriesPerDevice+len(wide)+1))
		}},
		{"query_50x30d_hourly_ms", z.queries / 2, func() error { return in.hourly(ctx, wide, z.wideDays, hourly) }},
		{"query_year_daily_zone_ms", z.queries, func() error {
			return exactlyUsed(yearMinutes, func(count func(*calc.Stats) error) error {
				return in.engine.Aggregate(ctx, in.reader, year, from, to, series.View{}, daily, calc.Options{}, count)
			})
		}},
	} {
		before, err := processCPU()
		if err != nil {
			return err
		}
		ms, err := median(q.times, q.ask)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		after, err := processCPU()
		if err != nil {
			return err
		}
		in.b.metric(q.name, ms, "ms")
		// What a busy machine disturbs less than the clock.
		in.b.say("%s: %.2f ms of CPU each", q.name, (after-before).Seconds()*1000/float64(q.times+warmUps))
	}
	return nil
}

// hourly asks for the hours of many series, as many at a time as there are processors.
func (in *seriesRun) hourly(ctx context.Context, elements []lh.Element, days int, cal calc.Calendar) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for w := range errs {
		wg.Go(func() {
			for errs[w] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(elements) {
					return
				}
				errs[w] = exactlyUsed(int64(days*24*60), func(count func(*calc.Stats) error) error {
					return in.engine.Aggregate(ctx, in.reader, elements[i], lh.DayStart(wideDay), lh.DayStart(int32(wideDay+days)), series.View{}, cal, calc.Options{}, count)
				})
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// exactlyUsed proves that an aggregation has used so many samples.
func exactlyUsed(want int64, aggregate func(count func(*calc.Stats) error) error) error {
	used := int64(0)
	if err := aggregate(func(s *calc.Stats) error { used += s.Used; return nil }); err != nil {
		return err
	}
	return exactly(used, want)
}

func exactly(got, want int64) error {
	if got != want {
		return fmt.Errorf("the answer has %d, not %d", got, want)
	}
	return nil
}
