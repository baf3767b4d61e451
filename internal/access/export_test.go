package access

import (
	"encoding/base32"
	"time"
)

// CodeAt is what an authenticator app shows that was given a secret.
func CodeAt(secret string, at time.Time) string {
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil {
		panic(err)
	}
	return hotp(b, uint64(at.Unix()/totpStep))
}
