package demo

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/fleet"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
	"github.com/loggerhead-cloud/loggerhead/internal/server"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

const rootFile = server.RootFile

// hub is the hub running in this process.
type hub struct {
	addrs  server.Addrs
	url    string // for people
	roots  string // file
	since  time.Time
	cancel context.CancelFunc
	ended  chan struct{} // closed when it has ended
	err    error         // why; read after ended
	log    *os.File
}

// initHub makes the installation, or opens it, and returns its configuration with the ports of this run.
func (d *demo) initHub(ctx context.Context) (server.Config, error) {
	c := server.DefaultConfig()
	c.Data = filepath.Join(d.dir, hubDir)
	c.TrustDomain = "demo.loggerhead.internal"
	d.listen(&c)
	if _, err := server.Init(ctx, c, time.Now()); err != nil {
		return c, fmt.Errorf("make the installation: %w", err)
	}
	c, err := server.LoadConfig(filepath.Join(c.Data, server.ConfigFile))
	d.listen(&c)
	return c, err
}

func (d *demo) listen(c *server.Config) {
	p := d.o.Ports
	c.People.Listen, c.MQTT.Listen = address(p.People), address(p.MQTT)
	c.Devices.Listen, c.Private.Listen = address(p.Devices), address(p.Private)
}

// prepare does what an operator does before the hub is started: accounts, and dataloggers into the inventory.
func (d *demo) prepare(ctx context.Context, c server.Config) (err error) {
	master, err := seal.LoadMaster(c.MasterKey)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	db, err := store.Open(ctx, store.Options{URL: c.Database, Master: master, Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var fresh bool
	if d.logins, fresh, err = loadLogins(d.dir); err != nil {
		return err
	}
	accounts := access.New(access.Options{DB: db, Log: log})
	for _, l := range d.logins {
		_, err := accounts.CreateUser(ctx, lh.User{Email: l.email, Name: l.name}, l.password)
		if lh.CodeOf(err) == lh.Conflict {
			if err = nil; fresh { // the file with the passwords was lost
				err = accounts.SetPassword(ctx, l.email, l.password)
			}
		}
		if err != nil {
			return fmt.Errorf("make the account of %s: %w", l.email, err)
		}
	}
	inventory := fleet.New(fleet.Options{DB: db, Log: log})
	for _, l := range d.loggers {
		it, err := db.Inventory(ctx, l.serial)
		if err != nil && lh.CodeOf(err) != lh.NotFound {
			return err
		}
		if err == nil && !l.needsCode(it, time.Now()) {
			continue
		}
		// The old code's file goes first: a code in the file is always the one the hub knows, or there is none.
		if err := l.forgetCode(); err != nil {
			return err
		}
		code, err := inventory.List(ctx, l.serial, l.hardware)
		if err != nil {
			return fmt.Errorf("list %s: %w", l.serial, err)
		}
		if err := l.keepCode(code); err != nil {
			return err
		}
	}
	return nil
}

// startHub starts the hub and logs the owner in.
func startHub(ctx context.Context, c server.Config, d *demo) (h *hub, err error) {
	h = &hub{ended: make(chan struct{}), roots: filepath.Join(c.Data, rootFile)}
	if h.log, err = d.openLog(hubLog); err != nil {
		return nil, err
	}
	path := h.log.Name()
	log := slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: c.Log.Level}))
	s, err := server.New(ctx, c, server.Deps{Web: d.o.Web, Version: d.o.Version, Log: log})
	if err != nil {
		return nil, errors.Join(err, h.log.Close())
	}
	h.addrs, h.since = s.Addrs(), time.Now()
	_, port, err := net.SplitHostPort(h.addrs.People)
	h.url = "https://localhost:" + port
	// The hub outlives ctx: the dataloggers stop first.
	run, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	go func() {
		h.err = s.Run(run)
		close(h.ended)
		d.failed <- fmt.Errorf("the hub stopped (%v); its log is %s", h.err, path)
	}()
	if err == nil {
		d.api, err = h.logIn(ctx, d.logins[0])
	}
	if err != nil {
		return nil, errors.Join(err, h.stop())
	}
	return h, nil
}

// logIn returns a client that acts for l. It believes the installation's root and no other.
func (h *hub) logIn(ctx context.Context, l login) (*client.Client, error) {
	pem, err := os.ReadFile(h.roots)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", h.roots)
	}
	c, err := client.New("https://"+h.addrs.People, client.Options{Roots: roots})
	if err != nil {
		return nil, err
	}
	if _, err := c.LogIn(ctx, l.email, l.password); err != nil {
		return nil, fmt.Errorf("log in as %s: %w", l.email, err)
	}
	return c, nil
}

// stop ends the hub and returns what went wrong in it or while it ended. A second stop returns nothing.
func (h *hub) stop() error {
	if h.log == nil {
		return nil
	}
	h.cancel()
	select {
	case <-h.ended:
	case <-time.After(hubTime):
		return fmt.Errorf("the hub did not stop in %s", hubTime)
	}
	err := errors.Join(h.err, h.log.Close())
	h.log = nil
	if err != nil {
		return fmt.Errorf("stop the hub: %w", err)
	}
	return nil
}
