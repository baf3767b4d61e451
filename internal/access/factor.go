package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// How long the steps of logging in may take, and how long a confirmation that it is still the same person holds.
const (
	stepLife    = 5 * time.Minute
	confirmLife = 10 * time.Minute
)

// maxWrong is how many wrong answers one half-done log-in takes.
const maxWrong = 5

// factorPrefix marks the token of a half-done log-in.
const factorPrefix = "lhf_"

// FactorNeeded says that the password, or the provider, was right and that a second factor is needed. Its token is no
// session: with an answer to [Access.FinishLogIn] it becomes one, and it is good for nothing else.
type FactorNeeded struct {
	Token   string
	Expires lh.Millis
	TOTP    bool // a code of an authenticator app will do
	Codes   bool // so will a recovery code
	Passkey bool // so will a passkey
}

func (f *FactorNeeded) Error() string { return f.Unwrap().Error() }

// Unwrap is the error for whoever can ask for nothing more.
func (f *FactorNeeded) Unwrap() error {
	return lh.Errorf(lh.Unauthenticated, "this account has a second factor, too, which must be given to log in")
}

// halfLogIn is the body of the challenge of a half-done log-in.
type halfLogIn struct {
	Proof    lh.Proof      `json:"proof"`
	Password []byte        `json:"password"` // hash of the stored hash: a new password ends it
	Life     time.Duration `json:"life"`     // of the session
}

const kindFactor = "factor"

// Answer is what somebody answers with to the question for a second factor: exactly one.
type Answer struct {
	Code     string          // of an authenticator app
	Recovery string          // one of the codes kept for an emergency
	Passkey  json.RawMessage // a PublicKeyCredential with an assertion, as JSON
}

func (a Answer) count() (n int) {
	for _, given := range []bool{a.Code != "", a.Recovery != "", len(a.Passkey) > 0} {
		if given {
			n++
		}
	}
	return n
}

// admit starts the session of somebody who has proven who they are by proof, or asks for the second factor that their
// account has: then the error is a [*FactorNeeded]. strong: what they did equals two.
func (a *Access) admit(ctx context.Context, u lh.User, proof lh.Proof, strong bool, life time.Duration) (Principal, string, error) {
	if strong {
		return a.begin(ctx, u, life, proof, true)
	}
	f, err := a.db.Factors(ctx, u.ID)
	if err != nil {
		return Principal{}, "", err
	}
	if !f.Second() {
		return a.begin(ctx, u, life, proof, false)
	}
	_, hash, err := a.db.UserByEmail(ctx, u.Email)
	if err != nil {
		return Principal{}, "", err
	}
	seal := sha256.Sum256([]byte(hash))
	body, err := json.Marshal(halfLogIn{proof, seal[:], life})
	if err != nil {
		return Principal{}, "", err
	}
	n := &FactorNeeded{Token: factorPrefix + secretOf(32), Expires: lh.MillisOf(a.now().Add(stepLife)),
		TOTP: f.TOTP != 0, Codes: f.Codes > 0, Passkey: len(f.Passkeys) > 0 && a.keys != nil}
	if err := a.db.AddChallenge(ctx, tokenHash(n.Token), store.Challenge{Kind: kindFactor, User: u.ID, Body: body}, n.Expires); err != nil {
		return Principal{}, "", err
	}
	return Principal{}, "", n
}

// secretOf returns n random bytes as text.
func secretOf(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// half returns a half-done log-in and whose it is. Unauthenticated: there is none, or no longer.
func (a *Access) half(ctx context.Context, token string) (lh.User, halfLogIn, error) {
	over := lh.Errorf(lh.Unauthenticated, "this log-in took too long, or too many answers were wrong; begin again")
	var h halfLogIn
	if !strings.HasPrefix(token, factorPrefix) || len(token) > 100 {
		return lh.User{}, h, over
	}
	c, err := a.db.Challenge(ctx, tokenHash(token), kindFactor)
	if lh.CodeOf(err) == lh.Unauthenticated {
		return lh.User{}, h, over
	}
	if err == nil {
		err = json.Unmarshal(c.Body, &h)
	}
	if err != nil {
		return lh.User{}, h, err
	}
	u, err := a.db.User(ctx, c.User)
	if lh.CodeOf(err) == lh.NotFound {
		return u, h, over
	}
	if err != nil {
		return u, h, err
	}
	_, hash, err := a.db.UserByEmail(ctx, u.Email)
	if err != nil {
		return u, h, err
	}
	if seal := sha256.Sum256([]byte(hash)); string(seal[:]) != string(h.Password) {
		return u, h, over
	}
	return u, h, nil
}

// FinishLogIn turns a half-done log-in into a session, by a second factor. Unauthenticated: the answer is wrong, or the
// log-in is over; Exhausted: too many answers were wrong.
func (a *Access) FinishLogIn(ctx context.Context, token string, with Answer, remote string) (Principal, string, error) {
	if err := a.paced(ctx, "factor", remote); err != nil {
		return Principal{}, "", err
	}
	u, h, err := a.half(ctx, token)
	if err != nil {
		return Principal{}, "", err
	}
	proof, err := a.second(ctx, u, with, kindPasskeySecond)
	if lh.CodeOf(err) == lh.Unauthenticated {
		a.log.WarnContext(ctx, "second factor refused", "user", u.ID, "remote", remote)
		if e := a.db.WrongAnswer(ctx, tokenHash(token), kindFactor, maxWrong); e != nil {
			err = e
		}
	}
	if err != nil {
		return Principal{}, "", err
	}
	if _, err := a.db.TakeChallenge(ctx, tokenHash(token), kindFactor); err != nil { // of two at once, one gets in
		return Principal{}, "", err
	}
	return a.begin(ctx, u, h.Life, proof, true)
}

// second checks a second factor. kind is what a passkey's challenge was made for.
func (a *Access) second(ctx context.Context, u lh.User, with Answer, kind string) (lh.Proof, error) {
	if with.count() != 1 {
		return "", lh.Errorf(lh.Invalid, "answer with exactly one of: a code, a recovery code, a passkey")
	}
	actor := lh.Actor{Kind: lh.ActorUser, ID: string(u.ID)}
	switch {
	case with.Code != "":
		err := a.checkTOTP(ctx, u.ID, with.Code, true)
		if lh.CodeOf(err) == lh.NotFound {
			err = lh.Errorf(lh.Unauthenticated, "this account has no authenticator app")
		}
		return lh.ProofTOTP, err
	case with.Recovery != "":
		f, err := a.db.Factors(ctx, u.ID)
		if err != nil {
			return "", err
		}
		ok, _, err := a.db.UseRecoveryCode(ctx, actor, u.ID, codeHash(u.ID, with.Recovery), a.notice(u, "a recovery code was used",
			"%d are left. Renew them when they become few, on the page “Security”.", f.Codes-1)...)
		if err == nil && !ok {
			err = lh.Errorf(lh.Unauthenticated, "this recovery code is wrong, or was used already")
		}
		return lh.ProofRecovery, err
	}
	_, err := a.assertion(ctx, with.Passkey, kind, u.ID)
	return lh.ProofPasskey, err
}

// Confirm notes that the person of a session has proven again that it is them: by the password and, where there is one,
// a second factor; a passkey alone is both. What changes how somebody logs in needs it, so that a session that was
// stolen, or left open, cannot be made into an account that was stolen.
func (a *Access) Confirm(ctx context.Context, p Principal, password string, with Answer) (until lh.Millis, err error) {
	if err := a.paced(ctx, "confirm", string(p.User.ID)); err != nil {
		return 0, err
	}
	f, err := a.db.Factors(ctx, p.User.ID)
	if err != nil {
		return 0, err
	}
	if len(with.Passkey) == 0 {
		if f.Password {
			if err := a.checkPasswordOf(ctx, p.User, password); err != nil {
				return 0, err
			}
		}
		if !f.Password && !f.Second() && a.now().Sub(p.Session.Created.Time()) > confirmLife {
			return 0, lh.Errorf(lh.Forbidden, "you log in by a provider alone; log out and in again to confirm that it is you")
		}
	}
	if f.Second() {
		if with.count() == 0 {
			return 0, lh.Errorf(lh.Forbidden, "a second factor is needed to confirm that it is you: a code, a recovery code or a passkey")
		}
		if _, err := a.second(ctx, p.User, with, kindPasskeyConfirm); err != nil {
			return 0, refused(err)
		}
	} else if with.count() > 0 {
		return 0, lh.Errorf(lh.Forbidden, "this account has no second factor")
	}
	now := a.now()
	return lh.MillisOf(now.Add(confirmLife)), a.db.ConfirmSession(ctx, p.Session.ID, lh.MillisOf(now))
}

// refused turns the refusal of an answer into one that does not say that the session is over.
func refused(err error) error {
	if lh.CodeOf(err) == lh.Unauthenticated {
		return lh.Hide(lh.Forbidden, err, "%s", lh.PublicMessage(err))
	}
	return err
}

// checkPasswordOf checks the password of somebody who is logged in. Forbidden: it is wrong.
func (a *Access) checkPasswordOf(ctx context.Context, u lh.User, password string) error {
	_, hash, err := a.db.UserByEmail(ctx, u.Email)
	if err != nil {
		return err
	}
	ok := false
	if len(password) <= MaxPassword {
		ok, err = a.hashers.matches(ctx, password, hash)
	}
	if err == nil && !ok {
		err = lh.Errorf(lh.Forbidden, "the password is wrong")
	}
	return err
}

// Confirmed returns until when a session counts as confirmed; 0: it does not.
func (a *Access) Confirmed(p Principal) lh.Millis {
	until := p.Session.Confirmed + lh.Millis(confirmLife.Milliseconds())
	if p.Session.Confirmed == 0 || until <= lh.MillisOf(a.now()) {
		return 0
	}
	return until
}

func (a *Access) confirmed(p Principal) error {
	if a.Confirmed(p) == 0 {
		return lh.Errorf(lh.Forbidden, "confirm first that it is you, with the password and a second factor if you have one (confirm-session); that holds for %d minutes", int(confirmLife.Minutes()))
	}
	return nil
}

// Factors returns what a person has to prove who they are with.
func (a *Access) Factors(ctx context.Context, p Principal) (lh.Factors, error) {
	return a.db.Factors(ctx, p.User.ID)
}

// RemoveFactors takes every second factor from somebody who has lost them, and ends their sessions, as an operator does at
// the console who has made sure of who asks.
func (a *Access) RemoveFactors(ctx context.Context, email string) error {
	u, _, err := a.db.UserByEmail(ctx, email)
	if err != nil {
		return err
	}
	return a.db.RemoveFactors(ctx, store.Console, u.ID, a.notice(u, "your second factors were removed",
		"An operator did it. Logging in takes your password alone now; set them up again on the page “Security”.")...)
}

// Who must have a second factor.
const (
	RequireNobody    = ""
	RequireOperators = "operators"
	RequireAll       = "all"
)

// needs reports whether the installation wants a second factor of somebody.
func (a *Access) needs(u lh.User) bool {
	return a.require == RequireAll || a.require == RequireOperators && u.Operator
}

// FactorMissing refuses a session that was begun without a second factor where the installation wants one. What sets one
// up, and logging out, must be let past.
func (a *Access) FactorMissing(p Principal) error {
	if p.Kind != lh.ActorUser || p.Session.Strong || !a.needs(p.User) {
		return nil
	}
	return lh.Errorf(lh.Forbidden, "this installation wants a second factor of you; set up an authenticator app or a passkey on the page “Security”, or log in again with the one you have")
}

// paced bounds how often something may be tried from one network, or by one account.
func (a *Access) paced(ctx context.Context, what, by string) error {
	if n := Network(by); n.IsValid() {
		by = n.String()
	}
	if !a.tries.allow(a.now(), what+" "+by, 30, 2*time.Second) {
		a.log.WarnContext(ctx, "tries bounded", "of", what, "by", by)
		return lh.Errorf(lh.Exhausted, "too many tries from here; wait a minute")
	}
	return nil
}

// notice is the mail of which somebody hears what became of their account: none where mail cannot be sent to the address.
func (a *Access) notice(u lh.User, what, more string, args ...any) []notify.Mail {
	if !notify.Address(u.Email) {
		return nil
	}
	text := fmt.Sprintf("Hello,\n\nat Loggerhead on %s, for your account %s: %s.\n%s\n\n", a.host(), u.Email, what, fmt.Sprintf(more, args...)) +
		"If that was you, there is nothing to do. If not, somebody else is in your account: change your password at once, look\n" +
		"through your sessions and the page “Security”, and tell this installation's operator.\n"
	return []notify.Mail{{To: u.Email, Subject: "Loggerhead: " + what, Text: text}}
}
