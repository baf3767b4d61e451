package ingest_test

import (
	"slices"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// TestWrongClocks: accepted, flagged, reported, and latest stays out of the future. The device samples twice and
// uploads; its clock is off by offset all the time.
func TestWrongClocks(t *testing.T) {
	now := lh.MillisOf(hubTime)
	year := func(y int) lh.Millis { return lh.MillisOf(time.Date(y, 6, 1, 12, 0, 0, 0, time.UTC)) - now }
	each(t, func(h *hub) {
		for name, off := range map[string]lh.Millis{"1970": year(1970), "2000": year(2000), "2036": year(2036), "year 1": lh.MinMillis + lh.DayMillis - now,
			"year 9999": lh.MaxMillis - lh.DayMillis - now, "hour back": -60 * 60000, "hour ahead": 60 * 60000, "five minutes ahead": 5 * 60000,
			"nine minutes ahead": 9*60000 + 59000} {
			h.t.Run(name, func(t *testing.T) { h.wrongClock(t, off) })
		}
	})
}

func (h *hub) wrongClock(t *testing.T, off lh.Millis) {
	l := h.logger()
	// Before the clock went wrong.
	now := h.clock.millis()
	h.mustSend(l, wire.Batch{First: 1, Sent: now, Records: []wire.Record{rec(now, 1)}})
	h.clock.add(time.Minute)
	now = h.clock.millis()
	shown := now + off
	ack := h.mustSend(l, wire.Batch{First: 2, Sent: shown, Records: []wire.Record{rec(shown-10000, 5), rec(shown, 6)}})
	if ack.AckedThrough != 3 || ack.Time != now {
		t.Errorf("ack %+v", ack)
	}
	suspects := 0
	for _, s := range h.read(l, "1/level") {
		if s.Flag == lh.FlagSuspect {
			suspects++
			if s.Time != shown && s.Time != shown-10000 {
				t.Errorf("%v is flagged", s)
			}
		}
	}
	if suspects != 2 {
		t.Errorf("%d of 2 samples are flagged", suspects)
	}
	if at := h.latest(l, "1/level").Time; at > now {
		t.Errorf("latest is %s in the future", time.Duration(at-now)*time.Millisecond)
	}
	d, err := h.db.Device(ctx, h.owner, l.id)
	if err != nil || d.ClockOffset != int64(off) || d.ClockSuspect != 2 || d.LastSeen != now {
		t.Errorf("reported: offset %d of %d, %d suspect, seen %d, %v", d.ClockOffset, off, d.ClockSuspect, d.LastSeen, err)
	}
	// The clock is set right: what comes next is good again and becomes the latest.
	h.clock.add(time.Minute)
	now = h.clock.millis()
	h.mustSend(l, wire.Batch{First: 4, Sent: now, Records: []wire.Record{rec(now, 7)}})
	if got := h.latest(l, "1/level"); got != good(now, 7) {
		t.Errorf("after the clock was set right, latest is %v", got)
	}
	if d, err := h.db.Device(ctx, h.owner, l.id); err != nil || d.ClockOffset != 0 || d.ClockSuspect != 2 {
		t.Errorf("after it was set right: %+v, %v", d, err)
	}
	h.restart()
	if got := h.latest(l, "1/level"); got != good(now, 7) {
		t.Errorf("after a restart, latest is %v", got)
	}
}

// TestWrongRecordsInAGoodBatch: the clock is right when the batch is sent, but some samples are from before it was
// set, or ahead of it.
func TestWrongRecordsInAGoodBatch(t *testing.T) {
	each(t, func(h *hub) {
		l := h.logger()
		now := h.clock.millis()
		old := lh.MillisOf(time.Date(1970, 1, 1, 0, 5, 0, 0, time.UTC))
		far := now + lh.Millis((24 * time.Hour).Milliseconds())
		for _, sent := range []lh.Millis{now, 0} { // a device may not say
			h.mustSend(l, wire.Batch{First: 1, Sent: sent, Records: []wire.Record{rec(old, 1), rec(now-1000, 2), rec(far, 3)}})
			want := []lh.Sample{{Time: old, Value: 1, Flag: lh.FlagSuspect}, good(now-1000, 2), {Time: far, Value: 3, Flag: lh.FlagSuspect}}
			if got := h.read(l, "1/level"); !slices.Equal(got, want) {
				h.t.Errorf("read %v, want %v", got, want)
			}
			if got := h.latest(l, "1/level"); got != good(now-1000, 2) {
				h.t.Errorf("latest %v", got)
			}
		}
		// A flag the device gave that is worse stays.
		b := wire.Batch{First: 9, Records: []wire.Record{rec(far+1, 4)}}
		b.Records[0].Values[0].Flag = lh.FlagBad
		h.mustSend(l, b)
		if got := h.read(l, "1/level"); got[len(got)-1].Flag != lh.FlagBad {
			h.t.Errorf("a bad sample became %v", got[len(got)-1])
		}
	})
}

// TestSkew: a clock that is a few seconds off is as good as clocks are; nothing is flagged.
func TestSkew(t *testing.T) {
	each(t, func(h *hub) {
		l := h.logger()
		now := h.clock.millis()
		for i, skew := range []lh.Millis{-90000, -3000, 3000} {
			at := now + skew
			h.mustSend(l, wire.Batch{First: uint32(i + 1), Sent: at, Records: []wire.Record{rec(at, float64(i))}})
			if got := h.read(l, "1/level"); got[len(got)-1] != good(at, float64(i)) || len(got) != i+1 {
				h.t.Errorf("skew %d: read %v", skew, got)
			}
		}
		// What was sampled long before the upload is as good.
		h.mustSend(l, wire.Batch{First: 9, Sent: now, Records: []wire.Record{rec(now-400*lh.DayMillis, 8)}})
		if got := h.read(l, "1/level"); got[0] != good(now-400*lh.DayMillis, 8) {
			h.t.Errorf("a backlog reads %v", got[0])
		}
		if got := h.latest(l, "1/level"); got.Value != 2 {
			h.t.Errorf("a backlog moved latest to %v", got)
		}
		if d, err := h.db.Device(ctx, h.owner, l.id); err != nil || d.ClockSuspect != 0 {
			h.t.Errorf("%+v, %v", d, err)
		}
	})
}

// TestSuspectsAreCounted: counts gather between writings of the device's row and none is lost.
func TestSuspectsAreCounted(t *testing.T) {
	each(t, func(h *hub) {
		l := h.logger()
		for i := range 10 {
			h.mustSend(l, wire.Batch{First: uint32(i + 1), Sent: 1000, Records: []wire.Record{rec(lh.Millis(i), 1)}})
			h.clock.add(time.Second)
		}
		h.clock.add(time.Minute)
		h.mustSend(l, wire.Batch{First: 11}) // a sign of life
		if d, err := h.db.Device(ctx, h.owner, l.id); err != nil || d.ClockSuspect != 10 || d.LastSeen != h.clock.millis() {
			h.t.Errorf("%d suspects, seen %d at %d, %v", d.ClockSuspect, d.LastSeen, h.clock.millis(), err)
		}
	})
}
