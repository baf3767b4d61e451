package gateway

import (
	"net/netip"
	"sync"
)

// admission bounds open connections: all of them, and those that have not shown yet who they are, of everybody and of
// one address.
type admission struct {
	limits Limits

	mu        sync.Mutex
	open      int
	strangers int
	by        map[netip.Prefix]int // strangers of an address
}

// guest is one connection's place. Its fields are the admission's.
type guest struct {
	from        netip.Prefix
	known, left bool
}

// admit gives a new connection a place, or says why there is none.
func (a *admission) admit(from netip.Prefix) (q *guest, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.open >= a.limits.Connections:
		return nil, "connections"
	case a.strangers >= a.limits.Strangers:
		return nil, "strangers"
	case a.by[from] >= a.limits.StrangersOfAddress:
		return nil, "strangers of address"
	}
	if a.by == nil {
		a.by = map[netip.Prefix]int{}
	}
	a.open++
	a.strangers++
	a.by[from]++
	return &guest{from: from}, ""
}

// known says that the guest has proven who it is.
func (a *admission) known(q *guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.introduce(q)
}

func (a *admission) introduce(q *guest) {
	if q.known || q.left {
		return
	}
	q.known = true
	a.strangers--
	if a.by[q.from]--; a.by[q.from] <= 0 {
		delete(a.by, q.from)
	}
}

// leave gives the place back.
func (a *admission) leave(q *guest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if q.left {
		return
	}
	a.introduce(q)
	q.left = true
	a.open--
}
