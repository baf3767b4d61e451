package ingest_test

import (
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/ingest"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

func receive(t *testing.T, events <-chan ingest.Event) (e ingest.Event, ok bool) {
	t.Helper()
	select { // Accept publishes before it returns
	case e = <-events:
		return e, true
	default:
		return e, false
	}
}

func TestFeed(t *testing.T) {
	each(t, func(h *hub) {
		l := h.logger()
		other := storetest.Project(h.t, h.db)
		events, missed, cancel := h.ingest.Subscribe(h.owner.Project(), 4)
		theirs, _, cancelTheirs := h.ingest.Subscribe(other.Project(), 4)
		defer cancelTheirs()
		at := h.clock.millis()
		h.mustSend(l, wire.Batch{First: 1, Records: []wire.Record{rec(at, 2), rec(at-5, 1), rec(at, 3)}})
		e, ok := receive(h.t, events)
		if !ok || e.Project != h.owner.Project() || e.Device != l.id || len(e.Samples) != 3 {
			h.t.Fatalf("event %+v %v", e, ok)
		}
		for i := 1; i < len(e.Samples); i++ {
			if e.Samples[i].Sample.Time < e.Samples[i-1].Sample.Time {
				h.t.Errorf("not ascending: %v", e.Samples)
			}
		}
		if s := e.Samples[2]; s.Sample.Value != 3 || s.Element != h.element(l, "1/level").ID || s.Received != at {
			h.t.Errorf("newest %+v", s)
		}
		if e, ok := receive(h.t, theirs); ok {
			h.t.Errorf("another project heard %+v", e)
		}
		if missed() {
			h.t.Error("nothing was missed")
		}

		// A slow listener loses events, is told once, and holds up nobody.
		for i := range 10 {
			h.mustSend(l, wire.Batch{First: uint32(10 + i), Records: []wire.Record{rec(at+lh.Millis(i), 1)}})
		}
		n := 0
		for {
			if _, ok := receive(h.t, events); !ok {
				break
			}
			n++
		}
		if n != 4 || !missed() || missed() {
			h.t.Errorf("a slow listener got %d of 10 in a buffer of 4, or was not told once that it missed some", n)
		}

		// A backlog tells its newest samples only.
		var records []wire.Record
		for i := range 5000 {
			records = append(records, rec(at-lh.Millis(i), float64(i)))
		}
		h.mustSend(l, wire.Batch{First: 100, Records: records})
		if e, ok = receive(h.t, events); !ok || len(e.Samples) > 100 || e.Samples[len(e.Samples)-1].Sample.Time != at {
			h.t.Errorf("a backlog tells %d samples, the last of %d", len(e.Samples), e.Samples[len(e.Samples)-1].Sample.Time-at)
		}
		cancel()
		h.mustSend(l, wire.Batch{First: 9000, Records: []wire.Record{rec(at, 1)}})
		if e, ok := receive(h.t, events); ok {
			h.t.Errorf("an ended subscription heard %+v", e)
		}
		cancel() // once more does no harm
	})
}
