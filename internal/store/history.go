package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

// Revision returns the writes of a day that lost against others, as [DB.Fold] was given them; nil when there are none.
func (db *DB) Revision(ctx context.Context, sc Scope, e lh.ElementID, day int32) ([]byte, error) {
	k, err := db.seriesKey(ctx, sc, e)
	if err != nil {
		return nil, err
	}
	var sealed []byte
	err = db.row(ctx, db.read, `SELECT revision FROM chunk WHERE project_id = $1 AND element_id = $2 AND day = $3`, sc.project, e, day).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) || err == nil && sealed == nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read revision of %s: %w", e, err)
	}
	return k.Open(sealed, chunkPlace(sc.project, e, day, "revision"))
}

// ArrivalDay is when the uploads of one device arrived that the hub took in on one UTC day (of its own clock). What
// the bytes mean is series' business. Gen is as in [Chunk].
type ArrivalDay struct {
	Device   lh.DeviceID
	Day      int32
	Gen      int64
	Min, Max lh.Rank // of the samples that arrived
	Body     []byte  // opened
}

func arrivalPlace(p lh.ProjectID, d lh.DeviceID, day int32) string {
	return place("arrival", p, d, day)
}

// ArrivalDay returns a device's arrivals of one day; Gen 0 where there are none.
func (db *DB) ArrivalDay(ctx context.Context, sc Scope, d lh.DeviceID, day int32) (ArrivalDay, error) {
	a := ArrivalDay{Device: d, Day: day}
	err := db.arrivals(ctx, sc, d, ` AND day = $3`, []any{day}, func(got ArrivalDay) error { a = got; return nil })
	return a, err
}

// Arrivals hands fn the device's arrival days that hold ranks from least to greatest, oldest first.
func (db *DB) Arrivals(ctx context.Context, sc Scope, d lh.DeviceID, least, greatest lh.Rank, fn func(ArrivalDay) error) error {
	return db.arrivals(ctx, sc, d, ` AND rank_min <= $3 AND rank_max >= $4 ORDER BY day`, []any{rankColumn(greatest), rankColumn(least)}, fn)
}

func (db *DB) arrivals(ctx context.Context, sc Scope, d lh.DeviceID, where string, args []any, fn func(ArrivalDay) error) error {
	if !sc.Allows(lh.PermRead) {
		return sc.need(lh.PermRead)
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return err
	}
	err = db.each(ctx, db.read, `SELECT day, gen, rank_min, rank_max, body FROM arrival WHERE project_id = $1 AND device_id = $2`+where,
		append([]any{sc.project, d}, args...), func(scan func(...any) error) error {
			a := ArrivalDay{Device: d}
			var least, greatest int64
			var sealed []byte
			err := scan(&a.Day, &a.Gen, &least, &greatest, &sealed)
			if err != nil {
				return err
			}
			a.Min, a.Max = rankFromColumn(least), rankFromColumn(greatest)
			if a.Body, err = k.Open(sealed, arrivalPlace(sc.project, d, a.Day)); err != nil {
				return err
			}
			return fn(a)
		})
	if err != nil {
		return fmt.Errorf("read arrivals of %s: %w", d, err)
	}
	return nil
}

// putArrivals writes an arrival day in a fold's transaction; moved where it is no longer at its Gen.
func (t *tx) putArrivals(ctx context.Context, sc Scope, k *seal.Key, a ArrivalDay, moved error) error {
	body, err := k.Seal(a.Body, arrivalPlace(sc.project, a.Device, a.Day))
	if err != nil {
		return err
	}
	put := `INSERT INTO arrival (project_id, device_id, day, gen, rank_min, rank_max, body) VALUES ($1, $2, $3, $4 + 1, $5, $6, $7)
		ON CONFLICT (project_id, device_id, day) DO NOTHING`
	if a.Gen > 0 { // what is gone was deleted, and is not made anew
		put = `UPDATE arrival SET gen = $4 + 1, rank_min = $5, rank_max = $6, body = $7 WHERE project_id = $1 AND device_id = $2 AND day = $3 AND gen = $4`
	}
	n, err := t.exec(ctx, put, sc.project, a.Device, a.Day, a.Gen, rankColumn(a.Min), rankColumn(a.Max), body)
	if err == nil && n != 1 {
		return moved
	}
	return err
}
