package access_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/access/accesstest"
)

var ana = accesstest.Person{Subject: "sub-1", Email: "ana@test.example", Name: "Ana at Corp", Verified: true}

// withProvider runs f with a provider called corp, on each engine.
func withProvider(t *testing.T, change func(*access.Provider), f func(b *bench, op *accesstest.Provider)) {
	var op *accesstest.Provider
	eachEngine(t, func(o *access.Options) {
		var err error
		if op, err = accesstest.NewProvider(hubURL + "/sso/corp"); err != nil {
			t.Fatal(err)
		}
		op.As(ana)
		p := access.Provider{Name: "corp", Label: "Corp", Issuer: op.Issuer, ClientID: accesstest.ClientID, ClientSecret: accesstest.ClientSecret,
			Scopes: []string{"email", "profile"}, Roots: op.Roots}
		if change != nil {
			change(&p)
		}
		o.Providers = []access.Provider{p, {Name: "other", Label: "Other", Issuer: op.Issuer, ClientID: accesstest.ClientID, ClientSecret: accesstest.ClientSecret, Roots: op.Roots}}
	}, func(b *bench) {
		defer op.Close()
		f(b, op)
	})
}

// visit goes to the provider and comes back.
func (b *bench) visit(op *accesstest.Provider, link *access.Principal) access.Return {
	b.Helper()
	v, err := b.access.Visit(ctx, "corp", link, "192.0.2.1")
	if err != nil {
		b.Fatal(err)
	}
	q, err := op.Visit(v.URL)
	if err != nil {
		b.Fatal(err)
	}
	return access.Return{State: q.Get("state"), Code: q.Get("code"), Issuer: q.Get("iss"), Problem: q.Get("error"), Cookie: v.Cookie}
}

// link links Ana's account here with hers there.
func (b *bench) link(op *accesstest.Provider) lh.Identity {
	b.Helper()
	p := b.confirmed(b.in(b.ana.Email), access.Answer{})
	i, err := b.access.Link(ctx, p, "corp", b.visit(op, &p))
	if err != nil {
		b.Fatal(err)
	}
	return i
}

// TestProvider: link, log in, unlink; the way there is authorization code with PKCE, state and nonce, back to one address.
func TestProvider(t *testing.T) {
	withProvider(t, nil, func(b *bench, op *accesstest.Provider) {
		_, _, err := b.access.LogInProvider(ctx, "corp", b.visit(op, nil), "192.0.2.1")
		b.refusedAs("before it is linked, with a verified address that has an account", err, lh.Forbidden)
		p := b.in(b.ana.Email)
		_, err = b.access.Visit(ctx, "corp", &p, "192.0.2.1")
		b.refusedAs("linking without confirming", err, lh.Forbidden)
		i := b.link(op)
		if i.Subject != "sub-1" || i.Issuer != op.Issuer || i.Email != ana.Email {
			b.Errorf("%+v", i)
		}
		v, err := b.access.Visit(ctx, "corp", nil, "192.0.2.1")
		if err != nil {
			b.Fatal(err)
		}
		u, err := url.Parse(v.URL)
		if err != nil {
			b.Fatal(err)
		}
		q := u.Query()
		if q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || len(q.Get("state")) != 43 || len(q.Get("nonce")) != 43 ||
			q.Get("redirect_uri") != hubURL+"/sso/corp" || q.Get("scope") != "openid email profile" || q.Get("client_secret") != "" || v.Expires.Sub(b.clock.now()) != 5*time.Minute {
			b.Errorf("%s until %s", v.URL, v.Expires)
		}
		op.As(accesstest.Person{Subject: "sub-1", Email: "new@address.example"}) // the subject is who somebody is, not the address
		in, token, err := b.access.LogInProvider(ctx, "corp", b.visit(op, nil), "192.0.2.1")
		if err != nil || in.User.ID != b.ana.ID || in.Session.Proof != lh.ProofProvider || in.Session.Strong {
			b.Fatalf("%+v %v", in, err)
		}
		if life := in.Session.Expires.Time().Sub(b.clock.now()).Round(time.Minute); life != access.ProviderLife {
			b.Errorf("a log-in by a provider lasts %s", life)
		}
		b.clock.add(access.ProviderLife - time.Minute)
		if _, err := b.access.Authenticate(ctx, token, in.Remote); err != nil {
			b.Error(err)
		}
		b.clock.add(-access.ProviderLife + time.Minute)
		op.As(accesstest.Person{Subject: "sub-2", Email: ana.Email, Verified: true})
		_, _, err = b.access.LogInProvider(ctx, "corp", b.visit(op, nil), "192.0.2.1")
		b.refusedAs("another subject with the address", err, lh.Forbidden)
		// Somebody else cannot have what is linked.
		op.As(ana)
		bob := b.confirmed(b.in(b.user("bob@test.example").Email), access.Answer{})
		_, err = b.access.Link(ctx, bob, "corp", b.visit(op, &bob))
		b.refusedAs("linked twice", err, lh.Conflict)
		b.refusedAs("unlinked by somebody else", b.access.Unlink(ctx, bob, i.ID), lh.NotFound)
		p = b.confirmed(b.in(b.ana.Email), access.Answer{})
		if err := b.access.Unlink(ctx, p, i.ID); err != nil {
			b.Fatal(err)
		}
		_, _, err = b.access.LogInProvider(ctx, "corp", b.visit(op, nil), "192.0.2.1")
		b.refusedAs("after it was unlinked", err, lh.Forbidden)
		b.wantAudited("identity.link", "identity.unlink")
		if m := strings.Join(b.mailed(), "; "); !strings.Contains(m, "an account at Corp was linked") || !strings.Contains(m, "was unlinked") {
			b.Errorf("mailed: %s", m)
		}
		_, err = b.access.Visit(ctx, "nobody", nil, "192.0.2.1")
		b.refusedAs("an unknown provider", err, lh.NotFound)
	})
}

// TestProviderAndSecondFactor: what the account asks for is asked for after a provider, too, but where that does it itself.
func TestProviderAndSecondFactor(t *testing.T) {
	for _, itself := range []bool{false, true} {
		withProvider(t, func(p *access.Provider) { p.SecondFactor = itself }, func(b *bench, op *accesstest.Provider) {
			b.link(op)
			secret, _ := b.app(b.in(b.ana.Email))
			in, _, err := b.access.LogInProvider(ctx, "corp", b.visit(op, nil), "192.0.2.1")
			if itself {
				if err != nil || !in.Session.Strong || in.Session.Proof != lh.ProofProvider {
					b.Errorf("%+v %v", in, err)
				}
				return
			}
			need, ok := errors.AsType[*access.FactorNeeded](err)
			if !ok {
				b.Fatalf("%+v %v", in, err)
			}
			if in, _, err = b.access.FinishLogIn(ctx, need.Token, b.code(secret), "192.0.2.1"); err != nil || !in.Session.Strong {
				b.Fatalf("%+v %v", in, err)
			}
			if life := in.Session.Expires.Time().Sub(b.clock.now()).Round(time.Minute); life != access.ProviderLife {
				b.Errorf("it lasts %s", life)
			}
		})
	}
}

// TestProviderStrangers: who gets an account, or theirs, at a first log-in is what the configuration says, and the refusal
// does not tell whether an address has one.
func TestProviderStrangers(t *testing.T) {
	for name, c := range map[string]struct {
		set  access.Provider
		who  accesstest.Person
		want string // "": refused; "ana": her account; "new": one of their own
	}{
		"nothing set, known":           {access.Provider{}, ana, ""},
		"nothing set, unknown":         {access.Provider{}, accesstest.Person{Subject: "s", Email: "new@corp.example", Verified: true}, ""},
		"link":                         {access.Provider{LinkEmail: true}, ana, "ana"},
		"link, other case":             {access.Provider{LinkEmail: true}, accesstest.Person{Subject: "s", Email: "ANA@Test.example", Verified: true}, "ana"},
		"link, unverified":             {access.Provider{LinkEmail: true}, accesstest.Person{Subject: "s", Email: ana.Email}, ""},
		"link, unknown":                {access.Provider{LinkEmail: true}, accesstest.Person{Subject: "s", Email: "new@corp.example", Verified: true}, ""},
		"sign up":                      {access.Provider{SignUp: []string{"corp.example"}}, accesstest.Person{Subject: "s", Email: "New@Corp.example", Verified: true, Name: "New"}, "new"},
		"sign up, unverified":          {access.Provider{SignUp: []string{"corp.example"}}, accesstest.Person{Subject: "s", Email: "new@corp.example"}, ""},
		"sign up, other domain":        {access.Provider{SignUp: []string{"corp.example"}}, accesstest.Person{Subject: "s", Email: "new@evil-corp.example", Verified: true}, ""},
		"sign up, sub-domain":          {access.Provider{SignUp: []string{"corp.example"}}, accesstest.Person{Subject: "s", Email: "new@x.corp.example", Verified: true}, ""},
		"sign up, domain in the name":  {access.Provider{SignUp: []string{"corp.example"}}, accesstest.Person{Subject: "s", Email: `"x@corp.example"@evil.example`, Verified: true}, ""},
		"sign up, address has account": {access.Provider{SignUp: []string{"test.example"}}, ana, ""},
		"no address":                   {access.Provider{SignUp: []string{"corp.example"}, LinkEmail: true}, accesstest.Person{Subject: "s", Verified: true}, ""},
	} {
		withProvider(t, func(p *access.Provider) { p.SignUp, p.LinkEmail = c.set.SignUp, c.set.LinkEmail }, func(b *bench, op *accesstest.Provider) {
			op.As(c.who)
			in, _, err := b.access.LogInProvider(ctx, "corp", b.visit(op, nil), "192.0.2.1")
			if c.want == "" {
				b.refusedAs(name, err, lh.Forbidden)
				if !strings.HasPrefix(lh.PublicMessage(err), "no account here goes with yours at Corp;") {
					b.Errorf("%s: %v", name, err)
				}
				return
			}
			if err != nil || (in.User.ID == b.ana.ID) != (c.want == "ana") || in.User.Operator {
				b.Fatalf("%s: %+v %v", name, in, err)
			}
			if c.want == "new" && (in.User.Email != c.who.Email || in.User.Name != c.who.Name) {
				b.Errorf("%s: %+v", name, in.User)
			}
			again, _, err := b.access.LogInProvider(ctx, "corp", b.visit(op, nil), "192.0.2.1")
			if err != nil || again.User.ID != in.User.ID {
				b.Errorf("%s again: %+v %v", name, again, err)
			}
			b.wantAudited("identity.link")
		})
	}
}

// TestReturnsRefused: whoever comes back with anything but the answer to their own visit, in their own browser, once and
// soon, is refused.
func TestReturnsRefused(t *testing.T) {
	withProvider(t, nil, func(b *bench, op *accesstest.Provider) {
		b.link(op)
		try := func(what, provider string, r access.Return) {
			b.Helper()
			_, _, err := b.access.LogInProvider(ctx, provider, r, "192.0.2.9")
			b.refusedAs(what, err, lh.Unauthenticated)
		}
		good := b.visit(op, nil)
		if _, _, err := b.access.LogInProvider(ctx, "corp", good, "192.0.2.9"); err != nil {
			b.Fatal(err)
		}
		try("twice", "corp", good)
		_, _, err := b.replica().LogInProvider(ctx, "corp", good, "192.0.2.8")
		b.refusedAs("twice, on another replica", err, lh.Unauthenticated)
		for what, change := range map[string]func(*access.Return){
			"another browser": func(r *access.Return) { r.Cookie = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }, "no cookie": func(r *access.Return) { r.Cookie = "" },
			"made-up state": func(r *access.Return) { r.State = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }, "no state": func(r *access.Return) { r.State = "" },
			"made-up code": func(r *access.Return) { r.Code = "x" }, "no code": func(r *access.Return) { r.Code = "" }, "the provider says no": func(r *access.Return) { r.Problem = "access_denied" },
			"another issuer": func(r *access.Return) { r.Issuer = "https://evil.example" }, "very long": func(r *access.Return) { r.Code = strings.Repeat("x", 3000) },
		} {
			r := b.visit(op, nil)
			change(&r)
			try(what, "corp", r)
		}
		try("another provider's page", "other", b.visit(op, nil))
		mixed, other := b.visit(op, nil), b.visit(op, nil)
		mixed.Code = other.Code // PKCE: the code of another visit
		try("a code put in", "corp", mixed)
		late := b.visit(op, nil)
		b.clock.add(5*time.Minute + time.Second)
		try("late", "corp", late)
		b.clock.add(-5*time.Minute - time.Second)
		// A visit to link is none to log in, and is its owner's.
		p := b.confirmed(b.in(b.ana.Email), access.Answer{})
		try("a visit to link", "corp", b.visit(op, &p))
		_, err = b.access.Link(ctx, p, "corp", b.visit(op, nil))
		b.refusedAs("a visit to log in", err, lh.Forbidden)
		bob := b.confirmed(b.in(b.user("bob@test.example").Email), access.Answer{})
		_, err = b.access.Link(ctx, bob, "corp", b.visit(op, &p))
		b.refusedAs("somebody else's visit", err, lh.Forbidden)
		if f, err := b.access.Factors(ctx, bob); err != nil || len(f.Identities) != 0 {
			b.Errorf("%+v %v", f, err)
		}
	})
}

// TestHostileProvider: an ID token that is not exactly what OpenID Connect wants lets nobody in.
func TestHostileProvider(t *testing.T) {
	stranger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	withProvider(t, nil, func(b *bench, op *accesstest.Provider) {
		b.link(op)
		now := b.clock.now().Unix()
		set := func(name string, value any) func() {
			return func() { op.Claims = func(c map[string]any) { c[name] = value } }
		}
		drop := func(name string) func() { return func() { op.Claims = func(c map[string]any) { delete(c, name) } } }
		for what, lie := range map[string]func(){
			"audience": set("aud", "somebody else"),
			"audience, ours among others": func() {
				op.Claims = func(c map[string]any) {
					c["aud"] = []string{accesstest.ClientID, "somebody else"}
					delete(c, "azp")
				}
			},
			"issued to somebody else":       set("azp", "somebody else"),
			"no audience":                   drop("aud"),
			"issuer":                        set("iss", "https://evil.example"),
			"issuer with a slash":           set("iss", op.Issuer+"/"),
			"nonce":                         set("nonce", "x"),
			"no nonce":                      drop("nonce"),
			"expired":                       set("exp", now-1),
			"no expiry":                     drop("exp"),
			"issued long ago":               set("iat", now-3600),
			"issued in the future":          set("iat", now+3600),
			"never issued":                  drop("iat"),
			"not yet":                       set("nbf", now+3600),
			"no subject":                    set("sub", ""),
			"a subject without end":         set("sub", strings.Repeat("x", 300)),
			"subject and userinfo disagree": set("sub", "sub-9"),
			"another access token":          set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
			"another key":                   func() { op.Sign = accesstest.RS256(stranger) },
			"none":                          func() { op.Sign = accesstest.Unsigned },
			"HS256 by the public key":       func() { op.Sign = op.HS256WithPublicKey },
			"signature cut off":             func() { op.Sign = func(h, c string) string { return h + "." + c + "." } },
			"no token at all":               func() { op.Answer = func(a map[string]any) { delete(a, "id_token") } },
			"a token that is none":          func() { op.Answer = func(a map[string]any) { a["id_token"] = strings.Repeat("x.", 1000) } },
			"claims for another type":       set("email", map[string]any{"x": 1}),
		} {
			op.Claims, op.Sign, op.Answer = nil, nil, nil
			lie()
			_, _, err := b.access.LogInProvider(ctx, "corp", b.visit(op, nil), "198.51.100."+string(rune('0'+len(what)%10)))
			b.refusedAs(what, err, lh.Unauthenticated)
		}
		op.Claims, op.Sign, op.Answer = nil, nil, nil
		op.Claims = func(c map[string]any) {
			c["aud"], c["azp"] = []string{accesstest.ClientID, "somebody else"}, accesstest.ClientID
		}
		if _, _, err := b.access.LogInProvider(ctx, "corp", b.visit(op, nil), "192.0.2.1"); err != nil {
			b.Errorf("several audiences, issued to us: %v", err)
		}
	})
}

// TestHostileDescription: a provider that describes itself as another, in plaintext, or without end is not used.
func TestHostileDescription(t *testing.T) {
	for what, lie := range map[string]func(map[string]any){
		"issuer":      func(d map[string]any) { d["issuer"] = "https://evil.example" },
		"plain token": func(d map[string]any) { d["token_endpoint"] = "http://127.0.0.1:1/token" },
		"plain login": func(d map[string]any) { d["authorization_endpoint"] = "http://127.0.0.1:1/login" },
		"no login":    func(d map[string]any) { delete(d, "authorization_endpoint") },
		"endless":     func(d map[string]any) { d["x"] = strings.Repeat("x", 2<<20) },
	} {
		withProvider(t, nil, func(b *bench, op *accesstest.Provider) {
			op.Describe = lie
			_, err := b.access.Visit(ctx, "corp", nil, "192.0.2.1")
			b.refusedAs(what, err, lh.Unavailable)
			op.Describe = nil
			if _, err := b.access.Visit(ctx, "corp", nil, "192.0.2.1"); err != nil {
				b.Errorf("after %s: %v", what, err)
			}
		})
	}
	// Keys over plaintext are not fetched; one that promises to name its issuer must.
	withProvider(t, nil, func(b *bench, op *accesstest.Provider) {
		b.link(op)
		b.clock.add(2 * time.Hour)
		op.Describe = func(d map[string]any) { d["authorization_response_iss_parameter_supported"] = true }
		r := b.visit(op, nil)
		b.clock.add(-2 * time.Hour)
		if r.Issuer != "" {
			b.Skip("the library names its issuer now")
		}
		_, _, err := b.access.LogInProvider(ctx, "corp", r, "192.0.2.1")
		b.refusedAs("an issuer left out", err, lh.Unauthenticated)
	})
	withProvider(t, func(p *access.Provider) { p.Roots = nil }, func(b *bench, op *accesstest.Provider) {
		_, err := b.access.Visit(ctx, "corp", nil, "192.0.2.1")
		b.refusedAs("a certificate of nobody known", err, lh.Unavailable)
	})
	withProvider(t, func(p *access.Provider) { p.ClientSecret = "wrong" }, func(b *bench, op *accesstest.Provider) {
		_, _, err := b.access.LogInProvider(ctx, "corp", b.visit(op, nil), "192.0.2.1")
		b.refusedAs("a wrong secret of ours", err, lh.Unauthenticated)
	})
}
