package sensor

import (
	"context"
	"math"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// maxHistory bounds how far back the first sample goes, maxBacklog how many records it brings.
const (
	maxHistory = 31 * 24 * time.Hour
	maxBacklog = 100_000
)

// simulator is a station in a [world]. All but the rain counter and what a wrong clock says is a function of the seed
// and the time, so that a station that is started again goes on as the same.
type simulator struct {
	w       *world
	speed   float64
	every   time.Duration
	gaps    bool
	faults  bool
	history time.Duration
	step    time.Duration // between records of the history

	started time.Time // the counter began here; zero before the first sample
	last    float64   // world time up to which rain is counted
	rain    float64   // mm
}

func newSimulator(c *Simulator, interval time.Duration) (Sensor, error) {
	if c == nil {
		c = &Simulator{}
	}
	s := &simulator{w: newWorld(c.Seed), speed: c.Speed, every: interval, gaps: c.Gaps == nil || *c.Gaps, faults: c.ClockFaults,
		history: c.History, step: c.HistoryInterval}
	if s.speed == 0 {
		s.speed = 1
	}
	if s.step == 0 {
		s.step = interval
	}
	switch {
	case !(s.speed >= 1 && s.speed <= 3600):
		return nil, lh.Errorf(lh.Invalid, "speed: it is 1 to 3600, not %v", c.Speed)
	case s.history < 0 || s.history > maxHistory:
		return nil, lh.Errorf(lh.Invalid, "history: it is at most %v, not %v", maxHistory, c.History)
	case s.step < MinInterval || s.history/s.step > maxBacklog:
		return nil, lh.Errorf(lh.Invalid, "history: it has more than %d records; make history_interval longer", maxBacklog)
	}
	return s, nil
}

func (s *simulator) Close() error { return nil }

func (s *simulator) Channels() []wire.ManifestChannel {
	every := s.every.Milliseconds()
	c := func(key, name, quantity, unit string, digits int, meaning lh.Meaning) wire.ManifestChannel {
		return wire.ManifestChannel{Key: key, Name: name, Quantity: quantity, Unit: unit, Digits: digits, Interval: every, Meaning: meaning}
	}
	return []wire.ManifestChannel{
		c("1/water_level", "Water level", "water_level", "m", 3, lh.Instantaneous),
		c("1/temperature", "Water temperature", "temperature", "Cel", 2, lh.Instantaneous),
		c("2/conductivity", "Conductivity", "conductivity", "uS/cm", 1, lh.Instantaneous),
		c("3/rain", "Rain", "rain", "mm", 1, lh.Counter),
		c("0/battery_voltage", "Battery", "battery_voltage", "V", 2, lh.Instantaneous),
	}
}

func (s *simulator) Sample(ctx context.Context, now time.Time) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var out []Record
	if s.started.IsZero() {
		s.started = now
		if s.history > 0 {
			// Whole steps, so that a station that is started again has its history at the same instants.
			at := now.Add(-s.history).Truncate(s.step)
			s.started = at
			for ; lh.MillisOf(at) < lh.MillisOf(now); at = at.Add(s.step) {
				if err := ctx.Err(); err != nil {
					s.started, s.last, s.rain = time.Time{}, 0, 0 // the next sample begins anew
					return nil, err
				}
				out = s.record(out, at, s.step)
			}
		}
	}
	return s.record(out, now, s.every), nil
}

// The kinds of chance of the station itself; those of its world are in world.go.
const (
	chanceOutage = 100 + iota
	chanceOutageStart
	chanceOutageLength
	chanceChannel
	chanceFault
	chanceFaultPlace
	chanceFaultKind
	chanceNoise // and the numbers behind it, one for each channel
)

// record adds the record of an instant, if there is one.
func (s *simulator) record(out []Record, now time.Time, every time.Duration) []Record {
	at := lh.MillisOf(now)
	t := s.world(now)
	s.count(t)
	index := int64(at) / every.Milliseconds()
	if s.gaps && s.outage(index) {
		return out
	}
	level := s.w.level(t)
	noise := func(n int64) float64 { return s.w.gauss(chanceNoise+uint64(n), int64(at)) }
	values := [...]struct {
		channel string
		v       float64
		digits  float64
	}{
		{"1/water_level", level + 0.0015*noise(0), 1e3},
		{"1/temperature", s.w.temperature(t) + 0.02*noise(1), 1e2},
		{"2/conductivity", s.w.conductivity(level) * (1 + 0.004*noise(2)), 1e1},
		{"3/rain", math.Floor(s.rain/bucket) / 5, 1e1},
		{"0/battery_voltage", s.w.voltage(t) + 0.008*noise(3), 1e2},
	}
	r := Record{Time: at, Readings: make([]Reading, 0, len(values))}
	for i, v := range values {
		if s.gaps && s.w.chance(chanceChannel, int64(at)*8+int64(i)) < 0.004 {
			continue // this sensor did not answer
		}
		r.Readings = append(r.Readings, Reading{Channel: v.channel, Value: math.Round(v.v*v.digits) / v.digits, Flag: lh.FlagNotEvaluated})
	}
	if s.faults {
		r.Time = s.fault(index, at)
	}
	if len(r.Readings) == 0 {
		return out
	}
	return append(out, r)
}

// world returns the world's time, in seconds since 1970, at an instant. In a faster world it runs away from ours since
// 2026.
func (s *simulator) world(now time.Time) float64 {
	const anchor = 1767225600
	return anchor + (float64(now.UnixMilli())/1000-anchor)*s.speed
}

// bucket is the rain that tips the gauge, in mm.
const bucket = 0.2

// count adds the rain since the last sample. A clock that went back adds none.
func (s *simulator) count(t float64) {
	if s.last == 0 {
		s.last = s.world(s.started)
	}
	if t <= s.last {
		return
	}
	const most = 40 * day // of a clock that jumped
	s.rain += s.w.rain(max(s.last, t-most), t)
	s.last = t
}

// outage reports whether sample number index is in a pause of the station: in half of all rows of 200 samples, 3 to 8 are
// missing.
func (s *simulator) outage(index int64) bool {
	const row = 200
	k, i := index/row, index%row
	if s.w.chance(chanceOutage, k) >= 0.5 {
		return false
	}
	from := int64(s.w.chance(chanceOutageStart, k) * (row - 8))
	return i >= from && i < from+3+int64(s.w.chance(chanceOutageLength, k)*6)
}

// fault returns what the station's clock says at an instant: in most rows of 90 samples it is wrong once.
func (s *simulator) fault(index int64, at lh.Millis) lh.Millis {
	const row = 90
	k, i := index/row, index%row
	if s.w.chance(chanceFault, k) >= 0.7 || i != int64(s.w.chance(chanceFaultPlace, k)*row) {
		return at
	}
	up := at - lh.MillisOf(s.started)
	switch int(s.w.chance(chanceFaultKind, k) * 3) {
	case 0:
		return 5000 + up // it was reset and began at 1970
	case 1:
		return at - 3_600_000 + 137 // summer time that is none; beside the samples of that hour, not in their place
	}
	return 2_085_978_496_000 + up // 2036-02-07T06:28:16Z, where NTP's seconds begin again at 0
}
