package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Problem is an error body by RFC 9457.
type Problem struct {
	Type   string          `json:"type" doc:"Page that explains the code" example:"/api/docs/errors#not_found"`
	Title  string          `json:"title" doc:"The status in words" example:"Not Found"`
	Status int             `json:"status" doc:"HTTP status" example:"404"`
	Detail string          `json:"detail" doc:"What went wrong and what to do"`
	Code   lh.Code         `json:"code" doc:"What went wrong, for programs" enum:"invalid,unauthenticated,forbidden,not_found,conflict,exhausted,unavailable,internal"`
	Errors []ProblemDetail `json:"errors,omitempty" doc:"Each thing that is wrong with the request"`
}

// ProblemDetail is one thing that is wrong with a request.
type ProblemDetail struct {
	Message  string `json:"message"`
	Location string `json:"location,omitempty" example:"body.name"`
	Value    any    `json:"value,omitempty"`
}

func (p *Problem) Error() string             { return p.Detail }
func (p *Problem) GetStatus() int            { return p.Status }
func (p *Problem) ContentType(string) string { return "application/problem+json" }

func newProblem(code lh.Code, status int, detail string) *Problem {
	return &Problem{Type: "/api/docs/errors#" + string(code), Title: http.StatusText(status), Status: status, Detail: detail, Code: code}
}

// problemOf turns an error of the layers below into what the asker may see, and logs what they may not.
func problemOf(log *slog.Logger, r *http.Request, err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	code := lh.CodeOf(err)
	if code == lh.Internal || code == lh.Unavailable && r.Context().Err() == nil {
		log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	return newProblem(code, code.HTTPStatus(), lh.PublicMessage(err))
}

func (p *Problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	if p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) // the asker has gone if it fails
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
			code = lh.Exhausted
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
