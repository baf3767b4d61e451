package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
)

// NewLink is a link to be made, with the mail that brings it.
type NewLink struct {
	Hash []byte // of its token
	Link lh.Link
	Mail notify.Mail
}

type linkBody struct {
	Email      string          `json:"email"`
	Created    lh.Millis       `json:"created"`
	Project    lh.ProjectID    `json:"project,omitempty"`
	Invitation lh.InvitationID `json:"invitation,omitempty"`
}

// gone is said of a link that cannot be used, whatever the reason: it reads alike, used up or never made.
func noLink() error {
	return lh.Errorf(lh.NotFound, "this link was used already, was replaced by a later one, or is too old; ask for a new one")
}

// PutLink makes a link, voids those it replaces, and puts its mail into the outbox. answers is the item of the outbox that
// asked for it, which goes in the same transaction; "" is none. With an action, it is audited.
func (db *DB) PutLink(ctx context.Context, n NewLink, answers lh.MailID, by lh.Actor, action string) error {
	return db.update(ctx, func(t *tx) error {
		if answers != "" {
			if _, err := t.exec(ctx, `DELETE FROM outbox WHERE id = $1`, answers); err != nil {
				return err
			}
		}
		if err := t.putLink(ctx, n); err != nil {
			return err
		}
		if action == "" {
			return nil
		}
		return t.auditAccount(ctx, by, action, n.Link.User, map[string]any{"purpose": n.Link.Purpose, "expires": n.Link.Expires})
	})
}

// putLink makes a link in the caller's transaction.
func (t *tx) putLink(ctx context.Context, n NewLink) error {
	l := n.Link
	subject, err := t.db.linkSubject(l)
	if err != nil {
		return err
	}
	k, err := t.db.key(ctx, t, installation)
	if err != nil {
		return err
	}
	body, err := sealJSON(k, linkBody{l.Email, t.now, l.Project, l.Invitation}, place("link", hex.EncodeToString(n.Hash)))
	if err != nil {
		return err
	}
	if _, err := t.exec(ctx, `DELETE FROM link WHERE expires <= $1`, t.now); err != nil {
		return fmt.Errorf("clear links: %w", err)
	}
	if l.Purpose != lh.LinkUndo {
		if _, err := t.exec(ctx, `DELETE FROM link WHERE subject = $1 AND purpose = $2`, subject, l.Purpose); err != nil {
			return fmt.Errorf("void links: %w", err)
		}
	}
	_, err = t.exec(ctx, `INSERT INTO link (token_hash, purpose, subject, user_id, expires, body) VALUES ($1, $2, $3, $4, $5, $6)`,
		n.Hash, l.Purpose, subject, l.User, l.Expires, body)
	if err != nil {
		return fmt.Errorf("make link: %w", err)
	}
	if n.Mail.To == "" { // whoever asked for it passes it on
		return nil
	}
	return t.mail(ctx, max(l.Expires-t.now, 0), n.Mail)
}

// linkSubject is the keyed hash of what a link is about: an account, or an address that has none; and the
// invitation it is of.
func (db *DB) linkSubject(l lh.Link) ([]byte, error) {
	about := "address " + strings.ToLower(l.Email)
	if l.User != "" {
		about = "user " + string(l.User)
	}
	return db.master.BlindIndex("link.subject", about+" "+string(l.Invitation))
}

// Link returns what a link is for, without using it up. NotFound: it cannot be used.
func (db *DB) Link(ctx context.Context, hash []byte) (lh.Link, error) {
	return db.openLink(ctx, hash, db.row(ctx, db.read, `SELECT purpose, user_id, expires, body FROM link WHERE token_hash = $1`, hash))
}

// takeLink uses a link up, in the caller's transaction: of those who open it at once, one gets it. NotFound: it cannot be
// used, or is for another purpose.
func (t *tx) takeLink(ctx context.Context, hash []byte, purposes ...lh.LinkPurpose) (lh.Link, error) {
	l, err := t.db.openLink(ctx, hash, t.db.row(ctx, t, `DELETE FROM link WHERE token_hash = $1 RETURNING purpose, user_id, expires, body`, hash))
	if err != nil {
		return l, err
	}
	for _, p := range purposes {
		if l.Purpose == p {
			return l, nil
		}
	}
	return l, noLink() // which takes the deletion back
}

func (db *DB) openLink(ctx context.Context, hash []byte, row *sql.Row) (lh.Link, error) {
	var l lh.Link
	var sealed []byte
	err := row.Scan(&l.Purpose, &l.User, &l.Expires, &sealed)
	if errors.Is(err, sql.ErrNoRows) || err == nil && l.Expires <= lh.MillisOf(db.now()) {
		return lh.Link{}, noLink()
	}
	if err != nil {
		return l, fmt.Errorf("read link: %w", err)
	}
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return l, err
	}
	var b linkBody
	if err := openJSON(k, sealed, place("link", hex.EncodeToString(hash)), &b); err != nil {
		return l, err
	}
	l.Email, l.Created, l.Project, l.Invitation = b.Email, b.Created, b.Project, b.Invitation
	return l, nil
}

// SignUp makes the account that a link of LinkSignUp or LinkInvite is for, with the address it was sent to, which is
// proven by it. Conflict: the address has an account. NotFound: the link cannot be used, or the invitation to a project
// that it was sent with is no longer.
func (db *DB) SignUp(ctx context.Context, hash []byte, name, passwordHash string) (u lh.User, l lh.Link, err error) {
	err = db.update(ctx, func(t *tx) error {
		if l, err = t.takeLink(ctx, hash, lh.LinkSignUp, lh.LinkInvite); err != nil {
			return err
		}
		if l.Invitation != "" {
			var n int
			err := db.row(ctx, t, `SELECT count(*) FROM invitation WHERE project_id = $1 AND id = $2 AND expires > $3`, l.Project, l.Invitation, t.now).Scan(&n)
			if err != nil {
				return err
			}
			if n == 0 {
				return noLink()
			}
		}
		u = lh.User{ID: lh.NewUserID(), Email: l.Email, Name: name, Created: t.now, Verified: t.now}
		if err := t.insertUser(ctx, u, passwordHash); err != nil {
			return err
		}
		subject, err := db.linkSubject(lh.Link{Email: l.Email}) // whatever else would have made this account
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM link WHERE subject = $1`, subject); err != nil {
			return fmt.Errorf("void links: %w", err)
		}
		return t.auditAccount(ctx, lh.Actor{Kind: lh.ActorUser, ID: string(u.ID)}, "account.create", u.ID, map[string]any{"by": l.Purpose})
	})
	return u, l, err
}
