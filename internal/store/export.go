package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

// Bounds of exports.
const (
	// ExportPart is the size of each part of a file but the last, before it is sealed.
	ExportPart = 256 << 10
	// MaxExportsWaiting is how many exports of a project may wait or run at once, MaxExports how many there may be.
	MaxExportsWaiting = 20
	MaxExports        = 500
)

type exportBody struct {
	Request lh.ExportRequest `json:"request"`
	Name    string           `json:"name"`
}

type exportOutcome struct {
	Reason string `json:"reason"`
}

func noExport() error {
	return lh.Errorf(lh.NotFound, "there is no such export in this project, or it is not yours to see")
}

// ErrExportLost says that an export is not the caller's to make any more: it was removed, or another hub makes it.
var ErrExportLost = errors.New("the export was removed, or is made by another hub")

const exportColumns = `id, actor_kind, actor_id, created, state, attempt, done, total, size, parts, finished, expires, body, outcome`

func scanExport(k *seal.Key, p lh.ProjectID, scan func(...any) error) (lh.Export, error) {
	e := lh.Export{Project: p}
	var body, outcome []byte
	err := scan(&e.ID, &e.By.Kind, &e.By.ID, &e.Created, &e.State, &e.Attempt, &e.Done, &e.Total, &e.Size, &e.Parts, &e.Finished, &e.Expires, &body, &outcome)
	if err != nil {
		return e, err
	}
	var b exportBody
	if err := openJSON(k, body, place("export", p, string(e.ID)), &b); err != nil {
		return e, err
	}
	e.Request, e.Name = b.Request, b.Name
	if len(outcome) > 0 {
		var o exportOutcome
		if err := openJSON(k, outcome, place("export outcome", p, string(e.ID)), &o); err != nil {
			return e, err
		}
		e.Reason = o.Reason
	}
	return e, nil
}

// CreateExport puts an export in line and gives it its id. Exhausted: too many wait, or are kept.
func (db *DB) CreateExport(ctx context.Context, sc Scope, e lh.Export) (lh.Export, error) {
	if err := sc.need(exportPermission(e.Request.Kind)); err != nil {
		return e, err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return e, err
	}
	e.ID, e.Project, e.By, e.State = lh.NewExportID(), sc.project, sc.actor, lh.ExportWaiting
	body, err := sealJSON(k, exportBody{e.Request, e.Name}, place("export", sc.project, string(e.ID)))
	if err != nil {
		return e, err
	}
	err = db.update(ctx, func(t *tx) error {
		// The audit event takes the project's row, so the count below holds.
		if err := t.audit(ctx, sc.project, sc.actor, "export.create", string(e.ID), e.Request); err != nil {
			return err
		}
		var all, waiting int
		if err := db.row(ctx, t, `SELECT count(*) FROM export WHERE project_id = $1 AND state <> $2`, sc.project, lh.ExportRemoved).Scan(&all); err != nil {
			return err
		}
		if err := db.row(ctx, t, `SELECT count(*) FROM export WHERE project_id = $1 AND state IN ($2, $3)`, sc.project, lh.ExportWaiting, lh.ExportRunning).Scan(&waiting); err != nil {
			return err
		}
		if waiting >= MaxExportsWaiting {
			return lh.Errorf(lh.Exhausted, "%d exports of this project wait or are being made; ask again when one of them is ready", waiting)
		}
		if all >= MaxExports {
			return lh.Errorf(lh.Exhausted, "the project has %d exports; remove some that are not needed any more", all)
		}
		e.Created = t.now
		_, err := t.exec(ctx, `INSERT INTO export (project_id, id, kind, actor_kind, actor_id, created, state, attempt, started, lease_until, done, total, size,
			parts, finished, expires, body, outcome) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, 0, 0, 0, 0, 0, 0, $8, $9)`,
			sc.project, e.ID, e.Request.Kind, e.By.Kind, e.By.ID, e.Created, e.State, body, []byte{})
		return err
	})
	if err != nil {
		return e, fmt.Errorf("create export: %w", err)
	}
	return e, nil
}

// exportPermission is what it takes to ask for an export of a kind, and to see it.
func exportPermission(k lh.ExportKind) lh.Permission {
	if k == lh.ExportProject {
		return lh.PermAdminister
	}
	return lh.PermRead
}

// Exports returns the exports the scope sees, newest first: a scope of the whole project sees all of the kinds it may
// ask for; one limited to some locations its own, as long as it still sees every element in them.
func (db *DB) Exports(ctx context.Context, sc Scope) ([]lh.Export, error) {
	return db.exports(ctx, sc, `SELECT `+exportColumns+` FROM export WHERE project_id = $1 AND state <> $2 ORDER BY created DESC, id`, sc.project, lh.ExportRemoved)
}

// Export returns one export.
func (db *DB) Export(ctx context.Context, sc Scope, id lh.ExportID) (lh.Export, error) {
	es, err := db.exports(ctx, sc, `SELECT `+exportColumns+` FROM export WHERE project_id = $1 AND state <> $2 AND id = $3`, sc.project, lh.ExportRemoved, id)
	if err != nil {
		return lh.Export{}, err
	}
	if len(es) == 0 {
		return lh.Export{}, noExport()
	}
	return es[0], nil
}

func (db *DB) exports(ctx context.Context, sc Scope, query string, args ...any) ([]lh.Export, error) {
	if err := sc.need(lh.PermRead); err != nil {
		return nil, err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return nil, err
	}
	var all []lh.Export
	err = db.each(ctx, db.read, query, args, func(scan func(...any) error) error {
		e, err := scanExport(k, sc.project, scan)
		if err == nil && (e.Expires == 0 || e.Expires > lh.MillisOf(db.now())) {
			all = append(all, e)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read exports: %w", err)
	}
	seen := map[lh.ElementID]bool{}
	if sc.Limited() && len(all) > 0 {
		elements, err := db.Elements(ctx, sc)
		if err != nil {
			return nil, err
		}
		for _, e := range elements {
			seen[e.ID] = true
		}
	}
	out := all[:0]
	for _, e := range all {
		mine := !sc.Limited() || e.By.Kind == sc.actor.Kind && e.By.ID == sc.actor.ID
		for _, id := range e.Request.Elements {
			mine = mine && (!sc.Limited() || seen[id])
		}
		// The hub's own work sees every export, and makes it with its asker's scope.
		if mine && (sc.Allows(exportPermission(e.Request.Kind)) || sc.Allows(lh.PermMaintain)) {
			out = append(out, e)
		}
	}
	return out, nil
}

// RemoveExport ends an export, whether it waits, runs or is ready. Others' take the permission to configure.
func (db *DB) RemoveExport(ctx context.Context, sc Scope, id lh.ExportID) error {
	e, err := db.Export(ctx, sc, id)
	if err != nil {
		return err
	}
	if e.By.Kind != sc.actor.Kind || e.By.ID != sc.actor.ID {
		if err := sc.need(lh.PermConfigure); err != nil {
			return err
		}
	}
	return db.update(ctx, func(t *tx) error {
		if err := t.audit(ctx, sc.project, sc.actor, "export.remove", string(id), nil); err != nil {
			return err
		}
		n, err := t.exec(ctx, `UPDATE export SET state = $3 WHERE project_id = $1 AND id = $2 AND state <> $3`, sc.project, id, lh.ExportRemoved)
		if err == nil && n == 0 {
			return noExport()
		}
		return err
	})
}

// NoteDownload writes into the audit trail that somebody has an export's file sent to them.
func (db *DB) NoteDownload(ctx context.Context, sc Scope, e lh.Export) error {
	if err := sc.need(exportPermission(e.Request.Kind)); err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		return t.audit(ctx, sc.project, sc.actor, "export.download", string(e.ID), map[string]any{"size": e.Size})
	})
}

// ReadExportPart returns one part of a ready export's file, by number from 0. Whoever calls it has e from
// [DB.Export] under the same scope.
func (db *DB) ReadExportPart(ctx context.Context, sc Scope, e lh.Export, number int64) ([]byte, error) {
	if err := sc.need(exportPermission(e.Request.Kind)); err != nil {
		return nil, err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return nil, err
	}
	var sealed []byte
	// With the export itself: one that was removed is not read on.
	err = db.row(ctx, db.read, `SELECT p.body FROM export_part p JOIN export e ON e.project_id = p.project_id AND e.id = p.export_id
		WHERE p.project_id = $1 AND p.export_id = $2 AND p.attempt = $3 AND p.number = $4 AND e.state = $5`, sc.project, e.ID, e.Attempt, number, lh.ExportReady).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noExport()
	}
	if err != nil {
		return nil, fmt.Errorf("read part %d of export %s: %w", number, e.ID, err)
	}
	return k.Open(sealed, exportPlace(sc.project, e.ID, e.Attempt, number))
}

func exportPlace(p lh.ProjectID, id lh.ExportID, attempt, number int64) string {
	return place("export part", p, string(id), attempt, number)
}

// ExportTurn is an export that a hub has taken to make.
type ExportTurn struct {
	Project lh.ProjectID
	ID      lh.ExportID
	Attempt int64
}

// TakeExport takes the export whose turn it is, for as long as lease lasts: of the projects that have the fewest under
// way the one that has waited longest since its last turn, and of that the oldest. One whose hub has let its lease run out
// is taken again, from the start. ok is false where none waits. It is the hub's own.
func (db *DB) TakeExport(ctx context.Context, lease time.Duration) (turn ExportTurn, ok bool, err error) {
	now := lh.MillisOf(db.now())
	type project struct {
		id      lh.ProjectID
		oldest  lh.Millis
		running int64
		last    lh.Millis
	}
	var best *project
	err = db.each(ctx, db.read, `SELECT project_id,
		min(CASE WHEN state = $1 OR state = $2 AND lease_until < $3 THEN created END),
		sum(CASE WHEN state = $2 AND lease_until >= $3 THEN 1 ELSE 0 END), max(started)
		FROM export WHERE state <> $4 GROUP BY project_id`, []any{lh.ExportWaiting, lh.ExportRunning, now, lh.ExportRemoved}, func(scan func(...any) error) error {
		var p project
		var oldest sql.NullInt64
		if err := scan(&p.id, &oldest, &p.running, &p.last); err != nil || !oldest.Valid {
			return err
		}
		p.oldest = lh.Millis(oldest.Int64)
		if best == nil || p.running < best.running || p.running == best.running && (p.last < best.last || p.last == best.last && p.oldest < best.oldest) {
			best = &p
		}
		return nil
	})
	if err != nil || best == nil {
		return turn, false, err
	}
	err = db.update(ctx, func(t *tx) error {
		turn, ok = ExportTurn{Project: best.id}, false
		err := db.row(ctx, t, `SELECT id, attempt FROM export WHERE project_id = $1 AND created = $2 AND (state = $3 OR state = $4 AND lease_until < $5) ORDER BY id LIMIT 1`,
			best.id, best.oldest, lh.ExportWaiting, lh.ExportRunning, now).Scan(&turn.ID, &turn.Attempt)
		if errors.Is(err, sql.ErrNoRows) { // another hub was quicker
			return nil
		}
		if err != nil {
			return err
		}
		n, err := t.exec(ctx, `UPDATE export SET state = $3, attempt = attempt + 1, started = $4, lease_until = $5, done = 0, total = 0, size = 0, parts = 0
			WHERE project_id = $1 AND id = $2 AND attempt = $6 AND (state = $7 OR state = $3 AND lease_until < $4)`,
			turn.Project, turn.ID, lh.ExportRunning, t.now, t.now+lh.Millis(lease.Milliseconds()), turn.Attempt, lh.ExportWaiting)
		turn.Attempt++
		ok = n == 1
		return err
	})
	return turn, ok && err == nil, err
}

// ExportProgress is how far a turn has come.
type ExportProgress struct {
	Done, Total, Size int64
	First             int64    // number of the first of Parts
	Parts             [][]byte // of the file, as they are; sealed here
}

// AppendExport keeps parts of a turn's file with its progress, and lengthens its lease. [ErrExportLost]: the turn is over.
func (db *DB) AppendExport(ctx context.Context, sc Scope, turn ExportTurn, p ExportProgress, lease time.Duration) error {
	if err := sc.need(lh.PermMaintain); err != nil {
		return err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return err
	}
	sealed := make([][]byte, len(p.Parts))
	for i, part := range p.Parts {
		if sealed[i], err = k.Seal(part, exportPlace(sc.project, turn.ID, turn.Attempt, p.First+int64(i))); err != nil {
			return err
		}
	}
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE export SET done = $4, total = $5, size = $6, parts = $7, lease_until = $8
			WHERE project_id = $1 AND id = $2 AND attempt = $3 AND state = $9`, sc.project, turn.ID, turn.Attempt, p.Done, p.Total, p.Size,
			p.First+int64(len(p.Parts)), t.now+lh.Millis(lease.Milliseconds()), lh.ExportRunning)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrExportLost
		}
		for i, b := range sealed {
			if _, err := t.exec(ctx, `INSERT INTO export_part (project_id, export_id, attempt, number, body) VALUES ($1, $2, $3, $4, $5)`,
				sc.project, turn.ID, turn.Attempt, p.First+int64(i), b); err != nil {
				return err
			}
		}
		return nil
	})
}

// EndExport ends a turn: reason is "" where the file is whole, else why there is none. keep is for how long it is kept.
func (db *DB) EndExport(ctx context.Context, sc Scope, turn ExportTurn, reason string, keep time.Duration) error {
	if err := sc.need(lh.PermMaintain); err != nil {
		return err
	}
	state, outcome := lh.ExportReady, []byte{}
	if reason != "" {
		k, err := db.key(ctx, db.read, string(sc.project))
		if err != nil {
			return err
		}
		state = lh.ExportFailed
		if outcome, err = sealJSON(k, exportOutcome{reason}, place("export outcome", sc.project, string(turn.ID))); err != nil {
			return err
		}
	}
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE export SET state = $4, finished = $5, expires = $6, outcome = $7, lease_until = 0
			WHERE project_id = $1 AND id = $2 AND attempt = $3 AND state = $8`, sc.project, turn.ID, turn.Attempt, state, t.now,
			t.now+lh.Millis(keep.Milliseconds()), outcome, lh.ExportRunning)
		if err == nil && n == 0 {
			return ErrExportLost
		}
		return err
	})
}

// YieldExport gives a turn back, so that another hub need not wait for the lease to run out.
func (db *DB) YieldExport(ctx context.Context, sc Scope, turn ExportTurn) error {
	if err := sc.need(lh.PermMaintain); err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `UPDATE export SET state = $4, lease_until = 0 WHERE project_id = $1 AND id = $2 AND attempt = $3 AND state = $5`,
			sc.project, turn.ID, turn.Attempt, lh.ExportWaiting, lh.ExportRunning)
		return err
	})
}

// SweepExports removes exports that have expired or were removed, and parts of attempts that came to nothing, in small
// transactions. It is the hub's own; what it does not finish, the next call does.
func (db *DB) SweepExports(ctx context.Context) error {
	type old struct {
		project lh.ProjectID
		id      lh.ExportID
	}
	var gone []old
	err := db.each(ctx, db.read, `SELECT project_id, id FROM export WHERE state = $1 OR expires <> 0 AND expires < $2`,
		[]any{lh.ExportRemoved, lh.MillisOf(db.now())}, func(scan func(...any) error) error {
			var o old
			err := scan(&o.project, &o.id)
			gone = append(gone, o)
			return err
		})
	if err != nil {
		return fmt.Errorf("find exports to remove: %w", err)
	}
	for _, o := range gone {
		// Marked first, so that nobody is sent the rest of a file whose beginning is gone.
		err := db.update(ctx, func(t *tx) error {
			_, err := t.exec(ctx, `UPDATE export SET state = $3 WHERE project_id = $1 AND id = $2`, o.project, o.id, lh.ExportRemoved)
			return err
		})
		if err == nil {
			err = db.dropParts(ctx, `project_id = $1 AND export_id = $2`, o.project, o.id)
		}
		if err == nil {
			err = db.update(ctx, func(t *tx) error {
				_, err := t.exec(ctx, `DELETE FROM export WHERE project_id = $1 AND id = $2`, o.project, o.id)
				return err
			})
		}
		if err != nil {
			return fmt.Errorf("remove export %s: %w", o.id, err)
		}
	}
	return db.dropParts(ctx, `EXISTS (SELECT 1 FROM export e WHERE e.project_id = export_part.project_id AND e.id = export_part.export_id
		AND (e.attempt > export_part.attempt OR e.state = $1))`, lh.ExportFailed)
}

// dropParts deletes parts of exports, at most 32 (8 MiB) at a time, so that nobody waits long for the database.
func (db *DB) dropParts(ctx context.Context, where string, args ...any) error {
	type part struct {
		project         lh.ProjectID
		id              lh.ExportID
		attempt, number int64
	}
	for {
		var ps []part
		err := db.each(ctx, db.read, `SELECT project_id, export_id, attempt, number FROM export_part WHERE `+where+` LIMIT 32`, args, func(scan func(...any) error) error {
			var p part
			err := scan(&p.project, &p.id, &p.attempt, &p.number)
			ps = append(ps, p)
			return err
		})
		if err != nil {
			return fmt.Errorf("find parts of exports: %w", err)
		}
		if len(ps) == 0 {
			return nil
		}
		err = db.update(ctx, func(t *tx) error {
			for _, p := range ps {
				if _, err := t.exec(ctx, `DELETE FROM export_part WHERE project_id = $1 AND export_id = $2 AND attempt = $3 AND number = $4`,
					p.project, p.id, p.attempt, p.number); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("delete parts of exports: %w", err)
		}
	}
}
