package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSensorToReader: a real agent samples a file, and a reader of the project's live stream has each new value within
// two seconds of its sampling.
func TestSensorToReader(t *testing.T) {
	in := install(t, "sqlite:hub.db")
	h := in.serve()
	c := in.logIn(h, in.admin)
	p, err := c.CreateProject(ctx, "Skjern Å", "Europe/Copenhagen")
	if err != nil {
		t.Fatal(err)
	}
	d, code := in.claim(c, p.ID, "LH-LIVE")
	dir := t.TempDir()
	gauge := filepath.Join(dir, "gauge")
	// set replaces the gauge's reading whole, as a sensor does.
	set := func(v int) {
		t.Helper()
		if err := os.WriteFile(gauge+".new", fmt.Appendln(nil, v), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(gauge+".new", gauge); err != nil {
			t.Fatal(err)
		}
	}
	set(1000)
	config := fmt.Sprintf(`hub: {https: "https://%s", mqtt: "%s", roots: %s}
serial: LH-LIVE
hardware: lh-test-1
claim_code_file: claim.code
data: data
upload: {live: true}
sensors:
  - type: file
    interval: 500ms
    file: {path: %s, key: 1/level, name: Level, quantity: water_level, unit: m, digits: 3, scale: 0.001}
`, h.Devices, h.MQTT, filepath.Join(in.dir, "root.pem"), gauge)
	for name, text := range map[string]string{"agent.yaml": config, "claim.code": code} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequest("GET", "https://"+h.People+"/api/v1/projects/"+p.ID+"/live?device_id="+d.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token())
	resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: in.roots}, ForceAttemptHTTP2: true}}).Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("live: %v %v", resp, err)
	}
	defer resp.Body.Close()
	type told struct {
		Time  int64
		Value float64
		at    time.Time
	}
	samples := make(chan told, 1000)
	go func() {
		defer close(samples)
		event := ""
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			if e, ok := strings.CutPrefix(s.Text(), "event: "); ok {
				event = e
			}
			if data, ok := strings.CutPrefix(s.Text(), "data: "); ok && event == "sample" {
				v := told{at: time.Now()}
				if json.Unmarshal([]byte(data), &v) == nil {
					samples <- v
				}
			}
		}
	}()
	agent := exec.Command(filepath.Join(programs, "loggerhead-agent"), "run", "--config", filepath.Join(dir, "agent.yaml"))
	var said lines
	agent.Stderr = writer{&said}
	agent.Dir = dir
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		agent.Wait() // how it ends is not this test's matter
		close(ended)
	}()
	t.Cleanup(func() {
		agent.Process.Kill() // it may have ended
		<-ended
	})
	// next returns the first sample with a value.
	next := func(value float64, limit time.Duration) told {
		t.Helper()
		late := time.After(limit)
		for {
			select {
			case s, ok := <-samples:
				if !ok {
					t.Fatalf("the stream ends\n%s", said.String())
				}
				if s.Value == value {
					return s
				}
			case <-late:
				t.Fatalf("%v is not told within %s\n%s", value, limit, said.String())
			}
		}
	}
	next(1, 30*time.Second) // it has enrolled
	var worst time.Duration
	for v := 1001; v <= 1006; v++ {
		set(v)
		s := next(float64(v)/1000, 10*time.Second)
		lag := s.at.Sub(time.UnixMilli(s.Time))
		if worst = max(worst, lag); lag > 2*time.Second || lag < -time.Second {
			t.Errorf("%d is told %s after it was sampled", v, lag)
		}
	}
	t.Logf("at most %s from the sensor to the reader", worst)
	ds, err := c.Devices(ctx, p.ID)
	if err != nil || len(ds) != 1 || !ds[0].Online || ds[0].State != "enrolled" || ds[0].Firmware == "" {
		t.Errorf("%+v %v", ds, err)
	}
	if err := agent.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the agent does not end")
	}
}

type writer struct{ l *lines }

func (w writer) Write(b []byte) (int, error) {
	w.l.add(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}
