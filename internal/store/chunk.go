package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

func getValue(b []byte, s *lh.Sample) {
	s.Value = math.Float64frombits(binary.LittleEndian.Uint64(b))
	s.Flag = lh.Flag(b[8])
}

// Chunk is the stored samples of one element on one UTC day, with a summary of them. What the bytes mean is series'
// business. Gen is 0 when nothing is stored yet and grows by one at each writing.
type Chunk struct {
	Element lh.ElementID
	Day     int32 // UTC days since 1970-01-01
	Gen     int64
	Body    []byte // opened
	Summary []byte // opened; nil where the body says the same in as few bytes
	// Revision is what [DB.Fold] writes of the day's writes that lost; nil leaves what is there. Only [DB.Revision] and
	// [DB.Folded] read it.
	Revision []byte
	Err      error // it does not open: damaged, or moved; told by [DB.Folded] alone
}

func chunkPlace(p lh.ProjectID, e lh.ElementID, day int32, part string) string {
	b := make([]byte, 0, 96) // as [place] writes it, without what that takes for parts of any kind
	b = append(append(append(b, "chunk "...), p...), ' ')
	b = strconv.AppendInt(append(append(b, e...), ' '), int64(day), 10)
	return string(append(append(b, ' '), part...))
}

// seesElement lets a limited scope at the series of its own locations only.
func (db *DB) seesElement(ctx context.Context, sc Scope, e lh.ElementID) error {
	if !sc.Limited() {
		return nil
	}
	var l lh.LocationID
	err := db.row(ctx, db.read, `SELECT location_id FROM element WHERE project_id = $1 AND id = $2`, sc.project, e).Scan(&l)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !sc.Sees(l) {
		return noElement()
	}
	return err
}

// seriesKey returns the key that an element's series is sealed with, to who may read it.
func (db *DB) seriesKey(ctx context.Context, sc Scope, e lh.ElementID) (*seal.Key, error) {
	if err := sc.need(lh.PermRead); err != nil {
		return nil, err
	}
	if err := db.seesElement(ctx, sc, e); err != nil {
		return nil, err
	}
	return db.key(ctx, db.read, string(sc.project))
}

// Chunk returns one chunk, without its summary; Gen 0 and a nil Body when there is none.
func (db *DB) Chunk(ctx context.Context, sc Scope, e lh.ElementID, day int32) (Chunk, error) {
	c := Chunk{Element: e, Day: day}
	err := db.Chunks(ctx, sc, e, day, day, func(got Chunk) error { c = got; return nil })
	return c, err
}

// Chunks hands fn the chunks of an element from day to day, both included, ascending, without their summaries.
func (db *DB) Chunks(ctx context.Context, sc Scope, e lh.ElementID, from, to int32, fn func(Chunk) error) error {
	return db.chunks(ctx, sc, e, from, to, `NULL, body`, fn)
}

func (db *DB) chunks(ctx context.Context, sc Scope, e lh.ElementID, from, to int32, parts string, fn func(Chunk) error) error {
	k, err := db.seriesKey(ctx, sc, e)
	if err != nil {
		return err
	}
	err = db.each(ctx, db.read, `SELECT day, gen, `+parts+` FROM chunk WHERE project_id = $1 AND element_id = $2 AND day >= $3 AND day <= $4 ORDER BY day`,
		[]any{sc.project, e, from, to}, func(scan func(...any) error) error {
			c := Chunk{Element: e}
			var summary, sealed []byte
			if err := scan(&c.Day, &c.Gen, &summary, &sealed); err != nil {
				return err
			}
			var err error
			if len(summary) > 0 {
				if c.Summary, err = k.Open(summary, chunkPlace(sc.project, e, c.Day, "summary")); err != nil {
					return err
				}
			}
			if sealed != nil {
				if c.Body, err = k.Open(sealed, chunkPlace(sc.project, e, c.Day, "body")); err != nil {
					return err
				}
			}
			return fn(c)
		})
	if err != nil {
		return fmt.Errorf("read chunks of %s: %w", e, err)
	}
	return nil
}

const (
	// A chunk that was read and is gone was deleted: it is not made anew.
	foldNew = `INSERT INTO chunk (project_id, element_id, day, gen, summary, body, revision, mark, marked) VALUES ($1, $2, $3, $4 + 1, $5, $6, $7, $8, $9)
		ON CONFLICT (project_id, element_id, day) DO NOTHING`
	foldOld = `UPDATE chunk SET gen = $4 + 1, summary = $5, body = $6, revision = coalesce($7, revision), mark = $8, marked = $9
		WHERE project_id = $1 AND element_id = $2 AND day = $3 AND gen = $4`
)

// Fold replaces chunks, their revisions and arrival days, and takes what went into them out of the journal, in one
// transaction. Conflict, with nothing changed: a chunk or arrival day is no longer at the Gen it was read at, or a device
// no longer folded up to where it was, since somebody folded or deleted meanwhile; read again and retry.
func (db *DB) Fold(ctx context.Context, sc Scope, chunks []Chunk, folds []DeviceFold, arrivals []ArrivalDay) error {
	if err := sc.need(lh.PermMaintain); err != nil {
		return err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return err
	}
	type sealed struct{ summary, body, revision []byte }
	bodies := make([]sealed, len(chunks))
	for i, c := range chunks {
		if bodies[i].summary, err = sealSummary(k, sc.project, &c); err != nil {
			return err
		}
		if bodies[i].body, err = k.Seal(c.Body, chunkPlace(sc.project, c.Element, c.Day, "body")); err != nil {
			return err
		}
		if c.Revision != nil {
			if bodies[i].revision, err = k.Seal(c.Revision, chunkPlace(sc.project, c.Element, c.Day, "revision")); err != nil {
				return err
			}
		}
	}
	moved := lh.Errorf(lh.Conflict, "the series were folded or deleted meanwhile")
	db.prepare(ctx, foldIntake, foldNew, foldOld)
	return db.update(ctx, func(t *tx) error {
		// The devices first: two folders of the same rows meet here, before either wrote a chunk.
		if err := t.foldDevices(ctx, sc, folds, moved); err != nil {
			return fmt.Errorf("fold: %w", err)
		}
		mark, err := t.marks(ctx, sc.project, len(chunks))
		if err != nil {
			return fmt.Errorf("fold: %w", err)
		}
		add, err := t.ready(ctx, foldNew)
		if err != nil {
			return fmt.Errorf("fold: %w", err)
		}
		defer add.Close() // likewise
		change, err := t.ready(ctx, foldOld)
		if err != nil {
			return fmt.Errorf("fold: %w", err)
		}
		defer change.Close() // likewise
		for i, c := range chunks {
			put := add
			if c.Gen > 0 {
				put = change
			}
			r, err := put.ExecContext(ctx, string(sc.project), string(c.Element), c.Day, c.Gen, bodies[i].summary, bodies[i].body, orNull(bodies[i].revision),
				mark+int64(i), int64(t.now))
			if err != nil {
				return fmt.Errorf("fold %s day %d: %w", c.Element, c.Day, err)
			}
			if n, err := r.RowsAffected(); err != nil || n != 1 {
				return errors.Join(moved, err)
			}
		}
		for _, a := range arrivals {
			if err := t.putArrivals(ctx, sc, k, a, moved); err != nil {
				return fmt.Errorf("fold arrivals of %s: %w", a.Device, err)
			}
		}
		return nil
	})
}

// orNull is NULL for a blob that is none.
func orNull(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// Folded hands fn the chunks of an element from day to day, as a fold needs them: without their summaries, and with what
// lost.
func (db *DB) Folded(ctx context.Context, sc Scope, e lh.ElementID, from, to int32, fn func(Chunk) error) error {
	k, err := db.seriesKey(ctx, sc, e)
	if err != nil {
		return err
	}
	err = db.each(ctx, db.read, `SELECT day, gen, body, revision FROM chunk WHERE project_id = $1 AND element_id = $2 AND day >= $3 AND day <= $4 ORDER BY day`,
		[]any{string(sc.project), string(e), from, to}, func(scan func(...any) error) error {
			c := Chunk{Element: e}
			var body, revision sql.RawBytes // used before the next row
			if err := scan(&c.Day, &c.Gen, &body, &revision); err != nil {
				return err
			}
			var err error
			if c.Body, err = k.Open(body, chunkPlace(sc.project, e, c.Day, "body")); err == nil && revision != nil {
				c.Revision, err = k.Open(revision, chunkPlace(sc.project, e, c.Day, "revision"))
			}
			if err != nil {
				c.Err = err
			}
			return fn(c)
		})
	if err != nil {
		return fmt.Errorf("read chunks of %s: %w", e, err)
	}
	return nil
}
