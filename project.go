package loggerhead

import (
	"slices"
	"strings"
)

// Project is a sandbox: the container of locations, devices, elements and their series, and the boundary of access.
type Project struct {
	ID      ProjectID
	Name    string
	Zone    string // IANA time zone in which days are cut where a location has none, e.g. "Europe/Copenhagen"
	Created Millis
	// Retention is after how many days samples are deleted for good; 0 keeps them for ever.
	Retention   int
	Description string
	// Language is the BCP 47 tag of the language in which the project's mails and reports are written.
	Language string
	Units    Units
	// Archived is since when nothing but uploads of devices may change the project; 0 is not.
	Archived Millis
	// Destroy is when the project is destroyed; 0 is never. Until then nothing but uploads may change it.
	Destroy Millis
}

// Bounds of what describes a project, in bytes.
const (
	MaxName        = 200
	MaxDescription = 4000
)

// Languages are the BCP 47 tags [Project].Language may have: of English, how dates and numbers are written.
var Languages = []string{"en", "en-GB", "en-US"}

// Check refuses settings that mean nothing; the message says what to change. Whether there is such a zone is not asked
// here: that needs the zones' files.
func (p Project) Check() error {
	if n := len(p.Name); n == 0 || n > MaxName {
		return Errorf(Invalid, "a project's name has 1 to %d bytes", MaxName)
	}
	if len(p.Description) > MaxDescription {
		return Errorf(Invalid, "a project's description has at most %d bytes", MaxDescription)
	}
	if p.Retention < 0 || p.Retention > MaxRetention {
		return Errorf(Invalid, "retention is 0 (for ever) to %d days", MaxRetention)
	}
	if p.Language != "" && !slices.Contains(Languages, p.Language) {
		return Errorf(Invalid, "there is no language %q; it is one of %s", p.Language, strings.Join(Languages, ", "))
	}
	return p.Units.Check()
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

	Attributes Attributes
	Note       string
}

// Member is a user's grant on a project.
type Member struct {
	Project ProjectID
	User    UserID
	Role    Role
	// Locations limits the grant to these; empty means the whole project.
	Locations []LocationID
}
