package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

const (
	// InvitationLife is how long an invitation can be accepted, from when its mail last went out.
	InvitationLife = 14 * 24 * time.Hour
	// maxInvitations bounds how many a project may have open.
	maxInvitations = 500
	// keepInvitations is how long one that has expired is still shown.
	keepInvitations = 30 * 24 * time.Hour
	// resendAfter is how long ago its mail must have gone out before another does.
	resendAfter = time.Minute
)

func noInvitation() error {
	return lh.Errorf(lh.NotFound, "there is no such invitation, or it is no longer good; ask for a new one")
}

type invitationBody struct {
	Email string `json:"email"`
}

const invitationColumns = `id, role, locations, inviter, created, sent, expires, body`

func scanInvitation(k *seal.Key, p lh.ProjectID, scan func(...any) error) (lh.Invitation, error) {
	i := lh.Invitation{Project: p}
	var locations string
	var sealed []byte
	if err := scan(&i.ID, &i.Role, &locations, &i.Inviter, &i.Created, &i.Sent, &i.Expires, &sealed); err != nil {
		return i, err
	}
	i.Locations = splitLocations(locations)
	var b invitationBody
	err := openJSON(k, sealed, place("invitation", p, i.ID), &b)
	i.Email = b.Email
	return i, err
}

func (db *DB) emailIndex(email string) ([]byte, error) {
	return db.master.BlindIndex("users.email", strings.ToLower(email))
}

// Invite asks whoever an address belongs to into the scope's project and gives the invitation its id and times. link makes
// the link that is mailed to them. Nothing it does or says depends on whether the address has an account. Conflict: it is
// a member's, or invited already.
func (db *DB) Invite(ctx context.Context, sc Scope, i lh.Invitation, link func(lh.Invitation) NewLink) (lh.Invitation, error) {
	if err := sc.need(lh.PermAdminister); err != nil {
		return i, err
	}
	if sc.actor.Kind != lh.ActorUser {
		return i, lh.Errorf(lh.Forbidden, "only a person invites somebody")
	}
	if !lh.ValidEmail(i.Email) {
		return i, lh.Errorf(lh.Invalid, "%q is no e-mail address", i.Email)
	}
	index, err := db.emailIndex(i.Email)
	if err != nil {
		return i, err
	}
	i.ID, i.Project, i.Inviter = lh.NewInvitationID(), sc.project, lh.UserID(sc.actor.ID)
	err = db.update(ctx, func(t *tx) error {
		if _, err := t.lockProject(ctx, sc.project); err != nil {
			return err
		}
		if err := t.grantable(ctx, sc, i.Role, i.Locations); err != nil {
			return err
		}
		if i.Role == lh.RoleOwner && sc.role != lh.RoleOwner {
			return lh.Errorf(lh.Forbidden, "only an owner makes or unmakes an owner")
		}
		var members, open int
		err := t.db.row(ctx, t, `SELECT count(*) FROM member m JOIN users u ON u.id = m.user_id WHERE m.project_id = $1 AND u.email_index = $2`,
			sc.project, index).Scan(&members)
		if err != nil {
			return err
		}
		if members > 0 {
			return lh.Errorf(lh.Conflict, "%s is a member of the project; change their role instead", i.Email)
		}
		if _, err := t.exec(ctx, `DELETE FROM invitation WHERE project_id = $1 AND email_index = $2 AND expires <= $3`, sc.project, index, t.now); err != nil {
			return err
		}
		if err := t.db.row(ctx, t, `SELECT count(*) FROM invitation WHERE project_id = $1`, sc.project).Scan(&open); err != nil {
			return err
		}
		if open >= maxInvitations {
			return lh.Errorf(lh.Exhausted, "the project has %d invitations; take back some that nobody accepts", open)
		}
		i.Created, i.Sent, i.Expires = t.now, t.now, t.now+lh.Millis(InvitationLife.Milliseconds())
		k, err := db.key(ctx, t, string(sc.project))
		if err != nil {
			return err
		}
		body, err := sealJSON(k, invitationBody{i.Email}, place("invitation", sc.project, i.ID))
		if err != nil {
			return err
		}
		n, err := t.exec(ctx, `INSERT INTO invitation (project_id, id, email_index, role, locations, inviter, created, sent, expires, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, $9) ON CONFLICT (project_id, email_index) DO NOTHING`,
			sc.project, i.ID, index, i.Role, joinLocations(i.Locations), i.Inviter, t.now, i.Expires, body)
		if err != nil {
			return err
		}
		if n == 0 {
			return lh.Errorf(lh.Conflict, "%s is invited already; send that invitation again, or take it back first", i.Email)
		}
		if err := t.putLink(ctx, link(i)); err != nil {
			return err
		}
		return t.audit(ctx, sc.project, sc.actor, "invitation.create", string(i.ID),
			map[string]any{"email": i.Email, "role": i.Role, "locations": i.Locations, "expires": i.Expires})
	})
	if err != nil {
		return i, fmt.Errorf("invite: %w", err)
	}
	return i, nil
}

// Invitations returns the project's invitations, newest first; some may have expired.
func (db *DB) Invitations(ctx context.Context, sc Scope) ([]lh.Invitation, error) {
	if err := sc.need(lh.PermAdminister); err != nil {
		return nil, err
	}
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return nil, err
	}
	var is []lh.Invitation
	err = db.each(ctx, db.read, `SELECT `+invitationColumns+` FROM invitation WHERE project_id = $1 ORDER BY created DESC, id`, []any{sc.project},
		func(scan func(...any) error) error {
			i, err := scanInvitation(k, sc.project, scan)
			is = append(is, i)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read invitations: %w", err)
	}
	return is, nil
}

// ResendInvitation makes an invitation good for its whole life again and sends a new link, which voids the one before.
// Exhausted: that went out just now.
func (db *DB) ResendInvitation(ctx context.Context, sc Scope, id lh.InvitationID, link func(lh.Invitation) NewLink) (lh.Invitation, error) {
	var i lh.Invitation
	if err := sc.need(lh.PermAdminister); err != nil {
		return i, err
	}
	err := db.update(ctx, func(t *tx) error {
		if _, err := t.lockProject(ctx, sc.project); err != nil {
			return err
		}
		var err error
		if i, err = t.invitation(ctx, sc.project, id); err != nil {
			return err
		}
		if i.Role == lh.RoleOwner && sc.role != lh.RoleOwner {
			return lh.Errorf(lh.Forbidden, "only an owner makes or unmakes an owner")
		}
		if t.now < i.Sent+lh.Millis(resendAfter.Milliseconds()) {
			return lh.Errorf(lh.Exhausted, "the mail went out less than a minute ago; wait a little")
		}
		i.Sent, i.Expires = t.now, t.now+lh.Millis(InvitationLife.Milliseconds())
		if sc.actor.Kind == lh.ActorUser {
			i.Inviter = lh.UserID(sc.actor.ID) // who answers for it now
		}
		if _, err := t.exec(ctx, `UPDATE invitation SET sent = $3, expires = $4, inviter = $5 WHERE project_id = $1 AND id = $2`,
			sc.project, id, i.Sent, i.Expires, i.Inviter); err != nil {
			return err
		}
		if err := t.putLink(ctx, link(i)); err != nil {
			return err
		}
		return t.audit(ctx, sc.project, sc.actor, "invitation.resend", string(id), map[string]any{"expires": i.Expires})
	})
	if err != nil {
		return i, fmt.Errorf("send invitation again: %w", err)
	}
	return i, nil
}

func (t *tx) invitation(ctx context.Context, p lh.ProjectID, id lh.InvitationID) (lh.Invitation, error) {
	k, err := t.db.key(ctx, t, string(p))
	if err != nil {
		return lh.Invitation{}, err
	}
	i, err := scanInvitation(k, p, t.db.row(ctx, t, `SELECT `+invitationColumns+` FROM invitation WHERE project_id = $1 AND id = $2`, p, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		err = noInvitation()
	}
	return i, err
}

// RevokeInvitation takes an invitation back.
func (db *DB) RevokeInvitation(ctx context.Context, sc Scope, id lh.InvitationID) error {
	if err := sc.need(lh.PermAdminister); err != nil {
		return err
	}
	err := db.update(ctx, func(t *tx) error {
		if _, err := t.lockProject(ctx, sc.project); err != nil {
			return err
		}
		i, err := t.invitation(ctx, sc.project, id)
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM invitation WHERE project_id = $1 AND id = $2`, sc.project, id); err != nil {
			return err
		}
		if err := t.voidInvitation(ctx, i); err != nil {
			return err
		}
		return t.audit(ctx, sc.project, sc.actor, "invitation.revoke", string(id), map[string]any{"email": i.Email})
	})
	if err != nil {
		return fmt.Errorf("take invitation back: %w", err)
	}
	return nil
}

// voidInvitation makes the link of an invitation that is gone open nothing.
func (t *tx) voidInvitation(ctx context.Context, i lh.Invitation) error {
	subject, err := t.db.linkSubject(lh.Link{Email: i.Email, Project: i.Project})
	if err == nil {
		_, err = t.exec(ctx, `DELETE FROM link WHERE subject = $1 AND purpose = $2`, subject, lh.LinkInvite)
	}
	return err
}

// dropInvitations takes back what a user invited to a project and could not grant any more.
func (t *tx) dropInvitations(ctx context.Context, p lh.ProjectID, inviter lh.UserID) error {
	now, err := t.member(ctx, p, inviter)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if now.Role == lh.RoleOwner {
		return nil
	}
	k, err := t.db.key(ctx, t, string(p))
	if err != nil {
		return err
	}
	var void []lh.Invitation
	err = t.db.each(ctx, t, `SELECT `+invitationColumns+` FROM invitation WHERE project_id = $1 AND inviter = $2`, []any{p, inviter},
		func(scan func(...any) error) error {
			i, err := scanInvitation(k, p, scan)
			if now.Role != lh.RoleAdministrator || i.Role == lh.RoleOwner {
				void = append(void, i)
			}
			return err
		})
	if err != nil {
		return err
	}
	for _, i := range void {
		if _, err := t.exec(ctx, `DELETE FROM invitation WHERE project_id = $1 AND id = $2`, p, i.ID); err != nil {
			return err
		}
		if err := t.voidInvitation(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// Offer is an invitation as whoever is invited sees it.
type Offer struct {
	lh.Invitation
	ProjectName string
}

// Offers returns the invitations of a user's own address that are still good. It takes no scope: it is how a person gets
// one.
func (db *DB) Offers(ctx context.Context, u lh.User) ([]Offer, error) {
	index, err := db.emailIndex(u.Email)
	if err != nil {
		return nil, err
	}
	var found []Offer
	err = db.each(ctx, db.read, `SELECT i.project_id, i.id FROM invitation i JOIN project p ON p.id = i.project_id
		WHERE i.email_index = $1 AND i.expires > $2 AND p.destroy = 0 AND p.archived = 0 ORDER BY i.created, i.id LIMIT 1000`, []any{index, lh.MillisOf(db.now())},
		func(scan func(...any) error) error {
			var o Offer
			err := scan(&o.Project, &o.ID)
			found = append(found, o)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read invitations: %w", err)
	}
	var os []Offer
	for _, o := range found {
		p, err := db.project(ctx, db.read, o.Project)
		if err == nil {
			var k *seal.Key
			if k, err = db.key(ctx, db.read, string(o.Project)); err == nil {
				o.Invitation, err = scanInvitation(k, o.Project,
					db.row(ctx, db.read, `SELECT `+invitationColumns+` FROM invitation WHERE project_id = $1 AND id = $2`, o.Project, o.ID).Scan)
			}
		}
		if lh.CodeOf(err) == lh.NotFound || errors.Is(err, sql.ErrNoRows) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("read invitations: %w", err)
		}
		o.ProjectName = p.Name
		os = append(os, o)
	}
	return os, nil
}

// AnswerInvitation makes a user a member by an invitation of their own address, or turns it down; either uses it up.
// NotFound: there is none of that address, it has expired, or whoever sent it could not grant it any more.
func (db *DB) AnswerInvitation(ctx context.Context, actor lh.Actor, u lh.User, id lh.InvitationID, accept bool) (lh.ProjectID, error) {
	index, err := db.emailIndex(u.Email)
	if err != nil {
		return "", err
	}
	var p lh.ProjectID
	err = db.update(ctx, func(t *tx) error {
		err := t.db.row(ctx, t, `SELECT project_id FROM invitation WHERE id = $1 AND email_index = $2`, id, index).Scan(&p)
		if errors.Is(err, sql.ErrNoRows) {
			return noInvitation()
		}
		if err != nil {
			return err
		}
		if accept {
			return t.acceptInvitation(ctx, actor, p, id, u)
		}
		if _, err := t.takeInvitation(ctx, p, id, u); err != nil {
			return err
		}
		return t.audit(ctx, p, actor, "invitation.decline", string(id), nil)
	})
	if err != nil {
		return "", fmt.Errorf("answer invitation: %w", err)
	}
	return p, nil
}

// takeInvitation uses up an invitation of a user's own address: of those who try at once, one gets it.
func (t *tx) takeInvitation(ctx context.Context, p lh.ProjectID, id lh.InvitationID, u lh.User) (lh.Invitation, error) {
	index, err := t.db.emailIndex(u.Email)
	if err != nil {
		return lh.Invitation{}, err
	}
	if _, err := t.lockProject(ctx, p); lh.CodeOf(err) == lh.NotFound {
		return lh.Invitation{}, noInvitation()
	} else if err != nil {
		return lh.Invitation{}, err
	}
	i, err := t.invitation(ctx, p, id)
	if err != nil {
		return i, err
	}
	n, err := t.exec(ctx, `DELETE FROM invitation WHERE project_id = $1 AND id = $2 AND email_index = $3 AND expires > $4`, p, id, index, t.now)
	if err != nil {
		return i, err
	}
	if n == 0 {
		return i, noInvitation()
	}
	return i, t.voidInvitation(ctx, i)
}

// acceptInvitation makes a user a member by an invitation of their own address, in the caller's transaction.
func (t *tx) acceptInvitation(ctx context.Context, actor lh.Actor, p lh.ProjectID, id lh.InvitationID, u lh.User) error {
	i, err := t.takeInvitation(ctx, p, id, u)
	if err != nil {
		return err
	}
	inviter, err := t.member(ctx, p, i.Inviter)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if !inviter.Role.Allows(lh.PermAdminister) || i.Role == lh.RoleOwner && inviter.Role != lh.RoleOwner {
		return noInvitation()
	}
	n, err := t.exec(ctx, `INSERT INTO member (project_id, user_id, role, locations, created) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (project_id, user_id) DO NOTHING`, p, u.ID, i.Role, joinLocations(i.Locations), t.now)
	if err != nil {
		return err
	}
	if n == 0 {
		return lh.Errorf(lh.Conflict, "you are a member of this project already")
	}
	return t.audit(ctx, p, actor, "invitation.accept", string(id), map[string]any{"user_id": u.ID, "inviter": i.Inviter, "after": grant{i.Role, i.Locations}})
}
