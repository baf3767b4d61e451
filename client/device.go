package client

import (
	"context"
	"net/url"
)

// Device is a datalogger.
type Device struct {
	ID           string            `json:"id"`
	Name         string            `json:"name"`
	Serial       string            `json:"serial"`
	Hardware     string            `json:"hardware"`
	State        string            `json:"state"` // claimed, enrolled or revoked
	LocationID   string            `json:"location_id"`
	Firmware     string            `json:"firmware"`
	MaxOffline   int               `json:"max_offline"` // seconds
	Online       bool              `json:"online"`
	LastSeen     int64             `json:"last_seen"` // 0 is never
	ClockOffset  int64             `json:"clock_offset_ms"`
	ClockSuspect int64             `json:"clock_suspect"`
	Created      int64             `json:"created"`
	Battery      *Reading          `json:"battery"` // nil where it measures none
	Elements     int               `json:"elements"`
	Attributes   map[string]string `json:"attributes"`
	Note         string            `json:"note"`
}

// Reading is the newest value of an element.
type Reading struct {
	ElementID string  `json:"element_id"`
	Value     float64 `json:"value"`
	Unit      string  `json:"unit"`
	Time      int64   `json:"time"`
}

// Devices lists a project's devices.
func (c *Client) Devices(ctx context.Context, project string) ([]Device, error) {
	return items[Device](ctx, c, projectPath(project, "devices"), nil)
}

// Device returns one device.
func (c *Client) Device(ctx context.Context, project, device string) (Device, error) {
	var d Device
	err := c.call(ctx, "GET", projectPath(project, "devices", device), nil, nil, &d)
	return d, err
}

// Claim is what claims a device.
type Claim struct {
	Serial     string            `json:"serial"`
	ClaimCode  string            `json:"claim_code"`
	Name       string            `json:"name"`
	LocationID string            `json:"location_id,omitempty"`
	MaxOffline int               `json:"max_offline,omitempty"` // seconds
	Attributes map[string]string `json:"attributes,omitempty"`
	Note       string            `json:"note,omitempty"`
}

// ClaimDevice binds a device to a project by the serial and code on its label.
func (c *Client) ClaimDevice(ctx context.Context, project string, cl Claim) (Device, error) {
	var d Device
	err := c.call(ctx, "POST", projectPath(project, "devices"), nil, cl, &d)
	return d, err
}

// DeviceChange is what is to change of a device; what is nil stays.
type DeviceChange struct {
	Name       *string            `json:"name,omitempty"`
	LocationID *string            `json:"location_id,omitempty"` // "" takes it from its location
	MaxOffline *int               `json:"max_offline,omitempty"` // seconds
	Attributes *map[string]string `json:"attributes,omitempty"`  // in place of all there were
	Note       *string            `json:"note,omitempty"`
}

// ChangeDevice changes a device.
func (c *Client) ChangeDevice(ctx context.Context, project, device string, change DeviceChange) (Device, error) {
	var d Device
	err := c.call(ctx, "PATCH", projectPath(project, "devices", device), nil, change, &d)
	return d, err
}

// RevokeDevice bars a device at once.
func (c *Client) RevokeDevice(ctx context.Context, project, device string) error {
	return c.call(ctx, "POST", projectPath(project, "devices", device, "revoke"), nil, nil, nil)
}

// DeleteDevice deletes a device that is revoked. Its elements stay, fed by none, or go with their series, for good.
func (c *Client) DeleteDevice(ctx context.Context, project, device string, withSeries bool) error {
	q := url.Values{}
	if withSeries {
		q.Set("series", "delete")
	}
	return c.call(ctx, "DELETE", projectPath(project, "devices", device), q, nil, nil)
}
