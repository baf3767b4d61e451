package agent

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// mqttHub is the MQTT side of a hub that a test scripts.
type mqttHub struct {
	t    *testing.T
	inst *installation
	ln   net.Listener
	wg   sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	calls int
}

// serveMQTT runs script for every connection until the test ends.
func serveMQTT(t *testing.T, inst *installation, script func(n int, c net.Conn)) *mqttHub {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", inst.hubTLS("127.0.0.1", "mqtt"))
	if err != nil {
		t.Fatal(err)
	}
	m := &mqttHub{t: t, inst: inst, ln: ln}
	m.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.calls++
			n := m.calls
			m.conns = append(m.conns, c)
			m.mu.Unlock()
			m.wg.Go(func() {
				defer c.Close()
				script(n, c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		m.mu.Lock()
		for _, c := range m.conns {
			c.Close()
		}
		m.mu.Unlock()
		m.wg.Wait()
	})
	return m
}

func (m *mqttHub) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

// talk is an orderly session; puback answers a publish with a reason, or takes no notice of it (false).
func talk(c net.Conn, puback func(payload []byte) (reason byte, answer bool)) {
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		switch q := p.Content.(type) {
		case *packets.Connect:
			(&packets.Connack{Properties: &packets.Properties{}}).WriteTo(c)
		case *packets.Subscribe:
			(&packets.Suback{PacketID: q.PacketID, Reasons: []byte{1}, Properties: &packets.Properties{}}).WriteTo(c)
		case *packets.Publish:
			if reason, answer := puback(q.Payload); answer {
				(&packets.Puback{PacketID: q.PacketID, ReasonCode: reason, Properties: &packets.Properties{ReasonString: "because"}}).WriteTo(c)
			}
		case *packets.Pingreq:
			packets.NewControlPacket(packets.PINGRESP).WriteTo(c)
		case *packets.Disconnect:
			return
		}
	}
}

// withMQTT gives a bench a live session to the address.
func (b *bench) withMQTT(addr string) {
	b.t.Helper()
	conf, err := deviceTLS("127.0.0.1", []*x509.Certificate{b.inst.Root.Cert}, b.uplink.clock, []string{"mqtt"}, b.uplink.id.live.Client)
	if err != nil {
		b.t.Fatal(err)
	}
	l := &live{addr: addr, tls: conf, dial: (&net.Dialer{}).DialContext, id: b.uplink.id, log: b.uplink.log, wake: make(chan struct{}, 1),
		back: backoff{base: 5 * time.Millisecond, max: 50 * time.Millisecond}}
	b.uplink.live = l
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(ctx)
	}()
	b.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// TestMQTTRefusals has the hub refuse, or lose, what comes by MQTT: HTTPS has the last word, and nothing is lost or set
// aside on MQTT's word alone.
func TestMQTTRefusals(t *testing.T) {
	for name, puback := range map[string]func(n int) (byte, bool){
		"format":         func(int) (byte, bool) { return reasonFormat, true },
		"not authorized": func(int) (byte, bool) { return reasonNotAuthorized, true },
		"something":      func(int) (byte, bool) { return 0x80, true },
		"quota, twice":   func(n int) (byte, bool) { return reasonQuota, n <= 2 },
		"taken":          func(int) (byte, bool) { return 0, true },
		"nobody listens": func(int) (byte, bool) { return 0x10, true }, // a success, of a kind
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inst := newInstallation(t)
			hub := &fakeHub{device: testDevice}
			var mu sync.Mutex
			n := 0
			m := serveMQTT(t, inst, func(_ int, c net.Conn) {
				talk(c, func(payload []byte) (byte, bool) {
					var b wire.Batch
					if err := wire.Decode(&b, payload); err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					n++
					reason, told := puback(n)
					if !told {
						reason = 0
					}
					if reason < 0x80 {
						hub.take(&b)
					}
					return reason, true
				})
			})
			b := newBench(t, inst, serve(t, inst.hubTLS("127.0.0.1", "h2", "http/1.1"), hub))
			b.withMQTT(m.ln.Addr().String())
			until(t, "a session", func() bool { return b.uplink.live.up() != nil })
			b.start()
			for range 3 {
				before := b.stats().Acked
				b.fill(2)
				until(t, "acknowledged", func() bool { return b.stats().Acked == before+2 })
			}
			if got, _ := hub.has(); got != 6 || b.stats().Aside != 0 {
				t.Errorf("the hub has %d of 6 records, %d are aside", got, b.stats().Aside)
			}
			mu.Lock()
			defer mu.Unlock()
			if n == 0 {
				t.Error("nothing came by MQTT")
			}
		})
	}
}

// TestMQTTFaults has an MQTT side that misbehaves in every way. The agent does not fall, takes no memory for a promise,
// and its samples go by HTTPS.
func TestMQTTFaults(t *testing.T) {
	connack := func(c net.Conn, p *packets.Connack) {
		packets.ReadPacket(c)
		p.WriteTo(c)
	}
	raw := func(b ...byte) func(int, net.Conn) {
		return func(_ int, c net.Conn) {
			packets.ReadPacket(c)
			c.Write(b)
			io.Copy(io.Discard, c)
		}
	}
	afterConnack := func(b ...byte) func(int, net.Conn) {
		return func(_ int, c net.Conn) {
			connack(c, &packets.Connack{Properties: &packets.Properties{}})
			c.Write(b)
			io.Copy(io.Discard, c)
		}
	}
	for name, script := range map[string]func(n int, c net.Conn){
		"hangs up": func(int, net.Conn) {},
		"refuses": func(_ int, c net.Conn) {
			connack(c, &packets.Connack{ReasonCode: 0x87, Properties: &packets.Properties{}})
		},
		"garbage":             raw(0xff, 0xff, 0xff, 0xff, 0xff),
		"http":                raw([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")...),
		"a length too long":   raw(0x20, 0xff, 0xff, 0xff, 0x7f, 0, 0),
		"a length of 5 bytes": raw(0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f),
		"an empty connack":    raw(0x20, 0),
		"auth method":         raw(0x20, 10, 0, 0, 7, 0x15, 0, 4, 'e', 'v', 'i', 'l'),
		"auth":                raw(0xf0, 2, 0x18, 0),
		"auth later":          afterConnack(0xf0, 2, 0x18, 0),
		"connack twice":       afterConnack(0x20, 3, 0, 0, 0),
		"pubrel":              afterConnack(0x62, 2, 0, 1),
		"publish, QoS 2":      afterConnack(0x34, 6, 0, 1, 'x', 0, 1, 0),
		"publish, cut short":  afterConnack(0x32, 1, 0),
		"puback of nothing":   afterConnack(0x40, 2, 0, 77),
		"suback of nothing":   afterConnack(0x90, 4, 0, 77, 0, 0),
		"disconnect":          afterConnack(0xe0, 2, 0x8b, 0),
		"cut at the publish": func(_ int, c net.Conn) {
			talk(c, func([]byte) (byte, bool) { c.Close(); return 0, false })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inst := newInstallation(t)
			hub := &fakeHub{device: testDevice}
			m := serveMQTT(t, inst, script)
			b := newBench(t, inst, serve(t, inst.hubTLS("127.0.0.1", "h2", "http/1.1"), hub))
			b.withMQTT(m.ln.Addr().String())
			b.start()
			if !strings.Contains(name, "of nothing") { // which may be waited with
				until(t, "a second connection", func() bool { b.fill(1); return m.count() > 1 })
			} else {
				until(t, "a connection", func() bool { return m.count() > 0 })
			}
			b.fill(10)
			until(t, "everything acknowledged", func() bool { return b.stats().Unacked == 0 })
			if got, _ := hub.has(); int64(got) != int64(b.stats().Last) {
				t.Errorf("the hub has %d of %d records", got, b.stats().Last)
			}
		})
	}
}

// TestNotice logs what the hub says on the downlink, and nothing else happens.
func TestNotice(t *testing.T) {
	inst := newInstallation(t)
	m := serveMQTT(t, inst, func(_ int, c net.Conn) {
		talk(c, func([]byte) (byte, bool) {
			(&packets.Publish{Topic: wire.DownTopic(testDevice), QoS: 0, Payload: []byte(`{"type":"error","code":"invalid","message":"batch\nis damaged","first":7}`), Properties: &packets.Properties{}}).WriteTo(c)
			(&packets.Publish{Topic: wire.DownTopic(testDevice), QoS: 1, PacketID: 9, Payload: []byte(`{]`), Properties: &packets.Properties{}}).WriteTo(c)
			return 0, true
		})
	})
	b := newBench(t, inst, serve(t, inst.hubTLS("127.0.0.1", "h2", "http/1.1"), http.NotFoundHandler()))
	b.uplink.welcomed = testDevice
	b.withMQTT(m.ln.Addr().String())
	until(t, "a session", func() bool { return b.uplink.live.up() != nil })
	b.fill(1)
	b.start()
	until(t, "notices", func() bool {
		s := b.said.String()
		return strings.Contains(s, "batch is damaged") && strings.Contains(s, "cannot be read")
	})
	until(t, "acknowledged", func() bool { return b.stats().Unacked == 0 })
}

// TestGuardWrites lets packets out whole, however they are written.
func TestGuardWrites(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	g := newGuard(here)
	want := append([]byte{0x32, 0xac, 0x02}, bytes.Repeat([]byte{7}, 300)...)
	errs := make(chan error, 1)
	go func() {
		for _, part := range [][]byte{want[:1], want[1:2], want[2:3], want[3:100], want[100:], {0xc0, 0}} {
			if _, err := g.Write(part); err != nil {
				errs <- err
				return
			}
		}
		errs <- nil
	}()
	got := make([]byte, 1000)
	if n, err := there.Read(got); err != nil || !bytes.Equal(got[:n], want) {
		t.Errorf("%d bytes in the first piece, %v", n, err)
	}
	if n, err := there.Read(got); err != nil || !bytes.Equal(got[:n], []byte{0xc0, 0}) {
		t.Errorf("%d bytes in the second piece, %v", n, err)
	}
	if err := <-errs; err != nil {
		t.Error(err)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0x20, 3, 0, 0, 0})
	f.Add([]byte{0x40, 2, 0, 1})
	f.Add([]byte{0x32, 8, 0, 1, 'x', 0, 1, 0, 'y', 'z'})
	f.Add([]byte{0x20, 10, 0, 0, 7, 0x15, 0, 4, 'e', 'v', 'i', 'l'})
	f.Fuzz(func(t *testing.T, data []byte) {
		frame, err := readFrame(bufio.NewReader(bytes.NewReader(data)))
		if err == nil && (len(frame) > maxFrame+5 || !bytes.HasPrefix(data, frame)) {
			t.Fatalf("a frame of %d bytes of %d", len(frame), len(data))
		}
	})
}
