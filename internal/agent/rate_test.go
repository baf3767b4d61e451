package agent_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/wal"
)

// TestBacklog uploads a backlog of some months to a real hub, all of it and once.
func TestBacklog(t *testing.T) {
	const records = 40_000
	h := startHub(t)
	l := h.newLogger("T-1", "  - {type: simulator, interval: 1h}\n", "")
	log, err := wal.Open(filepath.Join(l.dir, "data", "samples"), wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	begin := lh.MillisOf(time.Now()) - records*60_000
	for i := 0; i < records; i += 1000 {
		recs := make([]wal.Record, 1000)
		for k := range recs {
			n := i + k
			recs[k] = wal.Record{Time: begin + lh.Millis(n)*60_000, Values: []wal.Value{
				{Channel: "1/water_level", Flag: lh.FlagGood, Value: float64(n%4000) / 1000}, {Channel: "1/temperature", Flag: lh.FlagGood, Value: float64(n%300) / 10},
				{Channel: "2/conductivity", Flag: lh.FlagGood, Value: float64(n % 500)}, {Channel: "0/battery_voltage", Flag: lh.FlagGood, Value: 12.5 + float64(n%10)/10}}}
		}
		if _, err := log.Append(context.Background(), recs...); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	stop := l.start(nil)
	until(t, "all acknowledged", func() bool { return l.status().Samples.Acked >= records })
	took := time.Since(began)
	t.Logf("%d samples in %s: %.0f a second", 4*records, took.Round(time.Millisecond), 4*records/took.Seconds())
	stop()
	l.sameAtHub()
}
