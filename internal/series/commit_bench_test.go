package series_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// BenchmarkCommitWait shows what the bound of a group commit's wait does: devices send a record of eight values each,
// the next when the last is acknowledged. An operation is an upload.
func BenchmarkCommitWait(b *testing.B) {
	for _, devices := range []int{1, 20, 200} {
		for _, wait := range []time.Duration{-1, time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond} {
			b.Run(fmt.Sprintf("devices=%d/wait=%s", devices, max(wait, 0)), func(b *testing.B) {
				db := storetest.Open(b, storetest.SQLite(b))
				sc := storetest.Project(b, db)
				metrics := prometheus.NewRegistry()
				e, _ := start(b, db, series.Options{CommitWait: wait, Registerer: metrics})
				var loggers []*logger
				for range devices {
					loggers = append(loggers, newLogger(b, db, sc, "a", "b", "c", "d", "e", "f", "g", "h"))
				}
				took := make([][]time.Duration, devices)
				b.ResetTimer()
				before := cpuSeconds(b)
				var wg sync.WaitGroup
				for d, l := range loggers {
					wg.Go(func() {
						for i := d; i < b.N; i += devices {
							u := l.upload(b, l.seq, record(lh.DayStart(20000)+lh.Millis(l.seq)*60_000, 1, 2, 3, 4, 5, 6, 7, 8))
							l.seq++
							at := time.Now()
							if err := e.Append(ctx, u); err != nil {
								b.Error(err)
								return
							}
							took[d] = append(took[d], time.Since(at))
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				all := slices.Concat(took...)
				slices.Sort(all)
				commits := 0.0
				families, err := metrics.Gather()
				if err != nil {
					b.Fatal(err)
				}
				for _, f := range families {
					if f.GetName() == "loggerhead_series_commits_total" {
						commits = f.GetMetric()[0].GetCounter().GetValue()
					}
				}
				b.ReportMetric(float64(b.N)/commits, "uploads/sync")
				b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms-median")
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "ms-p99")
				b.ReportMetric((cpuSeconds(b)-before)*1e6/float64(b.N), "µs-cpu/op")
				b.ReportMetric(float64(b.N*8)/b.Elapsed().Seconds(), "samples/s")
			})
		}
	}
}
