package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// cursor says how far the hub has the log, and counts what was given up.
type cursor struct {
	log   uint64 // records of this log up to acked are acked, and so is every file of another log numbered below index
	index uint64 // number of a file of that log
	acked uint32

	dropped uint64 // records
	aside   uint64 // records
}

// ackedIn returns up to which sequence number the records of a file are acked.
func (c *cursor) ackedIn(log, index uint64) uint32 {
	switch {
	case log == c.log:
		return c.acked
	case index < c.index:
		return maxSequence
	}
	return 0
}

// The cursor's file has two slots, far enough apart for no sector and no page to hold both. They are written in turn,
// in place: a power cut spoils at most the one being written, and a full disk cannot stop it.
const (
	cursorMagic = "LHA1"
	slotSize    = 4 + 8 + 8 + 8 + 4 + 8 + 8 + 4
	slotStep    = 4096
	cursorSize  = 2 * slotStep
)

func (c *cursor) append(dst []byte, turn uint64) []byte {
	start := len(dst)
	dst = append(dst, cursorMagic...)
	dst = binary.LittleEndian.AppendUint64(dst, turn)
	dst = binary.LittleEndian.AppendUint64(dst, c.log)
	dst = binary.LittleEndian.AppendUint64(dst, c.index)
	dst = binary.LittleEndian.AppendUint32(dst, c.acked)
	dst = binary.LittleEndian.AppendUint64(dst, c.dropped)
	dst = binary.LittleEndian.AppendUint64(dst, c.aside)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

func parseSlot(b []byte) (c cursor, turn uint64, ok bool) {
	if len(b) < slotSize || string(b[:4]) != cursorMagic ||
		crc32.Checksum(b[:slotSize-4], castagnoli) != binary.LittleEndian.Uint32(b[slotSize-4:]) {
		return c, 0, false
	}
	turn = binary.LittleEndian.Uint64(b[4:])
	c.log, c.index = binary.LittleEndian.Uint64(b[12:]), binary.LittleEndian.Uint64(b[20:])
	c.acked = binary.LittleEndian.Uint32(b[28:])
	c.dropped, c.aside = binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:])
	return c, turn, c.index <= maxIndex
}

// parseCursor returns the newer of the slots that are whole. None: the zero cursor, and everything is unacked.
func parseCursor(b []byte) (c cursor, turn uint64) {
	for at := 0; at < len(b); at += slotStep {
		if slot, t, ok := parseSlot(b[at:]); ok && t > turn {
			c, turn = slot, t
		}
	}
	return c, turn
}

// cursorFile is the open file of the cursor.
type cursorFile struct {
	f    file
	turn uint64 // of the slot that holds
}

// openCursor opens the cursor's file, or makes it in its whole size.
func openCursor(d *disk, dir string) (cf cursorFile, c cursor, err error) {
	f, err := d.open(filepath.Join(dir, "cursor"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		return cf, c, err
	}
	b, _, err := readFrom(f, 0, cursorSize, true)
	if err != nil {
		return cf, c, errors.Join(err, f.Close())
	}
	c, turn := parseCursor(b)
	cf = cursorFile{f: f, turn: turn}
	if len(b) < cursorSize {
		_, err = f.WriteAt(make([]byte, cursorSize-len(b)), int64(len(b)))
		if err == nil {
			err = f.Sync()
		}
	}
	if err == nil {
		err = d.syncDir(dir) // the file may be older than the sync of its name
	}
	if err != nil {
		return cf, c, errors.Join(err, f.Close())
	}
	return cf, c, nil
}

// write makes c durable. On an error the old one holds still: the next write takes the same slot again.
func (cf *cursorFile) write(c cursor) error {
	turn := cf.turn + 1
	if _, err := cf.f.WriteAt(c.append(nil, turn), int64(turn%2)*slotStep); err != nil {
		return fmt.Errorf("write cursor: %w", err)
	}
	if err := cf.f.Sync(); err != nil {
		return fmt.Errorf("sync cursor: %w", err)
	}
	cf.turn = turn
	return nil
}
