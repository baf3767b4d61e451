package ingest_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/ingest"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// free makes an element that no device feeds.
func (h *hub) free(name string) lh.Element {
	h.t.Helper()
	e, err := h.db.CreateElement(ctx, h.owner, lh.Element{Name: name, Meaning: lh.Instantaneous})
	if err != nil {
		h.t.Fatal(err)
	}
	return e
}

// integration is the scope of one.
func (h *hub) integration() store.Scope {
	return store.NewScope(h.owner.Project(), lh.RoleDevice, lh.Actor{Kind: lh.ActorIntegration, ID: string(lh.NewIntegrationID())})
}

func (h *hub) samples(e lh.Element, view series.View) []lh.Sample {
	h.t.Helper()
	var out []lh.Sample
	for s, err := range h.engine.ReadView(ctx, h.owner, e, lh.MinMillis, lh.MaxMillis+1, view) {
		if err != nil {
			h.t.Fatal(err)
		}
		s.Rank = 0
		out = append(out, s)
	}
	return out
}

func (h *hub) wantSamples(what string, e lh.Element, view series.View, want ...lh.Sample) {
	h.t.Helper()
	if got := h.samples(e, view); !slices.Equal(got, want) {
		h.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestSentIsRead: what an integration sent and was told to be stored is there at once, after a stop without a fold, and
// after a fold; the later write stands, whichever integration it comes from, and sending again changes nothing.
func TestSentIsRead(t *testing.T) {
	each(t, func(h *hub) {
		level, power := h.free("Level"), h.free("Power")
		one, two := h.integration(), h.integration()
		now := h.clock.millis()
		rows := []ingest.Row{{power.ID, now - 1000, 7, lh.FlagGood}, {level.ID, now - 2000, 1, lh.FlagGood}, {level.ID, now - 1000, 2, lh.FlagSuspect},
			{level.ID, now - 2000, 1.5, lh.FlagGood}}
		send := func(sc store.Scope, rows []ingest.Row) {
			h.t.Helper()
			if err := h.ingest.Send(ctx, sc, rows); err != nil {
				h.t.Fatal(err)
			}
		}
		want := []lh.Sample{good(now-2000, 1.5), {Time: now - 1000, Value: 2, Flag: lh.FlagSuspect}}
		send(one, rows)
		h.wantSamples("at once", level, series.View{}, want...)
		send(one, rows)
		h.wantSamples("sent again", level, series.View{}, want...)
		h.restart()
		h.wantSamples("after a stop", level, series.View{}, want...)
		h.fold()
		h.wantSamples("folded", level, series.View{}, want...)
		h.wantSamples("beside it", power, series.View{}, good(now-1000, 7))
		past := h.clock.millis()
		h.clock.add(time.Second)
		send(two, []ingest.Row{{level.ID, now - 2000, 9, lh.FlagGood}})
		h.wantSamples("a later write, of another", level, series.View{}, good(now-2000, 9), want[1])
		send(one, rows)
		h.wantSamples("an even later one", level, series.View{}, want...)
		h.wantSamples("as it was", level, series.View{AsOf: past}, want...)
		h.fold()
		h.wantSamples("folded again", level, series.View{}, want...)
		h.wantSamples("as it was, folded", level, series.View{AsOf: past}, want...)
		ls, err := h.db.Latest(ctx, h.owner, []lh.ElementID{level.ID})
		if err != nil || len(ls) != 1 || ls[0].Sample.Time != now-1000 || ls[0].Sample.Value != 2 {
			h.t.Errorf("latest: %+v %v", ls, err)
		}
	})
}

// TestSentTimesAreJudged: an impossible time is stored and flagged, as a device's is, and never the latest.
func TestSentTimesAreJudged(t *testing.T) {
	each(t, func(h *hub) {
		e := h.free("Level")
		now := h.clock.millis()
		rows := []ingest.Row{{e.ID, 5, 1, lh.FlagGood}, {e.ID, now, 2, lh.FlagGood}, {e.ID, now + 3_600_000, 3, lh.FlagBad}, {e.ID, now + 7_200_000, 4, lh.FlagGood}}
		if err := h.ingest.Send(ctx, h.integration(), rows); err != nil {
			h.t.Fatal(err)
		}
		h.wantSamples("judged", e, series.View{}, lh.Sample{Time: 5, Value: 1, Flag: lh.FlagSuspect}, good(now, 2),
			lh.Sample{Time: now + 3_600_000, Value: 3, Flag: lh.FlagBad}, lh.Sample{Time: now + 7_200_000, Value: 4, Flag: lh.FlagSuspect})
		ls, err := h.db.Latest(ctx, h.owner, []lh.ElementID{e.ID})
		if err != nil || len(ls) != 1 || ls[0].Sample.Time != now {
			h.t.Errorf("latest: %+v %v", ls, err)
		}
	})
}

func TestSendRefuses(t *testing.T) {
	each(t, func(h *hub) {
		e := h.free("Level")
		now := h.clock.millis()
		device := h.logger()
		for name, c := range map[string]struct {
			sc   store.Scope
			rows []ingest.Row
			want lh.Code
		}{
			"not a number":     {h.integration(), []ingest.Row{{e.ID, now, 1, lh.FlagGood}, {e.ID, now + 1, math.NaN(), lh.FlagGood}}, lh.Invalid},
			"a strange flag":   {h.integration(), []ingest.Row{{e.ID, now, 1, 7}}, lh.Invalid},
			"a time of no use": {h.integration(), []ingest.Row{{e.ID, lh.MaxMillis + 1, 1, lh.FlagGood}}, lh.Invalid},
			"too many":         {h.integration(), make([]ingest.Row, ingest.MaxRows+1), lh.Invalid},
			"a device":         {device.own, []ingest.Row{{e.ID, now, 1, lh.FlagGood}}, lh.NotFound},
			"an owner":         {h.owner, []ingest.Row{{e.ID, now, 1, lh.FlagGood}}, lh.NotFound},
			"nobody":           {store.Scope{}, []ingest.Row{{e.ID, now, 1, lh.FlagGood}}, lh.NotFound},
		} {
			if err := h.ingest.Send(ctx, c.sc, c.rows); lh.CodeOf(err) != c.want {
				h.t.Errorf("%s: %v, want %s", name, err, c.want)
			}
		}
		if got := h.samples(e, series.View{}); len(got) != 0 {
			h.t.Errorf("of what was refused there is %v", got)
		}
		// An integration is no device.
		if _, err := h.ingest.Accept(ctx, h.integration(), device.id, []byte(`{"log":"0","first":0,"channels":["1/x"],"records":[{"time":1,"values":{"1/x":1}}]}`)); err == nil {
			h.t.Error("an integration uploads as a device")
		}
	})
}

// TestAllRowsFit: as many rows as are possible, of as many elements and with the longest numbers, fit a batch.
func TestAllRowsFit(t *testing.T) {
	each(t, func(h *hub) {
		es := make([]lh.Element, 20)
		for i := range es {
			es[i] = h.free(fmt.Sprint("Element ", i))
		}
		now := h.clock.millis()
		rnd := rand.New(rand.NewPCG(1, 2))
		rows := make([]ingest.Row, ingest.MaxRows)
		for i := range rows {
			rows[i] = ingest.Row{es[i%len(es)].ID, now - lh.Millis(rnd.Int64N(1e12)), rnd.NormFloat64() * 1e-200, lh.FlagGood}
		}
		if err := h.ingest.Send(ctx, h.integration(), rows); err != nil {
			h.t.Fatal(err)
		}
		n := 0
		for _, e := range es {
			n += len(h.samples(e, series.View{}))
		}
		if n < ingest.MaxRows-100 { // a few of the times are alike
			h.t.Errorf("%d samples are there", n)
		}
	})
}
