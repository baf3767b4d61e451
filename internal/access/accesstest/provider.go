package accesstest

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Person is somebody with an account at the provider.
type Person struct {
	Subject, Email, Name string
	Verified             bool
}

// Client is the one client that the provider knows.
const (
	ClientID     = "loggerhead"
	ClientSecret = "a secret between client & provider" // with characters that must be escaped
)

// Provider is an OpenID Connect provider on loopback, over TLS: an honest one, by the zitadel/oidc library, whose answers
// a test may change on their way.
type Provider struct {
	Issuer string
	Roots  *x509.CertPool
	// Claims changes what an ID token says, before it is signed. Sign signs it, instead of the provider's key. Describe
	// changes what the provider says of itself. Answer changes the token answer itself.
	Claims   func(map[string]any)
	Sign     func(header, claims string) string
	Describe func(map[string]any)
	Answer   func(map[string]any)

	mu       sync.Mutex
	person   Person
	requests map[string]*authRequest
	codes    map[string]string
	tokens   map[string]Person
	redirect string
	key      *rsa.PrivateKey
	server   *httptest.Server
	op       *op.Provider
}

// providerKey is made once a process: it takes longer than everything else here.
var providerKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// NewProvider starts a provider that sends browsers back to redirect and to nowhere else. Close ends it.
func NewProvider(redirect string) (*Provider, error) {
	p := &Provider{redirect: redirect, requests: map[string]*authRequest{}, codes: map[string]string{}, tokens: map[string]Person{}}
	var err error
	if p.key, err = providerKey(); err != nil {
		return nil, err
	}
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	p.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	p.server.StartTLS()
	p.Issuer = p.server.URL
	p.Roots = x509.NewCertPool()
	p.Roots.AddCert(p.server.Certificate())
	var key [32]byte
	rand.Read(key[:]) // never fails
	p.op, err = op.NewProvider(&op.Config{CryptoKey: key, CodeMethodS256: true, SupportedScopes: []string{"openid", "email", "profile"}}, p, op.StaticIssuer(p.Issuer))
	if err != nil {
		p.server.Close()
		return nil, err
	}
	return p, nil
}

// Close ends the provider.
func (p *Provider) Close() { p.server.Close() }

// As sets who logs in from now on.
func (p *Provider) As(who Person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.person = who
}

// Visit does what a browser does that is sent to the provider: it logs in and comes back with the query parameters for
// the web app. The error has the provider's words where it refuses.
func (p *Provider) Visit(address string) (url.Values, error) {
	c := *p.server.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for range 10 {
		r, err := c.Get(address)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
		r.Body.Close()
		if err != nil {
			return nil, err
		}
		to, err := r.Location()
		if err != nil {
			return nil, fmt.Errorf("%s answers %s: %s", address, r.Status, b)
		}
		if address = to.String(); strings.HasPrefix(address, p.redirect+"?") {
			return to.Query(), nil
		}
		if !strings.HasPrefix(address, p.Issuer+"/") {
			return nil, fmt.Errorf("the provider sends to %s", address)
		}
	}
	return nil, errors.New("the provider redirects in circles")
}

// serve hands on to the library, and changes its answers where a test wants that.
func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/login" { // the page of the provider on which people log in
		p.mu.Lock()
		if q := p.requests[r.URL.Query().Get("id")]; q != nil {
			q.person, q.done = p.person, true
		}
		p.mu.Unlock()
		ctx := op.ContextWithIssuer(r.Context(), p.Issuer)
		http.Redirect(w, r, op.AuthCallbackURL(p.op)(ctx, r.URL.Query().Get("id")), http.StatusFound)
		return
	}
	var change func(body map[string]any)
	switch {
	case r.URL.Path == "/.well-known/openid-configuration" && p.Describe != nil:
		change = p.Describe
	case r.URL.Path == "/oauth/token" && (p.Claims != nil || p.Sign != nil || p.Answer != nil):
		change = p.resign
	default:
		p.op.ServeHTTP(w, r)
		return
	}
	rec := httptest.NewRecorder()
	p.op.ServeHTTP(rec, r)
	var body map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || rec.Code != http.StatusOK {
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes())
		return
	}
	change(body)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(body)
}

// resign changes the ID token of an answer and signs it anew.
func (p *Provider) resign(body map[string]any) {
	if p.Answer != nil {
		defer p.Answer(body)
	}
	raw, _ := body["id_token"].(string)
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return
	}
	payload, _ := b64.DecodeString(parts[1])
	var claims map[string]any
	if json.Unmarshal(payload, &claims) != nil {
		return
	}
	if p.Claims != nil {
		p.Claims(claims)
	}
	payload, _ = json.Marshal(claims)
	text := b64.EncodeToString(payload)
	if p.Sign != nil {
		body["id_token"] = p.Sign(parts[0], text)
		return
	}
	body["id_token"] = RS256(p.key)(parts[0], text)
}

// RS256 signs with a key, whosever it is.
func RS256(key *rsa.PrivateKey) func(header, claims string) string {
	return func(header, claims string) string {
		digest := sha256.Sum256([]byte(header + "." + claims))
		sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
		if err != nil {
			panic(err) // the key was made for it
		}
		return header + "." + claims + "." + b64.EncodeToString(sig)
	}
}

// HS256WithPublicKey signs with the provider's public key as a shared secret, which everybody knows.
func (p *Provider) HS256WithPublicKey(_, claims string) string {
	der, err := x509.MarshalPKIXPublicKey(&p.key.PublicKey)
	if err != nil {
		panic(err) // an RSA key always marshals
	}
	header := b64.EncodeToString([]byte(`{"alg":"HS256","kid":"` + keyID + `","typ":"JWT"}`))
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mac.Write([]byte(header + "." + claims))
	return header + "." + claims + "." + b64.EncodeToString(mac.Sum(nil))
}

// Unsigned signs nothing.
func Unsigned(_, claims string) string {
	return b64.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + claims + "."
}

const keyID = "key-1"

// authRequest is a request that waits for somebody to log in, and then for its code to be redeemed.
type authRequest struct {
	*oidc.AuthRequest
	id     string
	person Person
	done   bool
	at     time.Time
}

func (a *authRequest) GetID() string                      { return a.id }
func (a *authRequest) GetACR() string                     { return "" }
func (a *authRequest) GetAMR() []string                   { return []string{"pwd"} }
func (a *authRequest) GetAudience() []string              { return []string{a.ClientID} }
func (a *authRequest) GetAuthTime() time.Time             { return a.at }
func (a *authRequest) GetClientID() string                { return a.ClientID }
func (a *authRequest) GetNonce() string                   { return a.Nonce }
func (a *authRequest) GetRedirectURI() string             { return a.RedirectURI }
func (a *authRequest) GetScopes() []string                { return a.Scopes }
func (a *authRequest) GetState() string                   { return a.State }
func (a *authRequest) GetSubject() string                 { return a.person.Subject }
func (a *authRequest) Done() bool                         { return a.done }
func (a *authRequest) GetResponseType() oidc.ResponseType { return a.ResponseType }
func (a *authRequest) GetResponseMode() oidc.ResponseMode { return a.ResponseMode }
func (a *authRequest) GetCodeChallenge() *oidc.CodeChallenge {
	if a.CodeChallenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: a.CodeChallenge, Method: a.CodeChallengeMethod}
}

// The rest is what the library keeps its state with, and asks of its clients.

func (p *Provider) CreateAuthRequest(_ context.Context, r *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := &authRequest{AuthRequest: r, id: rand.Text(), at: time.Now()}
	p.requests[q.id] = q
	return q, nil
}

func (p *Provider) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.requests[id]; q != nil {
		return q, nil
	}
	return nil, errors.New("no such request")
}

func (p *Provider) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	p.mu.Lock()
	id := p.codes[code]
	p.mu.Unlock()
	return p.AuthRequestByID(ctx, id)
}

func (p *Provider) SaveAuthCode(_ context.Context, id, code string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes[code] = id
	return nil
}

func (p *Provider) DeleteAuthRequest(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.requests, id)
	return nil
}

func (p *Provider) CreateAccessToken(_ context.Context, r op.TokenRequest) (string, time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := rand.Text()
	if q, ok := r.(*authRequest); ok {
		p.tokens[id] = q.person
	}
	return id, time.Now().Add(5 * time.Minute), nil
}

func (p *Provider) SetUserinfoFromToken(_ context.Context, u *oidc.UserInfo, tokenID, subject, _ string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	who, ok := p.tokens[tokenID]
	if !ok || who.Subject != subject {
		return errors.New("no such token")
	}
	u.Subject, u.Email, u.EmailVerified, u.Name = who.Subject, who.Email, oidc.Bool(who.Verified), who.Name
	return nil
}

func (p *Provider) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != ClientID {
		return nil, errors.New("no such client")
	}
	return client{p}, nil
}

func (p *Provider) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	if id != ClientID || secret != ClientSecret {
		return errors.New("wrong secret")
	}
	return nil
}

func (p *Provider) SigningKey(context.Context) (op.SigningKey, error) { return key{p.key, false}, nil }
func (p *Provider) KeySet(context.Context) ([]op.Key, error)          { return []op.Key{key{p.key, true}}, nil }
func (p *Provider) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

var errNot = errors.New("this provider does not do that")

func (p *Provider) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, errNot
}
func (p *Provider) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, errNot
}
func (p *Provider) TerminateSession(context.Context, string, string) error { return errNot }
func (p *Provider) RevokeToken(context.Context, string, string, string) *oidc.Error {
	return oidc.ErrInvalidRequest()
}
func (p *Provider) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", errNot
}
func (p *Provider) SetUserinfoFromScopes(_ context.Context, u *oidc.UserInfo, subject, _ string, _ []string) error {
	u.Subject = subject
	return nil
}
func (p *Provider) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errNot
}
func (p *Provider) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}
func (p *Provider) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNot
}
func (p *Provider) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNot
}
func (p *Provider) Health(context.Context) error { return nil }

// key is the provider's, or its public half.
type key struct {
	k      *rsa.PrivateKey
	public bool
}

func (k key) ID() string                                  { return keyID }
func (k key) Use() string                                 { return "sig" }
func (k key) Algorithm() jose.SignatureAlgorithm          { return jose.RS256 }
func (k key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k key) Key() any {
	if k.public {
		return &k.k.PublicKey
	}
	return k.k
}

// client is the hub, as the provider knows it.
type client struct{ p *Provider }

func (c client) GetID() string                       { return ClientID }
func (c client) RedirectURIs() []string              { return []string{c.p.redirect} }
func (c client) PostLogoutRedirectURIs() []string    { return nil }
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c client) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodBasic }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c client) GrantTypes() []oidc.GrantType         { return []oidc.GrantType{oidc.GrantTypeCode} }
func (c client) LoginURL(id string) string            { return c.p.Issuer + "/login?id=" + id }
func (c client) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeBearer }
func (c client) IDTokenLifetime() time.Duration       { return 5 * time.Minute }
func (c client) DevMode() bool                        { return false }
func (c client) IsScopeAllowed(string) bool           { return false }
func (c client) IDTokenUserinfoClaimsAssertion() bool { return false }
func (c client) ClockSkew() time.Duration             { return 0 }
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(s []string) []string { return s }
}
