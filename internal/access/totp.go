package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Time-based one-time passwords by RFC 6238, with the values that every authenticator app knows: HMAC-SHA-1, six
// digits, thirty seconds. SHA-1 is not broken as HMAC, and many apps ignore a wish for another hash, silently.
const (
	totpSecret = 20 // bytes; RFC 4226, section 4, R6
	totpStep   = 30 // seconds
	totpSkew   = 1  // steps that the phone's clock may be off, either way; RFC 6238, section 5.2
	totpDigits = 6
)

// Of a million codes three count at any time. Ten wrong ones an hour leave a guesser who has the password already one
// chance in four thousand over a whole day, of which the owner is told.
const (
	totpTries  = 10
	totpWindow = time.Hour
)

// hotp returns the code of a counter: RFC 4226, section 5.3.
func hotp(secret []byte, counter uint64) string {
	mac := hmac.New(sha1.New, secret)
	mac.Write(binary.BigEndian.AppendUint64(nil, counter))
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0xf
	n := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
	return fmt.Sprintf("%0*d", totpDigits, n%1_000_000)
}

// stepOf returns the time step near now whose code this is. Every step is compared, so that it takes the same time.
func stepOf(secret []byte, code string, now time.Time) (step int64, ok bool) {
	at := now.Unix() / totpStep
	for s := at - totpSkew; s <= at+totpSkew; s++ {
		if subtle.ConstantTimeCompare([]byte(hotp(secret, uint64(s))), []byte(code)) == 1 {
			step, ok = s, true
		}
	}
	return step, ok
}

// keyURI is what an authenticator app reads from the QR code.
func keyURI(secret []byte, issuer, account string) string {
	q := url.Values{"secret": {secretText(secret)}, "issuer": {issuer}, "algorithm": {"SHA1"}, "digits": {"6"}, "period": {"30"}}
	return "otpauth://totp/" + url.PathEscape(issuer+":"+account) + "?" + strings.ReplaceAll(q.Encode(), "+", "%20")
}

func secretText(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// TOTPSetup is what an authenticator app needs. It is told once.
type TOTPSetup struct {
	Secret string // base32, for typing
	URI    string // otpauth://…, for a QR code
}

// BeginTOTP makes a secret for an authenticator app. Codes are asked for only after [Access.ConfirmTOTP] has seen one.
// Forbidden: the person has not confirmed that it is them; Conflict: there is an app already.
func (a *Access) BeginTOTP(ctx context.Context, p Principal) (TOTPSetup, error) {
	if err := a.confirmed(p); err != nil {
		return TOTPSetup{}, err
	}
	secret := make([]byte, totpSecret)
	rand.Read(secret) // never fails
	if err := a.db.BeginTOTP(ctx, p.User.ID, secret); err != nil {
		return TOTPSetup{}, err
	}
	return TOTPSetup{secretText(secret), keyURI(secret, strings.TrimSpace("Loggerhead "+a.host()), p.User.Email)}, nil
}

// ConfirmTOTP begins to ask for codes, after a first one proves that the app has the secret. It returns recovery codes
// where the person had none. The session counts as proven with a second factor from then on.
func (a *Access) ConfirmTOTP(ctx context.Context, p Principal, code string) ([]string, error) {
	if err := a.confirmed(p); err != nil {
		return nil, err
	}
	if err := a.checkTOTP(ctx, p.User.ID, code, false); err != nil {
		return nil, refused(err)
	}
	codes, hashes, err := a.firstCodes(ctx, p.User.ID)
	if err != nil {
		return nil, err
	}
	return codes, a.db.ActivateTOTP(ctx, p.Actor(), p.Session, hashes, a.notice(p.User, "an authenticator app was set up",
		"From now on logging in takes a code of it, too.")...)
}

// RemoveTOTP no longer asks for codes.
func (a *Access) RemoveTOTP(ctx context.Context, p Principal) error {
	if err := a.confirmed(p); err != nil {
		return err
	}
	return a.db.RemoveTOTP(ctx, p.Actor(), p.User.ID, a.notice(p.User, "the authenticator app was removed",
		"Codes of it are no longer asked for.")...)
}

// checkTOTP checks a code of a person's app, and that it was not used before. Unauthenticated: it is wrong, or was used;
// Exhausted: too many were wrong.
func (a *Access) checkTOTP(ctx context.Context, user lh.UserID, code string, active bool) error {
	o, err := a.db.TOTP(ctx, user)
	if err == nil && o.Active != active {
		err = lh.Errorf(lh.NotFound, "no authenticator app is set up")
		if !active {
			err = lh.Errorf(lh.Conflict, "an authenticator app is set up already")
		}
	}
	if err == nil {
		err = a.db.TryTOTP(ctx, user, totpTries, totpWindow.Milliseconds())
	}
	if err != nil {
		return err
	}
	step, ok := stepOf(o.Secret, strings.ReplaceAll(strings.TrimSpace(code), " ", ""), a.now())
	if ok {
		ok, err = a.db.UseTOTP(ctx, user, step)
	}
	if err == nil && !ok {
		err = lh.Errorf(lh.Unauthenticated, "this code is wrong, was used already, or is too old; wait for the next one, and see that the phone's clock is right")
	}
	return err
}

// Recovery codes: ten, of 80 random bits each, in groups that can be read aloud.
const (
	recoveryCodes = 10
	recoveryBytes = 10
	recoveryChars = "0123456789abcdefghjkmnpqrstvwxyz" // Crockford's base32: no i, l, o, u
)

func newCodes(user lh.UserID) (codes []string, hashes [][]byte) {
	enc := base32.NewEncoding(recoveryChars).WithPadding(base32.NoPadding)
	for range recoveryCodes {
		var b [recoveryBytes]byte
		rand.Read(b[:]) // never fails
		s := enc.EncodeToString(b[:])
		codes = append(codes, s[:4]+"-"+s[4:8]+"-"+s[8:12]+"-"+s[12:])
		hashes = append(hashes, codeHash(user, s))
	}
	return codes, hashes
}

// codeHash is what is kept of a recovery code. 80 random bits cannot be guessed, so a fast hash is enough.
func codeHash(user lh.UserID, code string) []byte {
	code = strings.Map(func(r rune) rune {
		switch r {
		case '-', ' ':
			return -1
		case 'o':
			return '0'
		case 'i', 'l':
			return '1'
		}
		return r
	}, strings.ToLower(code))
	h := sha256.Sum256([]byte("recovery code of " + string(user) + " " + code))
	return h[:]
}

// firstCodes makes recovery codes where somebody sets up their first second factor, and nil elsewhere.
func (a *Access) firstCodes(ctx context.Context, user lh.UserID) ([]string, [][]byte, error) {
	f, err := a.db.Factors(ctx, user)
	if err != nil || f.Second() && f.Codes > 0 {
		return nil, nil, err
	}
	codes, hashes := newCodes(user)
	return codes, hashes, nil
}

// RenewRecoveryCodes replaces a person's recovery codes; they are told once. Conflict: there is nothing to recover from.
func (a *Access) RenewRecoveryCodes(ctx context.Context, p Principal) ([]string, error) {
	if err := a.confirmed(p); err != nil {
		return nil, err
	}
	f, err := a.db.Factors(ctx, p.User.ID)
	if err != nil {
		return nil, err
	}
	if !f.Second() {
		return nil, lh.Errorf(lh.Conflict, "recovery codes stand in for an authenticator app or a passkey; set one up first")
	}
	codes, hashes := newCodes(p.User.ID)
	return codes, a.db.SetRecoveryCodes(ctx, p.Actor(), p.User.ID, hashes, a.notice(p.User, "recovery codes were renewed",
		"The codes from before are worth nothing now.")...)
}
