package gateway_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/gateway"
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
