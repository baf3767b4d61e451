package gateway_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// raw is a device that speaks MQTT byte by byte, so that it can also speak it wrongly.
type raw struct {
	t testing.TB
	c *tls.Conn
	l *logger
	v byte // 4 or 5
}

// packet is what the hub sent.
type packet struct {
	kind, flags byte
	body        []byte
}

// dialMQTT makes the TLS connection.
func (h *hub) dialMQTT(l *logger) (*tls.Conn, error) {
	c, err := net.DialTimeout("tcp", h.mqtt, patience)
	if err != nil {
		return nil, err
	}
	t := tls.Client(c, h.tls(l, "mqtt"))
	if err := t.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	return t, errors.Join(t.Handshake())
}

func (h *hub) raw(l *logger, version byte) *raw {
	h.t.Helper()
	c, err := h.dialMQTT(l)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.NetConn().Close() })
	return &raw{h.t, c, l, version}
}

// connect also goes through CONNECT, and returns CONNACK's body.
func (h *hub) connect(l *logger, version byte) *raw {
	h.t.Helper()
	r := h.raw(l, version)
	r.send(r.connectPacket(60))
	if p := r.read(); p.kind != 2 || p.body[0] != 0 || p.body[1] != 0 {
		h.t.Fatalf("CONNACK: %+v", p)
	}
	return r
}

func text(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

// pack puts a fixed header before a body.
func pack(kind, flags byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(binary.AppendUvarint([]byte{kind<<4 | flags}, uint64(len(body))), body...)
}

func u16(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }

func (r *raw) properties(p ...byte) []byte {
	if r.v != 5 {
		return nil
	}
	return append([]byte{byte(len(p))}, p...)
}

func (r *raw) connectPacket(keepAlive int, properties ...byte) []byte {
	return pack(1, 0, text("MQTT"), []byte{r.v, 2}, u16(keepAlive), r.properties(properties...), text("some client id"))
}

func (r *raw) publishPacket(qos byte, id int, topic string, payload []byte) []byte {
	var pid []byte
	if qos > 0 {
		pid = u16(id)
	}
	return pack(3, qos<<1, text(topic), pid, r.properties(), payload)
}

func (r *raw) subscribePacket(id int, topic string) []byte {
	return pack(8, 2, u16(id), r.properties(), text(topic), []byte{1})
}

func (r *raw) send(b []byte) {
	r.t.Helper()
	if _, err := r.c.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

// publish sends a batch to the device's own topic.
func (r *raw) publish(id int, payload []byte) {
	r.t.Helper()
	r.send(r.publishPacket(1, id, wire.UpTopic(r.l.id), payload))
}

func (r *raw) next() (packet, error) {
	var one [1]byte
	if _, err := io.ReadFull(r.c, one[:]); err != nil {
		return packet{}, err
	}
	p := packet{kind: one[0] >> 4, flags: one[0] & 15}
	n := 0
	for shift := 0; ; shift += 7 {
		if _, err := io.ReadFull(r.c, one[:]); err != nil {
			return p, err
		}
		n |= int(one[0]&127) << shift
		if one[0] < 128 {
			break
		}
	}
	p.body = make([]byte, n)
	_, err := io.ReadFull(r.c, p.body)
	return p, err
}

func (r *raw) read() packet {
	r.t.Helper()
	p, err := r.next()
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// wantPuback reads the acknowledgement of id; reason 0 is success.
func (r *raw) wantPuback(id int, reason byte) packet {
	r.t.Helper()
	p := r.read()
	got := byte(0)
	if len(p.body) > 2 {
		got = p.body[2]
	}
	if p.kind != 4 || len(p.body) < 2 || int(binary.BigEndian.Uint16(p.body)) != id || got != reason {
		r.t.Fatalf("got %+v, want PUBACK of %d with reason 0x%02X", p, id, reason)
	}
	return p
}

// wantEnd reads the end of the connection; on MQTT 5 a DISCONNECT with the reason comes first.
func (r *raw) wantEnd(reason byte) {
	r.t.Helper()
	p, err := r.next()
	if r.v == 5 && reason != 0 {
		if err != nil || p.kind != 14 || len(p.body) < 1 || p.body[0] != reason {
			r.t.Fatalf("got %+v %v, want DISCONNECT 0x%02X", p, err, reason)
		}
		_, err = r.next()
	}
	if !isClosed(err) {
		r.t.Fatalf("the connection is not closed: %+v %v", p, err)
	}
}

func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}
