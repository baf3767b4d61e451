package report

import (
	"io"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// AfterParts has f called whenever parts of a file are kept; before Run.
func (x *Exports) AfterParts(f func(store.ExportTurn)) { x.afterParts = f }

// Table is a writer of a table on its own, for tests of formats: rows of numbers at times.
type Table struct {
	w   writer
	row []cell
}

// NewTable returns a table of a request's format. sheet is how many rows a sheet of a workbook holds; 0 is what Excel's
// does.
func NewTable(to io.Writer, q lh.ExportRequest, elements []lh.Element, sheet int) (*Table, error) {
	l, _, err := newLayout(q, elements)
	if err != nil {
		return nil, err
	}
	w, err := newWriter(to, l)
	if x, ok := w.(*xlsxWriter); ok && sheet > 0 {
		x.most = sheet
	}
	return &Table{w, make([]cell, len(l.columns))}, err
}

// Put writes a row.
func (t *Table) Put(at lh.Millis, values ...float64) error {
	t.row[0] = timeCell(at)
	for i, v := range values {
		t.row[i+1] = numberCell(v)
	}
	return t.w.row(t.row)
}

// Close ends the table.
func (t *Table) Close() error { return t.w.close() }

// FileName is the name of a file of a project.
func FileName(project string, q lh.ExportRequest) string { return fileName(project, q) }
