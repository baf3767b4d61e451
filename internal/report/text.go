package report

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// csvWriter writes CSV by RFC 4180: commas, lines that end in CR LF, quotes where they are needed; UTF-8 without a mark
// at its beginning, which scripts would read as a part of the first title.
type csvWriter struct {
	to       io.Writer
	columns  []column
	zone     *time.Location
	consibio bool
	line     []byte
}

func newCSV(to io.Writer, l *layout) (*csvWriter, error) {
	w := &csvWriter{to: to, columns: l.columns, zone: l.zone, consibio: l.request.Layout == lh.ExportConsibio}
	for i, c := range l.columns {
		title := c.title
		if w.consibio && i == 0 {
			title = "Date"
		}
		w.text(i, title)
	}
	return w, w.end()
}

// text writes a text of people. A spreadsheet takes what begins with =, +, -, @ or a tab for a formula: that gets an
// apostrophe before it, which spreadsheets do not show.
func (w *csvWriter) text(i int, s string) {
	if i > 0 {
		w.line = append(w.line, ',')
	}
	if s != "" && strings.IndexByte("=+-@\t\r", s[0]) >= 0 {
		s = "'" + s
	}
	if !strings.ContainsAny(s, "\",\r\n") && strings.TrimSpace(s) == s {
		w.line = append(w.line, s...)
		return
	}
	w.line = append(append(append(w.line, '"'), strings.ReplaceAll(s, `"`, `""`)...), '"')
}

func (w *csvWriter) end() error {
	w.line = append(w.line, '\r', '\n')
	_, err := w.to.Write(w.line)
	w.line = w.line[:0]
	return err
}

func (w *csvWriter) row(row []cell) error {
	for i, c := range row {
		if w.columns[i].kind == kindText {
			w.text(i, c.text)
			continue
		}
		if i > 0 {
			w.line = append(w.line, ',')
		}
		switch {
		case !c.ok:
		case w.columns[i].kind == kindNumber:
			w.line = appendNumber(w.line, c.number)
		case w.columns[i].kind == kindInt:
			w.line = strconv.AppendInt(w.line, c.whole, 10)
		case w.consibio:
			w.line = c.millis().Time().In(w.zone).AppendFormat(w.line, "02/01-06 15:04:05")
		default:
			w.line = appendTime(w.line, c.millis(), w.zone)
		}
	}
	return w.end()
}

func (w *csvWriter) close() error { return nil }

// ndjsonWriter writes a JSON object a line; what has no value has no key.
type ndjsonWriter struct {
	to      io.Writer
	columns []column
	keys    [][]byte // as JSON
	zone    *time.Location
	line    []byte
}

func newNDJSON(to io.Writer, l *layout) (*ndjsonWriter, error) {
	w := &ndjsonWriter{to: to, columns: l.columns, zone: l.zone, keys: make([][]byte, len(l.columns))}
	for i, c := range l.columns {
		b, err := json.Marshal(c.key)
		if err != nil {
			return nil, err
		}
		w.keys[i] = append(b, ':')
	}
	return w, nil
}

func (w *ndjsonWriter) row(row []cell) error {
	b := append(w.line[:0], '{')
	for i, c := range row {
		if !c.ok {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(b, w.keys[i]...)
		switch w.columns[i].kind {
		case kindTime:
			b = append(appendTime(append(b, '"'), c.millis(), w.zone), '"')
		case kindText:
			t, err := json.Marshal(c.text)
			if err != nil {
				return err
			}
			b = append(b, t...)
		case kindNumber:
			b = appendNumber(b, c.number)
		default:
			b = strconv.AppendInt(b, c.whole, 10)
		}
	}
	w.line = append(b, '}', '\n')
	_, err := w.to.Write(w.line)
	return err
}

func (w *ndjsonWriter) close() error { return nil }
