package access

import (
	"context"
	"fmt"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
)

// sure makes sure that it is the account's owner who asks, and not somebody at a session they left open: by the password,
// or by a confirmation ([Access.Confirm]) of the last minutes, which an account with a second factor, or without a
// password, needs.
func (a *Access) sure(ctx context.Context, p Principal, password string) error {
	if a.Confirmed(p) != 0 {
		return nil
	}
	f, err := a.db.Factors(ctx, p.User.ID)
	if err != nil {
		return err
	}
	if f.Second() || !f.Password {
		return a.confirmed(p)
	}
	if err := a.paced(ctx, "confirm", string(p.User.ID)); err != nil {
		return err
	}
	return a.checkPasswordOf(ctx, p.User, password)
}

// SetName changes what a person is called.
func (a *Access) SetName(ctx context.Context, p Principal, name string) error {
	if err := checkPersonName(name); err != nil {
		return err
	}
	return a.db.SetName(ctx, p.Actor(), p.User.ID, name)
}

// ChangePassword replaces a person's password. Their other sessions end; this one goes on under a new token, which is
// returned. Forbidden: the current password is wrong.
func (a *Access) ChangePassword(ctx context.Context, p Principal, current, password string) (token string, err error) {
	if err := a.sure(ctx, p, current); err != nil {
		return "", err
	}
	if err := a.newPassword(password, p.User.Email, p.User.Name); err != nil {
		return "", err
	}
	phc, err := a.hashers.hash(ctx, password)
	if err != nil {
		return "", err
	}
	token = tokenPrefix + secretOf(32)
	err = a.db.ChangePassword(ctx, p.Actor(), p.Session, tokenHash(token), phc, a.mails(p.User.Email, "Loggerhead: your password was changed", a.passwordText("by somebody who knew it"))...)
	if err != nil {
		return "", err
	}
	a.mailed()
	return token, nil
}

// mails is one mail, or none where it could not be sent.
func (a *Access) mails(to, subject, text string) []notify.Mail {
	if !notify.Address(to) {
		return nil
	}
	return []notify.Mail{{To: to, Subject: subject, Text: text}}
}

// AskEmail sends a link to the address a person wants instead of theirs; opening it makes the change. It answers the same
// whether another account has the address: its owner is told.
func (a *Access) AskEmail(ctx context.Context, p Principal, email, password string) error {
	if err := a.sure(ctx, p, password); err != nil {
		return err
	}
	if !notify.Address(email) {
		return lh.Errorf(lh.Invalid, "%q is no e-mail address", email)
	}
	if !a.tries.allow(a.now(), "mail of "+string(p.User.ID), 5, 10*time.Minute) {
		return lh.Errorf(lh.Exhausted, "too many mails were asked for; wait some minutes")
	}
	_, err := a.MailLink(ctx, p.Actor(), "account.ask_email", lh.Link{Purpose: lh.LinkEmail, User: p.User.ID, Email: email}, "Loggerhead: confirm your address",
		func(url string) string {
			return fmt.Sprintf("Hello,\n\nan account at Loggerhead on %s shall have this address from now on. To confirm that it is yours, open within a day:\n\n%s\n\n"+
				"If another account has the address already, it keeps it, and the link does nothing. If it was not you, do nothing.\n", a.host(), url)
		})
	return err
}

// AskVerification sends a link to a person's own address that proves it to be theirs. Conflict: it is proven.
func (a *Access) AskVerification(ctx context.Context, p Principal) error {
	if p.User.Verified != 0 {
		return lh.Errorf(lh.Conflict, "the address of this account is verified already")
	}
	if !a.tries.allow(a.now(), "mail of "+string(p.User.ID), 5, 10*time.Minute) {
		return lh.Errorf(lh.Exhausted, "too many mails were asked for; wait some minutes")
	}
	_, err := a.MailLink(ctx, p.Actor(), "account.ask_verify", lh.Link{Purpose: lh.LinkVerify, User: p.User.ID, Email: p.User.Email}, "Loggerhead: confirm your address",
		func(url string) string {
			return fmt.Sprintf("Hello,\n\nto confirm that the address of your account at Loggerhead on %s is yours, open within a day:\n\n%s\n", a.host(), url)
		})
	return err
}

// Sessions returns a person's sessions, the newest first.
func (a *Access) Sessions(ctx context.Context, p Principal) ([]lh.Session, error) {
	all, err := a.db.Sessions(ctx, p.User.ID)
	var ss []lh.Session
	for _, s := range all {
		if !a.idle(s) {
			ss = append(ss, s)
		}
	}
	return ss, err
}

// EndSession ends one of a person's sessions. NotFound: they have none such.
func (a *Access) EndSession(ctx context.Context, p Principal, id lh.SessionID) error {
	return a.db.EndSessionOf(ctx, p.Actor(), p.User.ID, id)
}

// EndOtherSessions ends all of a person's sessions but the one they ask with, and returns how many there were.
func (a *Access) EndOtherSessions(ctx context.Context, p Principal) (int64, error) {
	return a.db.EndOtherSessions(ctx, p.Actor(), p.User.ID, p.Session.ID)
}

// DeleteAccount deletes a person's account. What they did stays in the audit trails, by the account's id alone. Conflict:
// they are the last owner of a project, which is named.
func (a *Access) DeleteAccount(ctx context.Context, p Principal, password string) error {
	if err := a.sure(ctx, p, password); err != nil {
		return err
	}
	err := a.db.DeleteUser(ctx, p.Actor(), p.User.ID, a.mails(p.User.Email, "Loggerhead: your account was deleted",
		fmt.Sprintf("Hello,\n\nyour account at Loggerhead on %s was deleted, as you asked. Nothing of it is left but its id in the records of what was done.\n", a.host()))...)
	if err == nil {
		a.mailed()
	}
	return err
}

// operator refuses everybody but an operator of the installation.
func operator(p Principal) error {
	if p.Kind != lh.ActorUser || !p.User.Operator {
		return lh.Errorf(lh.Forbidden, "only an operator of the installation may do this")
	}
	return nil
}

// Users returns everybody who has an account, for an operator.
func (a *Access) Users(ctx context.Context, p Principal) ([]lh.User, error) {
	if err := operator(p); err != nil {
		return nil, err
	}
	return a.db.Users(ctx)
}

// InviteUser asks whoever an address belongs to into the installation and returns the link, which was mailed, too. by is
// [store.Console] or an operator ([Access.InviteByOperator]). Conflict: the address has an account.
func (a *Access) InviteUser(ctx context.Context, by lh.Actor, email string) (url string, err error) {
	if _, _, err := a.db.UserByEmail(ctx, email); err == nil {
		return "", lh.Errorf(lh.Conflict, "there is an account with the address %s already", email)
	} else if lh.CodeOf(err) != lh.NotFound {
		return "", err
	}
	return a.MailLink(ctx, by, "account.invite", lh.Link{Purpose: lh.LinkInvite, Email: email}, "Loggerhead: you are invited",
		func(url string) string {
			return fmt.Sprintf("Hello,\n\nyou are invited to Loggerhead on %s, where dataloggers send what they measure. To make your account, open within two weeks:\n\n%s\n", a.host(), url)
		})
}

// InviteByOperator is [Access.InviteUser] for an operator who is logged in.
func (a *Access) InviteByOperator(ctx context.Context, p Principal, email string) error {
	if err := operator(p); err != nil {
		return err
	}
	_, err := a.InviteUser(ctx, p.Actor(), email)
	return err
}

// ResetByConsole makes a link to a new password for somebody, to be handed over, and mails it, too. It is for whoever
// runs the hub's commands.
func (a *Access) ResetByConsole(ctx context.Context, by lh.Actor, email string) (url string, err error) {
	u, _, err := a.db.UserByEmail(ctx, email)
	if err != nil {
		return "", err
	}
	n, url := a.resetLink(u.ID, u.Email)
	if !notify.Address(u.Email) {
		n.Mail = notify.Mail{}
	}
	if err := a.db.PutLink(ctx, n, "", by, "account.reset_link"); err != nil {
		return "", err
	}
	a.mailed()
	return url, nil
}

// DisableUser bars an account, whose sessions end at once, or lets it in again, for an operator. Conflict: it is theirs.
func (a *Access) DisableUser(ctx context.Context, p Principal, id lh.UserID, disabled bool) error {
	if err := operator(p); err != nil {
		return err
	}
	if id == p.User.ID && disabled {
		return lh.Errorf(lh.Conflict, "this is your own account; another operator must bar it")
	}
	return a.db.SetDisabled(ctx, p.Actor(), id, disabled)
}

// SignUpOpen reports whether people make accounts by themselves.
func (a *Access) SignUpOpen() bool { return a.signUpOpen }
