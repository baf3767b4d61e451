package mqtt

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// reader takes values off the front of a packet's body. After the first failure every call gives zero.
type reader struct {
	data []byte
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.data = nil
}

func (r *reader) take(n int) []byte {
	if n > len(r.data) {
		r.fail(malformed("the packet ends early"))
		return nil
	}
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// varint reads a variable byte integer (section 1.5.5).
func (r *reader) varint() int {
	n := 0
	for shift := 0; shift <= 21; shift += 7 {
		b := r.byte()
		n |= int(b&127) << shift
		if b < 128 {
			return n
		}
	}
	r.fail(malformed("a length has more than four bytes"))
	return 0
}

func (r *reader) binary() []byte { return r.take(int(r.uint16())) }

// text reads a UTF-8 string (section 1.5.4), as a part of the body.
func (r *reader) text() []byte {
	b := r.binary()
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		r.fail(malformed("a string is not UTF-8, or has a zero in it"))
		return nil
	}
	return b
}

// id reads a packet identifier, which is never zero.
func (r *reader) id() uint16 {
	n := r.uint16()
	if n == 0 {
		r.fail(broken("the packet identifier is zero"))
	}
	return n
}

// end makes trailing bytes an error and returns the first one.
func (r *reader) end() error {
	if len(r.data) > 0 {
		r.fail(malformed("bytes follow the packet's end"))
	}
	return r.err
}

// The properties of MQTT 5 that a client may send (section 2.2.2.2).
const (
	propPayloadFormat   = 0x01
	propMessageExpiry   = 0x02
	propContentType     = 0x03
	propResponseTopic   = 0x08
	propCorrelation     = 0x09
	propSubscriptionID  = 0x0B
	propSessionExpiry   = 0x11
	propAssignedClient  = 0x12
	propServerKeepAlive = 0x13
	propAuthMethod      = 0x15
	propAuthData        = 0x16
	propProblemInfo     = 0x17
	propWillDelay       = 0x18
	propResponseInfo    = 0x19
	propReasonString    = 0x1F
	propReceiveMaximum  = 0x21
	propAliasMaximum    = 0x22
	propAlias           = 0x23
	propMaximumQoS      = 0x24
	propRetainAvailable = 0x25
	propUser            = 0x26
	propMaximumPacket   = 0x27
	propWildcards       = 0x28
	propSubscriptionIDs = 0x29
	propShared          = 0x2A
)

// set is a set of properties.
type set uint64

func setOf(ids ...byte) set {
	var s set
	for _, id := range ids {
		s |= 1 << id
	}
	return s
}

func (s set) has(id byte) bool { return id < 64 && s>>id&1 == 1 }

// properties reads a property list of which only some are allowed, each once but for user properties, and hands the
// numbers among them to fn, which may be nil.
func (r *reader) properties(allowed set, fn func(id byte, n uint32)) {
	length := r.varint()
	p := reader{data: r.take(length)}
	if r.err != nil {
		return
	}
	var seen set
	for len(p.data) > 0 && p.err == nil {
		id := p.byte()
		if !allowed.has(id) {
			p.fail(broken("a property does not belong into this packet"))
			break
		}
		if seen.has(id) && id != propUser {
			p.fail(broken("a property stands twice in a packet"))
			break
		}
		seen |= 1 << id
		var n uint32
		switch id {
		case propPayloadFormat, propProblemInfo, propResponseInfo:
			if n = uint32(p.byte()); n > 1 {
				p.fail(broken("a property that is 0 or 1 is more"))
			}
		case propMessageExpiry, propSessionExpiry, propWillDelay:
			n = p.uint32()
		case propMaximumPacket:
			if n = p.uint32(); n == 0 {
				p.fail(broken("the maximum packet size is zero"))
			}
		case propReceiveMaximum:
			if n = uint32(p.uint16()); n == 0 {
				p.fail(broken("the receive maximum is zero"))
			}
		case propAliasMaximum, propAlias:
			n = uint32(p.uint16())
		case propSubscriptionID:
			n = uint32(p.varint())
		case propCorrelation, propAuthData:
			p.binary()
		case propContentType, propResponseTopic, propAuthMethod, propReasonString:
			p.text()
		case propUser:
			p.text()
			p.text()
		default: // not reached: whatever is allowed stands above
			p.fail(broken("a property is not known"))
		}
		if p.err == nil && fn != nil {
			fn(id, n)
		}
	}
	if p.err != nil {
		r.fail(p.err)
	}
}
