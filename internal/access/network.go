package access

import "net/netip"

// Network is what one stranger can be expected to hold of addresses, by which tries are counted: one of IPv4, a /64 of
// IPv6, whose 2⁶⁴ addresses a home connection already has to itself. remote is an address, with a port or without; one
// that cannot be read gives the zero Prefix, so that all of its kind count together.
func Network(remote string) netip.Prefix {
	a, err := netip.ParseAddr(remote)
	if err != nil {
		ap, err := netip.ParseAddrPort(remote)
		if err != nil {
			return netip.Prefix{}
		}
		a = ap.Addr()
	}
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
