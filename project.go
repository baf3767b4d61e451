package loggerhead

// Project is a sandbox: the container of locations, devices, elements and their series, and the boundary of access.
type Project struct {
	ID      ProjectID
	Name    string
	Zone    string // IANA time zone in which days are cut where a location has none, e.g. "Europe/Copenhagen"
	Created Millis
	// Retention is after how many days samples are deleted for good; 0 keeps them for ever.
	Retention int
}

// MaxRetention bounds [Project].Retention: a thousand years.
const MaxRetention = 366_000

// Location is a site of a project.
type Location struct {
	ID        LocationID
	Project   ProjectID
	Name      string
	Zone      string // IANA time zone; "" is the project's
	Latitude  float64
	Longitude float64 // degrees, WGS 84; both 0 when not placed
	Created   Millis
}

// Member is a user's grant on a project.
type Member struct {
	Project ProjectID
	User    UserID
	Role    Role
	// Locations limits the grant to these; empty means the whole project.
	Locations []LocationID
}
