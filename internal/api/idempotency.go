package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Idempotency keys (draft-ietf-httpapi-idempotency-key-header), for every POST of somebody who is signed in. The first
// request with a key is carried out and its answer kept for a day, sealed; the same request with the same key gets that
// answer again. The turn at a key is a row that all hubs see, and the change is noted on it in the change's own
// transaction: a hub that stops in between leaves either nothing, and the request may be sent again, or the change, and it
// is never made twice.
//
// An answer that shows a secret once is not kept: that would make the database hold what it otherwise only knows the hash
// of. Who repeats such a request is told that it was carried out.

const (
	// maxKept is the largest answer that is kept.
	maxKept = 4 << 20
	// bodyPatience is how long the body of a request may take to come in.
	bodyPatience = 30 * time.Second
)

type attemptKey struct{}

// attemptOf returns the request's turn at an idempotency key; nil has none.
func attemptOf(ctx context.Context) *store.Attempt {
	a, _ := ctx.Value(attemptKey{}).(*store.Attempt)
	return a
}

// kept is an answer as it is kept.
type kept struct {
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
	Once   bool        `json:"once,omitempty"` // it is left out: it showed a secret, or was too large
}

// keptHeaders are those of an answer that belong to it.
var keptHeaders = []string{"Content-Type", "ETag", "Location", "Link", "Retry-After", "Allow"}

// idempotent carries an operation out once for each idempotency key.
func (a *API) idempotent(rt route, c huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(c)
	given := r.Header.Values("Idempotency-Key")
	if rt.method != http.MethodPost || rt.public || len(given) == 0 {
		next(c)
		return
	}
	refuse := func(err error) { problemOf(a.Log, r, err).write(w) }
	key, err := idempotencyKey(given)
	if err != nil {
		refuse(err)
		return
	}
	q := store.Idempotent{}
	if rt.permission != "" { // who may not do it is not told what it gave
		sc, err := a.scope(c.Context(), lh.ProjectID(r.PathValue("project")), rt.permission)
		if err != nil {
			refuse(err)
			return
		}
		q.Project = sc.Project()
	}
	body, problem := readAll(r, w)
	if problem != nil {
		problem.write(w)
		return
	}
	who := principal(c.Context()).Actor()
	q.Actor = hashOf(string(who.Kind), who.ID)
	q.Key = hashOf(string(who.Kind), who.ID, rt.id, r.URL.EscapedPath(), key)
	q.Fingerprint = hashOf(r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Get("Content-Type"), r.Header.Get("If-Match"), string(body))
	attempt, before, err := a.DB.Begin(c.Context(), q)
	if err != nil {
		refuse(err)
		return
	}
	if before != nil {
		a.replay(w, r, before)
		return
	}
	a.first(rt, c, attempt, body, next)
}

// first carries out the first request with a key.
func (a *API) first(rt route, c huma.Context, attempt *store.Attempt, body []byte, next func(huma.Context)) {
	r, w := humago.Unwrap(c)
	after, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), 10*time.Second)
	defer cancel()
	done := false
	defer func() {
		if !done { // nothing is known of it; what it changed is on record
			if err := a.DB.GiveBack(after, attempt); err != nil {
				a.Log.WarnContext(after, "an idempotency key was not given back; it is free after a while", "err", err)
			}
		}
	}()
	rec := &recorder{header: w.Header(), status: http.StatusOK}
	again := r.WithContext(context.WithValue(c.Context(), attemptKey{}, attempt))
	again.Body = io.NopCloser(bytes.NewReader(body))
	inner := humago.NewContext(c.Operation(), again, rec)
	next(huma.WithValue(inner, requestKey{}, [2]any{again, http.ResponseWriter(rec)}))
	if rec.lasting() {
		k := kept{Header: http.Header{}, Body: rec.body.Bytes()}
		for _, h := range keptHeaders {
			if v := rec.header.Values(h); len(v) > 0 {
				k.Header[h] = v
			}
		}
		if rt.secret && rec.status < 300 || len(k.Body) > maxKept {
			k.Body, k.Once = nil, true
		}
		b, err := json.Marshal(k)
		if err == nil {
			err = a.DB.Finish(after, attempt, rec.status, b)
		}
		if err != nil {
			a.Log.WarnContext(after, "an answer was not kept for its idempotency key", "operation", rt.id, "err", err)
		} else {
			done = true
		}
	}
	c.SetStatus(rec.status)
	w.Write(rec.body.Bytes()) // the asker has gone if it fails
}

// replay gives an answer again.
func (a *API) replay(w http.ResponseWriter, r *http.Request, before *store.Remembered) {
	var k kept
	if before.Status != 0 {
		if err := json.Unmarshal(before.Answer, &k); err != nil {
			problemOf(a.Log, r, err).write(w)
			return
		}
	}
	switch {
	case before.Status == 0:
		newProblem(lh.Conflict, http.StatusConflict, "this request was carried out, but its answer was lost when the hub stopped; look at "+before.Subject+" before you send it with a new key").write(w)
	case k.Once:
		newProblem(lh.Conflict, http.StatusConflict, "this request was carried out; its answer is not kept, since it showed a secret once or was very long. Make another, and revoke the first, if you did not get it").write(w)
	default:
		for h, v := range k.Header {
			w.Header()[h] = v
		}
		w.Header().Set("Idempotency-Replayed", "true")
		w.WriteHeader(before.Status)
		w.Write(k.Body) // the asker has gone if it fails
	}
}

// idempotencyKey reads the header: a string in quotes, as the draft has it, or the bare key, as many send it.
func idempotencyKey(given []string) (string, error) {
	key := given[0]
	if n := len(key); n >= 2 && key[0] == '"' && key[n-1] == '"' {
		key = key[1 : n-1]
	}
	for _, c := range []byte(key) {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			key = ""
			break
		}
	}
	if len(given) != 1 || len(key) < 1 || len(key) > 255 {
		return "", lh.Errorf(lh.Invalid, "Idempotency-Key: one key of 1 to 255 printable ASCII characters, such as a UUID")
	}
	return key, nil
}

// readAll reads the body of a request.
func readAll(r *http.Request, w http.ResponseWriter) ([]byte, *Problem) {
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, newProblem(lh.Unavailable, http.StatusServiceUnavailable, "the connection is gone")
	}
	b, err := io.ReadAll(r.Body)
	if err == nil {
		return b, nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, newProblem(codeTooLarge, http.StatusRequestEntityTooLarge, "the body is larger than this operation takes")
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return nil, newProblem(codeTimeout, http.StatusRequestTimeout, "the body did not come in time")
	}
	return nil, newProblem(lh.Invalid, http.StatusBadRequest, "the body breaks off")
}

// hashOf hashes texts so that no two lists of them are alike.
func hashOf(parts ...string) []byte {
	h := sha256.New()
	for _, p := range parts {
		io.WriteString(h, url.QueryEscape(p)+"\x00") // never fails
	}
	return h.Sum(nil)
}

// recorder holds an answer back until it is kept.
type recorder struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if !r.wrote && status >= 200 {
		r.status, r.wrote = status, true
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.wrote = true
	return r.body.Write(b)
}

// lasting reports whether the same request would get the same answer later on: not where the hub could not, or the asker
// was to wait.
func (r *recorder) lasting() bool {
	switch r.status {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return false
	}
	return r.status < 500
}

// secretFields are the names under which answers show secrets.
var secretFields = map[string]bool{"token": true, "access_token": true, "secret": true, "client_secret": true, "key": true, "api_key": true, "password": true,
	"code": true, "codes": true, "recovery_codes": true, "link": true, "url": true, "claim_code": true, "uri": true}

// showsSecret reports whether an answer of this type has a field that is named like a secret.
func showsSecret(t reflect.Type, depth int) bool {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || depth > 6 {
		return false
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if secretFields[name] && f.Type.Kind() != reflect.Int64 || showsSecret(f.Type, depth+1) {
			return true
		}
	}
	return false
}
