package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

// Bounds of what proves a program.
const (
	MaxKeys = 20 // of one program
	// maxTokens is how many access tokens of one program live at once; one more ends the oldest.
	maxTokens = 500
	// keepUsage is for how many days it is on record what a program did.
	keepUsage = 400
	// keepEnded is for how many days a key that has ended is still shown.
	keepEnded = 30
)

type keyBody struct {
	Name string `json:"name"`
}

func noKey() error { return lh.Errorf(lh.NotFound, "there is no such key") }

func noProgram() error {
	return lh.Errorf(lh.NotFound, "there is no such service account or integration in this project")
}

// programTable returns where a program stands.
func programTable(program string) string {
	if lh.IntegrationID(program).Valid() {
		return "integration"
	}
	return "service_account"
}

const keyColumns = `id, created, expires, used, used_from, body`

func scanKey(k *seal.Key, p lh.ProjectID, program string, scan func(...any) error) (lh.ProgramKey, error) {
	key := lh.ProgramKey{Project: p, Program: program}
	var from, sealed []byte
	if err := scan(&key.ID, &key.Created, &key.Expires, &key.Used, &from, &sealed); err != nil {
		return key, err
	}
	var b keyBody
	if err := openJSON(k, sealed, keyPlace(p, program, key.ID), &b); err != nil {
		return key, err
	}
	key.Name = b.Name
	if len(from) > 0 {
		b, err := k.Open(from, usedPlace(p, key.ID, key.Used))
		if err == nil {
			key.UsedFrom, err = netip.ParsePrefix(string(b))
		}
		if err != nil {
			return key, err
		}
	}
	return key, nil
}

func keyPlace(p lh.ProjectID, program string, id lh.KeyID) string {
	return place("key", p, program, string(id))
}

func usedPlace(p lh.ProjectID, id lh.KeyID, at lh.Millis) string {
	return place("key used", p, string(id), at)
}

// ProgramKeys returns the keys of a program, oldest first, those that ended lately too.
func (db *DB) ProgramKeys(ctx context.Context, sc Scope, program string) ([]lh.ProgramKey, error) {
	if err := sc.need(lh.PermAdminister); err != nil {
		return nil, err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return nil, err
	}
	if err := db.programIsThere(ctx, db.read, sc, program); err != nil {
		return nil, err
	}
	var keys []lh.ProgramKey
	err = db.each(ctx, db.read, `SELECT `+keyColumns+` FROM program_key WHERE project_id = $1 AND program_id = $2 ORDER BY created, id`,
		[]any{sc.project, program}, func(scan func(...any) error) error {
			key, err := scanKey(k, sc.project, program, scan)
			keys = append(keys, key)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read keys of %s: %w", program, err)
	}
	return keys, nil
}

func (db *DB) programIsThere(ctx context.Context, on queryer, sc Scope, program string) error {
	var one int
	err := db.row(ctx, on, `SELECT 1 FROM `+programTable(program)+` WHERE project_id = $1 AND id = $2`, sc.project, program).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return noProgram()
	}
	return err
}

// CreateKey stores a key by the hash of its secret and gives it its id. Where replaces is a key of the same program,
// that one ends at ends, or when it would have ended, whichever comes first; both in one transaction.
func (db *DB) CreateKey(ctx context.Context, sc Scope, key lh.ProgramKey, hash []byte, replaces lh.KeyID, ends lh.Millis) (lh.ProgramKey, error) {
	if err := sc.need(lh.PermAdminister); err != nil {
		return key, err
	}
	key.ID, key.Project = lh.NewKeyID(), sc.project
	switch {
	case len(key.Name) > 200:
		return key, lh.Errorf(lh.Invalid, "a key's name has at most 200 bytes")
	case key.Expires < 0 || ends < 0:
		return key, lh.Errorf(lh.Invalid, "a key ends at a time, or never: 0")
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return key, err
	}
	err = db.update(ctx, func(t *tx) error {
		key.Created = t.now
		if key.Expires != 0 && key.Expires <= t.now {
			return lh.Errorf(lh.Invalid, "this key would have ended before it begins; expires is a time to come")
		}
		name := key.Name
		if replaces != "" {
			old, err := scanKey(k, sc.project, key.Program, t.db.row(ctx, t, `SELECT `+keyColumns+` FROM program_key
				WHERE project_id = $1 AND program_id = $2 AND id = $3`, sc.project, key.Program, replaces).Scan)
			if errors.Is(err, sql.ErrNoRows) {
				return noKey()
			}
			if err != nil {
				return err
			}
			if old.Expires == 0 || old.Expires > ends {
				if _, err := t.exec(ctx, `UPDATE program_key SET expires = $4 WHERE project_id = $1 AND program_id = $2 AND id = $3`,
					sc.project, key.Program, replaces, max(ends, t.now)); err != nil {
					return err
				}
			}
			if name == "" {
				name = old.Name
			}
		}
		key.Name = name
		err := t.audit(ctx, sc.project, sc.actor, "key.create", key.Program,
			map[string]any{"key": key.ID, "name": name, "expires": key.Expires, "replaces": replaces, "replaced_ends": ends})
		if err != nil {
			return err
		}
		if err := db.programIsThere(ctx, t, sc, key.Program); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM program_key WHERE project_id = $1 AND program_id = $2 AND expires <> 0 AND expires < $3`,
			sc.project, key.Program, t.now-keepEnded*lh.DayMillis); err != nil {
			return err
		}
		var live int
		if err := db.row(ctx, t, `SELECT count(*) FROM program_key WHERE project_id = $1 AND program_id = $2`, sc.project, key.Program).Scan(&live); err != nil {
			return err
		}
		if live >= MaxKeys {
			return lh.Errorf(lh.Exhausted, "there are %d keys, those that have ended included; revoke some", live)
		}
		body, err := sealJSON(k, keyBody{name}, keyPlace(sc.project, key.Program, key.ID))
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `INSERT INTO program_key (project_id, program_id, id, key_hash, created, expires, used, used_from, body)
			VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8)`, sc.project, key.Program, key.ID, hash, t.now, key.Expires, []byte{}, body)
		return err
	})
	return key, told(err, "key.create")
}

// RevokeKey removes a key and every token that was got with it, at once.
func (db *DB) RevokeKey(ctx context.Context, sc Scope, program string, id lh.KeyID) error {
	if err := sc.need(lh.PermAdminister); err != nil {
		return err
	}
	err := db.update(ctx, func(t *tx) error {
		if err := t.audit(ctx, sc.project, sc.actor, "key.revoke", program, map[string]any{"key": id}); err != nil {
			return err
		}
		n, err := t.exec(ctx, `DELETE FROM program_key WHERE project_id = $1 AND program_id = $2 AND id = $3`, sc.project, program, id)
		if err == nil && n == 0 {
			err = noKey()
		}
		if err == nil {
			_, err = t.exec(ctx, `DELETE FROM service_token WHERE project_id = $1 AND program_id = $2 AND key_id = $3`, sc.project, program, id)
		}
		return err
	})
	return told(err, "key.revoke")
}

// CreateToken stores an access token by its hash, and clears away old ones. The key must still be there.
func (db *DB) CreateToken(ctx context.Context, a lh.ServiceAccount, key lh.KeyID, hash []byte, expires lh.Millis) error {
	err := db.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `DELETE FROM service_token WHERE expires < $1`, t.now); err != nil {
			return err
		}
		_, err := t.exec(ctx, `DELETE FROM service_token WHERE token_hash IN (SELECT token_hash FROM service_token
			WHERE project_id = $1 AND program_id = $2 ORDER BY created DESC, token_hash LIMIT 1000 OFFSET $3)`, a.Project, a.ID, maxTokens-1)
		if err != nil {
			return err
		}
		n, err := t.exec(ctx, `INSERT INTO service_token (token_hash, project_id, program_id, key_id, created, expires)
			SELECT $1, project_id, program_id, id, $5, $6 FROM program_key WHERE project_id = $2 AND program_id = $3 AND id = $4`,
			hash, a.Project, a.ID, key, t.now, expires)
		if err == nil && n == 0 {
			err = unknownKey()
		}
		return err
	})
	return told(err, "create token")
}

// KeyUse is that a key was used.
type KeyUse struct {
	Project lh.ProjectID
	Program string
	Key     lh.KeyID
	At      lh.Millis
	From    netip.Prefix
}

// ProgramUsage is what a program did since it was last recorded.
type ProgramUsage struct {
	Project lh.ProjectID
	Program string
	lh.Usage
}

// RecordUse adds up what programs did, and when their keys were last used, in one transaction. It is the hub's own.
// What belongs to a project or a program that is gone is left out.
func (db *DB) RecordUse(ctx context.Context, usage []ProgramUsage, keys []KeyUse) error {
	err := db.update(ctx, func(t *tx) error {
		for _, u := range usage {
			_, err := t.exec(ctx, `INSERT INTO program_usage (project_id, program_id, day, class, requests, samples)
				SELECT id, $2, $3, $4, $5, $6 FROM project WHERE id = $1
				ON CONFLICT (project_id, program_id, day, class) DO UPDATE SET
				requests = program_usage.requests + excluded.requests, samples = program_usage.samples + excluded.samples`,
				u.Project, u.Program, u.Day, u.Class, u.Requests, u.Samples)
			if err != nil {
				return err
			}
		}
		for _, use := range keys {
			k, err := db.key(ctx, t, string(use.Project))
			if lh.CodeOf(err) == lh.NotFound {
				continue
			}
			if err != nil {
				return err
			}
			from, err := k.Seal([]byte(use.From.String()), usedPlace(use.Project, use.Key, use.At))
			if err != nil {
				return err
			}
			_, err = t.exec(ctx, `UPDATE program_key SET used = $4, used_from = $5 WHERE project_id = $1 AND program_id = $2 AND id = $3 AND used < $4`,
				use.Project, use.Program, use.Key, use.At, from)
			if err != nil {
				return err
			}
		}
		_, err := t.exec(ctx, `DELETE FROM program_usage WHERE day < $1`, t.now.Day()-keepUsage)
		return err
	})
	return told(err, "record use of programs")
}

// Usage returns what a program did from one UTC day to another, both included, oldest first.
func (db *DB) Usage(ctx context.Context, sc Scope, program string, from, to int32) ([]lh.Usage, error) {
	if err := sc.need(lh.PermAdminister); err != nil {
		return nil, err
	}
	if err := db.programIsThere(ctx, db.read, sc, program); err != nil {
		return nil, err
	}
	var us []lh.Usage
	err := db.each(ctx, db.read, `SELECT day, class, requests, samples FROM program_usage
		WHERE project_id = $1 AND program_id = $2 AND day >= $3 AND day <= $4 ORDER BY day, class`,
		[]any{sc.project, program, from, to}, func(scan func(...any) error) error {
			var u lh.Usage
			err := scan(&u.Day, &u.Class, &u.Requests, &u.Samples)
			us = append(us, u)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read usage of %s: %w", program, err)
	}
	return us, nil
}
