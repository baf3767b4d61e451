package wal

import (
	"context"
	"errors"
	"log/slog"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// Record is one sampling: what was read at one instant.
type Record struct {
	Time   lh.Millis
	Values []Value // at most wire.MaxChannels, no channel twice
}

// Value is one channel's reading. A channel that gave nothing is absent.
type Value struct {
	Channel string
	Flag    lh.Flag
	Value   float64 // finite
}

// Policy says what happens when the log is full.
type Policy string

const (
	// DropOldest makes room by dropping what is oldest, counted and reported.
	DropOldest Policy = "drop_oldest"
	// Stop refuses new records with [ErrFull].
	Stop Policy = "stop"
)

// Options are what a log is opened with; a zero field takes the value in brackets.
type Options struct {
	MaxBytes     int64  // bound of the whole log on disk, what is set aside included [256 MiB]
	SegmentBytes int64  // size of one file [1 MiB]
	WhenFull     Policy // [DropOldest]
	KeepAcked    int64  // acked segments stay until there are this many bytes of them, to be read back [16 MiB]
	Log          *slog.Logger
	Now          func() time.Time // stamps what is set aside [time.Now]
}

// ErrFull is what Append returns when the log is full and may drop nothing.
var ErrFull = lh.Errorf(lh.Exhausted, "the log is full")

// ErrHeld is what Open and Each return when another process has the log.
var ErrHeld = lh.Errorf(lh.Conflict, "the log is in use by another process")

// Stats is what can be said of a log.
type Stats struct {
	Log     uint64    // id of the log that new records go to
	Last    uint32    // sequence number of its last record; 0 when it has none
	Acked   uint32    // the hub has this log's records up to here
	Unacked int64     // records the hub does not have yet, of older logs too
	Oldest  lh.Millis // time of the first of them; 0 when there is none
	Bytes   int64     // on disk
	Dropped uint64    // unacked records that were dropped because the log was full, ever
	Aside   uint64    // records set aside, ever
	Damaged uint64    // bytes that opening could not read
}

var errTODO = errors.New("not built yet")

// Log is an open log. Its methods may be called from several goroutines.
type Log struct{ wake chan struct{} }

// Open opens the log in the folder dir, makes it when there is none, and repairs what a power cut left.
func Open(dir string, o Options) (*Log, error) { return nil, errTODO }

// ID is the random id of the log that new records go to.
func (l *Log) ID() uint64 { return 0 }

// Append adds records, durable on return; concurrent calls share a sync. It returns the first one's sequence number.
func (l *Log) Append(ctx context.Context, recs ...Record) (first uint32, err error) {
	return 0, errTODO
}

// Batch fills b with the next unbroken run of unacked records: at most maxRecords of them and at most maxBytes encoded,
// but at least one when there is any. No records in b means that everything is acked. b.Sent stays as it is.
func (l *Log) Batch(b *wire.Batch, maxRecords, maxBytes int) error { return errTODO }

// Ack moves the cursor: the hub has the records of the log with this id (Batch.Log) up to through. Going back is
// ignored.
func (l *Log) Ack(log uint64, through uint32) error { return errTODO }

// SetAside copies the records first to last of the log with this id into a readable file in aside/, with the reason,
// and then acks them. They must be the next unacked ones.
func (l *Log) SetAside(log uint64, first, last uint32, reason string) error { return errTODO }

// Wait returns a channel that gets a signal after new records; it is for one receiver.
func (l *Log) Wait() <-chan struct{} { return l.wake }

// Stats says how the log is.
func (l *Log) Stats() (Stats, error) { return Stats{}, errTODO }

// Close waits for what is being written and lets go of the folder.
func (l *Log) Close() error { return errTODO }

// Each reads the log in dir, which no process may have open, and hands fn every record in order.
func Each(dir string, fn func(log uint64, seq uint32, acked bool, r Record) error) error {
	return errTODO
}
