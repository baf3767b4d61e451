package demo

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/wal"
)

// finish stops a demo whose time is over and proves that nothing that was acknowledged is lost, doubled or altered.
func (d *demo) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	online, age, err := d.measure(ctx)
	if err != nil {
		return err
	}
	d.say("stopping the dataloggers")
	if err := d.stopLoggers(); err != nil {
		return err
	}
	if d.o.beforeCheck != nil {
		if err := d.o.beforeCheck(d); err != nil {
			return err
		}
	}
	d.say("reading back what the dataloggers' own logs say was acknowledged")
	var stored, acked int64
	for _, l := range d.loggers {
		s, a, err := d.checkLogger(ctx, l)
		if err != nil {
			return err
		}
		if a == 0 {
			return fmt.Errorf("nothing that %s sampled was acknowledged", l.name)
		}
		stored, acked = stored+s, acked+a
	}
	d.say("stopping the hub")
	if err := d.hub.stop(); err != nil {
		return err
	}
	line := fmt.Sprintf("demo: devices_online=%d samples_stored=%d samples_acked=%d latest_age_s=%d", online, stored, acked, int64(math.Ceil(age.Seconds())))
	if online != len(d.loggers) {
		return fmt.Errorf("%s: only %d of %d dataloggers were online", line, online, len(d.loggers))
	}
	if age > maxLatestAge {
		return fmt.Errorf("%s: the newest sample of a live datalogger was %s old", line, age.Round(time.Second))
	}
	_, err = fmt.Fprintln(d.o.Out, line+" ok")
	return err
}

// measure returns how many dataloggers are online, and the greatest age of the newest sample of those that sample now.
func (d *demo) measure(ctx context.Context) (online int, age time.Duration, err error) {
	devices, err := d.api.Devices(ctx, d.project)
	if err != nil {
		return 0, 0, fmt.Errorf("list devices: %w", err)
	}
	isOnline := map[string]bool{}
	for _, v := range devices {
		isOnline[v.ID] = v.Online
	}
	newest, err := d.newest(ctx)
	if err != nil {
		return 0, 0, err
	}
	now := time.Now()
	for _, l := range d.loggers {
		if isOnline[l.device.ID] {
			online++
		}
		if l.live {
			age = max(age, now.Sub(time.UnixMilli(newest[l.device.ID])))
		}
	}
	return online, age, nil
}

// entry is one value of a datalogger's log.
type entry struct {
	time  lh.Millis
	seq   uint32 // of its record
	order int    // in the log
	acked bool
	value float64
}

// checkLogger compares a stopped datalogger's log with what the REST API exports of it. It returns how many samples
// are stored, and how many acknowledged ones it found there.
func (d *demo) checkLogger(ctx context.Context, l *logger) (stored, acked int64, err error) {
	log, order := map[string][]entry{}, 0
	err = wal.Each(filepath.Join(l.dir, samplesDir), func(_ uint64, seq uint32, ok bool, r wal.Record) error {
		for _, v := range r.Values {
			log[v.Channel] = append(log[v.Channel], entry{r.Time, seq, order, ok, v.Value})
		}
		order++
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("read the log of %s: %w", l.name, err)
	}
	elements, err := d.api.Elements(ctx, d.project, l.device.ID)
	if err != nil {
		return 0, 0, fmt.Errorf("list elements of %s: %w", l.name, err)
	}
	for _, e := range elements {
		s, a, err := d.checkElement(ctx, l, e.ID, e.Channel, log[e.Channel])
		if err != nil {
			return 0, 0, err
		}
		stored, acked = stored+s, acked+a
		delete(log, e.Channel)
	}
	for channel, es := range log {
		for _, e := range es {
			if e.acked {
				return 0, 0, lost(l, channel, e)
			}
		}
	}
	return stored, acked, nil
}

func lost(l *logger, channel string, e entry) error {
	return fmt.Errorf("an acknowledged sample cannot be read back: %s, channel %s, %s, value %v, record %d of its log",
		l.name, channel, e.time.Time().Format(time.RFC3339Nano), e.value, e.seq)
}

// checkElement walks through the export of one element, which ascends by time, and the log's entries of its channel
// side by side. What the log does not have (any more) may be stored: acknowledged records are kept in it up to a bound
// only, and a record whose acknowledgement got lost counts as not acknowledged there.
func (d *demo) checkElement(ctx context.Context, l *logger, id, channel string, log []entry) (stored, acked int64, err error) {
	slices.SortFunc(log, func(a, b entry) int { return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.order, b.order)) })
	last := lh.MinMillis - 1
	for s, err := range d.api.Export(ctx, d.project, []string{id}, int64(lh.MinMillis), int64(lh.MaxMillis)+1) {
		if err != nil {
			return 0, 0, fmt.Errorf("export of %s, channel %s: %w", l.name, channel, err)
		}
		t := lh.Millis(s.Time)
		if t <= last {
			return 0, 0, fmt.Errorf("a sample is stored twice, or out of order: %s, channel %s, %s", l.name, channel, t.Time().Format(time.RFC3339Nano))
		}
		last = t
		stored++
		for len(log) > 0 && log[0].time < t {
			if log[0].acked {
				return 0, 0, lost(l, channel, log[0])
			}
			log = log[1:]
		}
		n := 0
		for n < len(log) && log[n].time == t {
			n++
		}
		found, ok := current(log[:n], s.Value)
		if !ok {
			return 0, 0, fmt.Errorf("an acknowledged sample was altered: %s, channel %s, %s: its log has %v, the hub %v",
				l.name, channel, t.Time().Format(time.RFC3339Nano), log[n-1].value, s.Value)
		}
		if found {
			acked++
		}
		log = log[n:]
	}
	for _, e := range log {
		if e.acked {
			return 0, 0, lost(l, channel, e)
		}
	}
	return stored, acked, nil
}

// current reports whether the entries of one instant, in the log's order, allow value to be what is stored: the last
// acknowledged one's, or that of a later one whose acknowledgement may have got lost. found: one was acknowledged.
func current(same []entry, value float64) (found, ok bool) {
	if len(same) == 0 {
		return false, true
	}
	for i := len(same) - 1; i >= 0; i-- {
		ok = ok || same[i].value == value
		if same[i].acked {
			return true, ok
		}
	}
	return false, true
}
