package notify

import (
	"strings"
	"unicode"
	"unicode/utf8"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Bounds of a mail.
const (
	maxSubject = 200      // bytes
	maxText    = 64 << 10 // bytes
)

// Mail is one text to one person.
type Mail struct {
	To      string `json:"to"`
	Subject string `json:"subject"`
	Text    string `json:"text"` // plain, UTF-8; lines end with \n
	// Link is the link in the text, where there is one. A hub without a mail server logs it for the operator to pass on.
	Link string `json:"link,omitempty"`
}

// Check refuses what is no mail to one address, or would write a header of its own.
func (m Mail) Check() error {
	switch {
	case !Address(m.To):
		return lh.Errorf(lh.Invalid, "%q is no e-mail address", m.To)
	case m.Subject == "" || len(m.Subject) > maxSubject:
		return lh.Errorf(lh.Invalid, "a mail's subject has 1 to %d bytes", maxSubject)
	case !oneLine(m.Subject):
		return lh.Errorf(lh.Invalid, "a mail's subject is one line of text")
	case m.Text == "" || len(m.Text) > maxText:
		return lh.Errorf(lh.Invalid, "a mail's text has 1 to %d bytes", maxText)
	case !utf8.ValidString(m.Text) || strings.ContainsAny(m.Text, "\x00\r"):
		return lh.Errorf(lh.Invalid, "a mail's text is UTF-8 without control characters")
	}
	return nil
}

// Address reports whether s is an address that mail may be sent to: a bare one, and nothing in it that a mail server could
// take for a second one, a header or a command.
func Address(s string) bool {
	return lh.ValidEmail(s) && oneLine(s) && !strings.ContainsAny(s, " \t<>,;:\"\\()[]") && strings.Count(s, "@") == 1
}

func oneLine(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
	}) < 0
}
