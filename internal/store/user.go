package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
)

type userBody struct {
	Email    string `json:"email"`
	Name     string `json:"name"`
	Password string `json:"password"` // argon2id hash in PHC form
}

// CreateUser makes a user with a password hash, as an operator does at the hub's console. It gives the user its id.
// Conflict: the address has an account.
func (db *DB) CreateUser(ctx context.Context, u lh.User, passwordHash string) (lh.User, error) {
	u.ID = lh.NewUserID()
	err := db.update(ctx, func(t *tx) error {
		u.Created = t.now
		if err := t.insertUser(ctx, u, passwordHash); err != nil {
			return err
		}
		return t.auditAccount(ctx, Console, "account.create", u.ID, map[string]any{"operator": u.Operator})
	})
	return u, err
}

// Console is whoever runs the hub's commands: somebody with its master key.
var Console = lh.Actor{Kind: lh.ActorHub, ID: "console"}

// insertUser makes an account in the caller's transaction. Conflict: the address has one.
func (t *tx) insertUser(ctx context.Context, u lh.User, passwordHash string) error {
	index, err := t.db.emailIndex(u.Email)
	if err != nil {
		return err
	}
	k, err := t.db.key(ctx, t, installation)
	if err != nil {
		return err
	}
	body, err := sealJSON(k, userBody{u.Email, u.Name, passwordHash}, place("user", u.ID))
	if err != nil {
		return err
	}
	n, err := t.exec(ctx, `INSERT INTO users (id, email_index, operator, created, verified, body) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (email_index) DO NOTHING`, u.ID, index, flag(u.Operator), u.Created, u.Verified, body)
	if err != nil {
		return fmt.Errorf("create user: %w", err)
	}
	if n == 0 {
		return lh.Errorf(lh.Conflict, "there is an account with the address %s already", u.Email)
	}
	return nil
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// UserByEmail returns a user and the hash of their password. NotFound when there is none.
func (db *DB) UserByEmail(ctx context.Context, email string) (lh.User, string, error) {
	index, err := db.emailIndex(email)
	if err != nil {
		return lh.User{}, "", err
	}
	return db.user(ctx, `email_index = $1`, index)
}

// User returns a user.
func (db *DB) User(ctx context.Context, id lh.UserID) (lh.User, error) {
	u, _, err := db.user(ctx, `id = $1`, id)
	return u, err
}

func (db *DB) user(ctx context.Context, where string, arg any) (lh.User, string, error) {
	return db.userOn(ctx, db.read, where, arg)
}

func (db *DB) userOn(ctx context.Context, on queryer, where string, arg any) (lh.User, string, error) {
	var u lh.User
	var operator int
	var sealed []byte
	err := db.row(ctx, on, `SELECT id, operator, created, verified, disabled, body FROM users WHERE `+where, arg).
		Scan(&u.ID, &operator, &u.Created, &u.Verified, &u.Disabled, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return u, "", lh.Errorf(lh.NotFound, "there is no such user")
	}
	if err != nil {
		return u, "", fmt.Errorf("read user: %w", err)
	}
	k, err := db.key(ctx, on, installation)
	if err != nil {
		return u, "", err
	}
	var b userBody
	if err := openJSON(k, sealed, place("user", u.ID), &b); err != nil {
		return u, "", err
	}
	u.Email, u.Name, u.Operator = b.Email, b.Name, operator != 0
	return u, b.Password, nil
}

// Users returns everybody who has an account, for the operator.
func (db *DB) Users(ctx context.Context) ([]lh.User, error) {
	var ids []lh.UserID
	err := db.each(ctx, db.read, `SELECT id FROM users ORDER BY created, id`, nil, func(scan func(...any) error) error {
		var id lh.UserID
		err := scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	users := make([]lh.User, 0, len(ids))
	for _, id := range ids {
		u, err := db.User(ctx, id)
		if err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	return users, nil
}

// changeUser changes what is sealed of an account, in the caller's transaction. It takes the row first, so that of two
// changes neither undoes the other.
func (t *tx) changeUser(ctx context.Context, id lh.UserID, change func(*userBody)) (before userBody, err error) {
	var sealed []byte
	err = t.db.row(ctx, t, `UPDATE users SET operator = operator WHERE id = $1 RETURNING body`, id).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return before, lh.Errorf(lh.NotFound, "there is no such user")
	}
	if err != nil {
		return before, fmt.Errorf("read user: %w", err)
	}
	k, err := t.db.key(ctx, t, installation)
	if err != nil {
		return before, err
	}
	if err := openJSON(k, sealed, place("user", id), &before); err != nil {
		return before, err
	}
	b := before
	change(&b)
	if sealed, err = sealJSON(k, b, place("user", id)); err != nil {
		return before, err
	}
	if _, err := t.exec(ctx, `UPDATE users SET body = $2 WHERE id = $1`, id, sealed); err != nil {
		return before, fmt.Errorf("change user: %w", err)
	}
	return before, nil
}
