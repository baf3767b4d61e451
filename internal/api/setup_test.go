package api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/access/accesstest"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
	"github.com/loggerhead-cloud/loggerhead/internal/fleet"
	"github.com/loggerhead-cloud/loggerhead/internal/ingest"
	"github.com/loggerhead-cloud/loggerhead/internal/report"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

var (
	ctx    = context.Background()
	update = flag.Bool("update", false, "write the golden files anew")
)

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, got, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has changed; if that is meant, run: go test ./internal/api -update", path)
	}
}

// rig is a hub's whole people's side over real TLS.
type rig struct {
	t       *testing.T
	o       store.Options
	db      *store.DB
	clock   storetest.Clock
	log     *logBuffer
	access  *access.Access
	fleet   *fleet.Fleet
	ingest  *ingest.Ingest
	engine  *series.Engine
	exports *report.Exports
	api     *api.API
	server  *httptest.Server
	owner   store.Scope // of project a
	tokens  map[string]string
	broken  bool // the test has closed the database

	provider *accesstest.Provider // with rigOptions.provider
	active   atomic.Int64         // requests under way
}

// logBuffer keeps what the hub logs.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *logBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

type rigOptions struct {
	web         fs.FS
	subscribe   func(lh.ProjectID, int) (<-chan ingest.Event, func() bool, func())
	http1       bool
	readTimeout time.Duration
	limits      access.Limits
	writeBuffer int // of the sockets; 0 is the system's
	// consibioHost is the facade's own host name.
	consibioHost string
	closed       bool   // nobody signs up without an invitation
	provider     bool   // people may log in by one, called corp
	require      string // who must have a second factor
}

// hubURL is where people reach the hub, as its links say.
const hubURL = "https://hub.example"

func newRig(t *testing.T, o store.Options, with rigOptions) *rig {
	t.Helper()
	r := &rig{t: t, o: o, log: &logBuffer{}, tokens: map[string]string{}}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	r.o.Now, r.o.Log = r.clock.Now, log
	r.db = storetest.Open(t, r.o)
	r.access = access.New(access.Options{DB: r.db, Now: r.clock.Now, Log: log, URL: hubURL, SignUpOpen: !with.closed, Providers: r.providers(with), RequireFactor: with.require})
	r.engine = series.New(r.db, series.Options{Scope: r.access.Hub, FoldAge: time.Hour, Now: r.clock.Now, Log: log})
	r.fleet = fleet.New(fleet.Options{DB: r.db, DeviceScope: r.access.DeviceScope, Now: r.clock.Now, Log: log})
	r.ingest = ingest.New(ingest.Options{Append: r.engine.Append, DB: r.db, Bind: r.fleet.Bind, Now: r.clock.Now, Log: log})
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- r.engine.Run(run) }()
	r.exports = report.New(report.Options{DB: r.db, Series: r.engine, Hub: r.access.Hub, Asker: r.access.OnBehalf, Now: r.clock.Now, Log: log})
	exporting := make(chan error, 1)
	go func() { exporting <- r.exports.Run(run) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-exporting, <-done); err != nil && !r.broken {
			t.Error(err)
		}
	})
	subscribe := r.ingest.Subscribe
	if with.subscribe != nil {
		subscribe = with.subscribe
	}
	r.api = api.New(api.Config{Access: r.access, DB: r.db, Fleet: r.fleet, Series: r.engine, Subscribe: subscribe, Send: r.ingest.Send, Exports: r.exports, Limits: with.limits, URL: "https://hub.example", Web: with.web, ConsibioHost: with.consibioHost,
		Version: "1.0.0-test", Now: r.clock.Now, Log: log})
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.active.Add(1)
		defer r.active.Add(-1)
		r.api.ServeHTTP(w, q)
	}))
	r.server.EnableHTTP2 = !with.http1
	r.server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	r.server.Config.ReadTimeout = with.readTimeout
	r.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if with.writeBuffer > 0 {
		r.server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			if err := c.(*tls.Conn).NetConn().(*net.TCPConn).SetWriteBuffer(with.writeBuffer); err != nil {
				t.Error(err)
			}
			return ctx
		}
	}
	r.server.StartTLS()
	t.Cleanup(func() {
		r.api.CloseStreams()
		r.server.Close()
	})
	u, err := r.db.CreateUser(ctx, lh.User{Email: "owner@a.example", Name: "Owner"}, passwordHash(t))
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.db.CreateProject(ctx, u.ID, lh.Project{Name: "Skjern Å", Zone: "Europe/Copenhagen"})
	if err != nil {
		t.Fatal(err)
	}
	r.owner = store.NewScope(p.ID, lh.RoleOwner, lh.Actor{Kind: lh.ActorUser, ID: string(u.ID)})
	return r
}

// logger writes into the rig's log.
func (r *rig) logger() *slog.Logger { return slog.New(slog.NewTextHandler(r.log, nil)) }

// providers starts the provider that the options want.
func (r *rig) providers(with rigOptions) []access.Provider {
	if !with.provider {
		return nil
	}
	op, err := accesstest.NewProvider(hubURL + "/sso/corp")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(op.Close)
	r.provider = op
	return []access.Provider{{Name: "corp", Label: "Corp", Issuer: op.Issuer, ClientID: accesstest.ClientID, ClientSecret: accesstest.ClientSecret,
		Scopes: []string{"email", "profile"}, Roots: op.Roots}}
}

// each runs f with a rig on each engine.
func each(t *testing.T, with rigOptions, f func(r *rig)) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) { f(newRig(t, o, with)) })
}

const password = "correct horse battery"

var hash struct {
	sync.Mutex
	phc string
}

// passwordHash hashes the password once for all tests: hashing is slow by design.
func passwordHash(t *testing.T) string {
	t.Helper()
	hash.Lock()
	defer hash.Unlock()
	if hash.phc == "" {
		db := storetest.Open(t, storetest.SQLite(t))
		if _, err := access.New(access.Options{DB: db}).CreateUser(ctx, lh.User{Email: "x@x.example", Name: "x"}, password); err != nil {
			t.Fatal(err)
		}
		var err error
		if _, hash.phc, err = db.UserByEmail(ctx, "x@x.example"); err != nil {
			t.Fatal(err)
		}
	}
	return hash.phc
}

// user makes an account.
func (r *rig) user(email string) lh.UserID {
	r.t.Helper()
	u, err := r.db.CreateUser(ctx, lh.User{Email: email, Name: "Somebody"}, passwordHash(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	return u.ID
}

// member makes an account with a role in project a.
func (r *rig) member(email string, role lh.Role, at ...lh.LocationID) lh.UserID {
	r.t.Helper()
	id := r.user(email)
	if err := r.db.SetMember(ctx, r.owner, lh.Member{User: id, Role: role, Locations: at}); err != nil {
		r.t.Fatal(err)
	}
	return id
}

// token logs somebody in, once.
func (r *rig) token(email string) string {
	r.t.Helper()
	if email == "" {
		return ""
	}
	if r.tokens[email] == "" {
		_, token, err := r.access.LogIn(ctx, email, password, "test")
		if err != nil {
			r.t.Fatalf("log in %s: %v", email, err)
		}
		r.tokens[email] = token
	}
	return r.tokens[email]
}

// answer is one whole answer.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) problem(t *testing.T) api.Problem {
	t.Helper()
	var p api.Problem
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("a problem of status %d has the type %q: %.200s", a.status, ct, a.body)
	}
	if err := d.Decode(&p); err != nil {
		t.Errorf("no problem JSON: %v: %.200s", err, a.body)
	}
	if p.Status != a.status || p.Title != http.StatusText(a.status) || p.Detail == "" || p.Type != "/api/docs/errors#"+string(p.Code) {
		t.Errorf("problem %+v with status %d", p, a.status)
	}
	return p
}

func (a answer) decode(t *testing.T, v any) {
	t.Helper()
	if a.status >= 300 {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v: %.300s", err, a.body)
	}
}

func items[T any](t *testing.T, a answer) []T {
	t.Helper()
	var l struct{ Items []T }
	a.decode(t, &l)
	return l.Items
}

type option func(*http.Request)

func bearer(token string) option {
	return func(r *http.Request) {
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
	}
}

func cookie(token string) option {
	return func(r *http.Request) { r.Header.Set("Cookie", "__Host-loggerhead="+token) }
}

func header(k, v string) option { return func(r *http.Request) { r.Header.Set(k, v) } }

func (r *rig) request(ctx context.Context, method, path string, body any, opts ...option) *http.Request {
	r.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			r.t.Fatal(err)
		}
		in = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.server.URL+path, in)
	if err != nil {
		r.t.Fatal(err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, o := range opts {
		o(req)
	}
	return req
}

// do sends a request and reads the whole answer, in at most 20 s.
func (r *rig) do(method, path string, body any, opts ...option) answer {
	r.t.Helper()
	c, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	client := *r.server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r.request(c, method, path, body, opts...))
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// as sends a request as somebody of project a.
func (r *rig) as(email, method, path string, body any) answer {
	r.t.Helper()
	return r.do(method, path, body, bearer(r.token(email)))
}

func (r *rig) path(more ...string) string {
	p := "/api/v1/projects/" + string(r.owner.Project())
	for _, m := range more {
		p += "/" + url.PathEscape(m)
	}
	return p
}

// site is a location with a device on it.
type site struct {
	location lh.Location
	device   lh.Device
	own      store.Scope
	elements []lh.Element
}

// site makes a location (where name is not "") with a device that has some channels, at the end of 60 s of silence.
func (r *rig) site(sc store.Scope, name string, channels ...string) site {
	r.t.Helper()
	s := site{}
	var err error
	if name != "" {
		if s.location, err = r.db.CreateLocation(ctx, sc, lh.Location{Name: name}); err != nil {
			r.t.Fatal(err)
		}
	}
	s.device, s.own, _ = storetest.DeviceScope(r.t, r.db, sc)
	s.device.Location, s.device.Name = s.location.ID, "Logger at "+name
	if err := r.db.ChangeDevice(ctx, sc, s.device); err != nil {
		r.t.Fatal(err)
	}
	want := make([]lh.Element, len(channels))
	for i, c := range channels {
		want[i] = lh.Element{Channel: c, Name: name + " " + c, Digits: 2, Interval: 60000, Meaning: lh.Instantaneous, Color: "#3366cc"}
		if _, q, ok := strings.Cut(c, "/"); ok {
			want[i].Quantity = q
		}
	}
	if s.elements, err = r.db.BindElements(ctx, s.own, s.device.ID, want); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// upload stores one record of a device; values go to its channels in order.
func (r *rig) upload(s site, at lh.Millis, values ...float64) {
	r.t.Helper()
	rec := wire.Record{Time: at}
	var channels []string
	for i, v := range values {
		channels = append(channels, s.elements[i].Channel)
		rec.Values = append(rec.Values, wire.Value{Channel: uint16(i), Flag: lh.FlagGood, Value: v})
	}
	r.uploadBatch(s, wire.Batch{Channels: channels, Records: []wire.Record{rec}})
}

func (r *rig) uploadBatch(s site, b wire.Batch) {
	r.t.Helper()
	raw, err := b.Append(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.ingest.Accept(ctx, s.own, s.device.ID, raw); err != nil {
		r.t.Fatal(err)
	}
}
