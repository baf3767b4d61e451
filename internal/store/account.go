package store

import (
	"context"
	"fmt"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
)

// noticeLife is for how long it is tried to mail somebody what became of their account.
const noticeLife lh.Millis = 7 * 24 * 3600 * 1000

// SetPassword replaces a user's password hash and ends all of their sessions, as an operator does at the console.
func (db *DB) SetPassword(ctx context.Context, id lh.UserID, passwordHash string) error {
	return db.update(ctx, func(t *tx) error {
		if err := t.setPassword(ctx, id, passwordHash, ""); err != nil {
			return err
		}
		return t.auditAccount(ctx, Console, "account.password", id, nil)
	})
}

// setPassword replaces a password, ends every session but keep, and voids links that would set another.
func (t *tx) setPassword(ctx context.Context, id lh.UserID, passwordHash string, keep lh.SessionID) error {
	if _, err := t.changeUser(ctx, id, func(b *userBody) { b.Password = passwordHash }); err != nil {
		return err
	}
	if _, err := t.exec(ctx, `DELETE FROM session WHERE user_id = $1 AND id <> $2`, id, keep); err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	if _, err := t.exec(ctx, `DELETE FROM link WHERE user_id = $1 AND purpose = $2`, id, lh.LinkReset); err != nil {
		return fmt.Errorf("void links: %w", err)
	}
	return nil
}

// ChangePassword is a person's own change of their password: their other sessions end, this one goes on under the token
// with the new hash, and they are told by mail.
func (db *DB) ChangePassword(ctx context.Context, by lh.Actor, s lh.Session, tokenHash []byte, passwordHash string, told ...notify.Mail) error {
	return db.update(ctx, func(t *tx) error {
		if err := t.setPassword(ctx, s.User, passwordHash, s.ID); err != nil {
			return err
		}
		n, err := t.exec(ctx, `UPDATE session SET token_hash = $2 WHERE id = $1`, s.ID, tokenHash)
		if err != nil {
			return fmt.Errorf("renew session: %w", err)
		}
		if n == 0 {
			return lh.Errorf(lh.Unauthenticated, "log in first, or again")
		}
		if err := t.mail(ctx, noticeLife, told...); err != nil {
			return err
		}
		return t.auditAccount(ctx, by, "account.password", s.User, nil)
	})
}

// ResetPassword sets a new password by a link of LinkReset. Every session ends, and the account's owner is told by mail.
func (db *DB) ResetPassword(ctx context.Context, from lh.Actor, hash []byte, passwordHash string, notice func(email string) notify.Mail) error {
	return db.update(ctx, func(t *tx) error {
		l, err := t.takeLink(ctx, hash, lh.LinkReset)
		if err != nil {
			return err
		}
		if err := t.setPassword(ctx, l.User, passwordHash, ""); err != nil {
			return err
		}
		if err := t.verified(ctx, l.User); err != nil {
			return err
		}
		if err := t.mail(ctx, noticeLife, notice(l.Email)); err != nil {
			return err
		}
		from.Kind, from.ID = lh.ActorUser, string(l.User)
		return t.auditAccount(ctx, from, "account.password_reset", l.User, nil)
	})
}

func (t *tx) verified(ctx context.Context, id lh.UserID) error {
	if _, err := t.exec(ctx, `UPDATE users SET verified = $2 WHERE id = $1 AND verified = 0`, id, t.now); err != nil {
		return fmt.Errorf("note a proven address: %w", err)
	}
	return nil
}

// VerifyEmail proves an account's address by a link of LinkVerify.
func (db *DB) VerifyEmail(ctx context.Context, from lh.Actor, hash []byte) error {
	return db.update(ctx, func(t *tx) error {
		l, err := t.takeLink(ctx, hash, lh.LinkVerify)
		if err != nil {
			return err
		}
		if err := t.verified(ctx, l.User); err != nil {
			return err
		}
		from.Kind, from.ID = lh.ActorUser, string(l.User)
		return t.auditAccount(ctx, from, "account.verify", l.User, nil)
	})
}

// ChangeEmail gives an account the address that a link of LinkEmail was sent to. undo makes, of the account's id and its
// address until then, the link that takes it back, sent there. Conflict: another account has the address.
func (db *DB) ChangeEmail(ctx context.Context, from lh.Actor, hash []byte, undo func(id lh.UserID, old, now string) NewLink) error {
	return db.update(ctx, func(t *tx) error {
		l, err := t.takeLink(ctx, hash, lh.LinkEmail)
		if err != nil {
			return err
		}
		old, err := t.setEmail(ctx, l)
		if err != nil {
			return err
		}
		if err := t.putLink(ctx, undo(l.User, old, l.Email)); err != nil {
			return err
		}
		from.Kind, from.ID = lh.ActorUser, string(l.User)
		return t.auditAccount(ctx, from, "account.email", l.User, nil)
	})
}

// UndoEmail gives an account back the address that a link of LinkUndo was sent to. Whoever changed it had the password:
// every session ends, every other link is void, and what they have since added to log in with goes. What was there before
// stays: an old address that somebody else reads by now must not be a way around a second factor. reset makes the link to
// choose another password.
func (db *DB) UndoEmail(ctx context.Context, from lh.Actor, hash []byte, reset func(id lh.UserID, email string) NewLink) error {
	return db.update(ctx, func(t *tx) error {
		l, err := t.takeLink(ctx, hash, lh.LinkUndo)
		if err != nil {
			return err
		}
		if _, err := t.setEmail(ctx, l); err != nil {
			return err
		}
		for _, table := range []string{"session", "link"} {
			if _, err := t.exec(ctx, `DELETE FROM `+table+` WHERE user_id = $1`, l.User); err != nil {
				return fmt.Errorf("undo change of address: %w", err)
			}
		}
		for _, table := range []string{"passkey", "identity", "totp", "recovery_code"} {
			if _, err := t.exec(ctx, `DELETE FROM `+table+` WHERE user_id = $1 AND created >= $2`, l.User, l.Created); err != nil {
				return fmt.Errorf("undo change of address: %w", err)
			}
		}
		if err := t.putLink(ctx, reset(l.User, l.Email)); err != nil {
			return err
		}
		from.Kind, from.ID = lh.ActorUser, string(l.User)
		return t.auditAccount(ctx, from, "account.email_undo", l.User, nil)
	})
}

// setEmail gives a link's account the link's address, proven by the link, and returns the one it had. Links that were
// sent to that one are void.
func (t *tx) setEmail(ctx context.Context, l lh.Link) (old string, err error) {
	index, err := t.db.emailIndex(l.Email)
	if err != nil {
		return "", err
	}
	before, err := t.changeUser(ctx, l.User, func(b *userBody) { b.Email = l.Email })
	if err != nil {
		return "", err
	}
	var taken int
	if err := t.db.row(ctx, t, `SELECT count(*) FROM users WHERE email_index = $1 AND id <> $2`, index, l.User).Scan(&taken); err != nil {
		return "", fmt.Errorf("change address: %w", err)
	}
	if taken == 0 {
		_, err = t.exec(ctx, `UPDATE users SET email_index = $2, verified = $3 WHERE id = $1`, l.User, index, t.now)
	}
	if taken > 0 || unique(err) {
		return "", lh.Errorf(lh.Conflict, "there is an account with the address %s already", l.Email)
	}
	if err == nil {
		_, err = t.exec(ctx, `DELETE FROM link WHERE user_id = $1 AND purpose <> $2`, l.User, lh.LinkUndo)
	}
	if err != nil {
		return "", fmt.Errorf("change address: %w", err)
	}
	return before.Email, nil
}

// SetName changes what a person is called.
func (db *DB) SetName(ctx context.Context, by lh.Actor, id lh.UserID, name string) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.changeUser(ctx, id, func(b *userBody) { b.Name = name }); err != nil {
			return err
		}
		return t.auditAccount(ctx, by, "account.name", id, nil)
	})
}

// SetDisabled bars an account, which ends its sessions and voids its links, or lets it in again.
func (db *DB) SetDisabled(ctx context.Context, by lh.Actor, id lh.UserID, disabled bool) error {
	return db.update(ctx, func(t *tx) error {
		at, action := lh.Millis(0), "account.enable"
		if disabled {
			at, action = t.now, "account.disable"
		}
		n, err := t.exec(ctx, `UPDATE users SET disabled = $2 WHERE id = $1`, id, at)
		if err != nil {
			return fmt.Errorf("bar user: %w", err)
		}
		if n == 0 {
			return lh.Errorf(lh.NotFound, "there is no such user")
		}
		if disabled {
			for _, table := range []string{"session", "link"} {
				if _, err := t.exec(ctx, `DELETE FROM `+table+` WHERE user_id = $1`, id); err != nil {
					return fmt.Errorf("bar user: %w", err)
				}
			}
		}
		return t.auditAccount(ctx, by, action, id, nil)
	})
}

// DeleteUser deletes an account with everything that is its own. What it did stays in the audit trails, by its id alone.
// Conflict: it is the last owner of a project, which is named.
func (db *DB) DeleteUser(ctx context.Context, by lh.Actor, id lh.UserID, told ...notify.Mail) error {
	return db.update(ctx, func(t *tx) error {
		var in []lh.ProjectID
		err := db.each(ctx, t, `SELECT project_id FROM member WHERE user_id = $1 ORDER BY project_id`, []any{id}, func(scan func(...any) error) error {
			var p lh.ProjectID
			err := scan(&p)
			in = append(in, p)
			return err
		})
		if err != nil {
			return fmt.Errorf("read memberships: %w", err)
		}
		var last []string
		for _, p := range in {
			// The event takes the project's row, so that two owners cannot leave at once.
			if err := t.audit(ctx, p, by, "member.leave", string(id), nil); err != nil {
				return err
			}
			var owners, own int
			err := db.row(ctx, t, `SELECT count(*), COALESCE(sum(CASE WHEN user_id = $3 THEN 1 ELSE 0 END), 0) FROM member WHERE project_id = $1 AND role = $2`,
				p, lh.RoleOwner, id).Scan(&owners, &own)
			if err != nil {
				return fmt.Errorf("count owners: %w", err)
			}
			if owners > 1 || own == 0 {
				continue
			}
			project, err := db.project(ctx, t, p)
			if err != nil {
				return err
			}
			last = append(last, "“"+project.Name+"”")
		}
		if len(last) > 0 {
			return lh.Errorf(lh.Conflict, "this is the last owner of %s; make somebody else an owner, or delete the project, first", strings.Join(last, ", "))
		}
		var n int64
		for _, q := range []string{`DELETE FROM link WHERE user_id = $1`, `DELETE FROM challenge WHERE user_id = $1`, `DELETE FROM member WHERE user_id = $1`,
			`DELETE FROM session WHERE user_id = $1`, `DELETE FROM users WHERE id = $1`} {
			if n, err = t.exec(ctx, q, id); err != nil {
				return fmt.Errorf("delete user: %w", err)
			}
		}
		for _, p := range in { // now that they can grant nothing any more
			if err := t.dropInvitations(ctx, p, id); err != nil {
				return err
			}
		}
		if n == 0 {
			return lh.Errorf(lh.NotFound, "there is no such user")
		}
		if err := t.mail(ctx, noticeLife, told...); err != nil {
			return err
		}
		return t.auditAccount(ctx, by, "account.delete", id, nil)
	})
}

// Sessions returns a person's log-ins that still stand, the newest first.
func (db *DB) Sessions(ctx context.Context, id lh.UserID) ([]lh.Session, error) {
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return nil, err
	}
	var ss []lh.Session
	err = db.each(ctx, db.read, `SELECT id, created, expires, used, proof, strong, confirmed, body FROM session WHERE user_id = $1 AND expires > $2
		ORDER BY created DESC, id`, []any{id, lh.MillisOf(db.now())}, func(scan func(...any) error) error {
		s := lh.Session{User: id}
		var strong int
		var sealed []byte
		if err := scan(&s.ID, &s.Created, &s.Expires, &s.Used, &s.Proof, &strong, &s.Confirmed, &sealed); err != nil {
			return err
		}
		s.Strong = strong != 0
		if len(sealed) > 0 {
			var b sessionBody
			if err := openJSON(k, sealed, place("session", s.ID), &b); err != nil {
				return err
			}
			s.Remote, s.Agent = b.Remote, b.Agent
		}
		ss = append(ss, s)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	return ss, nil
}

// UseSession notes when, from where and with which program a session was last used. Without a program, when alone.
func (db *DB) UseSession(ctx context.Context, s lh.Session) error {
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return err
	}
	body, err := sealJSON(k, sessionBody{s.Remote, s.Agent}, place("session", s.ID))
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		if s.Agent == "" {
			_, err := t.exec(ctx, `UPDATE session SET used = $2 WHERE id = $1`, s.ID, s.Used)
			return err
		}
		_, err := t.exec(ctx, `UPDATE session SET used = $2, body = $3 WHERE id = $1`, s.ID, s.Used, body)
		return err
	})
}

// EndSessionOf ends one of a person's log-ins. NotFound: they have none such.
func (db *DB) EndSessionOf(ctx context.Context, by lh.Actor, user lh.UserID, id lh.SessionID) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `DELETE FROM session WHERE id = $1 AND user_id = $2`, id, user)
		if err != nil {
			return fmt.Errorf("end session: %w", err)
		}
		if n == 0 {
			return lh.Errorf(lh.NotFound, "there is no such session, or it has ended")
		}
		return t.auditAccount(ctx, by, "session.end", user, map[string]any{"session": id})
	})
}

// EndOtherSessions ends all of a person's log-ins but one and returns how many there were.
func (db *DB) EndOtherSessions(ctx context.Context, by lh.Actor, user lh.UserID, keep lh.SessionID) (n int64, err error) {
	err = db.update(ctx, func(t *tx) error {
		if n, err = t.exec(ctx, `DELETE FROM session WHERE user_id = $1 AND id <> $2`, user, keep); err != nil {
			return fmt.Errorf("end sessions: %w", err)
		}
		return t.auditAccount(ctx, by, "session.end_others", user, map[string]any{"ended": n})
	})
	return n, err
}
