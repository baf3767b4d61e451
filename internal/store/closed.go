package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

// ClosedChunk is a chunk as it is stored, sealed: whoever reads many opens them where and when it suits.
type ClosedChunk struct {
	Day           int32
	Gen           int64
	summary, body []byte
	element       lh.ElementID
	project       lh.ProjectID
	key           *seal.Key
}

// Size is how many bytes the sealed body has.
func (c *ClosedChunk) Size() int { return len(c.body) }

// Body opens the body.
func (c *ClosedChunk) Body() ([]byte, error) {
	return c.key.Open(c.body, chunkPlace(c.project, c.element, c.Day, "body"))
}

// Summary opens the summary; nil where the chunk has none beside it and its body says the same.
func (c *ClosedChunk) Summary() ([]byte, error) {
	if len(c.summary) == 0 {
		return nil, nil
	}
	return c.key.Open(c.summary, chunkPlace(c.project, c.element, c.Day, "summary"))
}

// sealSummary seals a summary; where there is none nothing stands there.
func sealSummary(k *seal.Key, p lh.ProjectID, c *Chunk) ([]byte, error) {
	if len(c.Summary) == 0 {
		return []byte{}, nil
	}
	return k.Seal(c.Summary, chunkPlace(p, c.Element, c.Day, "summary"))
}

// slabBytes is how much memory for rows is taken at a time.
const slabBytes = 64 << 10

// ClosedChunks hands fn the bodies of an element's chunks from day to day, both included, ascending. fn may keep them.
func (db *DB) ClosedChunks(ctx context.Context, sc Scope, e lh.ElementID, from, to int32, fn func(ClosedChunk) error) error {
	return db.closed(ctx, sc, e, `SELECT day, gen, NULL, body FROM chunk WHERE project_id = $1 AND element_id = $2 AND day >= $3 AND day <= $4 ORDER BY day`,
		[]any{sc.project, e, from, to}, fn)
}

// ClosedSummaries is [DB.ClosedChunks] with the summaries and, where there is one, without the body, which stays unread.
func (db *DB) ClosedSummaries(ctx context.Context, sc Scope, e lh.ElementID, from, to int32, fn func(ClosedChunk) error) error {
	return db.closed(ctx, sc, e, `SELECT day, gen, summary, CASE WHEN length(summary) = 0 THEN body END FROM chunk
		WHERE project_id = $1 AND element_id = $2 AND day >= $3 AND day <= $4 ORDER BY day`, []any{sc.project, e, from, to}, fn)
}

// NearestChunk returns the element's newest chunk on a day or before it, or its oldest on the day or after it. ok is false
// where there is none.
func (db *DB) NearestChunk(ctx context.Context, sc Scope, e lh.ElementID, day int32, after bool) (found ClosedChunk, ok bool, err error) {
	query := `SELECT day, gen, NULL, body FROM chunk WHERE project_id = $1 AND element_id = $2 AND day <= $3 ORDER BY day DESC LIMIT 1`
	if after {
		query = `SELECT day, gen, NULL, body FROM chunk WHERE project_id = $1 AND element_id = $2 AND day >= $3 ORDER BY day LIMIT 1`
	}
	err = db.closed(ctx, sc, e, query, []any{sc.project, e, day}, func(c ClosedChunk) error { found, ok = c, true; return nil })
	return found, ok, err
}

func (db *DB) closed(ctx context.Context, sc Scope, e lh.ElementID, query string, args []any, fn func(ClosedChunk) error) error {
	k, err := db.seriesKey(ctx, sc, e)
	if err != nil {
		return err
	}
	var slab []byte
	keep := func(b []byte) []byte {
		if len(b) == 0 {
			return nil
		}
		if cap(slab)-len(slab) < len(b) {
			slab = make([]byte, 0, max(slabBytes, len(b)))
		}
		at := len(slab)
		slab = append(slab, b...)
		return slab[at:len(slab):len(slab)]
	}
	var summary, body sql.RawBytes // the driver's memory until the next row
	c := ClosedChunk{element: e, project: sc.project, key: k}
	dest := []any{&c.Day, &c.Gen, &summary, &body}
	err = db.each(ctx, db.read, query, args, func(scan func(...any) error) error {
		if err := scan(dest...); err != nil {
			return err
		}
		c.summary, c.body = keep(summary), keep(body)
		return fn(c)
	})
	if err != nil {
		return fmt.Errorf("read chunks of %s: %w", e, err)
	}
	return nil
}

// HasHistory reports whether corrections or approvals, revoked ones too, touch [from, to) of an element's series.
func (db *DB) HasHistory(ctx context.Context, sc Scope, e lh.ElementID, from, to lh.Millis) (bool, error) {
	if err := sc.need(lh.PermRead); err != nil {
		return false, err
	}
	if err := db.seesElement(ctx, sc, e); err != nil {
		return false, err
	}
	var one int
	err := db.row(ctx, db.read, `SELECT 1 WHERE EXISTS (SELECT 1 FROM correction WHERE project_id = $1 AND element_id = $2 AND from_time < $4 AND to_time > $3)
		OR EXISTS (SELECT 1 FROM approval WHERE project_id = $1 AND element_id = $2 AND from_time < $4 AND to_time > $3)`, sc.project, e, from, to).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read history of %s: %w", e, err)
	}
	return true, nil
}
