package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/eclipse/paho.golang/packets"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// mqttLink is a device's MQTT 5 connection. It speaks in packets, without a client library's goroutines and queues, so
// that thousands of them fit beside the hub on one machine.
type mqttLink struct {
	d    *device
	conn *tls.Conn
	id   uint16
}

// dialMQTT connects a device and waits for CONNACK; with listen it also subscribes to its downlink.
func (in *installation) dialMQTT(ctx context.Context, h *hub, d *device, listen bool) (*mqttLink, error) {
	conf, err := in.tls(d, "mqtt")
	if err != nil {
		return nil, err
	}
	raw, err := (&net.Dialer{Timeout: 20 * time.Second}).DialContext(ctx, "tcp", h.mqtt)
	if err != nil {
		return nil, err
	}
	l := &mqttLink{d: d, conn: tls.Client(raw, conf)}
	if err := l.open(ctx, listen); err != nil {
		return nil, fmt.Errorf("connect %s by MQTT: %w", d.serial, errors.Join(err, raw.Close()))
	}
	return l, nil
}

func (l *mqttLink) open(ctx context.Context, listen bool) error {
	if err := l.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if err := l.conn.HandshakeContext(ctx); err != nil {
		return err
	}
	connect := packets.NewControlPacket(packets.CONNECT)
	c := connect.Content.(*packets.Connect)
	c.ProtocolName, c.ProtocolVersion, c.ClientID, c.CleanStart, c.KeepAlive = "MQTT", 5, string(l.d.id), true, 600
	if _, err := connect.WriteTo(l.conn); err != nil {
		return err
	}
	ack, err := read[*packets.Connack](l.conn)
	if err != nil {
		return err
	}
	if ack.ReasonCode != 0 {
		return fmt.Errorf("CONNACK %#x", ack.ReasonCode)
	}
	if listen {
		subscribe := packets.NewControlPacket(packets.SUBSCRIBE)
		s := subscribe.Content.(*packets.Subscribe)
		l.id++
		s.PacketID, s.Subscriptions = l.id, []packets.SubOptions{{Topic: wire.DownTopic(l.d.id), QoS: 1}}
		if _, err := subscribe.WriteTo(l.conn); err != nil {
			return err
		}
		ack, err := read[*packets.Suback](l.conn)
		if err != nil {
			return err
		}
		if len(ack.Reasons) != 1 || ack.Reasons[0] > 1 {
			return fmt.Errorf("SUBACK %#x", ack.Reasons)
		}
	}
	return l.conn.SetDeadline(time.Time{})
}

// publish sends one batch at QoS 1 and waits for its PUBACK.
func (l *mqttLink) publish(payload []byte) error {
	if l.id++; l.id == 0 {
		l.id = 1
	}
	packet := packets.NewControlPacket(packets.PUBLISH)
	p := packet.Content.(*packets.Publish)
	p.Topic, p.QoS, p.PacketID, p.Payload = wire.UpTopic(l.d.id), 1, l.id, payload
	if err := l.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := packet.WriteTo(l.conn); err != nil {
		return err
	}
	ack, err := read[*packets.Puback](l.conn)
	if err != nil {
		return err
	}
	if ack.PacketID != l.id || ack.ReasonCode >= 0x80 {
		return fmt.Errorf("PUBACK %#x of packet %d", ack.ReasonCode, ack.PacketID)
	}
	return nil
}

// close says goodbye; what fails then no longer matters.
func (l *mqttLink) close() {
	l.conn.SetDeadline(time.Now().Add(time.Second))
	packets.NewControlPacket(packets.DISCONNECT).WriteTo(l.conn)
	l.conn.Close()
}

// read takes the next packet, which must be a P.
func read[P packets.Packet](conn *tls.Conn) (P, error) {
	var none P
	p, err := packets.ReadPacket(conn)
	if err != nil {
		return none, err
	}
	if got, ok := p.Content.(P); ok {
		return got, nil
	}
	return none, fmt.Errorf("the hub sent %s where %T was due", p.PacketType(), none)
}

// dialAll connects the devices.
func (in *installation) dialAll(ctx context.Context, h *hub, devices []*device, listen bool) ([]*mqttLink, error) {
	links := make([]*mqttLink, len(devices))
	at := make([]int, len(devices))
	for i := range at {
		at[i] = i
	}
	err := each(ctx, at, 16, func(ctx context.Context, i int) error {
		var err error
		links[i], err = in.dialMQTT(ctx, h, devices[i], listen)
		return err
	})
	return links, err
}

func hangUp(links []*mqttLink) {
	for _, l := range links {
		if l != nil {
			l.close()
		}
	}
}

// live makes the batch of one record a device sends as it samples.
type live struct {
	d     *device
	s     *weather
	batch wire.Batch
	bytes []byte
}

func newLive(d *device, channels []channel) *live {
	l := &live{d: d, s: newWeather(d.index)}
	for _, c := range channels {
		l.batch.Channels = append(l.batch.Channels, c.key)
	}
	l.batch.Log = d.log
	l.batch.Records = []wire.Record{{Values: make([]wire.Value, len(channels))}}
	return l
}

// next returns the batch of the next record, taken at t. It is good until the next call.
func (l *live) next(t lh.Millis) ([]byte, error) {
	var values [6]float64
	l.s.at(t, values[:])
	r := &l.batch.Records[0]
	r.Time = t
	for c := range r.Values {
		r.Values[c] = wire.Value{Channel: uint16(c), Flag: lh.FlagGood, Value: values[c]}
	}
	l.batch.First, l.batch.Sent = l.d.next, lh.MillisOf(time.Now())
	l.d.next++
	var err error
	l.bytes, err = l.batch.Append(l.bytes[:0])
	return l.bytes, err
}
