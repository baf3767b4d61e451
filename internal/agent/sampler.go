package agent

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/sensor"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/wal"
)

const (
	// maxHeld bounds the records a sensor holds in memory while the log does not take them.
	maxHeld = 4096
	// maxAppend bounds the records of one append.
	maxAppend = 1000
	// minSampleTime is the least time a sensor is given for one sample.
	minSampleTime = 10 * time.Second
	// repeatAfter is when the same complaint is logged again.
	repeatAfter = time.Minute
)

// sampler drives one sensor. Its fields below run's comment are owned by its goroutine.
type sampler struct {
	name     string
	sensor   sensor.Sensor
	interval time.Duration
	append   func(context.Context, ...wal.Record) (uint32, error)
	now      func() time.Time
	log      *slog.Logger

	// of run:
	held []wal.Record // read, and not taken by the log yet

	mu    sync.Mutex
	state SensorStatus
	quiet complaint
}

// run samples until ctx ends.
func (s *sampler) run(ctx context.Context) {
	var last time.Time
	for {
		wait, tick := next(s.now(), last, s.interval)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		last = s.now()
		s.once(ctx, stamp(last, tick, s.interval))
		if took := s.now().Sub(last); took > s.interval {
			s.complain("a sample takes longer than the interval; some are left out", fmt.Errorf("it took %s", took.Round(time.Millisecond)))
		}
	}
}

// next says how long to wait for the next instant of the schedule, which is aligned to the interval in the device's
// wall time, and which instant that is. The wait is at most one and a half intervals of real time whatever the clock
// does, so a clock that is set cannot stall it; and at least half of one since the last sample, so it cannot flood
// either, nor sample one instant twice when the clock was slowed down a little.
func next(now, last time.Time, interval time.Duration) (time.Duration, time.Time) {
	tick := now.Truncate(interval).Add(interval)
	if !last.IsZero() {
		if passed := now.Sub(last); passed+tick.Sub(now) < interval/2 { // passed is monotonic
			tick = tick.Add(interval)
		}
	}
	return tick.Sub(now), tick
}

// stamp is the time a sample carries: the instant it was due, when the device was on time, else what the clock says.
func stamp(now, tick time.Time, interval time.Duration) time.Time {
	if late := now.Round(0).Sub(tick.Round(0)); late >= -interval/10 && late <= min(interval/10, time.Second) {
		return tick
	}
	return now
}

// once takes one sample and puts it into the log.
func (s *sampler) once(ctx context.Context, at time.Time) {
	recs, err := s.read(ctx, at)
	if err != nil && ctx.Err() == nil {
		s.complain("sensor failed", err)
	}
	for _, r := range recs {
		s.held = append(s.held, convert(r))
	}
	// Not ctx: what was read is kept, also when the program is told to stop meanwhile.
	if err = s.keep(context.WithoutCancel(ctx)); err != nil {
		s.complain("the log does not take samples", err)
	}
	if c, ok := s.sensor.(sensor.Committer); ok && err != nil {
		s.held = nil // they come again
	} else if ok && len(recs) > 0 {
		if err := c.Commit(); err != nil {
			s.complain("the sensor's place could not be kept; its records will come again", err)
		}
	}
	if n := len(s.held) - maxHeld; n > 0 {
		s.lose(n)
	}
}

// keep appends what is held. After an error the log does not take records now; what is left stays held.
func (s *sampler) keep(ctx context.Context) error {
	for len(s.held) > 0 {
		n := min(len(s.held), maxAppend)
		_, err := s.append(ctx, s.held[:n]...)
		switch {
		case err == nil:
			s.taken(n)
		case lh.CodeOf(err) != lh.Invalid:
			return err
		default: // one of them can never be sent; it must not take the others with it
			s.complain("the log refused a record", err)
			for range n {
				_, err := s.append(ctx, s.held[0])
				if err != nil && lh.CodeOf(err) != lh.Invalid {
					return err
				}
				if err != nil {
					s.lose(1)
				} else {
					s.taken(1)
				}
			}
		}
	}
	return nil
}

// taken and lose drop the first n held records, which the log has or will never have.
func (s *sampler) taken(n int) {
	s.mu.Lock()
	s.state.Records += int64(n)
	s.state.Last = s.held[n-1].Time
	s.mu.Unlock()
	s.held = slices.Delete(s.held, 0, n)
}

func (s *sampler) lose(n int) {
	s.mu.Lock()
	s.state.Lost += int64(n)
	s.mu.Unlock()
	s.held = slices.Delete(s.held, 0, n)
}

// read asks the sensor, for a bounded time. A driver that panics is a driver that failed; the others go on.
func (s *sampler) read(ctx context.Context, at time.Time) (recs []sensor.Record, err error) {
	ctx, cancel := context.WithTimeout(ctx, max(s.interval, minSampleTime))
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the driver broke down: %v", p)
		}
	}()
	return s.sensor.Sample(ctx, at)
}

func convert(r sensor.Record) wal.Record {
	w := wal.Record{Time: r.Time, Values: make([]wal.Value, len(r.Readings))}
	for i, v := range r.Readings {
		w.Values[i] = wal.Value{Channel: v.Channel, Flag: v.Flag, Value: v.Value}
	}
	return w
}

func (s *sampler) complain(what string, err error) {
	s.mu.Lock()
	s.state.Error, s.state.Failures = what+": "+printable(err.Error()), s.state.Failures+1
	due, since := s.quiet.due(s.now())
	s.mu.Unlock()
	if due {
		s.log.Warn(what, "sensor", s.name, "err", err, "before", since)
	}
}

// status is for the status file.
func (s *sampler) status() SensorStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.state
	st.Name = s.name
	return st
}

// complaint keeps a fault that goes on from filling the log.
type complaint struct {
	last  time.Time
	since int
}

// due reports whether it is time to complain again, and how often it was not since.
func (c *complaint) due(now time.Time) (bool, int) {
	if !c.last.IsZero() && now.Sub(c.last) < repeatAfter {
		c.since++
		return false, 0
	}
	n := c.since
	c.last, c.since = now, 0
	return true, n
}
