package series

import (
	"context"
	"fmt"
	"iter"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// unfolded returns an element's samples in [from, to) that are still in the journal, by day, each day normalized. Its
// memory is bounded by the device's unfolded rows.
func (e *Engine) unfolded(ctx context.Context, sc store.Scope, el lh.Element, from, to lh.Millis) (map[int32][]lh.Sample, error) {
	if el.Device == "" {
		return nil, nil
	}
	days := map[int32][]lh.Sample{}
	var u Upload
	var batch wire.Batch
	err := e.db.Journal(ctx, sc, el.Device, func(row store.JournalRow) error {
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
				days[d] = append(days[d], s)
			}
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	for d, s := range days {
		days[d] = normalize(s, nil)
	}
	return days, nil
}

// day is what is known of one UTC day before its chunk is opened.
type day struct {
	number  int32
	stored  bool        // there is a chunk
	summary summary     // of the chunk, if stored
	journal []lh.Sample // normalized; only what is in the range asked for
}

// days lists the days in [from, to) that have samples, ascending. The journal is read before the chunks: what is
// folded in between shows twice and is merged, instead of being missed.
func (e *Engine) days(ctx context.Context, sc store.Scope, el lh.Element, from, to lh.Millis) ([]day, error) {
	if from >= to {
		return nil, nil
	}
	journal, err := e.unfolded(ctx, sc, el, from, to)
	if err != nil {
		return nil, err
	}
	var days []day
	err = e.db.Summaries(ctx, sc, el.ID, from.Day(), (to - 1).Day(), func(c store.Chunk) error {
		s, err := decodeSummary(c.Day, c.Summary)
		if err != nil {
			return fmt.Errorf("%s: %w", chunkKey{el.ID, c.Day}, err)
		}
		days = append(days, day{number: c.Day, stored: true, summary: s, journal: journal[c.Day]})
		delete(journal, c.Day)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for n, s := range journal {
		days = append(days, day{number: n, journal: s})
	}
	slices.SortFunc(days, func(a, b day) int { return int(a.number) - int(b.number) })
	return days, nil
}

// open returns a day's samples in [from, to), merged, in dst's memory.
func (e *Engine) open(ctx context.Context, sc store.Scope, el lh.Element, d *day, from, to lh.Millis, dst, scratch []lh.Sample) (samples, usedScratch []lh.Sample, err error) {
	if !d.stored {
		return append(dst[:0], d.journal...), scratch, nil
	}
	c, err := e.db.Chunk(ctx, sc, el.ID, d.number)
	if err != nil {
		return dst, scratch, err
	}
	return e.decodeDay(el, d, c.Body, from, to, dst, scratch)
}

// decodeDay merges a day's chunk and journal.
func (e *Engine) decodeDay(el lh.Element, d *day, body []byte, from, to lh.Millis, dst, scratch []lh.Sample) ([]lh.Sample, []lh.Sample, error) {
	scratch, err := e.codec.decode(scratch[:0], chunkMagic, d.number, body)
	if err != nil {
		k := chunkKey{el.ID, d.number}
		e.problem(k.String(), err)
		return dst, scratch, fmt.Errorf("%s: %w", k, err)
	}
	return merge(dst, clip(scratch, from, to), d.journal, nil), scratch, nil
}

// Read yields the samples of an element in [from, to), each once, ascending. It holds one day in memory at a time,
// beside the device's unfolded uploads, so that an export of any length streams. An error ends it.
func (e *Engine) Read(ctx context.Context, sc store.Scope, el lh.Element, from, to lh.Millis) iter.Seq2[lh.Sample, error] {
	return func(yield func(lh.Sample, error) bool) {
		days, err := e.days(ctx, sc, el, from, to)
		if err != nil {
			yield(lh.Sample{}, err)
			return
		}
		var samples, scratch []lh.Sample
		for i := range days {
			if samples, scratch, err = e.open(ctx, sc, el, &days[i], from, to, samples, scratch); err != nil {
				yield(lh.Sample{}, err)
				return
			}
			for _, s := range samples {
				if !yield(s, nil) {
					return
				}
			}
		}
	}
}
