package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// ErrFull is what Append and SetAside return when the log, or the disk, is full and nothing may be dropped.
var ErrFull = lh.Errorf(lh.Exhausted, "the log is full")

// ErrHeld is what Open and Each return when another process has the log.
var ErrHeld = lh.Errorf(lh.Conflict, "the log is in use by another process")

var errClosed = lh.Errorf(lh.Unavailable, "the log is closed")

// Log is an open log. Its methods may be called from several goroutines.
type Log struct {
	dir         string
	o           Options
	disk        disk
	lock        *os.File
	wake        chan struct{}
	maxSequence uint32

	readMu sync.Mutex // guards what reading remembers; taken before commitMu
	marks  [2]mark
	failed int // reads that failed in a row

	queueMu sync.Mutex // taken last, and for no I/O
	queue   []*pending
	led     bool // somebody leads, or has been told to

	// commitMu is held for every change of the disk, so for the length of a sync. It guards what follows.
	commitMu sync.Mutex
	closed   bool
	active   file   // the last of segments, to be written behind its end; nil: the next record begins a file
	buf      []byte // records that are not written yet
	index    uint64 // the greatest number a file had
	next     uint32 // the sequence number of the next record
	cursorF  cursorFile

	// mu is held for no I/O. What it guards is changed with commitMu held as well, so either is enough to read it.
	mu       sync.Mutex
	id       uint64
	segments []*segment // in order
	cursor   cursor
	asides   []asideFile // in order of age
	damaged  uint64
}

// Stats is what can be said of a log.
type Stats struct {
	Log     uint64    // id of the log that new records go to
	Last    uint32    // sequence number of its last record; 0 when it has none
	Acked   uint32    // the hub has this log's records up to here
	Unacked int64     // records the hub does not have yet, of earlier ids too
	Oldest  lh.Millis // time of the first of them; 0 when there is none
	Bytes   int64     // on disk
	Dropped uint64    // records given up because the log was full, ever: unacked ones, and those set aside
	Aside   uint64    // records set aside, ever
	Damaged uint64    // bytes that were found to be no records, since opening
}

// ID is the random id of the log that new records go to. It is made once, and anew when the sequence numbers are used
// up, or when it is not sure which were given.
func (l *Log) ID() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id
}

func newID() uint64 {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails
		if id := binary.LittleEndian.Uint64(b[:]); id != 0 {
			return id
		}
	}
}

// Wait returns a channel that gets a signal after new records; it is for one receiver.
func (l *Log) Wait() <-chan struct{} { return l.wake }

// ackedIn returns up to which sequence number the records of s are acked. Holds mu or commitMu.
func (l *Log) ackedIn(s *segment) uint32 { return l.cursor.ackedIn(s.log, s.index) }

// bytes returns what the log takes on the disk. Holds mu or commitMu.
func (l *Log) bytes() int64 {
	n := int64(cursorSize)
	for _, s := range l.segments {
		n += s.size
	}
	for i := range l.asides {
		n += l.asides[i].size
	}
	return n
}

// Stats says how the log is. It reads one record, and fails when the disk does.
func (l *Log) Stats() (Stats, error) {
	l.readMu.Lock()
	defer l.readMu.Unlock()
	l.mu.Lock()
	st := Stats{Log: l.id, Bytes: l.bytes(), Dropped: l.cursor.dropped, Aside: l.cursor.aside, Damaged: l.damaged}
	if l.cursor.log == l.id {
		st.Acked = l.cursor.acked
	}
	for _, s := range l.segments {
		n, _ := s.above(l.ackedIn(s))
		st.Unacked += n
		if s.log == l.id {
			st.Last = s.last()
		}
	}
	l.mu.Unlock()
	if st.Unacked == 0 {
		return st, nil
	}
	err := l.walk(func(_ uint64, _ uint32, body []byte) bool {
		st.Oldest = bodyTime(body)
		return false
	})
	if err != nil {
		return st, fmt.Errorf("read the oldest record: %w", err)
	}
	return st, nil
}

// Close waits for what is being written and lets go of the folder. Everything that was appended is on the disk already.
func (l *Log) Close() error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	var errs []error
	if l.active != nil {
		errs = append(errs, l.active.Close())
		l.active = nil
	}
	errs = append(errs, l.cursorF.f.Close(), l.lock.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}
