package gateway

import (
	"net/netip"
	"sync"
	"time"
)

const (
	// A remote address may fail to enrol triesBurst times, and once more every triesEvery.
	triesBurst = 20
	triesEvery = 3 * time.Second
	// maxTries bounds the addresses remembered. When there are more, the emptied ones stay longest.
	maxTries = 10000
)

// tries bounds enrolments that fail, per remote address. A try that succeeds is given back: a works that enrols a
// thousand devices through one address is not slowed down.
type tries struct {
	mu sync.Mutex
	by map[netip.Prefix]*bucket
	// cleared is when room was last looked for, which a flood does not get to make us do at every try.
	cleared time.Time
}

type bucket struct {
	left float64
	at   time.Time
}

func (b *bucket) fill(now time.Time) {
	if now.After(b.at) {
		b.left = min(triesBurst, b.left+float64(now.Sub(b.at))/float64(triesEvery))
		b.at = now
	}
}

// take uses up a try of remote; false when there is none left.
func (t *tries) take(now time.Time, remote netip.Prefix) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.by[remote]
	if b == nil {
		if t.by == nil {
			t.by = map[netip.Prefix]*bucket{}
		}
		if len(t.by) >= maxTries && !t.clear(now) {
			return false // so many addresses fail at once that it is one attacker: nobody's failures are forgotten for it
		}
		b = &bucket{left: triesBurst, at: now}
		t.by[remote] = b
	}
	b.fill(now)
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// giveBack returns a try that succeeded.
func (t *tries) giveBack(remote netip.Prefix) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if b := t.by[remote]; b != nil {
		b.left = min(triesBurst, b.left+1)
	}
}

// clear forgets addresses that have all their tries again, and reports whether there is room.
func (t *tries) clear(now time.Time) bool {
	if since := now.Sub(t.cleared); since >= 0 && since < triesEvery {
		return false
	}
	t.cleared = now
	for k, b := range t.by {
		if b.fill(now); b.left >= triesBurst {
			delete(t.by, k)
		}
	}
	return len(t.by) < maxTries
}
