package ingest

import (
	"context"
	"errors"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// TestSightingThatFailsIsToldAgain: what could not be recorded of a device is told with its next contact, whenever
// that is, and nothing twice.
func TestSightingThatFailsIsToldAgain(t *testing.T) {
	i := New(Options{})
	d := &device{}
	at := lh.Millis(1_790_000_000_000)
	b := &wire.Batch{Sent: at}
	record := func(want int64, err error) {
		t.Helper()
		s := d.see(at, b, 1)
		if s == nil || s.At != at || s.ClockSuspect != want || s.ClockOffset == nil || *s.ClockOffset != 0 {
			t.Fatalf("%+v instead of %d suspects", s, want)
		}
		i.saw(context.Background(), store.Scope{}, "dev_x", d, s, err)
	}
	record(1, nil)
	if s := d.see(at+1, &wire.Batch{Sent: at + 1}, 5); s != nil {
		t.Fatalf("recorded again after a millisecond: %+v", s)
	}
	d.suspects += 5 // as accept does for a stored upload without a sighting
	at += 60_000
	b.Sent = at
	record(6, errors.New("disk full")) // the upload failed: its own suspect is not stored, the five before it are
	at++
	b.Sent = at
	record(6, nil)
	at += 60_000
	b.Sent = at
	record(1, nil)
}
