package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// outputFlags say in which form a command answers.
type outputFlags struct {
	Output string `short:"o" help:"table, json or csv." enum:"table,json,csv" default:"table"`
}

// column is one column of a table.
type column[T any] struct {
	name string
	of   func(T) string
}

// show answers with things: as a table for people, as CSV with the same columns, or as a JSON array of all the hub told.
func show[T any](p program, o outputFlags, things []T, columns ...column[T]) error {
	switch o.Output {
	case "json":
		if things == nil {
			things = []T{}
		}
		return showJSON(p, things)
	case "csv":
		w := csv.NewWriter(p.stdout)
		line := make([]string, len(columns))
		for i, c := range columns {
			line[i] = c.name
		}
		if err := w.Write(line); err != nil {
			return err
		}
		for _, t := range things {
			for i, c := range columns {
				line[i] = c.of(t)
			}
			if err := w.Write(line); err != nil {
				return err
			}
		}
		w.Flush()
		return w.Error()
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for i, c := range columns {
		fmt.Fprint(w, strings.ToUpper(strings.ReplaceAll(c.name, "_", " ")), separator(i, len(columns)))
	}
	for _, t := range things {
		for i, c := range columns {
			fmt.Fprint(w, printable(c.of(t)), separator(i, len(columns)))
		}
	}
	return w.Flush()
}

func separator(i, n int) string {
	if i == n-1 {
		return "\n"
	}
	return "\t"
}

// showOne answers with one thing: field by field, or as a JSON object.
func showOne[T any](p program, o outputFlags, thing T, columns ...column[T]) error {
	switch o.Output {
	case "json":
		return showJSON(p, thing)
	case "csv":
		return show(p, o, []T{thing}, columns...)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, c := range columns {
		fmt.Fprintf(w, "%s\t%s\n", strings.ReplaceAll(c.name, "_", " "), printable(c.of(thing)))
	}
	return w.Flush()
}

func showJSON(p program, v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// moment writes a time as RFC 3339 in UTC; "" for 0, which is never.
func moment(ms int64) string {
	if ms == 0 {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.999Z07:00")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// timeFlag is a moment on the command line: RFC 3339, a date or date and time without a zone (then UTC), "now", or how long
// ago, such as 90m, 36h, 7d.
type timeFlag string

// millis reads it.
func (t timeFlag) millis(now time.Time) (int64, error) {
	s := strings.TrimSpace(string(t))
	if s == "now" {
		return now.UnixMilli(), nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err == nil && n >= 0 && n < 1_000_000 {
			return now.AddDate(0, 0, -n).UnixMilli(), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d).UnixMilli(), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UnixMilli(), nil
		}
	}
	return 0, lh.Errorf(lh.Invalid, "%q is no time: give one such as 2026-05-01T12:00:00Z, 2026-05-01, 36h or 7d (ago), or now", s)
}

// rangeFlags are a range of time.
type rangeFlags struct {
	From timeFlag `help:"First instant: RFC 3339, a date (UTC), or how long ago (36h, 7d)." default:"1d" placeholder:"TIME"`
	To   timeFlag `help:"The instant after the last." default:"now" placeholder:"TIME"`
}

func (r rangeFlags) millis() (from, to int64, err error) {
	now := time.Now()
	if from, err = r.From.millis(now); err != nil {
		return 0, 0, err
	}
	if to, err = r.To.millis(now); err != nil {
		return 0, 0, err
	}
	if to < from {
		return 0, 0, lh.Errorf(lh.Invalid, "--to lies before --from")
	}
	return from, to, nil
}
