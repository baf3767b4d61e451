package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// A segment's header is a magic, the file's number, the log's id, the first sequence number and a CRC-32C of them.
const (
	segmentMagic = "LHL1"
	headerSize   = 4 + 8 + 8 + 4 + 4
	// maxFile bounds what is read of a file: a full segment and the record that filled it.
	maxFile = maxSegment + headSize + maxBody
	// maxIndex bounds the numbers of files, so that there is always a next one.
	maxIndex = math.MaxInt64 / 2
)

// run is an unbroken row of sequence numbers.
type run struct{ first, last uint32 }

// segment is one file of the log, of one log id. Files are numbered in the order they were made.
type segment struct {
	index uint64
	log   uint64
	first uint32 // sequence number of its first record
	runs  []run  // the records it has; of files that were acked before opening, none
	size  int64  // on disk
	end   int64  // records are read up to here; what is behind was never promised
}

// last returns the last sequence number of the segment; first-1 when it has no record.
func (s *segment) last() uint32 {
	if len(s.runs) == 0 {
		return s.first - 1
	}
	return s.runs[len(s.runs)-1].last
}

// add notes a record behind the others.
func (s *segment) add(seq uint32) {
	if n := len(s.runs); n > 0 && s.runs[n-1].last+1 == seq {
		s.runs[n-1].last = seq
		return
	}
	s.runs = append(s.runs, run{seq, seq})
}

// above returns how many records have a number above acked, and the first of these.
func (s *segment) above(acked uint32) (n int64, first uint32) {
	for _, r := range s.runs {
		if r.last <= acked {
			continue
		}
		from := max(r.first, acked+1)
		if n == 0 {
			first = from
		}
		n += int64(r.last-from) + 1
	}
	return n, first
}

func appendHeader(dst []byte, index, log uint64, first uint32) []byte {
	start := len(dst)
	dst = append(dst, segmentMagic...)
	dst = binary.LittleEndian.AppendUint64(dst, index)
	dst = binary.LittleEndian.AppendUint64(dst, log)
	dst = binary.LittleEndian.AppendUint32(dst, first)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func parseHeader(b []byte, index uint64) (log uint64, first uint32, ok bool) {
	if len(b) < headerSize || string(b[:4]) != segmentMagic ||
		crc32.Checksum(b[:headerSize-4], castagnoli) != binary.LittleEndian.Uint32(b[headerSize-4:]) ||
		binary.LittleEndian.Uint64(b[4:]) != index {
		return 0, 0, false
	}
	log, first = binary.LittleEndian.Uint64(b[12:]), binary.LittleEndian.Uint32(b[20:])
	return log, first, log != 0 && first != 0 && first <= maxSequence
}

func segmentName(dir string, index uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%012d.seg", index))
}

// listSegments returns the numbers of the files of the log in dir, in order.
func listSegments(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var out []uint64
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), ".seg")
		if !ok || !e.Type().IsRegular() {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || n == 0 || n > maxIndex || filepath.Base(segmentName(dir, n)) != e.Name() {
			continue
		}
		out = append(out, n)
	}
	slices.Sort(out)
	return out, nil
}

// sector is what a failing disk is read by.
const sector = 4096

// readFrom reads [from, to) of f, as far as the file goes. When the disk cannot read it and salvage is set, it reads
// sector by sector and leaves zeros where it cannot; lost counts them.
func readFrom(f io.ReaderAt, from, to int64, salvage bool) (data []byte, lost int64, err error) {
	data = make([]byte, max(to-from, 0))
	n, err := f.ReadAt(data, from)
	if err == nil || errors.Is(err, io.EOF) {
		return data[:n], 0, nil
	}
	if !salvage {
		return nil, 0, err
	}
	for at := int64(0); at < int64(len(data)); at += sector {
		part := data[at:min(at+sector, int64(len(data)))]
		n, err := f.ReadAt(part, from+at)
		if errors.Is(err, io.EOF) {
			return data[:at+int64(n)], lost, nil
		}
		if err != nil {
			clear(part)
			lost += int64(len(part))
		}
	}
	return data, lost, nil
}

// loaded is a segment as it was found on the disk.
type loaded struct {
	segment
	readable bool  // its header or its records say what it is
	fresh    bool  // there is nothing in it that could have been promised
	tail     int64 // bytes behind the last record that are none
	holes    int64 // bytes between records that are none
	lost     int64 // bytes the disk could not read
}

// load reads a file of the log. When only its header is damaged, its records tell by one of the ids in guess which log
// they are of.
func load(d *disk, dir string, index uint64, headerOnly bool, guess []uint64) (ld loaded, err error) {
	name := segmentName(dir, index)
	st, err := os.Stat(name)
	if err != nil {
		return ld, err
	}
	f, err := d.open(name, os.O_RDONLY)
	if err != nil {
		return ld, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	ld.index, ld.size, ld.end = index, st.Size(), headerSize
	head, _, err := readFrom(f, 0, headerSize, true)
	if err != nil {
		return ld, err
	}
	log, first, ok := parseHeader(head, index)
	if ok {
		ld.log, ld.first, ld.readable = log, first, true
		if headerOnly {
			ld.end = ld.size
			return ld, nil
		}
		guess = []uint64{log}
	}
	data, lost, err := readFrom(f, 0, min(ld.size, maxFile), true)
	if err != nil {
		return ld, err
	}
	ld.lost = lost
	ld.fresh = !slices.ContainsFunc(data, func(b byte) bool { return b != 0 }) || len(data) <= headerSize
	if len(data) <= headerSize {
		return ld, nil
	}
	for _, log := range guess {
		s := newScanner(data[headerSize:], log, max(ld.first, 1))
		if !ld.readable {
			s.any = true
		}
		for {
			seq, _, ok := s.next()
			if !ok {
				break
			}
			if !ld.readable {
				ld.log, ld.first, ld.readable = log, seq, true
			}
			ld.add(seq)
		}
		ld.end = headerSize + int64(s.at)
		ld.holes = int64(s.skipped)
		ld.tail = ld.size - ld.end
		if ld.readable {
			break
		}
	}
	return ld, nil
}

// create makes the next file of the log, synced with its name, for records of the log from sequence number first on.
// Holds commitMu.
func (l *Log) create(log uint64, first uint32) error {
	if l.index >= maxIndex {
		return lh.Errorf(lh.Exhausted, "the log has no file numbers left")
	}
	l.index++ // also when it fails: what is left of the file stays alone
	name := segmentName(l.dir, l.index)
	f, err := l.disk.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(appendHeader(nil, l.index, log, first), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.disk.syncDir(l.dir)
	}
	if err != nil {
		err = errors.Join(err, f.Close())
		if rm := l.disk.remove(name); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
		return err
	}
	l.active = f
	l.mu.Lock()
	l.segments = append(l.segments, &segment{index: l.index, log: log, first: first, size: headerSize, end: headerSize})
	l.mu.Unlock()
	return nil
}
