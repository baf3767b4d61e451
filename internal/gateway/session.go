package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/mqtt"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

const (
	// inFlight is how many uploads of a session are under way at once, so that a device with a backlog has several of
	// them in one group commit. It is the receive maximum of MQTT 5.
	inFlight = 16
	// maxPacket is the greatest packet taken: the greatest batch with a topic and properties around it. maxSmall is the
	// greatest of any other kind than PUBLISH.
	maxPacket = wire.MaxBatchBytes + 4<<10
	maxSmall  = 8 << 10
	// A packet that has begun must arrive at slowest bytes a second, after a grace.
	packetGrace = 20 * time.Second
	slowest     = 8 << 10
	writeTime   = 10 * time.Second       // for a device to take an answer
	lastWrite   = 300 * time.Millisecond // for it to take the farewell of a connection that is cut
	killAfter   = 500 * time.Millisecond // from the cut to the end of the connection, whatever the device does
	maxReason   = 256                    // bytes of a reason string
)

// session is one MQTT connection. Its goroutine reads; uploads have goroutines of their own, and whichever of them
// finishes writes what can be acknowledged by then, in the order of arrival.
type session struct {
	g      *Gateway
	conn   *tls.Conn
	device access.Device // as at CONNECT; set before the session is live
	key    [32]byte
	one    [1]byte // of the reader

	version   mqtt.Version
	keepAlive time.Duration // longest silence; 1.5 times what was agreed
	maxOut    uint32        // greatest packet the device takes; 0 is any
	noReasons bool

	writing sync.Mutex // held over what is written; never taken with mu held
	over    bool       // the farewell is written: nothing more is; writing's own

	mu         sync.Mutex
	changed    sync.Cond // pending got shorter, or the session ended
	pending    []*upload // oldest first
	why        ending    // "" while the session lasts
	reason     mqtt.Reason
	subscribed bool               // to its downlink
	refused    bool               // an upload was refused without a word: nothing after it is answered
	waiting    context.CancelFunc // of the reader's wait for memory; nil while it does not wait
	killer     *time.Timer        // ends the connection if the session does not
}

// upload is one PUBLISH on its way. All but done and err is set when it begins.
type upload struct {
	id    uint16 // 0 for QoS 0
	alone bool   // no other upload may be under way with it
	first uint32 // its batch's first record, where that is easily seen
	done  bool
	err   error
}

func newSession(g *Gateway, c *tls.Conn) *session {
	s := &session{g: g, conn: c}
	s.changed.L = &s.mu
	return s
}

// run serves the connection to its end and closes it.
func (s *session) run(q *guest) {
	l, err := s.begin(q)
	if err == nil {
		err = s.loop()
		s.finish(err)
		s.g.live.mu.Lock()
		s.g.live.remove(l)
		s.g.live.mu.Unlock()
	} else {
		s.g.metrics.refused.WithLabelValues("connect").Inc()
		s.g.log.Debug("MQTT connection refused", "remote", s.conn.RemoteAddr(), "err", err)
	}
	s.mu.Lock()
	if s.killer != nil {
		s.killer.Stop()
	}
	s.mu.Unlock()
	late := time.AfterFunc(killAfter, func() { hangUp(s.conn) })
	s.conn.Close() // says goodbye as TLS does, unless the device is gone already
	late.Stop()
	hangUp(s.conn)
}

// begin reads CONNECT, finds out who it is, puts the session among the live ones and answers.
func (s *session) begin(q *guest) (*live, error) {
	g := s.g
	stop := context.AfterFunc(g.newcomers, func() { hangUp(s.conn) })
	defer stop()
	if err := s.conn.SetDeadline(time.Now().Add(g.cfg.Limits.Handshake)); err != nil {
		return nil, err
	}
	h, err := mqtt.ReadHeader(s.conn, &s.one)
	if err == nil && (h.Type != mqtt.CONNECT || h.Length > maxSmall) {
		err = &mqtt.Error{Reason: mqtt.ProtocolError, What: "the first packet is no CONNECT, or too large"}
	}
	if err != nil {
		return nil, err
	}
	buf := g.buffers.get(h.Length)
	defer g.buffers.put(buf)
	body := (*buf)[:h.Length]
	if _, err := io.ReadFull(s.conn, body); err != nil {
		return nil, err
	}
	c, err := mqtt.ReadConnect(body)
	s.version = c.Version
	if err != nil {
		return nil, s.refuse(mqtt.ProtocolError, err)
	}
	switch {
	case c.Auth:
		return nil, s.refuse(mqtt.BadAuthenticationMethod, errors.New("enhanced authentication is not offered"))
	case c.WillQoS > 1 && s.version == mqtt.V5:
		return nil, s.refuse(mqtt.NoQoS, errors.New("a will of QoS 2"))
	case c.WillRetain && s.version == mqtt.V5:
		return nil, s.refuse(mqtt.NoRetain, errors.New("a retained will"))
	case c.ClientID == "" && !c.CleanStart && s.version == mqtt.V311:
		return nil, s.refuse(mqtt.BadClientID, errors.New("no client id for a session that lasts")) // [MQTT-3.1.3-8]
	case len(c.ClientID) > maxClientID:
		return nil, s.refuse(mqtt.BadClientID, errors.New("the client id is too long"))
	}
	state := s.conn.ConnectionState()
	key, notAfter, err := g.proven(&state)
	if err != nil {
		return nil, s.refuse(mqtt.NotAuthorized, err)
	}
	s.key = key
	ctx, cancel := context.WithTimeout(g.newcomers, g.cfg.Limits.Handshake)
	defer cancel()
	s.device, err = g.identify(ctx, key)
	if err != nil {
		reason := mqtt.ServerUnavailable
		if gone(err) {
			reason = mqtt.NotAuthorized
		}
		return nil, s.refuse(reason, err)
	}
	ack := mqtt.Connack{ReceiveMaximum: inFlight, MaximumPacket: maxPacket, NoExpiry: c.SessionExpiry != 0}
	if c.ClientID == "" {
		ack.AssignedClient = string(s.device.ID)
	}
	agreed := time.Duration(c.KeepAlive) * time.Second
	if longest := g.cfg.Limits.KeepAlive; agreed == 0 || agreed > longest {
		agreed = longest
		ack.KeepAlive = uint16(min(longest/time.Second, 65535))
	}
	s.keepAlive = agreed * 3 / 2
	s.maxOut, s.noReasons = c.MaximumPacket, c.NoReasons
	l, err := g.enterMQTT(s, notAfter)
	if err != nil {
		return nil, s.refuse(mqtt.ServerShuttingDown, err)
	}
	g.door.known(q)
	if err := s.write(ack.Append(nil, s.version), writeTime); err != nil {
		s.g.live.mu.Lock()
		s.g.live.remove(l)
		s.g.live.mu.Unlock()
		return nil, err
	}
	if c.Will {
		g.log.Debug("a will is ignored; the hub itself sees when a device falls silent", "device", s.device.ID)
	}
	return l, nil
}

// maxClientID bounds the client identifier, which says nothing here.
const maxClientID = 256

// refuse answers CONNECT with a refusal and returns why. The reason is err's own where it has one.
func (s *session) refuse(reason mqtt.Reason, err error) error {
	if e, ok := errors.AsType[*mqtt.Error](err); ok {
		reason = e.Reason
	}
	text := ""
	if lh.CodeOf(err) != lh.Internal {
		text = lh.PublicMessage(err)
	}
	ack := mqtt.Connack{Reason: reason, ReasonString: short(text)}
	if e := s.write(ack.Append(nil, s.version), lastWrite); e != nil {
		return errors.Join(err, e)
	}
	return err
}

// short bounds a reason string.
func short(text string) string {
	if len(text) <= maxReason {
		return strings.ToValidUTF8(text, "?")
	}
	n := maxReason
	for n > 0 && text[n]&0xC0 == 0x80 { // not within a character
		n--
	}
	return strings.ToValidUTF8(text[:n], "?")
}

// enterMQTT puts a session among the live ones. A device has one: an older one has to go.
func (g *Gateway) enterMQTT(s *session, notAfter time.Time) (*live, error) {
	l := &live{device: s.device, key: s.key, notAfter: notAfter, checked: time.Now(), session: true, end: s.end, kill: func() { hangUp(s.conn) }}
	r := &g.live
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return nil, lh.Errorf(lh.Unavailable, "the hub is stopping")
	}
	p := r.at(s.device.ID)
	if old := p.mqtt; old != nil {
		old.end(endReplaced)
		g.metrics.cut.WithLabelValues(string(endReplaced)).Inc()
		r.remove(old)
		p = r.at(s.device.ID)
	}
	p.mqtt = l
	r.all[l] = struct{}{}
	g.startWatch()
	return l, nil
}

// end makes the session end: its reader wakes up and does the rest. Nothing is waited for, so that it may be called with
// the registry locked.
func (s *session) end(why ending) { s.endWith(why, endings[why]) }

var endings = map[ending]mqtt.Reason{
	endRevoked: mqtt.AdministrativeAction, endExpired: mqtt.NotAuthorized, endReplaced: mqtt.SessionTakenOver,
	endStopping: mqtt.ServerShuttingDown, endIdle: mqtt.KeepAliveTimeout, endProtocol: mqtt.ProtocolError,
	endRefused: mqtt.Unspecified, endBusy: mqtt.ServerBusy,
}

func (s *session) endWith(why ending, reason mqtt.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != "" && (s.why != endStopping || why == endStopping) { // a cut overrides an orderly end
		return
	}
	s.why, s.reason = why, reason
	s.conn.SetReadDeadline(time.Unix(1, 0)) // fails only when the connection is gone already
	if why != endStopping && s.killer == nil {
		s.killer = time.AfterFunc(killAfter, func() { hangUp(s.conn) })
	}
	if s.waiting != nil {
		s.waiting()
	}
	s.changed.Broadcast()
}

var errEnded = errors.New("the session was ended")

// arm gives the device until then to send on.
func (s *session) arm(within time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != "" {
		return errEnded
	}
	return s.conn.SetReadDeadline(time.Now().Add(within))
}

// loop reads packets until the session ends. io.EOF is an orderly end.
func (s *session) loop() error {
	for {
		if err := s.arm(s.keepAlive); err != nil {
			return err
		}
		h, err := mqtt.ReadHeader(s.conn, &s.one)
		if err != nil {
			return err
		}
		if h.Type == mqtt.PUBLISH {
			err = s.publish(h)
		} else {
			err = s.other(h)
		}
		if err != nil {
			return err
		}
	}
}

// other serves every packet but PUBLISH.
func (s *session) other(h mqtt.Header) error {
	if h.Length > maxSmall {
		return &mqtt.Error{Reason: mqtt.PacketTooLarge, What: "a packet is too large for its kind"}
	}
	if err := s.arm(packetGrace); err != nil {
		return err
	}
	var body []byte
	if h.Length > 0 {
		buf := s.g.buffers.get(h.Length)
		defer s.g.buffers.put(buf)
		body = (*buf)[:h.Length]
		if _, err := io.ReadFull(s.conn, body); err != nil {
			return err
		}
	}
	switch h.Type {
	case mqtt.PINGREQ:
		if h.Length > 0 {
			return &mqtt.Error{Reason: mqtt.Malformed, What: "PINGREQ has a body"}
		}
		return s.write(mqtt.AppendPingresp(nil), writeTime)
	case mqtt.SUBSCRIBE:
		sub, err := mqtt.ReadSubscribe(s.version, body)
		if err != nil {
			return err
		}
		reasons := make([]mqtt.Reason, len(sub.Filters))
		for i, f := range sub.Filters {
			reasons[i] = s.subscribe(f)
		}
		return s.write(mqtt.AppendSuback(nil, s.version, sub.ID, reasons), writeTime)
	case mqtt.UNSUBSCRIBE:
		un, err := mqtt.ReadUnsubscribe(s.version, body)
		if err != nil {
			return err
		}
		reasons := make([]mqtt.Reason, len(un.Filters))
		for i, f := range un.Filters {
			reasons[i] = s.unsubscribe(f)
		}
		return s.write(mqtt.AppendUnsuback(nil, s.version, un.ID, reasons), writeTime)
	case mqtt.DISCONNECT:
		if _, err := mqtt.ReadDisconnect(s.version, body); err != nil {
			return err
		}
		return io.EOF
	case mqtt.PUBACK: // notices are of QoS 0
		return &mqtt.Error{Reason: mqtt.ProtocolError, What: "PUBACK for nothing"}
	}
	return &mqtt.Error{Reason: mqtt.ProtocolError, What: "a packet out of place"}
}

// subscribe grants QoS 0 on the device's own downlink and nothing else.
func (s *session) subscribe(f mqtt.Filter) mqtt.Reason {
	if r := f.Refuse(); r != mqtt.Success {
		return r
	}
	if string(f.Topic) != wire.DownTopic(s.device.ID) {
		return mqtt.NotAuthorized
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribed = true
	return mqtt.Success
}

func (s *session) unsubscribe(topic []byte) mqtt.Reason {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.subscribed || string(topic) != wire.DownTopic(s.device.ID) {
		return mqtt.NoSubscription
	}
	s.subscribed = false
	return mqtt.Success
}

// write writes whole packets. An error ends the connection: TLS cannot go on after half a record.
func (s *session) write(b []byte, within time.Duration) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.writeLocked(b, within)
}

func (s *session) writeLocked(b []byte, within time.Duration) error {
	if len(b) == 0 {
		return nil
	}
	if s.over {
		return errEnded
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	_, err := s.conn.Write(b)
	return err
}

// finish ends a session whose reader stopped with err: uploads under way are waited for when the hub stops, and the
// device is told why, as far as its version of MQTT can.
func (s *session) finish(err error) {
	s.mu.Lock()
	if s.why == "" {
		s.why, s.reason = ended(err)
	}
	for s.why == endStopping && len(s.pending) > 0 {
		s.changed.Wait()
	}
	why, reason := s.why, s.reason
	if s.killer == nil {
		s.killer = time.AfterFunc(killAfter, func() { hangUp(s.conn) })
	}
	s.mu.Unlock()
	s.writing.Lock()
	if why != "" {
		if e := s.writeLocked(mqtt.AppendDisconnect(nil, s.version, reason), lastWrite); e != nil {
			err = errors.Join(err, e)
		}
	}
	s.over = true
	s.writing.Unlock()
	if why != "" {
		if why == endIdle || why == endProtocol || why == endRefused || why == endBusy {
			s.g.metrics.cut.WithLabelValues(string(why)).Inc()
		}
	}
	s.g.log.Debug("MQTT session ended", "device", s.device.ID, "reason", string(why), "err", err)
}

// ended says why a session ends that its reader's error ends; "" is the device's own doing.
func ended(err error) (ending, mqtt.Reason) {
	if e, ok := errors.AsType[*mqtt.Error](err); ok {
		return endProtocol, e.Reason
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return endIdle, mqtt.KeepAliveTimeout
	}
	if lh.CodeOf(err) == lh.Unavailable && !errors.Is(err, net.ErrClosed) {
		return endBusy, mqtt.ServerBusy
	}
	return "", mqtt.Success
}
