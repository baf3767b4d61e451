package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
)

// MaxPasskeys and MaxIdentities bound what one person may have of each.
const (
	MaxPasskeys   = 20
	MaxIdentities = 10
)

// Passkey is a passkey with what checks its signatures.
type Passkey struct {
	lh.Passkey
	CredentialID []byte
	Credential   json.RawMessage // public key and what else access keeps of it
	Counter      uint32
}

type passkeyBody struct {
	Name         string          `json:"name"`
	CredentialID []byte          `json:"credential_id"`
	Credential   json.RawMessage `json:"credential"`
}

// AddPasskey keeps a new passkey, gives it its id, and counts the session that added it as proven with a second factor.
// codes are the hashes of new recovery codes; nil keeps those there are. Conflict: it is somebody's already.
func (db *DB) AddPasskey(ctx context.Context, by lh.Actor, s lh.Session, p Passkey, codes [][]byte, told ...notify.Mail) (Passkey, error) {
	p.ID, p.User = lh.NewPasskeyID(), s.User
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return p, err
	}
	index, err := db.master.BlindIndex("passkey.credential", string(p.CredentialID))
	if err != nil {
		return p, err
	}
	body, err := sealJSON(k, passkeyBody{p.Name, p.CredentialID, p.Credential}, place("passkey", p.User, p.ID))
	if err != nil {
		return p, err
	}
	err = db.update(ctx, func(t *tx) error {
		p.Created = t.now
		var n int
		if err := db.row(ctx, t, `SELECT count(*) FROM passkey WHERE user_id = $1`, p.User).Scan(&n); err != nil {
			return err
		}
		if n >= MaxPasskeys {
			return lh.Errorf(lh.Exhausted, "you have %d passkeys, as many as one account may have; remove one you no longer use", n)
		}
		_, err := t.exec(ctx, `INSERT INTO passkey (user_id, id, credential_index, created, used, suspect, counter, body) VALUES ($1, $2, $3, $4, 0, 0, $5, $6)`,
			p.User, p.ID, index, t.now, int64(p.Counter), body)
		if err != nil {
			return err
		}
		if err := t.strengthen(ctx, s, lh.ProofPasskey); err != nil {
			return err
		}
		if err := t.setCodes(ctx, p.User, codes); err != nil {
			return err
		}
		if err := t.mail(ctx, noticeLife, told...); err != nil {
			return err
		}
		return t.auditAccount(ctx, by, "factor.passkey.add", p.User, map[string]string{"passkey": string(p.ID)})
	})
	if unique(err) {
		return p, lh.Errorf(lh.Conflict, "this passkey is in use already")
	}
	if err != nil {
		return p, fmt.Errorf("add passkey: %w", err)
	}
	return p, nil
}

// Passkeys returns a person's passkeys, oldest first.
func (db *DB) Passkeys(ctx context.Context, user lh.UserID) ([]Passkey, error) {
	return db.passkeys(ctx, db.read, user)
}

func (db *DB) passkeys(ctx context.Context, on queryer, user lh.UserID) ([]Passkey, error) {
	k, err := db.key(ctx, on, installation)
	if err != nil {
		return nil, err
	}
	var ps []Passkey
	err = db.each(ctx, on, `SELECT id, created, used, suspect, counter, body FROM passkey WHERE user_id = $1 ORDER BY created, id`, []any{user},
		func(scan func(...any) error) error {
			p := Passkey{Passkey: lh.Passkey{User: user}}
			var counter int64
			var sealed []byte
			if err := scan(&p.ID, &p.Created, &p.Used, &p.Suspect, &counter, &sealed); err != nil {
				return err
			}
			var b passkeyBody
			if err := openJSON(k, sealed, place("passkey", user, p.ID), &b); err != nil {
				return err
			}
			p.Name, p.CredentialID, p.Credential, p.Counter = b.Name, b.CredentialID, b.Credential, uint32(counter)
			ps = append(ps, p)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("read passkeys: %w", err)
	}
	return ps, nil
}

// UsePasskey notes that a passkey was used, at this count of its own. false: its counter did not go up, so that there
// may be a copy of it; that is noted instead. A passkey that counts nothing says 0 always.
func (db *DB) UsePasskey(ctx context.Context, by lh.Actor, p Passkey, counter uint32, told ...notify.Mail) (ok bool, err error) {
	err = db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE passkey SET used = $3, counter = $4 WHERE user_id = $1 AND id = $2 AND (counter < $4 OR counter = 0 AND $4 = 0)`,
			p.User, p.ID, t.now, int64(counter))
		if err != nil {
			return fmt.Errorf("use passkey: %w", err)
		}
		if ok = n == 1; ok {
			return nil
		}
		if n, err = t.exec(ctx, `UPDATE passkey SET suspect = $3 WHERE user_id = $1 AND id = $2`, p.User, p.ID, t.now); err != nil {
			return fmt.Errorf("suspect passkey: %w", err)
		}
		if n == 0 { // removed meanwhile
			return nil
		}
		if err := t.mail(ctx, noticeLife, told...); err != nil {
			return err
		}
		return t.auditAccount(ctx, by, "factor.passkey.suspect", p.User, map[string]any{"passkey": p.ID, "counter": counter, "before": p.Counter})
	})
	return ok, err
}

// RenamePasskey changes what its owner calls a passkey. NotFound: they have no such passkey.
func (db *DB) RenamePasskey(ctx context.Context, by lh.Actor, user lh.UserID, id lh.PasskeyID, name string) error {
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		var sealed []byte
		err := db.row(ctx, t, `SELECT body FROM passkey WHERE user_id = $1 AND id = $2`, user, id).Scan(&sealed)
		if errors.Is(err, sql.ErrNoRows) {
			return noPasskey()
		}
		if err != nil {
			return fmt.Errorf("read passkey: %w", err)
		}
		var b passkeyBody
		if err := openJSON(k, sealed, place("passkey", user, id), &b); err != nil {
			return err
		}
		b.Name = name
		if sealed, err = sealJSON(k, b, place("passkey", user, id)); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `UPDATE passkey SET body = $3 WHERE user_id = $1 AND id = $2`, user, id, sealed); err != nil {
			return fmt.Errorf("rename passkey: %w", err)
		}
		return t.auditAccount(ctx, by, "factor.passkey.rename", user, map[string]string{"passkey": string(id)})
	})
}

// RemovePasskey forgets a passkey. NotFound: they have no such passkey; Conflict: they could not log in any more.
func (db *DB) RemovePasskey(ctx context.Context, by lh.Actor, user lh.UserID, id lh.PasskeyID, told ...notify.Mail) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `DELETE FROM passkey WHERE user_id = $1 AND id = $2`, user, id)
		if err != nil {
			return fmt.Errorf("remove passkey: %w", err)
		}
		if n == 0 {
			return noPasskey()
		}
		if err := t.keepsAWayIn(ctx, user); err != nil {
			return err
		}
		if err := t.weaken(ctx, user); err != nil {
			return err
		}
		if err := t.mail(ctx, noticeLife, told...); err != nil {
			return err
		}
		return t.auditAccount(ctx, by, "factor.passkey.remove", user, map[string]string{"passkey": string(id)})
	})
}

func noPasskey() error { return lh.Errorf(lh.NotFound, "you have no such passkey") }

// keepsAWayIn refuses what would leave somebody with nothing to log in with.
func (t *tx) keepsAWayIn(ctx context.Context, user lh.UserID) error {
	f, err := t.db.factors(ctx, t, user)
	if err != nil {
		return err
	}
	if !f.Password && len(f.Passkeys) == 0 && len(f.Identities) == 0 {
		return lh.Errorf(lh.Conflict, "nothing would be left to log in with; set a password or add another passkey first")
	}
	return nil
}
