package gateway

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/mqtt"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// publish reads a PUBLISH packet and sends its upload on its way.
func (s *session) publish(h mqtt.Header) error {
	g := s.g
	if h.Length > maxPacket {
		return &mqtt.Error{Reason: mqtt.PacketTooLarge, What: "a batch is too large"}
	}
	// Memory is lent when the packet comes, not while the device is idle. Until there is room the device is not read
	// from, which slows it down.
	weight := int64(g.buffers.size(h.Length))
	if err := s.reserve(weight); err != nil {
		return err
	}
	buf := g.buffers.get(h.Length)
	release := func() {
		g.buffers.put(buf)
		g.budget.Release(weight)
	}
	begun := false
	defer func() {
		if !begun {
			release()
		}
	}()
	if err := s.arm(packetGrace + time.Duration(h.Length)*time.Second/slowest); err != nil {
		return err
	}
	body := (*buf)[:h.Length]
	if _, err := io.ReadFull(s.conn, body); err != nil {
		return err
	}
	p, err := mqtt.ReadPublish(s.version, h.Flags, body)
	if err != nil {
		return err
	}
	if p.Retain && s.version == mqtt.V5 {
		return &mqtt.Error{Reason: mqtt.NoRetain, What: "messages are not retained here"}
	}
	if string(p.Topic) != wire.UpTopic(s.device.ID) {
		return s.foreign(p)
	}
	u := &upload{id: p.ID}
	var log uint64
	log, u.first = peek(p.Payload)
	// What has no log ranks by its arrival, so one such upload is taken in after the other.
	u.alone = log == 0
	if err := s.enqueue(u); err != nil {
		return err
	}
	begun = true
	g.wg.Go(func() { // the session's own goroutine is counted, so nobody has stopped waiting
		err := s.accept(p.Payload)
		release()
		g.metrics.publishes.WithLabelValues(outcome(err)).Inc()
		s.settle(u, err)
	})
	return nil
}

// reserve waits a while for memory; while it does, the session can be ended.
func (s *session) reserve(bytes int64) error {
	if s.g.budget.TryAcquire(bytes) {
		return nil
	}
	ctx, cancel := context.WithCancel(s.g.ctx)
	defer cancel()
	s.mu.Lock()
	if s.why != "" {
		s.mu.Unlock()
		return errEnded
	}
	s.waiting = cancel
	s.mu.Unlock()
	err := s.g.reserve(ctx, bytes)
	s.mu.Lock()
	s.waiting = nil
	s.mu.Unlock()
	return err
}

// foreign answers a PUBLISH to a topic that is not the device's own.
func (s *session) foreign(p mqtt.Publish) error {
	s.g.metrics.publishes.WithLabelValues(string(lh.Forbidden)).Inc()
	s.g.log.Debug("publish to a foreign topic", "device", s.device.ID)
	err := lh.Errorf(lh.Forbidden, "a device publishes to its own topic only")
	if s.version != mqtt.V5 || p.QoS == 0 {
		return &mqtt.Error{Reason: mqtt.NotAuthorized, What: err.Error()}
	}
	u := &upload{id: p.ID}
	if e := s.enqueue(u); e != nil {
		return e
	}
	s.settle(u, err)
	return nil
}

// enqueue gives an upload its place in the order of acknowledgements. It waits while too many are under way; a device
// on MQTT 5 that passes the receive maximum it was told breaks the protocol.
func (s *session) enqueue(u *upload) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version == mqtt.V5 && u.id != 0 {
		n := 0
		for _, p := range s.pending {
			if p.id != 0 {
				n++
			}
		}
		if n >= inFlight {
			return &mqtt.Error{Reason: mqtt.ReceiveMaximumExceeded, What: "more publishes are under way than the receive maximum"}
		}
	}
	for {
		n := len(s.pending)
		if s.why != "" {
			return errEnded
		}
		if n == 0 || n < inFlight && !u.alone && !s.pending[n-1].alone {
			break
		}
		s.changed.Wait()
	}
	s.pending = append(s.pending, u)
	return nil
}

// accept makes an upload durable.
func (s *session) accept(payload []byte) error {
	ctx, cancel := context.WithTimeout(s.g.ctx, s.g.cfg.Limits.Accept)
	defer cancel()
	d, err := s.g.identify(ctx, s.key)
	if err != nil {
		if gone(err) {
			s.end(endRevoked)
		}
		return err
	}
	if d.ID != s.device.ID {
		return lh.Errorf(lh.Forbidden, "this certificate is another device's now")
	}
	_, err = s.g.cfg.Accept(ctx, d.Scope, d.ID, payload)
	return err
}

// settle notes how an upload ended and writes every answer whose turn has come.
func (s *session) settle(u *upload, err error) {
	s.mu.Lock()
	u.done, u.err = true, err
	s.mu.Unlock()
	if c := lh.CodeOf(err); c == lh.Internal {
		s.g.log.Error("device upload failed", "device", s.device.ID, "err", err)
	}
	// Who holds writing takes the answers off and writes them, so they go out in the order they came off.
	s.writing.Lock()
	defer s.writing.Unlock()
	out, end := s.answers()
	if e := s.writeLocked(out, writeTime); e != nil {
		end = endIdle
	}
	s.mu.Lock()
	s.changed.Broadcast()
	s.mu.Unlock()
	if end != "" {
		s.end(end)
	}
}

// answers takes the uploads that are done off the front of the order and writes their answers. An end other than ""
// comes after them.
func (s *session) answers() (out []byte, end ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, u := range s.pending {
		if !u.done || s.refused || end != "" {
			break
		}
		n++
		switch {
		case u.err == nil && u.id != 0:
			out = mqtt.AppendPuback(out, s.version, u.id, mqtt.Success, "")
		case u.err == nil:
		case u.id != 0 && s.version == mqtt.V5:
			text := ""
			if !s.noReasons {
				text = short(lh.PublicMessage(u.err))
			}
			ack := mqtt.AppendPuback(nil, s.version, u.id, reasonOf(u.err), text)
			if s.maxOut != 0 && len(ack) > int(s.maxOut) {
				ack = mqtt.AppendPuback(nil, s.version, u.id, reasonOf(u.err), "")
			}
			out = append(out, ack...)
		default:
			// MQTT 3.1.1 has no word for a refusal: nothing is acknowledged and the connection ends.
			out = s.notice(out, u)
			if u.id != 0 {
				end, s.refused = endRefused, true
			}
		}
	}
	rest := copy(s.pending, s.pending[n:])
	clear(s.pending[rest:])
	s.pending = s.pending[:rest]
	if rest == 0 {
		s.pending = nil // an idle session holds nothing
	}
	return out, end
}

// notice writes why an upload was refused to the downlink, if the device listens to it.
func (s *session) notice(out []byte, u *upload) []byte {
	if !s.subscribed {
		return out
	}
	b, err := json.Marshal(wire.Notice{Type: "error", Code: lh.CodeOf(u.err), Message: short(lh.PublicMessage(u.err)), First: u.first})
	if err != nil { // it always can
		return out
	}
	n := len(out)
	out = mqtt.AppendPublish(out, s.version, wire.DownTopic(s.device.ID), b)
	if s.maxOut != 0 && len(out)-n > int(s.maxOut) {
		return out[:n]
	}
	return out
}

// reasonOf is the reason code of an upload that was refused.
func reasonOf(err error) mqtt.Reason {
	switch lh.CodeOf(err) {
	case lh.Invalid:
		return mqtt.PayloadFormatInvalid
	case lh.Exhausted, lh.Unavailable:
		return mqtt.QuotaExceeded
	case lh.Unauthenticated, lh.Forbidden, lh.NotFound:
		return mqtt.NotAuthorized
	case lh.Conflict:
		return mqtt.ImplementationSpecific
	}
	return mqtt.Unspecified
}

// peek reads the log and the first sequence number of a binary batch without checking anything; 0 where they are not
// easily seen, as in JSON. docs/format/batch.md has the bytes.
func peek(payload []byte) (log uint64, first uint32) {
	if len(payload) < 13 || payload[0] == '{' || payload[0] <= ' ' {
		return 0, 0
	}
	n, k := binary.Uvarint(payload[12:])
	if k <= 0 || n > 1<<32-1 {
		n = 0
	}
	return binary.LittleEndian.Uint64(payload[4:]), uint32(n)
}
