package wire

import (
	"fmt"
	"math"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// BenchmarkStation reads batches of six channels into reused memory, as ingest does.
func BenchmarkStation(b *testing.B) {
	for _, records := range []int{1, 1000} {
		b.Run(fmt.Sprint(records), func(b *testing.B) {
			in := Batch{Log: 1, First: 1, Sent: 1700000000000, Channels: []string{"1/water_level", "2/temperature", "3/conductivity", "4/rain", "5/humidity", "0/battery_voltage"}}
			for i := range records {
				r := Record{Time: 1700000000000 + lh.Millis(i)*60000}
				for c := range in.Channels {
					r.Values = append(r.Values, Value{Channel: uint16(c), Flag: lh.FlagGood, Value: math.Round(1000*math.Sin(float64(i*7+c))) / 100})
				}
				in.Records = append(in.Records, r)
			}
			data, err := in.Append(nil)
			if err != nil {
				b.Fatal(err)
			}
			var out Batch
			b.ReportAllocs()
			for b.Loop() {
				if err := Decode(&out, data); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(records*len(in.Channels)), "ns/value")
		})
	}
}
