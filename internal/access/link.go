package access

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// linkPrefix marks the token of a one-time link.
const linkPrefix = "lhl_"

// How long links are good.
var linkLives = map[lh.LinkPurpose]time.Duration{
	lh.LinkSignUp: 24 * time.Hour,
	lh.LinkInvite: 14 * 24 * time.Hour,
	lh.LinkReset:  time.Hour,
	lh.LinkVerify: 24 * time.Hour,
	lh.LinkEmail:  24 * time.Hour,
	lh.LinkUndo:   7 * 24 * time.Hour,
}

// askLife is how long a question of a stranger is worth answering.
const askLife = lh.Millis(10 * 60 * 1000)

// newLink makes a link and the mail that brings it. url is told once and kept nowhere but, sealed, in the mail. l.Expires
// is set where it is 0. text is the mail's, around the link.
func (a *Access) newLink(l lh.Link, subject string, text func(url string) string) (n store.NewLink, url string) {
	now := a.now()
	if l.Expires == 0 {
		l.Expires = lh.MillisOf(now.Add(linkLives[l.Purpose]))
	}
	token := linkPrefix + secretOf(32)
	url = a.LinkURL(token)
	n = store.NewLink{Hash: tokenHash(token), Link: l}
	if subject != "" {
		n.Mail = notify.Mail{To: l.Email, Subject: subject, Text: text(url), Link: url}
	}
	return n, url
}

// LinkURL is the address of a link's page in the web app. The token stands behind the #, which browsers send to nobody: it
// comes into no log and no Referer.
func (a *Access) LinkURL(token string) string { return a.url + "/link#" + token }

// PageURL is the address of a page of the web app, such as "/account".
func (a *Access) PageURL(path string) string { return a.url + path }

// MailLink makes a link and mails it to its address. Whatever else is to be undone with it, its caller does. by and action
// are audited with the installation; action "" is not.
func (a *Access) MailLink(ctx context.Context, by lh.Actor, action string, l lh.Link, subject string, text func(url string) string) (url string, err error) {
	if !notify.Address(l.Email) {
		return "", lh.Errorf(lh.Invalid, "mail cannot be sent to %q", l.Email)
	}
	n, url := a.newLink(l, subject, text)
	if err := a.db.PutLink(ctx, n, "", by, action); err != nil {
		return "", err
	}
	a.mailed()
	return url, nil
}

// ShowLink returns what a link is for, without using it up. NotFound: it cannot be used.
func (a *Access) ShowLink(ctx context.Context, token, remote string) (lh.Link, error) {
	hash, err := a.linkHash(ctx, token, remote)
	if err != nil {
		return lh.Link{}, err
	}
	return a.db.Link(ctx, hash)
}

// linkHash returns the hash of a link's token. Tokens cannot be guessed; the bound keeps strangers from making the hub
// look for them without an end.
func (a *Access) linkHash(ctx context.Context, token, remote string) ([]byte, error) {
	if err := a.paced(ctx, "link", remote); err != nil {
		return nil, err
	}
	if len(token) > 100 || !strings.HasPrefix(token, linkPrefix) {
		return nil, lh.Errorf(lh.NotFound, "this link was used already, was replaced by a later one, or is too old; ask for a new one")
	}
	return tokenHash(token), nil
}

// from is an actor who is not known yet, at an address.
func from(remote string) lh.Actor {
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		return lh.Actor{}
	}
	return lh.Actor{From: addr.Unmap()}
}

// Ask takes the question of a stranger: for a link to sign up, or for one to a new password. What becomes of it only the
// mail tells: the answer here is the same, and takes as long, whether the address has an account or not. Forbidden: people
// do not sign up by themselves here.
func (a *Access) Ask(ctx context.Context, purpose lh.LinkPurpose, email, remote string) error {
	if purpose != lh.LinkSignUp && purpose != lh.LinkReset {
		return lh.Errorf(lh.Invalid, "nobody can ask for that")
	}
	if purpose == lh.LinkSignUp && !a.signUpOpen {
		return lh.Errorf(lh.Forbidden, "accounts of this installation are made by invitation; ask its operator, or an administrator of a project, for one")
	}
	if !notify.Address(email) {
		return lh.Errorf(lh.Invalid, "%q is no e-mail address", email)
	}
	if !a.tries.allow(a.now(), "ask from "+networkName(remote), 10, time.Minute) {
		return lh.Errorf(lh.Exhausted, "too many mails were asked for from here; wait some minutes")
	}
	// One mail more than a few helps nobody, and would be a way to flood somebody else's box. What was sent is still good.
	if !a.tries.allow(a.now(), "ask to "+strings.ToLower(email), 3, 10*time.Minute) {
		a.log.InfoContext(ctx, "mail was asked for too often; none is sent", "purpose", purpose, "remote", remote)
		return nil
	}
	if err := a.db.PutAsk(ctx, askLife, notify.Ask{Purpose: purpose, Email: email}); err != nil {
		return err
	}
	a.mailed()
	return nil
}

// Answer answers a question from the outbox, in the background: with a link, with a word to the address's owner, or not at
// all. The item goes in the same transaction that puts the mail in.
func (a *Access) Answer(ctx context.Context, id lh.MailID, q notify.Ask) error {
	u, _, err := a.db.UserByEmail(ctx, q.Email)
	known := err == nil
	if err != nil && lh.CodeOf(err) != lh.NotFound {
		return err
	}
	none := lh.Actor{}
	switch {
	case q.Purpose == lh.LinkSignUp && !known && a.signUpOpen:
		n, _ := a.newLink(lh.Link{Purpose: lh.LinkSignUp, Email: q.Email}, "Loggerhead: make your account", a.signUpText)
		err = a.db.PutLink(ctx, n, id, none, "")
	case q.Purpose == lh.LinkSignUp && known:
		err = a.db.AnswerMail(ctx, id, askLife, notify.Mail{To: u.Email, Subject: "Loggerhead: you have an account", Text: a.haveAccountText(u)})
	case q.Purpose == lh.LinkReset && known && u.Disabled == 0 && notify.Address(u.Email):
		n, _ := a.resetLink(u.ID, u.Email)
		err = a.db.PutLink(ctx, n, id, none, "account.ask_reset")
	default:
		err = a.db.DropMail(ctx, id)
	}
	if err == nil {
		a.mailed()
	}
	return err
}

func (a *Access) resetLink(id lh.UserID, email string) (store.NewLink, string) {
	return a.newLink(lh.Link{Purpose: lh.LinkReset, User: id, Email: email}, "Loggerhead: choose a new password", a.resetText)
}

// SignUp makes the account that a link of LinkSignUp or LinkInvite is for. Its address is the one the link was sent to,
// which is proven by that. Where the link came with an invitation to a project, the account is a member of it. NotFound:
// the link cannot be used. Conflict: the address has an account; its owner logs in.
func (a *Access) SignUp(ctx context.Context, token, name, password, remote string) (lh.User, error) {
	hash, err := a.linkHash(ctx, token, remote)
	if err != nil {
		return lh.User{}, err
	}
	l, err := a.db.Link(ctx, hash)
	if err != nil {
		return lh.User{}, err
	}
	if err := checkPersonName(name); err != nil {
		return lh.User{}, err
	}
	if err := a.newPassword(password, l.Email, name); err != nil {
		return lh.User{}, err
	}
	phc, err := a.hashers.hash(ctx, password)
	if err != nil {
		return lh.User{}, err
	}
	u, l, err := a.db.SignUp(ctx, hash, name, phc)
	if err != nil {
		return u, err
	}
	if l.Invitation == "" {
		return u, nil
	}
	by := from(remote)
	by.Kind, by.ID = lh.ActorUser, string(u.ID)
	// Where this fails, the account stands and the invitation is offered to it; it has lost nothing.
	if _, err := a.db.AnswerInvitation(ctx, by, u, l.Invitation, true); err != nil {
		a.log.WarnContext(ctx, "signed up, but is no member yet", "user", u.ID, "invitation", l.Invitation, "err", err)
	}
	return u, nil
}

// UseLink does what a link of LinkVerify, LinkEmail or LinkUndo is for, and returns which. NotFound: it cannot be used.
// Conflict: another account has the address.
func (a *Access) UseLink(ctx context.Context, token, remote string) (lh.LinkPurpose, error) {
	hash, err := a.linkHash(ctx, token, remote)
	if err != nil {
		return "", err
	}
	l, err := a.db.Link(ctx, hash)
	if err != nil {
		return "", err
	}
	switch l.Purpose {
	case lh.LinkVerify:
		err = a.db.VerifyEmail(ctx, from(remote), hash)
	case lh.LinkEmail:
		err = a.db.ChangeEmail(ctx, from(remote), hash, func(id lh.UserID, old, now string) store.NewLink {
			n, _ := a.newLink(lh.Link{Purpose: lh.LinkUndo, User: id, Email: old}, "Loggerhead: your address was changed",
				func(url string) string { return a.undoText(now, url) })
			return n
		})
	case lh.LinkUndo:
		err = a.db.UndoEmail(ctx, from(remote), hash, func(id lh.UserID, email string) store.NewLink {
			n, _ := a.resetLink(id, email)
			return n
		})
	default:
		return "", lh.Errorf(lh.NotFound, "this link was used already, was replaced by a later one, or is too old; ask for a new one")
	}
	if err == nil {
		a.mailed()
	}
	return l.Purpose, err
}

// ResetPassword sets a new password by a link of LinkReset. Every session of the account ends. NotFound: the link cannot
// be used.
func (a *Access) ResetPassword(ctx context.Context, token, password, remote string) error {
	hash, err := a.linkHash(ctx, token, remote)
	if err != nil {
		return err
	}
	l, err := a.db.Link(ctx, hash)
	if err != nil {
		return err
	}
	u, err := a.db.User(ctx, l.User)
	if err != nil {
		return err
	}
	if err := a.newPassword(password, u.Email, u.Name); err != nil {
		return err
	}
	phc, err := a.hashers.hash(ctx, password)
	if err != nil {
		return err
	}
	err = a.db.ResetPassword(ctx, from(remote), hash, phc, func(email string) notify.Mail {
		return notify.Mail{To: email, Subject: "Loggerhead: your password was changed", Text: a.passwordText("by a link that was sent to this address")}
	})
	if err == nil {
		a.recognise(u.Email, remote) // who reads the account's mail is known, whatever goes on beside
		a.mailed()
	}
	return err
}

func checkPersonName(name string) error {
	if n := len(name); n == 0 || n > 200 || strings.TrimSpace(name) == "" {
		return lh.Errorf(lh.Invalid, "a name has 1 to 200 bytes")
	}
	if strings.ContainsAny(name, "\r\n\x00") {
		return lh.Errorf(lh.Invalid, "a name is one line")
	}
	return nil
}

// The texts of mails. Nothing that a stranger typed stands in them but the address itself.

func (a *Access) signUpText(url string) string {
	return fmt.Sprintf("Hello,\n\nsomebody, probably you, wants an account at Loggerhead on %s with this address. To make it, open within a day:\n\n%s\n\n"+
		"If it was not you, do nothing: without the link there is no account.\n", a.host(), url)
}

func (a *Access) haveAccountText(u lh.User) string {
	return fmt.Sprintf("Hello,\n\nsomebody, probably you, wanted a new account at Loggerhead on %s with this address. You have one already: log in at\n\n%s\n\n"+
		"If you have forgotten the password, choose “Forgot your password?” there. If it was not you, do nothing.\n", a.host(), a.url+"/")
}

func (a *Access) resetText(url string) string {
	return fmt.Sprintf("Hello,\n\nto choose a new password for your account at Loggerhead on %s, open within an hour:\n\n%s\n\n"+
		"If you have not asked for it, do nothing: your password stays as it is.\n", a.host(), url)
}

func (a *Access) undoText(now, url string) string {
	return fmt.Sprintf("Hello,\n\nthe address of your account at Loggerhead on %s was changed from this one to %s.\n\n"+
		"If that was you, there is nothing to do. If not, somebody else is in your account. Take it back within seven days by opening:\n\n%s\n\n"+
		"That restores this address, ends every session and lets you choose a new password.\n", a.host(), now, url)
}

func (a *Access) passwordText(how string) string {
	return fmt.Sprintf("Hello,\n\nthe password of your account at Loggerhead on %s was changed, %s. Other sessions have ended.\n\n"+
		"If that was you, there is nothing to do. If not, choose a new one at once: “Forgot your password?” at\n\n%s\n", a.host(), how, a.url+"/")
}
