package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

// MaxCorrections bounds the stack of one element, revoked ones included.
const MaxCorrections = 10_000

type correctionBody struct {
	Kind    lh.CorrectionKind `json:"kind"`
	A       float64           `json:"a,omitempty"`
	B       float64           `json:"b,omitempty"`
	Flag    lh.Flag           `json:"flag,omitempty"`
	Samples []fillSample      `json:"samples,omitempty"`
	Comment string            `json:"comment,omitempty"`
}

type fillSample struct {
	Time  lh.Millis `json:"t"`
	Value float64   `json:"v"`
	Flag  lh.Flag   `json:"f"`
}

func correctionBodyOf(c lh.Correction) correctionBody {
	b := correctionBody{Kind: c.Kind, A: c.A, B: c.B, Flag: c.Flag, Comment: c.Comment}
	for _, s := range c.Samples {
		b.Samples = append(b.Samples, fillSample{s.Time, s.Value, s.Flag})
	}
	return b
}

func (b correctionBody) onto(c *lh.Correction) {
	c.Kind, c.A, c.B, c.Flag, c.Comment, c.Samples = b.Kind, b.A, b.B, b.Flag, b.Comment, nil
	for _, s := range b.Samples {
		c.Samples = append(c.Samples, lh.Sample{Time: s.Time, Value: s.Value, Flag: s.Flag})
	}
}

func noCorrection() error {
	return lh.Errorf(lh.NotFound, "there is no such correction of this element")
}

const correctionColumns = `id, number, from_time, to_time, created, actor_kind, actor_id, revoked, revoked_kind, revoked_id, body`

func scanCorrection(k *seal.Key, p lh.ProjectID, e lh.ElementID, scan func(...any) error) (lh.Correction, error) {
	c := lh.Correction{Project: p, Element: e}
	var sealed []byte
	err := scan(&c.ID, &c.Number, &c.From, &c.To, &c.Created, &c.By.Kind, &c.By.ID, &c.Revoked, &c.RevokedBy.Kind, &c.RevokedBy.ID, &sealed)
	if err != nil {
		return c, err
	}
	var b correctionBody
	if err := openJSON(k, sealed, place("correction", p, e, c.ID), &b); err != nil {
		return c, err
	}
	b.onto(&c)
	return c, nil
}

// Corrections returns an element's corrections that touch [from, to), revoked ones too, in the order of their numbers.
func (db *DB) Corrections(ctx context.Context, sc Scope, e lh.ElementID, from, to lh.Millis) ([]lh.Correction, error) {
	k, err := db.seriesKey(ctx, sc, e)
	if err != nil {
		return nil, err
	}
	var cs []lh.Correction
	err = db.each(ctx, db.read, `SELECT `+correctionColumns+` FROM correction WHERE project_id = $1 AND element_id = $2
		AND from_time < $4 AND to_time > $3 ORDER BY number`, []any{sc.project, e, from, to}, func(scan func(...any) error) error {
		c, err := scanCorrection(k, sc.project, e, scan)
		cs = append(cs, c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read corrections of %s: %w", e, err)
	}
	return cs, nil
}

// AddCorrection puts a correction on top of an element's stack and gives it its id, number and time. Conflict: it
// touches an approved range. Exhausted: the stack is full.
func (db *DB) AddCorrection(ctx context.Context, sc Scope, c lh.Correction) (lh.Correction, error) {
	if err := sc.need(lh.PermConfigure); err != nil {
		return c, err
	}
	if err := c.Check(); err != nil {
		return c, err
	}
	if _, err := db.Element(ctx, sc, c.Element); err != nil {
		return c, err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return c, err
	}
	c.ID, c.Project, c.By, c.Revoked, c.RevokedBy = lh.NewCorrectionID(), sc.project, sc.actor, 0, lh.Actor{}
	body := correctionBodyOf(c)
	sealed, err := sealJSON(k, body, place("correction", sc.project, c.Element, c.ID))
	if err != nil {
		return c, err
	}
	err = db.update(ctx, func(t *tx) error {
		// The audit event takes the project's row, so corrections and approvals of a project queue up here.
		audit := map[string]any{"element_id": c.Element, "from": c.From, "to": c.To, "kind": c.Kind, "a": c.A, "b": c.B,
			"flag": c.Flag, "samples": len(c.Samples), "comment": c.Comment}
		if err := t.audit(ctx, sc.project, sc.actor, "correction.add", string(c.ID), audit); err != nil {
			return err
		}
		if err := t.notApproved(ctx, sc, c.Element, c.From, c.To); err != nil {
			return err
		}
		var newest, created sql.NullInt64
		err := db.row(ctx, t, `SELECT max(number), max(created) FROM correction WHERE project_id = $1 AND element_id = $2`, sc.project, c.Element).Scan(&newest, &created)
		if err != nil {
			return err
		}
		if newest.Int64 >= MaxCorrections {
			return lh.Errorf(lh.Exhausted, "this element has %d corrections already; no more are possible", MaxCorrections)
		}
		// Times of a stack never go back, so that its past is unambiguous whatever the clocks of the hubs say.
		c.Number, c.Created = newest.Int64+1, max(t.now, lh.Millis(created.Int64))
		_, err = t.exec(ctx, `INSERT INTO correction (project_id, element_id, id, number, from_time, to_time, created, actor_kind, actor_id, revoked, revoked_kind, revoked_id, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, '', '', $10)`,
			sc.project, c.Element, c.ID, c.Number, c.From, c.To, c.Created, c.By.Kind, c.By.ID, sealed)
		return err
	})
	if err != nil {
		return c, fmt.Errorf("add correction to %s: %w", c.Element, err)
	}
	return c, nil
}

// RevokeCorrection takes a correction back from now on; it stays on record. Conflict: it touches an approved range, or
// is revoked already.
func (db *DB) RevokeCorrection(ctx context.Context, sc Scope, e lh.ElementID, id lh.CorrectionID) (lh.Correction, error) {
	if err := sc.need(lh.PermConfigure); err != nil {
		return lh.Correction{}, err
	}
	if _, err := db.Element(ctx, sc, e); err != nil {
		return lh.Correction{}, err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return lh.Correction{}, err
	}
	var c lh.Correction
	err = db.update(ctx, func(t *tx) error {
		if err := t.audit(ctx, sc.project, sc.actor, "correction.revoke", string(id), map[string]any{"element_id": e}); err != nil {
			return err
		}
		var err error
		c, err = scanCorrection(k, sc.project, e, db.row(ctx, t, `SELECT `+correctionColumns+` FROM correction WHERE project_id = $1 AND element_id = $2 AND id = $3`,
			sc.project, e, id).Scan)
		if errors.Is(err, sql.ErrNoRows) {
			return noCorrection()
		}
		if err != nil {
			return err
		}
		if c.Revoked != 0 {
			return lh.Errorf(lh.Conflict, "this correction is revoked already")
		}
		if err := t.notApproved(ctx, sc, e, c.From, c.To); err != nil {
			return err
		}
		c.Revoked, c.RevokedBy = max(t.now, c.Created), sc.actor
		_, err = t.exec(ctx, `UPDATE correction SET revoked = $4, revoked_kind = $5, revoked_id = $6 WHERE project_id = $1 AND element_id = $2 AND id = $3`,
			sc.project, e, id, c.Revoked, c.RevokedBy.Kind, c.RevokedBy.ID)
		return err
	})
	if err != nil {
		return c, fmt.Errorf("revoke correction of %s: %w", e, err)
	}
	return c, nil
}

// fillsWithin returns an element's fills that have samples in [from, to), without those samples.
func (db *DB) fillsWithin(ctx context.Context, on queryer, k *seal.Key, p lh.ProjectID, e lh.ElementID, from, to lh.Millis) ([]lh.Correction, error) {
	var fills []lh.Correction
	err := db.each(ctx, on, `SELECT `+correctionColumns+` FROM correction WHERE project_id = $1 AND element_id = $2
		AND from_time < $4 AND to_time > $3 ORDER BY number`, []any{p, e, from, to}, func(scan func(...any) error) error {
		c, err := scanCorrection(k, p, e, scan)
		if err != nil {
			return err
		}
		had := len(c.Samples)
		c.Samples = slices.DeleteFunc(c.Samples, func(s lh.Sample) bool { return s.Time >= from && s.Time < to })
		if len(c.Samples) < had {
			fills = append(fills, c)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read fills of %s: %w", e, err)
	}
	return fills, nil
}

// dropFills takes the samples in [from, to) out of an element's fills: what is deleted is not left in a correction. The
// fills stay on record with what is left of them.
func (t *tx) dropFills(ctx context.Context, p lh.ProjectID, e lh.ElementID, from, to lh.Millis) error {
	k, err := t.db.key(ctx, t, string(p))
	if err != nil {
		return err
	}
	fills, err := t.db.fillsWithin(ctx, t, k, p, e, from, to)
	if err != nil {
		return err
	}
	for _, c := range fills {
		body, err := sealJSON(k, correctionBodyOf(c), place("correction", p, e, c.ID))
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, `UPDATE correction SET body = $4 WHERE project_id = $1 AND element_id = $2 AND id = $3`, p, e, c.ID, body); err != nil {
			return err
		}
	}
	return nil
}
