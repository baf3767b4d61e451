package series_test

import (
	"math"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// BenchmarkBacklog is 64 devices that upload their backlogs at once, until everything is folded. One op is one upload
// of 1,000 records of six channels. It reports samples and processor time, since a shared machine's clock says little.
func BenchmarkBacklog(b *testing.B) {
	const devices, records = 64, 1000
	channels := []string{"level", "temperature", "conductivity", "rain", "humidity", "battery"}
	db := storetest.Open(b, storetest.SQLite(b))
	sc := storetest.Project(b, db)
	loggers := make([]*logger, devices)
	for i := range loggers {
		loggers[i] = newLogger(b, db, sc, channels...)
	}
	uploads := make([]series.Upload, b.N)
	for i := range uploads {
		l := loggers[i%devices]
		r := rand.New(rand.NewPCG(uint64(i), 1))
		rs := make([]wire.Record, records)
		for k := range rs {
			x := float64(i/devices*records + k)
			rs[k] = record(lh.DayStart(20000)+lh.Millis(x)*60_000, math.Round(1200+300*math.Sin(x/500)+r.NormFloat64()*2)/1000,
				math.Round(900-200*math.Cos(x/229)+r.NormFloat64()*3)/100, math.Round(4200+r.NormFloat64()*8)/10, math.Round(x/50)/5,
				math.Round(780+150*math.Cos(x/229)+r.NormFloat64()*4)/10, math.Round(1290+r.NormFloat64())/100)
		}
		uploads[i] = l.upload(b, l.seq, rs...)
		l.seq += records
	}
	e, _ := start(b, db, series.Options{FoldAge: 10 * time.Second})
	b.ReportAllocs()
	b.ResetTimer()
	used := cpuSeconds(b)
	var wg sync.WaitGroup
	for d := range devices {
		wg.Go(func() {
			for i := d; i < len(uploads); i += devices {
				if err := e.Append(ctx, uploads[i]); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	acked := b.Elapsed().Seconds()
	if err := e.FoldNow(ctx); err != nil {
		b.Fatal(err)
	}
	samples := float64(b.N * records * len(channels))
	b.ReportMetric(samples/acked, "samples/s-acked")
	b.ReportMetric(samples/b.Elapsed().Seconds(), "samples/s-folded")
	b.ReportMetric((cpuSeconds(b)-used)/samples*1e6, "cpu-s/M")
}

// BenchmarkLive is 200 devices that each send one record of six channels at a time and wait for its commit. One op is
// one record.
func BenchmarkLive(b *testing.B) {
	const devices = 200
	db := storetest.Open(b, storetest.SQLite(b))
	sc := storetest.Project(b, db)
	loggers := make([]*logger, devices)
	for i := range loggers {
		loggers[i] = newLogger(b, db, sc, "level", "temperature", "conductivity", "rain", "humidity", "battery")
	}
	e, _ := start(b, db, series.Options{FoldAge: 10 * time.Second})
	b.ReportAllocs()
	b.ResetTimer()
	used := cpuSeconds(b)
	var wg sync.WaitGroup
	for d, l := range loggers {
		wg.Go(func() {
			for i := d; i < b.N; i += devices {
				u := l.upload(b, l.seq, record(lh.DayStart(20000)+lh.Millis(i/devices)*60_000, 1.234, 8.31, 420.5, 12.2, 78.1, 12.91))
				l.seq++
				if err := e.Append(ctx, u); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	acked := b.Elapsed().Seconds()
	if err := e.FoldNow(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/acked, "uploads/s")
	b.ReportMetric((cpuSeconds(b)-used)/float64(b.N)*1e6, "cpu-µs/op")
}

// cpuSeconds is the processor time the process has used.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// yearOf stores a year of minutes of one element.
func yearOf(b *testing.B) (*series.Engine, store.Scope, lh.Element, lh.Millis) {
	db := storetest.Open(b, storetest.SQLite(b))
	sc := storetest.Project(b, db)
	l := newLogger(b, db, sc, "level")
	e, _ := start(b, db, series.Options{})
	r := rand.New(rand.NewPCG(7, 7))
	from := lh.DayStart(20089)
	v := 0.
	for d := range yearDays {
		rs := make([]wire.Record, 24*60)
		for k := range rs {
			x := float64(d*24*60 + k)
			v = 0.98*v + 4*r.NormFloat64()
			rs[k] = record(from+lh.Millis(x)*60_000, math.Round(2200+400*math.Sin(2*math.Pi*x/1440)+v)/1000)
		}
		if err := e.Append(ctx, l.upload(b, l.seq, rs...)); err != nil {
			b.Fatal(err)
		}
		l.seq += uint32(len(rs))
	}
	if err := e.FoldNow(ctx); err != nil {
		b.Fatal(err)
	}
	l.elements[0].Interval = 60_000
	return e, sc, l.elements[0], from
}

const yearDays = 365

// measure runs ask b.N times and reports processor time.
func measure(b *testing.B, ask func() (int64, error), want int64) {
	b.ReportAllocs()
	b.ResetTimer()
	used := cpuSeconds(b)
	for b.Loop() {
		if got, err := ask(); err != nil || got != want {
			b.Fatal(got, err)
		}
	}
	b.ReportMetric((cpuSeconds(b)-used)/float64(b.N)*1e3, "cpu-ms/op")
}

// BenchmarkQueries asks a year of minutes what people ask. One op is one answer.
func BenchmarkQueries(b *testing.B) {
	e, sc, el, from := yearOf(b)
	zone, err := time.LoadLocation("Europe/Copenhagen")
	if err != nil {
		b.Fatal(err)
	}
	statistics := func(days int, unit calc.Unit, loc *time.Location) func() (int64, error) {
		cal, err := calc.NewCalendar(calc.Step{N: 1, Unit: unit}, loc)
		if err != nil {
			b.Fatal(err)
		}
		return func() (used int64, err error) {
			err = e.Aggregate(ctx, sc, el, from, from+lh.Millis(days)*lh.DayMillis, series.View{}, cal, calc.Options{}, func(s *calc.Stats) error {
				used += s.Used
				return nil
			})
			return used, err
		}
	}
	b.Run("day", func(b *testing.B) {
		measure(b, func() (n int64, err error) {
			for _, err := range e.Read(ctx, sc, el, from+100*lh.DayMillis, from+101*lh.DayMillis) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		}, 1440)
	})
	b.Run("year", func(b *testing.B) {
		measure(b, func() (int64, error) {
			got, err := e.Reduce(ctx, sc, el, from, from+yearDays*lh.DayMillis, 2000)
			return got.Count, err
		}, yearDays*1440)
	})
	months, err := calc.NewCalendar(calc.Step{N: 1, Unit: calc.Month}, zone)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("year-monthly-simple", func(b *testing.B) {
		measure(b, func() (used int64, err error) {
			err = e.Aggregate(ctx, sc, el, from, from+yearDays*lh.DayMillis, series.View{}, months, calc.Options{Simple: true}, func(s *calc.Stats) error {
				used += s.Used
				return nil
			})
			return used, err
		}, yearDays*1440)
	})
	b.Run("month-hourly", func(b *testing.B) { measure(b, statistics(30, calc.Hour, time.UTC), 30*1440) })
	b.Run("year-daily-zone", func(b *testing.B) { measure(b, statistics(yearDays, calc.Day, zone), yearDays*1440) })
}

// BenchmarkSparse asks 60 years of one value a day for a chart and its yearly means, and tells what a sample takes.
func BenchmarkSparse(b *testing.B) {
	db := storetest.Open(b, storetest.SQLite(b))
	sc := storetest.Project(b, db)
	l := newLogger(b, db, sc, "rain")
	e, _ := start(b, db, series.Options{})
	const days = 60 * 365
	from := lh.DayStart(-2000)
	before, err := db.Size(ctx)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 8))
	var rs []wire.Record
	for d := range days {
		rs = append(rs, record(from+lh.Millis(d)*lh.DayMillis+7*3_600_000, float64(r.IntN(400))/10))
		if len(rs) == 5000 || d == days-1 {
			if err := e.Append(ctx, l.upload(b, l.seq, rs...)); err != nil {
				b.Fatal(err)
			}
			l.seq += uint32(len(rs))
			rs = rs[:0]
		}
	}
	if err := e.FoldNow(ctx); err != nil {
		b.Fatal(err)
	}
	after, err := db.Size(ctx)
	if err != nil {
		b.Fatal(err)
	}
	years, err := calc.NewCalendar(calc.Step{N: 1, Unit: calc.Year}, time.UTC)
	if err != nil {
		b.Fatal(err)
	}
	l.elements[0].Interval = lh.DayMillis
	b.Run("chart", func(b *testing.B) {
		measure(b, func() (int64, error) {
			got, err := e.Reduce(ctx, sc, l.elements[0], from, from+days*lh.DayMillis, 2000)
			return got.Count, err
		}, days)
		b.ReportMetric(float64(after.Used-before.Used)/days, "bytes/sample")
	})
	b.Run("yearly", func(b *testing.B) {
		measure(b, func() (used int64, err error) {
			err = e.Aggregate(ctx, sc, l.elements[0], from, from+days*lh.DayMillis, series.View{}, years, calc.Options{}, func(s *calc.Stats) error {
				used += s.Used
				return nil
			})
			return used, err
		}, days)
	})
}
