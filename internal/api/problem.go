package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Problem is an error body by RFC 9457.
type Problem struct {
	Type    string          `json:"type" doc:"Page that explains the code" example:"/api/docs/errors#not_found"`
	Title   string          `json:"title" doc:"The status in words" example:"Not Found"`
	Status  int             `json:"status" doc:"HTTP status" example:"404"`
	Detail  string          `json:"detail" doc:"What went wrong and what to do"`
	Code    lh.Code         `json:"code" doc:"What went wrong, for programs" enum:"invalid,unauthenticated,forbidden,not_found,conflict,stale,exhausted,unavailable,internal,key_reused,under_way,method_not_allowed,not_acceptable,too_large,unsupported_type,timeout"`
	Version int64           `json:"version,omitempty" doc:"Of stale: the version there is now"`
	Errors  []ProblemDetail `json:"errors,omitempty" doc:"Each thing that is wrong with the request"`

	// For clients of InfluxDB, of version 2 and 1: detail once more.
	Message string `json:"message,omitempty" doc:"To a client of InfluxDB: detail once more"`
	Text    string `json:"error,omitempty" doc:"The same"`

	after int // seconds until it is of use to try again, where that is known
}

// ProblemDetail is one thing that is wrong with a request.
type ProblemDetail struct {
	Row      int     `json:"row,omitempty" doc:"Of many things made at once: which, from 1"`
	Code     lh.Code `json:"code,omitempty" doc:"Of many things made at once: what is wrong, for programs"`
	Message  string  `json:"message"`
	Location string  `json:"location,omitempty" example:"body.name"`
	Value    any     `json:"value,omitempty"`
}

// Codes that are HTTP's own business; those of everything else are [lh.Codes].
const (
	codeKeyReused     lh.Code = "key_reused"
	codeUnderWay      lh.Code = "under_way"
	codeMethod        lh.Code = "method_not_allowed"
	codeNotAcceptable lh.Code = "not_acceptable"
	codeTooLarge      lh.Code = "too_large"
	codeType          lh.Code = "unsupported_type"
	codeTimeout       lh.Code = "timeout"
)

// codes is every code of a problem with its status and what to do about it; the page of errors and docs/api.md show it.
var codes = []struct {
	Code   lh.Code
	Status int
	Text   string
}{
	{lh.Invalid, 400, "The request itself is wrong. detail and errors say what to change; sending it again unchanged fails again."},
	{lh.Unauthenticated, 401, "Nobody known is asking: log in, or send a token that has not expired."},
	{lh.Forbidden, 403, "You are known, and your role in the project does not allow this. An administrator of the project can change that."},
	{lh.NotFound, 404, "There is no such thing, or it is in a project or at a location that is not yours to see; the two read alike."},
	{codeMethod, 405, "The path is right and the method is not. Allow lists those it takes."},
	{codeNotAcceptable, 406, "Accept takes none of the types that the operation answers. Nothing was done."},
	{codeTimeout, 408, "The body of the request did not come in time. Nothing was done; send it again."},
	{lh.Conflict, 409, "It clashes with what is there, for example a device that is claimed already. Read again, then decide."},
	{codeUnderWay, 409, "The first request with this Idempotency-Key is still under way. Ask again after the time in Retry-After."},
	{lh.Stale, 412, "It changed since you read it: If-Match names another version. version tells the one there is now. Read again, then decide."},
	{codeTooLarge, 413, "The body is larger than the operation takes. Send less at a time."},
	{codeType, 415, "The body is of a type that the operation does not take; most take application/json."},
	{codeKeyReused, 422, "The Idempotency-Key was used for another request within the last day. A new request needs a new key."},
	{lh.Exhausted, 429, "A limit is reached. Send less, or wait for the time in Retry-After."},
	{lh.Internal, 500, "Our fault. The hub's log has the details; nothing was half done."},
	{lh.Unavailable, 503, "The hub cannot do this right now. Try again after the time in Retry-After."},
}

func (p *Problem) Error() string             { return p.Detail }
func (p *Problem) GetStatus() int            { return p.Status }
func (p *Problem) ContentType(string) string { return "application/problem+json" }

func newProblem(code lh.Code, status int, detail string) *Problem {
	return &Problem{Type: "/api/docs/errors#" + string(code), Title: http.StatusText(status), Status: status, Detail: detail, Code: code}
}

// problemOf turns an error of the layers below into what the asker may see, and logs what they may not.
func problemOf(log *slog.Logger, r *http.Request, err error) *Problem {
	p := problemFor(log, r, err)
	if isInflux(r) {
		p.Message, p.Text = p.Detail, p.Detail
	}
	return p
}

func problemFor(log *slog.Logger, r *http.Request, err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	code := lh.CodeOf(err)
	if code == lh.Internal || code == lh.Unavailable && r.Context().Err() == nil {
		log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	p := newProblem(code, code.HTTPStatus(), lh.PublicMessage(err))
	switch {
	case errors.Is(err, store.ErrKeyReused):
		p = newProblem(codeKeyReused, http.StatusUnprocessableEntity, p.Detail)
	case errors.Is(err, store.ErrUnderWay):
		p = newProblem(codeUnderWay, http.StatusConflict, p.Detail)
	}
	if stale, ok := errors.AsType[*store.Stale](err); ok {
		p.Version = stale.Version
	}
	return p
}

// retryAfter says in how many seconds to try again; "" is of no use.
func (p *Problem) retryAfter() string {
	switch {
	case p.after > 0:
		return strconv.Itoa(p.after)
	case p.Code == codeUnderWay:
		return "1"
	case p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable:
		return "10"
	}
	return ""
}

func (p *Problem) headers(set func(name, value string)) {
	set("Content-Type", "application/problem+json")
	set("Cache-Control", "no-store")
	if after := p.retryAfter(); after != "" {
		set("Retry-After", after)
	}
}

func (p *Problem) encode(w io.Writer) { json.NewEncoder(w).Encode(p) } // the asker has gone if it fails

func (p *Problem) write(w http.ResponseWriter) {
	p.headers(w.Header().Set)
	w.WriteHeader(p.Status)
	p.encode(w)
}

// useProblems makes huma's own errors (validation, unknown formats) problems of ours. huma keeps the maker in a
// package variable; it is set once, to the same function whoever asks.
var useProblems = sync.OnceFunc(func() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		code := lh.Internal
		switch {
		case status == http.StatusUnprocessableEntity || status == http.StatusBadRequest:
			status, code = http.StatusBadRequest, lh.Invalid
		case status == http.StatusRequestEntityTooLarge:
			code = codeTooLarge
		case status == http.StatusRequestTimeout:
			code = codeTimeout
		case status == http.StatusUnsupportedMediaType:
			code = codeType
		case status == http.StatusNotAcceptable:
			code = codeNotAcceptable
		case status < 500:
			code = lh.Invalid
		}
		if code == lh.Internal {
			msg, errs = lh.PublicMessage(fmt.Errorf("internal")), nil
		}
		p := newProblem(code, status, msg)
		for _, err := range errs {
			if err == nil {
				continue
			}
			d := ProblemDetail{Message: err.Error()}
			if h, ok := err.(huma.ErrorDetailer); ok {
				e := h.ErrorDetail()
				d = ProblemDetail{Message: e.Message, Location: e.Location}
				if !strings.HasPrefix(e.Location, "body") { // a body may hold a password or a claim code, anywhere
					d.Value = e.Value
				}
			}
			p.Errors = append(p.Errors, d)
		}
		if len(p.Errors) > 0 {
			p.Detail = p.Errors[0].Message
			if p.Errors[0].Location != "" {
				p.Detail = p.Errors[0].Location + ": " + p.Detail
			}
		}
		return p
	}
})
