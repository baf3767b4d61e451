package gateway

import (
	"net"
	"slices"
	"sync"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

// Why the hub ends a connection.
type ending string

const (
	endRevoked  ending = "revoked"  // the device may not be here any more
	endExpired  ending = "expired"  // its certificate has run out meanwhile
	endReplaced ending = "replaced" // the same device came again
	endStopping ending = "stopping" // the hub stops
	endIdle     ending = "idle"     // silent, or slow to take its answers, for longer than agreed
	endProtocol ending = "protocol" // the device broke the protocol
	endRefused  ending = "refused"  // an upload was refused, and MQTT 3.1.1 has no other way to say so
	endBusy     ending = "busy"     // the hub has no room for an upload
)

// live is one connection of a device that has proven who it is.
type live struct {
	device   access.Device // as identified when the connection was entered
	key      [32]byte
	notAfter time.Time
	// end closes the connection, within a moment and without waiting for the peer. It may be called more than once and
	// with the registry's lock held.
	end     func(ending)
	kill    func()    // closes the connection as it is
	session bool      // of MQTT
	checked time.Time // the registry's own: when its device was last identified by the watch; monotonic
}

// registry knows every live connection of every device.
type registry struct {
	mu      sync.Mutex
	all     map[*live]struct{}
	by      map[lh.DeviceID]*presence
	https   map[net.Conn]*httpConn // of the HTTPS server, strangers too
	closing bool
	started bool // the watch
}

// presence is a device's live connections.
type presence struct {
	mqtt    *live
	https   []*live // oldest first
	uploads int     // requests under way over HTTPS
}

// at returns a device's presence, making it.
func (r *registry) at(d lh.DeviceID) *presence {
	if r.by == nil {
		r.by, r.all = map[lh.DeviceID]*presence{}, map[*live]struct{}{}
	}
	p := r.by[d]
	if p == nil {
		p = &presence{}
		r.by[d] = p
	}
	return p
}

// remove forgets a connection. It may be called more than once.
func (r *registry) remove(l *live) {
	delete(r.all, l)
	p := r.by[l.device.ID]
	if p == nil {
		return
	}
	if p.mqtt == l {
		p.mqtt = nil
	}
	if i := slices.Index(p.https, l); i >= 0 {
		p.https = slices.Delete(p.https, i, i+1)
	}
	r.tidy(l.device.ID, p)
}

// tidy forgets a device that has no connection left.
func (r *registry) tidy(d lh.DeviceID, p *presence) {
	if p.mqtt == nil && len(p.https) == 0 && p.uploads == 0 {
		delete(r.by, d)
	}
}

// Cut ends every live connection of a device at once, and makes the hub ask anew who it is when it comes back.
func (g *Gateway) Cut(d lh.DeviceID) {
	g.ids.forget(d)
	g.cut(d, endRevoked, func(*live) bool { return true })
}

// cut ends those connections of a device that match.
func (g *Gateway) cut(d lh.DeviceID, why ending, match func(*live) bool) {
	r := &g.live
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.by[d]
	if p == nil {
		return
	}
	n := 0
	if p.mqtt != nil && match(p.mqtt) {
		p.mqtt.end(why)
		n++
	}
	for _, l := range p.https {
		if match(l) {
			l.end(why)
			n++
		}
	}
	if n > 0 {
		g.metrics.cut.WithLabelValues(string(why)).Add(float64(n))
		g.log.Info("device cut off", "device", d, "connections", n, "reason", string(why))
	}
}

// startWatch starts the watch with the first live connection. The registry is locked.
func (g *Gateway) startWatch() {
	if g.live.started || g.live.closing {
		return
	}
	g.live.started = true
	g.wg.Go(g.watch)
}
