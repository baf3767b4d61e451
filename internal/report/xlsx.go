package report

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// What a sheet of Excel holds at most.
const (
	xlsxRows    = 1 << 20
	xlsxColumns = 1 << 14
)

// xlsxWriter writes a workbook (ECMA-376) as it goes, in the memory of one row. A table that is longer than a sheet goes on
// in the next. It is our own, because libraries keep sheets in memory or in files that are not sealed.
type xlsxWriter struct {
	zip     *zip.Writer
	sheet   *bufio.Writer // nil before the first and after the last
	columns []column
	letters []string
	zone    *time.Location
	sheets  int
	rows    int // in the sheet
	most    int // xlsxRows, but for tests
	b       []byte
}

func newXLSX(to io.Writer, l *layout) (*xlsxWriter, error) {
	if len(l.columns) > xlsxColumns {
		return nil, lh.Errorf(lh.Invalid, "a sheet has at most %d columns, this table %d; ask for fewer elements, or the long layout", xlsxColumns, len(l.columns))
	}
	w := &xlsxWriter{zip: zip.NewWriter(to), columns: l.columns, zone: l.zone, most: xlsxRows, letters: make([]string, len(l.columns))}
	for i := range l.columns {
		w.letters[i] = columnLetters(i)
	}
	return w, w.begin()
}

// columnLetters names a column: A to Z, AA and so on.
func columnLetters(i int) string {
	name := ""
	for i++; i > 0; i = (i - 1) / 26 {
		name = string(rune('A'+(i-1)%26)) + name
	}
	return name
}

const xlsxHead = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n"

// begin begins a sheet with its titles.
func (w *xlsxWriter) begin() error {
	w.sheets++
	f, err := w.zip.Create(fmt.Sprintf("xl/worksheets/sheet%d.xml", w.sheets))
	if err != nil {
		return err
	}
	w.sheet, w.rows = bufio.NewWriterSize(f, 32<<10), 0
	// The titles stay in sight, and the first column is wide enough for a time.
	if _, err := w.sheet.WriteString(xlsxHead + `<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetViews><sheetView workbookViewId="0">` +
		`<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><cols><col min="1" max="1" width="24" customWidth="1"/></cols><sheetData>`); err != nil {
		return err
	}
	titles := make([]cell, len(w.columns))
	for i, c := range w.columns {
		titles[i] = textCell(c.title)
		if c.kind == kindTime {
			titles[i] = textCell(c.title + " (" + w.zone.String() + ")")
		}
	}
	return w.put(titles, true)
}

func (w *xlsxWriter) end() error {
	_, err := w.sheet.WriteString(`</sheetData></worksheet>`)
	if err == nil {
		err = w.sheet.Flush()
	}
	w.sheet = nil
	return err
}

func (w *xlsxWriter) row(row []cell) error {
	if w.rows == w.most {
		if err := errors.Join(w.end(), w.begin()); err != nil {
			return err
		}
	}
	return w.put(row, false)
}

func (w *xlsxWriter) put(row []cell, titles bool) error {
	w.rows++
	n := strconv.Itoa(w.rows)
	b := append(append(append(w.b[:0], `<row r="`...), n...), `">`...)
	for i, c := range row {
		if !c.ok {
			continue
		}
		b = append(append(append(append(b, `<c r="`...), w.letters[i]...), n...), '"')
		kind := w.columns[i].kind
		if titles {
			kind = kindText
		}
		if kind == kindTime {
			if days, ok := excelDays(c.millis(), w.zone); ok {
				b = append(appendNumber(append(b, ` s="1"><v>`...), days), `</v></c>`...)
				continue
			}
			c.text, kind = string(appendTime(nil, c.millis(), w.zone)), kindText
		}
		switch kind {
		case kindText:
			b = append(appendXML(append(b, ` t="inlineStr"><is><t xml:space="preserve">`...), c.text), `</t></is></c>`...)
		case kindNumber:
			b = append(appendNumber(append(b, `><v>`...), c.number), `</v></c>`...)
		default:
			b = append(strconv.AppendInt(append(b, `><v>`...), c.whole, 10), `</v></c>`...)
		}
	}
	w.b = append(b, `</row>`...)
	_, err := w.sheet.Write(w.b)
	return err
}

// excelDays is an instant as a sheet counts it: days since 1899-12-30, of what a clock in the zone shows, for a sheet
// knows no zones. ok is false before March 1900, where Excel counts a day that never was.
func excelDays(t lh.Millis, zone *time.Location) (days float64, ok bool) {
	_, offset := t.Time().In(zone).Zone()
	ms := int64(t) + int64(offset)*1000
	days = float64(ms)/lh.DayMillis + 25569
	return days, days >= 61
}

// appendXML writes a text without what XML cannot hold.
func appendXML(b []byte, s string) []byte {
	for _, r := range s {
		switch {
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0xFFFE, r == 0xFFFF:
			b = utf8.AppendRune(b, utf8.RuneError)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

func (w *xlsxWriter) close() error {
	if err := w.end(); err != nil {
		return err
	}
	var sheets, relations, types strings.Builder
	for i := 1; i <= w.sheets; i++ {
		name := "data"
		if i > 1 {
			name = fmt.Sprintf("data %d", i)
		}
		fmt.Fprintf(&sheets, `<sheet name="%s" sheetId="%d" r:id="rId%d"/>`, name, i, i)
		fmt.Fprintf(&relations, `<Relationship Id="rId%d" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet%d.xml"/>`, i, i)
		fmt.Fprintf(&types, `<Override PartName="/xl/worksheets/sheet%d.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>`, i)
	}
	for _, f := range []struct{ name, text string }{
		{"xl/workbook.xml", `<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>` + sheets.String() + `</sheets></workbook>`},
		{"xl/_rels/workbook.xml.rels", `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">` + relations.String() +
			fmt.Sprintf(`<Relationship Id="rId%d" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>`, w.sheets+1)},
		{"xl/styles.xml", `<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy\-mm\-dd\ hh:mm:ss.000"/></numFmts>` +
			`<fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts><fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills>` +
			`<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders><cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>` +
			`<cellXfs count="2"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/><xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs></styleSheet>`},
		{"_rels/.rels", `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>`},
		{"[Content_Types].xml", `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>` +
			`<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.styles+xml"/>` + types.String() + `</Types>`},
	} {
		to, err := w.zip.Create(f.name)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(to, xlsxHead+f.text); err != nil {
			return err
		}
	}
	return w.zip.Close()
}
