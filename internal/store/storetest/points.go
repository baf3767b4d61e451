package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"

	"github.com/ncruces/go-sqlite3"
	sqlitedriver "github.com/ncruces/go-sqlite3/driver"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Points is what measurements compare the store with: one row per sample, the table that everybody makes first, in the
// same engine, with the same pragmas and the same encryption of the file. It is given every advantage: series are small
// integers, rows lie in order of the primary key, values are not sealed one by one.
type Points struct {
	db  *sql.DB
	put *sql.Stmt
}

// Point is one row.
type Point struct {
	Series int64
	lh.Sample
}

// OpenPoints makes an encrypted file with an empty table.
func OpenPoints(ctx context.Context, path string) (*Points, error) {
	var key [32]byte
	rand.Read(key[:])
	name := (&url.URL{Scheme: "file", OmitHost: true, Path: path}).String()
	db, err := sqlitedriver.Open(name+"?vfs=adiantum&_txlock=immediate", func(c *sqlite3.Conn) error {
		for _, p := range []string{"hexkey='" + hex.EncodeToString(key[:]) + "'", "page_size=8192", "temp_store=memory", "journal_mode=wal",
			"synchronous=full", "wal_autocheckpoint=2000", "cache_size=-16384"} {
			if err := c.Exec("PRAGMA " + p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	p := &Points{db: db}
	_, err = db.ExecContext(ctx, `CREATE TABLE point (series INTEGER NOT NULL, time INTEGER NOT NULL, value REAL NOT NULL, flag INTEGER NOT NULL,
		rank INTEGER NOT NULL, PRIMARY KEY (series, time)) WITHOUT ROWID`)
	if err == nil {
		p.put, err = db.PrepareContext(ctx, `INSERT INTO point VALUES (?, ?, ?, ?, ?) ON CONFLICT (series, time) DO UPDATE
			SET value = excluded.value, flag = excluded.flag, rank = excluded.rank WHERE excluded.rank >= point.rank`)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// Close closes the file, which checkpoints it.
func (p *Points) Close() error {
	var err error
	if p.put != nil {
		err = p.put.Close()
	}
	return errors.Join(err, p.db.Close())
}

// Append stores points in one synced transaction; of two with one time the one of greater rank stands.
func (p *Points) Append(ctx context.Context, points []Point) error {
	t, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	put := t.StmtContext(ctx, p.put)
	for i := range points {
		s := &points[i]
		if _, err := put.ExecContext(ctx, s.Series, int64(s.Time), s.Value, int64(s.Flag), int64(s.Rank)); err != nil {
			return errors.Join(err, t.Rollback())
		}
	}
	return t.Commit()
}

// Checkpoint copies the log into the file and leaves no log.
func (p *Points) Checkpoint(ctx context.Context) error {
	_, err := p.db.ExecContext(ctx, "PRAGMA wal_checkpoint(truncate)")
	return err
}

// Count returns how many points a series has in [from, to).
func (p *Points) Count(ctx context.Context, series int64, from, to lh.Millis) (n int64, err error) {
	err = p.db.QueryRowContext(ctx, `SELECT count(*) FROM point WHERE series = ? AND time >= ? AND time < ?`, series, int64(from), int64(to)).Scan(&n)
	return n, err
}

// Read returns a series in [from, to).
func (p *Points) Read(ctx context.Context, series int64, from, to lh.Millis) ([]lh.Sample, error) {
	var out []lh.Sample
	err := p.each(ctx, `SELECT time, value, flag, rank FROM point WHERE series = ? AND time >= ? AND time < ? ORDER BY time`,
		[]any{series, int64(from), int64(to)}, func(r *sql.Rows) error {
			var s lh.Sample
			err := r.Scan(&s.Time, &s.Value, &s.Flag, &s.Rank)
			out = append(out, s)
			return err
		})
	return out, err
}

// Extremes returns the samples that fell into n equal buckets of [from, to), each with its least and greatest value.
func (p *Points) Extremes(ctx context.Context, series int64, from, to lh.Millis, n int64) (count int64, err error) {
	err = p.each(ctx, `SELECT (time - ?2) * ?4 / (?3 - ?2) AS bucket, count(*), min(value), max(value) FROM point
		WHERE series = ?1 AND time >= ?2 AND time < ?3 GROUP BY bucket`, []any{series, int64(from), int64(to), n}, func(r *sql.Rows) error {
		var bucket, c int64
		var least, greatest float64
		err := r.Scan(&bucket, &c, &least, &greatest)
		count += c
		return err
	})
	return count, err
}

// Latest returns how many of the series 0 to n-1 have a newest sample, which it reads.
func (p *Points) Latest(ctx context.Context, n int64) (found int64, err error) {
	q, err := p.db.PrepareContext(ctx, `SELECT time, value, flag FROM point WHERE series = ? ORDER BY time DESC LIMIT 1`)
	if err != nil {
		return 0, err
	}
	defer q.Close() // was only read from
	for i := range n {
		var s lh.Sample
		err := q.QueryRowContext(ctx, i).Scan(&s.Time, &s.Value, &s.Flag)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return found, err
		}
		found++
	}
	return found, nil
}

// Statistics reads count, mean, minimum, maximum, sum and flag of the buckets between the cuts and returns the samples.
func (p *Points) Statistics(ctx context.Context, series int64, cuts []lh.Millis) (count int64, err error) {
	q, err := p.db.PrepareContext(ctx, `SELECT count(*), avg(value), min(value), max(value), sum(value), max(flag) FROM point
		WHERE series = ? AND time >= ? AND time < ?`)
	if err != nil {
		return 0, err
	}
	defer q.Close() // was only read from
	for i := range len(cuts) - 1 {
		var n int64
		var v [4]sql.NullFloat64
		var flag sql.NullInt64
		if err := q.QueryRowContext(ctx, series, int64(cuts[i]), int64(cuts[i+1])).Scan(&n, &v[0], &v[1], &v[2], &v[3], &flag); err != nil {
			return 0, fmt.Errorf("bucket %d: %w", i, err)
		}
		count += n
	}
	return count, nil
}

func (p *Points) each(ctx context.Context, query string, args []any, fn func(*sql.Rows) error) error {
	rows, err := p.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close() // its error is also Err's
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
