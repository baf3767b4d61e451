package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

// JournalID names a journal row within its project and device; ids sort by the time they were made.
type JournalID struct {
	device lh.DeviceID
	id     [16]byte
}

func (j JournalID) String() string { return string(j.device) + "/" + hex.EncodeToString(j.id[:]) }

// JournalAppend is one upload to be made durable, with the newest sample of each element it brings.
type JournalAppend struct {
	Scope    Scope // the device's own
	Device   lh.DeviceID
	Received lh.Millis
	Samples  int
	Body     []byte // plain; sealed here
	Latest   []lh.Latest
	Seen     *DeviceSeen // recorded with it; nil is nothing new
}

// latestBody is the sealed part of a latest row: value bits, flag.
const latestBody = 9

func rankColumn(r lh.Rank) int64     { return int64(r ^ 1<<63) }
func rankFromColumn(c int64) lh.Rank { return lh.Rank(c) ^ 1<<63 }

// AppendJournal stores uploads of any devices in one transaction. When it returns nil, all of them are on disk,
// synced; otherwise none is. A latest row changes where the sample is newer, or as new and of greater rank.
func (db *DB) AppendJournal(ctx context.Context, rows []JournalAppend) error {
	type latestKey struct {
		p lh.ProjectID
		e lh.ElementID
	}
	journal := make([][]any, 0, len(rows))
	var seen [][]any
	newest := map[latestKey]lh.Latest{}
	for _, r := range rows {
		if !r.Scope.ownDevice(r.Device) {
			return noDevice()
		}
		k, err := db.key(ctx, db.read, string(r.Scope.project))
		if err != nil {
			return err
		}
		var id [16]byte
		binary.BigEndian.PutUint64(id[:8], uint64(r.Received)^1<<63)
		rand.Read(id[8:]) // never fails
		body, err := k.Seal(r.Body, place("journal", r.Scope.project, r.Device, hex.EncodeToString(id[:])))
		if err != nil {
			return err
		}
		journal = append(journal, []any{string(r.Scope.project), string(r.Device), id[:], int64(r.Received), int64(r.Samples), int64(len(body)), body})
		if r.Seen != nil {
			seen = append(seen, r.Seen.args(r.Scope.project, r.Device))
		}
		for _, l := range r.Latest {
			key := latestKey{r.Scope.project, l.Element}
			old, ok := newest[key]
			if !ok || l.Sample.Time > old.Sample.Time || l.Sample.Time == old.Sample.Time && l.Sample.Rank > old.Sample.Rank {
				newest[key] = l
			}
		}
	}
	keys := make([]latestKey, 0, len(newest))
	for key := range newest {
		keys = append(keys, key)
	}
	// One order for everybody, so that two replicas never wait for each other's rows.
	slices.SortFunc(keys, func(a, b latestKey) int {
		return cmp.Or(strings.Compare(string(a.p), string(b.p)), strings.Compare(string(a.e), string(b.e)))
	})
	slices.SortStableFunc(seen, func(a, b []any) int {
		return cmp.Or(strings.Compare(a[0].(string), b[0].(string)), strings.Compare(a[1].(string), b[1].(string)))
	})
	latest := make([][]any, 0, len(keys))
	for _, key := range keys {
		l := newest[key]
		k, err := db.key(ctx, db.read, string(key.p))
		if err != nil {
			return err
		}
		body, err := sealLatest(k, key.p, l)
		if err != nil {
			return err
		}
		latest = append(latest, []any{string(key.p), string(key.e), int64(l.Sample.Time), rankColumn(l.Sample.Rank), int64(l.Received), body})
	}
	if db.sqlite {
		db.prepare(ctx, insertJournal.query(1), touchDevice, insertLatest.query(1))
	}
	err := db.update(ctx, func(t *tx) error {
		if err := t.insert(ctx, insertJournal, journal); err != nil {
			return err
		}
		if err := t.many(ctx, touchDevice, seen); err != nil {
			return err
		}
		return t.insert(ctx, insertLatest, latest)
	})
	if err != nil {
		return fmt.Errorf("append %d uploads: %w", len(rows), err)
	}
	return nil
}

// insertion is a statement that adds rows.
type insertion struct {
	head    string
	columns int
	tail    string
}

var (
	insertJournal = insertion{head: `INSERT INTO journal (project_id, device_id, id, received, samples, size, body) VALUES `, columns: 7}
	insertLatest  = insertion{head: `INSERT INTO latest (project_id, element_id, time, rank, received, body) VALUES `, columns: 6,
		tail: ` ON CONFLICT (project_id, element_id) DO UPDATE SET time = excluded.time, rank = excluded.rank,
			received = excluded.received, body = excluded.body
			WHERE excluded.time > latest.time OR excluded.time = latest.time AND excluded.rank > latest.rank`}
)

// query returns the statement for a number of rows.
func (i insertion) query(rows int) string { return i.head + placeholders(rows, i.columns) + i.tail }

// insert adds many rows with few statements: one prepared statement run often on SQLite, where a statement is cheap,
// and statements of up to 100 rows on PostgreSQL, where a round trip is not.
func (t *tx) insert(ctx context.Context, i insertion, rows [][]any) error {
	const most = 100
	if t.db.sqlite {
		return t.many(ctx, i.query(1), rows)
	}
	for len(rows) > 0 {
		n := min(most, len(rows))
		full := len(rows) / n * n
		args := make([][]any, 0, full/n)
		for part := range slices.Chunk(rows[:full], n) {
			args = append(args, slices.Concat(part...))
		}
		if err := t.many(ctx, i.query(n), args); err != nil {
			return err
		}
		rows = rows[full:]
	}
	return nil
}

// many runs one statement for each of args.
func (t *tx) many(ctx context.Context, query string, args [][]any) error {
	if len(args) == 0 {
		return nil
	}
	stmt, err := t.ready(ctx, query)
	if err != nil {
		return err
	}
	for _, a := range args {
		if _, err := stmt.ExecContext(ctx, a...); err != nil {
			return errors.Join(err, stmt.Close())
		}
	}
	return stmt.Close()
}

// placeholders writes ($1, $2), ($3, $4) for 2 rows of 2 columns.
func placeholders(rows, columns int) string {
	var b strings.Builder
	for r := range rows {
		b.WriteString([]string{"(", ", ("}[min(r, 1)])
		for c := range columns {
			if c > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "$%d", r*columns+c+1)
		}
		b.WriteString(")")
	}
	return b.String()
}

// JournalRow is one upload that is not folded yet.
type JournalRow struct {
	ID       JournalID
	Device   lh.DeviceID
	Received lh.Millis
	Samples  int
	Size     int64  // bytes it takes in the journal
	Body     []byte // opened; nil when Err is set
	Err      error  // the row does not open: damaged, or moved
}

const journalColumns = `device_id, id, received, samples, size, body`

func scanJournal(k *seal.Key, p lh.ProjectID, scan func(...any) error) (JournalRow, error) {
	var r JournalRow
	var id, sealed []byte
	if err := scan(&r.Device, &id, &r.Received, &r.Samples, &r.Size, &sealed); err != nil {
		return r, err
	}
	r.ID.device = r.Device
	if copy(r.ID.id[:], id) != len(r.ID.id) || len(id) != len(r.ID.id) {
		r.Err = fmt.Errorf("journal row of %s has an id of %d bytes", r.Device, len(id))
		return r, nil
	}
	r.Body, r.Err = k.Open(sealed, place("journal", p, r.Device, hex.EncodeToString(id)))
	return r, nil
}

// Journal hands fn the unfolded rows of one device, or of all ("" ), oldest first. A row that does not open is handed
// over with its Err.
func (db *DB) Journal(ctx context.Context, sc Scope, d lh.DeviceID, fn func(JournalRow) error) error {
	if !sc.Allows(lh.PermRead) && !sc.Allows(lh.PermMaintain) {
		return sc.need(lh.PermRead)
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return err
	}
	query, args := `SELECT `+journalColumns+` FROM journal WHERE project_id = $1 AND device_id = $2 ORDER BY id`, []any{sc.project, d}
	if d == "" {
		query, args = `SELECT `+journalColumns+` FROM journal WHERE project_id = $1 ORDER BY id`, args[:1]
	}
	err = db.each(ctx, db.read, query, args, func(scan func(...any) error) error {
		r, err := scanJournal(k, sc.project, scan)
		if err != nil {
			return err
		}
		return fn(r)
	})
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	return nil
}

// Backlog is what of a project is not folded yet.
type Backlog struct {
	Project              lh.ProjectID
	Rows, Bytes, Samples int64
	Oldest               lh.Millis // when the oldest row was received
}

// JournalBacklog returns the backlog of every project that has one. It is the hub's own and tells sizes only.
func (db *DB) JournalBacklog(ctx context.Context) ([]Backlog, error) {
	var bs []Backlog
	err := db.each(ctx, db.read, `SELECT project_id, count(*), sum(size), sum(samples), min(received) FROM journal GROUP BY project_id ORDER BY project_id`, nil,
		func(scan func(...any) error) error {
			var b Backlog
			err := scan(&b.Project, &b.Rows, &b.Bytes, &b.Samples, &b.Oldest)
			bs = append(bs, b)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read backlog: %w", err)
	}
	return bs, nil
}

// rowCost is what a row costs in a fold beside its bytes, as bytes: it is read, sealed, deleted from two trees. It keeps
// the transaction that folds many small rows short, since no upload is committed meanwhile.
const rowCost = 512

// JournalOldest returns rows to fold: about maxBytes of them, counting rowCost for each, at least one when there is any,
// device by device, since uploads of one device share chunks, and none of those in without. Each call goes on with the
// device after the last, so that none waits for ever.
func (db *DB) JournalOldest(ctx context.Context, sc Scope, maxBytes int64, without map[JournalID]bool) ([]JournalRow, error) {
	if err := sc.need(lh.PermMaintain); err != nil {
		return nil, err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return nil, err
	}
	db.foldMu.Lock()
	after := db.foldCursor[sc.project]
	db.foldMu.Unlock()
	var rows []JournalRow
	var size int64
	full := errors.New("enough")
	take := func(scan func(...any) error) error {
		r, err := scanJournal(k, sc.project, scan)
		if err != nil || without[r.ID] {
			return err
		}
		if size > 0 && size+int64(len(r.Body)) > maxBytes {
			return full
		}
		rows, size = append(rows, r), size+int64(len(r.Body))+rowCost
		return nil
	}
	err = db.each(ctx, db.read, `SELECT `+journalColumns+` FROM journal WHERE project_id = $1 AND device_id > $2 ORDER BY device_id, id`, []any{sc.project, after}, take)
	if err == nil && after != "" {
		err = db.each(ctx, db.read, `SELECT `+journalColumns+` FROM journal WHERE project_id = $1 AND device_id <= $2 ORDER BY device_id, id`, []any{sc.project, after}, take)
	}
	if err != nil && !errors.Is(err, full) {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	if len(rows) > 0 {
		db.foldMu.Lock()
		db.foldCursor[sc.project] = string(rows[len(rows)-1].Device)
		db.foldMu.Unlock()
	}
	return rows, nil
}

func sealLatest(k *seal.Key, p lh.ProjectID, l lh.Latest) ([]byte, error) {
	var b [latestBody]byte
	putValue(b[:], l.Sample)
	return k.Seal(b[:], place("latest", p, l.Element, l.Sample.Time))
}

// Latest returns the newest sample of each of the elements that has one, or of all that the scope sees when elements
// is nil. Elements that are not the scope's to see are left out, and so is what is damaged, until a newer sample comes.
func (db *DB) Latest(ctx context.Context, sc Scope, elements []lh.ElementID) ([]lh.Latest, error) {
	var ls []lh.Latest
	err := db.EachLatest(ctx, sc, elements, func(l lh.Latest, err error) error {
		if err != nil {
			db.log.Error("a latest value cannot be read; it is left out", "element", l.Element, "err", err)
			return nil
		}
		ls = append(ls, l)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ls, nil
}

// EachLatest hands fn what [DB.Latest] returns, and with an error what does not open.
func (db *DB) EachLatest(ctx context.Context, sc Scope, elements []lh.ElementID, fn func(lh.Latest, error) error) error {
	if err := sc.need(lh.PermRead); err != nil {
		return err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return err
	}
	take := func(scan func(...any) error) error {
		var element, location string
		var time, rank, received int64
		var sealed sql.RawBytes // used before the next row
		if err := scan(&element, &time, &rank, &received, &sealed, &location); err != nil {
			return err
		}
		if !sc.Sees(lh.LocationID(location)) {
			return nil
		}
		l := lh.Latest{Element: lh.ElementID(element), Sample: lh.Sample{Time: lh.Millis(time), Rank: rankFromColumn(rank)}, Received: lh.Millis(received)}
		b, err := k.Open(sealed, place("latest", sc.project, l.Element, l.Sample.Time))
		if err == nil && len(b) != latestBody {
			err = fmt.Errorf("latest of %s has %d bytes", l.Element, len(b))
		}
		if err == nil {
			getValue(b, &l.Sample)
		}
		return fn(l, err)
	}
	// Where an element stands is asked only for a scope to which that matters.
	query := `SELECT l.element_id, l.time, l.rank, l.received, l.body, '' FROM latest l WHERE l.project_id = $1`
	if sc.Limited() {
		query = `SELECT l.element_id, l.time, l.rank, l.received, l.body, e.location_id FROM latest l
			JOIN element e ON e.project_id = l.project_id AND e.id = l.element_id WHERE l.project_id = $1`
	}
	if elements == nil {
		err = db.each(ctx, db.read, query+` ORDER BY l.element_id`, []any{sc.project}, take)
	}
	for _, id := range elements {
		if err == nil {
			err = db.each(ctx, db.read, query+` AND l.element_id = $2`, []any{sc.project, id}, take)
		}
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read latest: %w", err)
	}
	return nil
}
