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
}

func locationOf(l lh.Location) Location {
	return Location{l.ID, l.Name, l.Zone, l.Latitude, l.Longitude, l.Created}
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
	ls = slices.DeleteFunc(ls, func(l lh.Location) bool { return !in.matches(l.Name) || in.Zone != "" && l.Zone != in.Zone })
	p, err := paged(a, ctx, in.Page, &locationSheet, ls)
	if err != nil {
		return nil, err
	}
	return pageEach(p, locationOf), nil
}

type createLocationInput struct {
	ProjectPath
	Body struct {
		Name      string  `json:"name" minLength:"1" maxLength:"200"`
		Zone      string  `json:"zone,omitempty" maxLength:"64"`
		Latitude  float64 `json:"latitude,omitempty" minimum:"-90" maximum:"90"`
		Longitude float64 `json:"longitude,omitempty" minimum:"-180" maximum:"180"`
	}
}

func createLocation(a *API, ctx context.Context, sc store.Scope, in *createLocationInput) (*one[Location], error) {
	b := in.Body
	l := lh.Location{Name: b.Name, Zone: b.Zone, Latitude: b.Latitude, Longitude: b.Longitude}
	if err := checkLocation(l); err != nil {
		return nil, err
	}
	l, err := a.DB.CreateLocation(ctx, sc, l)
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
	if err := checkLocation(l); err != nil {
		return nil, err
	}
	return &one[Location]{locationOf(l)}, a.DB.ChangeLocation(ctx, sc, l)
}

func deleteLocation(a *API, ctx context.Context, sc store.Scope, in *LocationPath) (*struct{}, error) {
	return nil, a.DB.DeleteLocation(ctx, sc, in.Location)
}
