package notify

import (
	lh "github.com/loggerhead-cloud/loggerhead"
)

// Ask is the question whether something is to be sent to an address, which a stranger typed. It is answered in the
// background, so that the stranger learns nothing from how long the answer takes.
type Ask struct {
	Purpose lh.LinkPurpose `json:"purpose"`
	Email   string         `json:"email"`
}

// Item is what waits in the outbox: a mail or a question.
type Item struct {
	ID      lh.MailID
	Created lh.Millis
	Expires lh.Millis
	Tries   int // this one too
	Mail    *Mail
	Ask     *Ask
}
