package mqtt

import (
	"bytes"
	"testing"
)

// TestAppend holds the bytes of every packet to those of the standard.
func TestAppend(t *testing.T) {
	for what, x := range map[string]struct{ got, want []byte }{
		"CONNACK 3.1.1":          {(&Connack{ReceiveMaximum: 16}).Append(nil, V311), []byte{0x20, 2, 0, 0}},
		"CONNACK 3.1.1, refused": {(&Connack{Reason: NotAuthorized, ReasonString: "x"}).Append(nil, V311), []byte{0x20, 2, 0, 5}},
		"CONNACK 3.1.1, version": {(&Connack{Reason: UnsupportedVersion}).Append(nil, V311), []byte{0x20, 2, 0, 1}},
		"CONNACK 3.1.1, id":      {(&Connack{Reason: BadClientID}).Append(nil, V311), []byte{0x20, 2, 0, 2}},
		"CONNACK 3.1.1, later":   {(&Connack{Reason: ServerBusy}).Append(nil, V311), []byte{0x20, 2, 0, 3}},
		"CONNACK 5": {(&Connack{ReceiveMaximum: 16, MaximumPacket: 1 << 20}).Append(nil, V5),
			[]byte{0x20, 21, 0, 0, 18, 0x21, 0, 16, 0x24, 1, 0x25, 0, 0x27, 0, 16, 0, 0, 0x28, 0, 0x29, 0, 0x2a, 0}},
		"CONNACK 5, all": {(&Connack{ReceiveMaximum: 1, MaximumPacket: 1, NoExpiry: true, AssignedClient: "me", KeepAlive: 300}).Append(nil, V5),
			[]byte{0x20, 34, 0, 0, 31, 0x11, 0, 0, 0, 0, 0x21, 0, 1, 0x24, 1, 0x25, 0, 0x27, 0, 0, 0, 1, 0x12, 0, 2, 'm', 'e', 0x28, 0, 0x29, 0, 0x2a, 0, 0x13, 1, 44}},
		"CONNACK 5, refused":  {(&Connack{Reason: NotAuthorized, ReasonString: "no"}).Append(nil, V5), []byte{0x20, 8, 0, 0x87, 5, 0x1f, 0, 2, 'n', 'o'}},
		"PUBACK 3.1.1":        {AppendPuback(nil, V311, 258, Success, ""), []byte{0x40, 2, 1, 2}},
		"PUBACK 5":            {AppendPuback(nil, V5, 258, Success, "ignored"), []byte{0x40, 2, 1, 2}},
		"PUBACK 5, reason":    {AppendPuback(nil, V5, 258, QuotaExceeded, ""), []byte{0x40, 3, 1, 2, 0x97}},
		"PUBACK 5, text":      {AppendPuback(nil, V5, 258, QuotaExceeded, "no"), []byte{0x40, 9, 1, 2, 0x97, 5, 0x1f, 0, 2, 'n', 'o'}},
		"SUBACK 3.1.1":        {AppendSuback(nil, V311, 5, []Reason{Success, NotAuthorized, NoWildcards}), []byte{0x90, 5, 0, 5, 0, 0x80, 0x80}},
		"SUBACK 5":            {AppendSuback(nil, V5, 5, []Reason{Success, NotAuthorized}), []byte{0x90, 5, 0, 5, 0, 0, 0x87}},
		"UNSUBACK 3.1.1":      {AppendUnsuback(nil, V311, 5, []Reason{Success}), []byte{0xb0, 2, 0, 5}},
		"UNSUBACK 5":          {AppendUnsuback(nil, V5, 5, []Reason{NoSubscription}), []byte{0xb0, 4, 0, 5, 0, 0x11}},
		"PINGRESP":            {AppendPingresp(nil), []byte{0xd0, 0}},
		"DISCONNECT 3.1.1":    {AppendDisconnect([]byte("x"), V311, ServerShuttingDown), []byte("x")},
		"DISCONNECT 5":        {AppendDisconnect([]byte("x"), V5, ServerShuttingDown), []byte("x\xe0\x01\x8b")},
		"PUBLISH 3.1.1":       {AppendPublish(nil, V311, "a", []byte("hi")), []byte{0x30, 5, 0, 1, 'a', 'h', 'i'}},
		"PUBLISH 5":           {AppendPublish(nil, V5, "a", []byte("hi")), []byte{0x30, 6, 0, 1, 'a', 0, 'h', 'i'}},
		"PUBLISH, two octets": {AppendPublish(nil, V311, "a", make([]byte, 200))[:4], []byte{0x30, 0xcb, 1, 0}},
	} {
		if !bytes.Equal(x.got, x.want) {
			t.Errorf("%s:\n got % x\nwant % x", what, x.got, x.want)
		}
	}
}
