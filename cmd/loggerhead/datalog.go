package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
)

type datalogCommand struct {
	projectFlags
	outputFlags
	rangeFlags
	Elements  []string `arg:"" help:"Elements, by id or name."`
	Step      string   `help:"Statistics by this step instead of samples: PT15M, PT1H, P1D, P1W, P1M, P1Y." placeholder:"STEP"`
	Functions []string `help:"Which statistics: mean, min, max, sum, first, last, std_dev, time_mean_linear, time_mean_carried, increase, p95 …" default:"mean,min,max"`
	Zone      string   `help:"Where days are cut: an IANA time zone or a fixed offset [the location's, else the project's]."`
	Raw       bool     `help:"What was measured, without corrections and approvals; for statistics."`
}

// Run prints samples as they come, so that a range of years needs no memory.
func (d datalogCommand) Run(ctx context.Context, p program) error {
	from, to, err := d.millis()
	if err != nil {
		return err
	}
	return d.inProject(ctx, p, func(c *client.Client, project string) error {
		elements, err := findElements(ctx, c, project, d.Elements)
		if err != nil {
			return err
		}
		ids := make([]string, len(elements))
		names := map[string]client.Element{}
		for i, e := range elements {
			ids[i], names[e.ID] = e.ID, e
		}
		if d.Step != "" {
			stats, err := c.Statistics(ctx, project, client.StatisticsQuery{Elements: ids, From: from, To: to, Step: d.Step, Zone: d.Zone, Functions: d.Functions, Raw: d.Raw})
			if err != nil {
				return err
			}
			return d.statistics(p, stats, names)
		}
		out := bufio.NewWriterSize(p.stdout, 64<<10)
		put, end := sampleWriter(d.Output, out)
		for s, err := range c.Export(ctx, project, ids, from, to) {
			if err == nil {
				err = put(s, names[s.ElementID])
			}
			if err != nil {
				out.Flush() // what came is printed before the error that says it is not all
				return err
			}
		}
		if err := end(); err != nil {
			return err
		}
		return out.Flush()
	})
}

// sampleWriter writes samples one by one; end comes after the last.
func sampleWriter(format string, out *bufio.Writer) (put func(client.Sample, client.Element) error, end func() error) {
	switch format {
	case "json": // an object a line: an array of years would have to be read as a whole
		j := json.NewEncoder(out)
		return func(s client.Sample, _ client.Element) error {
			return j.Encode(struct {
				ElementID string  `json:"element_id"`
				Time      int64   `json:"time"`
				Value     float64 `json:"value"`
				Flag      int     `json:"flag"`
			}{s.ElementID, s.Time, s.Value, s.Flag})
		}, func() error { return nil }
	case "csv":
		w := csv.NewWriter(out)
		err := w.Write([]string{"time", "element_id", "value", "flag"})
		return func(s client.Sample, _ client.Element) error {
			if err != nil {
				return err
			}
			return w.Write([]string{moment(s.Time), s.ElementID, number(s.Value), strconv.Itoa(s.Flag)})
		}, func() error { w.Flush(); return w.Error() }
	}
	last := ""
	return func(s client.Sample, e client.Element) error {
		if s.ElementID != last {
			last = s.ElementID
			if _, err := fmt.Fprintf(out, "%s  %s  %s\n", e.ID, printable(e.Name), printable(e.Unit)); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(out, "  %-24s  %16s  %s\n", moment(s.Time), number(s.Value), flagWord(s.Flag))
		return err
	}, func() error { return nil }
}

// flagWord is what a QARTOD flag means.
func flagWord(f int) string {
	switch lh.Flag(f) {
	case lh.FlagGood:
		return "good"
	case lh.FlagNotEvaluated:
		return "not evaluated"
	case lh.FlagSuspect:
		return "suspect"
	case lh.FlagBad:
		return "bad"
	case lh.FlagMissing:
		return "missing"
	}
	return strconv.Itoa(f)
}

// statistics prints buckets, an element after the other.
func (d datalogCommand) statistics(p program, all []client.Statistics, names map[string]client.Element) error {
	if d.Output == "json" {
		return showJSON(p, all)
	}
	value := func(b client.Bucket, f string) string {
		if v := b.Values[f]; v != nil {
			return number(*v)
		}
		return ""
	}
	if d.Output == "csv" {
		type line struct {
			element string
			client.Bucket
		}
		var lines []line
		for _, s := range all {
			for _, b := range s.Buckets {
				lines = append(lines, line{s.ElementID, b})
			}
		}
		columns := []column[line]{
			{"from", func(l line) string { return moment(l.From) }},
			{"to", func(l line) string { return moment(l.To) }},
			{"element_id", func(l line) string { return l.element }},
			{"expected", func(l line) string { return strconv.FormatInt(l.Expected, 10) }},
			{"received", func(l line) string { return strconv.FormatInt(l.Received, 10) }},
			{"good", func(l line) string { return strconv.FormatInt(l.Good, 10) }},
			{"flag", func(l line) string { return strconv.Itoa(l.Flag) }},
		}
		for _, f := range d.Functions {
			columns = append(columns, column[line]{f, func(l line) string { return value(l.Bucket, f) }})
		}
		return show(p, d.outputFlags, lines, columns...)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, s := range all {
		e := names[s.ElementID]
		fmt.Fprintf(w, "%s  %s  %s  days in %s\n", e.ID, printable(e.Name), printable(e.Unit), printable(s.Zone))
		fmt.Fprintf(w, "  FROM\t%s\tSAMPLES\n", strings.ToUpper(strings.Join(d.Functions, "\t")))
		for _, b := range s.Buckets {
			fmt.Fprintf(w, "  %s\t", moment(b.From))
			for _, f := range d.Functions {
				fmt.Fprintf(w, "%s\t", value(b, f))
			}
			note := ""
			if b.Incomplete {
				note = " incomplete"
			}
			fmt.Fprintf(w, "%d%s\n", b.Received, note)
		}
	}
	return w.Flush()
}

// findElements finds elements by id or name. A name that several have is refused with their ids.
func findElements(ctx context.Context, c *client.Client, project string, wanted []string) ([]client.Element, error) {
	all, err := c.Elements(ctx, project, "")
	if err != nil {
		return nil, err
	}
	found := make([]client.Element, len(wanted))
	for i, w := range wanted {
		if found[i], err = oneOf("element", w, all, func(e client.Element) string { return e.ID }, func(e client.Element) string { return e.Name }); err != nil {
			return nil, err
		}
	}
	return found, nil
}

type latestCommand struct {
	projectFlags
	outputFlags
}

// newest is an element with its newest sample.
type newest struct {
	client.Latest
	Name string `json:"name"`
	Unit string `json:"unit"`
}

func (l latestCommand) Run(ctx context.Context, p program) error {
	return l.inProject(ctx, p, func(c *client.Client, project string) error {
		elements, err := c.Elements(ctx, project, "")
		if err != nil {
			return err
		}
		latest, err := c.Latest(ctx, project)
		if err != nil {
			return err
		}
		by := map[string]client.Element{}
		for _, e := range elements {
			by[e.ID] = e
		}
		all := make([]newest, len(latest))
		for i, s := range latest {
			all[i] = newest{s, by[s.ElementID].Name, by[s.ElementID].Unit}
		}
		return show(p, l.outputFlags, all,
			column[newest]{"element_id", func(n newest) string { return n.ElementID }},
			column[newest]{"name", func(n newest) string { return n.Name }},
			column[newest]{"time", func(n newest) string { return moment(n.Time) }},
			column[newest]{"value", func(n newest) string { return number(n.Value) }},
			column[newest]{"unit", func(n newest) string { return n.Unit }},
			column[newest]{"flag", func(n newest) string { return flagWord(n.Flag) }})
	})
}
