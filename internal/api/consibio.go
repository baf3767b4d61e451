package api

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Two public APIs of Consibio Cloud, so that the scripts people have work when only the host in them is changed: v2
// under /consibio/v2 and v1 under /consibio/rest, and both at / and /rest of a host name of their own. They are thin:
// who is asking, what they may and what they see comes from where /api/v1 has it. docs/consibio.md says what is the same
// and what differs. They know no cookie, so no page of another site can ask in somebody's name.

// Where the facades stand.
const (
	consibioV2 = "/consibio/v2"
	consibioV1 = "/consibio/rest"
)

// consibioRoute is one operation of a facade. As with [routes], there are three ways in and no other: public by name,
// what concerns the caller alone, and what is in a project, whose handler gets a scope.
type consibioRoute struct {
	method, path, id string // path as it stands under its facade; {x} is one segment
	public           bool
	permission       lh.Permission // "" where it concerns no project
	handle           func(*consibioCall) error
	cost             int    // as of [route]
	class            string // as of [route]
	segments         []string
}

// consibioV2Routes and consibioV1Routes are every operation of the facades with who may call it.
func consibioV2Routes() []consibioRoute {
	read := lh.PermRead
	return []consibioRoute{
		{method: "GET", path: "/test", id: "consibio-v2-test", public: true, handle: consibioTest},
		{method: "POST", path: "/oauth/token", id: "consibio-v2-token", public: true, handle: consibioToken},
		{method: "POST", path: "/login", id: "consibio-v2-login", public: true, handle: consibioLogIn},
		{method: "GET", path: "/users/me", id: "consibio-v2-me", handle: consibioMe},
		{method: "GET", path: "/projects", id: "consibio-v2-projects", handle: consibioProjects},
		{method: "GET", path: "/projects/{project}", id: "consibio-v2-project", permission: read, handle: consibioOneProject},
		{method: "GET", path: "/projects/{project}/devices", id: "consibio-v2-devices", permission: read, handle: consibioDevices},
		{method: "GET", path: "/projects/{project}/devices/{device}", id: "consibio-v2-device", permission: read, handle: consibioOneDevice},
		{method: "GET", path: "/projects/{project}/elements", id: "consibio-v2-elements", permission: read, handle: consibioElements},
		{method: "GET", path: "/projects/{project}/elements/{element}", id: "consibio-v2-element", permission: read, handle: consibioOneElement},
		{method: "GET", path: "/projects/{project}/datalog", id: "consibio-v2-datalog", permission: read, handle: consibioDatalog, cost: costRead, class: classSeries},
	}
}

func consibioV1Routes() []consibioRoute {
	read := lh.PermRead
	return []consibioRoute{
		{method: "POST", path: "/login", id: "consibio-v1-login", public: true, handle: consibioLogIn},
		{method: "GET", path: "/list_projects", id: "consibio-v1-projects", handle: consibioProjects},
		{method: "GET", path: "/list_devices_in_project", id: "consibio-v1-devices", permission: read, handle: consibioDevicesV1},
		{method: "GET", path: "/list_elements_in_project", id: "consibio-v1-elements", permission: read, handle: consibioElements},
		{method: "GET", path: "/get_element_value", id: "consibio-v1-value", permission: read, handle: consibioValueV1, class: classLatest},
		{method: "GET", path: "/get_datalog_for_element", id: "consibio-v1-datalog", permission: read, handle: consibioDatalogV1, cost: costRead, class: classSeries},
	}
}

// consibioFacade answers one of the two.
type consibioFacade struct {
	api    *API
	routes []consibioRoute
}

func (a *API) consibio(routes []consibioRoute) consibioFacade {
	for i := range routes {
		routes[i].segments = segmentsOf(routes[i].path)
	}
	return consibioFacade{a, routes}
}

// segmentsOf cuts a path. Slashes too many, as scripts have them that join a host and a path, count for nothing.
func segmentsOf(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// consibioCall is one request; the goroutine of the request owns it.
type consibioCall struct {
	api       *API
	w         http.ResponseWriter
	r         *http.Request
	query     consibioQuery
	path      map[string]string
	principal access.Principal
	scope     store.Scope
	status    int // written, 0 while nothing is
}

// consibioHandler leads to the facades by path, and where a host of their own is set, by that.
func (a *API) consibioHandler(next http.Handler, wrap func(http.Handler) http.HandlerFunc) http.Handler {
	v2, v1 := a.consibio(consibioV2Routes()), a.consibio(consibioV1Routes())
	facades := wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		if rest, ok := cutPath(path, consibioV2); ok {
			v2.serve(w, r, rest)
		} else if rest, ok := cutPath(path, consibioV1); ok {
			v1.serve(w, r, rest)
		} else if rest, ok := cutPath(path, "/rest"); ok {
			v1.serve(w, r, rest)
		} else {
			v2.serve(w, r, path)
		}
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		_, isV2 := cutPath(path, consibioV2)
		_, isV1 := cutPath(path, consibioV1)
		if isV2 || isV1 || a.ConsibioHost != "" && strings.EqualFold(hostOf(r), a.ConsibioHost) {
			facades(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// cutPath takes a prefix of whole segments off a path.
func cutPath(path, prefix string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, prefix)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// hostOf returns the host a request names, without its port.
func hostOf(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.TrimSuffix(host, ".")
}

// find returns the operation of a method and an escaped path, and what stands in its places.
func (f consibioFacade) find(method, path string) (*consibioRoute, map[string]string) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	have := segmentsOf(path)
	for i := range f.routes {
		r := &f.routes[i]
		if r.method != method || len(r.segments) != len(have) {
			continue
		}
		values := map[string]string{}
		matches := true
		for k, want := range r.segments {
			got, err := url.PathUnescape(have[k])
			if name, ok := strings.CutPrefix(want, "{"); ok {
				values[strings.TrimSuffix(name, "}")] = got
				matches = matches && err == nil
			} else {
				matches = matches && got == want
			}
		}
		if matches {
			return r, values
		}
	}
	return nil, nil
}

func (f consibioFacade) serve(w http.ResponseWriter, r *http.Request, path string) {
	w.Header().Set("Cache-Control", "no-store")
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	c := &consibioCall{api: f.api, w: w, r: r, query: parseConsibioQuery(r.URL.RawQuery)}
	route, values := f.find(r.Method, path)
	if route == nil {
		c.answer(http.StatusNotFound, consibioFailure("Not found"))
		return
	}
	c.path = values
	if err := c.run(route); err != nil {
		c.fail(err)
	}
	f.api.requests.WithLabelValues(route.id, strconv.Itoa(c.status/100)+"xx").Inc()
}

// run checks who is asking and whether they may, and only then hands on.
func (c *consibioCall) run(route *consibioRoute) error {
	if route.public {
		if err := c.api.stranger(c.w, c.r); err != nil {
			return err
		}
		return route.handle(c)
	}
	err := c.prove()
	if err != nil {
		if over := c.api.stranger(c.w, c.r); over != nil {
			return over
		}
		return err
	}
	leave, err := c.api.admit(c.w, c.r, c.principal, limitedRoute(route))
	if err != nil {
		return err
	}
	defer leave()
	if route.permission != "" {
		project := c.path["project"]
		if project == "" { // v1
			project = c.query.get("project_id")
		}
		if c.scope, err = c.api.Access.Scope(c.r.Context(), c.principal, lh.ProjectID(project)); err != nil {
			return err
		}
		if !c.scope.Allows(route.permission) {
			return lh.Errorf(lh.Forbidden, "this role may not do this")
		}
	}
	return route.handle(c)
}

// limitedRoute is the operation as the limits of /api/v1 know operations.
func limitedRoute(r *consibioRoute) route {
	return route{method: r.method, cost: r.cost, class: r.class}
}

// prove finds out who is asking.
func (c *consibioCall) prove() error {
	token, ok := bearerOf(c.r)
	if !ok {
		return lh.Errorf(lh.Unauthenticated, "log in first, or again")
	}
	var err error
	if c.principal, err = c.api.Access.Authenticate(c.r.Context(), token, remoteAddr(c.r)); err != nil {
		return err
	}
	if err := c.api.Access.FactorMissing(c.principal); err != nil {
		return err
	}
	c.api.Access.Seen(c.r.Context(), c.principal, c.r.UserAgent())
	return nil
}

// bearerOf returns the token of a request's Authorization.
func bearerOf(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, ok && strings.EqualFold(scheme, "bearer") && token != ""
}

// consibioEnvelope is around every answer but two.
type consibioEnvelope struct {
	Payload any    `json:"payload"`
	Status  string `json:"status"`
}

func consibioFailure(text string) consibioEnvelope {
	return consibioEnvelope{map[string]string{"error": text}, "error"}
}

// ok answers with a payload.
func (c *consibioCall) ok(payload any) error {
	c.answer(http.StatusOK, consibioEnvelope{payload, "ok"})
	return nil
}

func (c *consibioCall) answer(status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		c.fail(err)
		return
	}
	c.write(status, "application/json", b)
}

func (c *consibioCall) write(status int, kind string, b []byte) {
	c.status = status
	c.w.Header().Set("Content-Type", kind)
	c.w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	c.w.WriteHeader(status)
	out := c.api.patientWriter(c.w)
	out.Write(b) // the asker has gone if it fails
}

// fail answers an error as these APIs do: what is not there, or not the asker's to see, is no error of HTTP, and the two
// read alike.
func (c *consibioCall) fail(err error) {
	if errors.Is(err, errConsibioBroken) { // half an answer is out
		panic(http.ErrAbortHandler) // net/http's way to cut the connection without a log entry
	}
	p := problemOf(c.api.Log, c.r, err)
	switch p.Code {
	case lh.NotFound, lh.Forbidden:
		c.answer(http.StatusOK, consibioFailure("No data found"))
	case lh.Unauthenticated:
		challenge := "Bearer"
		if _, sent := bearerOf(c.r); sent { // RFC 6750, section 3.1: only who sent a token is told that it is no good
			challenge = `Bearer error="invalid_token"`
		}
		c.w.Header().Set("WWW-Authenticate", challenge)
		c.write(http.StatusUnauthorized, "text/plain; charset=utf-8", []byte("Unauthenticated"))
	case lh.Invalid, lh.Conflict:
		c.answer(http.StatusOK, consibioFailure(p.Detail))
	default: // their clients know no code for it, but stop at the status
		if after := p.retryAfter(); after != "" {
			c.w.Header().Set("Retry-After", after)
		}
		c.answer(p.Status, consibioFailure(p.Detail))
	}
}

// consibioQuery is a query or form, in the order it came.
type consibioQuery []consibioPair

type consibioPair struct{ name, raw string } // raw is still escaped

// parseConsibioQuery cuts a query at & alone: a raw ";" belongs to the value, which url.ParseQuery would drop with a
// word of it.
func parseConsibioQuery(raw string) consibioQuery {
	var q consibioQuery
	for part := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		if name, err := url.QueryUnescape(name); err == nil && name != "" {
			q = append(q, consibioPair{name, value})
		}
	}
	return q
}

// raw returns the first value of a name, as it was sent.
func (q consibioQuery) raw(name string) string {
	if i := slices.IndexFunc(q, func(p consibioPair) bool { return p.name == name }); i >= 0 {
		return q[i].raw
	}
	return ""
}

// get returns the first value of a name; "" too where it cannot be read.
func (q consibioQuery) get(name string) string {
	v, err := url.QueryUnescape(q.raw(name))
	if err != nil {
		return ""
	}
	return v
}
