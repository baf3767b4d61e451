package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
	"github.com/loggerhead-cloud/loggerhead/internal/durable"
)

// hubFlags are how a command that speaks to a hub finds it: by flags, else by environment variables, else by what
// `loggerhead login` keeps.
type hubFlags struct {
	Hub       string `help:"The hub's address, https://… ($$LOGGERHEAD_HUB) [that of the log-in]." var:"LOGGERHEAD_HUB" placeholder:"URL"`
	TokenFile string `help:"Read the token from this file ($$LOGGERHEAD_TOKEN_FILE), or give it in $$LOGGERHEAD_TOKEN [that of the log-in]." type:"path" var:"LOGGERHEAD_TOKEN_FILE" placeholder:"FILE"`
	Root      string `help:"Also believe the root certificate in this PEM file ($$LOGGERHEAD_ROOT) [that of the log-in]." type:"path" var:"LOGGERHEAD_ROOT" placeholder:"FILE"`
}

// projectFlags are those of a command in a project.
type projectFlags struct {
	hubFlags
	Project string `short:"p" help:"The project, by id or name ($$LOGGERHEAD_PROJECT) [the only one there is, or that of login --project]." var:"LOGGERHEAD_PROJECT"`
}

// savedLogIn is what login keeps in the user's configuration folder, readable by nobody else.
type savedLogIn struct {
	Hub     string `json:"hub"`
	Token   string `json:"token"`
	Root    string `json:"root,omitempty"` // PEM
	Project string `json:"project,omitempty"`
}

// savedPath is where login keeps what it got.
func (p program) savedPath() (string, error) {
	dir := p.getenv("XDG_CONFIG_HOME")
	if dir == "" {
		home := p.getenv("HOME")
		if home == "" {
			return "", lh.Errorf(lh.Invalid, "neither XDG_CONFIG_HOME nor HOME says where to keep the log-in; give --hub and --token-file, or set one of them")
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "loggerhead", "login.json"), nil
}

// saved reads what login kept; nothing kept is no error.
func (p program) saved() (savedLogIn, error) {
	var s savedLogIn
	path, err := p.savedPath()
	if err != nil {
		return s, nil // then flags must say it all
	}
	b, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, lh.Errorf(lh.Invalid, "%s cannot be read (%v); run loggerhead login again", path, err)
	}
	return s, nil
}

// save keeps a log-in.
func (p program) save(s savedLogIn) error {
	path, err := p.savedPath()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return durable.Write(path, append(b, '\n'), 0o600)
}

// readSmall reads a file that has no reason to be large.
func readSmall(path string) ([]byte, error) {
	const most = 1 << 20
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s is no file of less than a megabyte", path)
	}
	return io.ReadAll(io.LimitReader(f, most))
}

// roots are the system's, and those in some PEM.
func roots(pem []byte) (*x509.CertPool, error) {
	if len(pem) == 0 {
		return nil, nil // the system's
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, lh.Errorf(lh.Invalid, "there is no certificate in what is given as root; it must be PEM, such as the hub's root.pem")
	}
	return pool, nil
}

// connect finds the hub and the token for it. What flags and environment say goes before what login kept; a kept token is
// sent to no other hub than it came from.
func (h hubFlags) connect(p program) (*client.Client, savedLogIn, error) {
	s, err := p.saved()
	if err != nil {
		return nil, s, err
	}
	if h.Hub != "" && strings.TrimRight(h.Hub, "/") != s.Hub {
		s = savedLogIn{Hub: strings.TrimRight(h.Hub, "/")}
	}
	if s.Hub == "" {
		return nil, s, lh.Errorf(lh.Unauthenticated, "which hub? Log in with loggerhead login https://…, or give --hub and a token")
	}
	if h.Root != "" {
		pem, err := readSmall(h.Root)
		if err != nil {
			return nil, s, &lh.Error{Code: lh.Invalid, Message: "read the root certificate: " + err.Error()}
		}
		s.Root = string(pem)
	}
	if h.TokenFile != "" {
		b, err := readSmall(h.TokenFile)
		if err != nil {
			return nil, s, &lh.Error{Code: lh.Invalid, Message: "read the token: " + err.Error()}
		}
		s.Token = strings.TrimSpace(string(b))
	} else if t := p.getenv("LOGGERHEAD_TOKEN"); t != "" {
		s.Token = strings.TrimSpace(t)
	}
	pool, err := roots([]byte(s.Root))
	if err != nil {
		return nil, s, err
	}
	c, err := client.New(s.Hub, client.Options{Roots: pool, Token: s.Token})
	if err != nil {
		return nil, s, &lh.Error{Code: lh.Invalid, Message: err.Error()}
	}
	return c, s, nil
}

// told gives an error of the hub the code, and so the exit status, that the hub gave it.
func told(err error) error {
	if e, ok := errors.AsType[*client.Error](err); ok {
		code := lh.Code(e.Code)
		detail := e.Detail
		if code == lh.Unauthenticated {
			detail += " (loggerhead login)"
		}
		return &lh.Error{Code: code, Message: detail}
	}
	return err
}

// withHub runs fn with a client that has a token.
func (h hubFlags) withHub(p program, fn func(*client.Client) error) error {
	return h.loggedIn(p, func(c *client.Client, _ savedLogIn) error { return fn(c) })
}

// loggedIn is withHub with what login kept.
func (h hubFlags) loggedIn(p program, fn func(*client.Client, savedLogIn) error) error {
	c, s, err := h.connect(p)
	if err != nil {
		return err
	}
	defer c.Close()
	if s.Token == "" {
		return lh.Errorf(lh.Unauthenticated, "log in with loggerhead login %s, or give a token", s.Hub)
	}
	return told(fn(c, s))
}

// inProject runs fn with a client and a project's id.
func (f projectFlags) inProject(ctx context.Context, p program, fn func(c *client.Client, project string) error) error {
	return f.loggedIn(p, func(c *client.Client, s savedLogIn) error {
		id, err := projectID(ctx, c, cmp.Or(f.Project, s.Project))
		if err != nil {
			return err
		}
		return fn(c, id)
	})
}

// projectID finds a project by its id or its name; "" is the only one there is.
func projectID(ctx context.Context, c *client.Client, wanted string) (string, error) {
	if strings.HasPrefix(wanted, "prj_") {
		return wanted, nil
	}
	all, err := c.Projects(ctx)
	if err != nil {
		return "", err
	}
	var found []client.Project
	for _, q := range all {
		if wanted == "" || strings.EqualFold(q.Name, wanted) {
			found = append(found, q)
		}
	}
	switch {
	case len(found) == 1:
		return found[0].ID, nil
	case wanted != "" && len(found) == 0:
		return "", lh.Errorf(lh.NotFound, "you are in no project called %q; loggerhead project list shows yours", wanted)
	case len(found) == 0:
		return "", lh.Errorf(lh.NotFound, "you are in no project yet; loggerhead project create makes one")
	default:
		return "", lh.Errorf(lh.Invalid, "%d projects could be meant; give one by its id with --project (loggerhead project list)", len(found))
	}
}
