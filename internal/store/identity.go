package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
)

type identityBody struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	Email   string `json:"email"`
}

func (db *DB) subjectIndex(issuer, subject string) ([]byte, error) {
	return db.master.BlindIndex("identity.subject", issuer+"\n"+subject) // an issuer is a URL, which has no line break
}

// AddIdentity links an account at a provider with a person's, and gives the link its id. Conflict: it is linked already.
func (db *DB) AddIdentity(ctx context.Context, by lh.Actor, i lh.Identity, told ...notify.Mail) (lh.Identity, error) {
	err := db.update(ctx, func(t *tx) (err error) {
		if i, err = t.addIdentity(ctx, by, i); err != nil {
			return err
		}
		return t.mail(ctx, noticeLife, told...)
	})
	return i, linked(err)
}

// SignUpIdentity makes an account without a password for somebody who logs in by a provider for the first time: both, or
// neither. The provider has verified the address.
func (db *DB) SignUpIdentity(ctx context.Context, u lh.User, i lh.Identity) (lh.User, lh.Identity, error) {
	u.ID = lh.NewUserID()
	by := lh.Actor{Kind: lh.ActorUser, ID: string(u.ID)}
	err := db.update(ctx, func(t *tx) (err error) {
		u.Created, u.Verified, i.User = t.now, t.now, u.ID
		if err := t.insertUser(ctx, u, ""); err != nil {
			return err
		}
		if err := t.auditAccount(ctx, by, "account.create", u.ID, map[string]any{"issuer": i.Issuer}); err != nil {
			return err
		}
		i, err = t.addIdentity(ctx, by, i)
		return err
	})
	return u, i, linked(err)
}

func linked(err error) error {
	if unique(err) {
		return lh.Errorf(lh.Conflict, "this account at the provider is linked with an account here already")
	}
	if err != nil {
		return fmt.Errorf("add identity: %w", err)
	}
	return nil
}

func (t *tx) addIdentity(ctx context.Context, by lh.Actor, i lh.Identity) (lh.Identity, error) {
	i.ID, i.Created = lh.NewIdentityID(), t.now
	k, err := t.db.key(ctx, t, installation)
	if err != nil {
		return i, err
	}
	index, err := t.db.subjectIndex(i.Issuer, i.Subject)
	if err != nil {
		return i, err
	}
	body, err := sealJSON(k, identityBody{i.Issuer, i.Subject, i.Email}, place("identity", i.User, i.ID))
	if err != nil {
		return i, err
	}
	var n int
	if err := t.db.row(ctx, t, `SELECT count(*) FROM identity WHERE user_id = $1`, i.User).Scan(&n); err != nil {
		return i, err
	}
	if n >= MaxIdentities {
		return i, lh.Errorf(lh.Exhausted, "%d accounts at providers are linked, as many as one account may have; unlink one first", n)
	}
	_, err = t.exec(ctx, `INSERT INTO identity (user_id, id, subject_index, created, used, body) VALUES ($1, $2, $3, $4, 0, $5)`,
		i.User, i.ID, index, t.now, body)
	if err != nil {
		return i, err
	}
	return i, t.auditAccount(ctx, by, "identity.link", i.User, map[string]string{"identity": string(i.ID), "issuer": i.Issuer})
}

// IdentityUser returns the person whose account at a provider this is. NotFound: nobody's.
func (db *DB) IdentityUser(ctx context.Context, issuer, subject string) (lh.UserID, lh.IdentityID, error) {
	index, err := db.subjectIndex(issuer, subject)
	if err != nil {
		return "", "", err
	}
	var user lh.UserID
	var id lh.IdentityID
	err = db.row(ctx, db.read, `SELECT user_id, id FROM identity WHERE subject_index = $1`, index).Scan(&user, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", lh.Errorf(lh.NotFound, "no account here is linked with that one")
	}
	if err != nil {
		return "", "", fmt.Errorf("read identity: %w", err)
	}
	return user, id, nil
}

// UseIdentity notes that somebody logged in by a provider.
func (db *DB) UseIdentity(ctx context.Context, user lh.UserID, id lh.IdentityID) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `UPDATE identity SET used = $3 WHERE user_id = $1 AND id = $2`, user, id, t.now); err != nil {
			return fmt.Errorf("use identity: %w", err)
		}
		return nil
	})
}

func (db *DB) identities(ctx context.Context, on queryer, user lh.UserID) ([]lh.Identity, error) {
	k, err := db.key(ctx, on, installation)
	if err != nil {
		return nil, err
	}
	var is []lh.Identity
	err = db.each(ctx, on, `SELECT id, created, used, body FROM identity WHERE user_id = $1 ORDER BY created, id`, []any{user},
		func(scan func(...any) error) error {
			i := lh.Identity{User: user}
			var sealed []byte
			if err := scan(&i.ID, &i.Created, &i.Used, &sealed); err != nil {
				return err
			}
			var b identityBody
			if err := openJSON(k, sealed, place("identity", user, i.ID), &b); err != nil {
				return err
			}
			i.Issuer, i.Subject, i.Email = b.Issuer, b.Subject, b.Email
			is = append(is, i)
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("read identities: %w", err)
	}
	return is, nil
}

// RemoveIdentity unlinks an account at a provider. NotFound: they have no such link; Conflict: they could not log in any more.
func (db *DB) RemoveIdentity(ctx context.Context, by lh.Actor, user lh.UserID, id lh.IdentityID, told ...notify.Mail) error {
	return db.update(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `DELETE FROM identity WHERE user_id = $1 AND id = $2`, user, id)
		if err != nil {
			return fmt.Errorf("remove identity: %w", err)
		}
		if n == 0 {
			return lh.Errorf(lh.NotFound, "you have no such link")
		}
		if err := t.keepsAWayIn(ctx, user); err != nil {
			return err
		}
		if err := t.mail(ctx, noticeLife, told...); err != nil {
			return err
		}
		return t.auditAccount(ctx, by, "identity.unlink", user, map[string]string{"identity": string(id)})
	})
}
