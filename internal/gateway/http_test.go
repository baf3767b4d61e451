package gateway_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/gateway"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// client is a device's HTTP client of one version, with its own connections.
func (h *hub) client(l *logger, http2 bool) *http.Client {
	h.t.Helper()
	c := h.tls(l, "http/1.1")
	if http2 {
		c = h.tls(l, "h2")
	}
	t := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: http2}
	h.t.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: patience}
}

func (h *hub) url(path string) string { return "https://" + h.https + path }

// post sends a body and returns the answer with its body read.
func post(t testing.TB, c *http.Client, url, media string, body []byte) (*http.Response, []byte) {
	t.Helper()
	r, err := c.Post(url, media, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r, readAll(t, r)
}

func readAll(t testing.TB, r *http.Response) []byte {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return b
}

// wantProblem checks that an answer is a problem of RFC 9457 and says what it says everywhere.
func wantProblem(t testing.TB, r *http.Response, body []byte, code lh.Code, status int) {
	t.Helper()
	var p struct {
		Type, Title, Detail string
		Status              int
		Code                lh.Code
	}
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%d %q: %v", r.StatusCode, body, err)
	}
	if r.StatusCode != status || p.Status != status || p.Code != code || r.Header.Get("Content-Type") != "application/problem+json" ||
		!strings.HasSuffix(p.Type, "docs/protocol.md#"+string(code)) || p.Title != http.StatusText(status) || p.Detail == "" {
		t.Errorf("got %d %s %s; want %d %s", r.StatusCode, r.Header.Get("Content-Type"), body, status, code)
	}
	if later := r.Header.Get("Retry-After") != ""; later != (status == 429 || status == 503) {
		t.Errorf("%d with Retry-After %q", status, r.Header.Get("Retry-After"))
	}
}

func TestHTTPSBatch(t *testing.T) {
	each(t, func(t *testing.T, h *hub) {
		for name, two := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
			l := h.logger()
			c := h.client(l, two)
			r, body := post(t, c, h.url("/v1/batch"), wire.ContentBatch, batch(7, 1, 100))
			var ack wire.Ack
			if err := json.Unmarshal(body, &ack); err != nil || r.StatusCode != 200 || ack.AckedThrough != 100 || r.ContentLength != int64(len(body)) {
				t.Fatalf("%s: %d %s %v", name, r.StatusCode, body, err)
			}
			if off := time.Since(ack.Time.Time()); r.Proto != name || off < -time.Second || off > time.Minute {
				t.Errorf("%s, time is off by %v", r.Proto, off)
			}
			r, body = post(t, c, h.url("/v1/batch"), "application/json; charset=utf-8",
				[]byte(`{"records":[{"t":1600000000000,"v":{"1/level":0}}]}`))
			if r.StatusCode != 200 {
				t.Fatalf("JSON: %d %s", r.StatusCode, body)
			}
			// The body comes in chunks, its length untold.
			req, err := http.NewRequest(http.MethodPost, h.url("/v1/batch"), io.MultiReader(bytes.NewReader(batch(7, 101, 20000))))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", wire.ContentBatch)
			if r, err = c.Do(req); err != nil {
				t.Fatal(err)
			}
			if body := readAll(t, r); r.StatusCode != 200 {
				t.Fatalf("chunks: %d %s", r.StatusCode, body)
			}
			got := h.samples(l.id, "1/level")
			if len(got) != 20101 {
				t.Errorf("%s: %d samples", name, len(got))
			}
			for i, s := range got { // the JSON sample is the oldest
				if s.Value != float64(i) {
					t.Fatalf("sample %d is %v", i, s)
				}
			}
		}
	})
}

func TestHTTPSManifest(t *testing.T) {
	each(t, func(t *testing.T, h *hub) {
		l := h.logger()
		c := h.client(l, true)
		r, body := post(t, c, h.url("/v1/manifest"), "application/json",
			[]byte(`{"version":"1.2.3","hardware":"lh-sim-1","channels":[{"key":"1/level","name":"Level","quantity":"water_level","unit":"m","digits":3,"interval_ms":60000,"meaning":"instantaneous"}]}`))
		var w wire.Welcome
		if err := json.Unmarshal(body, &w); err != nil || r.StatusCode != 200 || w.Device != l.id || w.Project != h.owner.Project() {
			t.Fatalf("%d %s %v", r.StatusCode, body, err)
		}
		d, err := h.db.Device(context.Background(), h.owner, l.id)
		if err != nil || d.Firmware != "1.2.3" || d.LastSeen == 0 {
			t.Errorf("%+v %v", d, err)
		}
		r, body = post(t, c, h.url("/v1/manifest"), "application/json", []byte(`{"version":"1","nonsense":true}`))
		wantProblem(t, r, body, lh.Invalid, 400)
	})
}

// TestHTTPSRefusals: every request here is refused, with a reason a program can read.
func TestHTTPSRefusals(t *testing.T) {
	h := newHub(t, nil)
	l := h.logger()
	stranger := h.client(nil, false)
	for _, two := range []bool{false, true} {
		c := h.client(l, two)
		for name, x := range map[string]struct {
			c                         *http.Client
			method, path, media, body string
			code                      lh.Code
			status                    int
		}{
			"no certificate, batch":    {stranger, "POST", "/v1/batch", wire.ContentBatch, string(batch(7, 1, 1)), lh.Unauthenticated, 401},
			"no certificate, manifest": {stranger, "POST", "/v1/manifest", wire.ContentJSON, `{}`, lh.Unauthenticated, 401},
			"no certificate, renewal":  {stranger, "POST", "/.well-known/est/simplereenroll", "application/pkcs10", "AAAA", lh.Unauthenticated, 401},
			"no such path":             {c, "GET", "/v1/secrets", "", "", lh.NotFound, 404},
			"root":                     {stranger, "GET", "/", "", "", lh.NotFound, 404},
			"a path that climbs":       {c, "POST", "/v1/batch/%2e%2e/x", "", "", lh.NotFound, 404},
			"wrong method":             {c, "GET", "/v1/batch", "", "", lh.Invalid, 405},
			"wrong method, stranger":   {stranger, "DELETE", "/v1/batch", "", "", lh.Invalid, 405},
			"damaged":                  {c, "POST", "/v1/batch", wire.ContentBatch, string(batch(7, 1, 3)[:40]), lh.Invalid, 400},
			"empty":                    {c, "POST", "/v1/batch", wire.ContentBatch, "", lh.Invalid, 400},
			"JSON that is none":        {c, "POST", "/v1/batch", wire.ContentJSON, `{"records":[{"t":`, lh.Invalid, 400},
			"another media type":       {c, "POST", "/v1/batch", "text/plain", string(batch(7, 1, 1)), lh.Invalid, 400},
			"no media type":            {c, "POST", "/v1/batch", "", string(batch(7, 1, 1)), lh.Invalid, 400},
			"too large":                {c, "POST", "/v1/batch", wire.ContentBatch, strings.Repeat("x", wire.MaxBatchBytes+1), lh.Invalid, 400},
			"a renewal too large":      {c, "POST", "/.well-known/est/simplereenroll", "application/pkcs10", strings.Repeat("A", 1<<17), lh.Invalid, 400},
		} {
			req, err := http.NewRequest(x.method, h.url(x.path), strings.NewReader(x.body))
			if err != nil {
				t.Fatal(err)
			}
			if x.media != "" {
				req.Header.Set("Content-Type", x.media)
			}
			r, err := x.c.Do(req)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			t.Run(name, func(t *testing.T) { wantProblem(t, r, readAll(t, r), x.code, x.status) })
			if x.status == 405 && r.Header.Get("Allow") != "POST" {
				t.Errorf("%s: Allow is %q", name, r.Header.Get("Allow"))
			}
		}
		req, err := http.NewRequest("POST", h.url("/v1/batch"), io.MultiReader(strings.NewReader(strings.Repeat("x", 3<<20))))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", wire.ContentBatch)
		if r, err := c.Do(req); err != nil {
			// An HTTP/1.1 client may learn of the refusal only by the end of the connection.
			if two {
				t.Errorf("an endless body: %v", err)
			}
		} else {
			wantProblem(t, r, readAll(t, r), lh.Invalid, 400)
		}
		req, err = http.NewRequest("POST", h.url("/v1/batch"), bytes.NewReader(batch(7, 1, 1)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", wire.ContentBatch)
		req.Header.Set("Content-Encoding", "gzip")
		r, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		wantProblem(t, r, readAll(t, r), lh.Invalid, 400)
	}
	if got := h.samples(l.id, "1/level"); len(got) != 0 {
		t.Errorf("a refused upload left %v", got)
	}
}

// TestHTTPSStrangers: what the handshake itself refuses gets no answer at all.
func TestHTTPSStrangers(t *testing.T) {
	h := newHub(t, nil)
	other := install(t, storetest.SQLite(t)).start(nil)
	foreign := other.logger()
	expired := h.logger()
	old := h.tls(h.logger())
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for name, x := range map[string]*tls.Config{"another installation's certificate": h.tls(foreign), "TLS 1.2": old} {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: x}, Timeout: patience}
		if r, err := c.Post(h.url("/v1/batch"), wire.ContentBatch, bytes.NewReader(batch(7, 1, 1))); err == nil {
			t.Errorf("%s: %s", name, r.Status)
		}
	}
	c := h.client(expired, false)
	if r, body := post(t, c, h.url("/v1/batch"), wire.ContentBatch, batch(7, 1, 1)); r.StatusCode != 200 {
		t.Fatalf("%d %s", r.StatusCode, body)
	}
	h.ahead.Store(int64(31 * 24 * time.Hour))
	defer h.ahead.Store(0)
	// The connection it has says 401 or is cut; after that no new one is made.
	refused := 0
	eventually(t, "an expired certificate opens nothing", func() bool {
		r, err := c.Post(h.url("/v1/batch"), wire.ContentBatch, bytes.NewReader(batch(7, 2, 1)))
		if err != nil {
			refused++
			return refused == 5
		}
		if body := readAll(t, r); r.StatusCode != 401 || refused > 0 {
			t.Fatalf("%d %s", r.StatusCode, body)
		}
		return false
	})
	if got := h.samples(expired.id, "1/level"); len(got) != 1 {
		t.Errorf("%d samples", len(got))
	}
}

// TestAckOnlyWhenDurable: the answer waits for Accept, and an Accept that fails is no answer of success.
func TestAckOnlyWhenDurable(t *testing.T) {
	let := make(chan error)
	var accepted atomic.Int32
	h := newHub(t, func(c *gateway.Config) {
		c.Accept = func(ctx context.Context, _ store.Scope, _ lh.DeviceID, _ []byte) (wire.Ack, error) {
			accepted.Add(1)
			select {
			case err := <-let:
				return wire.Ack{AckedThrough: 5}, err
			case <-ctx.Done():
				return wire.Ack{}, ctx.Err()
			}
		}
	})
	l := h.logger()
	c := h.client(l, true)
	type answer struct {
		r    *http.Response
		body []byte
	}
	for _, x := range []struct {
		err    error
		code   lh.Code
		status int
	}{
		{nil, "", 200},
		{lh.Errorf(lh.Unavailable, "the disk is full"), lh.Unavailable, 503},
		{lh.Errorf(lh.Exhausted, "too much"), lh.Exhausted, 429},
		{io.ErrClosedPipe, lh.Internal, 500},
	} {
		n := accepted.Load()
		got := make(chan answer, 1)
		go func() {
			r, body := post(t, c, h.url("/v1/batch"), wire.ContentBatch, batch(7, 1, 1))
			got <- answer{r, body}
		}()
		eventually(t, "the upload is under way", func() bool { return accepted.Load() == n+1 })
		select {
		case a := <-got:
			t.Fatalf("answered %s before it was durable", a.r.Status)
		case <-time.After(50 * time.Millisecond):
		}
		let <- x.err
		a := <-got
		if x.err == nil {
			if a.r.StatusCode != 200 {
				t.Errorf("%d %s", a.r.StatusCode, a.body)
			}
			continue
		}
		wantProblem(t, a.r, a.body, x.code, x.status)
		if strings.Contains(string(a.body), "closed pipe") {
			t.Error("an internal error reached the device")
		}
	}
}

// TestRevokedDeviceIsCut: also in the middle of an upload, and also when another replica revoked it.
func TestRevokedDeviceIsCut(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		in := install(t, o)
		// Two replicas: the device is connected to one and revoked on the other.
		near, far := in.start(nil), in.start(nil)
		for name, revokeAt := range map[string]*hub{"the same replica": near, "another replica": far} {
			for proto, two := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
				t.Run(name+", "+proto, func(t *testing.T) {
					withinASecond(t, func(t *testing.T) time.Duration {
						l := near.logger()
						c := near.client(l, two)
						var conn *tls.Conn
						trace := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { conn, _ = i.Conn.(*tls.Conn) }})
						req, err := http.NewRequestWithContext(trace, "POST", near.url("/v1/batch"), bytes.NewReader(batch(7, 1, 1)))
						if err != nil {
							t.Fatal(err)
						}
						req.Header.Set("Content-Type", wire.ContentBatch)
						r, err := c.Do(req)
						if err != nil {
							t.Fatal(err)
						}
						if body := readAll(t, r); r.StatusCode != 200 || conn == nil {
							t.Fatalf("%d %s %v", r.StatusCode, body, conn)
						}
						// A request is under way whose body never ends: it is cut as well.
						pr, pw := io.Pipe()
						defer pw.Close()
						stuck := make(chan error, 1)
						go func() {
							req, err := http.NewRequest("POST", near.url("/v1/batch"), pr)
							if err != nil {
								stuck <- err
								return
							}
							req.Header.Set("Content-Type", wire.ContentBatch)
							r, err := c.Do(req)
							if err == nil {
								err = r.Body.Close()
							}
							stuck <- err
						}()
						if _, err := pw.Write([]byte("LHB1")); err != nil {
							t.Fatal(err)
						}
						go func() { // the client sees the end of the connection when it writes
							for {
								if _, err := pw.Write([]byte{0}); err != nil {
									return
								}
								time.Sleep(10 * time.Millisecond)
							}
						}()
						start := time.Now()
						if err := revokeAt.fleet.Revoke(context.Background(), revokeAt.owner, l.id); err != nil {
							t.Fatal(err)
						}
						select {
						case err := <-stuck:
							if err == nil {
								t.Error("the upload under way was answered")
							}
						case <-time.After(patience):
							t.Fatal("never cut")
						}
						took := time.Since(start)
						if _, err := c.Post(near.url("/v1/batch"), wire.ContentBatch, bytes.NewReader(batch(7, 2, 1))); err == nil {
							t.Error("a revoked device connects again")
						}
						return took
					})
				})
			}
		}
	})
}
