package series

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// write is one write that is still in the journal.
type write struct {
	lh.Sample
	received lh.Millis
}

// unfolded returns an element's writes in [from, to) that are still in the journal, by day, in the order they were
// taken in. Its memory is bounded by the device's unfolded rows.
func (e *Engine) unfolded(ctx context.Context, sc store.Scope, el lh.Element, from, to lh.Millis) (map[int32][]write, error) {
	days := map[int32][]write{}
	var u Upload
	var batch wire.Batch
	err := e.db.Journal(ctx, sc, el.Source(), func(row store.JournalRow) error {
		err := row.Err
		if err == nil {
			err = decodeJournal(&u, &batch, row.Body)
		}
		if err != nil {
			e.problem("journal row "+row.ID.String(), err)
			return nil // the rest can be read
		}
		c := slices.Index(u.Elements, el.ID)
		if c < 0 {
			return nil
		}
		u.Each(func(channel uint16, s lh.Sample) {
			if int(channel) == c && s.Time >= from && s.Time < to {
				d := s.Time.Day()
				days[d] = append(days[d], write{s, u.Received})
			}
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return days, nil
}

// winners returns the writes that stand among some.
func winners(ws []write) []lh.Sample {
	s := make([]lh.Sample, len(ws))
	for i := range ws {
		s[i] = ws[i].Sample
	}
	return normalize(s, nil)
}

// day is what is known of one UTC day before its chunk is opened.
type day struct {
	number  int32
	stored  bool        // there is a chunk
	summary summary     // of the chunk, if stored
	journal []lh.Sample // normalized; only what is in the range asked for
	writes  []write     // the same before normalizing, where the past is asked for
	plain   bool        // it is shown as it is; see [reader.plain]
}

// days lists the days that have samples, ascending. The journal is read before the chunks: what is folded in between
// shows twice and is merged, instead of being missed.
func (r *reader) days(ctx context.Context) ([]day, error) {
	if r.from >= r.to {
		return nil, nil
	}
	journal, err := r.e.unfolded(ctx, r.sc, r.el, r.from, r.to)
	if err != nil {
		return nil, err
	}
	filled := r.fillDays()
	var days []day
	add := func(d day) {
		d.plain = r.plain(d.number)
		if ws := journal[d.number]; ws != nil {
			d.journal = winners(ws)
			if r.past {
				d.writes = ws
			}
		}
		delete(journal, d.number)
		delete(filled, d.number)
		days = append(days, d)
	}
	err = r.e.db.Summaries(ctx, r.sc, r.el.ID, r.from.Day(), (r.to - 1).Day(), func(c store.Chunk) error {
		s, err := decodeSummary(c.Day, c.Summary)
		if err != nil {
			return r.e.unreadable(chunkKey{r.el.ID, c.Day}, err)
		}
		add(day{number: c.Day, stored: true, summary: s})
		return nil
	})
	if err != nil {
		return nil, err
	}
	for n := range journal {
		add(day{number: n})
	}
	for n := range filled {
		add(day{number: n})
	}
	slices.SortFunc(days, func(a, b day) int { return int(a.number) - int(b.number) })
	return days, nil
}

// open returns a day's samples, in dst's memory.
func (r *reader) open(ctx context.Context, d *day, dst []lh.Sample) ([]lh.Sample, error) {
	var body []byte
	if d.stored {
		c, err := r.e.db.Chunk(ctx, r.sc, r.el.ID, d.number)
		if err != nil {
			return dst, err
		}
		body = c.Body
	}
	return r.viewStored(ctx, d, body, dst)
}

// viewStored is [reader.view] of a chunk that may have been deleted since days listed it: then body is nil.
func (r *reader) viewStored(ctx context.Context, d *day, body []byte, dst []lh.Sample) ([]lh.Sample, error) {
	if d.stored && body == nil {
		without := *d
		without.stored = false
		d = &without
	}
	return r.view(ctx, d, body, dst)
}

// Bounds of what walk reads with one query.
const (
	walkDays  = 64
	walkBytes = 1 << 20
)

// walk hands fn the samples of the days, one day after the other; fn must not keep them. Chunks are read some at a time,
// closed, with no query open while fn works: a slow receiver holds up nobody.
func (r *reader) walk(ctx context.Context, days []day, fn func([]lh.Sample) error) error {
	var samples []lh.Sample
	var bodies [][]byte
	full := errors.New("enough")
	for len(days) > 0 {
		n := min(len(days), walkDays)
		bodies = append(bodies[:0], make([][]byte, n)...)
		if slices.ContainsFunc(days[:n], func(d day) bool { return d.stored }) {
			i, size := 0, 0
			err := r.e.db.Chunks(ctx, r.sc, r.el.ID, days[0].number, days[n-1].number, func(c store.Chunk) error {
				if size > walkBytes {
					return full
				}
				for i < n && days[i].number < c.Day {
					i++
				}
				if i < n && days[i].number == c.Day { // else stored meanwhile: newer than this answer
					bodies[i], size = c.Body, size+len(c.Body)
					i++
				}
				return nil
			})
			if errors.Is(err, full) {
				n, err = i, nil
			}
			if err != nil {
				return err
			}
		}
		for i := range n {
			var err error
			if samples, err = r.viewStored(ctx, &days[i], bodies[i], samples); err != nil {
				return err
			}
			if err := fn(samples); err != nil {
				return err
			}
		}
		days = days[n:]
	}
	return nil
}

// unreadable notes what of a chunk cannot be read and names it.
func (e *Engine) unreadable(k chunkKey, err error) error {
	if gone(err) {
		return err
	}
	e.problem(k.String(), err)
	return fmt.Errorf("%s: %w", k, err)
}

// Read yields the samples of an element in [from, to) as people see them now, each once, ascending. It holds some
// chunks and one day's samples in memory at a time, beside the device's unfolded uploads, so that an export of any length streams. An error ends it.
func (e *Engine) Read(ctx context.Context, sc store.Scope, el lh.Element, from, to lh.Millis) iter.Seq2[lh.Sample, error] {
	return e.ReadView(ctx, sc, el, from, to, View{})
}

// ReadView is [Engine.Read] as another View shows the series.
func (e *Engine) ReadView(ctx context.Context, sc store.Scope, el lh.Element, from, to lh.Millis, v View) iter.Seq2[lh.Sample, error] {
	return func(yield func(lh.Sample, error) bool) {
		r, err := e.reader(ctx, sc, el, from, to, v)
		var days []day
		if err == nil {
			days, err = r.days(ctx)
		}
		if err != nil {
			yield(lh.Sample{}, err)
			return
		}
		ended := errors.New("no more is wanted")
		err = r.walk(ctx, days, func(samples []lh.Sample) error {
			for _, s := range samples {
				if !yield(s, nil) {
					return ended
				}
			}
			return nil
		})
		if err != nil && err != ended {
			yield(lh.Sample{}, err)
		}
	}
}
