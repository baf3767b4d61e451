package mqtt

import (
	"bytes"
)

// Connect is the CONNECT packet (section 3.1). User name, password and the will's message are read and left out.
type Connect struct {
	Version    Version
	CleanStart bool
	KeepAlive  uint16 // seconds; 0 is off
	ClientID   string
	Will       bool
	WillQoS    byte
	WillRetain bool
	// MQTT 5 only; the standard's defaults otherwise.
	SessionExpiry uint32
	MaximumPacket uint32 // the greatest packet the client takes; 0 is any
	NoReasons     bool   // the client wants no reason strings but in CONNACK and DISCONNECT
	Auth          bool   // it asks for enhanced authentication
}

var (
	connectProperties = setOf(propSessionExpiry, propReceiveMaximum, propMaximumPacket, propAliasMaximum, propResponseInfo,
		propProblemInfo, propUser, propAuthMethod, propAuthData)
	willProperties = setOf(propWillDelay, propPayloadFormat, propMessageExpiry, propContentType, propResponseTopic,
		propCorrelation, propUser)
	publishProperties = setOf(propPayloadFormat, propMessageExpiry, propAlias, propResponseTopic, propCorrelation, propUser,
		propSubscriptionID, propContentType)
	ackProperties         = setOf(propReasonString, propUser)
	subscribeProperties   = setOf(propSubscriptionID, propUser)
	unsubscribeProperties = setOf(propUser)
	disconnectProperties  = setOf(propSessionExpiry, propReasonString, propUser)
)

// ReadConnect reads the body of a CONNECT packet. An Error with UnsupportedVersion comes with Version set to V311, as
// which it is best answered.
func ReadConnect(body []byte) (Connect, error) {
	c := Connect{Version: V311}
	r := &reader{data: body}
	name := r.text()
	level := r.byte()
	switch {
	case r.err != nil:
		return c, r.err
	case !bytes.Equal(name, []byte("MQTT")) && !bytes.Equal(name, []byte("MQIsdp")):
		return c, broken("the protocol's name is not MQTT")
	case !bytes.Equal(name, []byte("MQTT")) || level != byte(V311) && level != byte(V5):
		return c, &Error{UnsupportedVersion, "the protocol is neither MQTT 3.1.1 nor 5"}
	}
	c.Version = Version(level)
	flags := r.byte()
	c.CleanStart = flags&2 != 0
	c.Will, c.WillQoS, c.WillRetain = flags&4 != 0, flags>>3&3, flags&32 != 0
	user, password := flags&128 != 0, flags&64 != 0
	switch {
	case flags&1 != 0:
		r.fail(malformed("the reserved flag of CONNECT is set"))
	case c.WillQoS == 3 || !c.Will && (c.WillQoS != 0 || c.WillRetain):
		r.fail(malformed("the will's flags do not fit together"))
	case c.Version == V311 && password && !user:
		r.fail(malformed("there is a password without a user name"))
	}
	c.KeepAlive = r.uint16()
	if c.Version == V5 {
		r.properties(connectProperties, func(id byte, n uint32) {
			switch id {
			case propSessionExpiry:
				c.SessionExpiry = n
			case propMaximumPacket:
				c.MaximumPacket = n
			case propProblemInfo:
				c.NoReasons = n == 0
			case propAuthMethod, propAuthData:
				c.Auth = true
			}
		})
	}
	c.ClientID = string(r.text())
	if c.Will {
		if c.Version == V5 {
			r.properties(willProperties, nil)
		}
		if topic := r.text(); r.err == nil && !validTopic(topic) {
			r.fail(&Error{BadTopicName, "the will's topic cannot be published to"})
		}
		r.binary()
	}
	if user {
		r.text()
	}
	if password {
		r.binary()
	}
	return c, r.end()
}

// validTopic reports whether a topic may be published to (section 4.7).
func validTopic(t []byte) bool { return len(t) > 0 && !bytes.ContainsAny(t, "+#") }

// Publish is the PUBLISH packet (section 3.3). Topic and Payload are parts of the body it was read from.
type Publish struct {
	QoS     byte // 0 or 1
	Dup     bool
	Retain  bool
	ID      uint16 // of QoS 1
	Topic   []byte
	Payload []byte
}

// ReadPublish reads the body of a PUBLISH packet. QoS 2 and topic aliases are errors: the server said in its CONNACK
// that it has neither.
func ReadPublish(v Version, flags byte, body []byte) (Publish, error) {
	p := Publish{QoS: flags >> 1 & 3, Dup: flags&8 != 0, Retain: flags&1 != 0}
	switch {
	case p.QoS == 3 || p.QoS == 0 && p.Dup:
		return p, malformed("the flags of PUBLISH do not fit together")
	case p.QoS == 2:
		return p, &Error{NoQoS, "QoS 2 is not spoken here"}
	}
	r := &reader{data: body}
	p.Topic = r.text()
	if p.QoS > 0 {
		p.ID = r.id()
	}
	if v == V5 {
		r.properties(publishProperties, func(id byte, _ uint32) {
			switch id {
			case propAlias:
				r.fail(&Error{BadTopicAlias, "topic aliases are not used here"})
			case propSubscriptionID:
				r.fail(broken("a client does not send subscription identifiers"))
			}
		})
	}
	if r.err == nil && !validTopic(p.Topic) {
		r.fail(&Error{BadTopicName, "the topic cannot be published to"})
	}
	p.Payload = r.data
	return p, r.err
}

// Subscribe is the SUBSCRIBE packet (section 3.8).
type Subscribe struct {
	ID      uint16
	Filters []Filter // one or more
}

// Filter is one subscription of a SUBSCRIBE packet. Topic is a part of the body it was read from.
type Filter struct {
	Topic []byte
	QoS   byte
}

// Refuse returns what a server with neither wildcards nor shared subscriptions says to the filter; Success is nothing.
func (f Filter) Refuse() Reason {
	switch {
	case bytes.HasPrefix(f.Topic, []byte("$share/")):
		return NoSharedSubscriptions
	case bytes.ContainsAny(f.Topic, "+#"):
		return NoWildcards
	}
	return Success
}

// maxFilters bounds the filters of one packet; each costs an answer.
const maxFilters = 32

// ReadSubscribe reads the body of a SUBSCRIBE packet.
func ReadSubscribe(v Version, body []byte) (Subscribe, error) {
	r := &reader{data: body}
	s := Subscribe{ID: r.id()}
	if v == V5 {
		r.properties(subscribeProperties, func(id byte, _ uint32) {
			if id == propSubscriptionID {
				r.fail(&Error{NoSubscriptionIDs, "subscription identifiers are not used here"})
			}
		})
	}
	for r.err == nil && len(r.data) > 0 {
		f := Filter{Topic: r.filter()}
		options := r.byte()
		f.QoS = options & 3
		if f.QoS == 3 || v == V311 && options&0xFC != 0 || options&0xC0 != 0 || options>>4&3 == 3 {
			r.fail(malformed("the options of a subscription do not fit together"))
		}
		s.Filters = append(s.Filters, f)
		r.few(len(s.Filters))
	}
	if r.err == nil && len(s.Filters) == 0 {
		r.fail(broken("SUBSCRIBE without a topic filter"))
	}
	return s, r.end()
}

func (r *reader) filter() []byte {
	t := r.text()
	if len(t) == 0 {
		r.fail(malformed("a topic filter is empty"))
	}
	return t
}

func (r *reader) few(n int) {
	if n > maxFilters {
		r.fail(&Error{QuotaExceeded, "too many topic filters in one packet"})
	}
}

// Unsubscribe is the UNSUBSCRIBE packet (section 3.10). Filters are parts of the body it was read from.
type Unsubscribe struct {
	ID      uint16
	Filters [][]byte // one or more
}

// ReadUnsubscribe reads the body of an UNSUBSCRIBE packet.
func ReadUnsubscribe(v Version, body []byte) (Unsubscribe, error) {
	r := &reader{data: body}
	u := Unsubscribe{ID: r.id()}
	if v == V5 {
		r.properties(unsubscribeProperties, nil)
	}
	for r.err == nil && len(r.data) > 0 {
		u.Filters = append(u.Filters, r.filter())
		r.few(len(u.Filters))
	}
	if r.err == nil && len(u.Filters) == 0 {
		r.fail(broken("UNSUBSCRIBE without a topic filter"))
	}
	return u, r.end()
}

// ReadPuback reads the body of a PUBACK packet (section 3.4).
func ReadPuback(v Version, body []byte) (id uint16, reason Reason, err error) {
	r := &reader{data: body}
	id = r.id()
	reason = r.answer(v, ackProperties)
	return id, reason, r.end()
}

// ReadDisconnect reads the body of a DISCONNECT packet (section 3.14).
func ReadDisconnect(v Version, body []byte) (Reason, error) {
	r := &reader{data: body}
	reason := r.answer(v, disconnectProperties)
	return reason, r.end()
}

// answer reads a reason and its properties, both of which may be left out.
func (r *reader) answer(v Version, allowed set) Reason {
	if v != V5 || r.err != nil || len(r.data) == 0 {
		return Success
	}
	reason := Reason(r.byte())
	if len(r.data) > 0 {
		r.properties(allowed, nil)
	}
	return reason
}
