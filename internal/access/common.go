package access

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"unicode/utf8"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// common are the most common passwords of leaks, as scripts/common-passwords writes them: of each the first commonBytes
// bytes of its SHA-256, sorted.
//
//go:embed common.bin
var common string

const commonBytes = 5

// isCommon reports whether a password is one of the most common ones, or one of them, or a few characters, over and over.
func isCommon(password string) bool {
	p := strings.ToLower(password)
	if listed(p) {
		return true
	}
	for n := 1; n <= len(p)/2; n++ {
		if len(p)%n == 0 && p == strings.Repeat(p[:n], len(p)/n) {
			return utf8.RuneCountInString(p[:n]) <= 4 || listed(p[:n])
		}
	}
	return false
}

func listed(word string) bool {
	h := sha256.Sum256([]byte(word))
	want := string(h[:commonBytes])
	n := len(common) / commonBytes
	i := sort.Search(n, func(i int) bool { return common[i*commonBytes:(i+1)*commonBytes] >= want })
	return i < n && common[i*commonBytes:(i+1)*commonBytes] == want
}

// Breached is a file of leaked passwords, as Have I Been Pwned gives it away: a line for each, its SHA-1 in 40 upper-case
// hex digits, a colon and how often it was seen, sorted by hash. It is read by halving, some thirty reads a question.
type Breached struct {
	file *os.File
	size int64
}

// OpenBreached opens such a file and looks at its ends.
func OpenBreached(path string) (*Breached, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("file of breached passwords: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b := &Breached{f, st.Size()}
	first, last := "", ""
	if b.size == 0 {
		err = errors.New("it is empty")
	} else if first, _, _, err = b.line(0); err == nil {
		last, _, _, err = b.line(b.size - 1)
	}
	if err == nil && first > last {
		err = errors.New("it is not sorted by hash")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("file of breached passwords %s: %w; it needs the list of SHA-1 hashes ordered by hash", path, err), f.Close())
	}
	return b, nil
}

// Close closes the file.
func (b *Breached) Close() error { return b.file.Close() }

// maxLine is longer than a line can be.
const maxLine = 80

// line returns the hash of the line that holds the byte at an offset, and where the line begins and the next does.
func (b *Breached) line(at int64) (hash string, begin, next int64, err error) {
	from := max(0, at-maxLine)
	buf := make([]byte, 2*maxLine)
	n, err := b.file.ReadAt(buf, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", 0, 0, err
	}
	buf = buf[:n]
	start := bytes.LastIndexByte(buf[:at-from], '\n') + 1
	if from > 0 && start == 0 {
		return "", 0, 0, errors.New("it holds a line that is too long")
	}
	end := bytes.IndexByte(buf[start:], '\n')
	if end < 0 {
		end = len(buf) - start
	}
	l := buf[start : start+end]
	if len(l) < 40 || len(l) > 40 && l[40] != ':' && l[40] != '\r' {
		return "", 0, 0, errors.New("it holds a line that is no SHA-1")
	}
	h := string(l[:40])
	if _, err := hex.DecodeString(h); err != nil || h != strings.ToUpper(h) {
		return "", 0, 0, errors.New("it holds a line that is no SHA-1 in upper case")
	}
	return h, from + int64(start), from + int64(start+end) + 1, nil
}

// Has reports whether the password is in the file.
func (b *Breached) Has(password string) (bool, error) {
	sum := sha1.Sum([]byte(password))
	want := strings.ToUpper(hex.EncodeToString(sum[:]))
	low, high := int64(0), b.size // of whole lines
	for low < high {
		h, begin, next, err := b.line(low + (high-low)/2)
		switch {
		case err != nil:
			return false, fmt.Errorf("file of breached passwords: %w", err)
		case h == want:
			return true, nil
		case h < want:
			low = next
		default:
			high = begin
		}
	}
	return false, nil
}

// newPassword refuses a password that is too short or too long, that everybody tries first, that was leaked, or that is
// little more than the person's address or name.
func (a *Access) newPassword(password, email, name string) error {
	switch n := utf8.RuneCountInString(password); {
	case n < MinPassword:
		return lh.Errorf(lh.Invalid, "the password has %d characters; use at least %d", n, MinPassword)
	case len(password) > MaxPassword:
		return lh.Errorf(lh.Invalid, "the password is longer than %d bytes", MaxPassword)
	case !utf8.ValidString(password):
		return lh.Errorf(lh.Invalid, "the password is no UTF-8 text")
	}
	if personal(password, email, name) {
		return lh.Errorf(lh.Invalid, "the password is little more than the address or the name; choose another")
	}
	if isCommon(password) {
		return lh.Errorf(lh.Invalid, "this password is among the first that anybody would try; choose another")
	}
	if a.breached == nil {
		return nil
	}
	leaked, err := a.breached.Has(password)
	if err != nil {
		return err
	}
	if leaked {
		return lh.Errorf(lh.Invalid, "this password was leaked somewhere, so that it is on the lists of whoever guesses; choose another")
	}
	return nil
}

// personal reports whether fewer than five characters are left of a password without what everybody knows of the person.
func personal(password, email, name string) bool {
	local, domain, _ := strings.Cut(strings.ToLower(email), "@")
	words := []string{strings.ToLower(email), strings.ToLower(name), local, domain}
	words = append(words, strings.FieldsFunc(local, func(r rune) bool { return strings.ContainsRune(".-_+", r) })...)
	words = append(words, strings.Fields(strings.ToLower(name))...)
	words = append(words, "loggerhead")
	rest := strings.ToLower(password)
	for _, w := range words {
		if utf8.RuneCountInString(w) >= 4 {
			rest = strings.ReplaceAll(rest, w, "")
		}
	}
	return len(rest) < len(password) && utf8.RuneCountInString(rest) < 5
}
