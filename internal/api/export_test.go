package api

import (
	"context"
	"math"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2/adapters/humago"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// SetStall sets how long a reader may leave an answer unread; before the first request.
func (a *API) SetStall(d time.Duration) { a.stall = d }

// SetStreams sets how many live streams there may be, and of one person; before the first request.
func (a *API) SetStreams(most, ofUser int) { a.streams.most, a.streams.ofUser = most, ofUser }

// Route is one operation, for tests of them all.
type Route struct {
	Method, Path, ID string
	Public           bool
	Permission       lh.Permission
}

// Routes lists every operation.
func Routes() []Route {
	var out []Route
	for _, r := range routes {
		out = append(out, Route{r.method, r.path, r.id, r.public, r.permission})
	}
	return out
}

// ConsibioRoutes lists every operation of the Consibio facades, by whole paths.
func ConsibioRoutes() []Route {
	var out []Route
	for _, f := range []struct {
		at     string
		routes []consibioRoute
	}{{consibioV2, consibioV2Routes()}, {consibioV1, consibioV1Routes()}} {
		for _, r := range f.routes {
			out = append(out, Route{r.method, f.at + r.path, r.id, r.public, r.permission})
		}
	}
	return out
}

// Watches returns how many projects are looked after for who listens.
func (a *API) Watches() int {
	a.watches.mu.Lock()
	defer a.watches.mu.Unlock()
	return len(a.watches.by)
}

// Looker returns what asks, as a watch does each time, who of some may listen to a project and what there is to see.
func Looker(db *store.DB, a *access.Access, project lh.ProjectID, ps []access.Principal) func(context.Context) error {
	w := &watch{api: &API{Config: Config{DB: db, Access: a, Now: time.Now}}, project: project}
	ls := make([]*listener, len(ps))
	for i, p := range ps {
		ls[i] = &listener{principal: p}
	}
	return func(ctx context.Context) error {
		_, _, err := w.check(ctx, ls)
		return err
	}
}

// Line is one line of line protocol as it was read.
type Line struct {
	Number      int
	Measurement string
	Tags        [][2]string
	Fields      map[string]float64 // NaN is a text
	Time        int64
	Timed       bool
	Err         error
}

// ReadLines reads line protocol.
func ReadLines(data []byte) []Line {
	var out []Line
	r := lineReader{data: data}
	for {
		p, done, err := r.next()
		if done {
			return out
		}
		l := Line{Number: p.line, Err: err}
		if err == nil {
			l.Measurement, l.Time, l.Timed, l.Fields = p.measurement, p.time, p.timed, map[string]float64{}
			for _, t := range p.tags {
				l.Tags = append(l.Tags, [2]string{t.key, t.value})
			}
			for _, f := range p.fields {
				if l.Fields[f.key] = f.value; f.text {
					l.Fields[f.key] = math.NaN()
				}
			}
		}
		out = append(out, l)
	}
}

// Secrets tells of each operation whether its answer is kept out of what is kept for idempotency keys.
func Secrets() map[string]bool {
	a := New(Config{})
	out := map[string]bool{}
	for _, r := range routes {
		out[r.id] = a.secret[r.id]
	}
	return out
}

// ProblemCode is a code as it is documented.
type ProblemCode struct {
	Code   lh.Code
	Status int
}

// ProblemCodes lists the codes that are documented.
func ProblemCodes() []ProblemCode {
	var out []ProblemCode
	for _, c := range codes {
		out = append(out, ProblemCode{c.Code, c.Status})
	}
	return out
}

// Deprecated returns a handler of one operation whose end is announced, and its description.
func Deprecated(since, sunset time.Time, successor string) (http.Handler, []byte) {
	a := New(Config{})
	mux := http.NewServeMux()
	a.huma = humago.New(mux, a.openAPIConfig())
	r := public("GET", "/api/v1/old", "get-old", "Old", func(*API, context.Context, *struct{}) (*one[string], error) {
		return &one[string]{"old"}, nil
	}).deprecated(since, sunset, successor)
	r.register(a, r)
	doc, err := a.huma.OpenAPI().MarshalJSON()
	if err != nil {
		panic(err)
	}
	return mux, doc
}

// ParseTags, VersionsOf and Accepts read headers.
func ParseTags(given []string) (int, bool, error) {
	tags, star, err := parseTags(given)
	return len(tags), star, err
}

// VersionsOf reads If-Match.
func VersionsOf(given []string) ([]int64, error) { return versionsOf(given) }

// Accepts reads Accept.
func Accepts(accept string) bool { return accepts(accept, []string{"application/json", "text/csv"}) }

// BulkTable reads a table of locations and returns how many rows it has, and how many are wrong.
func BulkTable(a *API, body []byte, array bool) (rows, wrong int, err error) {
	p := bulkReader[NewLocation]{schemas: a.huma.OpenAPI().Components.Schemas}
	p.schema = p.schemas.Schema(reflect.TypeFor[NewLocation](), true, "NewLocation")
	if array {
		err = p.array(body)
	} else {
		err = p.table(body)
	}
	return len(p.rows), len(p.wrong) + p.more, err
}
