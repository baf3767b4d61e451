package access

import (
	"testing"
	"time"
)

// TestOneTimePasswordVectors holds the codes to those of the RFCs.
func TestOneTimePasswordVectors(t *testing.T) {
	secret := []byte("12345678901234567890")
	for counter, want := range []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"} { // RFC 4226, appendix D
		if got := hotp(secret, uint64(counter)); got != want {
			t.Errorf("counter %d: %s, want %s", counter, got, want)
		}
	}
	// RFC 6238, appendix B: the last six of its eight digits.
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		step, ok := stepOf(secret, want, time.Unix(at, 0))
		if !ok || step != at/30 {
			t.Errorf("at %d: step %d, %v", at, step, ok)
		}
	}
	at := time.Unix(1111111109, 0)
	for off, want := range map[time.Duration]bool{-30 * time.Second: true, 30 * time.Second: true, -60 * time.Second: false, 60 * time.Second: false} {
		if _, ok := stepOf(secret, "081804", at.Add(off)); ok != want {
			t.Errorf("a code %s off counts: %v", off, ok)
		}
	}
	for _, bad := range []string{"", "81804", "0818040", "08180a", "０８１８０４"} {
		if _, ok := stepOf(secret, bad, at); ok {
			t.Errorf("%q counts", bad)
		}
	}
	want := "otpauth://totp/Loggerhead%20hub.example:ana@test.example?algorithm=SHA1&digits=6&issuer=Loggerhead%20hub.example&period=30&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	if got := keyURI(secret, "Loggerhead hub.example", "ana@test.example"); got != want {
		t.Errorf("key URI %s", got)
	}
}
