package gateway_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/loggerhead-cloud/loggerhead/internal/gateway"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// TestTakeover: a device has one session; the older one has to go.
func TestTakeover(t *testing.T) {
	h := newHub(t, nil)
	bothVersions(t, func(t *testing.T, v byte) {
		l := h.logger()
		first := h.connect(l, v)
		second := h.connect(l, v)
		first.wantEnd(0x8E)
		second.publish(1, batch(7, 1, 1))
		second.wantPuback(1, 0)
	})
}

// TestMQTTRevoked: a live session ends within a second, wherever the device was revoked, and nothing of it is taken in
// afterwards.
func TestMQTTRevoked(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		in := install(t, o)
		near, far := in.start(nil), in.start(nil)
		alone := in.start(func(c *gateway.Config) { c.Denied = nil }) // asks for every device instead
		for name, x := range map[string]struct{ at, by *hub }{"same replica": {near, near}, "another replica": {near, far}, "no deny list": {alone, far}} {
			bothVersions(t, func(t *testing.T, v byte) {
				withinASecond(t, func(t *testing.T) time.Duration {
					l := x.at.logger()
					r := x.at.connect(l, v)
					r.publish(1, batch(7, 1, 1))
					r.wantPuback(1, 0)
					start := time.Now()
					if err := x.by.fleet.Revoke(context.Background(), x.by.owner, l.id); err != nil {
						t.Fatal(err)
					}
					r.wantEnd(0x98)
					took := time.Since(start)
					if c, err := x.at.dialMQTT(l); connects(t, c, err) {
						t.Errorf("%s: let in again", name)
					}
					return took
				})
			})
		}
	})
}

// TestMQTTExpired: a session does not outlive its certificate.
func TestMQTTExpired(t *testing.T) {
	h := newHub(t, nil)
	withinASecond(t, func(t *testing.T) time.Duration {
		h.ahead.Store(0)
		r := h.connect(h.logger(), 5)
		h.ahead.Store(int64(31 * 24 * time.Hour))
		start := time.Now()
		r.wantEnd(0x87)
		return time.Since(start)
	})
}

// TestShutdown: what is under way is finished and acknowledged, then devices are told to go.
func TestShutdown(t *testing.T) {
	bothVersions(t, func(t *testing.T, v byte) {
		h, g := gated(t, nil)
		r, idle := h.connect(h.logger(), v), h.connect(h.logger(), v)
		r.publish(1, batch(7, 1, 1))
		r.publish(2, batch(7, 2, 1))
		eventually(t, "both are under way", func() bool { return g.came() == 2 })
		done := make(chan struct{})
		go func() { h.stop(); close(done) }()
		idle.wantEnd(0x8B)
		if c, err := h.dialMQTT(h.logger()); connects(t, c, err) {
			t.Error("let in while stopping")
		}
		r.silent()
		g.let <- nil
		g.let <- nil
		r.wantPuback(1, 0)
		r.wantPuback(2, 0)
		r.wantEnd(0x8B)
		<-done
	})
}

// TestShutdownInAHurry: when time is up, uploads are given up, without an acknowledgement.
func TestShutdownInAHurry(t *testing.T) {
	bothVersions(t, func(t *testing.T, v byte) {
		h, g := gated(t, nil)
		r := h.connect(h.logger(), v)
		r.publish(1, batch(7, 1, 1))
		eventually(t, "it is under way", func() bool { return g.came() == 1 })
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if err := h.gateway.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		for {
			p, err := r.next()
			if err != nil {
				if !isClosed(err) {
					t.Error(err)
				}
				return
			}
			if p.kind == 4 && (v != 5 || len(p.body) < 3 || p.body[2] == 0) {
				t.Error("acknowledged though it was given up")
			}
		}
	})
}

// TestServeMQTTEndsWithItsContext: without a Shutdown before, sessions are cut; and a listener must be TLS.
func TestServeMQTTEndsWithItsContext(t *testing.T) {
	h := newHub(t, nil)
	r := h.connect(h.logger(), 5)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.gateway.ServeMQTT(ctx, tls.NewListener(listen(t), h.tls(nil))) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for {
		if _, err := r.next(); err != nil {
			if !isClosed(err) {
				t.Error(err)
			}
			break
		}
	}
	plain := newHub(t, nil)
	l := listen(t)
	go func() {
		if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
			defer c.Close()
			io.Copy(io.Discard, c) // ends when the hub hangs up
		}
	}()
	if err := plain.gateway.ServeMQTT(context.Background(), l); err == nil || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("a listener without TLS: %v", err)
	}
}
