package api

import (
	"cmp"
	"context"
	"crypto/cipher"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/fleet"
	"github.com/loggerhead-cloud/loggerhead/internal/ingest"
	"github.com/loggerhead-cloud/loggerhead/internal/report"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Config is what the API works with. All but Web, Now, Log and Metrics must be set.
type Config struct {
	Access *access.Access
	DB     *store.DB
	Fleet  *fleet.Fleet
	Series *series.Engine
	// Subscribe gives the feed of a project's new samples; see [ingest.Ingest.Subscribe].
	Subscribe func(p lh.ProjectID, buffer int) (events <-chan ingest.Event, missed func() bool, cancel func())
	// Send stores what an integration sends; see [ingest.Ingest.Send].
	Send     func(context.Context, store.Scope, []ingest.Row) error
	Projects ProjectOptions
	Mail     bool // whether the hub sends mail; else links are in its log
	// URL is where people and programs reach the hub; "" where that is not known.
	URL string
	// Limits bound what people, programs and strangers ask; the zero Limits do not.
	Limits  access.Limits
	Web     fs.FS // the built web app; nil serves the API alone
	Exports *report.Exports
	// ConsibioHost is the host name that has the Consibio APIs at its root; "" is none.
	ConsibioHost string
	Version      string
	Now          func() time.Time
	Log          *slog.Logger
	Metrics      prometheus.Registerer
}

// ProjectOptions say how projects come and go.
type ProjectOptions struct {
	OperatorsCreate bool          // nobody else does
	DestroyAfter    time.Duration // from when it is asked for; 0 is a week
}

// API is the handler of the people's listener.
type API struct {
	Config
	huma     huma.API
	handler  http.Handler
	requests *prometheus.CounterVec
	streams  streams
	watches  watches
	looks    prometheus.Histogram // how long watches take to look
	stall    time.Duration        // writeStall, but for tests
	cursors  cipher.AEAD          // seals cursors of lists
	secret   map[string]bool      // operations whose answers are not kept for idempotency keys
	closing  context.Context      // ends when live streams shall
	stop     context.CancelFunc

	admission admission
	find      func(*http.Request) route // the operation of a request; the zero route is none
}

// Bounds of the people's listener.
const (
	maxBody    = 64 << 10
	maxStreams = 2000
	// maxUserStreams is how many live streams one person may have open: pages in many tabs, and some programs.
	maxUserStreams = 64
)

// cookieName begins with __Host-: browsers then insist on Secure, Path=/ and no Domain.
const cookieName = "__Host-loggerhead"

// New returns the API with all of its routes.
func New(c Config) *API {
	useProblems()
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Projects.DestroyAfter == 0 {
		c.Projects.DestroyAfter = 7 * 24 * time.Hour
	}
	if c.Metrics == nil {
		c.Metrics = prometheus.NewRegistry()
	}
	a := &API{Config: c, streams: streams{most: maxStreams, ofUser: maxUserStreams, by: map[string]int{}}, stall: writeStall}
	a.closing, a.stop = context.WithCancel(context.Background())
	var err error
	if c.DB != nil { // without one, only the description is asked for
		if a.cursors, err = c.DB.Cursors(); err != nil {
			panic(err) // a key derived of a constant
		}
	}
	a.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loggerhead_api_requests_total",
		Help: "Requests to the REST API by operation and status class."}, []string{"operation", "status"})
	c.Metrics.MustRegister(a.requests, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "loggerhead_api_live_streams",
		Help: "Open streams of live values."}, a.streams.count))
	a.watches = watches{api: a, by: map[lh.ProjectID]*watch{}}
	a.looks = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "loggerhead_api_live_look_seconds",
		Help: "Time to ask who may still listen to a project and what there is to see.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12)})
	c.Metrics.MustRegister(a.looks)

	a.admission = newAdmission(c.Limits, c.Now, c.Metrics)
	mux := http.NewServeMux()
	a.find = finder(mux)
	a.huma = humago.New(mux, a.openAPIConfig())
	for _, r := range routes {
		r.register(a, r)
	}
	nullable(a.huma.OpenAPI().Components.Schemas, nullFields())
	mux.HandleFunc("GET /api/v1/openapi.json", a.serveOpenAPI)
	mux.HandleFunc("GET /api/docs", a.serveDocs)
	mux.HandleFunc("GET /api/docs/errors", a.serveErrorDocs)
	mux.HandleFunc("/api/", noOperation(mux))
	compress, err := gzhttp.NewWrapper(gzhttp.MinSize(2048), gzhttp.ContentTypes([]string{"application/json",
		"application/problem+json", "text/csv", columnsType, "text/html"}), gzhttp.SuffixETag(""))
	if err != nil {
		panic(err) // constant options
	}
	foreign := http.NewCrossOriginProtection()
	foreign.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		newProblem(lh.Forbidden, http.StatusForbidden, "a page of another site may not do this").write(w)
	}))
	apiHandler := foreign.Handler(a.authenticated(mux))
	root := http.NewServeMux()
	root.Handle("/api/", compress(apiHandler))
	root.Handle(influxV1Path, compress(apiHandler))
	root.Handle("GET "+metadataPath, http.HandlerFunc(a.serveMetadata))
	root.Handle("/", newWebApp(c.Web))
	a.handler = secured(a.consibioHandler(root, compress))
	return a
}

// ServeHTTP answers people and programs.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// CloseStreams ends every live stream, so that a shutdown need not wait for them.
func (a *API) CloseStreams() { a.stop() }

func (a *API) openAPIConfig() huma.Config {
	c := huma.DefaultConfig("Loggerhead", a.Version)
	c.Info.Description = "The open cloud for dataloggers: projects, locations, devices, elements and their series. " +
		"Times are integers, UTC milliseconds since 1970-01-01. Errors are problems by RFC 9457 with a code."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.OpenAPIPath, c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", "", nil
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"session": {Type: "apiKey", In: "cookie", Name: cookieName, Description: "Set by logging in."},
		"token": {Type: "http", Scheme: "bearer", Description: "The token that logging in returns, a service account's key, " +
			"or the access token that it got for it."},
		"integration": {Type: "http", Scheme: "bearer", Description: "An integration's key."},
	}
	c.Security = []map[string][]string{{"session": {}}, {"token": {}}}
	return c
}

type principalKey struct{}

// principal returns who asks. The authenticated wrapper has put it there for every operation but the public ones.
func principal(ctx context.Context) access.Principal {
	p, _ := ctx.Value(principalKey{}).(access.Principal)
	return p
}

// authenticated lets nobody without a session past, but to the public operations. It stands before the mux, so that a
// route somebody forgets to protect is protected.
func (a *API) authenticated(next *http.ServeMux) http.Handler {
	limits := bodyLimits(routes)
	public, setsUp := map[string]bool{}, map[string]bool{}
	for _, r := range routes {
		if r.public {
			public[r.method+" "+r.path] = true
		}
		if r.setsUp {
			setsUp[r.method+" "+r.path] = true
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		limit := int64(maxBody)
		if r.ContentLength != 0 {
			_, pattern := next.Handler(r)
			limit = cmp.Or(limits[pattern], limit)
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		if public[r.Method+" "+r.URL.Path] {
			if err := a.stranger(w, r); err != nil {
				problemOf(a.Log, r, err).write(w)
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		p, err := a.Access.Authenticate(r.Context(), tokenOf(r), remoteAddr(r))
		if err != nil {
			if over := a.stranger(w, r); over != nil {
				err = over
			}
			if lh.CodeOf(err) == lh.Unauthenticated {
				w.Header().Set("WWW-Authenticate", `Bearer realm="loggerhead"`)
			}
			problemOf(a.Log, r, err).write(w)
			return
		}
		if err := a.Access.FactorMissing(p); err != nil && !setsUp[r.Method+" "+r.URL.Path] {
			problemOf(a.Log, r, err).write(w)
			return
		}
		a.Access.Seen(r.Context(), p, r.UserAgent())
		a.answer(&unmodified{ResponseWriter: w, r: r}, r, p, next)
	})
}

// tokenOf returns the session token of a request: the bearer's where there is one, else the cookie's.
func tokenOf(r *http.Request) string {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, token, _ := strings.Cut(h, " ")
		switch {
		case strings.EqualFold(scheme, "bearer"), strings.EqualFold(scheme, "token") && isInflux(r):
			return strings.TrimSpace(token)
		case isInflux(r):
			_, password, _ := r.BasicAuth()
			return password
		}
		return ""
	}
	if c, err := r.Cookie(cookieName); err == nil {
		return c.Value
	}
	return ""
}

// remoteAddr returns the connection's other end; the zero Addr where it is no address.
func remoteAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// remoteHost returns the caller's address without its port.
func remoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// secured sets the headers every answer of this listener has.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Strict-Transport-Security", "max-age=31536000")
		h.Set("Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "+
			"base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		next.ServeHTTP(w, r)
	})
}
