package sensor

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"time"
	_ "time/tzdata" // small devices have no zones of their own
	"unicode/utf8"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/durable"
)

// Bounds of a CSV file.
const (
	maxFile    = 64 << 20
	maxRows    = 10_000 // of one instant
	maxColumns = 2000
	maxField   = 4 << 10
)

// cell is one value of a file, as text.
type cell struct {
	line                     int
	match, value, unit, flag string
}

// instant is what stands together under one time.
type instant struct {
	time   lh.Millis
	timed  bool // false: the rows have no time that can be read, only faults
	cells  []cell
	faults []error
	end    int64 // where the file goes on
}

// table reads a CSV file instant by instant.
type table struct {
	c    *CSV
	f    *os.File
	size int64
	zone *time.Location

	r      *csv.Reader
	base   int64          // where r began
	lines  int            // of the file before that
	column map[string]int // of the header

	row     []string // read, and of the next instant
	rowEnd  int64
	rowLine int
	rowTime lh.Millis
	rowErr  error
	ahead   bool
}

func openTable(c *CSV, path string) (t *table, err error) {
	zone, err := parseZone(c.Zone)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxFile {
		return nil, lh.Errorf(lh.Invalid, "%s is no plain file of at most %d bytes", path, maxFile)
	}
	t = &table{c: c, f: f, size: st.Size(), zone: zone, column: map[string]int{}}
	if err := t.begin(0); err != nil {
		return nil, err
	}
	header, err := t.r.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: read its header: %w", path, err)
	}
	if len(header) > maxColumns {
		return nil, lh.Errorf(lh.Invalid, "%s has %d columns; at most %d are possible", path, len(header), maxColumns)
	}
	for i, name := range header {
		name = strings.TrimSpace(name)
		if i == 0 {
			name = strings.TrimPrefix(name, "\ufeff")
		}
		if _, twice := t.column[name]; !twice {
			t.column[name] = i
		}
	}
	return t, t.checkColumns(path)
}

// checkColumns refuses a configuration that names a column the file does not have.
func (t *table) checkColumns(path string) error {
	need := append([]string{t.c.Time}, t.c.Key...)
	for _, n := range []string{t.c.Value, t.c.Unit, t.c.Flag} {
		if n != "" {
			need = append(need, n)
		}
	}
	if t.c.Value == "" {
		for i := range t.c.Channels {
			need = append(need, t.c.Channels[i].Match)
		}
	}
	for _, n := range need {
		if _, ok := t.column[n]; !ok {
			return lh.Errorf(lh.Invalid, "%s has no column %q", path, n)
		}
	}
	return nil
}

// parseZone reads an IANA name or an offset.
func parseZone(name string) (*time.Location, error) {
	switch {
	case name == "" || name == "UTC":
		return time.UTC, nil
	case strings.HasPrefix(name, "+") || strings.HasPrefix(name, "-"):
		t, err := time.Parse("-07:00", name)
		if err != nil {
			return nil, lh.Errorf(lh.Invalid, "zone: an offset is like -05:00, not %q", name)
		}
		return t.Location(), nil
	case name == "Local":
		return nil, lh.Errorf(lh.Invalid, "zone: name it; where this runs says nothing of the file")
	}
	z, err := time.LoadLocation(name)
	if err != nil {
		return nil, lh.Errorf(lh.Invalid, "zone: there is no zone %q", name)
	}
	return z, nil
}

// begin makes a reader that begins at a place in the file.
func (t *table) begin(at int64) error {
	if _, err := t.f.Seek(at, io.SeekStart); err != nil {
		return err
	}
	comma := ','
	if t.c.Delimiter != "" {
		r, n := utf8.DecodeRuneInString(t.c.Delimiter)
		if n != len(t.c.Delimiter) || r == utf8.RuneError || r == '"' || r == '\r' || r == '\n' {
			return lh.Errorf(lh.Invalid, "delimiter: it is one character, not %q", t.c.Delimiter)
		}
		comma = r
	}
	t.r = csv.NewReader(bufio.NewReader(io.LimitReader(t.f, t.size-at)))
	t.r.Comma = comma
	t.r.FieldsPerRecord = -1 // a short row is a fault of its own, not the end
	t.r.ReuseRecord = true
	t.base, t.ahead = at, false
	return nil
}

// seek goes on at a place that an instant ended at.
func (t *table) seek(at int64) error {
	before := bufio.NewReader(io.NewSectionReader(t.f, 0, at))
	t.lines = 0
	for {
		_, err := before.ReadSlice('\n')
		if err == nil {
			t.lines++
		} else if errors.Is(err, io.EOF) {
			return t.begin(at)
		} else if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

func (t *table) close() error { return t.f.Close() }

// readRow gets the next row into t.row. io.EOF: there is none.
func (t *table) readRow() error {
	if t.ahead {
		return nil
	}
	row, err := t.r.Read()
	var bad *csv.ParseError
	switch {
	case errors.As(err, &bad):
		t.rowErr, t.row, t.rowLine = lh.Errorf(lh.Invalid, "line %d: %v", t.lines+bad.Line, bad.Err), nil, t.lines+bad.Line
	case err != nil:
		return err
	default:
		t.row = row
		line, _ := t.r.FieldPos(0)
		t.rowLine = t.lines + line
		t.rowTime, t.rowErr = t.time()
		if t.rowErr != nil {
			t.rowErr = fmt.Errorf("line %d: %w", t.rowLine, t.rowErr)
		}
	}
	t.rowEnd = t.base + t.r.InputOffset()
	t.ahead = true
	return nil
}

// field returns a column of the row; "" when the row is too short.
func (t *table) field(name string) string {
	i, ok := t.column[name]
	if !ok || i >= len(t.row) || len(t.row[i]) > maxField {
		return ""
	}
	return t.row[i]
}

// time returns the time of the row.
func (t *table) time() (lh.Millis, error) {
	text := strings.TrimSpace(t.field(t.c.Time))
	var m lh.Millis
	switch t.c.TimeFormat {
	case "unix", "unix_ms":
		v, ok := decimal(text)
		if !ok {
			return 0, lh.Errorf(lh.Invalid, "%.64q is no time", text)
		}
		if t.c.TimeFormat == "unix" {
			v *= 1000
		}
		if v < float64(lh.MinMillis) || v > float64(lh.MaxMillis) {
			return 0, lh.Errorf(lh.Invalid, "%.64q is no time of the years 1 to 9999", text)
		}
		m = lh.Millis(v)
	default:
		layout := t.c.TimeFormat
		if layout == "" {
			layout = time.RFC3339
		}
		at, err := time.ParseInLocation(layout, text, t.zone)
		if err != nil {
			return 0, lh.Errorf(lh.Invalid, "%.64q is no time as in %q", text, layout)
		}
		m = lh.MillisOf(at)
	}
	if m < lh.MinMillis || m > lh.MaxMillis {
		return 0, lh.Errorf(lh.Invalid, "%.64q is no time of the years 1 to 9999", text)
	}
	return m, nil
}

// instant returns the rows that stand next and have one time; nil at the end of the file. A row without a time is an
// instant of its own that has only a fault.
func (t *table) instant() (*instant, error) {
	var in *instant
	for n := 0; n < maxRows; n++ {
		err := t.readRow()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if t.rowErr != nil {
			if in == nil {
				in = &instant{faults: []error{t.rowErr}, end: t.rowEnd}
				t.ahead = false
			}
			break
		}
		if in == nil {
			in = &instant{time: t.rowTime, timed: true}
		} else if in.time != t.rowTime {
			break
		}
		t.cells(in)
		in.end, t.ahead = t.rowEnd, false
	}
	return in, nil
}

// cells takes the values out of the row.
func (t *table) cells(in *instant) {
	c := t.c
	if c.Value == "" {
		for i := range c.Channels {
			name := c.Channels[i].Match
			in.cells = append(in.cells, cell{line: t.rowLine, match: name, value: t.number(name), unit: t.field(c.Unit), flag: t.field(c.Flag)})
		}
		return
	}
	keys := make([]string, len(c.Key))
	for i, k := range c.Key {
		keys[i] = strings.TrimSpace(t.field(k))
	}
	in.cells = append(in.cells, cell{line: t.rowLine, match: strings.Join(keys, "/"), value: t.number(c.Value), unit: t.field(c.Unit), flag: t.field(c.Flag)})
}

// number returns a field as a number is written in Go.
func (t *table) number(name string) string {
	s := t.field(name)
	if t.c.DecimalComma {
		if strings.Contains(s, ".") {
			return s + " with a decimal comma" // 1.234 can be either; it is refused, not guessed
		}
		s = strings.ReplaceAll(s, ",", ".")
	}
	return s
}

// The state file is one line: its form, the file's size, the place, and a checksum of the bytes before the place, so that
// the place is never used in another file.
const placeForm = "loggerhead-csv-1 %d %d %08x\n"

// loadPlace reads where to go on; no file is the beginning. Conflict: the CSV file is another than it was.
func loadPlace(path string, t *table) (int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the place: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, 200))
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("read the place: %w", err)
	}
	var size, at int64
	var sum uint32
	if _, err := fmt.Sscanf(string(b), placeForm, &size, &at, &sum); err != nil || string(b) != fmt.Sprintf(placeForm, size, at, sum) {
		return 0, lh.Errorf(lh.Conflict, "%s is damaged; remove it to replay from the start", path)
	}
	if have, err := t.sum(at); err != nil {
		return 0, err
	} else if size != t.size || at < 0 || at > size || have != sum {
		return 0, lh.Errorf(lh.Conflict, "the file is not the one that was replayed so far; remove %s to replay it from the start", path)
	}
	return at, nil
}

// savePlace makes a place durable.
func savePlace(path string, t *table, at int64) error {
	sum, err := t.sum(at)
	if err != nil {
		return err
	}
	return durable.Write(path, fmt.Appendf(nil, placeForm, t.size, at, sum), 0o600)
}

// sum is a checksum of the last bytes before a place.
func (t *table) sum(at int64) (uint32, error) {
	if at < 0 || at > t.size {
		return 0, nil // fits no place
	}
	b := make([]byte, min(at, 4096))
	if _, err := t.f.ReadAt(b, at-int64(len(b))); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)), nil
}
