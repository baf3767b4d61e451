// Command bench measures a hub the way its users meet it: a real `loggerhead serve` in a process of its own, devices
// with real certificates over mutual TLS 1.3, people over the REST API. docs/bench.md explains every figure.
//
//	go run ./bench -group spine
//
// Figures go to standard output, one a line: metric=<name> value=<number> unit=<unit>. Everything else goes to
// standard error. The exit status is 0 only if every figure was measured and everything acknowledged was found again.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures what args ask for.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	names := f.String("group", "all", "groups to run, by commas: all, "+groupNames())
	f.StringVar(&o.only, "only", "", "run these steps of the group alone, by commas (the set-up always runs)")
	f.StringVar(&o.hub, "hub", "", "loggerhead binary to measure; built from this tree when empty")
	f.StringVar(&o.database, "database", "", "postgres:// URL of an empty database; an encrypted SQLite file when empty")
	f.BoolVar(&o.small, "small", false, "tiny sizes, to see that everything works; the figures then mean nothing")
	f.BoolVar(&o.keep, "keep", false, "leave the data folder and say where it is")
	f.StringVar(&o.profiles, "profiles", "", "folder for CPU and heap profiles of the hub under load")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	chosen, err := chooseGroups(*names)
	if err != nil {
		return err
	}
	for _, g := range chosen {
		if err := runGroup(ctx, g, o, stdout, stderr); err != nil {
			return fmt.Errorf("group %s: %w", g.name, err)
		}
	}
	return nil
}
