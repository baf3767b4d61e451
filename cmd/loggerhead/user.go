package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

type userCommand struct {
	Add      userAddCommand      `cmd:"" help:"Add a person. The password is asked for, or read from standard input or a file; it is never an argument."`
	Password userPasswordCommand `cmd:"" help:"Set somebody's password. All of their sessions end."`
	List     userListCommand     `cmd:"" help:"List everybody who has an account."`

	Invite    userInviteCommand    `cmd:"" help:"Invite somebody to make an account, by mail or by a link to pass on."`
	ResetLink userResetLinkCommand `cmd:"" help:"Make a link by which somebody chooses a new password."`
	Factors   userFactorsCommand   `cmd:"" name:"reset-factors" help:"Take the second factors from somebody who has lost them. All of their sessions end."`
	Disable   userDisableCommand   `cmd:"" help:"Bar an account. All of its sessions end."`
	Enable    userEnableCommand    `cmd:"" help:"Let a barred account in again."`
	Delete    userDeleteCommand    `cmd:"" help:"Delete an account that is no project's last owner."`
}

type passwordSource struct {
	PasswordFile string `help:"Read the password from this file's first line." type:"path" placeholder:"FILE"`
}

// maxPasswordInput bounds what is read for a password.
const maxPasswordInput = 4096

// read gets a password: from the file, from a terminal without echo, twice, or from the first line of stdin.
func (s passwordSource) read(p program) (string, error) {
	if s.PasswordFile != "" {
		f, err := os.Open(s.PasswordFile)
		if err != nil {
			return "", &lh.Error{Code: lh.Invalid, Message: "read password file: " + err.Error()}
		}
		defer f.Close() // read only
		return firstLine(f)
	}
	in, ok := p.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return firstLine(p.stdin)
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(p.stderr, prompt)
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(p.stderr)
		return string(b), err
	}
	first, err := ask("Password: ")
	if err != nil {
		return "", err
	}
	if first == "" {
		return "", lh.Errorf(lh.Invalid, "no password was given")
	}
	second, err := ask("Again: ")
	if err == nil && first != second {
		err = lh.Errorf(lh.Invalid, "the two passwords differ")
	}
	return first, err
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxPasswordInput)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read password: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", lh.Errorf(lh.Invalid, "no password was given: write it to standard input or use --password-file")
	}
	return line, nil
}

// withAccess runs fn on the installation's accounts.
func (c configPath) withAccess(ctx context.Context, p program, fn func(*access.Access, *store.DB) error) error {
	log := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg, err := c.load()
	if err != nil {
		return err
	}
	db, err := c.database(ctx, log)
	if err != nil {
		return err
	}
	o := access.Options{DB: db, Log: log, URL: cfg.PeopleURL(cfg.People.Listen)}
	if path := cfg.Passwords.Breached; path != "" {
		b, err := access.OpenBreached(path)
		if err != nil {
			return errors.Join(err, db.Close())
		}
		defer b.Close() // read only
		o.Breached = b
	}
	return errors.Join(fn(access.New(o), db), db.Close())
}

type userAddCommand struct {
	configPath
	passwordSource
	Email    string `arg:"" help:"E-mail address to log in with."`
	Name     string `help:"The person's name [the address]."`
	Operator bool   `help:"May manage the installation. It opens no project: those are opened by their owners."`
}

func (u userAddCommand) Run(ctx context.Context, p program) error {
	if !lh.ValidEmail(u.Email) {
		return lh.Errorf(lh.Invalid, "%q is no e-mail address", u.Email)
	}
	if u.Name == "" {
		u.Name = u.Email
	}
	return u.withAccess(ctx, p, func(a *access.Access, _ *store.DB) error {
		password, err := u.read(p)
		if err != nil {
			return err
		}
		made, err := a.CreateUser(ctx, lh.User{Email: u.Email, Name: u.Name, Operator: u.Operator}, password)
		if err == nil {
			fmt.Fprintf(p.stdout, "%s can log in now (%s).\n", made.Email, made.ID)
		}
		return err
	})
}

type userPasswordCommand struct {
	configPath
	passwordSource
	Email string `arg:"" help:"E-mail address of the account."`
}

func (u userPasswordCommand) Run(ctx context.Context, p program) error {
	return u.withAccess(ctx, p, func(a *access.Access, db *store.DB) error {
		if _, _, err := db.UserByEmail(ctx, u.Email); lh.CodeOf(err) == lh.NotFound {
			return lh.Errorf(lh.NotFound, "nobody has an account with the address %s", u.Email)
		} else if err != nil {
			return err
		}
		password, err := u.read(p)
		if err != nil {
			return err
		}
		if err := a.SetPassword(ctx, u.Email, password); err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "%s has a new password; all sessions have ended.\n", u.Email)
		return nil
	})
}

type userListCommand struct{ configPath }

func (u userListCommand) Run(ctx context.Context, p program) error {
	return u.withAccess(ctx, p, func(_ *access.Access, db *store.DB) error {
		users, err := db.Users(ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tEMAIL\tNAME\tOPERATOR\tSINCE\tSTATE")
		for _, u := range users {
			operator := "no"
			if u.Operator {
				operator = "yes"
			}
			state := "ok"
			switch {
			case u.Disabled != 0:
				state = "barred"
			case u.Verified == 0:
				state = "address not verified"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", u.ID, printable(u.Email), printable(u.Name), operator, u.Created.Time().Format("2006-01-02"), state)
		}
		return w.Flush()
	})
}

// printable keeps what somebody typed from steering the terminal it is shown on.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
