package gateway_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/gateway"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// device writes a logger's key and certificate where foreign programs find them.
func (h *hub) device(t *testing.T, l *logger) (dir string) {
	t.Helper()
	dir = h.folder(t)
	der, err := x509.MarshalECPrivateKey(l.key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
	write(t, dir, "cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.c.Raw}))
	return dir
}

// mosquitto returns the arguments that mosquitto_pub and mosquitto_sub share.
func (h *hub) mosquitto(version, topic string) []string {
	host, port, _ := strings.Cut(h.mqtt, ":")
	return []string{"-V", version, "-h", host, "-p", port, "--cafile", "root.pem", "--cert", "cert.pem", "--key", "key.pem",
		"--tls-version", "tlsv1.3", "-q", "1", "-t", topic}
}

// TestMosquittoPub: what mosquitto_pub has had acknowledged is stored, in both versions and as both forms.
func TestMosquittoPub(t *testing.T) {
	h := newHub(t, nil)
	for _, version := range []string{"mqttv311", "mqttv5"} {
		t.Run(version, func(t *testing.T) {
			l := h.logger()
			dir := h.device(t, l)
			write(t, dir, "batch.bin", batch(7, 1, 1000))
			mustRun(t, dir, "mosquitto_pub", append(h.mosquitto(version, wire.UpTopic(l.id)), "-f", "batch.bin")...)
			mustRun(t, dir, "mosquitto_pub", append(h.mosquitto(version, wire.UpTopic(l.id)), "--tls-alpn", "mqtt", "-m", `{"records":[{"t":1600000000000,"v":{"1/level":0}}]}`)...)
			// One connection, many uploads.
			mustRun(t, dir, "mosquitto_pub", append(h.mosquitto(version, wire.UpTopic(l.id)), "-m", `{"records":[{"t":1800000000000,"v":{"1/level":1001}}]}`, "--repeat", "40")...)
			if got := h.samples(l.id, "1/level"); len(got) != 1002 || got[0].Value != 0 || got[1000].Value != 1000 || got[1001].Value != 1001 {
				t.Errorf("%d samples", len(got))
			}
			for what, args := range map[string][]string{
				"another device's topic": append(h.mosquitto(version, wire.UpTopic(lh.NewDeviceID())), "-f", "batch.bin"),
				"a damaged batch":        append(h.mosquitto(version, wire.UpTopic(l.id)), "-m", "LHB1 and nonsense", "--quiet"),
			} {
				// mosquitto_pub says nothing of a reason code, but it is not told that all is well: 3.1.1 ends, 5 has a warning.
				before := h.metric("loggerhead_gateway_mqtt_publishes_total", "ok")
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				c := exec.CommandContext(ctx, "mosquitto_pub", args...)
				c.Dir = dir
				out, err := c.CombinedOutput()
				cancel()
				if version == "mqttv311" && err == nil {
					t.Errorf("%s: %s", what, out)
				}
				if h.metric("loggerhead_gateway_mqtt_publishes_total", "ok") != before {
					t.Errorf("%s: taken in", what)
				}
			}
			// Without a certificate nobody gets in.
			args := h.mosquitto(version, wire.UpTopic(l.id))
			i := index(args, "--cert")
			if out, err := program(t, dir, "mosquitto_pub", append(append(args[:i:i], args[i+4:]...), "-f", "batch.bin")...); err == nil {
				t.Errorf("no certificate: %s", out)
			}
		})
	}
}

func index(list []string, s string) int {
	for i, x := range list {
		if x == s {
			return i
		}
	}
	return -1
}

// TestMosquittoSub: a device that only listens hears its notices, and is refused what is not its own.
func TestMosquittoSub(t *testing.T) {
	h := newHub(t, nil)
	for _, version := range []string{"mqttv311", "mqttv5"} {
		t.Run(version, func(t *testing.T) {
			l := h.logger()
			dir := h.device(t, l)
			for _, topic := range []string{"#", wire.DownTopic(lh.NewDeviceID()), wire.UpTopic(l.id)} {
				if out := mustRun(t, dir, "mosquitto_sub", append(h.mosquitto(version, topic), "-W", "3")...); !strings.Contains(out, "denied") {
					t.Errorf("%s: %s", topic, out)
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			c := exec.CommandContext(ctx, "stdbuf", append([]string{"-oL", "mosquitto_sub", "-d"}, h.mosquitto(version, wire.DownTopic(l.id))...)...)
			c.Dir = dir
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			granted := false
			lines := bufio.NewScanner(out)
			for !granted && lines.Scan() {
				granted = strings.HasPrefix(lines.Text(), "Subscribed (mid: 1): 0")
			}
			if !granted {
				t.Error("the subscription was not granted")
			}
			// The session ends with the device's right to be here, and the program tells.
			if err := h.fleet.Revoke(context.Background(), h.owner, l.id); err != nil {
				t.Fatal(err)
			}
			rest := ""
			for lines.Scan() {
				rest += lines.Text() + "\n"
			}
			err = c.Wait()
			if told := strings.Contains(rest, "Received DISCONNECT (152)"); version == "mqttv5" && !told || version == "mqttv311" && err == nil {
				t.Errorf("mosquitto_sub thinks that all is well: %v %s", err, rest)
			}
		})
	}
}

// TestPaho drives the hub with the client library that the agent uses.
func TestPaho(t *testing.T) {
	hold := make(chan error, 100)
	h := newHub(t, func(c *gateway.Config) {
		accept := c.Accept
		c.Accept = func(ctx context.Context, sc store.Scope, d lh.DeviceID, p []byte) (wire.Ack, error) {
			select {
			case err := <-hold:
				return wire.Ack{}, err
			default:
				return accept(ctx, sc, d, p)
			}
		}
	})
	l := h.logger()
	conn, err := h.dialMQTT(l)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan byte, 1)
	heard := make(chan string, 10)
	c := paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(conn),
		OnServerDisconnect: func(d *paho.Disconnect) { ended <- d.ReasonCode },
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(p paho.PublishReceived) (bool, error) {
			heard <- string(p.Packet.Payload)
			return true, nil
		}}})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ack, err := c.Connect(ctx, &paho.Connect{CleanStart: true, KeepAlive: 30})
	if err != nil {
		t.Fatal(err)
	}
	if p := ack.Properties; p.AssignedClientID != string(l.id) || p.MaximumQoS == nil || *p.MaximumQoS != 1 || p.RetainAvailable || p.WildcardSubAvailable ||
		p.SharedSubAvailable || p.ReceiveMaximum == nil || *p.ReceiveMaximum != 16 {
		t.Errorf("%+v", p)
	}
	if s, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: wire.DownTopic(l.id), QoS: 1}}}); err != nil || s.Reasons[0] != 0 {
		t.Fatalf("%+v %v", s, err)
	}
	// More at once than the receive maximum: the library keeps to it.
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			r, err := c.Publish(ctx, &paho.Publish{Topic: wire.UpTopic(l.id), QoS: 1, Payload: batch(7, uint32(i*10+1), 10)})
			if err != nil || r.ReasonCode != 0 {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
	all.Wait()
	if got := h.samples(l.id, "1/level"); len(got) != 640 {
		t.Errorf("%d samples", len(got))
	}
	r, err := c.Publish(ctx, &paho.Publish{Topic: wire.UpTopic(l.id), QoS: 1, Payload: []byte("nonsense")})
	if r == nil || r.ReasonCode != 0x99 || !strings.Contains(r.Properties.ReasonString, "no batch") {
		t.Errorf("%+v %v", r, err)
	}
	hold <- lh.Errorf(lh.Unavailable, "the disk is full")
	if r, err = c.Publish(ctx, &paho.Publish{Topic: wire.UpTopic(l.id), QoS: 1, Payload: batch(7, 1, 1)}); r == nil || r.ReasonCode != 0x97 {
		t.Errorf("%+v %v", r, err)
	}
	hold <- errors.New("classified")
	if _, err = c.Publish(ctx, &paho.Publish{Topic: wire.UpTopic(l.id), QoS: 0, Payload: batch(7, 1, 1)}); err != nil {
		t.Error(err)
	}
	if n := <-heard; !strings.Contains(n, `"code":"internal"`) || strings.Contains(n, "classified") {
		t.Error(n)
	}
	h.gateway.Cut(l.id)
	if why := <-ended; why != 0x98 {
		t.Errorf("ended with 0x%02X", why)
	}
	<-c.Done()
}
