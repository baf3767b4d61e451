package series_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// history is the naive model of an element: everything that ever happened, read the slow way.
type history struct {
	writes      map[lh.Millis][]arrivedWrite // by time
	corrections []lh.Correction
	approvals   []lh.Approval
}

type arrivedWrite struct {
	lh.Sample
	received lh.Millis
}

func (h *history) add(s lh.Sample, received lh.Millis) {
	if h.writes == nil {
		h.writes = map[lh.Millis][]arrivedWrite{}
	}
	h.writes[s.Time] = append(h.writes[s.Time], arrivedWrite{s, received})
}

// view reads the model as of a moment. What stands at one time is decided time by time.
func (h *history) view(from, to lh.Millis, v series.View) []lh.Sample {
	asOf := v.AsOf
	if asOf == 0 {
		asOf = math.MaxInt64
	}
	times := map[lh.Millis]bool{}
	for at := range h.writes {
		times[at] = true
	}
	for _, c := range h.corrections {
		for _, s := range c.Samples {
			times[s.Time] = true
		}
	}
	var out []lh.Sample
	for at := range times {
		if at < from || at >= to {
			continue
		}
		moment := asOf
		if !v.Raw {
			for _, a := range h.approvals {
				if a.Stood(asOf) && at >= a.From && at < a.To {
					moment = a.Created
				}
			}
		}
		if s, ok := h.at(at, moment, v.Raw); ok {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b lh.Sample) int { return int(a.Time - b.Time) })
	return out
}

func (h *history) at(at, moment lh.Millis, raw bool) (s lh.Sample, ok bool) {
	for _, w := range h.writes[at] {
		if w.received <= moment && (!ok || w.Rank >= s.Rank) {
			s, ok = w.Sample, true
		}
	}
	if raw {
		return s, ok
	}
	for _, c := range h.corrections {
		if !c.Stood(moment) || at < c.From || at >= c.To {
			continue
		}
		switch c.Kind {
		case lh.CorrectOffset:
			s.Value += c.A
		case lh.CorrectFactor:
			s.Value *= c.A
		case lh.CorrectDrift:
			s.Value += c.A + (c.B-c.A)*(float64(at-c.From)/float64(c.To-c.From))
		case lh.CorrectFlag:
			s.Flag = c.Flag
		case lh.CorrectDelete:
			s, ok = lh.Sample{}, false
		case lh.CorrectFill:
			for _, f := range c.Samples {
				if f.Time == at && !ok {
					s, ok = f, true
				}
			}
		}
	}
	return s, ok
}

// TestPastAndCorrections plays uploads, corrections and approvals against the model, and reads the present and every
// past moment, raw and corrected, whatever is folded.
func TestPastAndCorrections(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		for seed := range uint64(4) {
			playHistory(t, o, seed)
		}
	})
}

func playHistory(t *testing.T, o store.Options, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 99))
	base := lh.MillisOf(time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC))
	clock := base + 10*lh.DayMillis
	var now atomic.Int64 // the clock, as the engine's own goroutines see it
	now.Store(int64(clock))
	o.Now = func() time.Time { return lh.Millis(now.Load()).Time() }
	db := storetest.Open(t, o)
	sc := storetest.Project(t, db)
	e, _ := start(t, db, series.Options{FoldBite: 3000})
	l := newLogger(t, db, sc, "1/level")
	el := l.elements[0]
	el.Interval = 600_000
	var h history
	const span = 4 * lh.DayMillis
	some := func() lh.Millis { return base + lh.Millis(r.Int64N(span/600_000)*600_000) }
	moments := []lh.Millis{0}
	for step := range 90 {
		clock += lh.Millis(1 + r.Int64N(40*60_000))
		moments = append(moments, clock)
		clock++
		now.Store(int64(clock))
		switch r.IntN(10) {
		case 0, 1:
			if err := e.FoldNow(ctx); err != nil {
				t.Fatal(err)
			}
		case 2, 3:
			from := some()
			c := lh.Correction{Element: el.ID, From: from, To: from + lh.Millis(1+r.Int64N(lh.DayMillis)), A: float64(r.IntN(9)) / 2, B: float64(r.IntN(5)), Flag: lh.FlagSuspect,
				Kind: []lh.CorrectionKind{lh.CorrectOffset, lh.CorrectFactor, lh.CorrectDrift, lh.CorrectDelete, lh.CorrectFlag, lh.CorrectFill}[r.IntN(6)]}
			if c.Kind == lh.CorrectFill {
				for x := c.From; x < c.To; x += lh.Millis(1+r.Int64N(6)) * 300_000 {
					c.Samples = append(c.Samples, lh.Sample{Time: x, Value: -1, Flag: lh.FlagSuspect})
				}
			}
			got, err := db.AddCorrection(ctx, sc, c)
			if locked := h.approved(c.From, c.To); locked != (lh.CodeOf(err) == lh.Conflict) || err != nil && !locked {
				t.Fatalf("seed %d step %d: correction of an approved range (%v): %v", seed, step, locked, err)
			}
			if err == nil {
				h.corrections = append(h.corrections, got)
			}
		case 4:
			if len(h.corrections) == 0 {
				continue
			}
			c := &h.corrections[r.IntN(len(h.corrections))]
			got, err := db.RevokeCorrection(ctx, sc, el.ID, c.ID)
			if refused := c.Revoked != 0 || h.approved(c.From, c.To); refused != (lh.CodeOf(err) == lh.Conflict) || err != nil && !refused {
				t.Fatalf("seed %d step %d: revoke (refused %v): %v", seed, step, refused, err)
			}
			if err == nil {
				*c = got
			}
		case 5:
			if n := len(h.approvals); n > 0 && h.approvals[n-1].Revoked == 0 && r.IntN(2) == 0 {
				if err := db.RevokeApproval(ctx, sc, el.ID, h.approvals[n-1].ID); err != nil {
					t.Fatal(err)
				}
				h.approvals[n-1].Revoked = clock
				continue
			}
			from := some()
			a := lh.Approval{Element: el.ID, From: from, To: from + lh.Millis(1+r.Int64N(lh.DayMillis))}
			got, err := db.Approve(ctx, sc, a)
			if locked := h.approved(a.From, a.To); locked != (lh.CodeOf(err) == lh.Conflict) || err != nil && !locked {
				t.Fatalf("seed %d step %d: approve twice (%v): %v", seed, step, locked, err)
			}
			if err == nil {
				h.approvals = append(h.approvals, got)
			}
		default:
			at := some()
			var records []wire.Record
			for range 1 + r.IntN(40) {
				records = append(records, record(at, math.Round(r.NormFloat64()*100)/100))
				at += 600_000 * lh.Millis(1+r.IntN(2))
			}
			u := l.upload(t, l.seq, records...)
			l.seq += uint32(len(records))
			for range 1 + r.IntN(5)/4 { // sometimes delivered twice
				u.Received = clock
				if err := e.Append(ctx, u); err != nil {
					t.Fatal(err)
				}
				u.Each(func(_ uint16, s lh.Sample) { h.add(s, clock) })
				clock += 60_000
			}
		}
		if step%10 != 9 {
			continue
		}
		for range 12 {
			v := series.View{Raw: r.IntN(3) == 0, AsOf: moments[r.IntN(len(moments))]}
			from := some()
			to := from + lh.Millis(r.Int64N(2*lh.DayMillis))
			if r.IntN(3) == 0 {
				from, to = lh.MinMillis, lh.MaxMillis
			}
			want := h.view(from, to, v)
			var got []lh.Sample
			for s, err := range e.ReadView(ctx, sc, el, from, to, v) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, s)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d step %d %s: as of %v %d samples, want %d\n%v\n%v", seed, step, db.Engine(), v, len(got), len(want), got, want)
			}
			red, err := e.ReduceView(ctx, sc, el, from, to, 40, v)
			if err != nil {
				t.Fatal(err)
			}
			if red.Count != int64(len(want)) {
				t.Fatalf("seed %d: reduced counts %d of %d", seed, red.Count, len(want))
			}
			if len(want) > 0 {
				byValue := func(a, b lh.Sample) int { return int(math.Copysign(1, a.Value-b.Value)) }
				if slices.MaxFunc(red.Samples, byValue).Value != slices.MaxFunc(want, byValue).Value || slices.MinFunc(red.Samples, byValue).Value != slices.MinFunc(want, byValue).Value {
					t.Fatalf("seed %d: a spike is lost in reducing", seed)
				}
			}
		}
	}
}

func (h *history) approved(from, to lh.Millis) bool {
	for _, a := range h.approvals {
		if a.Revoked == 0 && a.From < to && a.To > from {
			return true
		}
	}
	return false
}
