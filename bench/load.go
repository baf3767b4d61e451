package main

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// channel is one sensor of a benchmark's station.
type channel struct {
	key, quantity, unit string
	digits              int
}

// station is what a datalogger at a stream measures. The values of weather fit it, by index.
func station() []channel {
	return []channel{
		{"1/water_level", "water_level", "m", 3},
		{"2/temperature", "temperature", "Cel", 2},
		{"3/conductivity", "conductivity", "uS/cm", 1},
		{"4/rain", "rain", "mm", 1},
		{"5/humidity", "humidity", "%", 1},
		{"0/battery_voltage", "battery_voltage", "V", 2},
	}
}

// weather makes a station's values: daily and yearly waves, slow wandering and the noise of real sensors, rounded to
// the decimals they tell. The same seed gives the same values.
type weather struct {
	r             *rand.Rand
	wander, flood float64
	rain, battery float64
}

func newWeather(seed int) *weather {
	return &weather{r: rand.New(rand.NewPCG(uint64(seed), 0x10663e4d)), battery: 12.9}
}

// at returns the values at a time; times must be asked for in their order.
func (s *weather) at(t lh.Millis, values []float64) {
	day := 2 * math.Pi * float64(t%lh.DayMillis) / lh.DayMillis
	year := 2 * math.Pi * float64(t.Day()%365) / 365
	s.wander += s.r.NormFloat64()*0.002 - s.wander*0.0001
	s.flood *= 0.999
	if s.r.Float64() < 0.002 { // a shower
		s.rain += 0.2 * float64(1+s.r.IntN(5))
		s.flood += 0.02
	}
	s.battery += 0.0004*math.Max(0, -math.Cos(day)) - 0.00012
	s.battery = min(max(s.battery, 11.8), 14.2)
	round := func(v float64, digits int) float64 { p := math.Pow10(digits); return math.Round(v*p) / p }
	values[0] = round(1.2+s.wander+s.flood+0.03*math.Sin(day)+s.r.NormFloat64()*0.0015, 3)
	values[1] = round(9-7*math.Cos(year)-2*math.Cos(day)+s.wander*3+s.r.NormFloat64()*0.02, 2)
	values[2] = round(420-600*s.flood+25*math.Sin(day)+s.r.NormFloat64()*0.8, 1)
	values[3] = round(s.rain, 1)
	values[4] = round(min(100, 78+15*math.Cos(day)+s.wander*20+s.r.NormFloat64()*0.4), 1)
	values[5] = round(s.battery+s.r.NormFloat64()*0.006, 2)
}

// backlog is the batches of a device that was offline: one record a minute from first on.
func backlog(d *device, channels []channel, first lh.Millis, batches, records int) ([][]byte, error) {
	s := newWeather(d.index)
	var values [6]float64
	t := first
	out := make([][]byte, batches)
	batch := wire.Batch{Log: d.log, Sent: first}
	for _, c := range channels {
		batch.Channels = append(batch.Channels, c.key)
	}
	all := make([]wire.Value, records*len(channels))
	batch.Records = make([]wire.Record, records)
	for i := range out {
		batch.First = d.next
		for k := range batch.Records {
			s.at(t, values[:])
			vs := all[k*len(channels) : (k+1)*len(channels)]
			for c := range vs {
				vs[c] = wire.Value{Channel: uint16(c), Flag: lh.FlagGood, Value: values[c]}
			}
			batch.Records[k] = wire.Record{Time: t, Values: vs}
			t += 60_000
		}
		d.next += uint32(records)
		var err error
		if out[i], err = batch.Append(nil); err != nil {
			return nil, fmt.Errorf("batch %d of %s: %w", i, d.serial, err)
		}
	}
	return out, nil
}

// stamp writes the device's clock of now into a batch that was encoded ahead of time (docs/format/batch.md): the
// field "sent" behind magic, log and first, and the checksum at the end. Milliseconds of our age all have six bytes.
func stamp(batch []byte, now lh.Millis) error {
	_, n := binary.Uvarint(batch[12:])
	var sent [binary.MaxVarintLen64]byte
	size := binary.PutVarint(sent[:], int64(now))
	if _, old := binary.Varint(batch[12+n:]); old != size {
		return fmt.Errorf("the batch's clock has %d bytes, now has %d", old, size)
	}
	copy(batch[12+n:], sent[:size])
	body := batch[:len(batch)-4]
	binary.LittleEndian.PutUint32(batch[len(body):], crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	return nil
}
