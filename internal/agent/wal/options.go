package wal

import (
	"log/slog"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Policy says what happens when the log is full.
type Policy string

const (
	// DropOldest makes room by dropping what is oldest: first what was set aside, then unacked segments. What is
	// dropped is counted and logged.
	DropOldest Policy = "drop_oldest"
	// Stop refuses new records with [ErrFull].
	Stop Policy = "stop"
)

// Options are what a log is opened with; a zero field takes the value in brackets.
type Options struct {
	// MaxBytes bounds the whole log on disk, what is set aside included; the last sixteenth is for setting aside only
	// [256 MiB].
	MaxBytes int64
	// SegmentBytes is the size of one file, 4 KiB to 4 MiB [1 MiB, or a sixteenth of the log].
	SegmentBytes int64
	// WhenFull is asked after acked segments are gone [DropOldest].
	WhenFull Policy
	// KeepAcked is how many bytes of acked segments stay, to be read back; room for new records goes before it
	// [16 MiB].
	KeepAcked int64
	Log       *slog.Logger
	Now       func() time.Time // stamps what is set aside [time.Now]
}

const (
	minSegment = 4 << 10
	maxSegment = 4 << 20
	minLog     = 1 << 20 // its sixteenth has room for a large record set aside
)

func (o *Options) fill() error {
	if o.MaxBytes == 0 {
		o.MaxBytes = 256 << 20
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = min(1<<20, max(o.MaxBytes/16, minSegment))
	}
	if o.WhenFull == "" {
		o.WhenFull = DropOldest
	}
	if o.KeepAcked == 0 {
		o.KeepAcked = 16 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	switch {
	case o.WhenFull != DropOldest && o.WhenFull != Stop:
		return lh.Errorf(lh.Invalid, "a full log can %q or %q, not %q", DropOldest, Stop, o.WhenFull)
	case o.SegmentBytes < minSegment || o.SegmentBytes > maxSegment:
		return lh.Errorf(lh.Invalid, "a segment has %d to %d bytes, not %d", minSegment, maxSegment, o.SegmentBytes)
	case o.MaxBytes < minLog || o.MaxBytes < 4*o.SegmentBytes:
		return lh.Errorf(lh.Invalid, "a log has at least %d bytes and four segments, not %d bytes", minLog, o.MaxBytes)
	case o.KeepAcked < 0:
		return lh.Errorf(lh.Invalid, "a log cannot keep %d bytes", o.KeepAcked)
	}
	return nil
}

// appendLimit is how large new records may make the log; the rest is for setting aside, so that a full log whose next
// record the hub refuses can still go on.
func (o *Options) appendLimit() int64 { return o.MaxBytes - o.MaxBytes/16 }
