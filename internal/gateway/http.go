package gateway

import (
	"context"
	"mime"
	"net/http"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// Handler serves the devices' HTTPS listener.
func (g *Gateway) Handler() http.Handler { return g.mux }

// routes names every operation. Only those that begin with g.open may be used without a certificate.
func (g *Gateway) routes() {
	g.mux = http.NewServeMux()
	for _, r := range []struct {
		method, path string
		serve        http.HandlerFunc
	}{
		{http.MethodPost, "/v1/batch", g.device("batch", g.batch)},
		{http.MethodPost, "/v1/manifest", g.device("manifest", g.manifest)},
		{http.MethodGet, "/.well-known/est/cacerts", g.open("cacerts", g.caCerts)},
		{http.MethodPost, "/.well-known/est/simpleenroll", g.open("enroll", g.enroll)},
		{http.MethodPost, "/.well-known/est/simplereenroll", g.device("reenroll", g.reenroll)},
	} {
		g.mux.HandleFunc(r.method+" "+r.path, r.serve)
		g.mux.HandleFunc(r.path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", r.method)
			writeProblem(w, lh.Invalid, http.StatusMethodNotAllowed, "this is done with "+r.method)
		})
	}
	g.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, lh.NotFound, http.StatusNotFound, "there is nothing here; devices use /v1/ and /.well-known/est/")
	})
}

// open serves an operation that asks for no certificate.
func (g *Gateway) open(operation string, serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := serve(w, r)
		g.metrics.requests.WithLabelValues(operation, outcome(err)).Inc()
		if err != nil {
			g.refuse(w, r, err)
		}
	}
}

// device serves an operation for a device that has proven who it is.
func (g *Gateway) device(operation string, serve func(http.ResponseWriter, *http.Request, access.Device) error) http.HandlerFunc {
	return g.open(operation, func(w http.ResponseWriter, r *http.Request) error {
		key, notAfter, err := g.proven(r.TLS)
		if err != nil {
			return err
		}
		d, err := g.identify(r.Context(), key)
		if err != nil {
			if gone(err) {
				w.Header().Set("Connection", "close") // also ends an HTTP/2 connection, after this answer
			}
			return err
		}
		leave, err := g.enterHTTP(r.Context(), d, key, notAfter)
		if err != nil {
			return err
		}
		defer leave()
		return serve(w, r, d)
	})
}

// gone reports whether an error of Identify says that there is no such device any more.
func gone(err error) bool {
	c := lh.CodeOf(err)
	return c == lh.Unauthenticated || c == lh.Forbidden
}

// body reads a request's body of at most limit bytes and counts it against the memory of all uploads. The caller calls
// done when it needs the body no more, also after an error.
func (g *Gateway) body(r *http.Request, limit int, media ...string) (body []byte, done func(), err error) {
	done = func() {}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, done, lh.Errorf(lh.Invalid, "no Content-Encoding is understood here; send the body as it is")
	}
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	known := false
	for _, m := range media {
		known = known || m == got
	}
	if err != nil || !known {
		return nil, done, lh.Errorf(lh.Invalid, "Content-Type is not %s", join(media))
	}
	weight := int64(g.buffers.size(limit + 1))
	if r.ContentLength >= 0 && r.ContentLength < int64(limit) {
		weight = int64(g.buffers.size(int(r.ContentLength) + 1))
	}
	if err := g.reserve(r.Context(), weight); err != nil {
		return nil, done, err
	}
	buf, body, err := g.buffers.read(r.Body, r.ContentLength, limit)
	return body, func() {
		g.buffers.put(buf)
		g.budget.Release(weight)
	}, err
}

// reserve waits a while for room in the memory of uploads; release it from g.budget.
func (g *Gateway) reserve(ctx context.Context, bytes int64) error {
	if g.budget.TryAcquire(bytes) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Limits.Accept)
	defer cancel()
	if err := g.budget.Acquire(ctx, bytes); err != nil {
		return lh.Hide(lh.Unavailable, err, "many devices are uploading; try again later")
	}
	return nil
}

func join(media []string) string {
	s := ""
	for i, m := range media {
		if i > 0 {
			s += " or "
		}
		s += m
	}
	return s
}

func (g *Gateway) batch(w http.ResponseWriter, r *http.Request, d access.Device) error {
	body, done, err := g.body(r, wire.MaxBatchBytes, wire.ContentBatch, wire.ContentJSON)
	defer done()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), g.cfg.Limits.Accept)
	defer cancel()
	ack, err := g.cfg.Accept(ctx, d.Scope, d.ID, body)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, "application/json", ack)
	return nil
}

func (g *Gateway) manifest(w http.ResponseWriter, r *http.Request, d access.Device) error {
	body, done, err := g.body(r, maxManifest, wire.ContentJSON)
	defer done()
	if err != nil {
		return err
	}
	m, err := wire.DecodeManifest(body)
	if err != nil {
		return err
	}
	welcome, err := g.cfg.Manifest(r.Context(), d.Scope, d.ID, m)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, "application/json", welcome)
	return nil
}

// maxManifest holds wire.MaxChannels channels with long names.
const maxManifest = 512 << 10
