package agent

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"github.com/loggerhead-cloud/loggerhead/internal/wire"

	lh "github.com/loggerhead-cloud/loggerhead"
)

const (
	// maxLive bounds a batch that goes by MQTT: the last few records, not a backlog.
	maxLive = 8 << 10
	// liveTime is how long the hub may take to answer a packet; the library sees to it.
	liveTime  = 10 * time.Second
	keepAlive = 60 // s
	maxInbox  = 16
)

// live keeps an MQTT 5 session with the hub while the device has a certificate: new samples up, notices down.
type live struct {
	addr string
	tls  *tls.Config
	dial Dial
	id   *identity
	log  *slog.Logger
	back backoff

	wake    chan struct{} // the identity changed
	session atomic.Pointer[session]
	last    atomic.Pointer[string] // why there is no session; for the status
}

// session is one connection. publish is used by one goroutine.
type session struct {
	client *paho.Client
	raw    net.Conn // below TLS, whose own way to close waits for a dead link
	device lh.DeviceID
	over   context.Context // ends with the session; the first reason is its cause
	lose   context.CancelCauseFunc
}

// changed makes the session begin anew, with the identity of now.
func (l *live) changed() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run keeps a session until ctx ends.
func (l *live) run(ctx context.Context) {
	for ctx.Err() == nil {
		if l.id.device() == "" {
			select {
			case <-ctx.Done():
			case <-l.wake:
			}
			continue
		}
		began := time.Now()
		err := l.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			l.back.reset()
		}
		if errors.Is(err, errRenewed) {
			continue
		}
		said := err.Error()
		l.last.Store(&said)
		wait := l.back.next()
		l.log.Warn("mqtt: no session; samples go by https", "err", err, "again_in", wait.Round(time.Millisecond))
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

var errRenewed = errors.New("the identity changed")

// once makes one session and stays with it to its end, whose reason it returns.
func (l *live) once(ctx context.Context) error {
	s, err := l.connect(ctx)
	if err != nil {
		return err
	}
	l.log.Info("mqtt: session is up", "address", l.addr, "device", s.device)
	l.last.Store(nil)
	l.session.Store(s)
	defer l.session.Store(nil)
	select {
	case <-ctx.Done():
		err = ctx.Err()
	case <-l.wake:
		err = errRenewed
	case <-s.over.Done():
		return context.Cause(s.over)
	}
	s.leave()
	return err
}

func (l *live) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTime)
	defer cancel()
	raw, err := l.dial(ctx, "tcp", l.addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, l.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close() // HandshakeContext may have done so
		return nil, err
	}
	s := &session{raw: raw, device: l.id.device()}
	s.over, s.lose = context.WithCancelCause(context.WithoutCancel(ctx))
	ctx, release := s.bound(ctx)
	defer release()
	s.client = paho.NewClient(paho.ClientConfig{
		Conn: newGuard(conn), PacketTimeout: liveTime,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			l.notice(p.Packet.Payload)
			return true, nil
		}},
		OnServerDisconnect: func(d *paho.Disconnect) {
			reason := ""
			if d.Properties != nil {
				reason = printable(d.Properties.ReasonString)
			}
			s.lose(fmt.Errorf("the hub ended the session: 0x%02x %s", d.ReasonCode, reason))
		},
		OnClientError: s.lose,
	})
	inbox, packet := uint16(maxInbox), uint32(maxFrame)
	_, err = s.client.Connect(ctx, &paho.Connect{ClientID: string(s.device), CleanStart: true, KeepAlive: keepAlive,
		Properties: &paho.ConnectProperties{ReceiveMaximum: &inbox, MaximumPacketSize: &packet, RequestProblemInfo: true}})
	if err != nil {
		raw.Close() // the library has closed it, but for its earliest errors
		s.lose(err)
		return nil, context.Cause(s.over)
	}
	_, err = s.client.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: wire.DownTopic(s.device), QoS: 1}}})
	if err != nil {
		s.cut(err)
		err = context.Cause(s.over)
		return nil, fmt.Errorf("subscribe to notices: %w", err)
	}
	return s, nil
}

// leave ends the session in order.
func (s *session) leave() {
	s.client.Disconnect(&paho.Disconnect{}) // an error means that it is over already
	s.lose(context.Canceled)
}

// bound ends ctx with the session too: the library can go on waiting for an answer on a connection it has lost.
func (s *session) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.over, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// cut ends a session that does not answer any more.
func (s *session) cut(why error) {
	s.lose(why)
	s.raw.Close() // the other end sees it or is gone
}

// notice is what the hub has to say. It is advice for whoever reads the log; nothing is done because of it.
func (l *live) notice(payload []byte) {
	var n wire.Notice
	if err := json.Unmarshal(payload, &n); err != nil {
		l.log.Warn("mqtt: the hub sent a notice that cannot be read", "bytes", len(payload))
		return
	}
	l.log.Warn("notice of the hub", "type", printable(n.Type), "code", printable(string(n.Code)), "message", printable(n.Message), "first", n.First)
}

// up returns the session, or nil.
func (l *live) up() *session {
	if l == nil {
		return nil
	}
	return l.session.Load()
}

// MQTT 5 reason codes of a PUBACK (3.4.2.1) with which the gateway says an error code.
const (
	reasonNotAuthorized = 0x87
	reasonQuota         = 0x97
	reasonFormat        = 0x99
)

// publish sends a batch and waits for its PUBACK: the hub has it on disk. A *refusal is the hub's answer; after any
// other error the session is over.
func (s *session) publish(ctx context.Context, payload []byte) error {
	ctx, release := s.bound(ctx)
	defer release()
	resp, err := s.client.Publish(ctx, &paho.Publish{QoS: 1, Topic: wire.UpTopic(s.device), Payload: payload})
	if resp != nil && resp.ReasonCode >= 0x80 {
		r := &refusal{status: int(resp.ReasonCode)}
		if resp.Properties != nil {
			r.message = printable(resp.Properties.ReasonString)
		}
		switch resp.ReasonCode {
		case reasonNotAuthorized:
			r.code = lh.Forbidden
		case reasonQuota:
			r.code = lh.Unavailable
		case reasonFormat:
			r.code = lh.Invalid
		default:
			r.code = lh.Internal
		}
		return r
	}
	if err != nil {
		s.cut(err)
		return fmt.Errorf("mqtt: %w", context.Cause(s.over))
	}
	return nil
}
