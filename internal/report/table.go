package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
)

// kind is what a column holds.
type kind uint8

const (
	kindTime kind = iota
	kindText
	kindNumber
	kindInt
)

// column is a column of a table, whatever format it is written in.
type column struct {
	kind  kind
	key   string // for programs: time, value, or an element's id
	title string // for people
	unit  string // UCUM code
}

// cell is a value of its column's kind; ok is false where there is none.
type cell struct {
	ok     bool
	number float64
	whole  int64 // also of times, in milliseconds
	text   string
}

func timeCell(t lh.Millis) cell  { return cell{ok: true, whole: int64(t)} }
func textCell(s string) cell     { return cell{ok: true, text: s} }
func intCell(n int64) cell       { return cell{ok: true, whole: n} }
func flagCell(f lh.Flag) cell    { return cell{ok: true, whole: int64(f)} }
func numberCell(v float64) cell  { return cell{ok: v-v == 0, number: v} } // neither NaN nor Inf
func (c cell) millis() lh.Millis { return lh.Millis(c.whole) }

// writer writes rows in one format. Its rows have a cell for each column; it must not keep them.
type writer interface {
	row([]cell) error
	close() error // writes what is still to be written; the file is whole after it
}

// layout makes the columns of a request: for each sample a row (long), or for each time (wide).
type layout struct {
	request   lh.ExportRequest
	elements  []lh.Element
	functions []calc.Function // none is every sample
	columns   []column
	zone      *time.Location
}

func newLayout(q lh.ExportRequest, elements []lh.Element) (*layout, calc.Options, error) {
	l := &layout{request: q, elements: elements}
	var o calc.Options
	var err error
	if l.zone, err = calc.ParseZone(q.Zone); err != nil {
		return nil, o, err
	}
	if q.Step != "" {
		if l.functions, o, err = calc.ParseFunctions(q.Functions); err != nil {
			return nil, o, err
		}
	}
	l.columns = []column{{kind: kindTime, key: "time", title: "time"}}
	if q.Layout == lh.ExportLong {
		l.columns = append(l.columns, column{kind: kindText, key: "element_id", title: "element_id"}, column{kind: kindText, key: "name", title: "name"},
			column{kind: kindText, key: "unit", title: "unit"})
		for _, f := range l.values() {
			l.columns = append(l.columns, column{kind: kindNumber, key: f, title: f})
		}
		if l.functions != nil {
			for _, n := range []string{"expected", "received", "good"} {
				l.columns = append(l.columns, column{kind: kindInt, key: n, title: n})
			}
		}
		if q.Flags {
			l.columns = append(l.columns, column{kind: kindInt, key: "flag", title: "flag"})
		}
		return l, o, nil
	}
	named := map[string]int{}
	for i := range elements {
		named[titleOf(&elements[i])]++
	}
	for i := range elements {
		e := &elements[i]
		title := titleOf(e)
		switch {
		case q.Layout == lh.ExportConsibio:
			title = e.Name
		case named[title] > 1: // two elements of one name are told apart
			title += " " + string(e.ID)
		}
		for _, f := range l.values() {
			c := column{kind: kindNumber, key: string(e.ID), title: title, unit: e.Unit}
			if l.functions != nil {
				c.key, c.title = c.key+"."+f, title+" "+f
			}
			l.columns = append(l.columns, c)
		}
		if q.Flags {
			l.columns = append(l.columns, column{kind: kindInt, key: string(e.ID) + ".flag", title: title + " flag"})
		}
	}
	return l, o, nil
}

// titleOf is an element's name with its unit.
func titleOf(e *lh.Element) string {
	if unit := calc.UnitText(e.Unit); unit != "" {
		return e.Name + " [" + unit + "]"
	}
	return e.Name
}

// values are the names of the numbers a sample or bucket has.
func (l *layout) values() []string {
	if l.functions == nil {
		return []string{"value"}
	}
	names := make([]string, len(l.functions))
	for i, f := range l.functions {
		names[i] = f.Name
	}
	return names
}

// width is how many columns an element has in a wide table.
func (l *layout) width() int {
	n := len(l.values())
	if l.request.Flags {
		n++
	}
	return n
}

// long fills a row of a long table.
func (l *layout) long(row []cell, e *lh.Element, p *point) {
	n := 0
	put := func(c cell) { row[n] = c; n++ }
	put(timeCell(p.at))
	put(textCell(string(e.ID)))
	put(textCell(e.Name))
	put(textCell(e.Unit))
	for _, v := range p.values {
		put(numberCell(v))
	}
	if l.functions != nil {
		put(intCell(p.expected))
		put(intCell(p.received))
		put(intCell(p.good))
	}
	if l.request.Flags {
		put(flagCell(p.flag))
	}
}

// wide fills an element's cells of a row of a wide table.
func (l *layout) wide(row []cell, element int, p *point) {
	row = row[1+element*l.width():]
	for i, v := range p.values {
		row[i] = numberCell(v)
	}
	if l.request.Flags {
		row[len(p.values)] = flagCell(p.flag)
	}
}

// appendTime writes an instant by ISO 8601 as a clock in the zone shows it, with its distance from UTC.
func appendTime(b []byte, t lh.Millis, zone *time.Location) []byte {
	return t.Time().In(zone).AppendFormat(b, "2006-01-02T15:04:05.000Z07:00")
}

// appendNumber writes the shortest decimals that read back as v.
func appendNumber(b []byte, v float64) []byte {
	format := byte('f')
	if abs := max(v, -v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(b, v, format, -1, 64)
}

// fileName makes a name that every system takes.
func fileName(project string, q lh.ExportRequest) string {
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, project)
	for strings.Contains(plain, "--") {
		plain = strings.ReplaceAll(plain, "--", "-")
	}
	plain = strings.Trim(plain[:min(len(plain), 60)], "-")
	if plain == "" {
		plain = "export"
	}
	if q.Kind == lh.ExportProject {
		return plain + ".zip"
	}
	day := func(t lh.Millis) string { return t.Time().Format("2006-01-02") }
	return fmt.Sprintf("%s-%s-%s.%s", plain, day(q.From), day(q.To), q.Format)
}
