package store

import (
	"cmp"
	"context"
	"crypto/rand"
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

	// What AppendJournal made of it.
	ID   JournalID
	Seq  int64 // its number among the device's uploads
	Size int64 // bytes it takes in the journal
}

func rankColumn(r lh.Rank) int64     { return int64(r ^ 1<<63) }
func rankFromColumn(c int64) lh.Rank { return lh.Rank(c) ^ 1<<63 }

// appending is the uploads of one device in a group.
type appending struct {
	intakeKey
	key  *seal.Key
	rows []int // indices of the group's rows, in their order
	in   *intake
}

// AppendJournal stores uploads of any devices in one transaction. When it returns nil, all of them are on disk,
// synced; otherwise none is. A latest value changes where the sample is newer, or as new and of greater rank.
func (db *DB) AppendJournal(ctx context.Context, rows []JournalAppend) error {
	group, bodies, seen, err := db.sealUploads(ctx, rows)
	if err != nil {
		return err
	}
	if db.sqlite {
		db.prepare(ctx, insertJournal.query(1), insertJournal.query(rowsAtOnce), putIntake.query(1), putIntake.query(rowsAtOnce), touchDevice)
	}
	for try := 1; ; try++ {
		err := db.update(ctx, func(t *tx) error { return t.appendJournal(ctx, rows, group, bodies, seen, try > 1) })
		for _, a := range group {
			if err != nil {
				a.in = nil
			}
			db.remember(a.project, a.device, a.in)
		}
		if errors.Is(err, errIntake) && try < 5 {
			continue
		}
		if err != nil {
			return fmt.Errorf("append %d uploads: %w", len(rows), err)
		}
		return nil
	}
}

// sealUploads makes ready what is the same however often the transaction is tried.
func (db *DB) sealUploads(ctx context.Context, rows []JournalAppend) (group []*appending, bodies [][]byte, seen [][]any, err error) {
	by := make(map[intakeKey]*appending, len(rows))
	bodies = make([][]byte, len(rows))
	for i := range rows {
		r := &rows[i]
		if !r.Scope.ownDevice(r.Device) {
			return nil, nil, nil, noDevice()
		}
		key := intakeKey{r.Scope.project, r.Device}
		a := by[key]
		if a == nil {
			a = &appending{intakeKey: key}
			if a.key, err = db.key(ctx, db.read, string(key.project)); err != nil {
				return nil, nil, nil, err
			}
			by[key], group = a, append(group, a)
		}
		a.rows = append(a.rows, i)
		r.ID.device = r.Device
		binary.BigEndian.PutUint64(r.ID.id[:8], uint64(r.Received)^1<<63)
		rand.Read(r.ID.id[8:]) // never fails
		if bodies[i], err = a.key.Seal(r.Body, journalPlace(key.project, r.ID)); err != nil {
			return nil, nil, nil, err
		}
		r.Size = int64(len(bodies[i]))
		if r.Seen != nil {
			seen = append(seen, r.Seen.args(r.Scope.project, r.Device))
		}
	}
	// One order for everybody, so that two replicas never wait for each other's rows.
	slices.SortFunc(group, func(a, b *appending) int {
		return cmp.Or(strings.Compare(string(a.project), string(b.project)), strings.Compare(string(a.device), string(b.device)))
	})
	slices.SortStableFunc(seen, func(a, b []any) int {
		return cmp.Or(strings.Compare(a[0].(string), b[0].(string)), strings.Compare(a[1].(string), b[1].(string)))
	})
	return group, bodies, seen, nil
}

// appendJournal stores a group. fresh reads the devices' rows even where this process remembers them.
func (t *tx) appendJournal(ctx context.Context, rows []JournalAppend, group []*appending, bodies [][]byte, seen [][]any, fresh bool) (err error) {
	for _, a := range group {
		if a.in = nil; !fresh {
			a.in = t.db.known(a.project, a.device)
		}
		if a.in == nil && !t.db.sqlite {
			fresh = true // all of them, in their order
		}
	}
	journal, intakes := make([][]any, 0, len(rows)), make([][]any, 0, len(group))
	for _, a := range group {
		if fresh || a.in == nil {
			if a.in, err = t.intake(ctx, a.key, a.project, a.device); err != nil {
				return err
			}
		}
		in := a.in
		in.came, in.bytes, in.samples, in.received = int64(len(a.rows)), 0, 0, rows[a.rows[0]].Received
		for _, i := range a.rows {
			r := &rows[i]
			r.Seq = in.next
			in.next++
			in.bytes, in.samples = in.bytes+r.Size, in.samples+int64(r.Samples)
			for at := range r.Latest {
				in.latest = raise(in.latest, &r.Latest[at], at)
			}
			journal = append(journal, []any{in.stream, r.Seq, int64(0), r.ID.id[:], int64(r.Received), int64(r.Samples), r.Size, bodies[i]})
		}
		args, err := in.args(a.key, a.project, a.device)
		if err != nil {
			return err
		}
		intakes = append(intakes, args)
		if err := t.dropOldLatest(ctx, a.project, in); err != nil {
			return err
		}
	}
	// The devices' rows first: two writers of one device meet here.
	n, err := t.insert(ctx, putIntake, intakes)
	if err != nil {
		return err
	}
	if n != int64(len(intakes)) {
		return errIntake
	}
	for _, a := range group {
		a.in.gen, a.in.old = a.in.gen+1, nil
	}
	if _, err := t.insert(ctx, insertJournal, journal); err != nil {
		return err
	}
	_, err = t.many(ctx, touchDevice, seen)
	return err
}

// insertion is a statement that adds rows.
type insertion struct {
	head    string
	columns int
	tail    string
}

var insertJournal = insertion{head: `INSERT INTO journal (stream, seq, held, id, received, samples, size, body) VALUES `, columns: 8}

// query returns the statement for a number of rows.
func (i insertion) query(rows int) string { return i.head + placeholders(rows, i.columns) + i.tail }

// rowsAtOnce is how many rows one statement adds: on PostgreSQL a round trip costs much, on SQLite a statement little.
const rowsAtOnce = 16

// insert adds many rows with few statements, and returns how many it wrote.
func (t *tx) insert(ctx context.Context, i insertion, rows [][]any) (n int64, err error) {
	most := rowsAtOnce
	if !t.db.sqlite {
		most = 100
	}
	for len(rows) > 0 {
		at := most
		if len(rows) < most {
			if at = len(rows); t.db.sqlite {
				at = 1
			}
		}
		full := len(rows) / at * at
		args := make([][]any, 0, full/at)
		for part := range slices.Chunk(rows[:full], at) {
			args = append(args, slices.Concat(part...))
		}
		wrote, err := t.many(ctx, i.query(at), args)
		if n += wrote; err != nil {
			return n, err
		}
		rows = rows[full:]
	}
	return n, nil
}

// many runs one statement for each of args and returns how many rows they changed.
func (t *tx) many(ctx context.Context, query string, args [][]any) (n int64, err error) {
	if len(args) == 0 {
		return 0, nil
	}
	stmt, err := t.ready(ctx, query)
	if err != nil {
		return 0, err
	}
	for _, a := range args {
		r, err := stmt.ExecContext(ctx, a...)
		if err != nil {
			return n, errors.Join(err, stmt.Close())
		}
		changed, err := r.RowsAffected()
		if n += changed; err != nil {
			return n, errors.Join(err, stmt.Close())
		}
	}
	return n, stmt.Close()
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
	Seq      int64 // its number among the device's uploads
	Held     bool  // a fold could not take it
	Received lh.Millis
	Samples  int
	Size     int64  // bytes it takes in the journal
	Body     []byte // opened; nil when Err is set
	Err      error  // the row does not open: damaged, or moved
}

func journalPlace(p lh.ProjectID, id JournalID) string {
	return place("journal", p, id.device, hex.EncodeToString(id.id[:]))
}

const journalRows = `SELECT i.device_id, i.folded, j.seq, j.held, j.id, j.received, j.samples, j.size, j.body
	FROM intake i JOIN journal j ON j.stream = i.stream AND (j.seq > i.folded OR j.held = 1) WHERE i.project_id = $1`

func scanJournal(k *seal.Key, p lh.ProjectID, scan func(...any) error) (r JournalRow, folded int64, err error) {
	var id, sealed []byte
	var held int
	if err := scan(&r.Device, &folded, &r.Seq, &held, &id, &r.Received, &r.Samples, &r.Size, &sealed); err != nil {
		return r, 0, err
	}
	r.ID.device, r.Held = r.Device, held != 0
	if copy(r.ID.id[:], id) != len(r.ID.id) || len(id) != len(r.ID.id) {
		r.Err = fmt.Errorf("journal row of %s has an id of %d bytes", r.Device, len(id))
		return r, folded, nil
	}
	r.Body, r.Err = k.Open(sealed, journalPlace(p, r.ID))
	return r, folded, nil
}

// Journal hands fn the unfolded rows of one device in their order, or of all ("") one device after the other. A row that
// does not open is handed over with its Err.
func (db *DB) Journal(ctx context.Context, sc Scope, d lh.DeviceID, fn func(JournalRow) error) error {
	if !sc.Allows(lh.PermRead) && !sc.Allows(lh.PermMaintain) {
		return sc.need(lh.PermRead)
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return err
	}
	query, args := journalRows+` AND i.device_id = $2 ORDER BY j.seq`, []any{sc.project, d}
	if d == "" {
		query, args = journalRows+` ORDER BY i.device_id, j.seq`, args[:1]
	}
	err = db.each(ctx, db.read, query, args, func(scan func(...any) error) error {
		r, _, err := scanJournal(k, sc.project, scan)
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

// rowCost is what a row costs in a fold beside its bytes, as bytes. It keeps the transaction that folds many small rows
// short, since no upload is committed meanwhile.
const rowCost = 256

// Unfolded returns the first of a device's rows that are not folded, about maxBytes of them, counting rowCost for each,
// at least one when there is any, and none of those in without; and up to which number the device is folded. more says
// that there are others.
func (db *DB) Unfolded(ctx context.Context, sc Scope, d lh.DeviceID, maxBytes int64, without map[JournalID]bool) (rows []JournalRow, folded int64, more bool, err error) {
	if err := sc.need(lh.PermMaintain); err != nil {
		return nil, 0, false, err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return nil, 0, false, err
	}
	var size int64
	full := errors.New("enough")
	err = db.each(ctx, db.read, journalRows+` AND i.device_id = $2 ORDER BY j.seq`, []any{sc.project, d}, func(scan func(...any) error) error {
		r, to, err := scanJournal(k, sc.project, scan)
		if err != nil {
			return err
		}
		folded = to
		if without[r.ID] {
			return nil
		}
		if size > 0 && size+int64(len(r.Body)) > maxBytes {
			return full
		}
		rows, size = append(rows, r), size+int64(len(r.Body))+rowCost
		return nil
	})
	if more = errors.Is(err, full); err != nil && !more {
		return nil, 0, false, fmt.Errorf("read journal: %w", err)
	}
	return rows, folded, more, nil
}
