package sensor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// replay gives the readings of a CSV file, each with its own time. Its place in the file is kept in a state file, which
// Commit writes; see [Committer].
type replay struct {
	c        *CSV
	log      *slog.Logger
	table    *table
	state    string
	channels []wire.ManifestChannel
	byMatch  map[string]*MatchChannel

	// ahead are the instants of the last Sample while they are not committed, and then nothing; done is where the file
	// goes on behind them.
	ahead []Record
	done  int64
	fault error // of the rows of ahead
	given bool  // there is something in ahead

	next  *instant // read, but its time has not come
	ended bool
	// With a speed: when the replay began, and with what time.
	began time.Time
	from  lh.Millis

	unknown map[string]bool // rows of these matches are left out, and that was said
}

const (
	maxUnknown = 100  // kinds of rows that are named in the log
	maxAtOnce  = 1000 // instants of one Sample, with a speed
)

func newReplay(c *CSV, base string, log *slog.Logger) (Sensor, error) {
	copied := *c
	c = &copied
	if c.File == "" || c.State == "" || c.Time == "" {
		return nil, lh.Errorf(lh.Invalid, "file, state and time are needed")
	}
	if (len(c.Key) > 0) != (c.Value != "") {
		return nil, lh.Errorf(lh.Invalid, "key and value belong together: they are for rows of one value")
	}
	if c.Unit == "" && len(c.Units) > 0 || c.Flag == "" && len(c.Flags) > 0 {
		return nil, lh.Errorf(lh.Invalid, "units need a unit column, and flags a flag column")
	}
	for word, f := range c.Flags {
		if !f.Valid() {
			return nil, lh.Errorf(lh.Invalid, "flags: %q cannot be the unknown flag %d", word, f)
		}
	}
	if !(c.Speed >= 0 && c.Speed <= 1e9) {
		return nil, lh.Errorf(lh.Invalid, "speed: it is 0 to 1e9, not %v", c.Speed)
	}
	if c.Every < 0 || c.Every > 366*24*time.Hour {
		return nil, lh.Errorf(lh.Invalid, "every: it is at most 366 days, not %v", c.Every)
	}
	if len(c.Channels) == 0 {
		return nil, lh.Errorf(lh.Invalid, "channels: at least one is needed")
	}
	r := &replay{c: c, log: log, state: under(base, c.State), byMatch: map[string]*MatchChannel{}, unknown: map[string]bool{}}
	for i := range c.Channels {
		ch := &c.Channels[i]
		if err := ch.check(); err != nil {
			return nil, err
		}
		if ch.Match == "" || r.byMatch[ch.Match] != nil {
			return nil, lh.Errorf(lh.Invalid, "channel %q: it needs a match that no other has", ch.Key)
		}
		r.byMatch[ch.Match] = ch
		r.channels = append(r.channels, ch.describe(c.Every))
	}
	t, err := openTable(c, under(base, c.File))
	if err != nil {
		return nil, err
	}
	r.table = t
	at, err := loadPlace(r.state, t)
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	if at > 0 {
		if err := t.seek(at); err != nil {
			return nil, errors.Join(err, t.close())
		}
	}
	r.done = at
	return r, nil
}

func (r *replay) Channels() []wire.ManifestChannel { return r.channels }
func (r *replay) Close() error                     { return r.table.close() }

// Commit makes the place behind the last Sample's records durable. When that fails the replay goes on all the same, and
// the next Commit tries anew: until then a restart would give the records twice, and that is better than to give them
// at every Sample.
func (r *replay) Commit() error {
	if !r.given {
		return nil
	}
	r.ahead, r.fault, r.given = nil, nil, false
	if err := savePlace(r.state, r.table, r.done); err != nil {
		return fmt.Errorf("keep the place in %s: %w", r.c.File, err)
	}
	return nil
}

func (r *replay) Sample(ctx context.Context, now time.Time) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r.given {
		return r.ahead, r.fault
	}
	var faults []error
	done := r.done
	for n := 0; n < maxAtOnce; n++ {
		if r.next == nil && !r.ended {
			in, err := r.table.instant()
			if err != nil {
				return nil, fmt.Errorf("replay %s: %w", r.c.File, err)
			}
			if r.next = in; in == nil {
				r.ended = true
				r.log.Info("the replay is at its end", slog.String("file", r.c.File))
			}
		}
		if r.next == nil || !r.due(r.next, now) {
			break
		}
		rec, err := r.record(r.next)
		faults = append(faults, err)
		done, r.next = r.next.end, nil
		if len(rec.Readings) > 0 {
			r.ahead = append(r.ahead, rec)
		}
		if r.c.Speed == 0 && (len(rec.Readings) > 0 || err != nil) {
			break // instants without any reading of ours are stepped over
		}
	}
	r.done = done
	err := errors.Join(faults...)
	if len(r.ahead) > 0 {
		r.given, r.fault = true, err
	} // else there is nothing to make durable first
	return r.ahead, err
}

// due reports whether the time of an instant has come.
func (r *replay) due(in *instant, now time.Time) bool {
	if r.c.Speed == 0 || !in.timed {
		return true
	}
	if r.began.IsZero() {
		r.began, r.from = now, in.time
	}
	passed := float64(now.Sub(r.began).Milliseconds()) * r.c.Speed
	return float64(in.time-r.from) <= passed
}

// record makes the record of an instant. Rows that are not right are named in the error, and the others count.
func (r *replay) record(in *instant) (Record, error) {
	rec := Record{Time: in.time}
	errs := in.faults
	seen := map[string]bool{}
	for _, c := range in.cells {
		ch := r.byMatch[c.match]
		if ch == nil {
			if !r.unknown[c.match] && len(r.unknown) < maxUnknown {
				r.unknown[c.match] = true
				r.log.Warn("rows of a replay belong to no channel and are left out", slog.String("file", r.c.File), slog.String("match", c.match))
			}
			continue
		}
		v, present, err := parseNumber(c.value, r.c.Absent)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d, channel %q: %w", c.line, ch.Key, err))
			continue
		}
		if !present {
			continue
		}
		if r.c.Unit != "" {
			unit, known := r.c.Units[c.unit]
			if !known {
				unit = c.unit
			}
			if unit != ch.Unit {
				errs = append(errs, lh.Errorf(lh.Invalid, "line %d, channel %q: the unit is %q, not %q", c.line, ch.Key, c.unit, ch.Unit))
				continue
			}
		}
		if seen[ch.Key] {
			errs = append(errs, lh.Errorf(lh.Invalid, "line %d, channel %q: there is a value of that instant already", c.line, ch.Key))
			continue
		}
		flag := lh.FlagNotEvaluated
		if f, ok := r.c.Flags[c.flag]; ok && r.c.Flag != "" {
			flag = f
		}
		x, ok := ch.reading(v, flag)
		if !ok {
			errs = append(errs, lh.Errorf(lh.Invalid, "line %d, channel %q: the value is not finite", c.line, ch.Key))
			continue
		}
		seen[ch.Key] = true
		rec.Readings = append(rec.Readings, x)
	}
	if len(errs) > maxFaults {
		errs = append(errs[:maxFaults:maxFaults], fmt.Errorf("and %d more", len(errs)-maxFaults))
	}
	if len(errs) > 0 {
		return rec, fmt.Errorf("replay %s: %w", r.c.File, errors.Join(errs...))
	}
	return rec, nil
}

// maxFaults bounds how many rows of an instant an error names.
const maxFaults = 5
