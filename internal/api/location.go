package api

import (
	"context"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Location is a location in answers.
type Location struct {
	ID        lh.LocationID `json:"id"`
	Name      string        `json:"name"`
	Zone      string        `json:"zone" doc:"IANA time zone; empty is the project's"`
	Latitude  float64       `json:"latitude" doc:"Degrees, WGS 84"`
	Longitude float64       `json:"longitude"`
	Created   lh.Millis     `json:"created"`

	Attributes lh.Attributes `json:"attributes" nullable:"false" doc:"Keys and values of your own; lists filter by them"`
	Note       string        `json:"note"`
}

func locationOf(l lh.Location) Location {
	return Location{l.ID, l.Name, l.Zone, l.Latitude, l.Longitude, l.Created, shownAttributes(l.Attributes), l.Note}
}

func checkLocation(l lh.Location) error {
	if l.Zone == "" {
		return nil
	}
	return checkZone(l.Zone)
}

type listLocationsInput struct {
	ProjectPath
	Page
	Search
	Attributed
	Zone string `query:"zone" maxLength:"64"`
}

var locationSheet = sheet[lh.Location]{usual: "created", id: func(l lh.Location) string { return string(l.ID) }, by: map[string]func(lh.Location) sortKey{
	"created": func(l lh.Location) sortKey { return byNumber(l.Created) },
	"name":    func(l lh.Location) sortKey { return byText(l.Name) },
}}

func listLocations(a *API, ctx context.Context, sc store.Scope, in *listLocationsInput) (*list[Location], error) {
	ls, err := a.DB.Locations(ctx, sc)
	if err != nil {
		return nil, err
	}
	has, err := in.wanted()
	if err != nil {
		return nil, err
	}
	ls = slices.DeleteFunc(ls, func(l lh.Location) bool {
		return !in.matches(l.Name) || !has(l.Attributes) || in.Zone != "" && l.Zone != in.Zone
	})
	p, err := paged(a, ctx, in.Page, &locationSheet, ls)
	if err != nil {
		return nil, err
	}
	return pageEach(p, locationOf), nil
}

// NewLocation is a location to be made.
type NewLocation struct {
	Name       string        `json:"name" minLength:"1" maxLength:"200"`
	Zone       string        `json:"zone,omitempty" maxLength:"64"`
	Latitude   float64       `json:"latitude,omitempty" minimum:"-90" maximum:"90"`
	Longitude  float64       `json:"longitude,omitempty" minimum:"-180" maximum:"180"`
	Attributes lh.Attributes `json:"attributes,omitempty" nullable:"false"`
	Note       string        `json:"note,omitempty" maxLength:"4000"`
}

func (n NewLocation) location() (lh.Location, error) {
	l := lh.Location{Name: n.Name, Zone: n.Zone, Latitude: n.Latitude, Longitude: n.Longitude, Attributes: n.Attributes, Note: n.Note}
	return l, checkLocation(l)
}

type createLocationInput struct {
	ProjectPath
	Body NewLocation
}

func createLocation(a *API, ctx context.Context, sc store.Scope, in *createLocationInput) (*one[Location], error) {
	l, err := in.Body.location()
	if err != nil {
		return nil, err
	}
	l, err = a.DB.CreateLocation(ctx, sc, l)
	return &one[Location]{locationOf(l)}, err
}

type LocationPath struct {
	ProjectPath
	Location lh.LocationID `path:"location" maxLength:"40"`
}

func getLocation(a *API, ctx context.Context, sc store.Scope, in *LocationPath) (*one[Location], error) {
	l, err := a.DB.Location(ctx, sc, in.Location)
	return &one[Location]{locationOf(l)}, err
}

type changeLocationInput struct {
	LocationPath
	Body struct {
		Name      *string  `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Zone      *string  `json:"zone,omitempty" maxLength:"64"`
		Latitude  *float64 `json:"latitude,omitempty" minimum:"-90" maximum:"90"`
		Longitude *float64 `json:"longitude,omitempty" minimum:"-180" maximum:"180"`

		Attributes *lh.Attributes `json:"attributes,omitempty" nullable:"false" doc:"Takes the place of all there were"`
		Note       *string        `json:"note,omitempty" maxLength:"4000"`
	}
}

func changeLocation(a *API, ctx context.Context, sc store.Scope, in *changeLocationInput) (*one[Location], error) {
	l, err := a.DB.Location(ctx, sc, in.Location)
	if err != nil {
		return nil, err
	}
	set(&l.Name, in.Body.Name)
	set(&l.Zone, in.Body.Zone)
	set(&l.Latitude, in.Body.Latitude)
	set(&l.Longitude, in.Body.Longitude)
	set(&l.Attributes, in.Body.Attributes)
	set(&l.Note, in.Body.Note)
	if err := checkLocation(l); err != nil {
		return nil, err
	}
	return &one[Location]{locationOf(l)}, a.DB.ChangeLocation(ctx, sc, l)
}

type deleteLocationInput struct {
	LocationPath
	MoveTo lh.LocationID `query:"move_to" maxLength:"40" doc:"Location to which what stands there is moved, or “nowhere”; without it, nothing may stand there"`
}

func deleteLocation(a *API, ctx context.Context, sc store.Scope, in *deleteLocationInput) (*struct{}, error) {
	return nil, a.DB.DeleteLocation(ctx, sc, in.Location, in.MoveTo)
}
