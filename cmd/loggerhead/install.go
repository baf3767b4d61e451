package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
	"github.com/loggerhead-cloud/loggerhead/internal/server"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/web"
)

type initCommand struct {
	Data        string   `arg:"" optional:"" default:"." help:"The installation's folder. It is made where there is none." type:"path"`
	Database    string   `help:"The database: sqlite: and a file in the folder, or postgres://user@host/name?sslmode=verify-full." default:"${database}"`
	TrustDomain string   `help:"The installation's name in device identities; it can never be changed." default:"${trust_domain}"`
	Hosts       []string `name:"host" help:"A name or address by which devices and people reach the hub; repeat it for more [localhost,127.0.0.1]." placeholder:"NAME"`
}

func (i initCommand) Run(ctx context.Context, p program) error {
	if err := pki.CheckTrustDomain(i.TrustDomain); err != nil {
		return &lh.Error{Code: lh.Invalid, Message: err.Error()}
	}
	c := server.DefaultConfig()
	c.Data, c.Database, c.TrustDomain = i.Data, i.Database, i.TrustDomain
	if len(i.Hosts) > 0 {
		c.Hosts = i.Hosts
	}
	keep, err := server.Init(ctx, c, time.Now())
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "The installation is in %s. Look through %s there, then run:\n\n  loggerhead user add --operator you@example.org\n  loggerhead serve\n\nKeep a copy of these offline, now; whoever has them has the installation:\n\n", i.Data, server.ConfigFile)
	for _, f := range keep {
		why := "opens all data; without it, all of it is lost"
		if f != c.MasterKey && len(keep) > 1 && f == keep[len(keep)-1] {
			why = "makes new certificate authorities; the hub never needs it: move it away, leave no copy here"
		}
		fmt.Fprintf(p.stdout, "  %s\n      %s\n", f, why)
	}
	return nil
}

type configPath struct {
	Config string `short:"c" help:"The hub's configuration file ($$LOGGERHEAD_CONFIG)." default:"loggerhead.yaml" type:"path" var:"LOGGERHEAD_CONFIG"`
}

// load reads the configuration. What is wrong with it is the operator's to change, so it is Invalid or NotFound.
func (c configPath) load() (server.Config, error) {
	cfg, err := server.LoadConfig(c.Config)
	if err == nil || lh.CodeOf(err) != lh.Internal {
		return cfg, err
	}
	code := lh.Invalid
	if errors.Is(err, fs.ErrNotExist) {
		code = lh.NotFound
	}
	return cfg, &lh.Error{Code: code, Message: err.Error()}
}

// database opens the installation's database for one of the operator's commands. It may be in use by a running hub.
func (c configPath) database(ctx context.Context, log *slog.Logger) (*store.DB, error) {
	cfg, err := c.load()
	if err != nil {
		return nil, err
	}
	master, err := seal.LoadMaster(cfg.MasterKey)
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, store.Options{URL: cfg.Database, Master: master, Log: log})
}

type serveCommand struct{ configPath }

func (s serveCommand) Run(ctx context.Context, p program) error {
	c, err := s.load()
	if err != nil {
		return err
	}
	hub, err := server.New(ctx, c, server.Deps{Web: web.Files(), Version: versionOf(), Log: c.Log.Logger(p.stderr)})
	if err != nil {
		return err
	}
	return hub.Run(ctx)
}

type configCommand struct {
	Example configExampleCommand `cmd:"" help:"Print a configuration with every setting, its meaning and its default."`
}

type configExampleCommand struct{}

func (configExampleCommand) Run(p program) error {
	text, err := server.DefaultConfig().Example()
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(p.stdout, text)
	return err
}

type openAPICommand struct{}

// apiVersion is the version of the API's description; the one a hub serves carries the program's version instead.
const apiVersion = "1"

func (openAPICommand) Run(p program) error {
	b, err := api.New(api.Config{Version: apiVersion, Log: slog.New(slog.DiscardHandler)}).OpenAPI()
	if err != nil {
		return err
	}
	_, err = p.stdout.Write(b)
	return err
}
