package report_test

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/xuri/excelize/v2"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/report"
)

// start is when the samples of the format tests begin: the night a clock in Copenhagen goes back, 00:59:30.500 UTC.
const start lh.Millis = 1729990770_500

// small is a project with two elements and samples that are hard to write: a hole, values no short decimals have, two
// wall-clock hours that are the same.
func (r *rig) small() []lh.Element {
	own, d, es := r.logger(r.owner, "", "1/temperature [Cel]", "1/water_level [m]")
	none := math.NaN()
	r.upload(own, d, es, start, 60_000, []float64{0.1, 1.0 / 3}, []float64{-12.5, none}, []float64{1e-9, -0.25}, []float64{none, 1e300})
	return es
}

func smallRequest() lh.ExportRequest {
	return lh.ExportRequest{From: start, To: start + 3600_000, Zone: "Europe/Copenhagen"}
}

// TestTextFormats holds each layout of the text formats to its very bytes.
func TestTextFormats(t *testing.T) {
	each(t, func(r *rig) {
		es := r.small()
		x, _ := r.run(r.options())
		a, b := string(es[0].ID), string(es[1].ID)
		for _, c := range []struct {
			name   string
			change func(*lh.ExportRequest)
			want   string
		}{
			{"csv wide", func(q *lh.ExportRequest) {}, "time,1/temperature [°C],1/water_level [m]\r\n" +
				"2024-10-27T02:59:30.500+02:00,0.1,0.3333333333333333\r\n2024-10-27T02:00:30.500+01:00,-12.5,\r\n" +
				"2024-10-27T02:01:30.500+01:00,1e-09,-0.25\r\n2024-10-27T02:02:30.500+01:00,,1e+300\r\n"},
			{"csv wide, flags", func(q *lh.ExportRequest) { q.Flags, q.Zone = true, "UTC" }, "time,1/temperature [°C],1/temperature [°C] flag,1/water_level [m],1/water_level [m] flag\r\n" +
				"2024-10-27T00:59:30.500Z,0.1,1,0.3333333333333333,1\r\n2024-10-27T01:00:30.500Z,-12.5,1,,\r\n" +
				"2024-10-27T01:01:30.500Z,1e-09,1,-0.25,1\r\n2024-10-27T01:02:30.500Z,,,1e+300,1\r\n"},
			{"csv long", func(q *lh.ExportRequest) { q.Layout, q.Zone, q.Flags = lh.ExportLong, "-03:30", true }, "time,element_id,name,unit,value,flag\r\n" +
				"2024-10-26T21:29:30.500-03:30," + a + ",1/temperature,Cel,0.1,1\r\n2024-10-26T21:30:30.500-03:30," + a + ",1/temperature,Cel,-12.5,1\r\n" +
				"2024-10-26T21:31:30.500-03:30," + a + ",1/temperature,Cel,1e-09,1\r\n2024-10-26T21:29:30.500-03:30," + b + ",1/water_level,m,0.3333333333333333,1\r\n" +
				"2024-10-26T21:31:30.500-03:30," + b + ",1/water_level,m,-0.25,1\r\n2024-10-26T21:32:30.500-03:30," + b + ",1/water_level,m,1e+300,1\r\n"},
			{"csv as Consibio", func(q *lh.ExportRequest) { q.Layout = lh.ExportConsibio }, "Date,1/temperature,1/water_level\r\n" +
				"27/10-24 02:59:30,0.1,0.3333333333333333\r\n27/10-24 02:00:30,-12.5,\r\n27/10-24 02:01:30,1e-09,-0.25\r\n27/10-24 02:02:30,,1e+300\r\n"},
			{"csv of one element", func(q *lh.ExportRequest) { q.Elements = []lh.ElementID{es[1].ID}; q.To = start + 60_000 }, "time,1/water_level [m]\r\n2024-10-27T02:59:30.500+02:00,0.3333333333333333\r\n"},
			{"csv without samples", func(q *lh.ExportRequest) { q.From, q.To = 0, 1000 }, "time,1/temperature [°C],1/water_level [m]\r\n"},
			{"ndjson wide", func(q *lh.ExportRequest) { q.Format, q.Zone = lh.ExportNDJSON, "UTC" }, `{"time":"2024-10-27T00:59:30.500Z","` + a + `":0.1,"` + b + `":0.3333333333333333}` + "\n" +
				`{"time":"2024-10-27T01:00:30.500Z","` + a + `":-12.5}` + "\n" + `{"time":"2024-10-27T01:01:30.500Z","` + a + `":1e-09,"` + b + `":-0.25}` + "\n" +
				`{"time":"2024-10-27T01:02:30.500Z","` + b + `":1e+300}` + "\n"},
			{"ndjson long", func(q *lh.ExportRequest) {
				q.Format, q.Layout, q.Zone, q.Elements = lh.ExportNDJSON, lh.ExportLong, "UTC", []lh.ElementID{es[1].ID}
				q.To = start + 60_000
			}, `{"time":"2024-10-27T00:59:30.500Z","element_id":"` + b + `","name":"1/water_level","unit":"m","value":0.3333333333333333}` + "\n"},
			{"statistics wide", func(q *lh.ExportRequest) {
				q.Step, q.Functions, q.Elements, q.From, q.To = "PT1H", []string{"max", "p50"}, []lh.ElementID{es[0].ID}, start-lh.Millis(3600_000)-1770_500, start+30_000+3599_500
			}, "time,1/temperature [°C] max,1/temperature [°C] p50\r\n2024-10-27T01:30:00.000+02:00,,\r\n2024-10-27T02:00:00.000+02:00,0.1,0.1\r\n2024-10-27T02:00:00.000+01:00,1e-09,-6.2499999995\r\n"},
			{"statistics long", func(q *lh.ExportRequest) {
				q.Step, q.Functions, q.Elements, q.Layout, q.Flags, q.To = "PT1H", []string{"mean"}, []lh.ElementID{es[0].ID}, lh.ExportLong, true, start+30_000-500
			}, "time,element_id,name,unit,mean,expected,received,good,flag\r\n2024-10-27T02:59:30.500+02:00," + a + ",1/temperature,Cel,0.1,1,1,1,1\r\n"},
		} {
			q := smallRequest()
			c.change(&q)
			got := string(r.export(x, r.owner, q))
			if got != c.want {
				r.t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
			}
		}
	})
}

// TestTextOfPeople: names come out whole, and none is taken for a formula by a spreadsheet.
func TestTextOfPeople(t *testing.T) {
	each(t, func(r *rig) {
		names := []string{`=HYPERLINK("http://evil.example","x")`, "+1", "-1", "@SUM(A1)", "\tTab", `He said "5,5"`, "two\r\nlines", " space ", "Ø ≤ 3 µm", "same", "same", "a;b", "<&>", "bell\x07"}
		_, _, es := r.logger(r.owner, "", slices.Repeat([]string{"x"}, 0)...)
		for _, n := range names {
			e, err := r.db.CreateElement(ctx, r.owner, lh.Element{Name: n, Color: "#112233", Meaning: lh.Instantaneous})
			if err != nil {
				r.t.Fatal(err)
			}
			es = append(es, e)
		}
		x, _ := r.run(r.options())
		q := lh.ExportRequest{From: 0, To: 1000, Zone: "UTC"}
		b := r.export(x, r.owner, q)
		rows, err := csv.NewReader(bytes.NewReader(bytes.ReplaceAll(b, []byte("two\r\n"), []byte("two\n")))).ReadAll()
		if err != nil || len(rows) != 1 {
			r.t.Fatalf("%v: %q", err, rows)
		}
		for i, title := range rows[0][1:] {
			want := names[i]
			if i < 5 {
				want = "'" + want
			}
			if want == "same" {
				want += " " + string(es[i].ID)
			}
			if want = strings.ReplaceAll(want, "\r\n", "\n"); title != want {
				r.t.Errorf("column %d is titled %q, want %q", i, title, want)
			}
		}
		// As Consibio writes it, names stand as they are.
		q.Layout = lh.ExportConsibio
		if b := r.export(x, r.owner, q); strings.Contains(string(b), "elm_") || !strings.HasPrefix(string(b), "Date,") {
			r.t.Errorf("%q", b)
		}
		// A workbook holds them as text, which is no formula.
		q.Layout, q.Format = "", lh.ExportXLSX
		f, err := excelize.OpenReader(bytes.NewReader(r.export(x, r.owner, q)))
		if err != nil {
			r.t.Fatal(err)
		}
		for i, n := range names {
			at, err := excelize.CoordinatesToCellName(i+2, 1)
			if err != nil {
				r.t.Fatal(err)
			}
			got, err := f.GetCellValue("data", at)
			formula, ferr := f.GetCellFormula("data", at)
			if n = strings.ReplaceAll(n, "\x07", "\uFFFD"); n == "same" {
				n += " " + string(es[i].ID)
			}
			if err != nil || ferr != nil || formula != "" || strings.ReplaceAll(got, "\r\n", "\n") != strings.ReplaceAll(n, "\r\n", "\n") {
				r.t.Errorf("cell %s is %q (%q), want %q: %v %v", at, got, formula, n, err, ferr)
			}
		}
	})
}

// TestNumbersAreExact: whatever a float64 can be comes back bit for bit out of every format.
func TestNumbersAreExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	values := []float64{0, math.Copysign(0, -1), 0.1, 1.0 / 3, math.MaxFloat64, math.SmallestNonzeroFloat64, -1e-7, 1e21, 123456789.125, 1e15, -40}
	for len(values) < 3000 {
		if v := math.Float64frombits(rnd.Uint64()); v-v == 0 {
			values = append(values, v)
		}
		values = append(values, math.Round(rnd.NormFloat64()*1e4)/100)
	}
	e := []lh.Element{{ID: "elm_0", Name: "x"}}
	for _, f := range []lh.ExportFormat{lh.ExportCSV, lh.ExportNDJSON, lh.ExportXLSX, lh.ExportParquet} {
		var b bytes.Buffer
		w, err := report.NewTable(&b, lh.ExportRequest{Format: f, Layout: lh.ExportWide, Zone: "UTC"}, e, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range values {
			if err := w.Put(start+lh.Millis(i), v); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got := readNumbers(t, f, b.Bytes())
		if len(got) != len(values) {
			t.Fatalf("%s: %d rows of %d", f, len(got), len(values))
		}
		for i, v := range values {
			if math.Float64bits(got[i].V) != math.Float64bits(v) || got[i].T != start+lh.Millis(i) {
				t.Fatalf("%s: row %d is %v at %d, want %v at %d", f, i, got[i].V, got[i].T, v, start+lh.Millis(i))
			}
		}
	}
}

type timed struct {
	T lh.Millis
	V float64
}

// readNumbers reads a table of one column back.
func readNumbers(t *testing.T, f lh.ExportFormat, b []byte) (out []timed) {
	t.Helper()
	number := func(at, v string) timed {
		when, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			t.Fatal(err)
		}
		return timed{lh.MillisOf(when), n}
	}
	switch f {
	case lh.ExportCSV:
		rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows[1:] {
			out = append(out, number(r[0], r[1]))
		}
	case lh.ExportNDJSON:
		for d := json.NewDecoder(bytes.NewReader(b)); d.More(); {
			var row map[string]any
			d.UseNumber()
			if err := d.Decode(&row); err != nil {
				t.Fatal(err)
			}
			out = append(out, number(row["time"].(string), row["elm_0"].(json.Number).String()))
		}
	case lh.ExportXLSX:
		f, err := excelize.OpenReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for _, sheet := range f.GetSheetList() {
			rows, err := f.GetRows(sheet, excelize.Options{RawCellValue: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows[1:] {
				days, err := strconv.ParseFloat(r[0], 64)
				if err != nil {
					t.Fatal(err)
				}
				v, err := strconv.ParseFloat(r[1], 64)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, timed{lh.Millis(math.Round((days - 25569) * lh.DayMillis)), v})
			}
		}
	case lh.ExportParquet:
		rows, err := parquet.Read[struct {
			Time int64    `parquet:"time"`
			X    *float64 `parquet:"x,optional"`
		}](bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			out = append(out, timed{lh.Millis(r.Time), *r.X})
		}
	}
	return out
}

// TestWorkbook: a foreign library reads times as a clock in the zone shows them, and a table longer than a sheet goes on
// in the next.
func TestWorkbook(t *testing.T) {
	each(t, func(r *rig) {
		es := r.small()
		x, _ := r.run(r.options())
		q := smallRequest()
		q.Format, q.Flags = lh.ExportXLSX, true
		f, err := excelize.OpenReader(bytes.NewReader(r.export(x, r.owner, q)))
		if err != nil {
			r.t.Fatal(err)
		}
		rows, err := f.GetRows("data")
		want := [][]string{{"time (Europe/Copenhagen)", "1/temperature [°C]", "1/temperature [°C] flag", "1/water_level [m]", "1/water_level [m] flag"},
			{"2024-10-27 02:59:30.500", "0.1", "1", "0.3333333333333333", "1"}, {"2024-10-27 02:00:30.500", "-12.5", "1"},
			{"2024-10-27 02:01:30.500", "1e-09", "1", "-0.25", "1"}, {"2024-10-27 02:02:30.500", "", "", "1E+300", "1"}}
		if err != nil || len(rows) != len(want) {
			r.t.Fatalf("%v %q", err, rows)
		}
		for i := range want {
			for k := range want[i] {
				got := rows[i][k]
				a, aerr := strconv.ParseFloat(got, 64)
				b, berr := strconv.ParseFloat(want[i][k], 64)
				if k == 0 && i > 0 { // it shows no parts of a second
					got = got[:19] + want[i][k][19:]
				}
				if got != want[i][k] && (aerr != nil || berr != nil || math.Abs(a-b) > 1e-15*math.Abs(b)) {
					r.t.Errorf("row %d, column %d: %q, want %q", i, k, got, want[i][k])
				}
			}
		}
		_ = es
	})
	var b bytes.Buffer
	w, err := report.NewTable(&b, lh.ExportRequest{Format: lh.ExportXLSX, Layout: lh.ExportWide, Zone: "UTC"}, []lh.Element{{ID: "elm_0", Name: "x"}}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 250 {
		if err := w.Put(start+lh.Millis(i)*1000, float64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Put(-3e12, 250); err != nil { // 1874: before Excel's days
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := excelize.OpenReader(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, sheet := range f.GetSheetList() {
		rows, err := f.GetRows(sheet)
		if err != nil || len(rows) > 100 || rows[0][0] != "time (UTC)" || sheet != []string{"data", "data 2", "data 3"}[i] {
			t.Fatalf("%s: %v, %d rows", sheet, err, len(rows))
		}
		for _, row := range rows[1:] {
			if row[1] != strconv.Itoa(n) {
				t.Fatalf("%s: row %q where %d must be", sheet, row, n)
			}
			n++
		}
		if i == 2 && rows[len(rows)-1][0] != "1874-12-07T18:40:00.000Z" {
			t.Errorf("a time before Excel's: %q", rows[len(rows)-1])
		}
	}
	if n != 251 {
		t.Errorf("%d rows", n)
	}
}

// TestParquet: types, order and metadata of the columns.
func TestParquet(t *testing.T) {
	each(t, func(r *rig) {
		es := r.small()
		x, _ := r.run(r.options())
		q := smallRequest()
		q.Format, q.Flags = lh.ExportParquet, true
		b := r.export(x, r.owner, q)
		f, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			r.t.Fatal(err)
		}
		want := `message samples {
	required int64 time (TIMESTAMP(isAdjustedToUTC=true,unit=MILLIS));
	optional double 1/temperature [°C];
	optional int32 1/temperature [°C] flag (INT(32,true));
	optional double 1/water_level [m];
	optional int32 1/water_level [m] flag (INT(32,true));
}`
		if got := f.Schema().String(); got != want {
			r.t.Errorf("schema\n%s\nwant\n%s", got, want)
		}
		meta, ok := f.Lookup("loggerhead")
		var about struct {
			Zone    string
			Columns []struct{ Name, Key, Unit string }
			Request lh.ExportRequest
		}
		if err := json.Unmarshal([]byte(meta), &about); err != nil || !ok {
			r.t.Fatal(err, meta)
		}
		if about.Zone != "Europe/Copenhagen" || len(about.Columns) != 5 || about.Columns[1].Unit != "Cel" || about.Columns[3].Key != string(es[1].ID) || about.Columns[3].Unit != "m" {
			r.t.Errorf("%s", meta)
		}
		rows := parquet.NewReader(f)
		buf := make([]parquet.Row, 10)
		n, err := rows.ReadRows(buf)
		if n != 4 || err != nil && err != io.EOF {
			r.t.Fatalf("%d rows: %v", n, err)
		}
		text := ""
		for _, row := range buf[:n] {
			for _, v := range row {
				text += v.String() + " "
			}
		}
		if want := "1729990770500 0.1 1 0.3333333333333333 1 1729990830500 -12.5 1 <null> <null> 1729990890500 1e-09 1 -0.25 1 1729990950500 <null> <null> 1e+300 1 "; text != want {
			r.t.Errorf("rows %s\nwant %s", text, want)
		}
		r.foreignParquet(b)
	})
}

// foreignParquet reads a file with a library in another language, where it is on this machine: hyparquet, one of the
// browser tests' packages.
func (r *rig) foreignParquet(b []byte) {
	r.t.Helper()
	modules := "../../e2e/web/node_modules"
	if _, err := os.Stat(filepath.Join(modules, "hyparquet")); err != nil {
		r.t.Log("hyparquet is not installed; `npm ci` in e2e/web brings it")
		return
	}
	file := filepath.Join(r.t.TempDir(), "x.parquet")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		r.t.Fatal(err)
	}
	script := fmt.Sprintf(`import { parquetReadObjects, asyncBufferFromFile } from 'hyparquet';
const rows = await parquetReadObjects({ file: await asyncBufferFromFile(%q) });
for (const r of rows) console.log(Object.entries(r).map(([k, v]) => k + '=' + (v instanceof Date ? v.toISOString() : v)).join(' '));`, file)
	cmd := exec.Command("node", "--input-type=module", "-e", script)
	cmd.Dir = filepath.Dir(modules)
	out, err := cmd.CombinedOutput()
	want := `time=2024-10-27T00:59:30.500Z 1/temperature [°C]=0.1 1/temperature [°C] flag=1 1/water_level [m]=0.3333333333333333 1/water_level [m] flag=1
time=2024-10-27T01:00:30.500Z 1/temperature [°C]=-12.5 1/temperature [°C] flag=1 1/water_level [m]=null 1/water_level [m] flag=null
time=2024-10-27T01:01:30.500Z 1/temperature [°C]=1e-9 1/temperature [°C] flag=1 1/water_level [m]=-0.25 1/water_level [m] flag=1
time=2024-10-27T01:02:30.500Z 1/temperature [°C]=null 1/temperature [°C] flag=null 1/water_level [m]=1e+300 1/water_level [m] flag=1
`
	if got := strings.ReplaceAll(string(out), "undefined", "null"); err != nil || got != want {
		r.t.Errorf("hyparquet reads (%v):\n%s", err, out)
	}
}

// TestMemory: a long table takes no more memory than a short one.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes a million rows")
	}
	es := []lh.Element{{ID: "elm_0", Name: "a"}, {ID: "elm_1", Name: "b"}}
	for _, f := range []lh.ExportFormat{lh.ExportCSV, lh.ExportXLSX, lh.ExportParquet} {
		w, err := report.NewTable(io.Discard, lh.ExportRequest{Format: f, Layout: lh.ExportWide, Zone: "UTC"}, es, 0)
		if err != nil {
			t.Fatal(err)
		}
		most := uint64(0)
		for i := range 400_000 { // more than a row group
			if err := w.Put(start+lh.Millis(i)*1000, float64(i)/7, float64(i%97)); err != nil {
				t.Fatal(err)
			}
			if i%40_000 == 39_999 {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if most > 128<<20 {
			t.Errorf("%s: %d MiB", f, most>>20)
		}
		t.Logf("%s: at most %d MiB of heap", f, most>>20)
	}
}

// TestProject: a whole project holds every series as it was measured and as it is shown, and what describes it.
func TestProject(t *testing.T) {
	each(t, func(r *rig) {
		es := r.small()
		if _, err := r.db.AddCorrection(ctx, r.owner, lh.Correction{Element: es[0].ID, From: start, To: start + 1, Kind: lh.CorrectOffset, A: 100, Comment: "moved"}); err != nil {
			r.t.Fatal(err)
		}
		x, _ := r.run(r.options())
		b := r.export(x, r.owner, lh.ExportRequest{Kind: lh.ExportProject})
		z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			r.t.Fatal(err)
		}
		files := map[string]string{}
		for _, f := range z.File {
			in, err := f.Open()
			if err != nil {
				r.t.Fatal(err)
			}
			text, err := io.ReadAll(in)
			if err != nil {
				r.t.Fatal(err)
			}
			files[f.Name] = string(text)
		}
		raw, shown := files["raw/"+string(es[0].ID)+".csv"], files["shown/"+string(es[0].ID)+".csv"]
		if !strings.HasPrefix(raw, "time,value,flag\r\n2024-10-27T00:59:30.500Z,0.1,1\r\n") || !strings.Contains(shown, "2024-10-27T00:59:30.500Z,100.1,1\r\n") {
			r.t.Errorf("raw %q, shown %q", raw, shown)
		}
		if files["shown/"+string(es[1].ID)+".csv"] != "" || files["raw/"+string(es[1].ID)+".csv"] == "" || files["README.txt"] == "" {
			r.t.Errorf("files %v", len(files))
		}
		var about struct {
			Project  struct{ Name string }
			Members  []struct{ Role string }
			Devices  []struct{ ID string }
			Elements []struct {
				ID, Unit    string
				Corrections []struct{ Comment string }
			}
		}
		if err := json.Unmarshal([]byte(files["project.json"]), &about); err != nil {
			r.t.Fatal(err)
		}
		if about.Project.Name != "Skjern Å" || len(about.Members) != 1 || about.Members[0].Role != "owner" || len(about.Devices) != 1 || len(about.Elements) != 2 ||
			about.Elements[0].Unit != "Cel" || len(about.Elements[0].Corrections) != 1 || about.Elements[0].Corrections[0].Comment != "moved" {
			r.t.Errorf("%+v", about)
		}
		lines := strings.Split(strings.TrimSpace(files["audit.ndjson"]), "\n")
		for i, l := range lines {
			var e struct {
				Number int
				Action string
				Hash   []byte
			}
			if err := json.Unmarshal([]byte(l), &e); err != nil || e.Number != i+1 || len(e.Hash) != 32 {
				r.t.Errorf("audit line %d: %v %s", i, err, l)
			}
		}
		if !strings.Contains(lines[len(lines)-1], "export.create") {
			r.t.Errorf("the audit trail ends with %s", lines[len(lines)-1])
		}
	})
}

func TestFileNames(t *testing.T) {
	q := lh.ExportRequest{Format: lh.ExportCSV, From: 0, To: lh.DayMillis}
	for name, want := range map[string]string{"Skjern Å": "Skjern-1970-01-01-1970-01-02.csv", `a"b/../c;d` + "\r\nX: y": "a-b-c-d-X-y-1970-01-01-1970-01-02.csv",
		"水位": "export-1970-01-01-1970-01-02.csv", strings.Repeat("x", 200): strings.Repeat("x", 60) + "-1970-01-01-1970-01-02.csv"} {
		if got := report.FileName(name, q); got != want || report.SafeName(got) != got {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	if got := report.FileName("P", lh.ExportRequest{Kind: lh.ExportProject}); got != "P.zip" {
		t.Error(got)
	}
}
