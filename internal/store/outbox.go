package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
)

// maxOutbox bounds what may wait to be sent: strangers cause mail, and a mail server may be down for long.
const maxOutbox = 20_000

// outgoing is the body of a row: a mail, or the question whether there is something to send to an address.
type outgoing struct {
	Mail *notify.Mail `json:"mail,omitempty"`
	Ask  *notify.Ask  `json:"ask,omitempty"`
}

// mail puts mails into the outbox, in the caller's transaction: whoever is told of a change is told if and only if it
// happened. They are sent until life is over.
func (t *tx) mail(ctx context.Context, life lh.Millis, mails ...notify.Mail) error {
	for _, m := range mails {
		if err := m.Check(); err != nil {
			return err
		}
		if err := t.out(ctx, life, outgoing{Mail: &m}); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) out(ctx context.Context, life lh.Millis, o outgoing) error {
	var n int
	if err := t.db.row(ctx, t, `SELECT count(*) FROM outbox`).Scan(&n); err != nil {
		return fmt.Errorf("count mail: %w", err)
	}
	most := maxOutbox
	if o.Ask != nil {
		most /= 2 // strangers leave room for what people must hear
	}
	if n >= most {
		return lh.Errorf(lh.Unavailable, "too much mail waits to be sent; try again later")
	}
	k, err := t.db.key(ctx, t, installation)
	if err != nil {
		return err
	}
	id := lh.NewMailID()
	body, err := sealJSON(k, o, place("outbox", id))
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, `INSERT INTO outbox (id, created, due, expires, tries, body) VALUES ($1, $2, $3, $4, 0, $5)`, id, t.now, t.now, t.now+life, body)
	if err != nil {
		return fmt.Errorf("put mail into the outbox: %w", err)
	}
	return nil
}

// PutMail puts mails into the outbox, to be sent until life is over.
func (db *DB) PutMail(ctx context.Context, life lh.Millis, mails ...notify.Mail) error {
	return db.update(ctx, func(t *tx) error { return t.mail(ctx, life, mails...) })
}

// PutAsk puts a question into the outbox. It reads nothing else, so that it takes as long for every address.
func (db *DB) PutAsk(ctx context.Context, life lh.Millis, a notify.Ask) error {
	return db.update(ctx, func(t *tx) error { return t.out(ctx, life, outgoing{Ask: &a}) })
}

// TakeMail takes the item of the outbox that is due longest, for lease: if it is neither done nor put off by then, such as
// after a crash, it is due again. ok is false where none is. One that does not open has neither mail nor question.
func (db *DB) TakeMail(ctx context.Context, lease lh.Millis) (it notify.Item, ok bool, err error) {
	// Without writing, where there is nothing.
	var n int
	err = db.row(ctx, db.read, `SELECT count(*) FROM (SELECT id FROM outbox WHERE due <= $1 LIMIT 1) AS due`, lh.MillisOf(db.now())).Scan(&n)
	if err != nil || n == 0 {
		return it, false, err
	}
	var sealed []byte
	err = db.update(ctx, func(t *tx) error {
		ok = true
		err := db.row(ctx, t, `UPDATE outbox SET due = $1, tries = tries + 1 WHERE due <= $2 AND id =
			(SELECT id FROM outbox WHERE due <= $2 ORDER BY due, id LIMIT 1) RETURNING id, created, expires, tries, body`, t.now+lease, t.now).
			Scan(&it.ID, &it.Created, &it.Expires, &it.Tries, &sealed)
		if errors.Is(err, sql.ErrNoRows) {
			ok = false
			return nil
		}
		return err
	})
	if err != nil || !ok {
		return it, false, err
	}
	k, err := db.key(ctx, db.read, installation)
	if err != nil {
		return it, false, err
	}
	var o outgoing
	if err := openJSON(k, sealed, place("outbox", it.ID), &o); err != nil {
		db.log.ErrorContext(ctx, "mail in the outbox is damaged", "mail", it.ID, "err", err)
		return it, true, nil
	}
	it.Mail, it.Ask = o.Mail, o.Ask
	return it, true, nil
}

// DropMail removes an item: it was sent, or never will be.
func (db *DB) DropMail(ctx context.Context, id lh.MailID) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM outbox WHERE id = $1`, id)
		return err
	})
}

// AnswerMail removes a question and puts the mail that answers it into the outbox.
func (db *DB) AnswerMail(ctx context.Context, id lh.MailID, life lh.Millis, m notify.Mail) error {
	return db.update(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `DELETE FROM outbox WHERE id = $1`, id); err != nil {
			return err
		}
		return t.mail(ctx, life, m)
	})
}

// PutOffMail makes an item due at a later time.
func (db *DB) PutOffMail(ctx context.Context, id lh.MailID, due lh.Millis) error {
	return db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `UPDATE outbox SET due = $2 WHERE id = $1`, id, due)
		return err
	})
}

// MailWaiting returns how many items wait, and since when the oldest does.
func (db *DB) MailWaiting(ctx context.Context) (n int, oldest lh.Millis, err error) {
	var at sql.NullInt64
	err = db.row(ctx, db.read, `SELECT count(*), min(created) FROM outbox`).Scan(&n, &at)
	return n, lh.Millis(at.Int64), err
}
