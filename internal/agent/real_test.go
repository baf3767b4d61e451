package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loggerhead-cloud/loggerhead/internal/agent"
)

const simulator = "  - {type: simulator, interval: 100ms, simulator: {gaps: false, seed: 7}}\n"

func readStatus(t testing.TB, path string) (s agent.Status) {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestFromSensorToHub is the way of every sample: enrol by claim code, a backlog by HTTPS, then each new sample by MQTT
// within a fraction of a second.
func TestFromSensorToHub(t *testing.T) {
	h := startHub(t)
	l := h.newLogger("T-1", strings.Replace(simulator, "seed: 7", "seed: 7, history: 24h, history_interval: 1m", 1), "")
	stop := l.start(nil)
	until(t, "samples by MQTT", func() bool { return l.said.has("session is up") && l.status().Uplink.MQTT == "up" })
	var took []int64
	seen := map[string]int64{}
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		latest, err := h.api.Latest(t.Context(), h.project)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range latest {
			if seen[s.ElementID] != s.Time && seen[s.ElementID] != 0 {
				took = append(took, s.Received-s.Time)
			}
			seen[s.ElementID] = s.Time
		}
	}
	stop()
	if len(took) == 0 {
		t.Fatal("no new sample was seen at the hub")
	}
	slices.Sort(took)
	median := took[len(took)/2]
	t.Logf("from the sensor to the hub's disk: %d ms in the middle, %d ms at worst, of %d", median, took[len(took)-1], len(took))
	if median > 1000 { // some milliseconds, but for a machine that is busy with something else
		t.Errorf("a sample takes %d ms to the hub", median)
	}
	s := l.status()
	if s.Uplink.ByMQTT < 10 || s.Uplink.ByHTTPS == 0 || s.Process != 0 || s.Samples.Unacked != 0 || s.Device == "" {
		t.Errorf("%+v", s)
	}
	l.sameAtHub()
	es, err := h.api.Elements(t.Context(), h.project, "")
	if err != nil || len(es) != 5 {
		t.Fatalf("%+v %v", es, err)
	}
	for _, e := range es {
		if e.Unit == "" || e.IntervalMs != 100 || e.Quantity == "" {
			t.Errorf("%+v", e)
		}
	}
}

// TestWithoutNetwork samples while no connection can be made, then uploads all of it.
func TestWithoutNetwork(t *testing.T) {
	h := startHub(t)
	l := h.newLogger("T-1", simulator, "upload: {max_backoff: 1s}")
	var up atomic.Bool
	stop := l.start(func(o *agent.Options) {
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if !up.Load() {
				return nil, errors.New("no carrier")
			}
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	})
	until(t, "a failure in the status", func() bool { return strings.Contains(l.status().Uplink.Hub, "no carrier") })
	until(t, "samples kept", func() bool { return l.status().Samples.Unacked > 20 })
	up.Store(true)
	until(t, "all sent", func() bool { s := l.status(); return s.Samples.Acked > 20 && s.Uplink.Hub == "" })
	stop()
	l.sameAtHub()
}

// TestHubRestarts stops the hub for a while under a running agent.
func TestHubRestarts(t *testing.T) {
	h := startHub(t)
	l := h.newLogger("T-1", simulator, "upload: {max_backoff: 1s}")
	stop := l.start(nil)
	until(t, "acks", func() bool { return l.status().Samples.Acked > 0 })
	h.stop()
	until(t, "trouble", func() bool { return l.status().Uplink.Hub != "" })
	h.run()
	before := l.status().Samples.Last
	until(t, "acks again", func() bool { s := l.status(); return s.Samples.Acked > before && s.Uplink.Hub == "" })
	stop()
	h.logIn()
	l.sameAtHub()
}

// TestRenewal sets the hub's clock forward past two thirds of the certificate's life.
func TestRenewal(t *testing.T) {
	h := startHub(t)
	l := h.newLogger("T-1", simulator, "")
	stop := l.start(nil)
	until(t, "acks", func() bool { return l.status().Samples.Acked > 0 })
	stop()
	first := l.status()
	identity := filepath.Join(l.dir, "data", "identity.pem")
	old, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	h.ahead.Store(int64(23 * 24 * time.Hour))
	stop = l.start(nil)
	until(t, "renewal", func() bool { return l.said.has("certificate renewed") })
	until(t, "acks with the new one", func() bool {
		s := l.status()
		return s.Samples.Acked > first.Samples.Acked && s.NotAfter > first.NotAfter
	})
	stop()
	if s := l.status(); s.Device != first.Device {
		t.Errorf("the device was %s and is %s", first.Device, s.Device)
	}
	renewed, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	if key := func(b []byte) string { _, k, _ := strings.Cut(string(b), "PRIVATE KEY"); return k }; key(old) == key(renewed) {
		t.Error("the renewed certificate has the old key")
	}
	for _, name := range []string{"next.pem", "pending.key"} {
		if _, err := os.Lstat(filepath.Join(l.dir, "data", name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left over: %v", name, err)
		}
	}
	h.logIn()
	l.sameAtHub()
}

// TestExpired leaves a device in a drawer for longer than its certificate lives. It samples, says what it needs, and
// goes on with a new claim code that is put there while it runs.
func TestExpired(t *testing.T) {
	h := startHub(t)
	l := h.newLogger("T-1", simulator, "upload: {max_backoff: 1s}")
	stop := l.start(nil)
	until(t, "acks", func() bool { return l.status().Samples.Acked > 0 })
	stop()
	h.ahead.Store(int64(40 * 24 * time.Hour))
	stop = l.start(agent.QuickRefusals)
	until(t, "what is wrong", func() bool { return l.said.has("refuses this device's certificate") })
	before := l.status().Samples.Last
	until(t, "sampling goes on", func() bool { return l.status().Samples.Last > before })
	l.code(h.list("T-1"))
	until(t, "enrolled anew", func() bool { return strings.Count(l.said.String(), "msg=enrolled") == 2 })
	until(t, "acks", func() bool { s := l.status(); return s.Samples.Acked > before && s.Uplink.Hub == "" })
	stop()
	h.logIn()
	l.sameAtHub()
}

// TestRevoked bars a device while it runs, and lets it in again with a new code.
func TestRevoked(t *testing.T) {
	h := startHub(t)
	l := h.newLogger("T-1", simulator, "upload: {max_backoff: 1s}")
	stop := l.start(agent.QuickRefusals)
	until(t, "acks", func() bool { return l.status().Samples.Acked > 0 })
	if err := h.api.RevokeDevice(t.Context(), h.project, string(l.status().Device)); err != nil {
		t.Fatal(err)
	}
	until(t, "trouble", func() bool { return l.status().Uplink.Hub != "" })
	before := l.status().Samples.Last
	until(t, "sampling goes on", func() bool { return l.status().Samples.Last > before })
	code := h.list("T-1")
	h.claim("T-1", code)
	l.code(code)
	until(t, "acks", func() bool { s := l.status(); return s.Samples.Acked > before && s.Uplink.Hub == "" })
	stop()
	l.sameAtHub()
}

// TestWrongCode gives a device a code that is not its own.
func TestWrongCode(t *testing.T) {
	h := startHub(t)
	l := h.newLogger("T-1", simulator, "")
	good, err := os.ReadFile(filepath.Join(l.dir, "claim.code"))
	if err != nil {
		t.Fatal(err)
	}
	l.code("AAAA-BBBB-CCCC-DDDD-EEEE")
	leak := goleak.IgnoreCurrent()
	stop := l.start(agent.QuickRefusals)
	until(t, "refusal", func() bool { return l.said.has("do not fit") })
	l.code(string(good))
	until(t, "acks by mqtt", func() bool { return l.status().Uplink.ByMQTT > 0 })
	stop()
	if err := goleak.Find(leak, goleak.IgnoreTopFunction("github.com/loggerhead-cloud/loggerhead/internal/gateway.(*Gateway).watch")); err != nil {
		t.Error(err)
	}
	l.sameAtHub()
}
