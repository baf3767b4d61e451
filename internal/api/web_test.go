package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

func TestWebApp(t *testing.T) {
	index := "<!doctype html><title>Loggerhead</title>" + strings.Repeat("<p>x</p>", 100)
	script := strings.Repeat("console.log(1);\n", 200)
	r := newRig(t, storetest.SQLite(t), rigOptions{web: fstest.MapFS{
		"index.html": {Data: []byte(index)}, "assets/index-abc123.js": {Data: []byte(script)}, "assets/style-1.css": {Data: []byte("body{}")},
		"assets/font-1.woff2": {Data: []byte("wOF2")}, "favicon.svg": {Data: []byte("<svg/>")}, "logo.png": {Data: []byte("\x89PNG")},
		"data/land.bin": {Data: []byte{1, 2, 3}}, ".env": {Data: []byte("secret")}, "assets/.map": {Data: []byte("secret")},
	}})
	plain := header("Accept-Encoding", "identity")
	get := func(path string, opts ...option) answer { t.Helper(); return r.do("GET", path, nil, opts...) }
	for _, path := range []string{"/", "/index.html", "/projects/prj_x/devices/dev_y", "/login", "/apix", "/.env", "/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "/favicon.ico"} {
		if a := get(path, plain); a.status != 200 || string(a.body) != index || a.header.Get("Content-Type") != "text/html; charset=utf-8" || a.header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %d %q %q", path, a.status, a.header.Get("Content-Type"), a.header.Get("Cache-Control"))
		}
	}
	for path, kind := range map[string]string{"/assets/index-abc123.js": "text/javascript; charset=utf-8", "/assets/style-1.css": "text/css; charset=utf-8", "/assets/font-1.woff2": "font/woff2",
		"/favicon.svg": "image/svg+xml", "/logo.png": "image/png", "/data/land.bin": "application/octet-stream"} {
		a := get(path, plain)
		if a.status != 200 || a.header.Get("Content-Type") != kind {
			t.Errorf("%s: %d %q", path, a.status, a.header.Get("Content-Type"))
		}
		if forever := strings.Contains(a.header.Get("Cache-Control"), "immutable"); forever != strings.HasPrefix(path, "/assets/") {
			t.Errorf("%s: Cache-Control %q", path, a.header.Get("Cache-Control"))
		}
	}
	// An asset that is not there is not the index: a browser with an old page would take it for a script.
	for _, path := range []string{"/assets/gone-1.js", "/assets/.map", "/assets/"} {
		if a := get(path); a.status != 404 || bytes.Contains(a.body, []byte("secret")) {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	z := get("/assets/index-abc123.js", header("Accept-Encoding", "br, gzip"))
	if z.header.Get("Content-Encoding") != "gzip" || z.header.Get("Vary") != "Accept-Encoding" || len(z.body) >= len(script)/2 {
		t.Errorf("asked for gzip: %v, %d bytes", z.header, len(z.body))
	}
	if zr, err := gzip.NewReader(bytes.NewReader(z.body)); err != nil {
		t.Error(err)
	} else if b, err := io.ReadAll(zr); err != nil || string(b) != script {
		t.Errorf("gzip holds %d bytes, %v", len(b), err)
	}
	if a := get("/assets/index-abc123.js", header("Accept-Encoding", "gzip;q=0, br")); a.header.Get("Content-Encoding") != "" {
		t.Error("gzip for one who does not take it")
	}
	etag := get("/", plain).header.Get("ETag")
	for _, given := range []string{etag, `"other", ` + etag, "W/" + etag, "*"} {
		if a := get("/projects", plain, header("If-None-Match", given)); a.status != http.StatusNotModified || len(a.body) != 0 {
			t.Errorf("If-None-Match %s: %d", given, a.status)
		}
	}
	if a := get("/", header("If-None-Match", etag), header("Accept-Encoding", "gzip")); a.status != 200 || a.header.Get("ETag") == etag {
		t.Errorf("two encodings have one ETag: %d %s", a.status, a.header.Get("ETag"))
	}
	if a := get("/", header("If-None-Match", `"other"`)); a.status != 200 {
		t.Errorf("another ETag: %d", a.status)
	}
	if a := r.do("HEAD", "/", nil); a.status != 200 || len(a.body) != 0 || a.header.Get("ETag") == "" {
		t.Errorf("HEAD: %d", a.status)
	}
	for _, m := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
		if a := r.do(m, "/", nil); a.status != http.StatusMethodNotAllowed || !strings.Contains(a.header.Get("Allow"), "GET") {
			t.Errorf("%s /: %d, Allow %q", m, a.status, a.header.Get("Allow"))
		}
	}
	if a := newRig(t, storetest.SQLite(t), rigOptions{}).do("GET", "/", nil); a.status != 404 {
		t.Errorf("without an app: %d", a.status)
	}
}

// TestOpenAPI: the description is golden, complete, says of each operation who may call it, and refers to nothing that
// is not there.
func TestOpenAPI(t *testing.T) {
	r := newRig(t, storetest.SQLite(t), rigOptions{})
	token := bearer(r.token("owner@a.example"))
	a := r.do("GET", "/api/v1/openapi.json", nil, token)
	if a.status != 200 || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %q", a.status, a.header.Get("Content-Type"))
	}
	if b := r.do("GET", "/api/v1/openapi.json", nil, token); !bytes.Equal(a.body, b.body) {
		t.Error("the description changes from call to call")
	}
	direct, err := r.api.OpenAPI()
	if err != nil || !bytes.Equal(direct, a.body) {
		t.Errorf("OpenAPI() is not what is served, %v", err)
	}
	golden(t, "openapi.json", a.body)
	var doc struct {
		OpenAPI    string
		Info       struct{ Title, Version string }
		Paths      map[string]map[string]operation
		Components struct {
			Schemas, SecuritySchemes map[string]any
		}
		Security []map[string][]string
	}
	if err := json.Unmarshal(a.body, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") || doc.Info.Title == "" || doc.Info.Version != "1.0.0-test" || len(doc.Security) == 0 {
		t.Errorf("head: %s %+v %v", doc.OpenAPI, doc.Info, doc.Security)
	}
	ids := map[string]bool{}
	n := 0
	for path, ops := range doc.Paths {
		n += len(ops)
		for method, op := range ops {
			if ids[op.OperationID] {
				t.Errorf("%s stands twice", op.OperationID)
			}
			ids[op.OperationID] = true
			named := map[string]bool{}
			for _, p := range op.Parameters {
				if p.Schema == nil {
					t.Errorf("%s: parameter %s has no schema", op.OperationID, p.Name)
				}
				if p.In == "path" {
					named[p.Name] = p.Required
				}
			}
			for part := range strings.SplitSeq(path, "/") {
				if name, ok := strings.CutPrefix(part, "{"); ok && !named[strings.TrimSuffix(name, "}")] {
					t.Errorf("%s %s: %s is not described, or not required", method, path, part)
				}
			}
			ok := false
			for status, resp := range op.Responses {
				ok = ok || status == "204" || status[0] == '2' && len(resp.Content) > 0
			}
			if _, def := op.Responses["default"]; !ok || !def {
				t.Errorf("%s: its answers are not described: %v", op.OperationID, op.Responses)
			}
		}
	}
	for _, route := range api.Routes() {
		op, ok := doc.Paths[route.Path][strings.ToLower(route.Method)]
		if !ok || op.OperationID != route.ID || op.Summary == "" {
			t.Errorf("%s is not described", route.ID)
			continue
		}
		if public := op.Security != nil && len(*op.Security) == 0; public != route.Public {
			t.Errorf("%s: public is %v in the description, %v in the table", route.ID, public, route.Public)
		}
		if route.Permission != "" && !strings.Contains(op.Description, "“"+string(route.Permission)+"”") {
			t.Errorf("%s does not say that it needs %q: %q", route.ID, route.Permission, op.Description)
		}
	}
	if n != len(api.Routes()) {
		t.Errorf("%d operations are described, there are %d", n, len(api.Routes()))
	}
	var whole any
	if err := json.Unmarshal(a.body, &whole); err != nil {
		t.Fatal(err)
	}
	refs(t, whole, whole)
}

type operation struct {
	OperationID, Summary, Description string
	Security                          *[]map[string][]string
	Parameters                        []struct {
		Name, In string
		Required bool
		Schema   any
	}
	Responses map[string]struct{ Content map[string]any }
}

// refs checks that every $ref of v leads somewhere in root.
func refs(t *testing.T, root, v any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			at := root
			for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
				m, _ := at.(map[string]any)
				at = m[part]
			}
			if at == nil {
				t.Errorf("%s leads nowhere", ref)
			}
		}
		for _, x := range v {
			refs(t, root, x)
		}
	case []any:
		for _, x := range v {
			refs(t, root, x)
		}
	}
}

func TestDocsPages(t *testing.T) {
	r := newRig(t, storetest.SQLite(t), rigOptions{})
	token := bearer(r.token("owner@a.example"))
	a := r.do("GET", "/api/docs", nil, token)
	if a.status != 200 || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %q", a.status, a.header.Get("Content-Type"))
	}
	for _, route := range api.Routes() {
		if !bytes.Contains(a.body, []byte(fmt.Sprintf(`<section id="%s"><h2><code>%s %s</code>`, route.ID, route.Method, route.Path))) {
			t.Errorf("the page lacks %s", route.ID)
		}
	}
	if bytes.Contains(a.body, []byte("<script")) {
		t.Error("the page has a script, which its policy forbids")
	}
	e := r.do("GET", "/api/docs/errors", nil, token)
	for _, c := range lh.Codes {
		if !bytes.Contains(e.body, []byte(fmt.Sprintf(`<section id="%s">`, c))) {
			t.Errorf("the page of errors lacks %s", c)
		}
	}
}
