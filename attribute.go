package loggerhead

import (
	"maps"
	"slices"
	"unicode/utf8"
)

// Attributes are what people write on a location, a device or an element to find it by: keys and values of their own.
type Attributes map[string]string

// Bounds of what people may write on a thing.
const (
	MaxAttributes     = 50
	MaxAttributeKey   = 64   // bytes
	MaxAttributeValue = 256  // bytes
	MaxNote           = 4000 // bytes
)

// Check refuses attributes that are too many, too long, or have a key of other characters than letters, digits and _ . - :.
func (a Attributes) Check() error {
	if len(a) > MaxAttributes {
		return Errorf(Invalid, "there are %d attributes; at most %d are possible", len(a), MaxAttributes)
	}
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if !validKey(k) {
			return Errorf(Invalid, "%q is no key of an attribute: 1 to %d of the characters a-z A-Z 0-9 _ . - :", k, MaxAttributeKey)
		}
		if v := a[k]; len(v) > MaxAttributeValue || !utf8.ValidString(v) {
			return Errorf(Invalid, "the value of attribute %s is longer than %d bytes, or no text", k, MaxAttributeValue)
		}
	}
	return nil
}

func validKey(k string) bool {
	for _, c := range []byte(k) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' && c != ':' {
			return false
		}
	}
	return len(k) > 0 && len(k) <= MaxAttributeKey
}

// CheckNote refuses a note that is too long.
func CheckNote(note string) error {
	if len(note) > MaxNote || !utf8.ValidString(note) {
		return Errorf(Invalid, "a note has at most %d bytes of text", MaxNote)
	}
	return nil
}
