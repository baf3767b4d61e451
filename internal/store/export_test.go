package store

import (
	"context"
	"encoding/binary"
	"math"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// KeepKeys sets for how long an opened data key is used before it is read anew.
func (db *DB) KeepKeys(d time.Duration) { db.keepKey = d }

// Exec does what nobody may do to the database from outside.
func (db *DB) Exec(ctx context.Context, query string, args ...any) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, query, args...)
		return err
	})
}

// SchemaTo brings the schema to a version, up or down.
func (db *DB) SchemaTo(ctx context.Context, version int64) error {
	p, err := db.migrations()
	if err != nil {
		return err
	}
	at, err := p.GetDBVersion(ctx)
	if err == nil && at > version {
		_, err = p.DownTo(ctx, version)
	} else if err == nil {
		_, err = p.UpTo(ctx, version)
	}
	return err
}

// PutOldLatest stores a latest value as it was stored before schema 11.
func (db *DB) PutOldLatest(ctx context.Context, sc Scope, l lh.Latest) error {
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return err
	}
	var b [oldLatestBody]byte
	binary.LittleEndian.PutUint64(b[:], math.Float64bits(l.Sample.Value))
	b[8] = byte(l.Sample.Flag)
	body, err := k.Seal(b[:], place("latest", sc.project, l.Element, l.Sample.Time))
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO latest (project_id, element_id, time, rank, received, body) VALUES ($1, $2, $3, $4, $5, $6)`,
			sc.project, l.Element, l.Sample.Time, rankColumn(l.Sample.Rank), l.Received, body)
		return err
	})
}

// JournalRows counts all rows of the journal, those that are folded and not purged too.
func (db *DB) JournalRows(ctx context.Context) (n int, err error) {
	err = db.row(ctx, db.read, `SELECT count(*) FROM journal`).Scan(&n)
	return n, err
}

// EncodeLatest and DecodeLatest are the body of an intake row.
var (
	EncodeLatest = encodeLatest
	DecodeLatest = decodeLatest
)
