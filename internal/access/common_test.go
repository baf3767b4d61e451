package access

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCommonPasswords: what everybody tries is refused, however it is written; what is merely without digits is not.
func TestCommonPasswords(t *testing.T) {
	if n := len(common) / commonBytes; len(common)%commonBytes != 0 || n < 40_000 {
		t.Fatalf("the list has %d bytes", len(common))
	}
	for i := commonBytes; i < len(common); i += commonBytes {
		if common[i-commonBytes:i] >= common[i:i+commonBytes] {
			t.Fatalf("the list is not sorted at %d", i)
		}
	}
	a := New(Options{})
	for _, bad := range []string{"1234567890", "qwertyuiop", "Q1W2E3R4T5", "passwordpassword", "PASSWORDPASSWORD", "aaaaaaaaaaaaaaaa", "abcabcabcabc", "0000000000",
		"ana@test.example", "ANA@test.example1", "Ana Andersen 1", "anaandersen", "loggerhead1", "short", strings.Repeat("x", 300), "", "bad\xffbytes\xffhere"} {
		if err := a.newPassword(bad, "ana@test.example", "Ana Andersen"); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, good := range []string{"correct horse battery", "another good one", "hvid sommerfugl", "ααααβββγγδ", "ananas i egen juice", "wrong password", strings.Repeat("x", 9) + "yzåæø"} {
		if err := a.newPassword(good, "ana@test.example", "Ana Andersen"); err != nil {
			t.Errorf("%q is refused: %v", good, err)
		}
	}
}

// TestBreachedFile: every line of a file is found, and nothing else, wherever it lies and however the lines end.
func TestBreachedFile(t *testing.T) {
	write := func(name, text string) string {
		p := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	of := func(p string) string { h := sha1.Sum([]byte(p)); return strings.ToUpper(hex.EncodeToString(h[:])) }
	for _, n := range []int{1, 2, 3, 7, 100, 1000} {
		for _, end := range []string{"\r\n", "\n"} {
			for _, last := range []bool{true, false} { // whether the last line ends
				var lines []string
				for i := range n {
					lines = append(lines, of(fmt.Sprint("leaked ", i))+":"+strings.Repeat("7", 1+i%9))
				}
				slices.Sort(lines)
				text := strings.Join(lines, end)
				if last {
					text += end
				}
				b, err := OpenBreached(write("pwned", text))
				if err != nil {
					t.Fatal(err)
				}
				for i := range n {
					if has, err := b.Has(fmt.Sprint("leaked ", i)); err != nil || !has {
						t.Fatalf("%d of %d lines: %v, %v", i, n, has, err)
					}
				}
				for i := range 200 {
					if has, err := b.Has(fmt.Sprint("mine ", i)); err != nil || has {
						t.Fatalf("not in %d lines: %v, %v", n, has, err)
					}
				}
				a := New(Options{Breached: b})
				if err := a.newPassword("leaked 0 x", "", ""); err != nil {
					t.Error(err)
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
	for name, text := range map[string]string{"empty": "", "words": "password\nqwerty\n", "not sorted": of("a") + ":1\n" + of("b") + ":1\n" + "0" + of("c")[1:] + ":1\n",
		"lower case": strings.ToLower(of("a")) + ":1\n", "ntlm": of("a")[:32] + ":1\n"} {
		if _, err := OpenBreached(write("pwned", text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := OpenBreached(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there")
	}
}
