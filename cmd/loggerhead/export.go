package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/term"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
)

type exportCommand struct {
	Create   exportCreateCommand   `cmd:"" help:"Have an export made, wait for it and save it."`
	List     exportListCommand     `cmd:"" help:"List the exports."`
	Download exportDownloadCommand `cmd:"" help:"Save an export that is ready, or wait for it."`
	Remove   exportRemoveCommand   `cmd:"" help:"Cancel or remove an export."`
}

var exportColumns = []column[client.Export]{
	{"id", func(e client.Export) string { return e.ID }},
	{"state", func(e client.Export) string { return e.State }},
	{"progress", func(e client.Export) string {
		if e.Progress == nil {
			return ""
		}
		return strconv.Itoa(int(*e.Progress*100)) + "%"
	}},
	{"size", func(e client.Export) string { return strconv.FormatInt(e.Size, 10) }},
	{"name", func(e client.Export) string { return e.Name }},
	{"created", func(e client.Export) string { return moment(e.Created) }},
	{"expires", func(e client.Export) string { return moment(e.Expires) }},
	{"reason", func(e client.Export) string { return e.Reason }},
}

type exportCreateCommand struct {
	projectFlags
	outputFlags
	rangeFlags
	Elements  []string `arg:"" optional:"" help:"Elements, by id or name; none is all of them."`
	Whole     bool     `help:"The whole project instead: every series, what describes it, corrections, approvals and the audit trail, as a ZIP."`
	Location  string   `help:"Only the elements of this location, by id or name."`
	Format    string   `help:"csv, ndjson, xlsx or parquet." enum:"csv,ndjson,xlsx,parquet" default:"csv"`
	Layout    string   `help:"wide, long or consibio." enum:"wide,long,consibio" default:"wide"`
	Zone      string   `help:"In which times are written and days are cut [the project's]."`
	Step      string   `help:"Statistics by this step instead of samples, such as PT1H or P1D." placeholder:"STEP"`
	Functions []string `help:"Which statistics."`
	Raw       bool     `help:"What was measured, without corrections and approvals."`
	Flags     bool     `help:"With the quality of each sample."`
	File      string   `short:"f" help:"Where to save it; - is standard output [its name, here]." placeholder:"FILE"`
	NoWait    bool     `help:"Only ask for it; loggerhead export download saves it later."`
}

func (x exportCreateCommand) Run(ctx context.Context, p program) error {
	from, to, err := x.millis()
	if err != nil {
		return err
	}
	return x.inProject(ctx, p, func(c *client.Client, project string) error {
		r := client.ExportRequest{Kind: "project"}
		if !x.Whole {
			r = client.ExportRequest{Kind: "series", From: from, To: to, Zone: x.Zone, Format: x.Format, Layout: x.Layout, Raw: x.Raw, Step: x.Step, Functions: x.Functions, Flags: x.Flags}
			if len(x.Elements) > 0 {
				es, err := findElements(ctx, c, project, x.Elements)
				if err != nil {
					return err
				}
				for _, e := range es {
					r.Elements = append(r.Elements, e.ID)
				}
			}
			if x.Location != "" {
				var err error
				if r.LocationID, err = locationID(ctx, c, project, x.Location); err != nil {
					return err
				}
			}
		}
		e, err := c.CreateExport(ctx, project, r)
		if err != nil {
			return err
		}
		if x.NoWait {
			return showOne(p, x.outputFlags, e, exportColumns...)
		}
		return saveExport(ctx, p, c, project, e, x.File)
	})
}

type exportListCommand struct {
	projectFlags
	outputFlags
}

func (l exportListCommand) Run(ctx context.Context, p program) error {
	return l.inProject(ctx, p, func(c *client.Client, project string) error {
		all, err := c.Exports(ctx, project)
		if err != nil {
			return err
		}
		return show(p, l.outputFlags, all, exportColumns...)
	})
}

type exportDownloadCommand struct {
	projectFlags
	Export string `arg:"" help:"The export, by id."`
	File   string `short:"f" help:"Where to save it; - is standard output [its name, here]." placeholder:"FILE"`
}

func (d exportDownloadCommand) Run(ctx context.Context, p program) error {
	return d.inProject(ctx, p, func(c *client.Client, project string) error {
		e, err := c.GetExport(ctx, project, d.Export)
		if err != nil {
			return err
		}
		return saveExport(ctx, p, c, project, e, d.File)
	})
}

type exportRemoveCommand struct {
	projectFlags
	Export string `arg:"" help:"The export, by id."`
}

func (r exportRemoveCommand) Run(ctx context.Context, p program) error {
	return r.inProject(ctx, p, func(c *client.Client, project string) error { return c.RemoveExport(ctx, project, r.Export) })
}

// saveExport waits until an export is ready, showing how far it is, and saves its file. A file that is there is not
// written over, and half a file does not stay.
func saveExport(ctx context.Context, p program, c *client.Client, project string, e client.Export, to string) error {
	bar := newBar(p.stderr)
	for e.State == "waiting" || e.State == "running" {
		bar.show(e.State, e.Progress)
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			bar.clear()
			return fmt.Errorf("the export goes on; loggerhead export download %s saves it: %w", e.ID, ctx.Err())
		}
		var err error
		if e, err = c.GetExport(ctx, project, e.ID); err != nil {
			bar.clear()
			return err
		}
	}
	bar.clear()
	if e.State != "ready" {
		return lh.Errorf(lh.Conflict, "the export has failed: %s", printable(e.Reason))
	}
	if to == "-" {
		_, err := c.ExportFile(ctx, project, e.ID, p.stdout)
		return err
	}
	if to == "" {
		if to = e.Name; to != printable(to) || strings.ContainsAny(to, `/\`) || strings.HasPrefix(to, ".") || to == "" {
			return lh.Errorf(lh.Invalid, "the hub names the file %q, which is not safe; say with --file where to save it", to)
		}
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return lh.Errorf(lh.Conflict, "%s is there already; say with --file where to save it (loggerhead export download %s)", to, e.ID)
	}
	if err != nil {
		return err
	}
	n, err := c.ExportFile(ctx, project, e.ID, f)
	err = errors.Join(err, f.Close())
	if err != nil {
		return errors.Join(err, os.Remove(to))
	}
	fmt.Fprintf(p.stderr, "%s: %d samples, %d bytes\n", to, e.Samples, n)
	return nil
}

// bar shows progress on a terminal, and nothing where there is none.
type bar struct {
	w  io.Writer
	on bool
}

func newBar(w io.Writer) *bar {
	f, ok := w.(*os.File)
	return &bar{w, ok && term.IsTerminal(int(f.Fd()))}
}

func (b *bar) show(word string, part *float64) {
	if !b.on {
		return
	}
	const width = 30
	if part == nil {
		fmt.Fprintf(b.w, "\r\x1b[K%s …", word)
		return
	}
	n := int(*part * width)
	fmt.Fprintf(b.w, "\r\x1b[K[%s%s] %3.0f%%", strings.Repeat("#", n), strings.Repeat(".", width-n), *part*100)
}

func (b *bar) clear() {
	if b.on {
		fmt.Fprint(b.w, "\r\x1b[K")
	}
}
