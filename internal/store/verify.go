package store

import (
	"context"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// ChunkKeys hands fn the element and day of every chunk of a project, by the keys alone: a damaged body does not stop
// it. It is the hub's own.
func (db *DB) ChunkKeys(ctx context.Context, sc Scope, fn func(e lh.ElementID, day int32) error) error {
	if err := sc.need(lh.PermMaintain); err != nil {
		return err
	}
	// Page by page, so that no reading transaction stays open as long as all of them take.
	var after lh.ElementID
	var day int32
	for first := true; ; first = false {
		n := 0
		err := db.each(ctx, db.read, `SELECT element_id, day FROM chunk WHERE project_id = $1 AND (element_id > $2 OR element_id = $2 AND (day > $3 OR $4 = 1))
			ORDER BY element_id, day LIMIT 10000`, []any{sc.project, after, day, boolInt(first)}, func(scan func(...any) error) error {
			if err := scan(&after, &day); err != nil {
				return err
			}
			n++
			return fn(after, day)
		})
		if err != nil {
			return fmt.Errorf("read the keys of chunks: %w", err)
		}
		if n == 0 {
			return nil
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ArrivalDays hands fn every arrival day of a project, oldest first for each device.
func (db *DB) ArrivalDays(ctx context.Context, sc Scope, d lh.DeviceID, fn func(ArrivalDay) error) error {
	return db.arrivals(ctx, sc, d, ` ORDER BY day`, nil, fn)
}

// WholeChunk is [DB.Chunk] with its summary.
func (db *DB) WholeChunk(ctx context.Context, sc Scope, e lh.ElementID, day int32) (Chunk, error) {
	c := Chunk{Element: e, Day: day}
	err := db.chunks(ctx, sc, e, day, day, `summary, body`, func(got Chunk) error { c = got; return nil })
	return c, err
}
