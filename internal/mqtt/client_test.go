package mqtt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func text(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

func join(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = append(b, byte(p))
		case string:
			b = append(b, text(p)...)
		case []byte:
			b = append(b, p...)
		}
	}
	return b
}

// wantReason checks that err is an Error with the reason; Success is no error.
func wantReason(t *testing.T, what string, err error, reason Reason) {
	t.Helper()
	if reason == Success {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	if e, ok := errors.AsType[*Error](err); !ok || e.Reason != reason {
		t.Errorf("%s: got %v, want reason 0x%02X", what, err, byte(reason))
	}
}

func TestReadHeader(t *testing.T) {
	var one [1]byte
	for in, want := range map[string]Header{
		"\x10\x00":             {CONNECT, 0, 0},
		"\x3b\x7f":             {PUBLISH, 11, 127},
		"\x30\x80\x01":         {PUBLISH, 0, 128},
		"\x82\xff\xff\xff\x7f": {SUBSCRIBE, 2, 268435455},
		"\x82\x80\x80\x80\x00": {SUBSCRIBE, 2, 0}, // not the shortest, which the standard does not forbid here
	} {
		r := strings.NewReader(in + "rest")
		h, err := ReadHeader(r, &one)
		if err != nil || h != want || r.Len() != 4 {
			t.Errorf("%x: %+v %v, %d bytes left", in, h, err, r.Len())
		}
	}
	for in, reason := range map[string]Reason{
		"\x00\x00": ProtocolError, "\x20\x00": ProtocolError, "\x90\x00": ProtocolError, "\xb0\x00": ProtocolError, "\xd0\x00": ProtocolError,
		"\x50\x02": NoQoS, "\x62\x02": NoQoS, "\x70\x02": NoQoS, "\x11\x00": Malformed, "\x80\x00": Malformed, "\xa3\x00": Malformed,
		"\xc1\x00": Malformed, "\x30\xff\xff\xff\xff": Malformed, "\x30\x80\x80\x80\x80\x80": Malformed,
	} {
		_, err := ReadHeader(strings.NewReader(in), &one)
		wantReason(t, in, err, reason)
	}
	for in, want := range map[string]error{"": io.EOF, "\x30": io.ErrUnexpectedEOF, "\x30\x80": io.ErrUnexpectedEOF} {
		if _, err := ReadHeader(strings.NewReader(in), &one); !errors.Is(err, want) {
			t.Errorf("%x: %v", in, err)
		}
	}
}

func TestReadConnect(t *testing.T) {
	for what, x := range map[string]struct {
		in   []byte
		want Connect
	}{
		"3.1.1":           {join("MQTT", 4, 2, 0, 60, "me"), Connect{Version: V311, CleanStart: true, KeepAlive: 60, ClientID: "me"}},
		"3.1.1, will":     {join("MQTT", 4, 4|8|32|128|64, 1, 0, "", "will/topic", "gone", "user", "secret"), Connect{Version: V311, KeepAlive: 256, Will: true, WillQoS: 1, WillRetain: true}},
		"5":               {join("MQTT", 5, 0, 0, 0, 0, "me"), Connect{Version: V5, ClientID: "me"}},
		"5, password":     {join("MQTT", 5, 64, 0, 0, 0, "me", "secret"), Connect{Version: V5, ClientID: "me"}},
		"5, authenticate": {join("MQTT", 5, 0, 0, 0, 4, 0x15, "X", ""), Connect{Version: V5, Auth: true}},
		"5, properties": {join("MQTT", 5, 2, 0, 60, 32, 0x11, 0, 0, 1, 0, 0x21, 0, 5, 0x27, 0, 0, 2, 0, 0x22, 0, 9, 0x19, 1, 0x17, 0, 0x26, "k", "v", 0x26, "", "", "me"),
			Connect{Version: V5, CleanStart: true, KeepAlive: 60, ClientID: "me", SessionExpiry: 256, MaximumPacket: 512, NoReasons: true}},
		"5, will": {join("MQTT", 5, 4, 0, 60, 0, "me", 23, 0x18, 0, 0, 0, 1, 0x01, 1, 0x02, 0, 0, 0, 9, 0x03, "t", 0x08, "r", 0x09, "", "will", ""),
			Connect{Version: V5, KeepAlive: 60, ClientID: "me", Will: true}},
	} {
		got, err := ReadConnect(x.in)
		if err != nil || got != x.want {
			t.Errorf("%s:\n got %+v %v\nwant %+v", what, got, err, x.want)
		}
		for n := range x.in { // no part of it is a CONNECT
			if _, err := ReadConnect(x.in[:n]); err == nil {
				t.Errorf("%s: its first %d bytes are taken", what, n)
			}
		}
		if _, err := ReadConnect(append(bytes.Clone(x.in), 0)); err == nil {
			t.Errorf("%s: a byte too many is taken", what)
		}
	}
	for what, x := range map[string]struct {
		in     []byte
		reason Reason
	}{
		"another name":          {join("MQTX", 4, 2, 0, 60, "me"), ProtocolError},
		"MQTT 3.1":              {join("MQIsdp", 3, 2, 0, 60, "me"), UnsupportedVersion},
		"MQTT 3.1 as 4":         {join("MQIsdp", 4, 2, 0, 60, "me"), UnsupportedVersion},
		"MQTT 6":                {join("MQTT", 6, 2, 0, 60, "me"), UnsupportedVersion},
		"will of QoS 3":         {join("MQTT", 4, 4|24, 0, 60, "me", "t", "p"), Malformed},
		"QoS without a will":    {join("MQTT", 4, 8, 0, 60, "me"), Malformed},
		"retain without a will": {join("MQTT", 4, 32, 0, 60, "me"), Malformed},
		"password, no user":     {join("MQTT", 4, 64, 0, 60, "me", "secret"), Malformed},
		"a will to many":        {join("MQTT", 4, 4, 0, 60, "me", "t/#", "p"), BadTopicName},
		"NUL in the client id":  {join("MQTT", 4, 2, 0, 60, "m\x00e"), Malformed},
		"half a surrogate":      {join("MQTT", 4, 2, 0, 60, "\xed\xa0\x80"), Malformed},
		"user not UTF-8":        {join("MQTT", 4, 128, 0, 60, "me", "\xff"), Malformed},
		"long property length":  {join("MQTT", 5, 2, 0, 60, 0x80, 0x80, 0x80, 0x80, 0, "me"), Malformed},
		"boolean of 2":          {join("MQTT", 5, 2, 0, 60, 2, 0x17, 2, "me"), ProtocolError},
		"maximum packet 0":      {join("MQTT", 5, 2, 0, 60, 5, 0x27, 0, 0, 0, 0, "me"), ProtocolError},
		"unknown property":      {join("MQTT", 5, 2, 0, 60, 2, 0x7f, 0, "me"), ProtocolError},
		"great property":        {join("MQTT", 5, 2, 0, 60, 2, 0xff, 0, "me"), ProtocolError},
		"the server's property": {join("MQTT", 5, 2, 0, 60, 2, 0x24, 0, "me"), ProtocolError},
		"half a user property":  {join("MQTT", 5, 2, 0, 60, 4, 0x26, "k", "me"), Malformed},
	} {
		_, err := ReadConnect(x.in)
		wantReason(t, what, err, x.reason)
	}
}

func TestReadPublish(t *testing.T) {
	got, err := ReadPublish(V311, 2|8, join("a/b", 0, 9, []byte("payload")))
	if want := (Publish{QoS: 1, Dup: true, ID: 9, Topic: []byte("a/b"), Payload: []byte("payload")}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	got, err = ReadPublish(V5, 1, join("å", 29, 1, 1, 2, 0, 0, 0, 1, 3, "x/y", 8, "re", 9, "c", 0x26, "k", "v", []byte{}))
	if want := (Publish{Retain: true, Topic: []byte("å"), Payload: []byte{}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	for what, x := range map[string]struct {
		v      Version
		flags  byte
		in     []byte
		reason Reason
	}{
		"QoS 2":                {V5, 4, join("a", 0, 1, 0), NoQoS},
		"QoS 3":                {V311, 6, join("a", 0, 1), Malformed},
		"duplicate of QoS 0":   {V311, 8, join("a"), Malformed},
		"alias":                {V5, 0, join("a", 3, 0x23, 0, 1), BadTopicAlias},
		"alias and no topic":   {V5, 0, join("", 3, 0x23, 0, 1), BadTopicAlias},
		"identifier":           {V5, 0, join("a", 2, 0x0b, 1), ProtocolError},
		"no topic":             {V5, 0, join("", 0), BadTopicName},
		"wildcard":             {V311, 0, join("a/+"), BadTopicName},
		"packet id 0":          {V311, 2, join("a", 0, 0), ProtocolError},
		"no packet id":         {V311, 2, join("a", 0), Malformed},
		"no properties":        {V5, 2, join("a", 0, 1), Malformed},
		"properties too long":  {V5, 0, join("a", 9, 1, 1), Malformed},
		"value beyond its end": {V5, 0, join("a", 2, 2, 0, 0, 0, 1), Malformed},
		"topic too long":       {V311, 0, []byte{0, 9, 'a'}, Malformed},
	} {
		_, err := ReadPublish(x.v, x.flags, x.in)
		wantReason(t, what, err, x.reason)
	}
}

func TestReadSubscribe(t *testing.T) {
	_, err := ReadSubscribe(V5, join(0, 7, 6, 0x26, "k", "v", "a", 1))
	wantReason(t, "properties that end within a string", err, Malformed)
	got, err := ReadSubscribe(V5, join(0, 7, 7, 0x26, "k", "v", "a", 1|4|8|16, "$share/g/b", 0, "#", 2))
	if err != nil {
		t.Fatal(err)
	}
	want := Subscribe{7, []Filter{{[]byte("a"), 1}, {[]byte("$share/g/b"), 0}, {[]byte("#"), 2}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	for i, r := range []Reason{Success, NoSharedSubscriptions, NoWildcards} {
		if got.Filters[i].Refuse() != r {
			t.Errorf("filter %d: 0x%02X", i, byte(got.Filters[i].Refuse()))
		}
	}
}

// FuzzRead feeds whatever bytes to everything that reads. What is read must lie within what was given, and be no more.
func FuzzRead(f *testing.F) {
	for _, s := range [][]byte{
		join(0x10, 16, "MQTT", 4, 2, 0, 60, "me"), join(0x10, 13, "MQTT", 5, 2, 0, 60, 0, "me"), join(0x32, 9, "a/b", 0, 1, []byte("xy")),
		join(0x32, 11, "a/b", 0, 1, 2, 1, 1, []byte("x")), join(0x82, 6, 0, 1, "a", 1), join(0x82, 7, 0, 1, 0, "a", 1), join(0xa2, 5, 0, 1, "a"),
		join(0x40, 2, 0, 1), join(0x40, 4, 0, 1, 0, 0), join(0xc0, 0), join(0xe0, 0), join(0xe0, 2, 0, 0), {0x30, 0xff, 0xff, 0xff, 0x7f},
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var one [1]byte
		r := bytes.NewReader(data)
		h, err := ReadHeader(r, &one)
		if err != nil || h.Length > r.Len() {
			return
		}
		body := data[len(data)-r.Len():][:h.Length]
		within := func(what string, part []byte, most int) {
			if len(part) > most || len(part) > 0 && !bytes.Contains(body, part) {
				t.Errorf("%s is not part of the packet", what)
			}
		}
		for _, v := range []Version{V311, V5} {
			switch h.Type {
			case CONNECT:
				if c, err := ReadConnect(body); err == nil && (c.Version != V311 && c.Version != V5 || c.WillQoS > 2 || len(c.ClientID) > len(body)) {
					t.Errorf("%+v", c)
				}
			case PUBLISH:
				if p, err := ReadPublish(v, h.Flags, body); err == nil {
					within("payload", p.Payload, len(body)-len(p.Topic)-2)
					within("topic", p.Topic, len(body))
					if p.QoS > 1 || p.QoS == 1 && p.ID == 0 || p.QoS == 0 && p.ID != 0 {
						t.Errorf("%+v", p)
					}
				}
			case SUBSCRIBE:
				if s, err := ReadSubscribe(v, body); err == nil {
					if s.ID == 0 || len(s.Filters) == 0 || len(s.Filters) > maxFilters {
						t.Errorf("%+v", s)
					}
					for _, f := range s.Filters {
						within("filter", f.Topic, len(body))
						if f.QoS > 2 {
							t.Errorf("%+v", s)
						}
					}
				}
			case UNSUBSCRIBE:
				if u, err := ReadUnsubscribe(v, body); err == nil && (u.ID == 0 || len(u.Filters) == 0 || len(u.Filters) > maxFilters) {
					t.Errorf("%+v", u)
				}
			case PUBACK:
				if id, _, err := ReadPuback(v, body); err == nil && id == 0 {
					t.Error("packet id 0")
				}
			case DISCONNECT:
				if _, err := ReadDisconnect(v, body); err == nil && v == V311 && len(body) > 0 {
					t.Error("DISCONNECT of MQTT 3.1.1 with a body")
				}
			}
		}
	})
}
