package loggerhead

import (
	"maps"
	"net/netip"
)

// ServiceAccount is a program that reads or changes a project in its own name. It is never an owner.
type ServiceAccount struct {
	ID        ServiceID
	Project   ProjectID
	Name      string
	Role      Role
	Locations []LocationID   // none is the whole project
	Networks  []netip.Prefix // from which it may ask; none is from everywhere
	Expires   Millis         // 0 is never
	Enabled   bool
	Created   Millis
}

// Integration is a third party that sends samples of elements that no device feeds, and can do nothing else.
type Integration struct {
	ID       IntegrationID
	Project  ProjectID
	Name     string
	Networks []netip.Prefix // from which it may send; none is from everywhere
	Expires  Millis         // 0 is never
	Enabled  bool
	// SkipUnknown leaves out what names no element of the list, instead of refusing all that came with it.
	SkipUnknown bool
	Elements    []IntegrationElement // the only ones it may send samples of
	Created     Millis
}

// IntegrationElement is one element that an integration feeds, and what it is called there. Measurement, Field and Tags
// are its name in line protocol.
type IntegrationElement struct {
	Element     ElementID
	Name        string // in JSON, beside the id; "" is none
	Measurement string // "" where it is not sent by line protocol
	Field       string
	Tags        map[string]string // those a point must have; it may have others
}

// SamePoint reports whether two elements have the same name in line protocol.
func (e IntegrationElement) SamePoint(o IntegrationElement) bool {
	return e.Measurement == o.Measurement && e.Field == o.Field && maps.Equal(e.Tags, o.Tags)
}

// ProgramKey is a secret by which a service account or an integration proves itself; the secret itself is nowhere.
type ProgramKey struct {
	ID       KeyID
	Project  ProjectID
	Program  string // ServiceID or IntegrationID
	Name     string
	Created  Millis
	Expires  Millis       // 0 is never
	Used     Millis       // about when it was last used; 0 is never
	UsedFrom netip.Prefix // from which network
}

// Usage is what a program did on one UTC day, of one class of operations.
type Usage struct {
	Day      int32
	Class    string // e.g. "series"
	Requests int64
	Samples  int64
}

// Sent is the place that the journal has for the samples that integrations send: where a device has its id. All of a
// project share it, so that it does not matter which of them sent a sample.
const Sent DeviceID = "sent"

// Source returns the device an element's samples come from, or [Sent].
func (e Element) Source() DeviceID {
	if e.Device == "" {
		return Sent
	}
	return e.Device
}
