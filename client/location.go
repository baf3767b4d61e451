package client

import (
	"context"
	"net/url"
)

// Location is a site.
type Location struct {
	ID         string            `json:"id,omitempty"`
	Name       string            `json:"name"`
	Zone       string            `json:"zone,omitempty"` // IANA name; "" is the project's
	Latitude   float64           `json:"latitude,omitempty"`
	Longitude  float64           `json:"longitude,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Note       string            `json:"note,omitempty"`
}

// Locations lists a project's locations.
func (c *Client) Locations(ctx context.Context, project string) ([]Location, error) {
	return items[Location](ctx, c, projectPath(project, "locations"), nil)
}

// Location returns one location.
func (c *Client) Location(ctx context.Context, project, location string) (Location, error) {
	var l Location
	err := c.call(ctx, "GET", projectPath(project, "locations", location), nil, nil, &l)
	return l, err
}

// CreateLocation adds a location.
func (c *Client) CreateLocation(ctx context.Context, project string, l Location) (Location, error) {
	l.ID = ""
	var out Location
	err := c.call(ctx, "POST", projectPath(project, "locations"), nil, l, &out)
	return out, err
}

// LocationChange is what is to change of a location; what is nil stays.
type LocationChange struct {
	Name       *string            `json:"name,omitempty"`
	Zone       *string            `json:"zone,omitempty"`
	Latitude   *float64           `json:"latitude,omitempty"`
	Longitude  *float64           `json:"longitude,omitempty"`
	Attributes *map[string]string `json:"attributes,omitempty"` // in place of all there were
	Note       *string            `json:"note,omitempty"`
}

// ChangeLocation changes a location.
func (c *Client) ChangeLocation(ctx context.Context, project, location string, change LocationChange) (Location, error) {
	var l Location
	err := c.call(ctx, "PATCH", projectPath(project, "locations", location), nil, change, &l)
	return l, err
}

// DeleteLocation deletes a location. What stands there is moved to another one, or "nowhere"; with "" nothing may stand there.
func (c *Client) DeleteLocation(ctx context.Context, project, location, moveTo string) error {
	q := url.Values{}
	if moveTo != "" {
		q.Set("move_to", moveTo)
	}
	return c.call(ctx, "DELETE", projectPath(project, "locations", location), q, nil, nil)
}
