package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// A passkey's challenge is kept by what it is made for, so that an answer to one question is none to another.
const (
	kindPasskeyAdd     = "passkey add"     // by somebody logged in
	kindPasskeyLogIn   = "passkey log-in"  // by whoever has it
	kindPasskeySecond  = "passkey second"  // after the password
	kindPasskeyConfirm = "passkey confirm" // by somebody logged in
)

// newKeys returns what speaks WebAuthn for the hub at an address. nil: browsers know no passkeys for such an address,
// since it has no name.
func newKeys(address string) *webauthn.WebAuthn {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return nil
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return nil
	}
	w, err := webauthn.New(&webauthn.Config{
		RPID:          u.Hostname(),
		RPDisplayName: "Loggerhead",
		RPOrigins:     []string{"https://" + u.Host},
		// The maker of a key is nobody's business here, and asking for it warns people.
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey:        protocol.ResidentKeyRequirementRequired,
			RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification:   protocol.VerificationRequired,
		},
	})
	if err != nil {
		return nil
	}
	return w
}

func (a *Access) passkeys() (*webauthn.WebAuthn, error) {
	if a.keys == nil {
		return nil, lh.Errorf(lh.Conflict, "passkeys need a name, and this hub has none: its operator can set people.url in the configuration, such as https://hub.example.org")
	}
	return a.keys, nil
}

// CanPasskey reports whether passkeys can be had on this hub.
func (a *Access) CanPasskey() bool { return a.keys != nil }

// holder is a person as WebAuthn sees them. Its handle is the user's id, which is random.
type holder struct {
	user lh.User
	keys []store.Passkey
}

func (h holder) WebAuthnID() []byte          { return []byte(h.user.ID) }
func (h holder) WebAuthnName() string        { return h.user.Email }
func (h holder) WebAuthnDisplayName() string { return h.user.Name }
func (h holder) WebAuthnCredentials() []webauthn.Credential {
	var cs []webauthn.Credential
	for _, k := range h.keys {
		var c webauthn.Credential
		if json.Unmarshal(k.Credential, &c) == nil { // holderOf has read it once
			c.Authenticator.SignCount = k.Counter
			cs = append(cs, c)
		}
	}
	return cs
}

func (a *Access) holderOf(ctx context.Context, id lh.UserID) (holder, error) {
	u, err := a.db.User(ctx, id)
	if err != nil {
		return holder{}, err
	}
	h := holder{user: u}
	if h.keys, err = a.db.Passkeys(ctx, id); err != nil {
		return h, err
	}
	for _, k := range h.keys {
		if err := json.Unmarshal(k.Credential, new(webauthn.Credential)); err != nil {
			return h, fmt.Errorf("passkey %s: %w", k.ID, err)
		}
	}
	return h, nil
}

// ask keeps the question that a browser is about to be asked.
func (a *Access) ask(ctx context.Context, kind string, user lh.UserID, s *webauthn.SessionData) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return a.db.AddChallenge(ctx, tokenHash(s.Challenge), store.Challenge{Kind: kind, User: user, Body: body}, lh.MillisOf(a.now().Add(stepLife)))
}

// asked takes the question to which a browser's answer belongs: each is answered once.
func (a *Access) asked(ctx context.Context, kind string, user lh.UserID, challenge string) (webauthn.SessionData, error) {
	var s webauthn.SessionData
	c, err := a.db.TakeChallenge(ctx, tokenHash(challenge), kind)
	if err == nil && c.User != user {
		err = lh.Errorf(lh.Unauthenticated, "this step was answered already, or took too long; begin again")
	}
	if err == nil {
		err = json.Unmarshal(c.Body, &s)
	}
	return s, err
}

// BeginPasskey returns what the browser of somebody logged in makes a passkey from: the JSON of
// PublicKeyCredentialCreationOptions. Forbidden: the person has not confirmed that it is them.
func (a *Access) BeginPasskey(ctx context.Context, p Principal) (json.RawMessage, error) {
	if err := a.confirmed(p); err != nil {
		return nil, err
	}
	w, err := a.passkeys()
	if err != nil {
		return nil, err
	}
	h, err := a.holderOf(ctx, p.User.ID)
	if err != nil {
		return nil, err
	}
	var have []protocol.CredentialDescriptor // an authenticator that has one for this person makes no second
	for _, c := range h.WebAuthnCredentials() {
		have = append(have, c.Descriptor())
	}
	o, s, err := w.BeginRegistration(h, webauthn.WithExclusions(have))
	if err != nil {
		return nil, fmt.Errorf("begin passkey: %w", err)
	}
	if err := a.ask(ctx, kindPasskeyAdd, p.User.ID, s); err != nil {
		return nil, err
	}
	return json.Marshal(o.Response)
}

// AddPasskey keeps the passkey that a browser has made. It returns recovery codes where the person had none. The session
// counts as proven with a second factor from then on.
func (a *Access) AddPasskey(ctx context.Context, p Principal, name string, made json.RawMessage) (lh.Passkey, []string, error) {
	if err := a.confirmed(p); err != nil {
		return lh.Passkey{}, nil, err
	}
	w, err := a.passkeys()
	if err == nil {
		err = checkName(name)
	}
	if err != nil {
		return lh.Passkey{}, nil, err
	}
	answer, err := protocol.ParseCredentialCreationResponseBytes(made)
	if err != nil {
		return lh.Passkey{}, nil, a.strange(ctx, err)
	}
	s, err := a.asked(ctx, kindPasskeyAdd, p.User.ID, answer.Response.CollectedClientData.Challenge)
	if err != nil {
		return lh.Passkey{}, nil, refused(err)
	}
	c, err := w.CreateCredential(holder{user: p.User}, s, answer)
	if err != nil {
		return lh.Passkey{}, nil, refused(a.strange(ctx, err))
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return lh.Passkey{}, nil, err
	}
	codes, hashes, err := a.firstCodes(ctx, p.User.ID)
	if err != nil {
		return lh.Passkey{}, nil, err
	}
	k, err := a.db.AddPasskey(ctx, p.Actor(), p.Session, store.Passkey{Passkey: lh.Passkey{Name: name}, CredentialID: c.ID, Credential: raw,
		Counter: c.Authenticator.SignCount}, hashes, a.notice(p.User, "a passkey was added", "It is called “%s”, and logs in to your account.", name)...)
	if err != nil {
		return lh.Passkey{}, nil, err
	}
	return k.Passkey, codes, nil
}

func checkName(name string) error {
	if n := len(name); n == 0 || n > 100 || strings.TrimSpace(name) != name || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return lh.Errorf(lh.Invalid, "a passkey's name is one line of 1 to 100 bytes")
	}
	return nil
}

// RenamePasskey changes what its owner calls a passkey.
func (a *Access) RenamePasskey(ctx context.Context, p Principal, id lh.PasskeyID, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return a.db.RenamePasskey(ctx, p.Actor(), p.User.ID, id, name)
}

// RemovePasskey forgets a passkey of a person.
func (a *Access) RemovePasskey(ctx context.Context, p Principal, id lh.PasskeyID) error {
	if err := a.confirmed(p); err != nil {
		return err
	}
	return a.db.RemovePasskey(ctx, p.Actor(), p.User.ID, id, a.notice(p.User, "a passkey was removed", "It no longer logs in to your account.")...)
}

// AskPasskey returns what a browser asks its passkeys: the JSON of PublicKeyCredentialRequestOptions. Without a token it
// is the question who is there, which any passkey of this hub answers; with the token of a half-done log-in, it is put to
// the passkeys of that person.
func (a *Access) AskPasskey(ctx context.Context, token, remote string) (json.RawMessage, error) {
	w, err := a.passkeys()
	if err == nil {
		err = a.paced(ctx, "passkey question", remote)
	}
	if err != nil {
		return nil, err
	}
	if token == "" {
		o, s, err := w.BeginDiscoverableLogin()
		if err != nil {
			return nil, fmt.Errorf("ask for a passkey: %w", err)
		}
		if err := a.ask(ctx, kindPasskeyLogIn, "", s); err != nil {
			return nil, err
		}
		return json.Marshal(o.Response)
	}
	u, _, err := a.half(ctx, token)
	if err != nil {
		return nil, err
	}
	return a.askOf(ctx, w, u.ID, kindPasskeySecond)
}

// AskPasskeyAgain is [Access.AskPasskey] for somebody logged in, who confirms that it is them.
func (a *Access) AskPasskeyAgain(ctx context.Context, p Principal) (json.RawMessage, error) {
	w, err := a.passkeys()
	if err != nil {
		return nil, err
	}
	return a.askOf(ctx, w, p.User.ID, kindPasskeyConfirm)
}

func (a *Access) askOf(ctx context.Context, w *webauthn.WebAuthn, user lh.UserID, kind string) (json.RawMessage, error) {
	h, err := a.holderOf(ctx, user)
	if err != nil {
		return nil, err
	}
	if len(h.keys) == 0 {
		return nil, lh.Errorf(lh.Conflict, "this account has no passkey")
	}
	o, s, err := w.BeginLogin(h)
	if err != nil {
		return nil, fmt.Errorf("ask for a passkey: %w", err)
	}
	if err := a.ask(ctx, kind, user, s); err != nil {
		return nil, err
	}
	return json.Marshal(o.Response)
}

// LogInPasskey starts a session for whoever's passkey has answered. The passkey has verified its owner, by a finger or
// a PIN, so that it counts as two factors. Unauthenticated: it is nobody's, or the answer is not to our question.
func (a *Access) LogInPasskey(ctx context.Context, answer json.RawMessage, remote string) (Principal, string, error) {
	if err := a.paced(ctx, "passkey", remote); err != nil {
		return Principal{}, "", err
	}
	u, err := a.assertion(ctx, answer, kindPasskeyLogIn, "")
	if err != nil {
		return Principal{}, "", err
	}
	return a.begin(ctx, u, SessionLife, lh.ProofPasskey, true)
}

// assertion checks a passkey's answer to a question of a kind, put to a person, or to whoever is there. It returns whose
// passkey it is.
func (a *Access) assertion(ctx context.Context, raw json.RawMessage, kind string, user lh.UserID) (lh.User, error) {
	w, err := a.passkeys()
	if err != nil {
		return lh.User{}, err
	}
	answer, err := protocol.ParseCredentialRequestResponseBytes(raw)
	if err != nil {
		return lh.User{}, a.strange(ctx, err)
	}
	s, err := a.asked(ctx, kind, user, answer.Response.CollectedClientData.Challenge)
	if err != nil {
		return lh.User{}, err
	}
	var h holder
	if user == "" {
		_, _, err = w.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
			var err error
			h, err = a.holderOf(ctx, lh.UserID(handle))
			return h, err
		}, s, answer)
	} else if h, err = a.holderOf(ctx, user); err == nil {
		_, err = w.ValidateLogin(h, s, answer)
	}
	if err != nil {
		return lh.User{}, a.strange(ctx, err)
	}
	for _, k := range h.keys {
		if string(k.CredentialID) != string(answer.RawID) {
			continue
		}
		actor := lh.Actor{Kind: lh.ActorUser, ID: string(h.user.ID)}
		ok, err := a.db.UsePasskey(ctx, actor, k, answer.Response.AuthenticatorData.Counter, a.notice(h.user, "a passkey was refused, which may have been copied",
			"The passkey “%s” counts its uses, and its count went back. If you did not restore it from a copy, somebody else may have one: remove this passkey.", k.Name)...)
		if err == nil && !ok {
			a.log.WarnContext(ctx, "a passkey's counter went back", "user", h.user.ID, "passkey", k.ID)
			err = lh.Errorf(lh.Unauthenticated, "this passkey's counter went back: there may be a copy of it; log in another way and remove it")
		}
		return h.user, err
	}
	return lh.User{}, a.strange(ctx, errors.New("the credential is gone"))
}

// strange is the error for an answer of a passkey that is not right. Why is for the log alone.
func (a *Access) strange(ctx context.Context, err error) error {
	why := err.Error()
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		why = e.Details + " " + e.DevInfo
	} else if lh.CodeOf(err) != lh.Internal {
		why = lh.PublicMessage(err)
	}
	a.log.WarnContext(ctx, "passkey refused", "why", why)
	return lh.Hide(lh.Unauthenticated, err, "this passkey was not accepted; use one that was added to your account, on this very site")
}

// host is the hub's name and port, as people know it.
func (a *Access) host() string {
	u, err := url.Parse(a.url)
	if err != nil {
		return ""
	}
	return u.Host
}
