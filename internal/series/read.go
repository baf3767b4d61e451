package series

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
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
	take := func(row store.JournalRow) error {
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
	}
	for _, d := range el.Sources() {
		if err := e.db.Journal(ctx, sc, d, take); err != nil {
			return nil, err
		}
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
	summary summary     // of the chunk, if stored and asked for
	journal []lh.Sample // normalized; only what is in the range asked for
	writes  []write     // the same before normalizing, where the past is asked for
	plain   bool        // it is shown as it is; see [reader.plain]
}

// straight reports whether a day is shown as its chunk has it.
func (d *day) straight() bool { return d.plain && d.stored && len(d.journal) == 0 }

// covers reports whether all of a day is asked for.
func (r *reader) covers(d int32) bool { return lh.DayStart(d) >= r.from && lh.DayStart(d+1) <= r.to }

// dayOf says what is known of a day.
func (r *reader) dayOf(n int32, stored bool) day {
	d := day{number: n, stored: stored, plain: r.plain(n)}
	if ws := r.journal[n]; ws != nil {
		d.journal = winners(ws)
		if r.past {
			d.writes = ws
		}
	}
	return d
}

// unfolded reads the journal, once for all readers of the same question. It must be called before any chunk is read:
// what is folded in between shows twice and is merged, instead of being missed.
func (r *reader) unfolded(ctx context.Context) (err error) {
	if r.journal == nil {
		r.journal, err = r.e.unfolded(ctx, r.sc, r.el, r.from, r.to)
	}
	return err
}

// extra lists the days in the range that may have samples without a chunk, ascending.
func (r *reader) extra() []int32 {
	found := r.fillDays()
	for n := range r.journal {
		if n >= r.from.Day() && n <= (r.to-1).Day() {
			found[n] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// stream reads all days of the range.
func (r *reader) stream(ctx context.Context, f form, fn func(piece) error) error {
	if r.from >= r.to {
		return nil
	}
	if err := r.unfolded(ctx); err != nil {
		return err
	}
	s := &stream{r: r, form: f, next: r.from.Day(), last: (r.to - 1).Day(), extra: r.extra()}
	return s.each(ctx, fn)
}

// streamDays reads some days that days has listed. What is stored since then is newer than this answer.
func (r *reader) streamDays(ctx context.Context, f form, days []day, fn func(piece) error) error {
	s := &stream{r: r, form: f, next: days[0].number, last: days[len(days)-1].number, only: days}
	for i := range days {
		if !days[i].stored {
			s.extra = append(s.extra, days[i].number)
		}
	}
	return s.each(ctx, fn)
}

// days lists the days that have samples, ascending, with their summaries.
func (r *reader) days(ctx context.Context) ([]day, error) {
	if r.from >= r.to {
		return nil, nil
	}
	if err := r.unfolded(ctx); err != nil {
		return nil, err
	}
	var days []day
	err := r.e.db.ClosedSummaries(ctx, r.sc, r.el.ID, r.from.Day(), (r.to - 1).Day(), func(c store.ClosedChunk) error {
		d := r.dayOf(c.Day, true)
		var err error
		if d.summary, err = r.e.codec.summaryOf(&c); err != nil {
			return r.e.unreadable(chunkKey{r.el.ID, c.Day}, err)
		}
		days = append(days, d)
		return nil
	})
	if err != nil {
		return nil, err
	}
	stored := len(days)
	for _, n := range r.extra() {
		if _, found := slices.BinarySearchFunc(days[:stored], n, func(d day, n int32) int { return int(d.number) - int(n) }); !found {
			days = append(days, r.dayOf(n, false))
		}
	}
	slices.SortFunc(days, func(a, b day) int { return int(a.number) - int(b.number) })
	return days, nil
}

// summaryOf opens a chunk's summary, or makes it of the body where there is none.
func (c *codec) summaryOf(chunk *store.ClosedChunk) (summary, error) {
	b, err := chunk.Summary()
	if err != nil {
		return summary{}, err
	}
	if b != nil {
		return decodeSummary(chunk.Day, b)
	}
	if b, err = chunk.Body(); err != nil {
		return summary{}, err
	}
	samples, err := c.decode(c.samples(), chunkMagic, chunk.Day, b)
	defer c.keep(samples)
	if err == nil && len(samples) == 0 {
		err = damaged("count")
	}
	if err != nil {
		return summary{}, err
	}
	return summarize(samples), nil
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
	if d.stored && body == nil { // deleted since it was listed
		without := *d
		without.stored = false
		d = &without
	}
	return r.view(ctx, d, body, dst)
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
		if err != nil {
			yield(lh.Sample{}, err)
			return
		}
		ended := errors.New("no more is wanted")
		err = r.stream(ctx, asSamples, func(p piece) error {
			for i := range p.samples {
				if !yield(p.samples[i], nil) {
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
