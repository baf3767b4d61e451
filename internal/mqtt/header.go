package mqtt

import (
	"io"
)

// Type is the type of a packet (section 2.1.2).
type Type byte

const (
	CONNECT     Type = 1
	CONNACK     Type = 2
	PUBLISH     Type = 3
	PUBACK      Type = 4
	SUBSCRIBE   Type = 8
	SUBACK      Type = 9
	UNSUBSCRIBE Type = 10
	UNSUBACK    Type = 11
	PINGREQ     Type = 12
	PINGRESP    Type = 13
	DISCONNECT  Type = 14
	AUTH        Type = 15
)

// Version is the protocol level of a CONNECT packet.
type Version byte

const (
	V311 Version = 4
	V5   Version = 5
)

// Header is the fixed header of a packet.
type Header struct {
	Type   Type
	Flags  byte // the low four bits
	Length int  // of what follows the header; at most 268,435,455
}

// ReadHeader reads a fixed header, byte by byte and not one byte beyond it. one is a byte of the caller's to read into.
// An error is the reader's own or an [Error]: a type no client sends, flags that are reserved, or a length of more than
// four bytes.
func ReadHeader(r io.Reader, one *[1]byte) (Header, error) {
	if _, err := io.ReadFull(r, one[:]); err != nil {
		return Header{}, err
	}
	h := Header{Type: Type(one[0] >> 4), Flags: one[0] & 15}
	want := byte(0)
	switch h.Type {
	case PUBLISH:
		want = h.Flags
	case SUBSCRIBE, UNSUBSCRIBE:
		want = 2
	case CONNECT, PUBACK, PINGREQ, DISCONNECT, AUTH:
	case 5, 6, 7: // PUBREC, PUBREL, PUBCOMP
		return h, &Error{NoQoS, "a packet of QoS 2, which is not spoken here"}
	default:
		return h, broken("a packet of a type that no client sends")
	}
	if h.Flags != want {
		return h, malformed("reserved flags are set in the fixed header")
	}
	for shift := 0; ; shift += 7 {
		if shift > 21 {
			return h, malformed("the packet's length has more than four bytes")
		}
		if _, err := io.ReadFull(r, one[:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return h, err
		}
		h.Length |= int(one[0]&127) << shift
		if one[0] < 128 {
			return h, nil
		}
	}
}
