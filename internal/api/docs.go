package api

import (
	"bytes"
	"encoding/json"
	"html/template"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/report"
)

// OpenAPI returns the API's description as indented JSON, the same bytes each time.
func (a *API) OpenAPI() ([]byte, error) {
	raw, err := a.huma.OpenAPI().MarshalJSON()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// streamed describes the answers that are written as they are made, which no output type describes.
func (a *API) streamed(id string) map[string]*huma.Response {
	schema := func(v any) *huma.Schema {
		t := reflect.TypeOf(v)
		return a.huma.OpenAPI().Components.Schemas.Schema(t, true, t.Name())
	}
	text := func(doc string) *huma.MediaType {
		return &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Description: doc}}
	}
	ok := func(content map[string]*huma.MediaType) map[string]*huma.Response {
		return map[string]*huma.Response{"200": {Description: "OK", Content: content}}
	}
	switch id {
	case "get-series":
		return ok(map[string]*huma.MediaType{
			"application/json": {Schema: schema(Series{})},
			"text/csv":         text("With format=csv: time, element_id, value, flag; one sample a line, element by element. A stream that breaks off is not the whole."),
			columnsType:        text("With format=columns: the same as binary columns, little endian."),
		})
	case "export-audit-events", "export-account-events":
		return ok(map[string]*huma.MediaType{"text/csv": text("With format=csv: a line for each event."),
			"application/x-ndjson": text("With format=ndjson: a JSON object for each event, with the hash before it and how its own is made.")})
	case "get-token":
		return ok(map[string]*huma.MediaType{"application/json": {Schema: schema(Token{})}})
	case "get-statistics":
		return ok(map[string]*huma.MediaType{"application/json": {Schema: schema(Statistics{})}})
	case "get-export-file":
		file := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary", Description: "The file, in the format asked for. Ranges (RFC 9110) of it can be asked for; its ETag never changes."}}
		content := map[string]*huma.MediaType{}
		for _, f := range []lh.ExportFormat{lh.ExportCSV, lh.ExportNDJSON, lh.ExportXLSX, lh.ExportParquet, lh.ExportZIP} {
			content[strings.TrimSuffix(report.Type(f), "; charset=utf-8")] = file
		}
		return ok(content)
	case "get-wind":
		return ok(map[string]*huma.MediaType{"application/json": {Schema: schema(Wind{})}})
	case "stream-live":
		schema(LiveSample{})
		schema(LiveDevice{})
		return ok(map[string]*huma.MediaType{"text/event-stream": text("Events: “sample” with a LiveSample as data, “device” with a LiveDevice when its state changes, " +
			"“resync” when samples were left out: read them again.")})
	}
	return nil
}

func (a *API) serveOpenAPI(w http.ResponseWriter, r *http.Request) {
	b, err := a.OpenAPI()
	if err != nil {
		problemOf(a.Log, r, err).write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b) // the asker has gone if it fails
}

const docsStyle = `<style>
:root{color-scheme:light dark;--line:#8885;--dim:#667}
@media(prefers-color-scheme:dark){:root{--dim:#9ab}}
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
nav{columns:18rem;font-size:.9em}nav a{display:block;padding:.1rem 0}
section{border-top:1px solid var(--line);padding:1rem 0}
code{font-family:ui-monospace,monospace;font-size:.92em}h2 code{font-size:1rem;font-weight:600}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;border-bottom:1px solid var(--line)}
.dim{color:var(--dim)}h2{margin:.2rem 0}h3{font-size:1em;margin:.8rem 0 .2rem}
</style>`

var docsPage = template.Must(template.New("docs").Parse(`<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Loggerhead API</title>` + docsStyle + `</head><body><main>
<h1>Loggerhead API {{.Version}}</h1><p>{{.Description}}</p>
<p>Log in with <code>POST /api/v1/session</code>, then send <code>Authorization: Bearer &lt;token&gt;</code>.
The description for programs is <a href="/api/v1/openapi.json">openapi.json</a> (OpenAPI 3.1); <a href="/api/docs/errors">errors</a> has every error code.</p>
<nav aria-label="Operations">{{range .Operations}}<a href="#{{.ID}}">{{.Summary}}</a>{{end}}</nav>
{{range .Operations}}<section id="{{.ID}}"><h2><code>{{.Method}} {{.Path}}</code></h2><p>{{.Summary}}. <span class="dim">{{.Needs}}</span></p>
{{if .Parameters}}<h3>Parameters</h3><table><tr><th>Name</th><th>In</th><th>Type</th><th>Meaning</th></tr>{{range .Parameters}}<tr><td><code>{{.Name}}</code>{{if .Required}} *{{end}}</td><td>{{.In}}</td><td>{{.Type}}</td><td>{{.Doc}}</td></tr>{{end}}</table>{{end}}
{{if .Body}}<h3>Body</h3><table><tr><th>Field</th><th>Type</th><th>Meaning</th></tr>{{range .Body}}<tr><td><code>{{.Name}}</code>{{if .Required}} *{{end}}</td><td>{{.Type}}</td><td>{{.Doc}}</td></tr>{{end}}</table>{{end}}
{{if .Answer}}<h3>Answer {{.Status}}</h3><table><tr><th>Field</th><th>Type</th><th>Meaning</th></tr>{{range .Answer}}<tr><td><code>{{.Name}}</code></td><td>{{.Type}}</td><td>{{.Doc}}</td></tr>{{end}}</table>{{else}}<p class="dim">Answer {{.Status}}</p>{{end}}
</section>{{end}}</main></body></html>`))

type docsField struct {
	Name, In, Type, Doc string
	Required            bool
}

type docsOperation struct {
	ID, Method, Path, Summary, Needs, Status string
	Parameters, Body, Answer                 []docsField
}

// serveDocs writes the human page of the API from the same description programs get.
func (a *API) serveDocs(w http.ResponseWriter, r *http.Request) {
	doc := a.huma.OpenAPI()
	page := struct {
		Version, Description string
		Operations           []docsOperation
	}{doc.Info.Version, doc.Info.Description, nil}
	for _, rt := range routes {
		item := doc.Paths[rt.path]
		op := map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete}[rt.method]
		d := docsOperation{ID: op.OperationID, Method: rt.method, Path: rt.path, Summary: op.Summary}
		switch {
		case rt.public:
			d.Needs = "Public."
		case rt.permission == "":
			d.Needs = "For everybody who is logged in."
		default:
			d.Needs = "Needs the permission “" + string(rt.permission) + "” in the project."
		}
		for _, p := range op.Parameters {
			doc := p.Description
			if p.Schema != nil && doc == "" {
				doc = p.Schema.Description
			}
			d.Parameters = append(d.Parameters, docsField{p.Name, p.In, typeOf(p.Schema), doc, p.Required})
		}
		if op.RequestBody != nil {
			d.Body = fieldsOf(doc, op.RequestBody.Content["application/json"])
		}
		for status, resp := range op.Responses {
			if strings.HasPrefix(status, "2") {
				d.Status = status
				d.Answer = fieldsOf(doc, resp.Content["application/json"])
			}
		}
		page.Operations = append(page.Operations, d)
	}
	writePage(w, docsPage, page)
}

func writePage(w http.ResponseWriter, t *template.Template, data any) {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		newProblem(lh.Internal, http.StatusInternalServerError, "this page cannot be made").write(w)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(b.Bytes()) // the asker has gone if it fails
}

// typeOf names a schema in a word or two.
func typeOf(s *huma.Schema) string {
	switch {
	case s == nil:
		return ""
	case s.Ref != "":
		return s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
	case s.Type == huma.TypeArray:
		return "list of " + typeOf(s.Items)
	case len(s.Enum) > 0:
		var words []string
		for _, e := range s.Enum {
			if w, ok := e.(string); ok {
				words = append(words, w)
			}
		}
		if len(words) > 0 {
			return strings.Join(words, " | ")
		}
	}
	return s.Type
}

// fieldsOf lists an object's fields; those of the items where it is a list of items.
func fieldsOf(doc *huma.OpenAPI, m *huma.MediaType) []docsField {
	if m == nil || m.Schema == nil {
		return nil
	}
	resolve := func(s *huma.Schema) *huma.Schema {
		for range 3 {
			if s != nil && s.Ref != "" {
				s = doc.Components.Schemas.SchemaFromRef(s.Ref)
			}
		}
		return s
	}
	var out []docsField
	var walk func(prefix string, s *huma.Schema, depth int)
	walk = func(prefix string, s *huma.Schema, depth int) {
		s = resolve(s)
		if s == nil || depth > 2 {
			return
		}
		names := make([]string, 0, len(s.Properties))
		for n := range s.Properties {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names {
			p := s.Properties[n]
			out = append(out, docsField{Name: prefix + n, Type: typeOf(p), Doc: p.Description, Required: slices.Contains(s.Required, n)})
			if p.Type == huma.TypeArray {
				walk(prefix+n+"[].", p.Items, depth+1)
			} else if p.Ref != "" {
				walk(prefix+n+".", p, depth+1)
			}
		}
	}
	walk("", m.Schema, 0)
	return out
}

var errorPage = template.Must(template.New("errors").Parse(`<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Loggerhead API errors</title>` + docsStyle + `</head><body><main><h1>Errors</h1>
<p>Every error is a problem by RFC 9457 (<code>application/problem+json</code>) with one of these codes.</p>
{{range .}}<section id="{{.Code}}"><h2><code>{{.Code}}</code></h2><p>HTTP {{.Status}}. {{.Text}}</p></section>{{end}}</main></body></html>`))

func (a *API) serveErrorDocs(w http.ResponseWriter, r *http.Request) { writePage(w, errorPage, codes) }
