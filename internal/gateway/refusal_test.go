package gateway_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

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
