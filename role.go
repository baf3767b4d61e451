package loggerhead

// Role is what somebody is in a project. Greater roles may do all that lesser ones may.
type Role string

const (
	RoleViewer        Role = "viewer"
	RoleEditor        Role = "editor"
	RoleAdministrator Role = "administrator"
	RoleOwner         Role = "owner"
	// RoleDevice is a datalogger's own role in its project: it appends samples and reads its configuration.
	RoleDevice Role = "device"
	// RoleHub is the hub's own background work (fold, health checks). Nobody can be given it.
	RoleHub Role = "hub"
)

// Valid reports whether r may be granted to a person or a service account.
func (r Role) Valid() bool {
	switch r {
	case RoleViewer, RoleEditor, RoleAdministrator, RoleOwner:
		return true
	}
	return false
}

// Within reports whether whoever has the role o may do all that r may.
func (r Role) Within(o Role) bool {
	for p := range granted[r] {
		if !o.Allows(p) {
			return false
		}
	}
	return len(granted[r]) > 0
}

// Permission is one thing that may be done in a project.
type Permission string

const (
	// PermRead reads data, devices, elements and locations.
	PermRead Permission = "read"
	// PermConfigure changes devices, elements and locations, and claims devices.
	PermConfigure Permission = "configure"
	// PermAdminister changes members and the project's settings.
	PermAdminister Permission = "administer"
	// PermDestroy deletes the project.
	PermDestroy Permission = "destroy"
	// PermAppend adds samples.
	PermAppend Permission = "append"
	// PermMaintain folds, verifies and measures; the hub's own.
	PermMaintain Permission = "maintain"
)

// Permissions lists every permission, for tests of the matrix.
var Permissions = []Permission{PermRead, PermConfigure, PermAdminister, PermDestroy, PermAppend, PermMaintain}

// granted is the whole of who may do what. It is never changed.
var granted = map[Role]map[Permission]bool{
	RoleViewer:        {PermRead: true},
	RoleEditor:        {PermRead: true, PermConfigure: true},
	RoleAdministrator: {PermRead: true, PermConfigure: true, PermAdminister: true},
	RoleOwner:         {PermRead: true, PermConfigure: true, PermAdminister: true, PermDestroy: true},
	RoleDevice:        {PermAppend: true},
	RoleHub:           {PermRead: true, PermMaintain: true},
}

// Allows reports whether the role has the permission. An unknown role has none.
func (r Role) Allows(p Permission) bool { return granted[r][p] }
