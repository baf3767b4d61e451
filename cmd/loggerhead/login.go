package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
	"github.com/loggerhead-cloud/loggerhead/internal/durable"
)

type loginCommand struct {
	Hub       string `arg:"" help:"The hub's address, such as https://hub.example.org:8443"`
	Root      string `help:"Also believe the root certificate in this PEM file: the hub's root.pem, where its certificate is not a public one." type:"path" placeholder:"FILE"`
	WithToken bool   `help:"Read a token from standard input instead: a service account's key, for a machine."`
	Project   string `short:"p" help:"The project that commands mean when they name none, by id."`
	NoBrowser bool   `help:"Only print the page where the log-in is allowed; do not open it."`
}

// Run gets a session by a person's leave in a browser, wherever that runs, or takes a token, and keeps it for the commands
// after it.
func (l loginCommand) Run(ctx context.Context, p program) error {
	s := savedLogIn{Hub: strings.TrimRight(l.Hub, "/"), Project: l.Project}
	if l.Root != "" {
		pem, err := readSmall(l.Root)
		if err != nil {
			return &lh.Error{Code: lh.Invalid, Message: "read the root certificate: " + err.Error()}
		}
		s.Root = string(pem)
	}
	pool, err := roots([]byte(s.Root))
	if err != nil {
		return err
	}
	if l.WithToken {
		if s.Token, err = firstLine(p.stdin); err != nil {
			return lh.Errorf(lh.Invalid, "no token was given: write it to standard input")
		}
	}
	c, err := client.New(s.Hub, client.Options{Roots: pool, Token: s.Token})
	if err != nil {
		return &lh.Error{Code: lh.Invalid, Message: err.Error()}
	}
	defer c.Close()
	if l.WithToken {
		// Any token that reads something is one.
		if _, err := c.Projects(ctx); err != nil {
			return told(err)
		}
		if err := p.save(s); err != nil {
			return err
		}
		fmt.Fprintf(p.stderr, "The token is good; commands speak to %s with it.\n", s.Hub)
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		host = "a machine without a name"
	}
	asked, err := c.AskPairing(ctx, printable("loggerhead "+versionOf()+" on "+host))
	if err != nil {
		return told(err)
	}
	page := asked.URL
	if strings.HasPrefix(page, "/") {
		page = s.Hub + page
	}
	fmt.Fprintf(p.stderr, "Open %s in a browser where you are logged in, and allow the code\n\n    %s\n\nWaiting …\n", printable(page), printable(asked.Code))
	if !l.NoBrowser {
		openPage(page)
	}
	u, err := c.FinishPairing(ctx, asked)
	if err != nil {
		return told(err)
	}
	s.Token = c.Token()
	if err := p.save(s); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "Logged in as %s.\n", printable(u.Email))
	return nil
}

// openPage opens a page in the person's browser where there is one; where not, they have the address. Only what a hub may
// send is opened.
func openPage(page string) {
	if !strings.HasPrefix(page, "https://") {
		return
	}
	if path, err := exec.LookPath("xdg-open"); err == nil && (os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "") {
		cmd := exec.Command(path, page)
		if cmd.Start() == nil {
			go cmd.Wait() // it is not ours to wait for
		}
	}
}

type logoutCommand struct{}

// Run ends the session at the hub, and forgets it here even where the hub cannot be reached.
func (logoutCommand) Run(ctx context.Context, p program) error {
	path, err := p.savedPath()
	if err != nil {
		return err
	}
	c, s, err := hubFlags{}.connect(p)
	var ended error
	if err == nil && strings.HasPrefix(s.Token, "lhs_") {
		ended = c.LogOut(ctx)
		if e, ok := errors.AsType[*client.Error](ended); ok && e.Code == string(lh.Unauthenticated) {
			ended = nil // it had ended before
		}
	}
	if err := durable.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if ended != nil {
		return fmt.Errorf("forgotten here, but the hub could not be told, and the session lasts until it ends by itself: %w", told(ended))
	}
	return nil
}

type whoamiCommand struct {
	hubFlags
	outputFlags
}

func (w whoamiCommand) Run(ctx context.Context, p program) error {
	return w.withHub(p, func(c *client.Client) error {
		s, err := c.Session(ctx)
		if err != nil {
			return err
		}
		return showOne(p, w.outputFlags, s,
			column[client.Session]{"email", func(s client.Session) string { return s.User.Email }},
			column[client.Session]{"name", func(s client.Session) string { return s.User.Name }},
			column[client.Session]{"id", func(s client.Session) string { return s.User.ID }},
			column[client.Session]{"operator", func(s client.Session) string { return yesNo(s.User.Operator) }},
			column[client.Session]{"until", func(s client.Session) string { return moment(s.Expires) }})
	})
}
