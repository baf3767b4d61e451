package gateway_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/gateway"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// bothVersions runs f for MQTT 3.1.1 and 5.
func bothVersions(t *testing.T, f func(t *testing.T, v byte)) {
	t.Run("3.1.1", func(t *testing.T) { f(t, 4) })
	t.Run("5", func(t *testing.T) { f(t, 5) })
}

// metric returns a counter's or gauge's value, summed over the label values that contain label.
func (h *hub) metric(name, label string) float64 {
	h.t.Helper()
	fs, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range fs {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if slices.ContainsFunc(m.GetLabel(), func(p *dto.LabelPair) bool { return p.GetValue() == label }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestMQTTUpload(t *testing.T) {
	each(t, func(t *testing.T, h *hub) {
		bothVersions(t, func(t *testing.T, v byte) {
			l := h.logger()
			r := h.connect(l, v)
			for i := range 10 {
				r.publish(i+1, batch(7, uint32(1+i*50), 50))
			}
			for i := range 10 {
				r.wantPuback(i+1, 0)
			}
			r.send(r.publishPacket(1, 11, wire.UpTopic(l.id), []byte(`{"records":[{"t":1600000000000,"v":{"1/level":0}}]}`)))
			r.wantPuback(11, 0)
			r.send(r.publishPacket(0, 0, wire.UpTopic(l.id), batch(7, 501, 1)))
			r.send(pack(12, 0))
			if p := r.read(); p.kind != 13 || len(p.body) != 0 {
				t.Fatalf("PINGRESP: %+v", p)
			}
			r.send(pack(14, 0))
			r.wantEnd(0)
			eventually(t, "what came with QoS 0 before DISCONNECT is stored", func() bool { return len(h.samples(l.id, "1/level")) == 502 })
			for i, s := range h.samples(l.id, "1/level") {
				if s.Value != float64(i) {
					t.Fatalf("sample %d is %v", i, s)
				}
			}
		})
		if n := h.metric("loggerhead_gateway_mqtt_publishes_total", "ok"); n != 24 {
			t.Errorf("%v publishes counted", n)
		}
		eventually(t, "no connection is counted", func() bool { return h.metric("loggerhead_gateway_connections", "mqtt") == 0 })
	})
}

func TestConnack(t *testing.T) {
	h := newHub(t, func(c *gateway.Config) { c.Limits.KeepAlive = 100 * time.Second })
	l := h.logger()
	r := h.raw(l, 5)
	// Session expiry interval 1000, no client id, clean start 0, keepalive 0, user name and password, a will.
	r.send(pack(1, 0, text("MQTT"), []byte{5, 0x80 | 0x40 | 0x04}, u16(0), []byte{5, 0x11, 0, 0, 3, 0xE8}, text(""),
		[]byte{0}, text("some/topic"), text("gone"), text("user"), text("password")))
	p := r.read()
	want := []byte{0x11, 0, 0, 0, 0, 0x21, 0, 16, 0x24, 1, 0x25, 0, 0x27, 0, 0x10, 0x10, 0}
	want = append(append(append(want, 0x12), text(string(l.id))...), 0x28, 0, 0x29, 0, 0x2A, 0, 0x13, 0, 100)
	if got := append([]byte{0, 0, byte(len(want))}, want...); p.kind != 2 || string(p.body) != string(got) {
		t.Errorf("CONNACK\n got %x\nwant %x", p.body, got)
	}
	r = h.raw(l, 4)
	r.send(pack(1, 0, text("MQTT"), []byte{4, 0}, u16(60), text("lasting")))
	if p := r.read(); p.kind != 2 || string(p.body) != "\x00\x00" {
		t.Errorf("a session that lasts is asked for: %+v", p) // none is present
	}
}

// TestConnectRefusals: each of these is the first packet of a device whose certificate is in order.
func TestConnectRefusals(t *testing.T) {
	h := newHub(t, nil)
	l := h.logger()
	name := text("MQTT")
	for what, x := range map[string]struct {
		v      byte
		packet []byte
		answer []byte // body of CONNACK; nil is none
	}{
		"MQTT 3.1":                    {4, pack(1, 0, text("MQIsdp"), []byte{3, 2}, u16(60), text("x")), []byte{0, 1}},
		"MQTT 6":                      {4, pack(1, 0, name, []byte{6, 2}, u16(60), []byte{0}, text("x")), []byte{0, 1}},
		"another protocol":            {4, pack(1, 0, text("HTTP"), []byte{4, 2}, u16(60), text("x")), []byte{0, 5}},
		"no client id, lasting":       {4, pack(1, 0, name, []byte{4, 0}, u16(60), text("")), []byte{0, 2}},
		"a long client id":            {5, pack(1, 0, name, []byte{5, 2}, u16(60), []byte{0}, text(strings.Repeat("x", 1000))), []byte{0, 0x85}},
		"reserved flag":               {5, pack(1, 0, name, []byte{5, 3}, u16(60), []byte{0}, text("x")), []byte{0, 0x81}},
		"will of QoS 2":               {5, pack(1, 0, name, []byte{5, 2 | 4 | 2<<3}, u16(60), []byte{0}, text("x"), []byte{0}, text("t"), text("p")), []byte{0, 0x9B}},
		"retained will":               {5, pack(1, 0, name, []byte{5, 2 | 4 | 32}, u16(60), []byte{0}, text("x"), []byte{0}, text("t"), text("p")), []byte{0, 0x9A}},
		"enhanced authentication":     {5, pack(1, 0, name, []byte{5, 2}, u16(60), append([]byte{6, 0x15}, text("XYZ")...), text("x")), []byte{0, 0x8C}},
		"receive maximum 0":           {5, pack(1, 0, name, []byte{5, 2}, u16(60), []byte{3, 0x21, 0, 0}, text("x")), []byte{0, 0x82}},
		"a property twice":            {5, pack(1, 0, name, []byte{5, 2}, u16(60), []byte{6, 0x21, 0, 5, 0x21, 0, 5}, text("x")), []byte{0, 0x82}},
		"trailing bytes":              {5, pack(1, 0, name, []byte{5, 2}, u16(60), []byte{0}, text("x"), []byte("y")), []byte{0, 0x81}},
		"bytes that are not UTF-8":    {4, pack(1, 0, name, []byte{4, 2}, u16(60), text("\xff\xfe")), []byte{0, 5}},
		"ends early":                  {4, pack(1, 0, name, []byte{4, 2}), []byte{0, 5}},
		"PUBLISH first":               {4, pack(3, 0, text(wire.UpTopic(l.id)), batch(7, 1, 1)), nil},
		"PINGREQ first":               {4, pack(12, 0), nil},
		"a CONNECT of a megabyte":     {4, []byte{0x10, 0x80, 0x80, 0x40}, nil},
		"a length without end":        {4, []byte{0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80}, nil},
		"reserved flags of CONNECT":   {4, pack(1, 1, name, []byte{4, 2}, u16(60), text("x")), nil},
		"HTTP on the port of devices": {4, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), nil},
	} {
		t.Run(what, func(t *testing.T) {
			r := h.raw(l, x.v)
			r.send(x.packet)
			if x.answer != nil {
				p := r.read()
				if p.kind != 2 || len(p.body) < 2 || string(p.body[:2]) != string(x.answer) {
					t.Errorf("got %+v, want CONNACK %x", p, x.answer)
				}
			}
			r.wantEnd(0)
		})
	}
}

// TestPacketRefusals: each of these breaks the protocol, or an agreement of CONNACK, after a good CONNECT.
func TestPacketRefusals(t *testing.T) {
	h := newHub(t, nil)
	l, other := h.logger(), h.logger()
	up := text(wire.UpTopic(l.id))
	for what, x := range map[string]struct {
		packet []byte // as MQTT 5
		three  []byte // as MQTT 3.1.1; nil is not tried
		reason byte
	}{
		"a second CONNECT":           {pack(1, 0, text("MQTT"), []byte{5, 2}, u16(60), []byte{0}, text("x")), pack(1, 0, text("MQTT"), []byte{4, 2}, u16(60), text("x")), 0x82},
		"QoS 2":                      {pack(3, 4, up, u16(1), []byte{0}, batch(7, 1, 1)), pack(3, 4, up, u16(1), batch(7, 1, 1)), 0x9B},
		"QoS 3":                      {pack(3, 6, up, u16(1), []byte{0}), pack(3, 6, up, u16(1)), 0x81},
		"duplicate of QoS 0":         {pack(3, 8, up, []byte{0}), pack(3, 8, up), 0x81},
		"PUBREL":                     {pack(6, 2, u16(1)), pack(6, 2, u16(1)), 0x9B},
		"retained":                   {pack(3, 3, up, u16(1), []byte{0}, batch(7, 1, 1)), nil, 0x9A},
		"topic alias":                {pack(3, 2, up, u16(1), []byte{3, 0x23, 0, 1}), nil, 0x94},
		"packet id 0":                {pack(3, 2, up, u16(0), []byte{0}), pack(3, 2, up, u16(0)), 0x82},
		"wildcard in the topic":      {pack(3, 0, text("lh/#"), []byte{0}), pack(3, 0, text("lh/#")), 0x90},
		"no topic":                   {pack(3, 0, text(""), []byte{0}), pack(3, 0, text("")), 0x90},
		"another device's, QoS 0":    {pack(3, 0, text(wire.UpTopic(other.id)), []byte{0}, batch(7, 1, 1)), pack(3, 0, text(wire.UpTopic(other.id)), batch(7, 1, 1)), 0x87},
		"too large":                  {[]byte{0x32, 0xFF, 0xFF, 0xFF, 0x7F}, []byte{0x32, 0xFF, 0xFF, 0xFF, 0x7F}, 0x95},
		"one byte too large":         {[]byte{0x32, 0x81, 0xA0, 0x40}, []byte{0x32, 0x81, 0xA0, 0x40}, 0x95},
		"a large SUBSCRIBE":          {[]byte{0x82, 0x80, 0x80, 0x04}, []byte{0x82, 0x80, 0x80, 0x04}, 0x95},
		"length of five bytes":       {[]byte{0x32, 0x80, 0x80, 0x80, 0x80, 0x01}, []byte{0x32, 0x80, 0x80, 0x80, 0x80, 0x01}, 0x81},
		"CONNACK from a client":      {pack(2, 0, []byte{0, 0}), pack(2, 0, []byte{0, 0}), 0x82},
		"type 0":                     {pack(0, 0), pack(0, 0), 0x82},
		"AUTH":                       {pack(15, 0), pack(15, 0), 0x82},
		"PUBACK for nothing":         {pack(4, 0, u16(9)), pack(4, 0, u16(9)), 0x82},
		"PINGREQ with a body":        {pack(12, 0, []byte{1}), pack(12, 0, []byte{1}), 0x81},
		"SUBSCRIBE without filters":  {pack(8, 2, u16(1), []byte{0}), pack(8, 2, u16(1)), 0x82},
		"SUBSCRIBE, empty filter":    {pack(8, 2, u16(1), []byte{0}, text(""), []byte{0}), pack(8, 2, u16(1), text(""), []byte{0}), 0x81},
		"SUBSCRIBE, flags":           {pack(8, 0, u16(1), []byte{0}, text("x"), []byte{0}), pack(8, 0, u16(1), text("x"), []byte{0}), 0x81},
		"SUBSCRIBE of QoS 3":         {pack(8, 2, u16(1), []byte{0}, text("x"), []byte{3}), pack(8, 2, u16(1), text("x"), []byte{3}), 0x81},
		"a subscription identifier":  {pack(8, 2, u16(1), []byte{2, 0x0B, 5}, text(wire.DownTopic(l.id)), []byte{0}), nil, 0xA1},
		"many filters":               {pack(8, 2, u16(1), []byte{0}, slices.Repeat(append(text("x"), 0), 100)), pack(8, 2, u16(1), slices.Repeat(append(text("x"), 0), 100)), 0x97},
		"UNSUBSCRIBE, no filters":    {pack(10, 2, u16(1), []byte{0}), pack(10, 2, u16(1)), 0x82},
		"property of another packet": {pack(3, 2, up, u16(1), []byte{5, 0x11, 0, 0, 0, 1}), nil, 0x82},
		"properties that reach out":  {pack(3, 2, up, u16(1), []byte{2, 0x02, 0, 0, 0, 1}), nil, 0x81},
	} {
		t.Run(what, func(t *testing.T) {
			bothVersions(t, func(t *testing.T, v byte) {
				b := x.packet
				if v == 4 {
					b = x.three
				}
				if b == nil {
					t.Skip("only in MQTT 5")
				}
				r := h.connect(l, v)
				r.t = t
				r.send(b)
				r.wantEnd(x.reason)
			})
		})
	}
	for _, x := range []*logger{l, other} {
		if got := h.samples(x.id, "1/level"); len(got) != 0 {
			t.Errorf("a refused packet left %v", got)
		}
	}
}

// TestForeignTopics: a device publishes and subscribes to its own topics only, and learns so.
func TestForeignTopics(t *testing.T) {
	h := newHub(t, nil)
	l, other := h.logger(), h.logger()
	r := h.connect(l, 5)
	r.send(r.publishPacket(1, 5, wire.UpTopic(other.id), batch(7, 1, 1)))
	r.publish(6, batch(7, 1, 1))
	r.wantPuback(5, 0x87)
	r.wantPuback(6, 0)
	for topic, want := range map[string]byte{
		wire.DownTopic(l.id): 0, wire.DownTopic(other.id): 0x87, wire.UpTopic(l.id): 0x87, "$SYS/uptime": 0x87,
		"#": 0xA2, "lh/+/down": 0xA2, "$share/g/" + wire.DownTopic(l.id): 0x9E,
	} {
		r.send(r.subscribePacket(9, topic))
		if p := r.read(); p.kind != 9 || string(p.body) != string([]byte{0, 9, 0, want}) {
			t.Errorf("%s: %+v, want 0x%02X", topic, p, want)
		}
	}
	three := h.connect(other, 4)
	three.send(pack(8, 2, u16(3), text(wire.DownTopic(other.id)), []byte{1}, text("#"), []byte{0}, text(wire.DownTopic(l.id)), []byte{0}))
	if p := three.read(); p.kind != 9 || string(p.body) != "\x00\x03\x00\x80\x80" {
		t.Errorf("SUBACK: %+v", p)
	}
	for i, want := range []byte{0x00, 0x11} { // the second time there is nothing left
		r.send(pack(10, 2, u16(4), []byte{0}, text(wire.DownTopic(l.id))))
		if p := r.read(); p.kind != 11 || string(p.body) != string([]byte{0, 4, 0, want}) {
			t.Errorf("UNSUBACK %d: %+v", i, p)
		}
	}
	three.send(pack(10, 2, u16(4), text(wire.DownTopic(other.id))))
	if p := three.read(); p.kind != 11 || string(p.body) != "\x00\x04" {
		t.Errorf("UNSUBACK: %+v", p)
	}
	three.send(three.publishPacket(1, 5, wire.UpTopic(l.id), batch(7, 2, 1)))
	three.wantEnd(0x87)
	if got := len(h.samples(l.id, "1/level")); got != 1 {
		t.Errorf("%d samples", got)
	}
}

// gate is an Accept that a test holds back.
type gate struct {
	mu      sync.Mutex
	waiting []string // payloads that came, in order
	most    int      // under way at once
	now     int
	let     chan error
	deaf    bool // to the end of its context
}

func (g *gate) accept(ctx context.Context, _ store.Scope, _ lh.DeviceID, payload []byte) (wire.Ack, error) {
	g.mu.Lock()
	g.waiting = append(g.waiting, string(payload))
	g.now++
	g.most = max(g.most, g.now)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.now--
		g.mu.Unlock()
	}()
	if g.deaf {
		return wire.Ack{}, <-g.let
	}
	select {
	case err := <-g.let:
		return wire.Ack{}, err
	case <-ctx.Done():
		return wire.Ack{}, lh.Hide(lh.Unavailable, ctx.Err(), "not in time")
	}
}

func (g *gate) came() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

func gated(t *testing.T, change func(*gateway.Config)) (*hub, *gate) {
	g := &gate{let: make(chan error)}
	return newHub(t, func(c *gateway.Config) {
		c.Accept = g.accept
		if change != nil {
			change(c)
		}
	}), g
}

// silent checks that the hub says nothing for a moment.
func (r *raw) silent() {
	r.t.Helper()
	if err := r.c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		r.t.Fatal(err)
	}
	var e net.Error
	if n, err := r.c.Read(make([]byte, 1)); !errors.As(err, &e) || !e.Timeout() {
		r.t.Fatalf("the hub said something: %d %v", n, err)
	}
	if err := r.c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
}

// TestPubackOnlyWhenDurable: no acknowledgement before Accept has returned, and they come in the order of the uploads
// whatever the order in which they became durable.
func TestPubackOnlyWhenDurable(t *testing.T) {
	bothVersions(t, func(t *testing.T, v byte) {
		hold := map[byte]chan struct{}{}
		for i := range byte(16) {
			hold[i] = make(chan struct{})
		}
		var came atomic.Int32
		h := newHub(t, func(c *gateway.Config) {
			c.Accept = func(ctx context.Context, _ store.Scope, _ lh.DeviceID, p []byte) (wire.Ack, error) {
				came.Add(1)
				select {
				case <-hold[p[len(p)-1]]:
				case <-ctx.Done():
				}
				return wire.Ack{}, ctx.Err()
			}
		})
		r := h.connect(h.logger(), v)
		payload := func(i byte) []byte { return append([]byte("LHB1\x07\x07\x07\x07\x07\x07\x07\x07\x01"), i) }
		for i := range byte(16) {
			r.publish(int(i)+100, payload(i))
		}
		eventually(t, "all sixteen are under way at once", func() bool { return came.Load() == 16 })
		for i := byte(15); i > 0; i-- {
			close(hold[i])
		}
		r.silent() // the first one is not durable yet
		close(hold[0])
		for i := range 16 {
			r.wantPuback(i+100, 0)
		}
	})
}

// TestUploadsWithoutALogAreTakenInTurn, since their rank is their arrival.
func TestUploadsWithoutALogAreTakenInTurn(t *testing.T) {
	h, g := gated(t, nil)
	r := h.connect(h.logger(), 5)
	for i := range 4 {
		r.publish(i+1, fmt.Appendf(nil, `{"n":%d}`, i))
	}
	r.publish(5, batch(7, 1, 1))
	for i := range 5 {
		eventually(t, "the next came", func() bool { return g.came() == i+1 })
		r.silent()
		if n := g.came(); n != i+1 {
			t.Fatalf("%d are under way beside one without a log", n-i)
		}
		g.let <- nil
		r.wantPuback(i+1, 0)
	}
	if want := []string{`{"n":0}`, `{"n":1}`, `{"n":2}`, `{"n":3}`}; !slices.Equal(g.waiting[:4], want) {
		t.Errorf("order: %q", g.waiting)
	}
}

// TestReceiveMaximum: on MQTT 5 a seventeenth upload under way breaks the protocol; on 3.1.1 it waits.
func TestReceiveMaximum(t *testing.T) {
	bothVersions(t, func(t *testing.T, v byte) {
		h, g := gated(t, nil)
		r := h.connect(h.logger(), v)
		for i := range 17 {
			r.publish(i+1, batch(7, 1, 1))
		}
		if v == 5 {
			r.wantEnd(0x93)
			close(g.let)
			return
		}
		eventually(t, "sixteen came", func() bool { return g.came() == 16 })
		r.silent()
		close(g.let)
		for i := range 17 {
			r.wantPuback(i+1, 0)
		}
		if g.most != 16 {
			t.Errorf("%d uploads were under way at once", g.most)
		}
	})
}

// TestRefusedUploads: what MQTT 5 says with a reason, and what is done where there is none.
func TestRefusedUploads(t *testing.T) {
	for _, x := range []struct {
		err    error
		reason byte
		say    string
	}{
		{lh.Errorf(lh.Invalid, "batch is damaged"), 0x99, "batch is damaged"},
		{lh.Errorf(lh.Exhausted, "too many channels"), 0x97, "too many channels"},
		{lh.Errorf(lh.Unavailable, "the disk is full"), 0x97, "the disk is full"},
		{lh.Errorf(lh.NotFound, "no such project"), 0x87, "no such project"},
		{lh.Errorf(lh.Conflict, "somebody was first"), 0x83, "somebody was first"},
		{errors.New("secret of the inside"), 0x80, ""},
	} {
		t.Run(string(lh.CodeOf(x.err)), func(t *testing.T) {
			h, g := gated(t, nil)
			l := h.logger()
			r := h.connect(l, 5)
			r.publish(1, batch(7, 41, 1))
			g.let <- x.err
			p := r.wantPuback(1, x.reason)
			if !strings.Contains(string(p.body), x.say) || strings.Contains(string(p.body), "secret") {
				t.Errorf("reason string: %q", p.body)
			}
			// The connection goes on.
			r.publish(2, batch(7, 42, 1))
			g.let <- nil
			r.wantPuback(2, 0)
			// QoS 0 has no acknowledgement: a notice goes to the downlink.
			r.send(r.subscribePacket(1, wire.DownTopic(l.id)))
			r.read()
			r.send(r.publishPacket(0, 0, wire.UpTopic(l.id), batch(7, 43, 1)))
			g.let <- x.err
			wantNotice(t, r, l, x.err, 43)

			// A device that wants no reasons gets none.
			r = h.raw(l, 5)
			r.send(r.connectPacket(60, 0x17, 0))
			r.read()
			r.publish(1, batch(7, 44, 1))
			g.let <- x.err
			if p := r.wantPuback(1, x.reason); len(p.body) != 3 {
				t.Errorf("reason string: %q", p.body)
			}

			three := h.connect(l, 4)
			three.send(three.subscribePacket(1, wire.DownTopic(l.id)))
			three.read()
			three.publish(2, batch(7, 44, 1))
			g.let <- nil
			three.wantPuback(2, 0)
			three.publish(3, batch(7, 45, 1))
			eventually(t, "it came", func() bool { return g.came() == 6 })
			three.publish(4, batch(7, 46, 1))
			eventually(t, "it came", func() bool { return g.came() == 7 })
			g.let <- x.err
			g.let <- x.err
			wantNotice(t, three, l, x.err, 45)
			three.wantEnd(0)
		})
	}
}

func wantNotice(t *testing.T, r *raw, l *logger, err error, first uint32) {
	t.Helper()
	p := r.read()
	topic := wire.DownTopic(l.id)
	head := len(text(topic))
	if r.v == 5 {
		head++
	}
	if p.kind != 3 || p.flags != 0 || len(p.body) < head || string(p.body[2:2+len(topic)]) != topic {
		t.Fatalf("got %+v, want a notice", p)
	}
	var n wire.Notice
	if e := json.Unmarshal(p.body[head:], &n); e != nil || n != (wire.Notice{Type: "error", Code: lh.CodeOf(err), Message: lh.PublicMessage(err), First: first}) {
		t.Errorf("%s %v", p.body[head:], e)
	}
}

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

func TestKeepAlive(t *testing.T) {
	h := newHub(t, nil)
	bothVersions(t, func(t *testing.T, v byte) {
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
	closed := func(addr string) bool {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
		if err := c.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, err = c.Read(make([]byte, 1))
		return isClosed(err)
	}
	for _, addr := range []string{h.mqtt, h.https, h.mqtt} {
		if closed(addr) {
			t.Fatal("a stranger is turned away too early")
		}
	}
	for _, addr := range []string{h.mqtt, h.https} {
		if !closed(addr) {
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

// TestMQTTRevoked: a live session ends within a second, wherever the device was revoked, and nothing of it is taken in
// afterwards.
func TestMQTTRevoked(t *testing.T) {
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		in := install(t, o)
		near, far := in.start(nil), in.start(nil)
		alone := in.start(func(c *gateway.Config) { c.Denied = nil }) // asks for every device instead
		for name, x := range map[string]struct{ at, by *hub }{"same replica": {near, near}, "another replica": {near, far}, "no deny list": {alone, far}} {
			bothVersions(t, func(t *testing.T, v byte) {
				l := x.at.logger()
				r := x.at.connect(l, v)
				r.publish(1, batch(7, 1, 1))
				r.wantPuback(1, 0)
				start := time.Now()
				if err := x.by.fleet.Revoke(context.Background(), x.by.owner, l.id); err != nil {
					t.Fatal(err)
				}
				r.wantEnd(0x98)
				if d := time.Since(start); d > time.Second {
					t.Errorf("%s: cut after %v", name, d)
				}
				if c, err := x.at.dialMQTT(l); connects(t, c, err) {
					t.Errorf("%s: let in again", name)
				}
			})
		}
	})
}

// TestMQTTExpired: a session does not outlive its certificate.
func TestMQTTExpired(t *testing.T) {
	h := newHub(t, nil)
	r := h.connect(h.logger(), 5)
	h.ahead.Store(int64(31 * 24 * time.Hour))
	start := time.Now()
	r.wantEnd(0x87)
	if d := time.Since(start); d > time.Second {
		t.Errorf("cut after %v", d)
	}
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

// TestIdentifyIsAskedOnceASecond: many small uploads cost few look-ups.
func TestIdentifyIsAskedOnceASecond(t *testing.T) {
	var asked atomic.Int32
	h := newHub(t, func(c *gateway.Config) {
		identify := c.Identify
		c.Identify = func(ctx context.Context, key [32]byte) (d access.Device, err error) {
			asked.Add(1)
			return identify(ctx, key)
		}
	})
	r := h.connect(h.logger(), 5)
	start := time.Now()
	for i := range 200 {
		r.publish(i+1, batch(7, uint32(i+1), 1))
		r.wantPuback(i+1, 0)
	}
	if most := 2 + int32(time.Since(start)/(500*time.Millisecond)); asked.Load() > most {
		t.Errorf("asked %d times for 200 uploads", asked.Load())
	}
}

// TestStuckDevice: a device that takes none of its answers does not keep others, a cut or a stop waiting.
func TestStuckDevice(t *testing.T) {
	h := newHub(t, func(c *gateway.Config) {
		c.Accept = func(context.Context, store.Scope, lh.DeviceID, []byte) (wire.Ack, error) { return wire.Ack{}, nil }
	})
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
	if d := time.Since(start); d > time.Second {
		t.Errorf("cut after %v", d)
	}
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
	if d := time.Since(start); d > time.Second {
		t.Errorf("cut after %v", d)
	}
}
