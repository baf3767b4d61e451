package store

import (
	"maps"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Scope is the right to a project's data: which project, as what, and in which of its locations. Every method on
// project data takes one. The zero Scope sees nothing and changes nothing. Only package access builds one
// (arch_test.go holds it to that), after it has checked who is asking.
type Scope struct {
	project   lh.ProjectID
	role      lh.Role
	actor     lh.Actor
	locations map[lh.LocationID]bool // nil is the whole project
	standing  Standing
}

// Standing is how a project stands: in use, archived, or about to be destroyed.
type Standing struct {
	Archived lh.Millis // since when; 0 is not
	Destroy  lh.Millis // when; 0 is never
}

// Frozen returns nil where a project may be changed, and a Conflict that says why not where it may not.
func (s Standing) Frozen() error {
	switch {
	case s.Destroy != 0:
		return lh.Errorf(lh.Conflict, "the project is going to be destroyed at %s; an owner can call that off, until then nothing in it changes", s.Destroy.Time().UTC().Format("2006-01-02 15:04 MST"))
	case s.Archived != 0:
		return lh.Errorf(lh.Conflict, "the project is archived; an administrator can take it out of the archive, until then nothing in it changes")
	}
	return nil
}

// Standing returns how the project stood when the scope was made.
func (s Scope) Standing() Standing { return s.standing }

// In returns the scope for a project that stands so.
func (s Scope) In(st Standing) Scope {
	s.standing = st
	return s
}

// NewScope builds a scope. A project or role that is empty gives the zero Scope. locations limits it; none is the
// whole project.
func NewScope(project lh.ProjectID, role lh.Role, actor lh.Actor, locations ...lh.LocationID) Scope {
	if project == "" || role == "" {
		return Scope{}
	}
	s := Scope{project: project, role: role, actor: actor}
	if len(locations) > 0 {
		s.locations = make(map[lh.LocationID]bool, len(locations))
		for _, l := range locations {
			s.locations[l] = true
		}
	}
	return s
}

// Project returns the project the scope is for; "" for the zero Scope.
func (s Scope) Project() lh.ProjectID { return s.project }

// Role returns what the scope's holder is in the project.
func (s Scope) Role() lh.Role { return s.role }

// Actor returns who holds the scope, for the audit trail.
func (s Scope) Actor() lh.Actor { return s.actor }

// Allows reports whether the scope has the permission. The zero Scope has none. What concerns the whole project
// (members, settings, the audit trail) a scope limited to some locations may not do, whatever its role: it could lift
// its own limit.
func (s Scope) Allows(p lh.Permission) bool {
	if s.Limited() && (p == lh.PermAdminister || p == lh.PermDestroy) {
		return false
	}
	return s.project != "" && s.role.Allows(p)
}

// Sees reports whether the scope reaches what stands at a location ("" is at none, which only an unlimited scope sees).
func (s Scope) Sees(l lh.LocationID) bool {
	return s.project != "" && (s.locations == nil || s.locations[l])
}

// Same reports whether two scopes reach the same things in the same way, however the project stands.
func (s Scope) Same(o Scope) bool {
	return s.project == o.project && s.role == o.role && s.Limited() == o.Limited() && maps.Equal(s.locations, o.locations)
}

// Limited reports whether the scope is limited to some locations.
func (s Scope) Limited() bool { return s.locations != nil }

// need is the check that every method begins with. Without the permission to read, the project itself is "not found";
// with it, what may not be done is "forbidden".
func (s Scope) need(p lh.Permission) error {
	switch {
	case s.Allows(p):
		return nil
	case s.Limited() && s.role.Allows(p):
		return lh.Errorf(lh.Forbidden, "your access is limited to some locations; somebody with the whole project must do this")
	case s.Allows(lh.PermRead):
		return lh.Errorf(lh.Forbidden, "your role in this project (%s) may not do this; it needs the permission %q", s.role, p)
	default:
		return lh.Errorf(lh.NotFound, "there is no such project, or it is not yours to see")
	}
}
