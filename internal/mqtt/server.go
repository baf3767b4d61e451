package mqtt

import (
	"encoding/binary"
)

// appendHeader writes a fixed header.
func appendHeader(dst []byte, t Type, length int) []byte {
	return binary.AppendUvarint(append(dst, byte(t)<<4), uint64(length)) // MQTT's variable byte integer is the same
}

func appendText(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// Connack is the CONNACK packet (section 3.2) of a server that keeps no sessions, takes QoS 1 and has neither retained
// messages, wildcards, shared subscriptions nor subscription identifiers. All but Reason is MQTT 5's.
type Connack struct {
	Reason         Reason
	ReasonString   string
	AssignedClient string // "" is the client's own
	KeepAlive      uint16 // seconds that the client shall use; 0 is what it asked for
	ReceiveMaximum uint16
	MaximumPacket  uint32
	NoExpiry       bool // the client asked for a session that lasts and does not get one
}

// Append writes the packet behind dst.
func (c *Connack) Append(dst []byte, v Version) []byte {
	if v != V5 {
		return append(appendHeader(dst, CONNACK, 2), 0, returnCode(c.Reason))
	}
	var p []byte
	if c.Reason == Success {
		if c.NoExpiry {
			p = append(p, propSessionExpiry, 0, 0, 0, 0)
		}
		p = append(p, propReceiveMaximum)
		p = binary.BigEndian.AppendUint16(p, c.ReceiveMaximum)
		p = append(p, propMaximumQoS, 1, propRetainAvailable, 0)
		p = append(p, propMaximumPacket)
		p = binary.BigEndian.AppendUint32(p, c.MaximumPacket)
		if c.AssignedClient != "" {
			p = appendText(append(p, propAssignedClient), c.AssignedClient)
		}
		p = append(p, propWildcards, 0, propSubscriptionIDs, 0, propShared, 0)
		if c.KeepAlive != 0 {
			p = append(p, propServerKeepAlive)
			p = binary.BigEndian.AppendUint16(p, c.KeepAlive)
		}
	}
	if c.ReasonString != "" {
		p = appendText(append(p, propReasonString), c.ReasonString)
	}
	body := binary.AppendUvarint([]byte{0, byte(c.Reason)}, uint64(len(p)))
	body = append(body, p...)
	return append(appendHeader(dst, CONNACK, len(body)), body...)
}

// returnCode is the return code of MQTT 3.1.1 (section 3.2.2.3 of that standard) for a reason.
func returnCode(r Reason) byte {
	switch r {
	case Success:
		return 0
	case UnsupportedVersion:
		return 1
	case BadClientID:
		return 2
	case ServerUnavailable, ServerBusy, ServerShuttingDown, QuotaExceeded, Unspecified:
		return 3
	}
	return 5 // not authorized
}

// AppendPuback writes a PUBACK packet (section 3.4). In MQTT 3.1.1 it says Success, so it is never to be written there
// with another reason. text may be empty.
func AppendPuback(dst []byte, v Version, id uint16, reason Reason, text string) []byte {
	if v != V5 || reason == Success {
		return binary.BigEndian.AppendUint16(appendHeader(dst, PUBACK, 2), id)
	}
	if text == "" {
		dst = appendHeader(dst, PUBACK, 3)
		return append(binary.BigEndian.AppendUint16(dst, id), byte(reason))
	}
	properties := 3 + len(text)
	body := binary.BigEndian.AppendUint16(nil, id)
	body = binary.AppendUvarint(append(body, byte(reason)), uint64(properties))
	body = appendText(append(body, propReasonString), text)
	return append(appendHeader(dst, PUBACK, len(body)), body...)
}

// AppendSuback writes a SUBACK packet (section 3.9): for each filter the QoS granted or why it is refused.
func AppendSuback(dst []byte, v Version, id uint16, reasons []Reason) []byte {
	return appendReasons(dst, SUBACK, v, id, reasons)
}

// AppendUnsuback writes an UNSUBACK packet (section 3.11). MQTT 3.1.1 has no reasons in it.
func AppendUnsuback(dst []byte, v Version, id uint16, reasons []Reason) []byte {
	if v != V5 {
		reasons = nil
	}
	return appendReasons(dst, UNSUBACK, v, id, reasons)
}

func appendReasons(dst []byte, t Type, v Version, id uint16, reasons []Reason) []byte {
	length := 2 + len(reasons)
	if v == V5 {
		length++
	}
	dst = binary.BigEndian.AppendUint16(appendHeader(dst, t, length), id)
	if v == V5 {
		dst = append(dst, 0) // no properties
	}
	for _, r := range reasons {
		if v != V5 && r >= 0x80 {
			r = 0x80
		}
		dst = append(dst, byte(r))
	}
	return dst
}

// AppendPingresp writes a PINGRESP packet (section 3.13).
func AppendPingresp(dst []byte) []byte { return appendHeader(dst, PINGRESP, 0) }

// AppendDisconnect writes a DISCONNECT packet (section 3.14). In MQTT 3.1.1 a server has none: nothing is written.
func AppendDisconnect(dst []byte, v Version, reason Reason) []byte {
	if v != V5 {
		return dst
	}
	return append(appendHeader(dst, DISCONNECT, 1), byte(reason))
}

// AppendPublish writes a PUBLISH packet of QoS 0 (section 3.3).
func AppendPublish(dst []byte, v Version, topic string, payload []byte) []byte {
	length := 2 + len(topic) + len(payload)
	if v == V5 {
		length++
	}
	dst = appendText(appendHeader(dst, PUBLISH, length), topic)
	if v == V5 {
		dst = append(dst, 0) // no properties
	}
	return append(dst, payload...)
}
