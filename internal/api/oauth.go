package api

import (
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

// The token endpoint of OAuth 2.0, for the client credentials grant alone (RFC 6749, section 4.4), and where clients find
// it (RFC 8414).
const (
	tokenPath    = "/api/v1/oauth/token"
	metadataPath = "/.well-known/oauth-authorization-server"
)

// Token is the answer to a token request (RFC 6749, section 5.1).
type Token struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type" example:"Bearer"`
	ExpiresIn   int    `json:"expires_in" doc:"Seconds"`
}

// tokenError is the answer to a token request that is refused (RFC 6749, section 5.2).
type tokenError struct {
	status      int
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func (e *tokenError) Error() string { return e.Description }

type tokenInput struct{}

// tokenOperation describes the form that the handler reads itself, since it answers errors in a form of its own.
func tokenOperation(op *huma.Operation) {
	op.Description = "RFC 6749, section 4.4. The client id is the service account's, the secret one of its keys, by HTTP Basic or in the form. " +
		"Errors are those of RFC 6749, section 5.2."
	text := &huma.Schema{Type: "string"}
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/x-www-form-urlencoded": {Schema: &huma.Schema{
		Type: "object", Required: []string{"grant_type"}, Properties: map[string]*huma.Schema{
			"grant_type": {Type: "string", Enum: []any{"client_credentials"}}, "client_id": text, "client_secret": text}}}}}
	refused := &huma.Response{Description: "Refused", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{
		Type: "object", Properties: map[string]*huma.Schema{"error": text, "error_description": text}}}}}
	for _, status := range []string{"400", "401", "429", "503"} {
		op.Responses[status] = refused
	}
}

func getToken(a *API, ctx context.Context, _ *tokenInput) (*huma.StreamResponse, error) {
	r, w := request(ctx)
	t, err := a.token(r)
	return &huma.StreamResponse{Body: func(c huma.Context) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "no-store")
		h.Set("Pragma", "no-cache")
		status, v := http.StatusOK, any(t)
		if err != nil {
			e := a.tokenErrorOf(r, err)
			if e.status == http.StatusUnauthorized {
				h.Set("WWW-Authenticate", `Basic realm="loggerhead"`)
			}
			if e.status == http.StatusTooManyRequests || e.status == http.StatusServiceUnavailable {
				h.Set("Retry-After", "10")
			}
			status, v = e.status, e
		}
		c.SetStatus(status)
		json.NewEncoder(w).Encode(v) // the asker has gone if it fails
	}}, nil
}

// tokenErrorOf puts an error in the words of RFC 6749, section 5.2.
func (a *API) tokenErrorOf(r *http.Request, err error) *tokenError {
	if e, ok := err.(*tokenError); ok {
		return e
	}
	p := problemOf(a.Log, r, err)
	e := &tokenError{p.Status, "server_error", p.Detail}
	switch p.Code {
	case lh.Unauthenticated:
		e.Code = "invalid_client"
	case lh.Forbidden: // a network from which the client may not ask
		e.Code, e.status = "unauthorized_client", http.StatusBadRequest
	case lh.Invalid:
		e.Code = "invalid_request"
	case lh.Exhausted, lh.Unavailable:
		e.Code = "temporarily_unavailable"
	}
	return e
}

func (a *API) token(r *http.Request) (*Token, error) {
	bad := func(code, why string) error { return &tokenError{http.StatusBadRequest, code, why} }
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, bad("invalid_request", "send the request as a form: application/x-www-form-urlencoded")
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, bad("invalid_request", "the form is too long, or was cut off")
	}
	form, err := url.ParseQuery(string(b))
	if err != nil {
		return nil, bad("invalid_request", "the form cannot be read")
	}
	for name, values := range form {
		if len(values) > 1 { // section 3.2
			return nil, bad("invalid_request", "a parameter is there twice: "+strconv.Quote(name))
		}
	}
	switch form.Get("grant_type") {
	case "client_credentials":
	case "":
		return nil, bad("invalid_request", "grant_type is missing; it is client_credentials here")
	default:
		return nil, bad("unsupported_grant_type", "grant_type is client_credentials here")
	}
	if form.Get("scope") != "" {
		return nil, bad("invalid_scope", "there are no scopes here: a service account has a role")
	}
	id, secret := form.Get("client_id"), form.Get("client_secret")
	if h := r.Header.Get("Authorization"); h != "" {
		user, password, ok := r.BasicAuth()
		if ok { // both are form-encoded within (section 2.3.1)
			var e1, e2 error
			user, e1 = url.QueryUnescape(user)
			password, e2 = url.QueryUnescape(password)
			ok = e1 == nil && e2 == nil
		}
		if !ok {
			return nil, lh.Errorf(lh.Unauthenticated, "the client proves itself by HTTP Basic, or by client_id and client_secret in the form")
		}
		if form.Has("client_secret") || form.Has("client_id") && id != user {
			return nil, bad("invalid_request", "the client proves itself in one way: by HTTP Basic, or in the form")
		}
		id, secret = user, password
	}
	_, token, err := a.Access.Exchange(r.Context(), lh.ServiceID(id), secret, remoteAddr(r))
	if err != nil {
		return nil, err
	}
	return &Token{AccessToken: token, TokenType: "Bearer", ExpiresIn: int(access.TokenLife.Seconds())}, nil
}

// serveMetadata tells OAuth clients where the token endpoint is (RFC 8414). The issuer is the configured address of the
// hub, never what a Host header says.
func (a *API) serveMetadata(w http.ResponseWriter, r *http.Request) {
	issuer := strings.TrimSuffix(a.URL, "/")
	if issuer == "" {
		newProblem(lh.NotFound, http.StatusNotFound, "this hub has not been told under which address it is reached").write(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	json.NewEncoder(w).Encode(map[string]any{ // the asker has gone if it fails
		"issuer":                                issuer,
		"token_endpoint":                        issuer + tokenPath,
		"grant_types_supported":                 []string{"client_credentials"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
		"response_types_supported":              []string{},
		"service_documentation":                 issuer + "/api/docs",
	})
}
