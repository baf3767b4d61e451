package gateway_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/gateway"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

func TestKeepAlive(t *testing.T) {
	h := newHub(t, nil)
	bothVersions(t, func(t *testing.T, v byte) {
		t.Parallel()
		l := h.logger()
		r := h.raw(l, v)
		r.send(r.connectPacket(1))
		r.read()
		for range 3 { // a device that pings in time stays, though all of it lasts longer than its keepalive allows
			time.Sleep(time.Second)
			r.send(pack(12, 0))
			if p := r.read(); p.kind != 13 {
				t.Fatalf("%+v", p)
			}
		}
		start := time.Now()
		r.wantEnd(0x8D)
		if d := time.Since(start); d < time.Second || d > 3*time.Second {
			t.Errorf("closed after %v of silence", d)
		}
	})
}

// TestDeadlines: whoever connects has to make the handshake, then send CONNECT, in a bounded time.
func TestDeadlines(t *testing.T) {
	h := newHub(t, func(c *gateway.Config) { c.Limits.Handshake = 300 * time.Millisecond })
	silent, err := net.Dial("tcp", h.mqtt)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	start := time.Now()
	if err := silent.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(silent); err != nil && !isClosed(err) {
		t.Errorf("no handshake: %v", err)
	}
	r := h.raw(h.logger(), 5)
	r.wantEnd(0)
	r = h.raw(h.logger(), 5)
	r.send([]byte{0x10}) // half a header is no CONNECT
	r.wantEnd(0)
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("the deadlines took %v", d)
	}
	eventually(t, "no connection is counted", func() bool { return h.metric("loggerhead_gateway_connections", "mqtt") == 0 })
	if h.metric("loggerhead_gateway_refused_connections_total", "handshake") != 1 || h.metric("loggerhead_gateway_refused_connections_total", "connect") != 2 {
		t.Error("the refusals are not counted")
	}
}

// TestConnectionLimits: strangers of one address, and all connections.
func TestConnectionLimits(t *testing.T) {
	h := newHub(t, func(c *gateway.Config) { c.Limits.StrangersOfAddress, c.Limits.Connections = 3, 5 })
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	closed := func(addr string, within time.Duration) bool {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
		if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		_, err = c.Read(make([]byte, 1))
		return isClosed(err)
	}
	for _, addr := range []string{h.mqtt, h.https, h.mqtt} {
		if closed(addr, 300*time.Millisecond) {
			t.Fatal("a stranger is turned away too early")
		}
	}
	for _, addr := range []string{h.mqtt, h.https} {
		if !closed(addr, patience) {
			t.Error("one stranger too many is let in")
		}
	}
	for _, c := range held {
		c.Close()
	}
	held = nil
	// Devices that have said who they are do not count as strangers, but as connections.
	var l *logger
	for range 5 {
		eventually(t, "there is room", func() bool { l = h.logger(); c, err := h.dialMQTT(l); return connects(t, c, err) })
	}
	l = h.logger()
	if c, err := h.dialMQTT(l); connects(t, c, err) {
		t.Error("one connection too many")
	}
	if h.metric("loggerhead_gateway_refused_connections_total", "strangers of address") != 2 || h.metric("loggerhead_gateway_refused_connections_total", "connections") < 1 {
		t.Error("the refusals are not counted")
	}
}

// connects reports whether a connection that was dialled goes through CONNECT. It stays open to the test's end.
func connects(t *testing.T, c *tls.Conn, err error) bool {
	if c != nil {
		t.Cleanup(func() { c.NetConn().Close() })
	}
	if err != nil {
		return false
	}
	r := &raw{t: t, c: c, v: 5}
	if _, err := c.Write(r.connectPacket(60)); err != nil {
		return false
	}
	p, err := r.next()
	return err == nil && p.kind == 2 && p.body[1] == 0
}

// TestMQTTStrangers: the handshake refuses whom it must.
func TestMQTTStrangers(t *testing.T) {
	h := newHub(t, nil)
	foreign := install(t, storetest.SQLite(t)).start(nil).logger()
	revoked := h.logger()
	if err := h.fleet.Revoke(context.Background(), h.owner, revoked.id); err != nil {
		t.Fatal(err)
	}
	good := h.logger()
	old := h.tls(good, "mqtt")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for name, c := range map[string]*tls.Config{
		"no certificate": h.tls(nil, "mqtt"), "another installation's": h.tls(foreign, "mqtt"), "revoked": h.tls(revoked, "mqtt"),
		"TLS 1.2": old, "another protocol": h.tls(good, "h2"),
	} {
		n, err := net.Dial("tcp", h.mqtt)
		if err != nil {
			t.Fatal(err)
		}
		if connects(t, tls.Client(n, c), nil) {
			t.Errorf("%s: let in", name)
		}
	}
	if c, err := h.dialMQTT(good); !connects(t, c, err) {
		t.Error("a good device is refused")
	}
}

// TestStuckDevice: a device that takes none of its answers does not keep others, a cut or a stop waiting.
func TestStuckDevice(t *testing.T) {
	h := newHub(t, func(c *gateway.Config) {
		c.Accept = func(context.Context, store.Scope, lh.DeviceID, []byte) (wire.Ack, error) { return wire.Ack{}, nil }
	})
	withinASecond(t, func(t *testing.T) time.Duration {
		l := h.logger()
		r := h.connect(l, 4)
		if err := r.c.SetWriteDeadline(time.Now().Add(2 * time.Second)); err != nil {
			t.Fatal(err)
		}
		ping := slices.Repeat(pack(12, 0), 8<<10)
		for { // until neither side takes any more
			if _, err := r.c.Write(ping); err != nil {
				break
			}
		}
		start := time.Now()
		h.gateway.Cut(l.id)
		eventually(t, "the session is gone", func() bool { return h.metric("loggerhead_gateway_connections", "mqtt") == 0 })
		return time.Since(start)
	})
}

// TestMemoryOfUploadsIsBounded: when there is no room an upload waits, is then refused, and a device that waits can
// still be cut.
func TestMemoryOfUploadsIsBounded(t *testing.T) {
	h, g := gated(t, func(c *gateway.Config) { c.Limits.UploadBytes, c.Limits.Accept = 1, time.Second }) // two of the greatest, at least
	g.deaf = true
	defer close(g.let)
	large := batch(7, 1, 20000)
	large = append(large, make([]byte, 900_000-len(large))...)
	a, b := h.connect(h.logger(), 5), h.connect(h.logger(), 5)
	a.publish(1, large)
	b.publish(1, large)
	eventually(t, "two are under way", func() bool { return g.came() == 2 })
	l := h.logger()
	waits := h.connect(l, 5)
	go waits.c.Write(waits.publishPacket(1, 1, wire.UpTopic(l.id), large)) // the hub does not read all of it
	c := h.client(h.logger(), true)
	r, body := post(t, c, h.url("/v1/batch"), wire.ContentBatch, large)
	wantProblem(t, r, body, lh.Unavailable, 503)
	if g.came() != 2 {
		t.Errorf("%d uploads are in memory", g.came())
	}
	h.gateway.Cut(l.id)
	start := time.Now()
	for {
		if _, err := waits.next(); err != nil {
			break
		}
	}
	if d := time.Since(start); d > 3*time.Second { // it is half a second when the machine has nothing else to do
		t.Errorf("cut after %v", d)
	}
}
