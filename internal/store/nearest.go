package store

import (
	"context"
	"database/sql"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// NearestDay returns the day of the element's newest chunk before a day, or of its oldest after it. ok is false where
// there is none.
func (db *DB) NearestDay(ctx context.Context, sc Scope, e lh.ElementID, day int32, after bool) (found int32, ok bool, err error) {
	if !sc.Allows(lh.PermRead) {
		return 0, false, sc.need(lh.PermRead)
	}
	if err := db.seesElement(ctx, sc, e); err != nil {
		return 0, false, err
	}
	query := `SELECT max(day) FROM chunk WHERE project_id = $1 AND element_id = $2 AND day < $3`
	if after {
		query = `SELECT min(day) FROM chunk WHERE project_id = $1 AND element_id = $2 AND day > $3`
	}
	var d sql.NullInt32
	if err := db.row(ctx, db.read, query, sc.project, e, day).Scan(&d); err != nil {
		return 0, false, fmt.Errorf("find chunk near %d: %w", day, err)
	}
	return d.Int32, d.Valid, nil
}
