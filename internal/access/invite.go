package access

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/notify"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Invite asks whoever an address belongs to into the scope's project, by a mail whose link makes them an account or lets
// them accept with the one they have; see [store.DB.Invite].
func (a *Access) Invite(ctx context.Context, sc store.Scope, i lh.Invitation) (lh.Invitation, error) {
	if !notify.Address(i.Email) {
		return i, lh.Errorf(lh.Invalid, "%q is no e-mail address", i.Email)
	}
	i, err := a.db.Invite(ctx, sc, i, a.invitationLink)
	if err == nil {
		a.mailed()
	}
	return i, err
}

// ResendInvitation makes an invitation good for its whole life again and mails a new link; see [store.DB.ResendInvitation].
func (a *Access) ResendInvitation(ctx context.Context, sc store.Scope, id lh.InvitationID) (lh.Invitation, error) {
	i, err := a.db.ResendInvitation(ctx, sc, id, a.invitationLink)
	if err == nil {
		a.mailed()
	}
	return i, err
}

// invitationLink makes the link of an invitation and its mail, the same for everybody. What the project is called is told
// behind the link: a mail that said it would carry whatever words somebody gave a project to whomever they like.
func (a *Access) invitationLink(i lh.Invitation) store.NewLink {
	l := lh.Link{Purpose: lh.LinkInvite, Email: i.Email, Expires: i.Expires, Project: i.Project, Invitation: i.ID}
	n, _ := a.newLink(l, "Loggerhead: you are invited to a project", func(url string) string {
		return fmt.Sprintf("Hello,\n\nyou are invited to a project at Loggerhead on %s, where dataloggers send what they measure. To see it, open within two weeks:\n\n%s\n\n"+
			"There you make an account of this address. If you have one, log in with it: the invitation is on your first page.\n"+
			"If you do not know what this is about, do nothing: you are in no project until you accept.\n", a.host(), url)
	})
	return n
}

// ScheduleDestruction has the scope's project destroyed at a time and tells its owners by mail; see
// [store.DB.ScheduleDestruction].
func (a *Access) ScheduleDestruction(ctx context.Context, sc store.Scope, at lh.Millis) (lh.Project, error) {
	p, err := a.db.ScheduleDestruction(ctx, sc, at, func(to lh.User, p lh.Project) notify.Mail {
		return notify.Mail{To: to.Email, Subject: "Loggerhead: a project of yours is going to be destroyed", Text: fmt.Sprintf(
			"Hello,\n\nan owner has asked for the project “%s” at Loggerhead on %s to be destroyed. That happens at\n\n%s\n\n"+
				"and cannot be undone then. Until then it can be read and exported, and every owner can call it off, you too:\n\n%s\n",
			oneLine(p.Name), a.host(), p.Destroy.Time().UTC().Format("Monday, 2 January 2006, 15:04 MST"), a.PageURL("/p/"+string(p.ID)+"/settings"))}
	})
	if err == nil {
		a.mailed()
	}
	return p, err
}

// CancelDestruction calls the destruction of the scope's project off and tells its owners; see
// [store.DB.CancelDestruction].
func (a *Access) CancelDestruction(ctx context.Context, sc store.Scope) (lh.Project, error) {
	p, err := a.db.CancelDestruction(ctx, sc, func(to lh.User, p lh.Project) notify.Mail {
		return notify.Mail{To: to.Email, Subject: "Loggerhead: a project of yours is kept", Text: fmt.Sprintf(
			"Hello,\n\nthe project “%s” at Loggerhead on %s is not going to be destroyed: an owner has called it off.\n", oneLine(p.Name), a.host())}
	})
	if err == nil {
		a.mailed()
	}
	return p, err
}

// oneLine makes what somebody named a thing fit into a line of a mail.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}
