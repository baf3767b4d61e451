package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

// httpConn is one connection of the HTTPS server, HTTP/1.1 or HTTP/2. Its fields but conn are the registry's.
type httpConn struct {
	conn  net.Conn
	guest *guest
	live  *live // nil until its device is identified
	ended bool
}

type httpConnKey struct{}

// Guard binds the server's connections to the gateway: to its limits, and to Cut. The server must be one of its own
// and serve Handler; call it before the server is started.
func (g *Gateway) Guard(s *http.Server) {
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		h := &httpConn{conn: c}
		g.live.mu.Lock()
		defer g.live.mu.Unlock()
		if g.live.https == nil {
			g.live.https = map[net.Conn]*httpConn{}
		}
		g.live.https[c] = h
		return context.WithValue(ctx, httpConnKey{}, h)
	}
	s.ConnState = func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			g.admitHTTP(c)
		case http.StateClosed, http.StateHijacked:
			g.leaveHTTP(c)
		}
	}
	// A logger sends one batch after the other; what a hundred streams would hold is not lent to each of them.
	s.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 16, MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: 512 << 10,
		MaxReadFrameSize: 64 << 10, MaxDecoderHeaderTableSize: 4 << 10}
}

// admitHTTP counts a new connection, or closes it before its handshake where there is no place.
func (g *Gateway) admitHTTP(c net.Conn) {
	q, reason := g.door.admit(access.Network(c.RemoteAddr().String()))
	if q == nil {
		g.metrics.refused.WithLabelValues(reason).Inc()
		hangUp(c)
		return
	}
	g.metrics.connections.WithLabelValues("https").Inc()
	g.live.mu.Lock()
	defer g.live.mu.Unlock()
	if h := g.live.https[c]; h != nil {
		h.guest = q
	}
}

func (g *Gateway) leaveHTTP(c net.Conn) {
	r := &g.live
	r.mu.Lock()
	h := r.https[c]
	delete(r.https, c)
	if h != nil && h.live != nil {
		r.remove(h.live)
	}
	r.mu.Unlock()
	if h != nil && h.guest != nil {
		g.door.leave(h.guest)
		g.metrics.connections.WithLabelValues("https").Dec()
	}
}

// hangUp closes a connection without the farewell of TLS, for which a peer that does not read could be waited for.
func hangUp(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	c.Close() // it is gone either way
}

// enterHTTP notes whose connection a request came by, and that a request is under way until leave is called.
// Exhausted: the device has too many under way.
func (g *Gateway) enterHTTP(ctx context.Context, d access.Device, key [32]byte, notAfter time.Time) (leave func(), err error) {
	h, ok := ctx.Value(httpConnKey{}).(*httpConn)
	if !ok {
		return nil, lh.Errorf(lh.Internal, "a device's request came by a server that is not under Guard: it could not be cut")
	}
	r := &g.live
	r.mu.Lock()
	defer r.mu.Unlock()
	if h.ended {
		return nil, lh.Errorf(lh.Unavailable, "the connection is being closed")
	}
	p := r.at(d.ID)
	if p.uploads >= g.cfg.Limits.DeviceUploads {
		return nil, lh.Errorf(lh.Exhausted, "this device has %d requests under way; wait for their answers", p.uploads)
	}
	if h.live == nil && r.https[h.conn] == h { // not when it was closed meanwhile
		l := &live{device: d, key: key, notAfter: notAfter, checked: time.Now()}
		l.end = func(ending) {
			h.ended = true
			hangUp(h.conn)
		}
		l.kill = func() { hangUp(h.conn) }
		h.live = l
		p.https = append(p.https, l)
		r.all[l] = struct{}{}
		if len(p.https) > g.cfg.Limits.DeviceConns {
			p.https[0].end(endReplaced)
			g.metrics.cut.WithLabelValues(string(endReplaced)).Inc()
			r.remove(p.https[0])
		}
		if h.guest != nil {
			g.door.known(h.guest)
		}
		g.startWatch()
	}
	p.uploads++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		p.uploads--
		r.tidy(d.ID, p)
	}, nil
}
