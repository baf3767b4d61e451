package series

import (
	"cmp"
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

// foldAgain is how long a fold that failed waits before it is tried again.
const foldAgain = 2 * time.Second

// foldLoop folds what is due until ctx ends.
func (e *Engine) foldLoop(ctx context.Context) {
	tick := time.NewTicker(max(min(e.o.FoldAge/4, time.Second), 10*time.Millisecond))
	defer tick.Stop()
	var again time.Time // not before then
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-e.nudge:
		}
		if time.Now().Before(again) {
			continue
		}
		// Where another hub is at it, there is nothing to do.
		if _, err := e.foldDue(ctx, false); err == nil {
			e.trouble(cannotFold, nil)
		} else if ctx.Err() == nil && !gone(err) {
			e.trouble(cannotFold, err)
			again = time.Now().Add(foldAgain)
		}
		if e.backlog.Load() > 0 {
			continue // what is free is about to be used again
		}
		if _, err := e.db.Compact(ctx); err != nil && ctx.Err() == nil && !gone(err) {
			e.o.Log.Warn("the database's file keeps space that it does not need", "err", err)
			again = time.Now().Add(foldAgain)
		}
	}
}

// FoldNow folds everything that can be folded.
func (e *Engine) FoldNow(ctx context.Context) error {
	others, err := e.foldDue(ctx, true)
	return errors.Join(others, err)
}

// foldDue folds each project whose uploads are old or many enough, or all of them. others is an error, too, where other
// hubs fold a project at the same time, again and again, and may not have folded all of it.
func (e *Engine) foldDue(ctx context.Context, all bool) (others, err error) {
	select {
	case e.folding <- struct{}{}:
		defer func() { <-e.folding }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	backlogs, err := e.db.JournalBacklog(ctx)
	if err != nil {
		return nil, err
	}
	var waiting int64
	for _, b := range backlogs {
		waiting += b.Bytes
	}
	e.backlog.Store(waiting)
	now := lh.MillisOf(e.o.Now())
	var busy, errs []error
	for _, b := range backlogs {
		due := all || b.Rows >= e.o.FoldRows || b.Bytes >= e.o.FoldBytes || int64(now-b.Oldest) >= e.o.FoldAge.Milliseconds()
		if !due {
			continue
		}
		_, err := e.foldProject(ctx, b)
		switch lh.CodeOf(err) {
		case lh.NotFound: // a project that is gone: what it has left is swept, not folded
		case lh.Conflict:
			busy = append(busy, err)
		default:
			errs = append(errs, err)
		}
	}
	return errors.Join(busy...), errors.Join(errs...)
}

// stuck are the rows that a fold could not take: they cannot be read, or belong into what cannot be read. They stay in
// the journal; the next fold tries them again.
type stuck map[store.JournalID]bool

// foldProject folds about as much of a project as its backlog had, bite by bite, and returns what is stuck.
func (e *Engine) foldProject(ctx context.Context, b store.Backlog) (stuck, error) {
	sc := e.o.Scope(b.Project)
	conflicts := 0
	held := stuck{}
	for left := b.Rows; left > 0; {
		if err := ctx.Err(); err != nil {
			return held, err
		}
		start := time.Now()
		before := len(held)
		folded, bytes, err := e.foldBite(ctx, sc, held)
		if lh.CodeOf(err) == lh.Conflict && conflicts < 5 { // another hub folded these; read again
			conflicts++
			continue
		}
		if err != nil {
			return held, fmt.Errorf("fold project %s: %w", b.Project, err)
		}
		if folded == 0 && len(held) == before {
			return held, nil // nothing left but what is stuck
		}
		if folded > 0 {
			e.foldTime.Observe(time.Since(start).Seconds())
		}
		e.backlog.Add(-bytes)
		left -= int64(folded + len(held) - before)
	}
	return held, nil
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
// into a chunk or arrival day that cannot be read, stay in the journal and are added to held, of which it takes none;
// the rest goes on without them.
func (e *Engine) foldBite(ctx context.Context, sc store.Scope, held stuck) (folded int, bytes int64, err error) {
	rows, err := e.db.JournalOldest(ctx, sc, e.o.FoldBite, held)
	if err != nil {
		return 0, 0, err
	}
	days, err := e.arrivalDays(ctx, sc, rows)
	if err != nil {
		return 0, 0, err
	}
	type rowSamples struct {
		row  store.JournalRow
		keys map[chunkKey]bool
	}
	var good []rowSamples
	parts := map[chunkKey]*[]lh.Sample{}
	came := map[store.JournalID][]arrival{}
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
		last := make([]struct { // a row's samples of a channel are mostly of one day
			day  int32
			part *[]lh.Sample
		}, len(u.Elements))
		came[row.ID] = arrivalsOf(&u)
		u.Each(func(c uint16, s lh.Sample) {
			l, day := &last[c], s.Time.Day()
			if l.part == nil || l.day != day {
				k := chunkKey{u.Elements[c], day}
				keys[k] = true
				if parts[k] == nil {
					parts[k] = new([]lh.Sample)
				}
				l.day, l.part = day, parts[k]
			}
			*l.part = append(*l.part, s)
		})
		return keys, nil
	}
	for _, row := range rows {
		if days[arrivalKey{row.Device, row.Received.Day()}] == nil {
			held[row.ID] = true
			continue
		}
		keys, err := collect(row)
		if err != nil {
			e.problem("journal row "+row.ID.String(), err)
			held[row.ID] = true
			continue
		}
		good = append(good, rowSamples{row, keys})
	}
	if len(good) == 0 {
		return 0, 0, nil
	}
	chunks := make(map[chunkKey]store.Chunk, len(parts))
	var memory foldMemory
	broken := map[chunkKey]bool{}
	for k, samples := range parts {
		c, err := e.foldChunk(ctx, sc, k, *samples, &memory)
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
		parts = map[chunkKey]*[]lh.Sample{}
		for _, g := range good {
			stays := false
			for k := range g.keys {
				stays = stays || broken[k]
			}
			if stays {
				held[g.row.ID] = true
			} else {
				if _, err := collect(g.row); err != nil {
					return 0, 0, err
				}
				kept = append(kept, g)
			}
		}
		good = kept
		clear(chunks)
		for k, samples := range parts {
			if chunks[k], err = e.foldChunk(ctx, sc, k, *samples, &memory); err != nil {
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
		d := days[arrivalKey{g.row.Device, g.row.Received.Day()}]
		d.came, d.more = append(d.came, came[g.row.ID]...), d.more || len(came[g.row.ID]) > 0
	}
	arrivals, err := e.foldArrivals(days)
	if err != nil {
		return 0, 0, err
	}
	if err := e.db.Fold(ctx, sc, list, ids, arrivals); err != nil {
		return 0, 0, err
	}
	e.folds.Add(float64(len(list)))
	return len(good), bytes, nil
}

// foldMemory is used again from chunk to chunk.
type foldMemory struct {
	stored, merged, lost []lh.Sample
}

// foldChunk merges samples of one element and day into the stored chunk, and what loses into its revision.
func (e *Engine) foldChunk(ctx context.Context, sc store.Scope, k chunkKey, samples []lh.Sample, m *foldMemory) (store.Chunk, error) {
	c, err := e.db.Chunk(ctx, sc, k.element, k.day)
	if err != nil {
		return c, err
	}
	m.stored, m.lost = m.stored[:0], m.lost[:0]
	if c.Gen > 0 {
		if m.stored, err = e.codec.decode(m.stored, chunkMagic, k.day, c.Body); err != nil {
			return c, err
		}
	}
	m.merged = merge(m.merged, m.stored, normalize(samples, &m.lost), &m.lost)
	if c.Body, err = e.codec.encode(chunkMagic, k.day, m.merged); err != nil {
		return c, err
	}
	s := summarize(m.merged)
	c.Summary = s.encode(k.day)
	if len(m.lost) > 0 {
		c.Revision, err = e.foldRevision(ctx, sc, k, m.lost)
	}
	return c, err
}

// foldRevision adds writes that lost to those that lost before. Raw values are never thrown away.
func (e *Engine) foldRevision(ctx context.Context, sc store.Scope, k chunkKey, lost []lh.Sample) ([]byte, error) {
	all, err := e.revision(ctx, sc, k)
	if err != nil {
		return nil, err
	}
	had := len(all)
	all = append(all, lost...)
	slices.SortStableFunc(all, compareWrites)
	all = slices.CompactFunc(all, func(a, b lh.Sample) bool { return a.Time == b.Time && a.Rank == b.Rank })
	if len(all) == had {
		return nil, nil // delivered again; they are on record
	}
	return e.codec.encode(revisionMagic, k.day, all)
}

// revision returns the writes of a day that lost, sorted by time and rank.
func (e *Engine) revision(ctx context.Context, sc store.Scope, k chunkKey) ([]lh.Sample, error) {
	body, err := e.db.Revision(ctx, sc, k.element, k.day)
	if err != nil || body == nil {
		return nil, err
	}
	s, err := e.codec.decode(nil, revisionMagic, k.day, body)
	if err != nil {
		return nil, fmt.Errorf("revision of %s: %w", k, err)
	}
	return s, nil
}

type arrivalKey struct {
	device lh.DeviceID
	day    int32
}

// arrivalsOf tells when the records of an upload came: one arrival, or two where the sequence passes its greatest number.
func arrivalsOf(u *Upload) []arrival {
	n := uint32(len(u.Batch.Records))
	if n == 0 {
		return nil
	}
	if left := -u.Sequence; left != 0 && left < n {
		return []arrival{{u.Epoch, u.Sequence, left, u.Received}, {u.Epoch, 0, n - left, u.Received}}
	}
	return []arrival{{u.Epoch, u.Sequence, n, u.Received}}
}

// arrivalDay is what is on record of an arrival day, and what a fold adds.
type arrivalDay struct {
	store.ArrivalDay
	came []arrival
	more bool
}

// arrivalDays reads those that some rows belong to. One that cannot be read is left out.
func (e *Engine) arrivalDays(ctx context.Context, sc store.Scope, rows []store.JournalRow) (map[arrivalKey]*arrivalDay, error) {
	days := map[arrivalKey]*arrivalDay{}
	for i := range rows {
		k := arrivalKey{rows[i].Device, rows[i].Received.Day()}
		if _, done := days[k]; done {
			continue
		}
		days[k] = nil
		what := fmt.Sprintf("arrivals of device %s on %s", k.device, lh.DayStart(k.day).Time().Format(time.DateOnly))
		d := &arrivalDay{}
		var err error
		if d.ArrivalDay, err = e.db.ArrivalDay(ctx, sc, k.device, k.day); err == nil && d.Gen > 0 {
			d.came, err = e.codec.decodeArrivals(nil, k.day, d.Body)
		}
		if err != nil && (lh.CodeOf(err) != lh.Internal || gone(err)) {
			return nil, err
		}
		if err != nil {
			e.problem(what, err)
			continue
		}
		e.solved(what)
		days[k] = d
	}
	return days, nil
}

// foldArrivals writes the arrival days to which there is something to add.
func (e *Engine) foldArrivals(days map[arrivalKey]*arrivalDay) ([]store.ArrivalDay, error) {
	var out []store.ArrivalDay
	for k, d := range days {
		if d == nil || !d.more {
			continue
		}
		var err error
		if d.Body, d.Min, d.Max, err = e.codec.encodeArrivals(k.day, d.came); err != nil {
			return nil, err
		}
		out = append(out, d.ArrivalDay)
	}
	// One order for everybody, as with the chunks.
	slices.SortFunc(out, func(a, b store.ArrivalDay) int {
		return cmp.Or(strings.Compare(string(a.Device), string(b.Device)), cmp.Compare(a.Day, b.Day))
	})
	return out, nil
}
