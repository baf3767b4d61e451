package api

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

// consibioTest tells that the API is there: the only answer without a payload.
func consibioTest(c *consibioCall) error {
	c.answer(http.StatusOK, struct {
		Status string       `json:"status"`
		Time   consibioTime `json:"time"`
	}{"ok", consibioTime(lh.MillisOf(c.api.Now()))})
	return nil
}

// consibioTokenAnswer is what a token request gets.
type consibioTokenAnswer struct {
	AccessToken string    `json:"access_token"`
	TokenType   string    `json:"token_type"`
	ExpiresIn   int       `json:"expires_in"`
	UserID      lh.UserID `json:"user_id"`
	Email       string    `json:"email"`
}

// consibioTokenError is an error of the token request (RFC 6749, section 5.2, but for the status of wrong credentials).
type consibioTokenError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// consibioToken is the password grant of OAuth 2.0. Clients match on the words of its error.
func consibioToken(c *consibioCall) error {
	refuse := func(status int, code, why string) error {
		c.answer(status, consibioTokenError{code, why})
		return nil
	}
	form, ok := c.form()
	if !ok {
		return refuse(http.StatusBadRequest, "invalid_request", "Send the request as a form (application/x-www-form-urlencoded).")
	}
	if form.get("grant_type") != "password" {
		return refuse(http.StatusBadRequest, "unsupported_grant_type", "grant_type is password here.")
	}
	p, token, err := c.logIn(form.get("username"), form.get("password"))
	switch lh.CodeOf(err) {
	case "":
	case lh.Unauthenticated, lh.Invalid, lh.NotFound, lh.Forbidden:
		return refuse(http.StatusForbidden, "unauthorized", "Invalid credentials.")
	case lh.Exhausted:
		c.w.Header().Set("Retry-After", "60")
		return refuse(http.StatusTooManyRequests, "slow_down", "Too many log-in tries from here; wait a minute.")
	default:
		return err
	}
	c.answer(http.StatusOK, consibioTokenAnswer{AccessToken: token, TokenType: "bearer", ExpiresIn: c.lasts(p), UserID: p.User.ID, Email: p.User.Email})
	return nil
}

// logIn starts a session of an hour. Whoever has a second factor is refused like a wrong password: these APIs have no
// place to ask for it.
func (c *consibioCall) logIn(email, password string) (access.Principal, string, error) {
	return c.api.Access.LogInProgram(c.r.Context(), email, password, remoteHost(c.r))
}

// lasts returns for how many seconds a session still does.
func (c *consibioCall) lasts(p access.Principal) int {
	return int(time.Duration(p.Session.Expires-p.Session.Created) * time.Millisecond / time.Second)
}

// form reads a form; ok is false where the request has another body.
func (c *consibioCall) form() (form consibioQuery, ok bool) {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, false
	}
	b, err := io.ReadAll(c.r.Body)
	return parseConsibioQuery(string(b)), err == nil
}

// consibioLogInAnswer is the payload of a log-in.
type consibioLogInAnswer struct {
	Token   string    `json:"token"`
	UserID  lh.UserID `json:"user_id"`
	Email   string    `json:"email"`
	Expires string    `json:"expires"` // ISO 8601; a client in C# reads it as text
}

// consibioLogIn takes JSON, whatever type the request says it has.
func consibioLogIn(c *consibioCall) error {
	var in struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	b, err := io.ReadAll(c.r.Body)
	if err == nil {
		err = json.Unmarshal(b, &in)
	}
	if err != nil {
		return lh.Errorf(lh.Invalid, "Send a JSON object with username and password.")
	}
	p, token, err := c.logIn(in.Username, in.Password)
	switch lh.CodeOf(err) {
	case "":
	case lh.Unauthenticated, lh.Invalid, lh.NotFound, lh.Forbidden:
		return lh.Errorf(lh.Invalid, "Invalid credentials.")
	case lh.Exhausted:
		return lh.Errorf(lh.Exhausted, "Too many log-in tries from here; wait a minute.")
	default:
		return err
	}
	return c.ok(consibioLogInAnswer{token, p.User.ID, p.User.Email, p.Session.Expires.Time().Format("2006-01-02T15:04:05.000Z07:00")})
}
