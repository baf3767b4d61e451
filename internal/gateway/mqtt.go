package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

// ServeMQTT serves MQTT on a listener whose connections are TLS (package crypto/tls) and carry a client certificate,
// until ctx ends or Shutdown is called. It closes the listener.
func (g *Gateway) ServeMQTT(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(g.newcomers, func() { l.Close() })
	defer stop()
	stop2 := context.AfterFunc(ctx, func() { l.Close() })
	defer stop2()
	defer l.Close() // closed already, or on an error worth more than its own
	var pause time.Duration
	for {
		c, err := l.Accept()
		if ctx.Err() != nil || g.newcomers.Err() != nil {
			if c != nil {
				hangUp(c)
			}
			if g.newcomers.Err() != nil {
				return nil
			}
			// The caller wants an end, not a farewell.
			now, cancel := context.WithCancel(context.Background())
			cancel()
			if err := g.Shutdown(now); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("serve MQTT: %w", err)
		}
		if err != nil { // no file descriptors left, or the like: it passes
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			g.log.Error("MQTT connection was not accepted", "err", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			case <-g.newcomers.Done():
			}
			continue
		}
		pause = 0
		t, ok := c.(*tls.Conn)
		if !ok {
			hangUp(c)
			return fmt.Errorf("serve MQTT: the listener gives %T, not TLS", c)
		}
		q, reason := g.door.admit(access.Network(c.RemoteAddr().String()))
		if q == nil {
			g.metrics.refused.WithLabelValues(reason).Inc()
			hangUp(c)
			continue
		}
		if !g.work(func() { g.meet(t, q) }) {
			hangUp(c)
			g.door.leave(q)
		}
	}
}

// work runs fn in a goroutine that Shutdown waits for; false when it waits already.
func (g *Gateway) work(fn func()) bool {
	g.live.mu.Lock()
	defer g.live.mu.Unlock()
	if g.live.closing {
		return false
	}
	g.wg.Go(fn)
	return true
}

// meet makes the TLS handshake of a new connection. The session has another goroutine, since a handshake leaves a large
// stack behind, and most connections are idle for most of their life.
func (g *Gateway) meet(c *tls.Conn, q *guest) {
	ctx, cancel := context.WithTimeout(g.newcomers, g.cfg.Limits.Handshake)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		g.metrics.refused.WithLabelValues("handshake").Inc()
		g.log.Debug("MQTT handshake failed", "remote", c.RemoteAddr(), "err", err)
		hangUp(c)
		g.door.leave(q)
		return
	}
	g.wg.Go(func() {
		defer g.door.leave(q)
		g.metrics.connections.WithLabelValues("mqtt").Inc()
		defer g.metrics.connections.WithLabelValues("mqtt").Dec()
		newSession(g, c).run(q)
	})
}

// Shutdown stops what New and ServeMQTT do: nobody new is let in, uploads under way are finished and acknowledged,
// sessions are told to go and closed. When ctx ends first, uploads are given up, unacknowledged, and connections closed
// as they are; the error says so. The HTTPS server is its owner's to shut down.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.live.mu.Lock()
	g.live.closing = true
	for l := range g.live.all {
		if l.session {
			l.end(endStopping)
		}
	}
	g.live.mu.Unlock()
	g.turnAway()
	done := make(chan struct{})
	go func() {
		g.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		g.cancel()
		return nil
	case <-ctx.Done():
	}
	g.cancel()
	g.live.mu.Lock()
	for l := range g.live.all {
		if l.session {
			l.kill()
		}
	}
	g.live.mu.Unlock()
	select {
	case <-done:
	case <-time.After(2 * time.Second): // an upload that does not heed its context
	}
	return fmt.Errorf("MQTT sessions were cut off in shutdown: %w", ctx.Err())
}
