package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/alecthomas/kong"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/agent"
)

// commands are what the program can be told.
type commands struct {
	Run    runCommand    `cmd:"" help:"Sample, keep and upload until told to stop; enrols first when needed."`
	Enrol  enrolCommand  `cmd:"" help:"Get a certificate for the claim code, and say the device's id."`
	Log    logCommand    `cmd:"" help:"Print the datalogger's own log; no agent may be running on it."`
	Status statusCommand `cmd:"" help:"Print the status that the running agent wrote last."`
	Config struct {
		Example exampleCommand `cmd:"" help:"Print a commented configuration."`
		Check   checkCommand   `cmd:"" help:"Read a configuration and say what is wrong with it."`
	} `cmd:"" help:"About the configuration."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

// environment is what a command works in.
type environment struct {
	ctx            context.Context
	stdout, stderr io.Writer
}

type withConfig struct {
	Config string `help:"Configuration file." default:"loggerhead-agent.yaml"`
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c commands
	status, exited := 0, false
	parser, err := kong.New(&c, kong.Name("loggerhead-agent"), kong.Description("The program of a Loggerhead datalogger."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { status, exited = code, true }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintln(stderr, "loggerhead-agent:", err)
		return 1
	}
	k, err := parser.Parse(args)
	if exited {
		return status
	}
	if err != nil {
		fmt.Fprintf(stderr, "loggerhead-agent: %v; see loggerhead-agent --help\n", err)
		return lh.Invalid.ExitStatus()
	}
	if err := k.Run(environment{ctx, stdout, stderr}); err != nil {
		fmt.Fprintln(stderr, "loggerhead-agent:", err)
		return lh.CodeOf(err).ExitStatus()
	}
	return 0
}

type runCommand struct{ withConfig }

func (c *runCommand) Run(e environment) error {
	cfg, err := agent.LoadConfig(c.Config)
	if err != nil {
		return err
	}
	a, err := agent.New(agent.Options{Config: cfg, Version: versionOf(), Log: cfg.Log.Logger(e.stderr)})
	if err != nil {
		return err
	}
	return a.Run(e.ctx)
}

type enrolCommand struct{ withConfig }

func (c *enrolCommand) Run(e environment) error {
	cfg, err := agent.LoadConfig(c.Config)
	if err != nil {
		return err
	}
	id, err := agent.Enrol(e.ctx, agent.Options{Config: cfg, Version: versionOf(), Log: cfg.Log.Logger(e.stderr)})
	if err == nil {
		fmt.Fprintln(e.stdout, id)
	}
	return err
}

type logCommand struct {
	withConfig
	Unacked bool `help:"Only what the hub does not have yet."`
}

func (c *logCommand) Run(e environment) error {
	cfg, err := agent.LoadConfig(c.Config)
	if err != nil {
		return err
	}
	return agent.PrintLog(e.stdout, cfg, c.Unacked)
}

type statusCommand struct {
	withConfig
	JSON bool `help:"As JSON." name:"json"`
}

func (c *statusCommand) Run(e environment) error {
	cfg, err := agent.LoadConfig(c.Config)
	if err != nil {
		return err
	}
	return agent.PrintStatus(e.stdout, cfg, c.JSON)
}

type exampleCommand struct{}

func (exampleCommand) Run(e environment) error {
	s, err := agent.Example()
	if err == nil {
		_, err = io.WriteString(e.stdout, s)
	}
	return err
}

type checkCommand struct{ withConfig }

func (c *checkCommand) Run(e environment) error {
	_, err := agent.LoadConfig(c.Config)
	return err
}

type versionCommand struct{}

func (versionCommand) Run(e environment) error {
	_, err := fmt.Fprintln(e.stdout, "loggerhead-agent", versionOf())
	return err
}

// version is set by the linker; see the Makefile.
var version string

// versionOf is the version that was linked in, else what the go command knows of the build.
func versionOf() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
