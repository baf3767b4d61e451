package store

import (
	"context"
	"fmt"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Deletion is a range of an element's series that goes for good: whole days, and days that lose a part.
type Deletion struct {
	Element  lh.ElementID
	From, To lh.Millis // what was asked for, for the audit trail
	// FirstDay to LastDay go whole; none when LastDay is before FirstDay.
	FirstDay, LastDay int32
	// Rewritten are days that lose a part: what stays of chunk and revision, at the Gen they were read at. A nil Body
	// is a day of which nothing stays; a Revision of no bytes, one without losers.
	Rewritten []Chunk
	// Latest is the newest sample that stays; nil when none does.
	Latest *lh.Latest
}

// DeleteSeries deletes a range of a series in one transaction and reports whether the latest value was in it. Conflict:
// part of it is approved, or a chunk moved on meanwhile.
func (db *DB) DeleteSeries(ctx context.Context, sc Scope, d Deletion) (latest bool, err error) {
	if err := sc.need(lh.PermDestroy); err != nil {
		return false, err
	}
	moved := lh.Errorf(lh.Conflict, "the series changed meanwhile; try again")
	err = db.update(ctx, func(t *tx) error {
		detail := map[string]any{"from": d.From, "to": d.To}
		if err := t.audit(ctx, sc.project, sc.actor, "series.delete", string(d.Element), detail); err != nil {
			return err
		}
		// The device's row first: folds and uploads take it before chunks, too.
		err := t.editLatest(ctx, sc, d.Element, func(ls []lh.Latest) []lh.Latest {
			latest = false
			return slices.DeleteFunc(ls, func(l lh.Latest) bool {
				gone := l.Element == d.Element && l.Sample.Time >= d.From && l.Sample.Time < d.To
				latest = latest || gone
				return gone
			})
		}, d.Latest)
		if err != nil {
			return err
		}
		if err := t.notApproved(ctx, sc, d.Element, d.From, d.To); err != nil {
			return err
		}
		if err := t.dropDays(ctx, sc.project, d.Element, d.FirstDay, d.LastDay); err != nil {
			return err
		}
		if err := t.dropFills(ctx, sc.project, d.Element, d.From, d.To); err != nil {
			return err
		}
		for _, c := range d.Rewritten {
			if err := t.rewrite(ctx, sc, c, moved); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("delete series of %s: %w", d.Element, err)
	}
	return latest, nil
}

// RaiseLatest makes a sample the latest of its element where it is newer than the one that is.
func (db *DB) RaiseLatest(ctx context.Context, sc Scope, l lh.Latest) error {
	if err := sc.need(lh.PermDestroy); err != nil {
		return err
	}
	err := db.update(ctx, func(t *tx) error {
		return t.editLatest(ctx, sc, l.Element, func(ls []lh.Latest) []lh.Latest { return raise(ls, &l, 0) }, nil)
	})
	if err != nil {
		return fmt.Errorf("raise latest of %s: %w", l.Element, err)
	}
	return nil
}

func (t *tx) dropDays(ctx context.Context, p lh.ProjectID, e lh.ElementID, first, last int32) error {
	if last < first {
		return nil
	}
	_, err := t.exec(ctx, `DELETE FROM chunk WHERE project_id = $1 AND element_id = $2 AND day >= $3 AND day <= $4`, p, e, first, last)
	return err
}

// rewrite puts back what stays of a day; moved where the chunk is no longer at its Gen.
func (t *tx) rewrite(ctx context.Context, sc Scope, c Chunk, moved error) error {
	k, err := t.db.key(ctx, t, string(sc.project))
	if err != nil {
		return err
	}
	var n int64
	if c.Body == nil {
		n, err = t.exec(ctx, `DELETE FROM chunk WHERE project_id = $1 AND element_id = $2 AND day = $3 AND gen = $4`, sc.project, c.Element, c.Day, c.Gen)
	} else {
		var summary, body, revision []byte
		if summary, err = sealSummary(k, sc.project, &c); err != nil {
			return err
		}
		if body, err = k.Seal(c.Body, chunkPlace(sc.project, c.Element, c.Day, "body")); err != nil {
			return err
		}
		if len(c.Revision) > 0 {
			if revision, err = k.Seal(c.Revision, chunkPlace(sc.project, c.Element, c.Day, "revision")); err != nil {
				return err
			}
		}
		n, err = t.exec(ctx, `UPDATE chunk SET gen = gen + 1, summary = $5, body = $6, revision = $7 WHERE project_id = $1 AND element_id = $2 AND day = $3 AND gen = $4`,
			sc.project, c.Element, c.Day, c.Gen, summary, body, orNull(revision))
	}
	if err != nil {
		return err
	}
	if n != 1 {
		return moved
	}
	return nil
}

// Retain is a project that keeps samples for some days only.
type Retain struct {
	Project lh.ProjectID
	Days    int
}

// Retentions returns the projects that do not keep everything. It is the hub's own.
func (db *DB) Retentions(ctx context.Context) ([]Retain, error) {
	var rs []Retain
	err := db.each(ctx, db.read, `SELECT id, retention_days FROM project WHERE retention_days > 0 ORDER BY id`, nil, func(scan func(...any) error) error {
		var r Retain
		err := scan(&r.Project, &r.Days)
		rs = append(rs, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read retentions: %w", err)
	}
	return rs, nil
}

// DropBefore deletes the days of every series of a project before a day, what was filled in on them, and when their
// uploads arrived; latest rows before it too. It deletes element by element, so that no transaction is long, and returns how many chunks went.
func (db *DB) DropBefore(ctx context.Context, sc Scope, day int32) (chunks int64, err error) {
	if err := sc.need(lh.PermMaintain); err != nil {
		return 0, err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return 0, err
	}
	var ids []lh.ElementID
	err = db.each(ctx, db.read, `SELECT id FROM element WHERE project_id = $1 ORDER BY id`, []any{sc.project}, func(scan func(...any) error) error {
		var id lh.ElementID
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("drop old samples: %w", err)
	}
	for _, id := range ids {
		var old int64
		if err := db.row(ctx, db.read, `SELECT count(*) FROM chunk WHERE project_id = $1 AND element_id = $2 AND day < $3`, sc.project, id, day).Scan(&old); err != nil {
			return chunks, fmt.Errorf("drop old samples: %w", err)
		}
		fills, err := db.fillsWithin(ctx, db.read, k, sc.project, id, lh.MinMillis, lh.DayStart(day))
		if err != nil {
			return chunks, fmt.Errorf("drop old samples: %w", err)
		}
		if old == 0 && len(fills) == 0 {
			continue
		}
		err = db.update(ctx, func(t *tx) error {
			err := t.editLatest(ctx, sc, id, func(ls []lh.Latest) []lh.Latest {
				return slices.DeleteFunc(ls, func(l lh.Latest) bool { return l.Element == id && l.Sample.Time < lh.DayStart(day) })
			}, nil)
			if err != nil {
				return err
			}
			if err := t.dropDays(ctx, sc.project, id, -1<<31, day-1); err != nil {
				return err
			}
			return t.dropFills(ctx, sc.project, id, lh.MinMillis, lh.DayStart(day))
		})
		if err != nil {
			return chunks, fmt.Errorf("drop old samples of %s: %w", id, err)
		}
		chunks += old
	}
	if chunks == 0 {
		return 0, nil
	}
	return chunks, db.update(ctx, func(t *tx) error {
		// Samples may be stamped after they arrived, by a day at the most that counts: keep one day of arrivals more.
		if _, err := t.exec(ctx, `DELETE FROM arrival WHERE project_id = $1 AND day < $2`, sc.project, day-1); err != nil {
			return err
		}
		return t.audit(ctx, sc.project, sc.actor, "project.retention", string(sc.project), map[string]any{"before": lh.DayStart(day), "chunks": chunks})
	})
}
