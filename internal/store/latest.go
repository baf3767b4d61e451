package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

// The latest values of a device's elements are one sealed body of its intake row; docs/format/latest.md describes the
// bytes. (Until schema 11 each had a row of the table latest; what is left there is read until the device's next upload.)
const latestVersion = 1

// oldLatestBody is the sealed part of a row of the table latest: value bits, flag.
const oldLatestBody = 9

var errLatest = errors.New("latest values are damaged")

func intakePlace(p lh.ProjectID, d lh.DeviceID) string { return place("intake", p, d) }

// newer reports whether a is the latest rather than b.
func newer(a, b *lh.Latest) bool {
	return a.Sample.Time > b.Sample.Time || a.Sample.Time == b.Sample.Time && a.Sample.Rank > b.Sample.Rank
}

// raise returns ls with l in it where it is newer than what is there; at is where it is likely to stand.
func raise(ls []lh.Latest, l *lh.Latest, at int) []lh.Latest {
	if at >= len(ls) || ls[at].Element != l.Element {
		at = slices.IndexFunc(ls, func(have lh.Latest) bool { return have.Element == l.Element })
	}
	if at < 0 {
		return append(ls, *l)
	}
	if newer(l, &ls[at]) {
		ls[at] = *l
	}
	return ls
}

func encodeLatest(ls []lh.Latest) []byte {
	b := make([]byte, 0, 8+len(ls)*64)
	b = append(b, latestVersion)
	b = binary.AppendUvarint(b, uint64(len(ls)))
	for i := range ls {
		l := &ls[i]
		b = append(b, byte(len(l.Element)))
		b = append(b, l.Element...)
		b = binary.AppendVarint(b, int64(l.Sample.Time))
		b = binary.LittleEndian.AppendUint64(b, uint64(l.Sample.Rank))
		b = binary.AppendVarint(b, int64(l.Received))
		b = append(b, byte(l.Sample.Flag))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(l.Sample.Value))
	}
	return b
}

// decodeLatest hands fn every latest value of a body.
func decodeLatest(b []byte, fn func(lh.Latest) error) error {
	if len(b) == 0 || b[0] != latestVersion {
		return fmt.Errorf("%w: their version is not known", errLatest)
	}
	n, k := binary.Uvarint(b[1:])
	if k <= 0 || n > uint64(len(b)) {
		return fmt.Errorf("%w: their count", errLatest)
	}
	b = b[1+k:]
	for range n {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return fmt.Errorf("%w: an element", errLatest)
		}
		var l lh.Latest
		l.Element, b = lh.ElementID(b[1:1+int(b[0])]), b[1+int(b[0]):]
		at, k := binary.Varint(b)
		if k <= 0 || len(b) < k+8 {
			return fmt.Errorf("%w: a time", errLatest)
		}
		l.Sample.Time, l.Sample.Rank = lh.Millis(at), lh.Rank(binary.LittleEndian.Uint64(b[k:]))
		b = b[k+8:]
		received, k := binary.Varint(b)
		if k <= 0 || len(b) < k+9 {
			return fmt.Errorf("%w: a value", errLatest)
		}
		l.Received, l.Sample.Flag = lh.Millis(received), lh.Flag(b[k])
		l.Sample.Value = math.Float64frombits(binary.LittleEndian.Uint64(b[k+1:]))
		b = b[k+9:]
		if !l.Sample.Flag.Valid() || math.IsNaN(l.Sample.Value) || math.IsInf(l.Sample.Value, 0) {
			return fmt.Errorf("%w: a value", errLatest)
		}
		if err := fn(l); err != nil {
			return err
		}
	}
	if len(b) > 0 {
		return fmt.Errorf("%w: their end", errLatest)
	}
	return nil
}

// openLatest opens and reads a body.
func openLatest(k *seal.Key, p lh.ProjectID, d lh.DeviceID, sealed []byte) (ls []lh.Latest, err error) {
	b, err := k.Open(sealed, intakePlace(p, d))
	if err != nil {
		return nil, err
	}
	err = decodeLatest(b, func(l lh.Latest) error { ls = append(ls, l); return nil })
	return ls, err
}

// oldLatest reads what is left of the table latest: of all elements, or those of one device.
func (db *DB) oldLatest(ctx context.Context, on queryer, k *seal.Key, p lh.ProjectID, d lh.DeviceID, fn func(lh.Latest, error) error) error {
	query, args := `SELECT element_id, time, rank, received, body FROM latest WHERE project_id = $1`, []any{p}
	if d != "" {
		query += ` AND element_id IN (SELECT id FROM element WHERE project_id = $1 AND device_id = $2)`
		args = append(args, d)
	}
	return db.each(ctx, on, query, args, func(scan func(...any) error) error {
		var l lh.Latest
		var rank int64
		var sealed []byte
		if err := scan(&l.Element, &l.Sample.Time, &rank, &l.Received, &sealed); err != nil {
			return err
		}
		l.Sample.Rank = rankFromColumn(rank)
		b, err := k.Open(sealed, place("latest", p, l.Element, l.Sample.Time))
		if err == nil && len(b) != oldLatestBody {
			err = fmt.Errorf("latest of %s has %d bytes", l.Element, len(b))
		}
		if err == nil {
			getValue(b, &l.Sample)
		}
		return fn(l, err)
	})
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

// EachLatest hands fn what [DB.Latest] returns, by element, and with an error what does not open: then every element of
// the device.
func (db *DB) EachLatest(ctx context.Context, sc Scope, elements []lh.ElementID, fn func(lh.Latest, error) error) error {
	if err := sc.need(lh.PermRead); err != nil {
		return err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return err
	}
	wanted, devices, err := db.latestWanted(ctx, sc, elements)
	if err != nil {
		return fmt.Errorf("read latest: %w", err)
	}
	type found struct {
		lh.Latest
		err error
	}
	var all []found
	add := func(l lh.Latest, err error) error {
		if wanted == nil || wanted[l.Element] {
			all = append(all, found{l, err})
		}
		return nil
	}
	// What is left of old before what is new: what moves in between is there twice, not never.
	if err := db.oldLatest(ctx, db.read, k, sc.project, "", add); err != nil {
		return fmt.Errorf("read latest: %w", err)
	}
	var damaged []lh.DeviceID
	var why []error
	var opened []byte
	take := func(scan func(...any) error) error {
		var device string
		var sealed sql.RawBytes // used before the next row
		if err := scan(&device, &sealed); err != nil || len(sealed) == 0 {
			return err
		}
		opened, err = k.Open(sealed, intakePlace(sc.project, lh.DeviceID(device)))
		first := len(all)
		if err == nil {
			err = decodeLatest(opened, func(l lh.Latest) error { return add(l, nil) })
		}
		if err != nil {
			all = all[:first]
			damaged, why = append(damaged, lh.DeviceID(device)), append(why, err)
		}
		return nil
	}
	const query = `SELECT device_id, body FROM intake WHERE project_id = $1`
	if devices == nil {
		all = slices.Grow(all, 1024)
		err = db.each(ctx, db.read, query, []any{sc.project}, take)
	}
	for _, d := range devices {
		if err == nil {
			err = db.each(ctx, db.read, query+` AND device_id = $2`, []any{sc.project, d}, take)
		}
	}
	for i, d := range damaged {
		if err == nil {
			err = db.each(ctx, db.read, `SELECT id FROM element WHERE project_id = $1 AND device_id = $2`, []any{sc.project, d}, func(scan func(...any) error) error {
				var l lh.Latest
				if err := scan(&l.Element); err != nil {
					return err
				}
				return add(l, why[i])
			})
		}
	}
	if err != nil {
		return fmt.Errorf("read latest: %w", err)
	}
	// Of one element that stands twice, the newest counts.
	slices.SortFunc(all, func(a, b found) int {
		if c := strings.Compare(string(a.Element), string(b.Element)); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(b.Sample.Time, a.Sample.Time), cmp.Compare(b.Sample.Rank, a.Sample.Rank))
	})
	for i := range all {
		if i > 0 && all[i].Element == all[i-1].Element {
			continue
		}
		if err := fn(all[i].Latest, all[i].err); err != nil {
			return err
		}
	}
	return nil
}

// latestWanted returns which elements the scope sees of those asked for, and the devices that feed them; nil is all.
func (db *DB) latestWanted(ctx context.Context, sc Scope, elements []lh.ElementID) (map[lh.ElementID]bool, []lh.DeviceID, error) {
	if elements == nil && !sc.Limited() {
		return nil, nil, nil
	}
	wanted := map[lh.ElementID]bool{}
	devices := []lh.DeviceID{}
	take := func(scan func(...any) error) error {
		var e lh.ElementID
		var d lh.DeviceID
		var l lh.LocationID
		if err := scan(&e, &d, &l); err != nil || !sc.Sees(l) {
			return err
		}
		wanted[e] = true
		devices = append(devices, lh.Element{Device: d}.Source())
		return nil
	}
	const query = `SELECT id, device_id, location_id FROM element WHERE project_id = $1`
	var err error
	if elements == nil {
		err = db.each(ctx, db.read, query, []any{sc.project}, take)
	}
	for _, id := range elements {
		if err == nil {
			err = db.each(ctx, db.read, query+` AND id = $2`, []any{sc.project, id}, take)
		}
	}
	slices.Sort(devices)
	return wanted, slices.Compact(devices), err
}

// editLatest changes the latest values of the device that feeds an element. Where edit takes something away, instead
// goes in its place, unless that is nil.
func (t *tx) editLatest(ctx context.Context, sc Scope, e lh.ElementID, edit func([]lh.Latest) []lh.Latest, instead *lh.Latest) error {
	k, err := t.db.key(ctx, t, string(sc.project))
	if err != nil {
		return err
	}
	var d lh.DeviceID
	err = t.db.row(ctx, t, `SELECT device_id FROM element WHERE project_id = $1 AND id = $2`, sc.project, e).Scan(&d)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return t.editLatestOf(ctx, k, sc, lh.Element{Device: d}.Source(), edit, instead)
}

func (t *tx) editLatestOf(ctx context.Context, k *seal.Key, sc Scope, d lh.DeviceID, edit func([]lh.Latest) []lh.Latest, instead *lh.Latest) error {
	in, err := t.intake(ctx, k, sc.project, d)
	if err != nil {
		return err
	}
	before := slices.Clone(in.latest)
	if in.latest = edit(in.latest); len(in.latest) < len(before) && instead != nil {
		in.latest = raise(in.latest, instead, 0)
	}
	if slices.Equal(before, in.latest) {
		return nil
	}
	args, err := in.args(k, sc.project, d)
	if err != nil {
		return err
	}
	if err := t.dropOldLatest(ctx, sc.project, in); err != nil {
		return err
	}
	n, err := t.insert(ctx, putIntake, [][]any{args})
	if err == nil && n != 1 {
		return errIntake
	}
	return err
}

// moveLatest moves the latest value of an element to the row of another device that feeds it from now on, or of
// [lh.Sent].
func (t *tx) moveLatest(ctx context.Context, sc Scope, e lh.ElementID, from, to lh.DeviceID) error {
	k, err := t.db.key(ctx, t, string(sc.project))
	if err != nil {
		return err
	}
	var moved *lh.Latest
	err = t.editLatestOf(ctx, k, sc, from, func(ls []lh.Latest) []lh.Latest {
		return slices.DeleteFunc(ls, func(l lh.Latest) bool {
			if l.Element == e {
				moved = &l
			}
			return l.Element == e
		})
	}, nil)
	if err != nil || moved == nil {
		return err
	}
	return t.editLatestOf(ctx, k, sc, to, func(ls []lh.Latest) []lh.Latest { return raise(ls, moved, 0) }, nil)
}
