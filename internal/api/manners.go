package api

import (
	"cmp"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// manners is what a route has beside its permission and its handler.
type manners struct {
	secret bool  // its answer shows a secret once, and so is never kept
	body   int64 // bytes that a request may have; 0 is maxBody
	gone   *deprecation
	rows   func(huma.Registry) *huma.RequestBody // of a bulk
}

// secrets keeps an operation's answer out of what is kept for idempotency keys. Answers with a field that is named like a
// secret are kept out without it.
func (r route) secrets() route {
	r.secret = true
	return r
}

// bodies sets how large a request may be.
func (r route) bodies(most int64) route {
	r.manners.body = most
	return r
}

// bulky makes an operation one that takes many rows, in a body that is described so.
func (r route) bulky(body func(huma.Registry) *huma.RequestBody) route {
	r.rows = body
	return r.bodies(maxBulkBytes).costs(costBulk)
}

// deprecation is the announced end of an operation: see docs/api.md for how long that takes.
type deprecation struct {
	since, sunset time.Time
	successor     string // path of the page or operation that takes its place
}

// deprecated announces that an operation will go at sunset. Its answers say so (RFC 9745, RFC 8594), and so does the
// description.
func (r route) deprecated(since, sunset time.Time, successor string) route {
	r.gone = &deprecation{since, sunset, successor}
	return r
}

func (d *deprecation) announce(h http.Header) {
	h.Set("Deprecation", "@"+strconv.FormatInt(d.since.Unix(), 10))
	h.Set("Sunset", d.sunset.UTC().Format(http.TimeFormat))
	h.Add("Link", "<"+d.successor+`>; rel="successor-version"`)
	h.Add("Link", `</api/docs#deprecation>; rel="deprecation"; type="text/html"`)
}

// behave runs an operation with the manners that all have.
func (a *API) behave(rt route, op *huma.Operation, c huma.Context, next func(huma.Context)) {
	if rt.gone != nil {
		h := http.Header{}
		rt.gone.announce(h)
		for name, values := range h {
			for _, v := range values {
				c.AppendHeader(name, v)
			}
		}
	}
	offered := []string{"application/json"}
	for status, resp := range op.Responses {
		if strings.HasPrefix(status, "2") && len(resp.Content) > 0 {
			for t := range resp.Content {
				offered = append(offered, t)
			}
		}
	}
	if !accepts(c.Header("Accept"), offered) { // before anything is done, not after
		slices.Sort(offered)
		newProblem(codeNotAcceptable, http.StatusNotAcceptable, "this operation answers "+strings.Join(slices.Compact(offered), ", ")+", which Accept does not take").answer(c)
		return
	}
	a.idempotent(rt, c, next)
}

// accepts reports whether an Accept header takes one of the offered types; problems are sent in any case.
func accepts(accept string, offered []string) bool {
	if strings.TrimSpace(accept) == "" {
		return true
	}
	for item := range strings.SplitSeq(accept, ",") {
		t, params, err := mime.ParseMediaType(strings.TrimSpace(item))
		if err != nil {
			continue
		}
		if q, err := strconv.ParseFloat(cmp.Or(params["q"], "1"), 64); err != nil || q <= 0 {
			continue
		}
		group, rest, _ := strings.Cut(t, "/")
		for _, o := range offered {
			if t == "*/*" || t == o || rest == "*" && strings.HasPrefix(o, group+"/") {
				return true
			}
		}
	}
	return false
}

// answer writes a problem as an operation's answer.
func (p *Problem) answer(c huma.Context) {
	p.headers(c.SetHeader)
	c.SetStatus(p.Status)
	p.encode(c.BodyWriter())
}

// described returns the description of a path's method.
func described(item *huma.PathItem, method string) *huma.Operation {
	return map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete}[method]
}

// describe adds to a description what no input type says.
func describe(item *huma.PathItem, r route) {
	op := described(item, r.method)
	for _, p := range op.Parameters {
		if p.Name == "sort" && r.sorts != nil {
			p.Schema.Enum = nil
			for _, f := range r.sorts {
				p.Schema.Enum = append(p.Schema.Enum, f, "-"+f)
			}
		}
	}
	header := func(name, doc string) {
		op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "header", Description: doc, Schema: &huma.Schema{Type: huma.TypeString}})
	}
	switch {
	case r.method == http.MethodGet:
		if resp := op.Responses["200"]; resp != nil && resp.Content["application/json"] != nil && resp.Content["text/csv"] == nil {
			header("If-None-Match", "ETag of an earlier answer: where it would be the same, 304 comes without a body")
			op.Responses["304"] = &huma.Response{Description: "Not Modified"}
		}
	case r.permission != "" && strings.Contains(strings.TrimPrefix(r.path, "/api/v1/projects/{project}"), "{") || r.permission != "" && r.method != http.MethodPost:
		header("If-Match", "ETag of what you read, or *: where it has changed since, 412 comes and nothing is done")
	}
	if r.method == http.MethodPost && !r.public {
		header("Idempotency-Key", "A key of your own, such as a UUID: the request is carried out once, however often it is sent within a day")
	}
	op.Deprecated = r.gone != nil
}

// bodyLimits returns how large requests may be, by pattern of the mux, where that is not maxBody.
func bodyLimits(routes []route) map[string]int64 {
	limits := map[string]int64{}
	for _, r := range routes {
		if r.manners.body > 0 {
			limits[r.method+" "+r.path] = r.manners.body
		}
	}
	return limits
}

// methodsOf returns the methods that a path has.
func methodsOf(mux *http.ServeMux, r *http.Request, none string) []string {
	var found []string
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		q := r.Clone(r.Context())
		q.Method = m
		if _, pattern := mux.Handler(q); pattern != none && pattern != "" {
			found = append(found, m)
		}
	}
	return found
}

// noOperation answers what no operation takes: 405 where the path has others.
func noOperation(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if allowed := methodsOf(mux, r, "/api/"); len(allowed) > 0 {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			newProblem(codeMethod, http.StatusMethodNotAllowed, "this path takes "+strings.Join(allowed, ", ")+"; /api/docs lists the operations").write(w)
			return
		}
		newProblem(lh.NotFound, http.StatusNotFound, "there is no such operation; /api/docs lists them").write(w)
	}
}

// nullable says of fields that are a thing or null that they are; huma cannot say it of what has a name.
func nullable(schemas huma.Registry, fields map[string][]string) {
	for name, props := range fields {
		s := schemas.Map()[name]
		if s == nil {
			continue
		}
		for _, p := range props {
			if f := s.Properties[p]; f != nil && f.Ref != "" {
				s.Properties[p] = &huma.Schema{OneOf: []*huma.Schema{{Ref: f.Ref}, {Type: "null"}}, Description: f.Description}
			}
		}
	}
}

// nullFields are the fields that may be null, by the schema that has them.
func nullFields() map[string][]string {
	return map[string][]string{"Device": {"battery"}, "Correction": {"by", "revoked_by"}, "Approval": {"by", "revoked_by"}}
}
