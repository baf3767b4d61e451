package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Membership is a user's grant on a project, and how the project stands.
type Membership struct {
	lh.Member
	Standing Standing
}

const membershipColumns = `m.project_id, m.user_id, m.role, m.locations, p.archived, p.destroy FROM member m JOIN project p ON p.id = m.project_id`

// Memberships returns what a user is in which projects; it is what access builds scopes from.
func (db *DB) Memberships(ctx context.Context, u lh.UserID) ([]Membership, error) {
	return db.memberships(ctx, `SELECT `+membershipColumns+` WHERE m.user_id = $1 ORDER BY m.project_id`, u)
}

// Membership returns a user's grant on one project; NotFound when there is none.
func (db *DB) Membership(ctx context.Context, u lh.UserID, p lh.ProjectID) (Membership, error) {
	ms, err := db.memberships(ctx, `SELECT `+membershipColumns+` WHERE m.user_id = $1 AND m.project_id = $2`, u, p)
	if err != nil {
		return Membership{}, err
	}
	if len(ms) == 0 {
		return Membership{}, noProject()
	}
	return ms[0], nil
}

func (db *DB) memberships(ctx context.Context, query string, args ...any) ([]Membership, error) {
	var ms []Membership
	err := db.each(ctx, db.read, query, args, func(scan func(...any) error) error {
		var m Membership
		var locations string
		err := scan(&m.Project, &m.User, &m.Role, &locations, &m.Standing.Archived, &m.Standing.Destroy)
		m.Locations = splitLocations(locations)
		ms = append(ms, m)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	return ms, nil
}

// splitLocations reads the column locations, which joinLocations wrote.
func splitLocations(s string) (ls []lh.LocationID) {
	for l := range strings.SplitSeq(s, ",") {
		if l != "" {
			ls = append(ls, lh.LocationID(l))
		}
	}
	return ls
}

func joinLocations(ls []lh.LocationID) string {
	s := make([]string, len(ls))
	for i, l := range ls {
		s[i] = string(l)
	}
	return strings.Join(s, ",")
}

// Members returns the members of the scope's project. A limited scope sees those of its locations, and of their limits
// only those locations.
func (db *DB) Members(ctx context.Context, sc Scope) ([]lh.Member, error) {
	if err := sc.need(lh.PermRead); err != nil {
		return nil, err
	}
	ms, err := db.members(ctx, `SELECT project_id, user_id, role, locations FROM member WHERE project_id = $1 ORDER BY created, user_id`, sc.project)
	if err != nil || !sc.Limited() {
		return ms, err
	}
	var seen []lh.Member
	for _, m := range ms {
		whole := len(m.Locations) == 0
		m.Locations = slices.DeleteFunc(m.Locations, func(l lh.LocationID) bool { return !sc.Sees(l) })
		if whole || len(m.Locations) > 0 {
			seen = append(seen, m)
		}
	}
	return seen, nil
}

func (db *DB) members(ctx context.Context, query string, args ...any) ([]lh.Member, error) {
	var ms []lh.Member
	err := db.each(ctx, db.read, query, args, func(scan func(...any) error) error {
		var m lh.Member
		var locations string
		if err := scan(&m.Project, &m.User, &m.Role, &locations); err != nil {
			return err
		}
		m.Locations = splitLocations(locations)
		ms = append(ms, m)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	return ms, nil
}

// SetMember gives a user a role in the scope's project, or changes it. The last owner stays one.
func (db *DB) SetMember(ctx context.Context, sc Scope, m lh.Member) error {
	return db.setMember(ctx, sc, m, false)
}

// ChangeMember changes the role of somebody who is a member. NotFound: they are none. The last owner stays one.
func (db *DB) ChangeMember(ctx context.Context, sc Scope, m lh.Member) error {
	return db.setMember(ctx, sc, m, true)
}

func noMember() error { return lh.Errorf(lh.NotFound, "this user is no member of the project") }

// grant is a role as the audit trail tells it.
type grant struct {
	Role      lh.Role         `json:"role"`
	Locations []lh.LocationID `json:"locations"`
}

func (db *DB) setMember(ctx context.Context, sc Scope, m lh.Member, isMember bool) error {
	if err := sc.need(lh.PermAdminister); err != nil {
		return err
	}
	err := db.update(ctx, func(t *tx) error {
		// The project's row is taken first, so that two changes cannot each remove the other's last owner.
		if _, err := t.lockProject(ctx, sc.project); err != nil {
			return err
		}
		if err := t.grantable(ctx, sc, m.Role, m.Locations); err != nil {
			return err
		}
		was, err := t.member(ctx, sc.project, m.User)
		if isMember && errors.Is(err, sql.ErrNoRows) {
			return noMember()
		}
		detail := map[string]any{"after": grant{m.Role, m.Locations}}
		if err == nil {
			detail["before"] = was
		} else if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err := t.mayTouchOwner(ctx, sc, was.Role, m.Role); err != nil {
			return err
		}
		_, err = t.exec(ctx, `INSERT INTO member (project_id, user_id, role, locations, created) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (project_id, user_id) DO UPDATE SET role = excluded.role, locations = excluded.locations`,
			sc.project, m.User, m.Role, joinLocations(m.Locations), t.now)
		if err != nil {
			return err
		}
		if err := t.dropInvitations(ctx, sc.project, m.User); err != nil {
			return err
		}
		return t.audit(ctx, sc.project, sc.actor, "member.set", string(m.User), detail)
	})
	if err != nil {
		return fmt.Errorf("set member: %w", err)
	}
	return nil
}

// grantable refuses roles and limits that nobody can be given. A location of another project is not found.
func (t *tx) grantable(ctx context.Context, sc Scope, r lh.Role, ls []lh.LocationID) error {
	if !r.Valid() {
		return lh.Errorf(lh.Invalid, "there is no role %q; it is viewer, editor, administrator or owner", r)
	}
	if (r == lh.RoleOwner || r == lh.RoleAdministrator) && len(ls) > 0 {
		// They could lift the limit; and the last owner of the whole could lock everybody out of the rest.
		return lh.Errorf(lh.Invalid, "an %s is one of the whole project; limit another role to locations", r)
	}
	for _, l := range ls {
		if !sc.Sees(l) {
			return noLocation()
		}
		if err := t.locationIsThere(ctx, sc, l); err != nil {
			return err
		}
	}
	return nil
}

// member returns a user's grant as it stands in the transaction, or sql.ErrNoRows.
func (t *tx) member(ctx context.Context, p lh.ProjectID, u lh.UserID) (g grant, err error) {
	var locations string
	err = t.db.row(ctx, t, `SELECT role, locations FROM member WHERE project_id = $1 AND user_id = $2`, p, u).Scan(&g.Role, &locations)
	g.Locations = splitLocations(locations)
	return g, err
}

// RemoveMember takes a user's role in the scope's project away, and the invitations they have sent. The last owner cannot
// be removed.
func (db *DB) RemoveMember(ctx context.Context, sc Scope, u lh.UserID) error {
	if err := sc.need(lh.PermAdminister); err != nil {
		return err
	}
	return db.removeMember(ctx, sc, u, "member.remove")
}

// Leave takes the role in the project from the scope's holder, a user. The last owner cannot leave.
func (db *DB) Leave(ctx context.Context, sc Scope) error {
	if err := sc.need(lh.PermRead); err != nil {
		return err
	}
	if sc.actor.Kind != lh.ActorUser {
		return lh.Errorf(lh.Forbidden, "only a person leaves a project")
	}
	return db.removeMember(ctx, sc, lh.UserID(sc.actor.ID), "member.leave")
}

func (db *DB) removeMember(ctx context.Context, sc Scope, u lh.UserID, action string) error {
	err := db.update(ctx, func(t *tx) error {
		if _, err := t.lockProject(ctx, sc.project); err != nil {
			return err
		}
		was, err := t.member(ctx, sc.project, u)
		if errors.Is(err, sql.ErrNoRows) {
			return noMember()
		}
		if err != nil {
			return err
		}
		if err := t.mayTouchOwner(ctx, sc, was.Role, ""); err != nil {
			return err
		}
		if err := t.dropMember(ctx, sc.project, u); err != nil {
			return err
		}
		return t.audit(ctx, sc.project, sc.actor, action, string(u), map[string]any{"before": was})
	})
	if err != nil {
		return fmt.Errorf("remove member: %w", err)
	}
	return nil
}

func (t *tx) dropMember(ctx context.Context, p lh.ProjectID, u lh.UserID) error {
	if _, err := t.exec(ctx, `DELETE FROM member WHERE project_id = $1 AND user_id = $2`, p, u); err != nil {
		return err
	}
	return t.dropInvitations(ctx, p, u)
}

// TransferProject makes a member the owner in place of the scope's holder, who stays as an administrator.
func (db *DB) TransferProject(ctx context.Context, sc Scope, to lh.UserID) error {
	if err := sc.need(lh.PermDestroy); err != nil {
		return err
	}
	from := lh.UserID(sc.actor.ID)
	if sc.actor.Kind != lh.ActorUser || from == to {
		return lh.Errorf(lh.Invalid, "a project is handed over from one person to another")
	}
	err := db.update(ctx, func(t *tx) error {
		if _, err := t.lockProject(ctx, sc.project); err != nil {
			return err
		}
		mine, err := t.member(ctx, sc.project, from)
		if err != nil || mine.Role != lh.RoleOwner { // somebody was quicker
			return errors.Join(err, noProject())
		}
		was, err := t.member(ctx, sc.project, to)
		if errors.Is(err, sql.ErrNoRows) {
			return noMember()
		}
		if err != nil {
			return err
		}
		for u, r := range map[lh.UserID]lh.Role{to: lh.RoleOwner, from: lh.RoleAdministrator} {
			if _, err := t.exec(ctx, `UPDATE member SET role = $3, locations = '' WHERE project_id = $1 AND user_id = $2`, sc.project, u, r); err != nil {
				return err
			}
		}
		if err := t.dropInvitations(ctx, sc.project, from); err != nil {
			return err
		}
		return t.audit(ctx, sc.project, sc.actor, "project.transfer", string(to), map[string]any{"from": from, "before": was})
	})
	if err != nil {
		return fmt.Errorf("transfer project: %w", err)
	}
	return nil
}

// mayTouchOwner refuses to take the last owner's role away, and refuses anybody but an owner to make or unmake one.
func (t *tx) mayTouchOwner(ctx context.Context, sc Scope, was, becomes lh.Role) error {
	if was != lh.RoleOwner && becomes != lh.RoleOwner {
		return nil
	}
	if sc.role != lh.RoleOwner {
		return lh.Errorf(lh.Forbidden, "only an owner makes or unmakes an owner")
	}
	if becomes == lh.RoleOwner {
		return nil
	}
	var owners int
	if err := t.db.row(ctx, t, `SELECT count(*) FROM member WHERE project_id = $1 AND role = $2`, sc.project, lh.RoleOwner).Scan(&owners); err != nil {
		return err
	}
	if owners <= 1 {
		return lh.Errorf(lh.Conflict, "this is the project's last owner; make somebody else an owner first")
	}
	return nil
}
