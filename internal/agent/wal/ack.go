package wal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Ack moves the cursor, durably: the hub has the records of the log with this id (Batch.Log) up to through. Going back,
// and the id of a log that is not there any more, are ignored. Invalid: that log has not got so many records; who says
// it must not make the device forget what it has yet to measure.
func (l *Log) Ack(log uint64, through uint32) error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	if l.closed {
		return errClosed
	}
	return l.ack(log, through, 0)
}

// ack moves the cursor and counts records as set aside. Holds commitMu.
func (l *Log) ack(log uint64, through uint32, aside int) error {
	var of *segment // the last file of that log
	for _, s := range l.segments {
		if s.log == log {
			of = s
		}
	}
	if of == nil {
		return nil
	}
	c := l.cursor
	if through <= c.ackedIn(log, of.index) {
		return nil
	}
	if last := of.last(); through > last {
		return lh.Errorf(lh.Invalid, "record %d is acked, but %d is the last", through, last)
	}
	c.log, c.index, c.acked = log, of.index, through
	c.aside += uint64(aside)
	if err := l.cursorF.write(c); err != nil {
		return err
	}
	l.mu.Lock()
	l.cursor = c
	l.mu.Unlock()
	l.trim()
	return nil
}

// asideFile is a file in aside/.
type asideFile struct {
	name    string
	size    int64
	records int64
}

func (l *Log) asideDir() string { return filepath.Join(l.dir, "aside") }

// asideName is also how the file tells how many records it has.
const asideName = "%016x-%d-%d.jsonl"

// listAside finds what is aside, oldest first. Holds commitMu.
func (l *Log) listAside() error {
	entries, err := os.ReadDir(l.asideDir())
	if err != nil {
		return err
	}
	age := map[string]time.Time{}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if strings.HasSuffix(e.Name(), ".tmp") { // a power cut left it; its records are unacked
			if err := l.disk.remove(filepath.Join(l.asideDir(), e.Name())); err != nil {
				return err
			}
			continue
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		a := asideFile{name: e.Name(), size: st.Size()}
		var log uint64
		var first, last uint32
		if n, err := fmt.Sscanf(a.name, asideName, &log, &first, &last); err == nil && n == 3 && first <= last {
			a.records = int64(last-first) + 1
		}
		age[a.name] = st.ModTime()
		l.asides = append(l.asides, a)
	}
	slices.SortFunc(l.asides, func(a, b asideFile) int {
		if c := age[a.name].Compare(age[b.name]); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return nil
}

// dropAside removes the oldest file of what is aside. Holds commitMu.
func (l *Log) dropAside() bool {
	a := l.asides[0]
	if a.records > 0 {
		l.count(uint64(a.records))
	}
	l.o.Log.Warn("log full: what was set aside dropped", slog.String("file", a.name), slog.Int64("records", a.records))
	if err := l.disk.remove(filepath.Join(l.asideDir(), a.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.o.Log.Error("file cannot be removed", slog.Any("error", err))
		return false
	}
	l.mu.Lock()
	l.asides = l.asides[1:]
	l.mu.Unlock()
	return true
}

// asideHead is the first line of a file in aside/, asideRecord each other.
type asideHead struct {
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"` // by the device's clock
	Log    string    `json:"log"`
	First  uint32    `json:"first"`
	Last   uint32    `json:"last"`
}

type asideRecord struct {
	Seq    uint32             `json:"seq"`
	Time   lh.Millis          `json:"t"`
	Values map[string]float64 `json:"v"`
	Flags  map[string]lh.Flag `json:"f,omitempty"` // those that are not good
}

// maxReason bounds what is kept of a reason, which the hub may have written.
const maxReason = 1 << 10

// SetAside copies the records first to last of the log with this id into a readable file in aside/, with the reason,
// durably, and then acks them. They must be the next unacked ones; when they are acked already nothing happens.
// Conflict: there are unacked records before first. Exhausted ([ErrFull]): no room for the copy.
func (l *Log) SetAside(log uint64, first, last uint32, reason string) error {
	l.readMu.Lock()
	defer l.readMu.Unlock()
	content, records, err := l.asideContent(log, first, last, reason)
	if err != nil || records == 0 {
		return err
	}
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	if l.closed {
		return errClosed
	}
	if !l.room(int64(len(content)), l.o.MaxBytes) {
		return fmt.Errorf("set records aside: %w", ErrFull)
	}
	name := fmt.Sprintf(asideName, log, first, last)
	if err := l.writeAside(name, content); err != nil {
		if noSpace(err) {
			err = fmt.Errorf("%w: %w", ErrFull, err)
		}
		return fmt.Errorf("set records aside: %w", err)
	}
	l.mu.Lock()
	l.asides = slices.DeleteFunc(l.asides, func(a asideFile) bool { return a.name == name })
	l.asides = append(l.asides, asideFile{name: name, size: int64(len(content)), records: int64(last-first) + 1})
	l.mu.Unlock()
	l.o.Log.Warn("records set aside", slog.String("file", name), slog.Int("records", records), slog.String("reason", reason))
	if err := l.ack(log, last, records); err != nil {
		return fmt.Errorf("set records aside: %w", err)
	}
	return nil
}

// asideContent makes the content of a file for aside/. No records: they are acked. Holds readMu.
func (l *Log) asideContent(log uint64, first, last uint32, reason string) (content []byte, records int, err error) {
	if first == 0 || last < first || last > maxSequence {
		return nil, 0, lh.Errorf(lh.Invalid, "there are no records %d to %d", first, last)
	}
	files, from := l.unacked()
	if len(files) == 0 || from > last && files[0].log == log {
		return nil, 0, nil
	}
	if files[0].log != log || from < first {
		return nil, 0, lh.Errorf(lh.Conflict, "record %d of log %016x comes before what is to be set aside", from, files[0].log)
	}
	if end := files[len(files)-1].last(); last > end {
		return nil, 0, lh.Errorf(lh.Invalid, "records to %d are to be set aside, but %d is the last", last, end)
	}
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	content, err = json.Marshal(asideHead{strings.ToValidUTF8(reason, "\uFFFD"), l.o.Now().UTC(), fmt.Sprintf("%016x", log), first, last})
	if err != nil {
		return nil, 0, err
	}
	content = append(content, '\n')
	var bad error
	err = l.walk(func(_ uint64, seq uint32, body []byte) bool {
		if seq > last || bad != nil {
			return false
		}
		if int64(len(content)) > l.o.MaxBytes/16 {
			bad = lh.Errorf(lh.Invalid, "%d records at once are too many to set aside", last-first+1)
			return false
		}
		r := asideRecord{Seq: seq, Time: bodyTime(body), Values: map[string]float64{}, Flags: map[string]lh.Flag{}}
		eachValue(body, func(channel []byte, flag lh.Flag, v float64) {
			r.Values[string(channel)] = v
			if flag != lh.FlagGood {
				r.Flags[string(channel)] = flag
			}
		})
		line, err := json.Marshal(r)
		if err != nil {
			bad = err
			return false
		}
		content = append(append(content, line...), '\n')
		records++
		return true
	})
	if err := errors.Join(err, bad); err != nil {
		return nil, 0, fmt.Errorf("set records aside: %w", err)
	}
	return content, records, nil
}

// writeAside makes a file in aside/, synced with its name. Holds commitMu.
func (l *Log) writeAside(name string, content []byte) error {
	path := filepath.Join(l.asideDir(), name)
	f, err := l.disk.open(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = l.disk.rename(path+".tmp", path)
	}
	if err == nil {
		err = l.disk.syncDir(l.asideDir())
	}
	if err != nil {
		if rm := l.disk.remove(path + ".tmp"); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}
	return err
}
