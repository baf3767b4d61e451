package access

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// A program without a browser of its own (a command line on a server) gets a session by a pairing, as RFC 8628 describes it for
// devices: it shows a code, a person who is logged in types it into the web app and sees what asks, from where, and allows
// it; meanwhile the program asks with its secret whether they have.

// PairingLife is how long a person may take to allow a pairing.
const PairingLife = 10 * time.Minute

const (
	pairingAsked   = "pairing asked"   // found by its code; allowing takes it
	pairingAllowed = "pairing allowed" // found by its secret; the program takes it
	pairingPrefix  = "lhp_"
	// pairingAlphabet has no vowels, so that no code is a word, and no letter that looks like a digit: 20 of them.
	pairingAlphabet = "BCDFGHJKLMNPQRSTVWXZ"
)

// Pairing is what a program asks for.
type Pairing struct {
	Code    string // for people to type, such as "WDJB-MJHT"
	Secret  string // for the program; told once. "" for who allows
	Client  string // what the program says it is: not to be believed
	Remote  string // where it asked from
	Created lh.Millis
	Expires lh.Millis
}

// pairingBody is what is kept of a pairing.
type pairingBody struct {
	Client  string    `json:"client"`
	Remote  string    `json:"remote"`
	Created lh.Millis `json:"created"`
	Expires lh.Millis `json:"expires"`
	Secret  string    `json:"secret"` // hex of its hash
	Proof   lh.Proof  `json:"proof,omitempty"`
	Strong  bool      `json:"strong,omitempty"`
	By      string    `json:"by,omitempty"` // session that allowed it
}

// AskPairing begins a pairing. Exhausted: too many were asked for from this network.
func (a *Access) AskPairing(ctx context.Context, client, remote string) (Pairing, error) {
	if !a.tries.allow(a.now(), "pairing "+networkName(remote), 10, 6*time.Second) {
		return Pairing{}, lh.Errorf(lh.Exhausted, "too many log-ins were begun from here; wait a minute")
	}
	code := make([]byte, 0, 9)
	for len(code) < 9 {
		var b [1]byte
		rand.Read(b[:]) // never fails
		if b[0] >= 240 {
			continue // 240 is 12 × 20: the letters stay equally likely
		}
		if len(code) == 4 {
			code = append(code, '-')
		}
		code = append(code, pairingAlphabet[b[0]%20])
	}
	now := a.now()
	g := Pairing{Code: string(code), Secret: pairingPrefix + secretOf(32), Client: client, Remote: remote,
		Created: lh.MillisOf(now), Expires: lh.MillisOf(now.Add(PairingLife))}
	body, err := json.Marshal(pairingBody{Client: client, Remote: remote, Created: g.Created, Expires: g.Expires, Secret: hex.EncodeToString(tokenHash(g.Secret))})
	if err != nil {
		return Pairing{}, err
	}
	return g, a.db.AddChallenge(ctx, tokenHash(g.Code), store.Challenge{Kind: pairingAsked, Body: body}, g.Expires)
}

// typedCode is a code as it was shown, of one as somebody typed it.
func typedCode(s string) string {
	s = strings.ToUpper(strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, s))
	if len(s) != 8 {
		return s
	}
	return s[:4] + "-" + s[4:]
}

func noPairing() error {
	return lh.Errorf(lh.NotFound, "no program waits with this code; it may have waited too long: begin again there")
}

// Pairing returns what a program with this code asks for, so that a person can decide. NotFound: none waits with it.
func (a *Access) Pairing(ctx context.Context, p Principal, code string) (Pairing, error) {
	code = typedCode(code)
	if err := a.guessed(p); err != nil {
		return Pairing{}, err
	}
	c, err := a.db.Challenge(ctx, tokenHash(code), pairingAsked)
	if lh.CodeOf(err) == lh.Unauthenticated {
		return Pairing{}, noPairing()
	}
	var b pairingBody
	if err == nil {
		err = json.Unmarshal(c.Body, &b)
	}
	return Pairing{Code: code, Client: b.Client, Remote: b.Remote, Created: b.Created, Expires: b.Expires}, err
}

// guessed bounds how many codes one person may try.
func (a *Access) guessed(p Principal) error {
	if !a.tries.allow(a.now(), "code "+string(p.User.ID), 20, 10*time.Second) {
		return lh.Errorf(lh.Exhausted, "too many codes were tried; wait a minute")
	}
	return nil
}

// AnswerPairing allows a pairing or refuses it, once. What is allowed logs the program in as the person who allowed it.
func (a *Access) AnswerPairing(ctx context.Context, p Principal, code string, allow bool) error {
	if err := a.guessed(p); err != nil {
		return err
	}
	c, err := a.db.TakeChallenge(ctx, tokenHash(typedCode(code)), pairingAsked)
	if lh.CodeOf(err) == lh.Unauthenticated {
		return noPairing()
	}
	if err != nil || !allow {
		return err
	}
	var b pairingBody
	if err := json.Unmarshal(c.Body, &b); err != nil {
		return err
	}
	secret, err := hex.DecodeString(b.Secret)
	if err != nil {
		return err
	}
	b.Proof, b.Strong, b.By = p.Session.Proof, p.Session.Strong, string(p.Session.ID)
	body, err := json.Marshal(b)
	if err != nil {
		return err
	}
	// What a crash lets fall between the two is asked for again.
	return a.db.AddChallenge(ctx, secret, store.Challenge{Kind: pairingAllowed, User: p.User.ID, Body: body}, b.Expires)
}

// TakePairing starts the session of a pairing that was allowed. Unavailable: nobody has answered yet; Unauthenticated: it was
// refused or waited too long, or is none.
func (a *Access) TakePairing(ctx context.Context, code, secret string) (Principal, string, error) {
	refused := lh.Errorf(lh.Unauthenticated, "it was refused, or nobody allowed it in time; begin again")
	if !strings.HasPrefix(secret, pairingPrefix) || len(secret) > 100 || len(code) > 20 {
		return Principal{}, "", refused
	}
	c, err := a.db.TakeChallenge(ctx, tokenHash(secret), pairingAllowed)
	if lh.CodeOf(err) == lh.Unauthenticated {
		asked, err := a.db.Challenge(ctx, tokenHash(typedCode(code)), pairingAsked)
		var b pairingBody
		if err == nil {
			err = json.Unmarshal(asked.Body, &b)
		}
		if err == nil && b.Secret == hex.EncodeToString(tokenHash(secret)) {
			return Principal{}, "", lh.Errorf(lh.Unavailable, "nobody has allowed it yet")
		}
		if err != nil && lh.CodeOf(err) != lh.Unauthenticated {
			return Principal{}, "", err
		}
		return Principal{}, "", refused
	}
	if err != nil {
		return Principal{}, "", err
	}
	var b pairingBody
	if err := json.Unmarshal(c.Body, &b); err != nil {
		return Principal{}, "", err
	}
	// Whoever allowed it and was logged out meanwhile allows nothing any more.
	if err := a.db.SessionStands(ctx, lh.SessionID(b.By)); err != nil {
		return Principal{}, "", refused
	}
	u, err := a.db.User(ctx, c.User)
	if lh.CodeOf(err) == lh.NotFound {
		return Principal{}, "", refused
	}
	if err != nil {
		return Principal{}, "", err
	}
	return a.begin(ctx, u, SessionLife, b.Proof, b.Strong)
}
