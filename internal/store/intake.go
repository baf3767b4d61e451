package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

// intake is a device's row of the table intake, as uploads change it: which journal is its own, how far that goes, and
// its elements' latest values. One that is in [DB.intakes] is not changed any more.
type intake struct {
	stream    int64
	gen, next int64
	latest    []lh.Latest

	old []lh.ElementID // have a row in the table latest that goes when this one is written

	// What a writing adds.
	came, bytes, samples int64
	received             lh.Millis
}

// streamBits is how long the random names of streams are: short in keys, and never met twice.
const streamBits = 47

type intakeKey struct {
	project lh.ProjectID
	device  lh.DeviceID
}

// maxIntakes bounds the devices whose intake row is remembered: 1 kB for one of eight elements.
const maxIntakes = 20_000

// errIntake says that somebody else has written an intake row since it was read.
var errIntake = errors.New("another writer was first")

// known returns a device's intake row as this process last wrote it; nil where it has not. Whether it still stands like
// that, its gen tells at the writing.
func (db *DB) known(p lh.ProjectID, d lh.DeviceID) *intake {
	db.intakesMu.Lock()
	defer db.intakesMu.Unlock()
	in := db.intakes[intakeKey{p, d}]
	if in == nil {
		return nil
	}
	c := *in
	c.latest = slices.Clone(in.latest)
	return &c
}

// remember keeps what was written, or forgets it where in is nil.
func (db *DB) remember(p lh.ProjectID, d lh.DeviceID, in *intake) {
	db.intakesMu.Lock()
	defer db.intakesMu.Unlock()
	if in == nil {
		delete(db.intakes, intakeKey{p, d})
		return
	}
	if len(db.intakes) >= maxIntakes {
		clear(db.intakes)
	}
	db.intakes[intakeKey{p, d}] = in
}

// intake reads a device's row and keeps others from changing it until the transaction ends; a new one where there is none.
func (t *tx) intake(ctx context.Context, k *seal.Key, p lh.ProjectID, d lh.DeviceID) (*intake, error) {
	query := `SELECT stream, gen, next_seq, body FROM intake WHERE project_id = $1 AND device_id = $2`
	if !t.db.sqlite {
		query += ` FOR UPDATE`
	}
	in := &intake{}
	var sealed []byte
	err := t.db.row(ctx, t, query, p, d).Scan(&in.stream, &in.gen, &in.next, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		in.stream, in.next, err = 1+rand.Int64N(1<<streamBits-1), 1, nil
	}
	if err != nil {
		return nil, err
	}
	if len(sealed) > 0 {
		if in.latest, err = openLatest(k, p, d, sealed); err != nil {
			// What comes is newer than what is lost.
			t.db.log.Error("latest values cannot be read; they are begun anew", "device", d, "err", err)
			in.latest, err = nil, nil
		}
		return in, nil
	}
	err = t.db.oldLatest(ctx, t, k, p, d, func(l lh.Latest, err error) error {
		in.old = append(in.old, l.Element)
		if err != nil {
			t.db.log.Error("a latest value cannot be read; it is left out", "element", l.Element, "err", err)
			return nil
		}
		in.latest = raise(in.latest, &l, len(in.latest))
		return nil
	})
	return in, err
}

var putIntake = insertion{
	head:    `INSERT INTO intake (project_id, device_id, stream, gen, next_seq, folded, waiting, waiting_bytes, waiting_samples, oldest, body) VALUES `,
	columns: 11,
	tail: ` ON CONFLICT (project_id, device_id) DO UPDATE SET gen = excluded.gen, next_seq = excluded.next_seq, waiting = intake.waiting + excluded.waiting,
		waiting_bytes = intake.waiting_bytes + excluded.waiting_bytes, waiting_samples = intake.waiting_samples + excluded.waiting_samples,
		oldest = CASE WHEN intake.waiting = 0 THEN excluded.oldest ELSE intake.oldest END, body = excluded.body
		WHERE intake.gen = excluded.gen - 1 AND intake.stream = excluded.stream`,
}

// args are those of putIntake, for the row's next writing.
func (in *intake) args(k *seal.Key, p lh.ProjectID, d lh.DeviceID) ([]any, error) {
	body, err := k.Seal(encodeLatest(in.latest), intakePlace(p, d))
	return []any{string(p), string(d), in.stream, in.gen + 1, in.next, int64(0), in.came, in.bytes, in.samples, int64(in.received), body}, err
}

// dropOldLatest removes what the row takes over from the table latest.
func (t *tx) dropOldLatest(ctx context.Context, p lh.ProjectID, in *intake) error {
	for _, e := range in.old {
		if _, err := t.exec(ctx, `DELETE FROM latest WHERE project_id = $1 AND element_id = $2`, p, e); err != nil {
			return err
		}
	}
	return nil
}

// Waiting is what of a device is not folded.
type Waiting struct {
	Project              lh.ProjectID
	Device               lh.DeviceID
	Next, Folded         int64 // number of its next upload; the uploads up to Folded are in chunks, or held
	Rows, Bytes, Samples int64
	Oldest               lh.Millis // about when the oldest was received
}

// Held is how many uploads a fold could not take.
func (w *Waiting) Held() int64 { return w.Rows - (w.Next - 1 - w.Folded) }

// Waiting returns every device of which something is not folded. It is the hub's own and tells sizes only.
func (db *DB) Waiting(ctx context.Context) ([]Waiting, error) {
	var ws []Waiting
	err := db.each(ctx, db.read, `SELECT project_id, device_id, next_seq, folded, waiting, waiting_bytes, waiting_samples, oldest FROM intake
		WHERE waiting > 0 ORDER BY project_id, device_id`, nil,
		func(scan func(...any) error) error {
			var w Waiting
			err := scan(&w.Project, &w.Device, &w.Next, &w.Folded, &w.Rows, &w.Bytes, &w.Samples, &w.Oldest)
			ws = append(ws, w)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read backlog: %w", err)
	}
	return ws, nil
}

// Backlog is what of a project is not folded yet.
type Backlog struct {
	Project              lh.ProjectID
	Rows, Bytes, Samples int64
	Oldest               lh.Millis // about when the oldest row was received
}

// JournalBacklog returns the backlog of every project that has one. It is the hub's own and tells sizes only.
func (db *DB) JournalBacklog(ctx context.Context) ([]Backlog, error) {
	ws, err := db.Waiting(ctx)
	var bs []Backlog
	for _, w := range ws {
		if len(bs) == 0 || bs[len(bs)-1].Project != w.Project {
			bs = append(bs, Backlog{Project: w.Project, Oldest: w.Oldest})
		}
		b := &bs[len(bs)-1]
		b.Rows, b.Bytes, b.Samples, b.Oldest = b.Rows+w.Rows, b.Bytes+w.Bytes, b.Samples+w.Samples, min(b.Oldest, w.Oldest)
	}
	return bs, err
}

// DeviceFold is what a fold took of a device's journal: every upload numbered From+1 to To, which is in the chunks now
// or held, and of those that were held before the ones in Done.
type DeviceFold struct {
	Device               lh.DeviceID
	From, To             int64
	Rows, Bytes, Samples int64   // that are in chunks now
	Held                 []int64 // numbers of those that could not be taken
	Done                 []int64
	Oldest               lh.Millis // when the first that was not taken was received, or now
}

const foldIntake = `UPDATE intake SET folded = $4, waiting = waiting - $5, waiting_bytes = waiting_bytes - $6, waiting_samples = waiting_samples - $7,
	oldest = $8 WHERE project_id = $1 AND device_id = $2 AND folded = $3`

// foldDevices moves the devices' marks on, in a fold's transaction; moved where one is no longer where it was read.
func (t *tx) foldDevices(ctx context.Context, sc Scope, folds []DeviceFold, moved error) error {
	if len(folds) == 0 {
		return nil
	}
	mark, err := t.ready(ctx, foldIntake)
	if err != nil {
		return err
	}
	defer mark.Close() // it goes with the transaction in any case
	for i := range folds {
		f := &folds[i]
		r, err := mark.ExecContext(ctx, string(sc.project), string(f.Device), f.From, f.To, f.Rows, f.Bytes, f.Samples, int64(f.Oldest))
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n != 1 {
			return errors.Join(moved, err)
		}
		const stream = `stream = (SELECT stream FROM intake WHERE project_id = $1 AND device_id = $2)`
		for _, seq := range f.Held {
			if _, err := t.exec(ctx, `UPDATE journal SET held = 1 WHERE `+stream+` AND seq = $3`, sc.project, f.Device, seq); err != nil {
				return err
			}
		}
		for _, seq := range f.Done {
			n, err := t.exec(ctx, `DELETE FROM journal WHERE `+stream+` AND seq = $3 AND held = 1`, sc.project, f.Device, seq)
			if err != nil || n != 1 {
				return errors.Join(moved, err)
			}
		}
		if t.db.sqlite { // see Purge
			continue
		}
		if _, err := t.exec(ctx, `DELETE FROM journal WHERE `+stream+` AND seq > $3 AND seq <= $4 AND held = 0`, sc.project, f.Device, f.From, f.To); err != nil {
			return err
		}
	}
	return nil
}

// purgeRows is how many journal rows one transaction of Purge looks at.
const purgeRows = 4096

// Purge removes folded rows from SQLite's journal. A fold only moves a mark: the rows of a device lie scattered among
// those of all others, and to take them out one device at a time would write each page of the journal many times. Here
// they go in the order in which they lie. On PostgreSQL the fold itself deletes them.
func (db *DB) Purge(ctx context.Context) error {
	if !db.sqlite {
		return nil
	}
	for after, more := int64(0), true; more; {
		err := db.update(ctx, func(t *tx) (err error) {
			after, more, err = t.purge(ctx, after)
			return err
		})
		if err != nil {
			return fmt.Errorf("purge journal: %w", err)
		}
	}
	return nil
}

// purge removes what is folded of the rows behind one, a bounded number of them. Marks and rows are read in the
// transaction that deletes: row ids are used again.
func (t *tx) purge(ctx context.Context, after int64) (last int64, more bool, err error) {
	var waiting int64
	if err := t.db.row(ctx, t, `SELECT count(*) FROM intake WHERE waiting > 0`).Scan(&waiting); err != nil {
		return 0, false, err
	}
	if waiting == 0 {
		_, err := t.exec(ctx, `DELETE FROM journal`)
		return 0, false, err
	}
	folded := map[int64]int64{}
	err = t.db.each(ctx, t, `SELECT stream, folded FROM intake`, nil, func(scan func(...any) error) error {
		var stream, to int64
		err := scan(&stream, &to)
		folded[stream] = to
		return err
	})
	if err != nil {
		return 0, false, err
	}
	var runs [][]any // the first and the last of rows in a row that go
	gap := true
	n := 0
	err = t.db.each(ctx, t, `SELECT rowid, stream, seq, held FROM journal WHERE rowid > $1 ORDER BY rowid LIMIT $2`, []any{after, purgeRows}, func(scan func(...any) error) error {
		var stream, seq, held int64
		if err := scan(&last, &stream, &seq, &held); err != nil {
			return err
		}
		n++
		to, there := folded[stream]
		switch goes := there && seq <= to && held == 0; {
		case !goes:
			gap = true
		case gap:
			runs, gap = append(runs, []any{last, last}), false
		default:
			runs[len(runs)-1][1] = last
		}
		return nil
	})
	if err != nil {
		return 0, false, err
	}
	_, err = t.many(ctx, `DELETE FROM journal WHERE rowid BETWEEN $1 AND $2`, runs)
	return last, n == purgeRows, err
}
