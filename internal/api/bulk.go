package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/fleet"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Many things made at once, from a JSON array or a CSV table, all of them or none. Each row is held against the very schema
// that making one is; what is wrong is told by row and field. A dry run does all of it but the commit.

// Bounds of one bulk.
const (
	maxBulkRows    = 10_000
	maxBulkBytes   = 8 << 20
	maxBulkColumns = 100
	maxBulkErrors  = 100 // told; the rest is counted
	costBulk       = 20  // of the caller's rate limit
)

// Bulk is the answer to many things made at once.
type Bulk struct {
	Rows   int        `json:"rows"`
	DryRun bool       `json:"dry_run" doc:"Nothing was made: it would have been"`
	Items  []BulkItem `json:"items" nullable:"false" doc:"What was made, in the order of the rows; none in a dry run"`
}

// BulkItem is what became of a row.
type BulkItem struct {
	Row int    `json:"row" doc:"From 1; the head of a table is none"`
	ID  string `json:"id"`
}

type bulkInput struct {
	ProjectPath
	DryRun  bool   `query:"dry_run" doc:"Check every row and make nothing"`
	Type    string `header:"Content-Type" hidden:"true"`
	RawBody []byte
}

type bulkOutput struct {
	Status int
	Body   Bulk
}

// bulkBody describes what a bulk takes.
func bulkBody[N any](schemas huma.Registry) *huma.RequestBody {
	row := schemas.Schema(reflect.TypeFor[N](), true, reflect.TypeFor[N]().Name())
	most := maxBulkRows
	return &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json": {Schema: &huma.Schema{Type: huma.TypeArray, Items: row, MaxItems: &most}},
		"text/csv": {Schema: &huma.Schema{Type: huma.TypeString, Description: "A table in UTF-8 with a head that names the fields above, by commas or semicolons; " +
			"attributes have columns like attributes.owner. Beside semicolons, a number may have a decimal comma."}},
	}}
}

func bulkLocations(a *API, ctx context.Context, sc store.Scope, in *bulkInput) (*bulkOutput, error) {
	return bulk(a, ctx, in, func(rows []NewLocation) ([]string, []store.RowError, error) {
		ls := make([]lh.Location, len(rows))
		var refused []store.RowError
		for i, n := range rows {
			var err error
			if ls[i], err = n.location(); err != nil {
				refused = append(refused, store.RowError{Row: i, Err: err})
			}
		}
		if len(refused) > 0 {
			return nil, refused, nil
		}
		made, refused, err := a.DB.CreateLocations(ctx, sc, ls, in.DryRun)
		return idsOf(made, func(l lh.Location) string { return string(l.ID) }), refused, err
	})
}

func bulkElements(a *API, ctx context.Context, sc store.Scope, in *bulkInput) (*bulkOutput, error) {
	return bulk(a, ctx, in, func(rows []NewElement) ([]string, []store.RowError, error) {
		es := make([]lh.Element, len(rows))
		for i, n := range rows {
			es[i] = n.element()
		}
		made, refused, err := a.DB.CreateElements(ctx, sc, es, in.DryRun)
		return idsOf(made, func(e lh.Element) string { return string(e.ID) }), refused, err
	})
}

func bulkDevices(a *API, ctx context.Context, sc store.Scope, in *bulkInput) (*bulkOutput, error) {
	return bulk(a, ctx, in, func(rows []NewDevice) ([]string, []store.RowError, error) {
		cs := make([]fleet.Claim, len(rows))
		for i, n := range rows {
			cs[i] = fleet.Claim{Serial: n.Serial, Code: n.ClaimCode, Device: n.device()}
		}
		made, refused, err := a.Fleet.ClaimAll(ctx, sc, cs, in.DryRun)
		return idsOf(made, func(d lh.Device) string { return string(d.ID) }), refused, err
	})
}

func idsOf[T any](made []T, id func(T) string) []string {
	ids := make([]string, len(made))
	for i, m := range made {
		ids[i] = id(m)
	}
	return ids
}

// bulk reads the rows and has them made.
func bulk[N any](a *API, ctx context.Context, in *bulkInput, made func([]N) ([]string, []store.RowError, error)) (*bulkOutput, error) {
	kind, _, err := mime.ParseMediaType(in.Type)
	if err != nil || kind != "application/json" && kind != "text/csv" {
		return nil, newProblem(codeType, http.StatusUnsupportedMediaType, "Content-Type: this operation takes application/json (an array) or text/csv (a table with a head)")
	}
	p := bulkReader[N]{schemas: a.huma.OpenAPI().Components.Schemas}
	p.schema = p.schemas.Schema(reflect.TypeFor[N](), true, reflect.TypeFor[N]().Name())
	if kind == "text/csv" {
		err = p.table(in.RawBody)
	} else {
		err = p.array(in.RawBody)
	}
	if err != nil {
		return nil, err
	}
	if len(p.wrong) > 0 || p.more > 0 {
		return nil, p.problem(p.wrong, p.more)
	}
	if len(p.rows) == 0 {
		return nil, lh.Errorf(lh.Invalid, "there is no row")
	}
	ids, refused, err := made(p.rows)
	if err != nil {
		return nil, err
	}
	if len(refused) > 0 {
		for i, r := range refused {
			if i < maxBulkErrors {
				p.wrong = append(p.wrong, ProblemDetail{Row: r.Row + 1, Code: lh.CodeOf(r.Err), Message: lh.PublicMessage(r.Err)})
			}
		}
		return nil, p.problem(p.wrong, len(refused)-len(p.wrong))
	}
	out := &bulkOutput{Status: http.StatusCreated, Body: Bulk{Rows: len(p.rows), DryRun: in.DryRun, Items: []BulkItem{}}}
	if in.DryRun {
		out.Status = http.StatusOK
		return out, nil
	}
	for i, id := range ids {
		out.Body.Items = append(out.Body.Items, BulkItem{i + 1, id})
	}
	return out, nil
}

// bulkReader reads rows of N and notes what is wrong with them.
type bulkReader[N any] struct {
	schemas huma.Registry
	schema  *huma.Schema
	rows    []N
	read    int
	wrong   []ProblemDetail
	more    int // wrong ones that are not told
}

func (p *bulkReader[N]) problem(wrong []ProblemDetail, more int) error {
	first := wrong[0]
	where := fmt.Sprintf("row %d", first.Row)
	if first.Location != "" {
		where += ", " + first.Location
	}
	pr := newProblem(lh.Invalid, http.StatusBadRequest, fmt.Sprintf("nothing was made: %s: %s", where, first.Message))
	if n := len(wrong) + more; n > 1 {
		pr.Detail += fmt.Sprintf(" (%d more things are wrong)", n-1)
	}
	pr.Errors = wrong
	return pr
}

// note notes that something is wrong with the row that is read.
func (p *bulkReader[N]) note(field, message string) {
	if len(p.wrong) >= maxBulkErrors {
		p.more++
		return
	}
	p.wrong = append(p.wrong, ProblemDetail{Row: p.read, Location: field, Code: lh.Invalid, Message: message})
}

// next counts a row, and refuses one too many.
func (p *bulkReader[N]) next() error {
	if p.read++; p.read > maxBulkRows {
		return lh.Errorf(lh.Invalid, "there are more than %d rows; send them in parts", maxBulkRows)
	}
	return nil
}

// take holds a row against the schema and keeps it.
func (p *bulkReader[N]) take(row map[string]any) error {
	var res huma.ValidateResult
	huma.Validate(p.schemas, p.schema, huma.NewPathBuffer([]byte{}, 0), huma.ModeWriteToServer, row, &res)
	for _, err := range res.Errors {
		if d, ok := err.(huma.ErrorDetailer); ok {
			p.note(d.ErrorDetail().Location, d.ErrorDetail().Message) // not the value: it may be a claim code
			continue
		}
		p.note("", err.Error())
	}
	if len(res.Errors) > 0 || len(p.wrong) > 0 {
		return nil
	}
	b, err := json.Marshal(row)
	if err != nil {
		return err
	}
	var n N
	if err := json.Unmarshal(b, &n); err != nil {
		p.note("", "the row cannot be read: "+err.Error())
		return nil
	}
	fillDefaults(reflect.ValueOf(&n).Elem())
	p.rows = append(p.rows, n)
	return nil
}

// array reads a JSON array of rows.
func (p *bulkReader[N]) array(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return lh.Errorf(lh.Invalid, "body: it is no JSON array of objects")
	}
	for d.More() {
		if err := p.next(); err != nil {
			return err
		}
		var row any
		if err := d.Decode(&row); err != nil {
			return lh.Errorf(lh.Invalid, "body: row %d is no JSON, at byte %d", p.read, d.InputOffset())
		}
		m, ok := row.(map[string]any)
		if !ok {
			p.note("", "the row is no object")
			continue
		}
		if err := p.take(m); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return lh.Errorf(lh.Invalid, "body: the array does not end")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return lh.Errorf(lh.Invalid, "body: something follows the array")
	}
	return nil
}

// table reads a CSV table of rows.
func (p *bulkReader[N]) table(body []byte) error {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	if !strings.Contains(string(body), "\n") && len(body) > 64<<10 {
		return lh.Errorf(lh.Invalid, "body: it is no table with a head")
	}
	head, _, _ := bytes.Cut(body, []byte("\n"))
	r := csv.NewReader(bytes.NewReader(body))
	r.ReuseRecord, r.TrimLeadingSpace = true, true
	decimal := "."
	if bytes.Count(head, []byte(";")) > bytes.Count(head, []byte(",")) {
		r.Comma, decimal = ';', ","
	}
	names, err := p.head(r)
	if err != nil {
		return err
	}
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err := p.next(); err != nil {
			return err
		}
		if errors.Is(err, csv.ErrFieldCount) {
			p.note("", fmt.Sprintf("the row has %d fields, the head %d", len(rec), len(names)))
			continue
		}
		if err != nil {
			return lh.Errorf(lh.Invalid, "body: row %d is no CSV: %s", p.read, err)
		}
		row := map[string]any{}
		for i, cell := range rec {
			p.cell(row, names[i], cell, decimal)
		}
		if err := p.take(row); err != nil {
			return err
		}
	}
}

const attributeColumn = "attributes."

// head reads which field each column is.
func (p *bulkReader[N]) head(r *csv.Reader) ([]string, error) {
	rec, err := r.Read()
	if err != nil {
		return nil, lh.Errorf(lh.Invalid, "body: it is no table with a head")
	}
	if len(rec) > maxBulkColumns {
		return nil, lh.Errorf(lh.Invalid, "body: the table has more than %d columns", maxBulkColumns)
	}
	fields := p.fields()
	names := slices.Clone(rec)
	for i, n := range names {
		names[i] = strings.TrimSpace(n)
		_, known := fields[names[i]]
		if key, ok := strings.CutPrefix(names[i], attributeColumn); ok && key != "" {
			known = true
		}
		if !known || names[i] == "attributes" {
			return nil, lh.Errorf(lh.Invalid, "body: there is no field %.60q; a table may have %s, and columns like attributes.owner", names[i], strings.Join(fieldNames(fields), ", "))
		}
		if slices.Contains(names[:i], names[i]) {
			return nil, lh.Errorf(lh.Invalid, "body: two columns are %.60q", names[i])
		}
	}
	return names, nil
}

func (p *bulkReader[N]) fields() map[string]*huma.Schema {
	s := p.schema
	for s.Ref != "" {
		s = p.schemas.SchemaFromRef(s.Ref)
	}
	return s.Properties
}

func fieldNames(fields map[string]*huma.Schema) []string {
	var names []string
	for n := range fields {
		if n != "attributes" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

// cell puts a cell of a table into a row, as the type its field has. An empty one is not given.
func (p *bulkReader[N]) cell(row map[string]any, name, cell, decimal string) {
	if cell == "" {
		return
	}
	if key, ok := strings.CutPrefix(name, attributeColumn); ok {
		as, _ := row["attributes"].(map[string]any)
		if as == nil {
			as = map[string]any{}
			row["attributes"] = as
		}
		as[key] = cell
		return
	}
	switch s := p.fields()[name]; s.Type {
	case huma.TypeNumber, huma.TypeInteger:
		text := strings.TrimSpace(cell)
		if decimal == "," {
			text = strings.Replace(text, ",", ".", 1)
		}
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			row[name] = cell // the schema says that it is no number
			return
		}
		row[name] = f
	default:
		row[name] = cell
	}
}

// fillDefaults sets what was not given to what its field says, as making one does.
func fillDefaults(v reflect.Value) {
	for i := range v.NumField() {
		def, ok := v.Type().Field(i).Tag.Lookup("default")
		if f := v.Field(i); ok && f.IsZero() {
			switch f.Kind() {
			case reflect.String:
				f.SetString(def)
			case reflect.Int, reflect.Int64:
				if n, err := strconv.ParseInt(def, 10, 64); err == nil {
					f.SetInt(n)
				}
			}
		}
	}
}
