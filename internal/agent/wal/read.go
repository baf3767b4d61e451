package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// What a batch takes at most in wire's binary form: its head and checksum, a channel beside its name, a record, a value.
const (
	batchBytes   = 48
	channelBytes = 2
	recordBytes  = 10 + 3
	valueBytes   = 2 + 1 + 8
)

// Batch fills b with the next unbroken run of unacked records: at most maxRecords of them, and no more than fit into
// maxBytes encoded, but at least one when there is any; a bound of 0 or less is wire's own. No records in b means that
// everything is acked. Only durable records are handed out. b.Sent stays as it is; b's memory is used again.
//
// A read that failed may be tried again; from the third time on what the disk cannot read is left out, logged and counted.
func (l *Log) Batch(b *wire.Batch, maxRecords, maxBytes int) error {
	if maxRecords <= 0 || maxRecords > wire.MaxRecords {
		maxRecords = wire.MaxRecords
	}
	if maxBytes <= 0 || maxBytes > wire.MaxBatchBytes {
		maxBytes = wire.MaxBatchBytes
	}
	l.readMu.Lock()
	defer l.readMu.Unlock()
	b.Log, b.First = 0, 0
	b.Channels, b.Records = b.Channels[:0], b.Records[:0]
	channels := map[string]uint16{}
	size, values := batchBytes, 0
	err := l.walk(func(log uint64, seq uint32, body []byte) bool {
		n, known := len(b.Records), len(b.Channels)
		if n == 0 {
			b.Log, b.First = log, seq
		} else if n >= maxRecords || seq != b.First+uint32(n) {
			return false
		}
		if n < cap(b.Records) {
			b.Records = b.Records[:n+1] // keeps the memory of its values
		} else {
			b.Records = append(b.Records, wire.Record{})
		}
		r := &b.Records[n]
		r.Time, r.Values = bodyTime(body), r.Values[:0]
		more := recordBytes
		eachValue(body, func(channel []byte, flag lh.Flag, v float64) {
			i, ok := channels[string(channel)]
			if !ok {
				name := string(channel)
				i = uint16(len(b.Channels))
				b.Channels = append(b.Channels, name)
				channels[name] = i
				more += channelBytes + len(name)
			}
			r.Values = append(r.Values, wire.Value{Channel: i, Flag: flag, Value: v})
			more += valueBytes
		})
		if n > 0 && (size+more > maxBytes || values+len(r.Values) > wire.MaxValues || len(b.Channels) > wire.MaxChannels) {
			for _, name := range b.Channels[known:] {
				delete(channels, name)
			}
			b.Channels, b.Records = b.Channels[:known], b.Records[:n]
			return false
		}
		size += more
		values += len(r.Values)
		return true
	})
	if err != nil {
		b.Channels, b.Records = b.Channels[:0], b.Records[:0]
		return fmt.Errorf("read log: %w", err)
	}
	return nil
}

// mark remembers where in a file a record is, or will be.
type mark struct {
	index uint64
	seq   uint32
	at    int64
}

// patience is how often in a row reading may fail before what cannot be read is left out.
const patience = 2

// walk hands fn the unacked records of one log id, oldest first, until fn says false. The body is valid during the
// call. Holds readMu.
func (l *Log) walk(fn func(log uint64, seq uint32, body []byte) bool) error {
	for {
		files, from := l.unacked()
		if len(files) == 0 {
			return nil
		}
		handed, bad, err := l.walkFiles(files, from, fn)
		if err != nil && l.failed < patience && !errors.Is(err, fs.ErrNotExist) {
			l.failed++
			return err
		}
		l.failed = 0
		if bad == 0 {
			return nil
		}
		// The file has fewer records than it had, or is gone: dropped in the meantime, which only the list tells, or
		// damaged. Without what is lost the next turn finds what comes behind it.
		if err := l.rescan(bad); err != nil {
			return err
		}
		if handed {
			return nil
		}
	}
}

// unacked returns the files from the first unacked record on that have the same id, and its number.
func (l *Log) unacked() (files []segment, from uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		if len(files) == 0 {
			n, first := s.above(l.ackedIn(s))
			if n == 0 {
				continue
			}
			from = first
		} else if s.log != files[0].log {
			break
		}
		f := *s
		f.runs = slices.Clone(s.runs) // Append goes on in the last one
		files = append(files, f)
	}
	return files, from
}

// walkFiles walks over files, beginning with record number from. bad is the number of a file that is not as it was.
func (l *Log) walkFiles(files []segment, from uint32, fn func(log uint64, seq uint32, body []byte) bool) (handed bool, bad uint64, err error) {
	for i := range files {
		s := &files[i]
		at, least := int64(headerSize), s.first
		for _, m := range l.marks {
			if m.index == s.index && m.seq <= from && m.at > at && m.at <= s.end {
				at, least = m.at, m.seq
			}
		}
		data, err := l.read(s, at)
		if err != nil {
			return handed, s.index, err
		}
		expected, _ := s.above(least - 1)
		sc := newScanner(data, s.log, least)
		for {
			seq, body, ok := sc.next()
			if !ok {
				break
			}
			expected--
			if seq < from {
				continue
			}
			here := mark{s.index, seq, at + int64(sc.start)}
			if !handed {
				l.marks[0], handed = here, true
			}
			if !fn(s.log, seq, body) {
				l.marks[1] = here
				return handed, 0, nil
			}
		}
		if expected > 0 {
			return handed, s.index, nil
		}
		l.marks[1] = mark{s.index, sc.least, at + int64(sc.at)}
	}
	return handed, 0, nil
}

// read reads a file's records from at on.
func (l *Log) read(s *segment, at int64) (data []byte, err error) {
	f, err := l.disk.open(segmentName(l.dir, s.index), os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	data, _, err = readFrom(f, at, s.end, l.failed >= patience)
	return data, errors.Join(err, f.Close())
}

// rescan finds out which records a file still has. Holds readMu.
func (l *Log) rescan(index uint64) error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	for _, s := range l.segments {
		if s.index != index {
			continue
		}
		var left []run
		ld, err := load(&l.disk, l.dir, index, false, []uint64{s.log})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil && ld.readable && ld.log == s.log {
			left = ld.runs
		}
		had, _ := s.above(0)
		l.mu.Lock()
		s.runs = within(left, s.runs)
		l.damaged += uint64(ld.holes)
		l.mu.Unlock()
		has, _ := s.above(0)
		l.o.Log.Error("log file lost records", slog.String("file", segmentName(l.dir, index)), slog.Int64("records", had-has), slog.Any("error", err))
		if had == has {
			// The same records are there as were: what was not found cannot be told from what is. Only a disk that
			// reads differently each time does this.
			return fmt.Errorf("%s does not read the same twice", segmentName(l.dir, index))
		}
	}
	return nil
}

// within returns the part of runs a that is in b, too.
func within(a, b []run) []run {
	var out []run
	for _, x := range a {
		for _, y := range b {
			if r := (run{max(x.first, y.first), min(x.last, y.last)}); r.first <= r.last {
				out = append(out, r)
			}
		}
	}
	return out
}

// Each reads the log in dir, which no process may have open, and hands fn every record that is there, in order, with
// the id of its log, and whether the hub has it. It changes nothing. NotFound: there is no log. Conflict ([ErrHeld]): a
// process has it.
func Each(dir string, fn func(log uint64, seq uint32, acked bool, r Record) error) (err error) {
	lock, err := lock(dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return lh.Errorf(lh.NotFound, "there is no log in %s", dir)
	}
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	slots, err := os.ReadFile(filepath.Join(dir, "cursor"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read log: %w", err)
	}
	c, _ := parseCursor(slots)
	list, err := listSegments(dir)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	d := realDisk()
	ids := []uint64{c.log}
	for _, index := range list {
		ld, err := load(&d, dir, index, false, ids)
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		if !ld.readable {
			continue
		}
		if ids[len(ids)-1] != ld.log {
			ids = append(ids, ld.log)
		}
		if err := eachRecord(dir, &ld.segment, func(seq uint32, body []byte) error {
			return fn(ld.log, seq, seq <= c.ackedIn(ld.log, index), decodeBody(body))
		}); err != nil {
			return err
		}
	}
	return nil
}

// eachRecord hands fn the records of a file up to its end.
func eachRecord(dir string, s *segment, fn func(seq uint32, body []byte) error) error {
	f, err := os.Open(segmentName(dir, s.index))
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	data, _, err := readFrom(f, headerSize, s.end, true)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	sc := newScanner(data, s.log, s.first)
	for {
		seq, body, ok := sc.next()
		if !ok {
			return nil
		}
		if err := fn(seq, body); err != nil {
			return err
		}
	}
}
