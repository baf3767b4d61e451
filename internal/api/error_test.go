package api_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

// TestEveryCode: each code that is documented comes of some request, with its status, and each that comes is documented.
func TestEveryCode(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		r.api.SetStreams(0, 0)
		r.member("viewer@a.example", lh.RoleViewer)
		token, viewer := bearer(r.token("owner@a.example")), bearer(r.token("viewer@a.example"))
		loc := r.path("locations", locationCall(nil)(r, r.owner).path["location"])
		here := r.site(r.owner, "Here", "1/level")
		tag := r.do("GET", loc, nil, token).header.Get("ETag")
		r.do("PATCH", loc, map[string]any{"name": "x"}, token)
		r.do("POST", r.path("locations"), map[string]any{"name": "x"}, token, header("Idempotency-Key", "used"))
		got := map[lh.Code]answer{
			lh.Invalid:           r.do("POST", r.path("locations"), "{}", token),
			lh.Unauthenticated:   r.do("GET", loc, nil),
			lh.Forbidden:         r.do("PATCH", loc, map[string]any{"name": "x"}, viewer),
			lh.NotFound:          r.do("GET", loc+"x", nil, token),
			lh.Conflict:          r.do("DELETE", r.path("locations", string(here.location.ID)), nil, token),
			lh.Stale:             r.do("PATCH", loc, map[string]any{"name": "y"}, token, header("If-Match", tag)),
			"method_not_allowed": r.do("PUT", loc, "{}", token),
			"not_acceptable":     r.do("GET", loc, nil, token, header("Accept", "text/html;q=0.9, image/png")),
			"too_large":          r.do("POST", r.path("locations"), strings.Repeat(" ", 70_000), token),
			"unsupported_type":   r.do("POST", r.path("locations"), "name: a", token, header("Content-Type", "application/yaml")),
			"key_reused":         r.do("POST", r.path("locations"), map[string]any{"name": "z"}, token, header("Idempotency-Key", "used")),
		}
		if allow := got["method_not_allowed"].header.Get("Allow"); !strings.Contains(allow, "PATCH") || strings.Contains(allow, "PUT") {
			t.Errorf("allowed are %s", allow)
		}
		got[lh.Exhausted] = r.do("GET", r.path("changes")+"?wait=1&since=start", nil, token)
		// A body that does not come.
		body, end, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer end.Close()
		req, err := http.NewRequestWithContext(ctx, "POST", r.server.URL+r.path("locations"), body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		token(req)
		resp, err := r.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var b bytes.Buffer
		b.ReadFrom(resp.Body)
		got["timeout"] = answer{resp.StatusCode, resp.Header, b.Bytes()}
		got["under_way"] = r.underWay(token)
		r.broken = true
		if err := r.db.Close(); err != nil {
			t.Fatal(err)
		}
		got[lh.Internal] = r.do("GET", loc, nil, token)
		for _, c := range api.ProblemCodes() {
			if c.Code == lh.Unavailable { // of a hub that is stopping, or whose disk is full: e2e
				continue
			}
			a, ok := got[c.Code]
			if !ok {
				t.Errorf("%s is documented and not tested here", c.Code)
				continue
			}
			if p := a.problem(t); p.Code != c.Code || a.status != c.Status {
				t.Errorf("%s: %d %+v", c.Code, a.status, p)
			}
			delete(got, c.Code)
		}
		for code := range got {
			t.Errorf("%s is not documented", code)
		}
	})
}

// underWay sends a request with a key while the first with it is under way, whose body keeps it.
func (r *rig) underWay(token option) answer {
	r.t.Helper()
	for i := range 50 {
		key := header("Idempotency-Key", fmt.Sprintf("race %d", i))
		rows := make([]map[string]any, 3000)
		for i := range rows {
			rows[i] = map[string]any{"name": "x"}
		}
		first := make(chan answer, 1)
		go func() { first <- r.do("POST", r.path("locations", "bulk"), rows, token, key) }()
		time.Sleep(20 * time.Millisecond)
		second := r.do("POST", r.path("locations", "bulk"), rows, token, key)
		<-first
		if second.status == http.StatusConflict {
			return second
		}
	}
	r.t.Error("two requests with one key never met")
	return answer{}
}

// TestErrorPages: the page of errors and docs/api.md have every code, and every code of the vocabulary is among them.
func TestErrorPages(t *testing.T) {
	guide, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[lh.Code]bool{}
	each(t, rigOptions{}, func(r *rig) {
		page := r.as("owner@a.example", "GET", "/api/docs/errors", nil)
		doc := r.as("owner@a.example", "GET", "/api/v1/openapi.json", nil)
		for _, c := range api.ProblemCodes() {
			known[c.Code] = true
			if !bytes.Contains(page.body, []byte(`id="`+string(c.Code)+`"`)) || !bytes.Contains(guide, []byte(fmt.Sprintf("| `%s` | %d |", c.Code, c.Status))) || !bytes.Contains(doc.body, []byte(`"`+c.Code+`"`)) {
				t.Errorf("%s is missing in the page of errors, in docs/api.md or in the description", c.Code)
			}
		}
	})
	for _, c := range lh.Codes {
		if !known[c] {
			t.Errorf("%s is not documented", c)
		}
	}
}

// TestDeprecation: an operation whose end is announced says so in each answer and in the description.
func TestDeprecation(t *testing.T) {
	since, sunset := time.Date(2027, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(2028, 1, 2, 0, 0, 0, 0, time.UTC)
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		h, doc := api.Deprecated(since, sunset, "/api/v1/projects")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/old", nil))
		a := answer{w.Code, w.Header(), w.Body.Bytes()}
		if a.status != 200 || a.header.Get("Deprecation") != "@1798848000" || a.header.Get("Sunset") != "Sun, 02 Jan 2028 00:00:00 GMT" ||
			!strings.Contains(strings.Join(a.header.Values("Link"), ","), `</api/v1/projects>; rel="successor-version"`) {
			t.Errorf("%d %v", a.status, a.header)
		}
		if !bytes.Contains(doc, []byte(`"deprecated":true`)) {
			t.Errorf("the description does not say so: %s", doc)
		}
		if a := r.do("GET", "/api/v1/projects", nil, bearer(r.token("owner@a.example"))); a.header.Get("Deprecation") != "" {
			t.Error("an operation that stays is announced to end")
		}
	})
}
