package loggerhead

import (
	"net/mail"
	"net/netip"
)

// User is a person.
type User struct {
	ID       UserID
	Email    string // as typed; compared without case
	Name     string
	Operator bool // manages the installation; sees inside a project only with a grant
	Created  Millis
	Verified Millis // when the address was proven to be theirs; 0: never
	Disabled Millis // when an operator barred the account; 0: it is not
}

// Session is a log-in of a user on one browser or program.
type Session struct {
	ID      SessionID
	User    UserID
	Created Millis
	Expires Millis

	Proof     Proof
	Strong    bool   // a second factor was used, or what equals one
	Confirmed Millis // when the person last proved it again, for what needs that; 0: never

	Used   Millis     // last, to within minutes; 0: not yet
	Remote netip.Addr // where from, then
	Agent  string     // with which program, then, as it calls itself
}

// ValidEmail reports whether s is a bare mailbox address of at most 254 bytes with a dotted domain.
func ValidEmail(s string) bool {
	if len(s) > 254 {
		return false
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || a.Name != "" || s[len(s)-1] == ']' { // an address in brackets is no domain
		return false
	}
	for i := len(s) - 1; i >= 0 && s[i] != '@'; i-- {
		if s[i] == '.' && i != len(s)-1 {
			return true
		}
	}
	return false
}
