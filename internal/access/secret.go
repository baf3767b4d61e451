package access

import (
	"crypto/rand"
	"hash/crc32"
	"math/big"
	"strings"
)

// What programs prove themselves with. Each is its prefix, 32 random bytes as 43 digits of base 62, and 6 digits of the
// CRC-32 (IEEE) of all before them, so that a secret scanner can tell one that leaked from what only looks like it, and a
// typing error from a key that was revoked, without asking.
const (
	keyPrefix         = "lhk_" // of a service account
	accessPrefix      = "lht_" // access token of a service account
	integrationPrefix = "lhi_"

	secretDigits   = 43
	checksumDigits = 6
	secretLength   = len(keyPrefix) + secretDigits + checksumDigits
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// digits writes n in base 62, the greatest digit first, in a fixed number of digits.
func digits(n *big.Int, count int) string {
	b := make([]byte, count)
	rest, digit, base := new(big.Int).Set(n), new(big.Int), big.NewInt(int64(len(base62)))
	for i := count - 1; i >= 0; i-- {
		rest.DivMod(rest, base, digit)
		b[i] = base62[digit.Int64()]
	}
	return string(b)
}

func checksum(s string) string {
	return digits(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(s)))), checksumDigits)
}

// newSecret makes a secret of a kind.
func newSecret(prefix string) string {
	var b [32]byte
	rand.Read(b[:]) // never fails
	s := prefix + digits(new(big.Int).SetBytes(b[:]), secretDigits)
	return s + checksum(s)
}

// wellFormed reports whether s can be a secret of a kind at all.
func wellFormed(s, prefix string) bool {
	if len(s) != secretLength || !strings.HasPrefix(s, prefix) {
		return false
	}
	body := s[:len(s)-checksumDigits]
	return strings.Trim(body[len(prefix):], base62) == "" && checksum(body) == s[len(body):]
}
