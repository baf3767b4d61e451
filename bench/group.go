package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are what the command line says.
type options struct {
	only     string
	hub      string
	database string
	small    bool
	keep     bool
	profiles string
}

// group is a set of figures that share their set-up. A new one is a line in groups and a file of its own.
type group struct {
	name string
	most time.Duration // after which it is cut off
	run  func(context.Context, *bench) error
}

func groups() []group {
	return []group{
		{"spine", 10 * time.Minute, runSpine},
		{"series", 8 * time.Minute, runSeries},
		{"api", 5 * time.Minute, runAPI},
	}
}

func groupNames() string {
	var names []string
	for _, g := range groups() {
		names = append(names, g.name)
	}
	return strings.Join(names, ", ")
}

func chooseGroups(names string) ([]group, error) {
	if names == "all" {
		return groups(), nil
	}
	var chosen []group
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(groups(), func(g group) bool { return g.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no group %q; there are %s", name, groupNames())
		}
		chosen = append(chosen, groups()[i])
	}
	return chosen, nil
}

// bench is one group's run: a folder of its own, which goes when it ends.
type bench struct {
	options
	dir      string
	out, err io.Writer
	start    time.Time
}

func runGroup(ctx context.Context, g group, o options, stdout, stderr io.Writer) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, g.most, fmt.Errorf("not finished within %s", g.most))
	defer cancel()
	b := &bench{options: o, out: stdout, err: stderr, start: time.Now()}
	if b.dir, err = os.MkdirTemp("", "loggerhead-bench-"); err != nil {
		return err
	}
	defer func() {
		if b.keep {
			b.say("kept: %s", b.dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(b.dir))
	}()
	err = g.run(ctx, b)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	return err
}

// say tells progress.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.err, "%7.1fs  %s\n", time.Since(b.start).Seconds(), fmt.Sprintf(format, args...))
}

// metric tells a figure.
func (b *bench) metric(name string, value float64, unit string) {
	fmt.Fprintf(b.out, "metric=%s value=%s unit=%s\n", name, figure(value), unit)
}

// figure writes a number with about three digits that mean something, never with an exponent.
func figure(v float64) string {
	switch a := max(v, -v); {
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}

// wants reports whether a step is to be run.
func (b *bench) wants(step string) bool {
	return b.only == "" || slices.Contains(strings.Split(b.only, ","), step)
}
