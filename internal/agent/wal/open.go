package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
)

// Open opens the log in the folder dir, makes it when there is none, and repairs what a power cut left. It refuses
// nothing that a power cut, a full disk or a damaged file can leave; what cannot be read is counted, logged, and kept in
// aside/ when it is a whole file. Conflict ([ErrHeld]): another process has the log. Invalid: the options.
func Open(dir string, o Options) (*Log, error) {
	return open(dir, o, realDisk(), maxSequence)
}

func open(dir string, o Options, d disk, maxSequence uint32) (*Log, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &Log{dir: dir, o: o, disk: d, wake: make(chan struct{}, 1), maxSequence: maxSequence}
	if err := d.makeDir(l.asideDir()); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	if l.lock, err = lock(dir, true); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l.cursorF, l.cursor, err = openCursor(&d, dir)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", errors.Join(err, l.lock.Close()))
	}
	l.commitMu.Lock()
	err = l.recover()
	l.commitMu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("open log: %w", errors.Join(err, l.Close()))
	}
	return l, nil
}

// recover finds what is on the disk and gets ready to go on behind it. Holds commitMu.
func (l *Log) recover() error {
	if err := l.listAside(); err != nil {
		return err
	}
	list, err := listSegments(l.dir)
	if err != nil {
		return err
	}
	// The cursor's file number counts too: a file made later must not seem to be of before the cursor.
	l.index = l.cursor.index
	if n := len(list); n > 0 {
		l.index = max(l.index, list[n-1])
	}
	found, err := l.loadAll(list)
	if err != nil {
		return err
	}
	var last *loaded
	for i := range found {
		l.segments = append(l.segments, &found[i].segment)
		last = &found[i]
	}
	if err := l.resume(last); err != nil {
		return err
	}
	if !l.room(0, l.o.appendLimit()) {
		l.o.Log.Warn("the log is full", slog.Int64("bytes", l.bytes()), slog.Int64("max", l.o.MaxBytes))
	}
	l.trim()
	return nil
}

// loadAll reads the files of the log: of those that are acked as a whole the header, of the others every record.
func (l *Log) loadAll(list []uint64) ([]loaded, error) {
	heads := make([]loaded, len(list))
	ids := []uint64{}
	if l.cursor.log != 0 {
		ids = append(ids, l.cursor.log)
	}
	for i, index := range list {
		var err error
		if heads[i], err = load(&l.disk, l.dir, index, true, nil); err != nil {
			return nil, err
		}
		if n := len(ids); heads[i].readable && (n == 0 || ids[n-1] != heads[i].log) {
			ids = append(ids, heads[i].log)
		}
	}
	var out []loaded
	for i := range heads {
		if i+1 < len(heads) && l.ackedWhole(&heads[i], &heads[i+1]) {
			out = append(out, heads[i])
			continue
		}
		ld, err := load(&l.disk, l.dir, list[i], false, ids)
		if err != nil {
			return nil, err
		}
		if !ld.readable {
			if err := l.discard(&ld); err != nil {
				return nil, err
			}
			continue
		}
		out = append(out, ld)
		bad := ld.holes
		if i+1 < len(heads) || ld.holes > 0 || ld.lost > 0 {
			bad += ld.tail // else it is where a power cut stopped a write
		}
		if bad > 0 || ld.lost > 0 {
			l.damaged += uint64(bad)
			l.o.Log.Error("log file has bytes that are no records", slog.String("file", segmentName(l.dir, ld.index)),
				slog.Int64("bytes", bad), slog.Int64("unreadable", ld.lost))
		}
	}
	return out, nil
}

// ackedWhole reports whether the header of a file and of the one behind it tell that all its records are acked.
func (l *Log) ackedWhole(ld, behind *loaded) bool {
	if !ld.readable {
		return false
	}
	if ld.log != l.cursor.log {
		return ld.index < l.cursor.index
	}
	return behind.readable && behind.log == ld.log && behind.first > ld.first && behind.first-1 <= l.cursor.acked
}

// discard takes a file out of the log that has no record in it: it removes it when nothing can have been promised of it,
// and puts it aside when it was damaged.
func (l *Log) discard(ld *loaded) error {
	name := segmentName(l.dir, ld.index)
	if ld.fresh && ld.lost == 0 {
		return l.disk.remove(name)
	}
	to := filepath.Join(l.asideDir(), fmt.Sprintf("%012d.seg.damaged", ld.index))
	if err := l.disk.rename(name, to); err != nil {
		return err
	}
	l.damaged += uint64(ld.size)
	l.asides = append(l.asides, asideFile{name: filepath.Base(to), size: ld.size})
	l.o.Log.Error("log file cannot be read and was put aside", slog.String("file", to), slog.Int64("bytes", ld.size))
	return errors.Join(l.disk.syncDir(l.asideDir()), l.disk.syncDir(l.dir))
}

// resume makes ready to write behind the last file. A log of which it is not sure which sequence numbers were given
// goes on under a new id: a number the hub has seen must never name another record.
func (l *Log) resume(last *loaded) error {
	if last != nil && last.lost == 0 && !(last.log == l.cursor.log && l.cursor.acked > last.last()) {
		l.id, l.next = last.log, last.last()+1
		if last.holes > 0 || l.next > l.maxSequence {
			return nil // the file is left as it is; the next record begins another
		}
		return l.reopen(last)
	}
	if last != nil || l.cursor.log != 0 {
		l.o.Log.Warn("the log goes on under a new id", slog.Uint64("acked", uint64(l.cursor.acked)))
	}
	l.id, l.next = newID(), 1
	err := l.create(l.id, l.next)
	if noSpace(err) {
		l.o.Log.Error("no room for a log file yet", slog.Any("error", err))
		return nil // what is unacked can be sent; the next record tries again
	}
	return err
}

// reopen opens the last file for writing, without the tail that a power cut left, and syncs it: records that a killed
// process wrote may not be on the disk yet, and they are about to be sent.
func (l *Log) reopen(last *loaded) error {
	name := segmentName(l.dir, last.index)
	f, err := l.disk.open(name, os.O_RDWR)
	if err != nil {
		return err
	}
	if last.tail > 0 {
		l.o.Log.Info("log cut behind its last whole record", slog.String("file", name), slog.Int64("bytes", last.tail))
		err = f.Truncate(last.end)
		last.size = last.end
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.disk.syncDir(l.dir)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.active = f
	return nil
}
