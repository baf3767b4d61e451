package series

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// foldLoop folds what is due until ctx ends.
func (e *Engine) foldLoop(ctx context.Context) {
	tick := time.NewTicker(max(min(e.o.FoldAge/4, time.Second), 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-e.nudge:
		}
		if err := e.foldDue(ctx, false); err != nil && ctx.Err() == nil && !gone(err) {
			e.o.Log.Error("fold failed; it is tried again", "err", err)
		}
	}
}

// FoldNow folds everything that can be folded.
func (e *Engine) FoldNow(ctx context.Context) error { return e.foldDue(ctx, true) }

// foldDue folds each project whose uploads are old or many enough, or all of them.
func (e *Engine) foldDue(ctx context.Context, all bool) error {
	backlogs, err := e.db.JournalBacklog(ctx)
	if err != nil {
		return err
	}
	var waiting int64
	for _, b := range backlogs {
		waiting += b.Bytes
	}
	e.backlog.Store(waiting)
	now := lh.MillisOf(e.o.Now())
	var errs []error
	for _, b := range backlogs {
		due := all || b.Rows >= e.o.FoldRows || b.Bytes >= e.o.FoldBytes || int64(now-b.Oldest) >= e.o.FoldAge.Milliseconds()
		if due {
			errs = append(errs, e.foldProject(ctx, b))
		}
	}
	return errors.Join(errs...)
}

// foldProject folds about as much of a project as its backlog had, bite by bite.
func (e *Engine) foldProject(ctx context.Context, b store.Backlog) error {
	sc := e.o.Scope(b.Project)
	conflicts := 0
	for left := b.Rows; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := time.Now()
		folded, bytes, err := e.foldBite(ctx, sc)
		if lh.CodeOf(err) == lh.Conflict && conflicts < 5 { // another hub folded these; read again
			conflicts++
			continue
		}
		if err != nil {
			return fmt.Errorf("fold project %s: %w", b.Project, err)
		}
		if folded == 0 {
			return nil // nothing left but what cannot be read
		}
		e.foldTime.Observe(time.Since(start).Seconds())
		e.backlog.Add(-bytes)
		left -= int64(folded)
	}
	return nil
}

type chunkKey struct {
	element lh.ElementID
	day     int32
}

// String names the chunk for people.
func (k chunkKey) String() string {
	return fmt.Sprintf("chunk of element %s on %s", k.element, lh.DayStart(k.day).Time().Format(time.DateOnly))
}

// foldBite folds some rows in one transaction and returns how many. Rows that cannot be read, and rows that belong
// into a chunk that cannot be read, stay in the journal; the rest goes on without them.
func (e *Engine) foldBite(ctx context.Context, sc store.Scope) (folded int, bytes int64, err error) {
	rows, err := e.db.JournalOldest(ctx, sc, e.o.FoldBite)
	if err != nil {
		return 0, 0, err
	}
	type rowSamples struct {
		row  store.JournalRow
		keys map[chunkKey]bool
	}
	var good []rowSamples
	parts := map[chunkKey][]lh.Sample{}
	var u Upload
	var batch wire.Batch
	collect := func(row store.JournalRow) (map[chunkKey]bool, error) {
		if row.Err != nil {
			return nil, row.Err
		}
		if err := decodeJournal(&u, &batch, row.Body); err != nil {
			return nil, err
		}
		keys := map[chunkKey]bool{}
		lastKey := make([]chunkKey, len(u.Elements)) // a row's samples of a channel are mostly of one day
		u.Each(func(c uint16, s lh.Sample) {
			k := chunkKey{u.Elements[c], s.Time.Day()}
			if lastKey[c] != k {
				lastKey[c] = k
				keys[k] = true
			}
			parts[k] = append(parts[k], s)
		})
		return keys, nil
	}
	for _, row := range rows {
		keys, err := collect(row)
		if err != nil {
			e.problem("journal row "+row.ID.String(), err)
			continue
		}
		good = append(good, rowSamples{row, keys})
	}
	if len(good) == 0 {
		return 0, 0, nil
	}
	chunks := make(map[chunkKey]store.Chunk, len(parts))
	var scratch, merged []lh.Sample
	broken := map[chunkKey]bool{}
	for k, samples := range parts {
		c, err := e.foldChunk(ctx, sc, k, samples, &scratch, &merged)
		if err != nil && (lh.CodeOf(err) != lh.Internal || gone(err)) {
			return 0, 0, err
		}
		if err != nil {
			e.problem(k.String(), err)
			broken[k] = true
			continue
		}
		e.solved(k.String())
		chunks[k] = c
	}
	if len(broken) > 0 {
		// The rows that belong into a broken chunk stay, and so what they would have put into others: those are made
		// again from the rest.
		kept := good[:0]
		parts = map[chunkKey][]lh.Sample{}
		for _, g := range good {
			stays := false
			for k := range g.keys {
				stays = stays || broken[k]
			}
			if !stays {
				if _, err := collect(g.row); err != nil {
					return 0, 0, err
				}
				kept = append(kept, g)
			}
		}
		good = kept
		clear(chunks)
		for k, samples := range parts {
			if chunks[k], err = e.foldChunk(ctx, sc, k, samples, &scratch, &merged); err != nil {
				return 0, 0, err
			}
		}
		if len(good) == 0 {
			return 0, 0, nil
		}
	}
	list := make([]store.Chunk, 0, len(chunks))
	for _, c := range chunks {
		list = append(list, c)
	}
	// One order for everybody, so that two hubs never wait for each other's chunks.
	slices.SortFunc(list, func(a, b store.Chunk) int {
		if c := strings.Compare(string(a.Element), string(b.Element)); c != 0 {
			return c
		}
		return int(a.Day) - int(b.Day)
	})
	ids := make([]store.JournalID, len(good))
	for i, g := range good {
		ids[i] = g.row.ID
		bytes += g.row.Size
	}
	if err := e.db.Fold(ctx, sc, list, ids); err != nil {
		return 0, 0, err
	}
	e.folds.Add(float64(len(list)))
	return len(good), bytes, nil
}

// foldChunk merges samples of one element and day into the stored chunk.
func (e *Engine) foldChunk(ctx context.Context, sc store.Scope, k chunkKey, samples []lh.Sample, scratch, merged *[]lh.Sample) (store.Chunk, error) {
	c, err := e.db.Chunk(ctx, sc, k.element, k.day)
	if err != nil {
		return c, err
	}
	*scratch = (*scratch)[:0]
	if c.Gen > 0 {
		if *scratch, err = e.codec.decode(*scratch, k.day, c.Body); err != nil {
			return c, err
		}
	}
	*merged = merge(*merged, *scratch, normalize(samples))
	if c.Body, err = e.codec.encode(k.day, *merged); err != nil {
		return c, err
	}
	s := summarize(*merged)
	c.Summary = s.encode(k.day)
	return c, nil
}
