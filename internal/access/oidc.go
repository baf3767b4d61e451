package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// ProviderLife is how long a log-in by a provider lasts: somebody barred there is out here a day later.
const ProviderLife = 24 * time.Hour

// Provider is an OpenID Connect provider by which people may log in.
type Provider struct {
	Name         string // in addresses
	Label        string // on the button
	Issuer       string // https://…, exactly as the provider writes it
	ClientID     string
	ClientSecret string   // "" for a public client
	Scopes       []string // beside openid
	SignUp       []string // e-mail domains whose people get an account at their first log-in
	LinkEmail    bool     // an account with the address that the provider has verified is linked at the first log-in
	SecondFactor bool     // the provider itself asks for one, so that none is asked for here
	Roots        *x509.CertPool
}

// Bounds of what a provider may do to us.
const (
	providerTime   = 15 * time.Second
	providerBytes  = 1 << 20
	providerFresh  = time.Hour // after which the provider's description is read anew
	tokenAge       = 10 * time.Minute
	tokenSkew      = 2 * time.Minute
	kindProvider   = "oidc"
	maxStateOfOIDC = 2048 // bytes of what comes back in an address
)

// algorithms sign ID tokens. None is symmetric, so that a public key cannot be taken for a shared secret, and "none" is
// none of them: RFC 8725, sections 2.1 and 3.1.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA}

// provider is a Provider with what was learned of it.
type provider struct {
	Provider
	client *http.Client

	mu   sync.Mutex
	op   *oidc.Provider
	read time.Time
	about
}

// about is what else a provider says of itself.
type about struct {
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	SendsIssuer bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207
}

func newProvider(p Provider) *provider {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.Roots}
	t.MaxResponseHeaderBytes = 64 << 10
	return &provider{Provider: p, client: &http.Client{Timeout: providerTime, Transport: bounded{t},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("a provider's endpoint redirects") }}}
}

// bounded lets a provider be asked over TLS only, and reads so much of its answers and no more.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("%s is not https", r.URL.Redacted())
	}
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, providerBytes), resp.Body}
	}
	return resp, err
}

// known returns what the provider says of itself, read once in a while. Where it cannot be read anew, the old holds.
func (p *provider) known(ctx context.Context, now time.Time) (*oidc.Provider, about, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.op != nil && now.Sub(p.read).Abs() < providerFresh {
		return p.op, p.about, nil
	}
	op, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.Issuer)
	var is about
	if err == nil {
		err = op.Claims(&is)
	}
	if e := (oauth2.Endpoint{}); err == nil {
		e = op.Endpoint()
		for _, u := range []string{e.AuthURL, e.TokenURL} {
			if !strings.HasPrefix(u, "https://") {
				err = fmt.Errorf("an endpoint is %q, which is not https", u)
			}
		}
	}
	if err != nil && p.op == nil {
		return nil, about{}, lh.Hide(lh.Unavailable, err, "%s cannot be reached right now; try again, or log in another way", p.Label)
	}
	if err == nil {
		p.op, p.about, p.read = op, is, now
	}
	return p.op, p.about, nil
}

func (p *provider) oauth(op *oidc.Provider, is about, redirect string) *oauth2.Config {
	e := op.Endpoint()
	e.AuthStyle = oauth2.AuthStyleInHeader // client_secret_basic is what holds where nothing is said
	if p.ClientSecret == "" || len(is.AuthMethods) > 0 && !slices.Contains(is.AuthMethods, "client_secret_basic") {
		e.AuthStyle = oauth2.AuthStyleInParams
	}
	return &oauth2.Config{ClientID: p.ClientID, ClientSecret: p.ClientSecret, Endpoint: e, RedirectURL: redirect,
		Scopes: append([]string{oidc.ScopeOpenID}, p.Scopes...)}
}

// Providers returns the providers in the order of the configuration, without their secrets.
func (a *Access) Providers() []Provider {
	ps := make([]Provider, len(a.providers))
	for i, p := range a.providers {
		ps[i] = p.Provider
		ps[i].ClientSecret = ""
	}
	return ps
}

func (a *Access) provider(name string) (*provider, error) {
	for _, p := range a.providers {
		if p.Name == name {
			return p, nil
		}
	}
	return nil, lh.Errorf(lh.NotFound, "there is no such provider")
}

// visit is the body of the challenge of a visit to a provider.
type visit struct {
	Provider string `json:"provider"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"` // of PKCE, RFC 7636
	Browser  []byte `json:"browser"`  // hash of the cookie of the browser that set out
}

// Visit is where to send a browser, and the cookie by which it is known again.
type Visit struct {
	URL     string
	Cookie  string
	Expires time.Time
}

// Visit begins a log-in by a provider; with a principal, who must have confirmed that it is them, it begins to link an
// account there with theirs.
func (a *Access) Visit(ctx context.Context, name string, link *Principal, remote string) (Visit, error) {
	if err := a.paced(ctx, "provider visit", remote); err != nil {
		return Visit{}, err
	}
	var user lh.UserID
	if link != nil {
		if err := a.confirmed(*link); err != nil {
			return Visit{}, err
		}
		user = link.User.ID
	}
	p, err := a.provider(name)
	if err != nil {
		return Visit{}, err
	}
	op, is, err := p.known(ctx, a.now())
	if err != nil {
		return Visit{}, err
	}
	v := visit{Provider: p.Name, Nonce: secretOf(32), Verifier: oauth2.GenerateVerifier()}
	state, cookie := secretOf(32), secretOf(32)
	browser := sha256.Sum256([]byte(cookie))
	v.Browser = browser[:]
	body, err := json.Marshal(v)
	if err != nil {
		return Visit{}, err
	}
	expires := a.now().Add(stepLife)
	if err := a.db.AddChallenge(ctx, tokenHash(state), store.Challenge{Kind: kindProvider, User: user, Body: body}, lh.MillisOf(expires)); err != nil {
		return Visit{}, err
	}
	u := p.oauth(op, is, a.redirectOf(p)).AuthCodeURL(state, oidc.Nonce(v.Nonce), oauth2.S256ChallengeOption(v.Verifier))
	return Visit{u, cookie, expires}, nil
}

// redirectOf is where a provider sends browsers back to: a page of the web app. It is made from the configuration, never
// from what a request says, and each provider has its own, so that an answer of one is not taken for another's (RFC 9700,
// section 4.4).
func (a *Access) redirectOf(p *provider) string { return a.url + "/sso/" + p.Name }

// Return is what a browser brings back from a provider.
type Return struct {
	State, Code, Issuer string
	Problem             string // the provider's error code, where it refused
	Cookie              string
}

// claims are what a provider says of a person.
type claims struct {
	Subject  string
	Email    string
	Verified bool
	Name     string
}

// arrived checks what a browser brings back, redeems the code, and returns what the provider says. user is who must have
// set out: "" for a log-in.
func (a *Access) arrived(ctx context.Context, name string, user lh.UserID, r Return) (*provider, claims, error) {
	bad := func(why string, err error) (*provider, claims, error) {
		a.log.WarnContext(ctx, "log-in by a provider refused", "provider", name, "why", why, "err", err)
		return nil, claims{}, lh.Hide(lh.Unauthenticated, err, "the answer of the provider was not accepted; begin again, in this browser")
	}
	for _, s := range []string{r.State, r.Code, r.Issuer, r.Problem, r.Cookie} {
		if len(s) > maxStateOfOIDC {
			return bad("something is too long", nil)
		}
	}
	p, err := a.provider(name)
	if err != nil {
		return nil, claims{}, err
	}
	c, err := a.db.TakeChallenge(ctx, tokenHash(r.State), kindProvider)
	if lh.CodeOf(err) == lh.Unauthenticated {
		return bad("state", err)
	}
	if err != nil {
		return nil, claims{}, err
	}
	var v visit
	if err := json.Unmarshal(c.Body, &v); err != nil {
		return nil, claims{}, err
	}
	browser := sha256.Sum256([]byte(r.Cookie))
	switch {
	case c.User != user:
		return bad("somebody else set out", nil)
	case v.Provider != p.Name:
		return bad("another provider answers", nil)
	case subtle.ConstantTimeCompare(browser[:], v.Browser) != 1:
		return bad("another browser set out", nil)
	}
	op, is, err := p.known(ctx, a.now())
	if err != nil {
		return nil, claims{}, err
	}
	if r.Issuer != "" && r.Issuer != p.Issuer || r.Issuer == "" && is.SendsIssuer { // RFC 9207, section 2.4
		return bad("another issuer answers", nil)
	}
	if r.Problem != "" || r.Code == "" {
		a.log.WarnContext(ctx, "log-in by a provider refused", "provider", name, "why", "the provider says no", "error", r.Problem)
		return nil, claims{}, lh.Errorf(lh.Unauthenticated, "%s did not let you in; try again, or log in another way", p.Label)
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.client), providerTime)
	defer cancel()
	token, err := p.oauth(op, is, a.redirectOf(p)).Exchange(ctx, r.Code, oauth2.VerifierOption(v.Verifier))
	if err != nil {
		return bad("the code was not redeemed", err)
	}
	cl, err := a.checkIDToken(ctx, p, op, token, v.Nonce)
	if err != nil {
		return bad("ID token", err)
	}
	return p, cl, nil
}

// checkIDToken checks an ID token as OpenID Connect Core 3.1.3.7 wants it, and asks for what it lacks.
func (a *Access) checkIDToken(ctx context.Context, p *provider, op *oidc.Provider, token *oauth2.Token, nonce string) (claims, error) {
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return claims{}, errors.New("there is none")
	}
	id, err := op.Verifier(&oidc.Config{ClientID: p.ClientID, SupportedSigningAlgs: algorithms, Now: a.now}).Verify(ctx, raw)
	if err != nil {
		return claims{}, err
	}
	var c struct {
		AuthorizedParty string `json:"azp"`
		Email           string `json:"email"`
		Verified        any    `json:"email_verified"` // some write it as text
		Name            string `json:"name"`
	}
	if err := id.Claims(&c); err != nil {
		return claims{}, err
	}
	age := a.now().Sub(id.IssuedAt)
	switch {
	case subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(nonce)) != 1:
		return claims{}, errors.New("the nonce is not ours")
	case id.Subject == "" || len(id.Subject) > 255:
		return claims{}, errors.New("the subject has no 1 to 255 bytes")
	case age > tokenAge || age < -tokenSkew:
		return claims{}, fmt.Errorf("it was issued %s ago", age)
	case c.AuthorizedParty != "" && c.AuthorizedParty != p.ClientID, len(id.Audience) > 1 && c.AuthorizedParty == "":
		return claims{}, fmt.Errorf("it was issued to %q", c.AuthorizedParty)
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(token.AccessToken); err != nil {
			return claims{}, err
		}
	}
	out := claims{id.Subject, c.Email, c.Verified == true || c.Verified == "true", c.Name}
	if out.Email == "" && op.UserInfoEndpoint() != "" && token.AccessToken != "" {
		info, err := op.UserInfo(ctx, oauth2.StaticTokenSource(token))
		if err != nil {
			return claims{}, err
		}
		if info.Subject != id.Subject { // OpenID Connect Core 5.3.4
			return claims{}, errors.New("the provider's two answers are about different people")
		}
		out.Email, out.Verified = info.Email, info.EmailVerified
		if err := info.Claims(&c); err == nil && c.Name != "" {
			out.Name = c.Name
		}
	}
	return out, nil
}

// LogInProvider starts a session for whoever came back from a provider, or asks for a second factor. Forbidden: no account
// here goes with theirs there.
func (a *Access) LogInProvider(ctx context.Context, name string, r Return, remote string) (Principal, string, error) {
	if err := a.paced(ctx, "provider", remote); err != nil {
		return Principal{}, "", err
	}
	p, c, err := a.arrived(ctx, name, "", r)
	if err != nil {
		return Principal{}, "", err
	}
	user, id, err := a.db.IdentityUser(ctx, p.Issuer, c.Subject)
	if lh.CodeOf(err) == lh.NotFound {
		user, id, err = a.stranger(ctx, p, c)
	}
	if err != nil {
		return Principal{}, "", err
	}
	u, err := a.db.User(ctx, user)
	if err != nil {
		return Principal{}, "", err
	}
	if err := a.db.UseIdentity(ctx, user, id); err != nil {
		return Principal{}, "", err
	}
	return a.admit(ctx, u, lh.ProofProvider, p.SecondFactor, ProviderLife)
}

// stranger finds or makes the account of somebody who logs in by a provider for the first time, where the configuration
// allows it. The refusal does not tell whether an address has an account.
func (a *Access) stranger(ctx context.Context, p *provider, c claims) (lh.UserID, lh.IdentityID, error) {
	no := lh.Errorf(lh.Forbidden, "no account here goes with yours at %s; log in another way and link it on the page “Security”, or ask this installation's operator for an invitation", p.Label)
	if !c.Verified || !lh.ValidEmail(c.Email) {
		return "", "", no
	}
	u, _, err := a.db.UserByEmail(ctx, c.Email)
	switch {
	case err == nil && !p.LinkEmail:
		return "", "", no
	case lh.CodeOf(err) == lh.NotFound:
		domain := c.Email[strings.LastIndexByte(c.Email, '@')+1:]
		if !slices.ContainsFunc(p.SignUp, func(d string) bool { return strings.EqualFold(d, domain) }) {
			return "", "", no
		}
		if c.Name == "" || len(c.Name) > 200 {
			c.Name = c.Email
		}
		u, i, err := a.db.SignUpIdentity(ctx, lh.User{Email: c.Email, Name: c.Name}, lh.Identity{Issuer: p.Issuer, Subject: c.Subject, Email: c.Email})
		return u.ID, i.ID, err
	case err != nil:
		return "", "", err
	}
	i, err := a.link(ctx, p, u, c, lh.Actor{Kind: lh.ActorUser, ID: string(u.ID)})
	return u.ID, i.ID, err
}

func (a *Access) link(ctx context.Context, p *provider, u lh.User, c claims, by lh.Actor) (lh.Identity, error) {
	return a.db.AddIdentity(ctx, by, lh.Identity{User: u.ID, Issuer: p.Issuer, Subject: c.Subject, Email: c.Email},
		a.notice(u, "an account at "+p.Label+" was linked", "Whoever logs in there gets in to your account here.")...)
}

// Link links the account of whoever came back from a provider with a person's.
func (a *Access) Link(ctx context.Context, who Principal, name string, r Return) (lh.Identity, error) {
	if err := a.confirmed(who); err != nil {
		return lh.Identity{}, err
	}
	p, c, err := a.arrived(ctx, name, who.User.ID, r)
	if err != nil {
		return lh.Identity{}, refused(err)
	}
	return a.link(ctx, p, who.User, c, who.Actor())
}

// Unlink no longer lets an account at a provider log in as a person.
func (a *Access) Unlink(ctx context.Context, p Principal, id lh.IdentityID) error {
	if err := a.confirmed(p); err != nil {
		return err
	}
	return a.db.RemoveIdentity(ctx, p.Actor(), p.User.ID, id, a.notice(p.User, "an account at a provider was unlinked", "It no longer logs in to your account.")...)
}
