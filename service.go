package loggerhead

import "net/netip"

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
