package series

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Delete removes the samples of an element in [from, to) for good: what stands, what lost against it, and what a
// correction filled in. What arrives later is stored as new. Conflict: part of the range is approved, or hubs keep folding
// into it; Forbidden: the scope may not destroy.
func (e *Engine) Delete(ctx context.Context, sc store.Scope, el lh.Element, from, to lh.Millis) error {
	if from >= to {
		return lh.Errorf(lh.Invalid, "a range needs from before to")
	}
	if !sc.Allows(lh.PermDestroy) {
		_, err := e.db.DeleteSeries(ctx, sc, store.Deletion{}) // says why not
		return err
	}
	again := false
	for try := 1; ; try++ {
		// What has been taken in is folded first, so that it cannot come back.
		held, err := e.foldAll(ctx, sc.Project())
		if err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		d, err := e.deletion(ctx, sc, el, from, to)
		if err != nil {
			return err
		}
		latest, err := e.db.DeleteSeries(ctx, sc, d)
		if err == nil {
			e.solvedDays(el.ID, d.FirstDay, d.LastDay)
			if latest {
				if err := e.raiseLatest(ctx, sc, el); err != nil {
					return err
				}
			}
			if len(held) > 0 && !again { // by what a damaged day of this range, now gone, held up
				again = true
				continue
			}
		}
		if lh.CodeOf(err) != lh.Conflict || try == 3 {
			return err
		}
	}
}

func (e *Engine) deletion(ctx context.Context, sc store.Scope, el lh.Element, from, to lh.Millis) (store.Deletion, error) {
	d := store.Deletion{Element: el.ID, From: from, To: to, FirstDay: from.Day(), LastDay: (to - 1).Day()}
	if lh.DayStart(d.FirstDay) < from {
		d.FirstDay++
	}
	if lh.DayStart(d.LastDay+1) > to {
		d.LastDay--
	}
	edges := []int32{from.Day(), (to - 1).Day()}
	for _, n := range slices.Compact(edges) {
		if n >= d.FirstDay && n <= d.LastDay {
			continue
		}
		c, err := e.db.Chunk(ctx, sc, el.ID, n)
		if err != nil {
			return d, err
		}
		if c.Gen == 0 {
			continue
		}
		if c, err = e.without(ctx, sc, c, from, to); err != nil {
			return d, err
		}
		d.Rewritten = append(d.Rewritten, c)
	}
	return d, e.newestLeft(ctx, sc, el, &d)
}

// without returns what stays of a chunk and its revision.
func (e *Engine) without(ctx context.Context, sc store.Scope, c store.Chunk, from, to lh.Millis) (store.Chunk, error) {
	k := chunkKey{c.Element, c.Day}
	stays := func(s []lh.Sample) []lh.Sample {
		return slices.DeleteFunc(s, func(p lh.Sample) bool { return p.Time >= from && p.Time < to })
	}
	samples, err := e.codec.decode(nil, chunkMagic, c.Day, c.Body)
	if err != nil {
		return c, e.unreadable(k, err)
	}
	lost, err := e.revision(ctx, sc, k)
	if err != nil {
		return c, err
	}
	c.Body, c.Summary, c.Revision = nil, nil, nil
	if samples = stays(samples); len(samples) > 0 {
		if c.Body, err = e.codec.encode(chunkMagic, c.Day, samples); err != nil {
			return c, err
		}
		c.Summary = summaryBeside(c.Day, samples)
	}
	if lost = stays(lost); len(lost) > 0 {
		c.Revision, err = e.codec.encode(revisionMagic, c.Day, lost)
	}
	return c, err
}

// newestLeft finds the newest sample outside the range that may be the latest: none that is stamped in the future.
func (e *Engine) newestLeft(ctx context.Context, sc store.Scope, el lh.Element, d *store.Deletion) error {
	now := lh.MillisOf(e.o.Now())
	// From the newest day down; days that only hold a future that never came are passed over.
	for day := now.Day() + 1; ; {
		n, ok, err := e.db.NearestDay(ctx, sc, el.ID, day, false)
		if err != nil || !ok {
			return err
		}
		if n >= d.FirstDay && n <= d.LastDay { // these days go whole, whether or not they can be read
			day = d.FirstDay
			continue
		}
		day = n
		c, err := e.db.Chunk(ctx, sc, el.ID, n)
		if err != nil {
			return err
		}
		if c.Gen == 0 {
			continue // deleted meanwhile
		}
		samples, err := e.codec.decode(nil, chunkMagic, n, c.Body)
		if err != nil {
			return e.unreadable(chunkKey{el.ID, n}, err)
		}
		for _, s := range slices.Backward(samples) {
			if s.Time <= now && (s.Time < d.From || s.Time >= d.To) {
				d.Latest = &lh.Latest{Element: el.ID, Sample: s, Received: now}
				return nil
			}
		}
	}
}

// raiseLatest sets the latest right after it was deleted: what came while the deletion was worked out was older than the
// latest of then, and may be newer than the one of now.
func (e *Engine) raiseLatest(ctx context.Context, sc store.Scope, el lh.Element) error {
	if _, err := e.foldAll(ctx, sc.Project()); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	all := store.Deletion{FirstDay: 1} // nothing goes
	if err := e.newestLeft(ctx, sc, el, &all); err != nil || all.Latest == nil {
		return err
	}
	return e.db.RaiseLatest(ctx, sc, *all.Latest)
}

// solvedDays forgets what could not be read of days that are no more.
func (e *Engine) solvedDays(el lh.ElementID, first, last int32) {
	e.problemsMu.Lock()
	defer e.problemsMu.Unlock()
	prefix := strings.TrimSuffix(chunkKey{el, 0}.String(), "1970-01-01")
	for what := range e.problems {
		if date, ok := strings.CutPrefix(what, prefix); ok {
			if at, err := time.Parse(time.DateOnly, date); err == nil {
				if n := lh.MillisOf(at).Day(); n >= first && n <= last {
					delete(e.problems, what)
				}
			}
		}
	}
}

// DeleteProject destroys a project for good; see [store.DB.DeleteProject]. What is left of its rows goes in the
// background.
func (e *Engine) DeleteProject(ctx context.Context, sc store.Scope) error {
	if err := e.db.DeleteProject(ctx, sc); err != nil {
		return err
	}
	select {
	case e.retain <- struct{}{}:
	default: // asked for already
	}
	return nil
}

// destroyEvery is how often it is looked whether a project is to be destroyed.
const destroyEvery = time.Minute

// destroyLoop runs DestroyDue at the start and every minute, until ctx ends.
func (e *Engine) destroyLoop(ctx context.Context) {
	tick := time.NewTicker(destroyEvery)
	defer tick.Stop()
	for {
		if _, err := e.DestroyDue(ctx); err != nil && ctx.Err() == nil {
			e.o.Log.Error("projects whose time has come were not destroyed; it is tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// DestroyDue destroys the projects whose time has come and returns how many; see [store.DB.DestroyDue]. Their devices'
// connections are cut.
func (e *Engine) DestroyDue(ctx context.Context) (int, error) {
	n, devices, err := e.db.DestroyDue(ctx)
	if e.o.Cut != nil {
		for _, d := range devices {
			e.o.Cut(d)
		}
	}
	if n > 0 {
		select {
		case e.retain <- struct{}{}:
		default: // asked for already
		}
	}
	return n, err
}

// retainEvery is how often [Engine.Retain] runs by itself.
const retainEvery = time.Hour

// retainLoop runs Retain at the start, every hour and when asked, until ctx ends.
func (e *Engine) retainLoop(ctx context.Context) {
	tick := time.NewTicker(retainEvery)
	defer tick.Stop()
	for {
		if _, err := e.Retain(ctx); err != nil && ctx.Err() == nil && !gone(err) {
			e.o.Log.Error("samples beyond their retention were not deleted; it is tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-e.retain:
		}
	}
}

// Retain deletes what projects do not keep any longer and what deleted projects left. It returns how many chunks went.
func (e *Engine) Retain(ctx context.Context) (int64, error) {
	if err := e.db.Sweep(ctx); err != nil {
		return 0, err
	}
	rs, err := e.db.Retentions(ctx)
	if err != nil {
		return 0, err
	}
	var total int64
	today := lh.MillisOf(e.o.Now()).Day()
	for _, r := range rs {
		n, err := e.db.DropBefore(ctx, e.o.Scope(r.Project), today-int32(r.Days))
		if err != nil {
			return total, err
		}
		if total += n; n > 0 {
			e.o.Log.Info("samples beyond their retention were deleted", "project", r.Project, "chunks", n, "days", r.Days)
		}
	}
	return total, nil
}
