package agent

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/sensor"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/wal"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// fakeSensor is a sensor made of a function.
type fakeSensor func(ctx context.Context, now time.Time) ([]sensor.Record, error)

func (f fakeSensor) Channels() []wire.ManifestChannel { return nil }
func (f fakeSensor) Close() error                     { return nil }
func (f fakeSensor) Sample(ctx context.Context, now time.Time) ([]sensor.Record, error) {
	return f(ctx, now)
}

// fakeLog keeps what is appended.
type fakeLog struct {
	err  error
	recs []wal.Record
}

func (f *fakeLog) append(_ context.Context, recs ...wal.Record) (uint32, error) {
	for _, r := range recs {
		if r.Values[0].Value == 13 {
			return 0, lh.Errorf(lh.Invalid, "thirteen")
		}
	}
	if f.err != nil {
		return 0, f.err
	}
	f.recs = append(f.recs, recs...)
	return 0, nil
}

func one(now time.Time, v float64) []sensor.Record {
	return []sensor.Record{{Time: lh.MillisOf(now), Readings: []sensor.Reading{{Channel: "1/x", Value: v, Flag: lh.FlagGood}}}}
}

func newSampler(s sensor.Sensor, l *fakeLog, interval time.Duration) *sampler {
	return &sampler{name: "x", sensor: s, interval: interval, append: l.append, now: time.Now, log: slog.New(slog.DiscardHandler)}
}

// TestSchedule samples at the instants of the wall clock, whatever one sample takes.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1234 * time.Millisecond)
		var l fakeLog
		n := 0
		s := newSampler(fakeSensor(func(ctx context.Context, now time.Time) ([]sensor.Record, error) {
			switch n++; n {
			case 3:
				time.Sleep(25 * time.Second) // two instants are missed
			case 6:
				panic("driver")
			case 7:
				return nil, errors.New("no answer")
			case 8:
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return one(now, 1), nil
		}), &l, 10*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		s.run(ctx)
		var got []int
		for _, r := range l.recs {
			if r.Time%10000 != 0 {
				t.Errorf("a sample at %s", r.Time.Time())
			}
			got = append(got, r.Time.Time().Second()+60*(r.Time.Time().Minute()))
		}
		want := []int{10, 20, 30, 60, 70, 120} // one hangs from 100 to 110
		if len(got) != len(want) {
			t.Fatalf("samples at %v, not %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("samples at %v, not %v", got, want)
			}
		}
		if st := s.status(); st.Records != int64(len(want)) || st.Failures != 4 || st.Error == "" {
			t.Errorf("%+v", st)
		}
	})
}

// TestClockJumps sets the clock to and fro: the waits stay between half an interval and one and a half.
func TestClockJumps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, interval := range []time.Duration{100 * time.Millisecond, time.Second, time.Minute, time.Hour} {
		now := time.Date(2026, 11, 24, 12, 0, 0, 1, time.UTC)
		var last time.Time
		for range 2000 {
			wait, tick := next(now, last, interval)
			if wait <= 0 || wait > interval*3/2 {
				t.Fatalf("at %s it waits %s for %s", now, wait, tick)
			}
			if !last.IsZero() && now.Add(wait).Sub(last) < interval/2 {
				t.Fatalf("samples at %s and %s", last, now.Add(wait))
			}
			woke := now.Add(wait + time.Duration(r.Int64N(int64(interval/20))) - interval/40) // the timer is not exact
			at := stamp(woke, tick, interval)
			if !at.Equal(tick) && !at.Equal(woke) {
				t.Fatalf("woke at %s for %s, and the sample says %s", woke, tick, at)
			}
			last = woke
			now = woke.Add(time.Duration(r.Int64N(int64(interval / 10))))
			if r.IntN(10) == 0 { // The clock is set. Both move, as the monotonic clock would leave their distance.
				d := time.Duration(r.Int64N(int64(48*time.Hour))) - 24*time.Hour
				now, last = now.Add(d), last.Add(d)
			}
		}
	}
	tick := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for late, exact := range map[time.Duration]bool{0: true, 3 * time.Millisecond: true, 900 * time.Millisecond: true, 2 * time.Second: false,
		-2 * time.Second: true, -time.Hour: false, 10 * 365 * 24 * time.Hour: false} {
		if got := stamp(tick.Add(late), tick, time.Minute); got.Equal(tick) != exact && late != 0 {
			t.Errorf("%s late: the sample says %s", late, got)
		}
	}
}

// TestLogRefuses has a log that takes nothing for a while, and never one record: no other is lost.
func TestLogRefuses(t *testing.T) {
	var l fakeLog
	v := 0.0
	s := newSampler(fakeSensor(func(_ context.Context, now time.Time) ([]sensor.Record, error) {
		v++
		return one(now, v), nil
	}), &l, time.Second)
	l.err = wal.ErrFull
	for range 20 {
		s.once(t.Context(), time.Now())
	}
	if len(l.recs) != 0 || len(s.held) != 20 {
		t.Fatalf("%d taken, %d held", len(l.recs), len(s.held))
	}
	l.err = nil
	s.once(t.Context(), time.Now())
	if len(l.recs) != 20 || len(s.held) != 0 || s.status().Lost != 1 || s.status().Records != 20 {
		t.Fatalf("%d taken, %d held, %+v", len(l.recs), len(s.held), s.status())
	}
	l.err = wal.ErrFull
	for range maxHeld + 50 {
		s.once(t.Context(), time.Now())
	}
	if len(s.held) != maxHeld || s.status().Lost != 51 || s.held[maxHeld-1].Values[0].Value != v {
		t.Errorf("%d held, %+v", len(s.held), s.status())
	}
	l.err = nil
	s.once(t.Context(), time.Now())
	if len(s.held) != 0 || s.status().Records != 20+maxHeld+1 {
		t.Errorf("%d held, %+v", len(s.held), s.status())
	}
}

// committing is a sensor with a place of its own: it gives what was not committed again.
type committing struct {
	fakeSensor
	place, given int
}

func (c *committing) Commit() error { c.place = c.given; return nil }

// TestCommit keeps a sensor's place only after its records are in the log, and then takes each once.
func TestCommit(t *testing.T) {
	var l fakeLog
	c := &committing{}
	c.fakeSensor = func(_ context.Context, now time.Time) ([]sensor.Record, error) {
		c.given = c.place + 1
		return one(now, float64(100+c.given)), nil
	}
	s := newSampler(c, &l, time.Second)
	for i := range 30 {
		l.err = nil
		if i%3 != 0 {
			l.err = wal.ErrFull
		}
		s.once(t.Context(), time.Now())
	}
	if len(l.recs) != 10 || c.place != 10 {
		t.Fatalf("%d records, place %d", len(l.recs), c.place)
	}
	for i, r := range l.recs {
		if r.Values[0].Value != float64(101+i) {
			t.Errorf("record %d is %v", i, r.Values)
		}
	}
}

// TestComplaints does not fill the log with one fault.
func TestComplaints(t *testing.T) {
	var c complaint
	now := time.Now()
	said := 0
	for i := range 600 {
		if due, _ := c.due(now.Add(time.Duration(i) * time.Second)); due {
			said++
		}
	}
	if said != 10 {
		t.Errorf("a fault that lasts ten minutes is said %d times", said)
	}
}
