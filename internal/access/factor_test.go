package access_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

const hubURL = "https://hub.example:8443"

// bench is an Access with a person, Ana.
type bench struct {
	*testing.T
	access *access.Access
	db     *store.DB
	clock  *clock
	ana    lh.User
	opts   access.Options
}

// eachEngine runs f with a bench on each engine; more changes the options.
func eachEngine(t *testing.T, more func(*access.Options), f func(b *bench)) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		b := &bench{T: t, clock: &clock{t: time.Now().Truncate(time.Second)}} // providers use the real clock
		o.Now = b.clock.now
		b.db = storetest.Open(t, o)
		b.opts = access.Options{DB: b.db, Now: b.clock.now, URL: hubURL}
		if more != nil {
			more(&b.opts)
		}
		b.access = access.New(b.opts)
		b.ana = b.user("ana@test.example")
		f(b)
	})
}

func (b *bench) user(email string) lh.User {
	b.Helper()
	u, err := b.access.CreateUser(ctx, lh.User{Email: email, Name: "Ana"}, good)
	if err != nil {
		b.Fatal(err)
	}
	return u
}

// replica is another process on the same database.
func (b *bench) replica() *access.Access { return access.New(b.opts) }

// in logs somebody in who has no second factor.
func (b *bench) in(email string) access.Principal {
	b.Helper()
	p, _, err := b.access.LogIn(ctx, email, good, "192.0.2.1")
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// half logs somebody in half: the token that a second factor makes a session of.
func (b *bench) half(email, remote string) *access.FactorNeeded {
	b.Helper()
	_, token, err := b.access.LogIn(ctx, email, good, remote)
	need, ok := errors.AsType[*access.FactorNeeded](err)
	if !ok || token != "" || lh.CodeOf(err) != lh.Unauthenticated {
		b.Fatalf("log-in with a second factor: %q, %v", token, err)
	}
	return need
}

// confirmed is a principal as its next request finds it, after it has confirmed itself.
func (b *bench) confirmed(p access.Principal, with access.Answer) access.Principal {
	b.Helper()
	until, err := b.access.Confirm(ctx, p, good, with)
	if err != nil {
		b.Fatal(err)
	}
	p.Session.Confirmed = lh.MillisOf(b.clock.now())
	if b.access.Confirmed(p) != until {
		b.Errorf("confirmed until %d, told %d", b.access.Confirmed(p), until)
	}
	return p
}

// app sets an authenticator app up for somebody, and returns its secret and the recovery codes.
func (b *bench) app(p access.Principal) (secret string, codes []string) {
	b.Helper()
	p = b.confirmed(p, access.Answer{})
	s, err := b.access.BeginTOTP(ctx, p)
	if err != nil {
		b.Fatal(err)
	}
	if codes, err = b.access.ConfirmTOTP(ctx, p, access.CodeAt(s.Secret, b.clock.now())); err != nil {
		b.Fatal(err)
	}
	b.clock.add(30 * time.Second) // the next code
	return s.Secret, codes
}

func (b *bench) code(secret string) access.Answer {
	return access.Answer{Code: access.CodeAt(secret, b.clock.now())}
}

// audited returns what the installation's chain says was done.
func (b *bench) audited() []string {
	b.Helper()
	var actions []string
	err := b.db.AccountAudit(ctx, 0, 1000, store.AuditFilter{}, func(e lh.AuditEvent) error {
		actions = append(actions, e.Action)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return actions
}

func (b *bench) wantAudited(actions ...string) {
	b.Helper()
	have := b.audited()
	for _, a := range actions {
		if !slices.Contains(have, a) {
			b.Errorf("%s is not audited: %v", a, have)
		}
	}
}

// mailed returns the subjects of the mails that wait.
func (b *bench) mailed() []string {
	b.Helper()
	var subjects []string
	for {
		it, ok, err := b.db.TakeMail(ctx, 60_000)
		if err != nil {
			b.Fatal(err)
		}
		if !ok {
			return subjects
		}
		if it.Mail != nil {
			subjects = append(subjects, it.Mail.Subject)
		}
		if err := b.db.DropMail(ctx, it.ID); err != nil {
			b.Fatal(err)
		}
	}
}

func (b *bench) wantMailed(words string) {
	b.Helper()
	if have := b.mailed(); !slices.ContainsFunc(have, func(s string) bool { return strings.Contains(s, words) }) {
		b.Errorf("nobody was told of %q: %q", words, have)
	}
}

func (b *bench) refusedAs(what string, err error, code lh.Code) {
	b.Helper()
	wantCode(b.T, what, err, code)
}

// TestAuthenticatorApp: set up by a first code; then logging in takes a code, each once; removed again.
func TestAuthenticatorApp(t *testing.T) {
	eachEngine(t, nil, func(b *bench) {
		p := b.in(b.ana.Email)
		_, err := b.access.BeginTOTP(ctx, p)
		b.refusedAs("set-up without confirming", err, lh.Forbidden)
		_, err = b.access.Confirm(ctx, p, "wrong password", access.Answer{})
		b.refusedAs("a wrong password confirms", err, lh.Forbidden)
		p = b.confirmed(p, access.Answer{})
		s, err := b.access.BeginTOTP(ctx, p)
		if err != nil {
			b.Fatal(err)
		}
		if s, err = b.access.BeginTOTP(ctx, p); err != nil { // again, with another phone
			b.Fatal(err)
		}
		if !strings.Contains(s.URI, "secret="+s.Secret) || !strings.Contains(s.URI, "Loggerhead%20hub.example:8443:ana@test.example?") {
			b.Errorf("URI %s", s.URI)
		}
		b.in(b.ana.Email) // nothing is asked for before a first code
		_, err = b.access.ConfirmTOTP(ctx, p, "000000")
		b.refusedAs("a wrong first code", err, lh.Forbidden)
		codes, err := b.access.ConfirmTOTP(ctx, p, access.CodeAt(s.Secret, b.clock.now()))
		if err != nil || len(codes) != 10 {
			b.Fatalf("%d codes, %v", len(codes), err)
		}
		_, err = b.access.BeginTOTP(ctx, p)
		b.refusedAs("a second app", err, lh.Conflict)

		need := b.half(b.ana.Email, "192.0.2.1")
		if !need.TOTP || !need.Codes || need.Passkey {
			b.Errorf("%+v", need)
		}
		_, _, err = b.access.FinishLogIn(ctx, need.Token, b.code(s.Secret), "192.0.2.1")
		b.refusedAs("the code of the set-up again", err, lh.Unauthenticated)
		b.clock.add(30 * time.Second)
		in, token, err := b.access.FinishLogIn(ctx, need.Token, b.code(s.Secret), "192.0.2.1")
		if err != nil || !in.Session.Strong || in.Session.Proof != lh.ProofTOTP || in.User.ID != b.ana.ID {
			b.Fatalf("%+v %v", in, err)
		}
		if got, err := b.access.Authenticate(ctx, token, in.Remote); err != nil || got.Session != in.Session {
			b.Errorf("%+v %v", got, err)
		}
		_, _, err = b.access.FinishLogIn(ctx, need.Token, b.code(s.Secret), "192.0.2.1")
		b.refusedAs("the same half log-in again", err, lh.Unauthenticated)
		again := b.half(b.ana.Email, "192.0.2.1")
		_, _, err = b.replica().FinishLogIn(ctx, again.Token, b.code(s.Secret), "192.0.2.1")
		b.refusedAs("the same code again, on another replica", err, lh.Unauthenticated)
		// The clock of a phone may be off by one step, not by two; and never back before a code that was used.
		b.clock.add(10 * time.Minute)
		for off, want := range map[time.Duration]lh.Code{-60 * time.Second: lh.Unauthenticated, 60 * time.Second: lh.Unauthenticated} {
			_, _, err = b.access.FinishLogIn(ctx, b.half(b.ana.Email, "192.0.2.7").Token, access.Answer{Code: access.CodeAt(s.Secret, b.clock.now().Add(off))}, "192.0.2.7")
			b.refusedAs("a code off by "+off.String(), err, want)
		}
		if _, _, err = b.access.FinishLogIn(ctx, b.half(b.ana.Email, "192.0.2.8").Token, access.Answer{Code: access.CodeAt(s.Secret, b.clock.now().Add(30*time.Second))}, "192.0.2.8"); err != nil {
			b.Errorf("a phone half a minute ahead: %v", err)
		}
		_, _, err = b.access.FinishLogIn(ctx, b.half(b.ana.Email, "192.0.2.8").Token, b.code(s.Secret), "192.0.2.8")
		b.refusedAs("a step before the one that was used", err, lh.Unauthenticated)

		_, _, err = b.access.LogInProgram(ctx, b.ana.Email, good, "192.0.2.9")
		b.refusedAs("a program, which can be asked for nothing", err, lh.Unauthenticated)

		b.clock.add(10 * time.Minute)
		b.refusedAs("removal without confirming", b.access.RemoveTOTP(ctx, in), lh.Forbidden)
		_, err = b.access.Confirm(ctx, in, good, access.Answer{})
		b.refusedAs("the password alone confirms", err, lh.Forbidden)
		_, err = b.access.Confirm(ctx, in, "wrong password", b.code(s.Secret))
		b.refusedAs("a code alone confirms", err, lh.Forbidden)
		in = b.confirmed(in, b.code(s.Secret))
		b.clock.add(9 * time.Minute)
		if b.access.Confirmed(in) == 0 {
			b.Error("a confirmation is over after nine minutes")
		}
		b.clock.add(2 * time.Minute)
		b.refusedAs("removal long after confirming", b.access.RemoveTOTP(ctx, in), lh.Forbidden)
		in = b.confirmed(in, b.code(s.Secret))
		if err := b.access.RemoveTOTP(ctx, in); err != nil {
			b.Fatal(err)
		}
		if f, err := b.access.Factors(ctx, in); err != nil || f.Second() || f.Codes != 0 || !f.Password {
			b.Errorf("after removal: %+v %v", f, err)
		}
		if p := b.in(b.ana.Email); p.Session.Strong {
			b.Error("a password alone counts as two factors")
		}
		if s, err := b.access.Authenticate(ctx, token, in.Remote); err != nil || s.Session.Strong {
			b.Errorf("a session still counts as proven by what is gone: %+v %v", s, err)
		}
		b.wantAudited("factor.totp.add", "factor.totp.remove")
		if m := strings.Join(b.mailed(), "; "); !strings.Contains(m, "authenticator app was set up") || !strings.Contains(m, "authenticator app was removed") {
			b.Errorf("mailed: %s", m)
		}
	})
}

// TestCodesAreNotGuessed: wrong codes are bounded by the account, wherever they come from, and nobody else is locked out.
func TestCodesAreNotGuessed(t *testing.T) {
	eachEngine(t, nil, func(b *bench) {
		secret, codes := b.app(b.in(b.ana.Email))
		wrong := access.Answer{Code: "000000"}
		if access.CodeAt(secret, b.clock.now()) == "000000" {
			wrong.Code = "000001"
		}
		need := b.half(b.ana.Email, "192.0.2.1")
		for i := range 5 {
			_, _, err := b.access.FinishLogIn(ctx, need.Token, wrong, "192.0.2.1")
			b.refusedAs("wrong code", err, lh.Unauthenticated)
			_ = i
		}
		_, _, err := b.access.FinishLogIn(ctx, need.Token, b.code(secret), "192.0.2.1")
		b.refusedAs("the right code after five wrong ones of one log-in", err, lh.Unauthenticated)
		// From other addresses, by other replicas, the account's bound holds.
		replica, exhausted, n := b.replica(), false, 5
		for i := range 10 {
			from := "198.51.100." + string(rune('1'+i))
			if _, _, err = replica.FinishLogIn(ctx, b.half(b.ana.Email, from).Token, wrong, from); lh.CodeOf(err) == lh.Exhausted {
				exhausted = true
				break
			}
			n++
		}
		if !exhausted || n != 10 {
			b.Errorf("%d wrong codes, then %v", n, err)
		}
		_, _, err = b.access.FinishLogIn(ctx, b.half(b.ana.Email, "203.0.113.1").Token, b.code(secret), "203.0.113.1")
		b.refusedAs("the right code after too many wrong ones", err, lh.Exhausted)
		if _, _, err = b.access.FinishLogIn(ctx, b.half(b.ana.Email, "203.0.113.1").Token, access.Answer{Recovery: codes[0]}, "203.0.113.1"); err != nil {
			b.Errorf("the owner is locked out of the recovery codes, too: %v", err)
		}
		b.clock.add(time.Hour)
		if _, _, err = b.access.FinishLogIn(ctx, b.half(b.ana.Email, "203.0.113.1").Token, b.code(secret), "203.0.113.1"); err != nil {
			b.Errorf("an hour later: %v", err)
		}
		// One address is bounded too, whatever it tries.
		bounded := false
		for range 40 {
			if _, _, err = b.access.FinishLogIn(ctx, "lhf_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", wrong, "203.0.113.9"); lh.CodeOf(err) == lh.Exhausted {
				bounded = true
				break
			}
			b.refusedAs("a made-up token", err, lh.Unauthenticated)
		}
		if !bounded {
			b.Error("one address may try without a bound")
		}
	})
}

// TestManyAtOnceOneGetsIn: of the same code and the same half log-in, brought at once to two replicas, one works.
func TestManyAtOnceOneGetsIn(t *testing.T) {
	eachEngine(t, nil, func(b *bench) {
		secret, codes := b.app(b.in(b.ana.Email))
		replica := b.replica()
		for what, with := range map[string]access.Answer{"code": b.code(secret), "recovery code": {Recovery: codes[3]}} {
			need := b.half(b.ana.Email, "192.0.2.1")
			var wg sync.WaitGroup
			var mu sync.Mutex
			in := 0
			for i := range 8 {
				a := b.access
				if i%2 == 1 {
					a = replica
				}
				wg.Go(func() {
					if _, _, err := a.FinishLogIn(ctx, need.Token, with, "192.0.2.1"); err == nil {
						mu.Lock()
						in++
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			if in > 1 || in == 0 && what == "code" {
				b.Errorf("one %s let %d in", what, in)
			}
		}
	})
}

// TestRecoveryCodes: each works once, is forgiving of how it is typed, and all end when they are renewed.
func TestRecoveryCodes(t *testing.T) {
	eachEngine(t, nil, func(b *bench) {
		p := b.in(b.ana.Email)
		_, err := b.access.RenewRecoveryCodes(ctx, b.confirmed(p, access.Answer{}))
		b.refusedAs("codes that stand in for nothing", err, lh.Conflict)
		secret, codes := b.app(p)
		other := b.user("bob@test.example")
		_, _ = b.app(b.in(other.Email))
		seen := map[string]bool{}
		for _, c := range codes {
			if len(c) != 19 || seen[c] {
				b.Errorf("code %q", c)
			}
			seen[c] = true
		}
		finish := func(email, code string) error {
			in, _, err := b.access.FinishLogIn(ctx, b.half(email, "192.0.2.1").Token, access.Answer{Recovery: code}, "192.0.2.1")
			if err == nil && (in.Session.Proof != lh.ProofRecovery || !in.Session.Strong) {
				b.Errorf("%+v", in.Session)
			}
			return err
		}
		if err := finish(b.ana.Email, strings.ToUpper(strings.ReplaceAll(codes[0], "-", " "))); err != nil {
			b.Errorf("typed in another way: %v", err)
		}
		b.wantMailed("recovery code was used")
		b.refusedAs("used again", finish(b.ana.Email, codes[0]), lh.Unauthenticated)
		b.refusedAs("somebody else's", finish(other.Email, codes[1]), lh.Unauthenticated)
		b.refusedAs("made up", finish(b.ana.Email, "0000-0000-0000-0000"), lh.Unauthenticated)
		in, _, err := b.access.FinishLogIn(ctx, b.half(b.ana.Email, "192.0.2.2").Token, access.Answer{Recovery: codes[1]}, "192.0.2.2")
		if err != nil {
			b.Fatal(err)
		}
		if f, err := b.access.Factors(ctx, in); err != nil || f.Codes != 8 {
			b.Errorf("%+v %v", f, err)
		}
		_, err = b.access.RenewRecoveryCodes(ctx, in)
		b.refusedAs("renewal without confirming", err, lh.Forbidden)
		fresh, err := b.access.RenewRecoveryCodes(ctx, b.confirmed(in, b.code(secret)))
		if err != nil || len(fresh) != 10 {
			b.Fatalf("%v %v", fresh, err)
		}
		b.refusedAs("one from before", finish(b.ana.Email, codes[2]), lh.Unauthenticated)
		if err := finish(b.ana.Email, fresh[2]); err != nil {
			b.Error(err)
		}
		b.wantAudited("factor.codes.use", "factor.codes.renew")
	})
}

// TestHalfALogInIsNoSession: its token does nothing but finish, for minutes, and not after a new password.
func TestHalfALogInIsNoSession(t *testing.T) {
	eachEngine(t, nil, func(b *bench) {
		secret, _ := b.app(b.in(b.ana.Email))
		need := b.half(b.ana.Email, "192.0.2.1")
		_, err := b.access.Authenticate(ctx, need.Token, access.Principal{}.Remote)
		b.refusedAs("as a session", err, lh.Unauthenticated)
		for _, bad := range []string{"", "lhf_", need.Token + "x", "lhs_" + need.Token[4:], strings.Repeat("lhf_", 1000)} {
			_, _, err := b.access.FinishLogIn(ctx, bad, b.code(secret), "192.0.2.3")
			b.refusedAs("token "+bad[:min(8, len(bad))], err, lh.Unauthenticated)
		}
		for _, bad := range []access.Answer{{}, {Code: "123456", Recovery: "x"}, {Code: "123456", Passkey: json.RawMessage("{}")}} {
			_, _, err := b.access.FinishLogIn(ctx, need.Token, bad, "192.0.2.3")
			b.refusedAs("not one answer", err, lh.Invalid)
		}
		b.clock.add(5*time.Minute + time.Second)
		_, _, err = b.access.FinishLogIn(ctx, need.Token, b.code(secret), "192.0.2.3")
		b.refusedAs("after five minutes", err, lh.Unauthenticated)
		need = b.half(b.ana.Email, "192.0.2.1")
		if err := b.access.SetPassword(ctx, b.ana.Email, "another good one"); err != nil {
			b.Fatal(err)
		}
		_, _, err = b.access.FinishLogIn(ctx, need.Token, b.code(secret), "192.0.2.3")
		b.refusedAs("after a new password", err, lh.Unauthenticated)
	})
}

// TestSecondFactorRequired: where the installation wants one, a session without is good for setting one up alone.
func TestSecondFactorRequired(t *testing.T) {
	for require, want := range map[string][2]bool{access.RequireNobody: {false, false}, access.RequireOperators: {false, true}, access.RequireAll: {true, true}} {
		eachEngine(t, func(o *access.Options) { o.RequireFactor = require }, func(b *bench) {
			if _, err := b.access.CreateUser(ctx, lh.User{Email: "op@test.example", Name: "Op", Operator: true}, good); err != nil {
				b.Fatal(err)
			}
			for i, email := range []string{b.ana.Email, "op@test.example"} {
				p, token, err := b.access.LogIn(ctx, email, good, "192.0.2.1")
				if err != nil {
					b.Fatal(err)
				}
				if err := b.access.FactorMissing(p); (err != nil) != want[i] || err != nil && lh.CodeOf(err) != lh.Forbidden {
					b.Errorf("%q of %s: %v", require, email, err)
				}
				_, _, err = b.access.LogInProgram(ctx, email, good, "192.0.2.1")
				if (err != nil) != want[i] {
					b.Errorf("%q: a program of %s: %v", require, email, err)
				}
				b.app(p)
				if p, err = b.access.Authenticate(ctx, token, p.Remote); err != nil || b.access.FactorMissing(p) != nil {
					b.Errorf("%q: after setting one up: %v, %v", require, err, b.access.FactorMissing(p))
				}
			}
		})
	}
}

// TestOperatorRemovesFactors: who has lost everything gets in with the password again, and every session ends.
func TestOperatorRemovesFactors(t *testing.T) {
	eachEngine(t, nil, func(b *bench) {
		p, token, err := b.access.LogIn(ctx, b.ana.Email, good, "192.0.2.1")
		if err != nil {
			b.Fatal(err)
		}
		b.app(p)
		need := b.half(b.ana.Email, "192.0.2.1")
		if err := b.access.RemoveFactors(ctx, b.ana.Email); err != nil {
			b.Fatal(err)
		}
		_, err = b.access.Authenticate(ctx, token, p.Remote)
		b.refusedAs("a session from before", err, lh.Unauthenticated)
		_, _, err = b.access.FinishLogIn(ctx, need.Token, access.Answer{Code: "000000"}, "192.0.2.1")
		b.refusedAs("a half log-in from before", err, lh.Unauthenticated)
		b.in(b.ana.Email)
		b.wantAudited("factor.remove_all")
		b.wantMailed("second factors were removed")
		b.refusedAs("nobody's", b.access.RemoveFactors(ctx, "nobody@test.example"), lh.NotFound)
	})
}
