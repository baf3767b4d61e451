package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// pending is one Append on its way to the disk. It belongs to its caller until it is queued, then to whoever leads, until
// turn says something.
type pending struct {
	bodies [][]byte
	staged int       // bodies that have a sequence number and are in Log.buf, or beyond
	synced int       // bodies that are durable
	first  uint32    // sequence number of bodies[0]
	turn   chan bool // true: lead; false: it is settled
	err    error
}

// Append adds records and returns the sequence number of the first; on return they are durable. Calls at the same time
// share one sync: one of them leads and takes along all who wait, and then one of those who came in the meantime. ctx
// counts until it is queued; a write is not given up.
//
// Invalid: a record could never be sent; none was taken. Exhausted ([ErrFull]): no room. After any other error the
// records may be there or not.
func (l *Log) Append(ctx context.Context, recs ...Record) (first uint32, err error) {
	if len(recs) == 0 {
		return 0, lh.Errorf(lh.Invalid, "there are no records to append")
	}
	p := &pending{bodies: make([][]byte, len(recs)), turn: make(chan bool, 1)}
	for i := range recs {
		if p.bodies[i], err = appendBody(nil, &recs[i]); err != nil {
			return 0, err
		}
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	l.queueMu.Lock()
	l.queue = append(l.queue, p)
	lead := !l.led
	l.led = true
	l.queueMu.Unlock()
	if lead || <-p.turn {
		l.lead()
	}
	if p.err != nil {
		return 0, p.err
	}
	return p.first, nil
}

// lead commits what is queued, the caller's own among it, and lets the next lead.
func (l *Log) lead() {
	l.commitMu.Lock()
	l.queueMu.Lock()
	group := l.queue
	l.queue = nil
	l.queueMu.Unlock()
	l.commit(group)
	l.commitMu.Unlock()

	l.queueMu.Lock()
	if l.led = len(l.queue) > 0; l.led {
		l.queue[0].turn <- true
	}
	l.queueMu.Unlock()
	for _, p := range group {
		p.turn <- false // the leader's own is never read
	}
}

// commit writes a group and settles each of it. Holds commitMu.
func (l *Log) commit(group []*pending) {
	var err error
	fitting := group[:0:0]
	var need int64
	for _, p := range group {
		n := l.need(p)
		switch {
		case l.closed:
			p.err = errClosed
		case n > l.o.appendLimit()/2:
			p.err = lh.Errorf(lh.Invalid, "%d bytes of records at once are more than half the log", n)
		case !l.room(need+n, l.o.appendLimit()):
			p.err = ErrFull
		default:
			need += n
			fitting = append(fitting, p)
		}
	}
	if len(fitting) == 0 {
		return
	}
	// When the disk is full before the log is, that is the same as a full log; each turn frees a file.
	for range 16 {
		if err = l.write(fitting); !noSpace(err) || !l.free() {
			break
		}
	}
	if noSpace(err) {
		err = fmt.Errorf("%w: %w", ErrFull, err)
	} else if err != nil {
		err = fmt.Errorf("append to log: %w", err)
	}
	for _, p := range fitting {
		if p.synced < len(p.bodies) {
			p.err = err
		}
	}
}

// need returns how many bytes a pending takes on the disk, at most.
func (l *Log) need(p *pending) int64 {
	var n int64
	for _, b := range p.bodies {
		n += headSize + int64(len(b))
	}
	// A record begins a new file only when it does not fit behind the others, so that two files hold more than one's
	// worth, or one record each.
	return n + headerSize*min(int64(len(p.bodies))+1, 2+2*n/l.o.SegmentBytes)
}

// write gives every record of the group its number and puts it on the disk. After an error some may be there, as their
// synced says, and it can be called again for the rest. Holds commitMu.
func (l *Log) write(group []*pending) error {
	for _, p := range group {
		for p.staged < len(p.bodies) {
			body := p.bodies[p.staged]
			if err := l.prepare(group, headSize+int64(len(body))); err != nil {
				return err
			}
			l.buf = appendRecord(l.buf, l.id, l.next, body)
			if p.staged == 0 {
				p.first = l.next
			}
			l.next++
			p.staged++
		}
	}
	return l.flush(group)
}

// prepare makes sure that the next record, of that size, has a file to go to.
func (l *Log) prepare(group []*pending, size int64) error {
	if l.active != nil {
		used := l.segments[len(l.segments)-1].end + int64(len(l.buf))
		if l.next <= l.maxSequence && (used == headerSize || used+size <= l.o.SegmentBytes) {
			return nil
		}
		if err := l.flush(group); err != nil {
			return err
		}
		l.shut()
		l.trim()
	}
	if l.next > l.maxSequence {
		l.mu.Lock()
		l.id = newID()
		l.mu.Unlock()
		l.next = 1
		l.o.Log.Info("the log's sequence numbers are used up; it goes on under a new id")
	}
	return l.create(l.id, l.next)
}

// flush writes and syncs what is staged. When that fails, nobody knows what is on the disk behind the last sync, and
// another sync would not tell (the kernel forgets what it could not write): the file is left, and the numbers in doubt
// are not given again.
func (l *Log) flush(group []*pending) error {
	if len(l.buf) == 0 {
		return nil
	}
	s := l.segments[len(l.segments)-1]
	_, err := l.active.WriteAt(l.buf, s.end)
	if err == nil {
		err = l.active.Sync()
	}
	size := int64(len(l.buf))
	l.buf = l.buf[:0]
	if cap(l.buf) > 1<<20 {
		l.buf = nil
	}
	if err != nil {
		for _, p := range group {
			p.staged = p.synced
		}
		l.abandon(s, size)
		return err
	}
	l.mu.Lock()
	for _, p := range group {
		p.synced = p.staged
	}
	count := 0
	for seq := l.firstUnsynced(s); seq < l.next; seq++ {
		s.add(seq)
		count++
	}
	s.end += size
	s.size = s.end
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}

// firstUnsynced returns the number of the first record that is staged: they are all of one file, without a hole.
func (l *Log) firstUnsynced(s *segment) uint32 { return s.last() + 1 }

// abandon leaves the active file after a failed write, cut back to what was synced as well as the disk lets it.
func (l *Log) abandon(s *segment, size int64) {
	err := l.active.Truncate(s.end)
	if err != nil {
		l.mu.Lock()
		s.size += size
		l.mu.Unlock()
	}
	l.o.Log.Error("log file left after a failed write", slog.String("file", segmentName(l.dir, s.index)), slog.Any("cut", err))
	l.shut()
}

// shut closes the active file, of which everything that counts is synced.
func (l *Log) shut() {
	if err := l.active.Close(); err != nil {
		l.o.Log.Error("log file did not close", slog.Any("error", err))
	}
	l.active = nil
}

// room frees what it may until need more bytes fit below limit. Holds commitMu.
func (l *Log) room(need, limit int64) bool {
	for l.bytes()+need > limit {
		if !l.free() {
			return false
		}
	}
	return true
}

// free gives up what is worth least: an acked file, and by the policy what was set aside or the oldest file. false:
// there is nothing more that may go. Holds commitMu, with nothing staged.
func (l *Log) free() bool {
	if len(l.segments) > 0 {
		if n, _ := l.segments[0].above(l.ackedIn(l.segments[0])); n == 0 {
			return l.drop()
		}
	}
	if l.o.WhenFull == Stop {
		return false
	}
	if len(l.asides) > 0 {
		return l.dropAside()
	}
	return len(l.segments) > 0 && l.drop()
}

// drop removes the oldest file, and counts what the hub has not got of it. Holds commitMu.
func (l *Log) drop() bool {
	s := l.segments[0]
	if len(l.segments) == 1 && l.active != nil {
		if s.end == headerSize {
			return false // there is nothing in it to make room with
		}
		l.shut()
	}
	if n, first := s.above(l.ackedIn(s)); n > 0 {
		l.count(uint64(n))
		l.o.Log.Warn("log full: unacked records dropped", slog.Int64("records", n), slog.Uint64("first", uint64(first)))
	}
	if err := l.disk.remove(segmentName(l.dir, s.index)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.o.Log.Error("log file cannot be removed", slog.Any("error", err))
		return false
	}
	l.mu.Lock()
	l.segments = l.segments[1:]
	l.mu.Unlock()
	return true
}

// count adds to the dropped records, before they go. Holds commitMu.
func (l *Log) count(n uint64) {
	l.mu.Lock()
	l.cursor.dropped += n
	c := l.cursor
	l.mu.Unlock()
	if err := l.cursorF.write(c); err != nil {
		l.o.Log.Error("count of dropped records not written", slog.Any("error", err)) // the next write has it
	}
}

// trim removes acked files beyond those that are kept to be read back. Holds commitMu.
func (l *Log) trim() {
	var acked int64
	n := 0
	for ; n < len(l.segments)-1; n++ { // the last is being written
		if left, _ := l.segments[n].above(l.ackedIn(l.segments[n])); left > 0 {
			break
		}
		acked += l.segments[n].size
	}
	for ; n > 0 && acked > l.o.KeepAcked; n-- {
		acked -= l.segments[0].size
		if !l.drop() {
			return
		}
	}
}
