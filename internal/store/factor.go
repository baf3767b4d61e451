package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
)

// TOTP is what codes of an authenticator app are made and checked with.
type TOTP struct {
	Secret []byte
	Since  lh.Millis
	Active bool // whether a first code has proven that the app has the secret
}

// BeginTOTP keeps a secret that no code has proven yet, in the place of an earlier one like it. Conflict: codes are
// asked for already.
func (db *DB) BeginTOTP(ctx context.Context, user lh.UserID, secret []byte) error {
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return err
	}
	body, err := k.Seal(secret, place("totp", user))
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `INSERT INTO totp (user_id, created, active, step, wrong, wrong_from, body) VALUES ($1, $2, 0, 0, 0, 0, $3)
			ON CONFLICT (user_id) DO UPDATE SET created = excluded.created, body = excluded.body WHERE totp.active = 0`, user, t.now, body)
		if err != nil {
			return fmt.Errorf("begin totp: %w", err)
		}
		if n == 0 {
			return lh.Errorf(lh.Conflict, "an authenticator app is set up already; remove it first")
		}
		return nil
	})
}

// TOTP returns a person's secret, proven or not. NotFound: there is none.
func (db *DB) TOTP(ctx context.Context, user lh.UserID) (TOTP, error) {
	var o TOTP
	var active int
	var sealed []byte
	err := db.row(ctx, db.read, `SELECT created, active, body FROM totp WHERE user_id = $1`, user).Scan(&o.Since, &active, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return o, lh.Errorf(lh.NotFound, "no authenticator app is set up")
	}
	if err != nil {
		return o, fmt.Errorf("read totp: %w", err)
	}
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return o, err
	}
	o.Active = active != 0
	o.Secret, err = k.Open(sealed, place("totp", user))
	return o, err
}

// TryTOTP counts a try of a person's codes and refuses it after the most-th wrong one within the time that window gives
// in milliseconds. The count is the account's, wherever the tries come from and whichever replica gets them; only who
// has the password, or a session, comes to where it is counted.
func (db *DB) TryTOTP(ctx context.Context, user lh.UserID, most int, window int64) error {
	return db.update(ctx, func(t *tx) error {
		var n int
		err := db.row(ctx, t, `UPDATE totp SET
			wrong = CASE WHEN wrong_from + $2 <= $3 THEN 1 ELSE wrong + 1 END,
			wrong_from = CASE WHEN wrong_from + $2 <= $3 THEN $3 ELSE wrong_from END
			WHERE user_id = $1 RETURNING wrong`, user, window, t.now).Scan(&n)
		if errors.Is(err, sql.ErrNoRows) {
			return lh.Errorf(lh.NotFound, "no authenticator app is set up")
		}
		if err != nil {
			return fmt.Errorf("count totp try: %w", err)
		}
		if n > most {
			return lh.Errorf(lh.Exhausted, "too many wrong codes for this account; wait an hour, or use a passkey or a recovery code")
		}
		return nil
	})
}

// UseTOTP marks the time step of a right code as used, and the try as no wrong one. false: it, or a later one, was used
// before.
func (db *DB) UseTOTP(ctx context.Context, user lh.UserID, step int64) (fresh bool, err error) {
	err = db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE totp SET step = $2, wrong = wrong - 1 WHERE user_id = $1 AND step < $2`, user, step)
		fresh = n == 1
		if err != nil {
			return fmt.Errorf("use totp: %w", err)
		}
		return nil
	})
	return fresh, err
}

// ActivateTOTP begins to ask for codes, after a first one was right. The session that did it counts as proven with a
// second factor. codes are the hashes of new recovery codes; nil keeps those there are. told are the mails of which the
// person hears of it, here and below; they are sent if and only if it happened.
func (db *DB) ActivateTOTP(ctx context.Context, by lh.Actor, s lh.Session, codes [][]byte, told ...notify.Mail) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE totp SET active = 1, created = $2 WHERE user_id = $1 AND active = 0`, s.User, t.now)
		if err != nil {
			return fmt.Errorf("activate totp: %w", err)
		}
		if n == 0 {
			return lh.Errorf(lh.Conflict, "an authenticator app is set up already")
		}
		if err := t.strengthen(ctx, s, lh.ProofTOTP); err != nil {
			return err
		}
		if err := t.setCodes(ctx, s.User, codes); err != nil {
			return err
		}
		if err := t.mail(ctx, noticeLife, told...); err != nil {
			return err
		}
		return t.auditAccount(ctx, by, "factor.totp.add", s.User, nil)
	})
}

// RemoveTOTP no longer asks for codes. NotFound: none were asked for.
func (db *DB) RemoveTOTP(ctx context.Context, by lh.Actor, user lh.UserID, told ...notify.Mail) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `DELETE FROM totp WHERE user_id = $1 AND active = 1`, user)
		if err != nil {
			return fmt.Errorf("remove totp: %w", err)
		}
		if n == 0 {
			return lh.Errorf(lh.NotFound, "no authenticator app is set up")
		}
		if err := t.weaken(ctx, user); err != nil {
			return err
		}
		if err := t.mail(ctx, noticeLife, told...); err != nil {
			return err
		}
		return t.auditAccount(ctx, by, "factor.totp.remove", user, nil)
	})
}

// SetRecoveryCodes replaces a person's recovery codes by those with these hashes.
func (db *DB) SetRecoveryCodes(ctx context.Context, by lh.Actor, user lh.UserID, codes [][]byte, told ...notify.Mail) error {
	return db.update(ctx, func(t *tx) error {
		if err := t.setCodes(ctx, user, codes); err != nil {
			return err
		}
		if err := t.mail(ctx, noticeLife, told...); err != nil {
			return err
		}
		return t.auditAccount(ctx, by, "factor.codes.renew", user, nil)
	})
}

// UseRecoveryCode uses one up. false: there is none with this hash.
func (db *DB) UseRecoveryCode(ctx context.Context, by lh.Actor, user lh.UserID, hash []byte, told ...notify.Mail) (ok bool, left int, err error) {
	err = db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `DELETE FROM recovery_code WHERE user_id = $1 AND hash = $2`, user, hash)
		if err != nil {
			return fmt.Errorf("use recovery code: %w", err)
		}
		if ok = n == 1; !ok {
			return nil
		}
		if err := db.row(ctx, t, `SELECT count(*) FROM recovery_code WHERE user_id = $1`, user).Scan(&left); err != nil {
			return fmt.Errorf("count recovery codes: %w", err)
		}
		if err := t.mail(ctx, noticeLife, told...); err != nil {
			return err
		}
		return t.auditAccount(ctx, by, "factor.codes.use", user, map[string]int{"left": left})
	})
	return ok, left, err
}

// setCodes replaces the recovery codes; nil keeps those there are.
func (t *tx) setCodes(ctx context.Context, user lh.UserID, codes [][]byte) error {
	if codes == nil {
		return nil
	}
	_, err := t.exec(ctx, `DELETE FROM recovery_code WHERE user_id = $1`, user)
	for _, c := range codes {
		if err == nil {
			_, err = t.exec(ctx, `INSERT INTO recovery_code (user_id, hash, created) VALUES ($1, $2, $3)`, user, c, t.now)
		}
	}
	if err != nil {
		return fmt.Errorf("set recovery codes: %w", err)
	}
	return nil
}

// strengthen marks a session as proven with a second factor.
func (t *tx) strengthen(ctx context.Context, s lh.Session, by lh.Proof) error {
	if _, err := t.exec(ctx, `UPDATE session SET strong = 1, proof = $2 WHERE id = $1 AND user_id = $3`, s.ID, by, s.User); err != nil {
		return fmt.Errorf("strengthen session: %w", err)
	}
	return nil
}

// weaken follows the removal of a factor: where it was the last, recovery codes are for nothing, and no session counts
// as proven with one any more.
func (t *tx) weaken(ctx context.Context, user lh.UserID) error {
	f, err := t.db.factors(ctx, t, user)
	if err != nil || f.Second() {
		return err
	}
	_, err = t.exec(ctx, `DELETE FROM recovery_code WHERE user_id = $1`, user)
	if err == nil {
		_, err = t.exec(ctx, `UPDATE session SET strong = 0 WHERE user_id = $1`, user)
	}
	if err != nil {
		return fmt.Errorf("weaken sessions: %w", err)
	}
	return nil
}

// Factors returns what a person has beside the password.
func (db *DB) Factors(ctx context.Context, user lh.UserID) (lh.Factors, error) {
	return db.factors(ctx, db.read, user)
}

func (db *DB) factors(ctx context.Context, on queryer, user lh.UserID) (lh.Factors, error) {
	var f lh.Factors
	err := db.row(ctx, on, `SELECT created FROM totp WHERE user_id = $1 AND active = 1`, user).Scan(&f.TOTP)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return f, fmt.Errorf("read totp: %w", err)
	}
	if err := db.row(ctx, on, `SELECT count(*) FROM recovery_code WHERE user_id = $1`, user).Scan(&f.Codes); err != nil {
		return f, fmt.Errorf("count recovery codes: %w", err)
	}
	keys, err := db.passkeys(ctx, on, user)
	if err != nil {
		return f, err
	}
	for _, p := range keys {
		f.Passkeys = append(f.Passkeys, p.Passkey)
	}
	if f.Identities, err = db.identities(ctx, on, user); err != nil {
		return f, err
	}
	f.Password, err = db.hasPassword(ctx, on, user)
	return f, err
}

func (db *DB) hasPassword(ctx context.Context, on queryer, user lh.UserID) (bool, error) {
	k, err := db.key(ctx, on, installation)
	if err != nil {
		return false, err
	}
	var sealed []byte
	err = db.row(ctx, on, `SELECT body FROM users WHERE id = $1`, user).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return false, lh.Errorf(lh.NotFound, "there is no such user")
	}
	if err != nil {
		return false, fmt.Errorf("read user: %w", err)
	}
	var b userBody
	err = openJSON(k, sealed, place("user", user), &b)
	return b.Password != "", err
}

// ConfirmSession notes that the person of a session has proven again who they are.
func (db *DB) ConfirmSession(ctx context.Context, id lh.SessionID, at lh.Millis) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `UPDATE session SET confirmed = $2 WHERE id = $1`, id, at); err != nil {
			return fmt.Errorf("confirm session: %w", err)
		}
		return nil
	})
}

// RemoveFactors takes every second factor from a person who has lost them, and ends their sessions: the operator's
// way to let somebody in again.
func (db *DB) RemoveFactors(ctx context.Context, by lh.Actor, user lh.UserID, told ...notify.Mail) error {
	return db.update(ctx, func(t *tx) error {
		for _, table := range []string{"totp", "recovery_code", "passkey", "session", "challenge"} {
			if _, err := t.exec(ctx, `DELETE FROM `+table+` WHERE user_id = $1`, user); err != nil {
				return fmt.Errorf("remove factors: %w", err)
			}
		}
		if err := t.mail(ctx, noticeLife, told...); err != nil {
			return err
		}
		return t.auditAccount(ctx, by, "factor.remove_all", user, nil)
	})
}
