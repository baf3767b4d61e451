package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/alecthomas/kong"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/server"
)

// version is set by the linker; see the Makefile.
var version string

// commands is the whole command line; each command has its Run beside it.
type commands struct {
	Init      initCommand      `cmd:"" help:"Make an installation: folder, keys, certificate authority, database, configuration."`
	Serve     serveCommand     `cmd:"" help:"Run the hub until it is told to stop (SIGINT or SIGTERM)."`
	Health    healthCommand    `cmd:"" help:"Ask a running hub on this machine whether it is well. Exit status 0 only if it is."`
	User      userCommand      `cmd:"" help:"People's accounts."`
	Inventory inventoryCommand `cmd:"" help:"The installation's inventory: devices that may be claimed."`
	Demo      demoCommand      `cmd:"" help:"Run a hub with three dataloggers to look at, in a folder of its own."`
	Config    configCommand    `cmd:"" help:"The configuration file."`
	OpenAPI   openAPICommand   `cmd:"" name:"openapi" help:"Print the description of the REST API (OpenAPI 3.1, JSON)."`
	Verify    verifyCommand    `cmd:"" help:"Read everything that is stored and say what is damaged. Exit status 0 only if nothing is."`
	Login     loginCommand     `cmd:"" help:"Log in to a hub, by a browser or with a token; the commands below then speak to it." group:"hub"`
	Logout    logoutCommand    `cmd:"" help:"End the session that login began." group:"hub"`
	Whoami    whoamiCommand    `cmd:"" help:"Show who commands speak as." group:"hub"`
	Project   projectCommand   `cmd:"" help:"Projects, and who is in them." group:"hub"`
	Location  locationCommand  `cmd:"" help:"Locations of a project." group:"hub"`
	Device    deviceCommand    `cmd:"" help:"Devices of a project." group:"hub"`
	Element   elementCommand   `cmd:"" help:"Elements of a project." group:"hub"`
	Export    exportCommand    `cmd:"" help:"Exports, which the hub makes in the background." group:"hub"`
	Datalog   datalogCommand   `cmd:"" help:"Print series: samples, or statistics by hour, day, month." group:"hub"`
	Latest    latestCommand    `cmd:"" help:"Print the newest sample of each element." group:"hub"`
	Audit     auditCommand     `cmd:"" help:"The audit trail of a project." group:"hub"`
	Version   versionCommand   `cmd:"" help:"Print the program's version."`
}

// program is what a command has from the process it runs in.
type program struct {
	getenv func(string) string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// command parses args and runs the command they name.
func command(ctx context.Context, args []string, p program) error {
	var cli commands
	ended := false // kong has printed help and wants to end the process
	defaults := server.DefaultConfig()
	k, err := kong.New(&cli, kong.Name("loggerhead"), kong.Description("The open cloud for dataloggers."),
		kong.Writers(p.stdout, p.stderr), kong.Exit(func(int) { ended = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Vars{"database": defaults.Database, "trust_domain": defaults.TrustDomain},
		kong.Resolvers(kong.ResolverFunc(p.resolve)))
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	c, err := k.Parse(args)
	if ended {
		return nil
	}
	if err != nil {
		return lh.Errorf(lh.Invalid, "%v; see loggerhead --help", err)
	}
	c.BindTo(ctx, (*context.Context)(nil))
	c.Bind(p)
	return c.Run()
}

// resolve gives a flag the value of the environment variable that its "var" tag names. kong's own way reads the
// process's environment, which tests do not have to themselves.
func (p program) resolve(_ *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	if name := f.Tag.Get("var"); name != "" {
		if v := p.getenv(name); v != "" {
			return v, nil
		}
	}
	return nil, nil
}

type versionCommand struct{}

func (versionCommand) Run(p program) error {
	_, err := fmt.Fprintln(p.stdout, "loggerhead", versionOf())
	return err
}

// versionOf is the version that was linked in, else what Go knows of the build.
func versionOf() string {
	if version != "" {
		return version
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "unknown"
}
