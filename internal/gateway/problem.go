package gateway

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strconv"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// errorsPage explains every code to whoever builds a device.
const errorsPage = "https://github.com/loggerhead-cloud/loggerhead/blob/main/docs/protocol.md#"

// problem is an error body by RFC 9457.
type problem struct {
	Type   string  `json:"type"`
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Detail string  `json:"detail"`
	Code   lh.Code `json:"code"`
}

// refuse answers a request with an error of the layers below: its code and public message; what lies behind it goes to
// the log only.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, err error) {
	code := lh.CodeOf(err)
	if code == lh.Internal || code == lh.Unavailable && r.Context().Err() == nil {
		g.log.ErrorContext(r.Context(), "device request failed", "method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr, "err", err)
	}
	writeProblem(w, code, code.HTTPStatus(), lh.PublicMessage(err))
}

func writeProblem(w http.ResponseWriter, code lh.Code, status int, detail string) {
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		// Spread, so that devices refused together do not come back together.
		w.Header().Set("Retry-After", strconv.Itoa(2+rand.IntN(8)))
	}
	writeJSON(w, status, "application/problem+json",
		problem{Type: errorsPage + string(code), Title: http.StatusText(status), Status: status, Detail: detail, Code: code})
}

// writeJSON answers in one piece with its length, since the smallest clients cannot read chunks.
func writeJSON(w http.ResponseWriter, status int, media string, v any) {
	b, err := json.Marshal(v)
	if err != nil { // none of our answers can
		status, media, b = http.StatusInternalServerError, "text/plain", nil
	}
	write(w, status, media, b)
}

func write(w http.ResponseWriter, status int, media string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body) // fails only when the asker has gone
}
