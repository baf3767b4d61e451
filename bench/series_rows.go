package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// rowCommit is how many samples the point-per-row table takes in one commit: as many as a full group of uploads has.
const rowCommit = 512 * 8 * 37

// seriesRows measures a table of one row per sample in the same engine, to see what chunks are worth: the first minutes
// of the same devices in, and the same questions on as many samples.
func (b *bench) seriesRows(ctx context.Context, z seriesSizes) (err error) {
	folder := filepath.Join(b.dir, "rows")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	path := filepath.Join(folder, "points.db")
	p, err := storetest.OpenPoints(ctx, path)
	if err != nil {
		return err
	}
	defer func() {
		if p != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	n := int64(z.devices * seriesPerDevice)
	all, err := rowWorkload(z)
	if err != nil {
		return err
	}
	before, err := processCPU()
	if err != nil {
		return err
	}
	start := time.Now()
	for part := 0; part < len(all); part += rowCommit {
		if err := p.Append(ctx, all[part:min(part+rowCommit, len(all))]); err != nil {
			return err
		}
	}
	took := time.Since(start)
	after, err := processCPU()
	if err != nil {
		return err
	}
	samples := float64(len(all))
	all = nil
	b.metric("row_series_ingest_samples_per_s", samples/took.Seconds(), "samples/s")
	b.metric("row_series_cpu_s_per_million", (after-before).Seconds()/samples*1e6, "s")
	for s := range n {
		if got, err := p.Count(ctx, s, 0, lh.MaxMillis); err != nil || got != int64(z.rowMinutes) {
			return errors.Join(fmt.Errorf("series %d has %d samples, not %d", s, got, z.rowMinutes), err)
		}
	}
	if err := p.Checkpoint(ctx); err != nil {
		return err
	}
	bytes, err := folderBytes(folder)
	if err != nil {
		return err
	}
	b.metric("row_series_bytes_per_sample", float64(bytes)/float64(n*int64(z.rowMinutes)), "bytes")
	b.say("%.0f rows in %.1fs, %d bytes", samples, took.Seconds(), bytes)
	if err := rowWide(ctx, p, z, n); err != nil {
		return err
	}
	return b.rowQueries(ctx, p, z, n)
}

// rowWorkload makes the first minutes of all devices as uploads would bring them: device by device some dozens of
// minutes, then the next dozens.
func rowWorkload(z seriesSizes) ([]storetest.Point, error) {
	const piece = 37
	waves := make([]*wave, z.devices*seriesPerDevice)
	for i := range waves {
		waves[i] = newWave(i/seriesPerDevice, i%seriesPerDevice)
	}
	var all []storetest.Point
	for m := 0; m < z.rowMinutes; m += piece {
		for i, w := range waves {
			for k := m; k < min(m+piece, z.rowMinutes); k++ {
				all = append(all, storetest.Point{Series: int64(i), Sample: lh.Sample{Time: lh.DayStart(ingestDay) + lh.Millis(k)*minute,
					Value: w.next(k), Flag: lh.FlagGood, Rank: lh.RankOf(1, uint32(k+1))}})
			}
		}
	}
	return all, nil
}

// rowWide stores what the wide queries ask for, as series from n on: the year last.
func rowWide(ctx context.Context, p *storetest.Points, z seriesSizes, n int64) error {
	add := func(series int64, device, channel, day, days int) error {
		w := newWave(device, channel)
		points := make([]storetest.Point, days*24*60)
		for m := range points {
			points[m] = storetest.Point{Series: series, Sample: lh.Sample{Time: lh.DayStart(int32(day)) + lh.Millis(m)*minute, Value: w.next(m), Flag: lh.FlagGood, Rank: lh.RankOf(1, uint32(m+1))}}
		}
		return p.Append(ctx, points)
	}
	for i := range z.wide {
		if err := add(n+int64(i), wideDevice+i/seriesPerDevice, i%seriesPerDevice, wideDay, z.wideDays); err != nil {
			return err
		}
	}
	return add(n+int64(z.wide), yearDevice, 0, yearDay, z.yearDays)
}

// cuts are where a calendar cuts days.
func cuts(cal calc.Calendar, day, days int) []lh.Millis {
	at, end := lh.DayStart(int32(day)), lh.DayStart(int32(day+days))
	out := []lh.Millis{at}
	for at < end {
		at = min(cal.Next(at), end)
		out = append(out, at)
	}
	return out
}

func (b *bench) rowQueries(ctx context.Context, p *storetest.Points, z seriesSizes, n int64) error {
	year := n + int64(z.wide)
	from, to := lh.DayStart(yearDay), lh.DayStart(int32(yearDay+z.yearDays))
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
	days, hours := cuts(daily, yearDay, z.yearDays), cuts(hourly, wideDay, z.wideDays)
	r := rand.New(rand.NewPCG(2, 6))
	times := max(z.queries/8, 2)
	for _, q := range []struct {
		name  string
		times int
		ask   func() error
	}{
		{"row_query_raw_day_ms", z.queries, func() error { // of a month: the flow is shorter than a day here
			day := wideDay + int32(r.IntN(z.wideDays))
			got, err := p.Read(ctx, n+int64(r.IntN(z.wide)), lh.DayStart(day), lh.DayStart(day+1))
			if err != nil {
				return err
			}
			return exactly(int64(len(got)), 24*60)
		}},
		{"row_query_year_1000_buckets_ms", times, func() error {
			got, err := p.Extremes(ctx, year, from, to, 1000)
			if err != nil {
				return err
			}
			return exactly(got, int64(z.yearDays*24*60))
		}},
		{"row_query_latest_8000_series_ms", times, func() error {
			got, err := p.Latest(ctx, n)
			if err != nil {
				return err
			}
			return exactly(got, n)
		}},
		{"row_query_50x30d_hourly_ms", max(times/2, 1), func() error {
			for i := range int64(z.wide) {
				got, err := p.Statistics(ctx, n+i, hours)
				if err != nil {
					return err
				}
				if err := exactly(got, int64(z.wideDays*24*60)); err != nil {
					return err
				}
			}
			return nil
		}},
		{"row_query_year_daily_zone_ms", times, func() error {
			got, err := p.Statistics(ctx, year, days)
			if err != nil {
				return err
			}
			return exactly(got, int64(z.yearDays*24*60))
		}},
	} {
		ms, err := median(q.times, q.ask)
		if err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		b.metric(q.name, ms, "ms")
	}
	return nil
}
