package client

import (
	"context"
	"net/url"
)

// Element is one sensor or actuator value.
type Element struct {
	ID         string            `json:"id,omitempty"`
	Name       string            `json:"name"`
	DeviceID   string            `json:"device_id,omitempty"` // "" where none feeds it
	LocationID string            `json:"location_id,omitempty"`
	Channel    string            `json:"channel,omitempty"`
	Quantity   string            `json:"quantity,omitempty"`
	Unit       string            `json:"unit,omitempty"` // UCUM
	Color      string            `json:"color,omitempty"`
	Digits     int               `json:"digits,omitempty"`
	IntervalMs int64             `json:"interval_ms,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Note       string            `json:"note,omitempty"`
}

// Elements lists a project's elements, of one device where that is not "".
func (c *Client) Elements(ctx context.Context, project, device string) ([]Element, error) {
	q := url.Values{}
	if device != "" {
		q.Set("device_id", device)
	}
	return items[Element](ctx, c, projectPath(project, "elements"), q)
}

// Element returns one element.
func (c *Client) Element(ctx context.Context, project, element string) (Element, error) {
	var e Element
	err := c.call(ctx, "GET", projectPath(project, "elements", element), nil, nil, &e)
	return e, err
}

// NewElement is an element to be made that no device feeds.
type NewElement struct {
	Name       string            `json:"name"`
	LocationID string            `json:"location_id,omitempty"`
	Quantity   string            `json:"quantity,omitempty"`
	Unit       string            `json:"unit,omitempty"` // UCUM
	Color      string            `json:"color,omitempty"`
	Digits     int               `json:"digits,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Note       string            `json:"note,omitempty"`
}

// CreateElement adds an element that no device feeds.
func (c *Client) CreateElement(ctx context.Context, project string, n NewElement) (Element, error) {
	var e Element
	err := c.call(ctx, "POST", projectPath(project, "elements"), nil, n, &e)
	return e, err
}

// ElementChange is what is to change of an element; what is nil stays.
type ElementChange struct {
	Name       *string            `json:"name,omitempty"`
	DeviceID   *string            `json:"device_id,omitempty"` // "" takes it off its device
	Channel    *string            `json:"channel,omitempty"`
	LocationID *string            `json:"location_id,omitempty"`
	Quantity   *string            `json:"quantity,omitempty"`
	Unit       *string            `json:"unit,omitempty"`
	Color      *string            `json:"color,omitempty"`
	Digits     *int               `json:"digits,omitempty"`
	Attributes *map[string]string `json:"attributes,omitempty"` // in place of all there were
	Note       *string            `json:"note,omitempty"`
}

// ChangeElement changes an element.
func (c *Client) ChangeElement(ctx context.Context, project, element string, change ElementChange) (Element, error) {
	var e Element
	err := c.call(ctx, "PATCH", projectPath(project, "elements", element), nil, change, &e)
	return e, err
}

// DeleteElement deletes an element with its series, for good.
func (c *Client) DeleteElement(ctx context.Context, project, element string) error {
	return c.call(ctx, "DELETE", projectPath(project, "elements", element), nil, nil, nil)
}
