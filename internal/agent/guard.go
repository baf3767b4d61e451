package agent

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

const (
	// maxFrame bounds an MQTT packet from the hub; its notices are small.
	maxFrame = 64 << 10
	// writeTime bounds one write to the hub: on a dead link the kernel takes what it has room for and then blocks.
	writeTime = 20 * time.Second
)

// guard stands between the MQTT library and the hub. The library makes room for whatever length a packet announces,
// and calls a handler we do not have when a packet speaks of enhanced authentication; so packets reach it only whole,
// small, of the kinds a hub sends, and once they were decoded. Packets to the hub go out in one piece each: the library
// writes them in parts, which would be a TLS record and a packet on the air for every part.
//
// It is a [sync.Locker], which the library takes for the length of one packet.
type guard struct {
	net.Conn
	sync.Mutex
	in   *bufio.Reader
	rest []byte // of the frame being read by the library
	out  []byte // of the packet being written by it
}

func newGuard(c net.Conn) *guard { return &guard{Conn: c, in: bufio.NewReaderSize(c, 4096)} }

func (g *guard) Read(p []byte) (int, error) {
	if len(g.rest) == 0 {
		frame, err := readFrame(g.in)
		if err != nil {
			return 0, err
		}
		g.rest = frame
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

func (g *guard) Write(p []byte) (int, error) {
	g.out = append(g.out, p...)
	if len(g.out) < frameLength(g.out) {
		return len(p), nil
	}
	if err := g.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return 0, err
	}
	_, err := g.Conn.Write(g.out)
	g.out = g.out[:0]
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// frameLength is how long the packet that b begins with is; more than len(b) while that cannot be seen yet.
func frameLength(b []byte) int {
	if len(b) < 2 {
		return 2
	}
	size, n := binary.Uvarint(b[1:min(len(b), 5)]) // MQTT 5, 1.5.5 is the same coding
	if n <= 0 {
		return len(b) + 1
	}
	return 1 + n + int(size)
}

// readFrame reads one packet and refuses what a hub does not send.
func readFrame(r *bufio.Reader) ([]byte, error) {
	kind, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	if err := checkKind(kind); err != nil {
		return nil, err
	}
	frame := []byte{kind}
	size := 0
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		frame = append(frame, b)
		size |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift == 21 {
			return nil, fmt.Errorf("a packet's length has more than four bytes")
		}
	}
	if size > maxFrame {
		return nil, fmt.Errorf("a packet of %d bytes; at most %d are taken", size, maxFrame)
	}
	head := len(frame)
	frame = append(frame, make([]byte, size)...)
	if _, err := io.ReadFull(r, frame[head:]); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return frame, checkFrame(frame)
}

// checkKind refuses what a hub does not send by its first byte, before anything is waited for.
func checkKind(b byte) error {
	switch b >> 4 {
	case packets.PUBLISH:
		return nil
	case packets.CONNACK, packets.PUBACK, packets.SUBACK, packets.PINGRESP, packets.DISCONNECT:
		if b&15 == 0 {
			return nil
		}
	}
	return fmt.Errorf("a packet that begins with 0x%02x, which no hub sends", b)
}

// checkFrame decodes a packet as the library will, where a panic of its decoder does no harm.
func checkFrame(frame []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a packet of kind %d cannot be decoded", frame[0]>>4)
		}
	}()
	p, err := packets.ReadPacket(bytes.NewReader(frame))
	if err != nil {
		return fmt.Errorf("%w", err)
	}
	switch c := p.Content.(type) {
	case *packets.Connack:
		if c.Properties != nil && (c.Properties.AuthMethod != "" || len(c.Properties.AuthData) != 0) {
			return fmt.Errorf("the hub speaks of enhanced authentication, which was not asked for")
		}
	case *packets.Publish:
		if c.QoS > 1 {
			return fmt.Errorf("a message with QoS %d", c.QoS)
		}
	}
	return nil
}
