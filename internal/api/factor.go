package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

// FactorNeed is what a log-in still needs.
type FactorNeed struct {
	Token   string    `json:"token" doc:"For finish-log-in and ask-passkey, and for nothing else"`
	Expires lh.Millis `json:"expires"`
	TOTP    bool      `json:"totp" doc:"A code of an authenticator app will do"`
	Codes   bool      `json:"recovery_code" doc:"So will a recovery code"`
	Passkey bool      `json:"passkey" doc:"So will a passkey"`
}

// FactorAnswer is what a second factor says: exactly one of its fields.
type FactorAnswer struct {
	Code     string          `json:"code,omitempty" maxLength:"20" doc:"Of an authenticator app" example:"123456"`
	Recovery string          `json:"recovery_code,omitempty" maxLength:"40" doc:"One of the codes kept for an emergency"`
	Passkey  json.RawMessage `json:"passkey,omitempty" doc:"What the browser's navigator.credentials.get gave for the options of ask-passkey, as its toJSON says it"`
}

func (f FactorAnswer) answer() access.Answer {
	return access.Answer{Code: f.Code, Recovery: f.Recovery, Passkey: f.Passkey}
}

type finishLogInInput struct {
	Body struct {
		Token string `json:"token" maxLength:"100" doc:"What log-in gave as factor.token"`
		FactorAnswer
	}
}

func finishLogIn(a *API, ctx context.Context, in *finishLogInInput) (*logInOutput, error) {
	r, _ := request(ctx)
	return loggedIn(a.Access.FinishLogIn(ctx, in.Body.Token, in.Body.answer(), remoteHost(r)))
}

// PasskeyQuestion is what a browser is to ask of its passkeys.
type PasskeyQuestion struct {
	Options json.RawMessage `json:"options" doc:"For PublicKeyCredential.parseRequestOptionsFromJSON or parseCreationOptionsFromJSON"`
}

func question(options json.RawMessage, err error) (*one[PasskeyQuestion], error) {
	if err != nil {
		return nil, err
	}
	return &one[PasskeyQuestion]{PasskeyQuestion{options}}, nil
}

type askPasskeyInput struct {
	Body struct {
		Token string `json:"token,omitempty" maxLength:"100" doc:"Of a log-in that needs a second factor; without it, whoever has a passkey of this hub may answer"`
	}
}

func askPasskey(a *API, ctx context.Context, in *askPasskeyInput) (*one[PasskeyQuestion], error) {
	r, _ := request(ctx)
	return question(a.Access.AskPasskey(ctx, in.Body.Token, remoteHost(r)))
}

func askPasskeyAgain(a *API, ctx context.Context, p access.Principal, _ *struct{}) (*one[PasskeyQuestion], error) {
	return question(a.Access.AskPasskeyAgain(ctx, p))
}

type logInPasskeyInput struct {
	Body struct {
		Passkey json.RawMessage `json:"passkey" doc:"What the browser's navigator.credentials.get gave for the options of ask-passkey, as its toJSON says it"`
	}
}

func logInPasskey(a *API, ctx context.Context, in *logInPasskeyInput) (*logInOutput, error) {
	r, _ := request(ctx)
	return loggedIn(a.Access.LogInPasskey(ctx, in.Body.Passkey, remoteHost(r)))
}

type confirmSessionInput struct {
	Body struct {
		Password string `json:"password,omitempty" maxLength:"256" doc:"Needed where the account has one, but with a passkey"`
		FactorAnswer
	}
}

// Confirmation says until when a session counts as confirmed.
type Confirmation struct {
	Until lh.Millis `json:"until"`
}

func confirmSession(a *API, ctx context.Context, p access.Principal, in *confirmSessionInput) (*one[Confirmation], error) {
	until, err := a.Access.Confirm(ctx, p, in.Body.Password, in.Body.answer())
	if err != nil {
		return nil, err
	}
	return &one[Confirmation]{Confirmation{until}}, nil
}

// Factors are what somebody proves who they are with.
type Factors struct {
	Password   bool       `json:"password" doc:"Whether the account has one"`
	TOTP       lh.Millis  `json:"totp" doc:"Since when codes of an authenticator app are asked for; 0: they are not"`
	Codes      int        `json:"recovery_codes" doc:"How many recovery codes are left"`
	Passkeys   []Passkey  `json:"passkeys" nullable:"false"`
	Identities []Identity `json:"identities" nullable:"false" doc:"Linked accounts at providers"`
	Confirmed  lh.Millis  `json:"confirmed_until" doc:"Until when this session counts as confirmed; 0: it does not"`
	CanPasskey bool       `json:"passkeys_possible" doc:"Whether this hub has a name, which passkeys need"`
}

// Passkey is a passkey in answers.
type Passkey struct {
	ID      lh.PasskeyID `json:"id"`
	Name    string       `json:"name"`
	Created lh.Millis    `json:"created"`
	Used    lh.Millis    `json:"used" doc:"Last; 0: never"`
	Suspect lh.Millis    `json:"suspect" doc:"When its counter went back, which a copy of it would make it do; 0: never"`
}

func passkeyOf(p lh.Passkey) Passkey { return Passkey{p.ID, p.Name, p.Created, p.Used, p.Suspect} }

// Identity is a linked account at a provider in answers.
type Identity struct {
	ID       lh.IdentityID `json:"id"`
	Provider string        `json:"provider" doc:"Its label; its address where it is no longer configured"`
	Email    string        `json:"email" doc:"As the provider said when it was linked; may be empty"`
	Created  lh.Millis     `json:"created"`
	Used     lh.Millis     `json:"used" doc:"Last; 0: never"`
}

func (a *API) identityOf(i lh.Identity) Identity {
	label := i.Issuer
	for _, p := range a.Access.Providers() {
		if p.Issuer == i.Issuer {
			label = p.Label
		}
	}
	return Identity{i.ID, label, i.Email, i.Created, i.Used}
}

func getFactors(a *API, ctx context.Context, p access.Principal, _ *struct{}) (*one[Factors], error) {
	f, err := a.Access.Factors(ctx, p)
	if err != nil {
		return nil, err
	}
	out := Factors{Password: f.Password, TOTP: f.TOTP, Codes: f.Codes, Passkeys: make([]Passkey, len(f.Passkeys)), Identities: make([]Identity, len(f.Identities)),
		Confirmed: a.Access.Confirmed(p), CanPasskey: a.Access.CanPasskey()}
	for i, k := range f.Passkeys {
		out.Passkeys[i] = passkeyOf(k)
	}
	for i, id := range f.Identities {
		out.Identities[i] = a.identityOf(id)
	}
	return &one[Factors]{out}, nil
}

// TOTPSetup is what an authenticator app needs.
type TOTPSetup struct {
	Secret string `json:"secret" doc:"Base32, to be typed into an authenticator app. It is told once"`
	URI    string `json:"uri" doc:"The same for a QR code" example:"otpauth://totp/Loggerhead:ana@example.org?secret=JBSWY3DPEHPK3PXP&issuer=Loggerhead"`
}

func beginTOTP(a *API, ctx context.Context, p access.Principal, _ *struct{}) (*one[TOTPSetup], error) {
	s, err := a.Access.BeginTOTP(ctx, p)
	if err != nil {
		return nil, err
	}
	return &one[TOTPSetup]{TOTPSetup{s.Secret, s.URI}}, nil
}

type confirmTOTPInput struct {
	Body struct {
		Code string `json:"code" maxLength:"20" doc:"That the app shows" example:"123456"`
	}
}

// RecoveryCodes are what lets somebody in who has lost everything else. They are told once.
type RecoveryCodes struct {
	Codes []string `json:"recovery_codes" nullable:"false" doc:"Each works once. Empty where there were some already, which stay as they are"`
}

func codesOf(codes []string) RecoveryCodes {
	if codes == nil {
		codes = []string{}
	}
	return RecoveryCodes{codes}
}

func confirmTOTP(a *API, ctx context.Context, p access.Principal, in *confirmTOTPInput) (*one[RecoveryCodes], error) {
	codes, err := a.Access.ConfirmTOTP(ctx, p, in.Body.Code)
	if err != nil {
		return nil, err
	}
	return &one[RecoveryCodes]{codesOf(codes)}, nil
}

func removeTOTP(a *API, ctx context.Context, p access.Principal, _ *struct{}) (*struct{}, error) {
	return nil, a.Access.RemoveTOTP(ctx, p)
}

func renewRecoveryCodes(a *API, ctx context.Context, p access.Principal, _ *struct{}) (*one[RecoveryCodes], error) {
	codes, err := a.Access.RenewRecoveryCodes(ctx, p)
	if err != nil {
		return nil, err
	}
	return &one[RecoveryCodes]{codesOf(codes)}, nil
}

func beginPasskey(a *API, ctx context.Context, p access.Principal, _ *struct{}) (*one[PasskeyQuestion], error) {
	return question(a.Access.BeginPasskey(ctx, p))
}

type addPasskeyInput struct {
	Body struct {
		Name    string          `json:"name" minLength:"1" maxLength:"100" example:"Phone"`
		Passkey json.RawMessage `json:"passkey" doc:"What the browser's navigator.credentials.create gave for the options of begin-passkey, as its toJSON says it"`
	}
}

// AddedPasskey is a new passkey, with recovery codes where there were none.
type AddedPasskey struct {
	Passkey Passkey `json:"passkey"`
	RecoveryCodes
}

func addPasskey(a *API, ctx context.Context, p access.Principal, in *addPasskeyInput) (*one[AddedPasskey], error) {
	k, codes, err := a.Access.AddPasskey(ctx, p, in.Body.Name, in.Body.Passkey)
	if err != nil {
		return nil, err
	}
	return &one[AddedPasskey]{AddedPasskey{passkeyOf(k), codesOf(codes)}}, nil
}

// PasskeyPath names a passkey of the caller.
type PasskeyPath struct {
	Passkey lh.PasskeyID `path:"passkey" maxLength:"40" example:"pky_0123456789abcdef"`
}

type renamePasskeyInput struct {
	PasskeyPath
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"100"`
	}
}

func renamePasskey(a *API, ctx context.Context, p access.Principal, in *renamePasskeyInput) (*struct{}, error) {
	return nil, a.Access.RenamePasskey(ctx, p, in.Passkey, in.Body.Name)
}

func removePasskey(a *API, ctx context.Context, p access.Principal, in *PasskeyPath) (*struct{}, error) {
	return nil, a.Access.RemovePasskey(ctx, p, in.Passkey)
}

// visitCookie knows the browser again that set out for a provider. It is gone after minutes.
const visitCookie = "__Host-loggerhead-visit"

func cookieOfVisit(value string, expires time.Time) string {
	c := http.Cookie{Name: visitCookie, Value: value, Path: "/", Expires: expires, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	return c.String()
}
