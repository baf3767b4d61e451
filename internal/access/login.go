package access

import (
	"context"
	"crypto/sha256"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// How long a log-in lasts: of a person, and of a program that logs in as one.
const (
	SessionLife = 14 * 24 * time.Hour
	ProgramLife = time.Hour
)

// tokenPrefix marks a session token, so that a secret scanner finds one that leaked.
const tokenPrefix = "lhs_"

// LogIn checks e-mail and password and starts a session; the token is told once and stored nowhere. remote is the
// caller's address, by whose [Network] tries are bounded. Unauthenticated says the same, after the same time, whether the
// address or the password is wrong; Exhausted says that there were too many tries. Where the account has a second factor,
// the error is a [*FactorNeeded].
func (a *Access) LogIn(ctx context.Context, email, password, remote string) (Principal, string, error) {
	u, err := a.proven(ctx, email, password, remote)
	if err != nil {
		return Principal{}, "", err
	}
	return a.admit(ctx, u, lh.ProofPassword, false, SessionLife)
}

// LogInProgram is [Access.LogIn] for a program that has a person's e-mail and password and can answer nothing else, so
// that an account with a second factor cannot be used by one. Its session lasts an hour.
func (a *Access) LogInProgram(ctx context.Context, email, password, remote string) (Principal, string, error) {
	u, err := a.proven(ctx, email, password, remote)
	if err != nil {
		return Principal{}, "", err
	}
	f, err := a.db.Factors(ctx, u.ID)
	if err != nil {
		return Principal{}, "", err
	}
	if f.Second() || a.needs(u) {
		return Principal{}, "", lh.Errorf(lh.Unauthenticated, "this account has, or must have, a second factor, which this way to log in cannot ask for; use a service account")
	}
	return a.begin(ctx, u, ProgramLife, lh.ProofPassword, false)
}

// proven checks e-mail and password, with its tries bounded.
func (a *Access) proven(ctx context.Context, email, password, remote string) (lh.User, error) {
	if len(email) > 254 || len(password) > MaxPassword {
		return lh.User{}, wrongLogIn()
	}
	if err := a.mayGuess(ctx, email, remote); err != nil {
		return lh.User{}, err
	}
	u, hash, err := a.db.UserByEmail(ctx, email)
	known := err == nil && hash != "" // who logs in by a provider alone has no password
	if lh.CodeOf(err) == lh.NotFound || err == nil && hash == "" {
		hash, err = a.nobody()
	}
	if err != nil {
		return lh.User{}, err
	}
	ok, err := a.hashers.matches(ctx, password, hash)
	if err != nil {
		return lh.User{}, err
	}
	if !ok || !known {
		a.log.WarnContext(ctx, "log-in refused", "remote", remote)
		return lh.User{}, wrongLogIn()
	}
	a.recognise(email, remote)
	return u, nil
}

// begin starts a session of somebody proven; the token is told once and stored nowhere. strong: with a second factor, or
// what equals one.
func (a *Access) begin(ctx context.Context, u lh.User, life time.Duration, proof lh.Proof, strong bool) (Principal, string, error) {
	if u.Disabled != 0 {
		return Principal{}, "", lh.Errorf(lh.Forbidden, "this account is barred; ask this installation's operator")
	}
	token := tokenPrefix + secretOf(32)
	now := a.now()
	s := lh.Session{ID: lh.NewSessionID(), User: u.ID, Created: lh.MillisOf(now), Expires: lh.MillisOf(now.Add(life)), Proof: proof, Strong: strong}
	if err := a.db.CreateSession(ctx, s, tokenHash(token)); err != nil {
		return Principal{}, "", err
	}
	return Principal{Kind: lh.ActorUser, User: u, Session: s}, token, nil
}

func wrongLogIn() error {
	return lh.Errorf(lh.Unauthenticated, "e-mail address or password is wrong")
}

func tokenHash(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}
