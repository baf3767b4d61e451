package loggerhead

import (
	"context"
	"errors"
	"fmt"
)

// Code is the kind of an error, the same for HTTP, MQTT and exit status.
type Code string

const (
	Invalid         Code = "invalid"         // the request itself is wrong; the message says what to change
	Unauthenticated Code = "unauthenticated" // nobody known is asking
	Forbidden       Code = "forbidden"       // known, and may not
	NotFound        Code = "not_found"       // not there, or somebody else's
	Conflict        Code = "conflict"        // clashes with what is there
	Stale           Code = "stale"           // it changed since it was read
	Exhausted       Code = "exhausted"       // a limit is reached; later or less
	Unavailable     Code = "unavailable"     // cannot now; later
	Internal        Code = "internal"        // our fault; details are in the hub's log only
)

// Codes lists every code, for tests of the tables that map them.
var Codes = []Code{Invalid, Unauthenticated, Forbidden, NotFound, Conflict, Stale, Exhausted, Unavailable, Internal}

// Error is an error whose Message may be shown to whoever asked. Cause may not.
type Error struct {
	Code    Code
	Message string
	Cause   error
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an error with a message for whoever asked; [Hide] adds a cause that stays hidden.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Hide makes an error with a public message and a cause that only the log sees.
func Hide(code Code, cause error, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Cause: cause}
}

// CodeOf returns the code of the first coded error in err's chain; context ends are Unavailable, anything else is
// Internal, nil is "".
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Unavailable
	}
	return Internal
}

// PublicMessage returns what may be shown of err to whoever asked.
func PublicMessage(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Code != Internal {
		return e.Message
	}
	if CodeOf(err) == Unavailable {
		return "the hub cannot do this right now; try again later"
	}
	return "something failed inside the hub; its log says what"
}

// HTTPStatus is the status with which HTTP says the code. It is the one table of it; an unknown code is our fault.
func (c Code) HTTPStatus() int {
	switch c {
	case Invalid:
		return 400
	case Unauthenticated:
		return 401
	case Forbidden:
		return 403
	case NotFound:
		return 404
	case Conflict:
		return 409
	case Stale:
		return 412
	case Exhausted:
		return 429
	case Unavailable:
		return 503
	}
	return 500
}

// ExitStatus is the status with which a program says the code.
func (c Code) ExitStatus() int {
	switch c {
	case "":
		return 0
	case Invalid:
		return 2
	case Unauthenticated, Forbidden:
		return 3
	case NotFound:
		return 4
	case Conflict, Stale:
		return 5
	case Exhausted, Unavailable:
		return 6
	}
	return 1
}
