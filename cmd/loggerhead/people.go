package main

import (
	"context"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

type userInviteCommand struct {
	configPath
	Email string `arg:"" help:"E-mail address to invite."`
	Show  bool   `help:"Also print the link, for whoever passes it on in another way."`
}

func (u userInviteCommand) Run(ctx context.Context, p program) error {
	if !notify.Address(u.Email) {
		return lh.Errorf(lh.Invalid, "%q is no e-mail address", u.Email)
	}
	return u.mailed(ctx, p, u.Email, u.Show, "make an account", "two weeks", func(a *access.Access) (string, error) {
		return a.InviteUser(ctx, store.Console, u.Email)
	})
}

type userResetLinkCommand struct {
	configPath
	Email string `arg:"" help:"E-mail address of the account."`
	Show  bool   `help:"Also print the link, for whoever passes it on in another way."`
}

func (u userResetLinkCommand) Run(ctx context.Context, p program) error {
	return u.mailed(ctx, p, u.Email, u.Show, "choose a new password", "an hour", func(a *access.Access) (string, error) {
		url, err := a.ResetByConsole(ctx, store.Console, u.Email)
		return url, nobody(err, u.Email)
	})
}

// nobody names the address where there is no such account.
func nobody(err error, email string) error {
	if lh.CodeOf(err) == lh.NotFound {
		return lh.Errorf(lh.NotFound, "nobody has an account with the address %s", email)
	}
	return err
}

// mailed makes a link, of which a running hub sends the mail, and says what becomes of it. Where no mail server is set,
// or show is, it prints the link.
func (c configPath) mailed(ctx context.Context, p program, email string, show bool, what, life string, make func(*access.Access) (string, error)) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	return c.withAccess(ctx, p, func(a *access.Access, _ *store.DB) error {
		url, err := make(a)
		if err != nil {
			return err
		}
		if cfg.Mail.Address != "" {
			fmt.Fprintf(p.stdout, "The running hub mails %s a link to %s. It is good for %s, once.\n", printable(email), what, life)
		} else {
			fmt.Fprintf(p.stdout, "No mail server is set (mail.address): pass this link on to %s, and to nobody else. It is good for %s, once, to %s.\n", printable(email), life, what)
		}
		if show || cfg.Mail.Address == "" {
			fmt.Fprintf(p.stdout, "\n  %s\n", url)
		}
		return nil
	})
}

type userFactorsCommand struct {
	configPath
	Email string `arg:"" help:"E-mail address of the account. Make sure who asks: with it, the password alone opens the account."`
}

func (u userFactorsCommand) Run(ctx context.Context, p program) error {
	return u.withAccess(ctx, p, func(a *access.Access, _ *store.DB) error {
		if err := a.RemoveFactors(ctx, u.Email); err != nil {
			return nobody(err, u.Email)
		}
		fmt.Fprintf(p.stdout, "%s has no second factor any more; all sessions have ended.\n", printable(u.Email))
		return nil
	})
}

type userDisableCommand struct {
	configPath
	Email string `arg:"" help:"E-mail address of the account."`
}

func (u userDisableCommand) Run(ctx context.Context, p program) error {
	return u.withUser(ctx, p, u.Email, func(db *store.DB, who lh.User) error {
		if err := db.SetDisabled(ctx, store.Console, who.ID, true); err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "%s is barred; all sessions have ended.\n", printable(who.Email))
		return nil
	})
}

type userEnableCommand struct {
	configPath
	Email string `arg:"" help:"E-mail address of the account."`
}

func (u userEnableCommand) Run(ctx context.Context, p program) error {
	return u.withUser(ctx, p, u.Email, func(db *store.DB, who lh.User) error {
		if err := db.SetDisabled(ctx, store.Console, who.ID, false); err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "%s can log in again.\n", printable(who.Email))
		return nil
	})
}

type userDeleteCommand struct {
	configPath
	Email string `arg:"" help:"E-mail address of the account."`
	Yes   bool   `required:"" help:"Say that it is meant: nothing brings an account back."`
}

func (u userDeleteCommand) Run(ctx context.Context, p program) error {
	return u.withUser(ctx, p, u.Email, func(db *store.DB, who lh.User) error {
		if err := db.DeleteUser(ctx, store.Console, who.ID); err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "The account of %s is deleted. What it did stays in the audit trails as %s.\n", printable(who.Email), who.ID)
		return nil
	})
}

// withUser runs fn on the account of an address.
func (c configPath) withUser(ctx context.Context, p program, email string, fn func(*store.DB, lh.User) error) error {
	return c.withAccess(ctx, p, func(_ *access.Access, db *store.DB) error {
		who, _, err := db.UserByEmail(ctx, email)
		if err != nil {
			return nobody(err, email)
		}
		return fn(db, who)
	})
}
