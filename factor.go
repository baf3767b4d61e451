package loggerhead

type (
	// PasskeyID names a passkey of a person.
	PasskeyID string
	// IdentityID names a person's account at an identity provider, linked with theirs here.
	IdentityID string
)

// NewPasskeyID returns a fresh random id; so does its sibling.
func NewPasskeyID() PasskeyID   { return PasskeyID(randomID("pky_")) }
func NewIdentityID() IdentityID { return IdentityID(randomID("idn_")) }

// Proof is how somebody has proven who they are.
type Proof string

const (
	ProofPassword Proof = "password"      // and nothing else
	ProofTOTP     Proof = "totp"          // password or provider, then a code of an authenticator app
	ProofRecovery Proof = "recovery_code" // password or provider, then one of the codes kept for an emergency
	ProofPasskey  Proof = "passkey"       // alone, or after the password
	ProofProvider Proof = "oidc"          // an identity provider said so
)

// Passkey is a WebAuthn credential of a person.
type Passkey struct {
	ID      PasskeyID
	User    UserID
	Name    string // as its owner calls it
	Created Millis
	Used    Millis // 0: never
	Suspect Millis // when its counter went back, which a copy of it would make it do; 0: never
}

// Identity is an account at an identity provider that logs in as a person here. Issuer and Subject name it for good;
// the rest is what the provider said when it was linked.
type Identity struct {
	ID      IdentityID
	User    UserID
	Issuer  string
	Subject string
	Email   string
	Created Millis
	Used    Millis // 0: never
}

// Factors are what a person has to prove who they are with, beside the password.
type Factors struct {
	TOTP       Millis // since when codes of an authenticator app are asked for; 0: they are not
	Codes      int    // recovery codes that are left
	Passkeys   []Passkey
	Identities []Identity
	Password   bool // whether there is a password at all
}

// Second reports whether there is something to ask for after the password.
func (f Factors) Second() bool { return f.TOTP != 0 || len(f.Passkeys) > 0 }
