package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/sensor"
)

// TestExample holds the printed example, and that it is a configuration, with each of its sensors.
func TestExample(t *testing.T) {
	got, err := Example()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "..", "docs", "loggerhead-agent.example.yaml")
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the example is not that of %s; make generate writes it anew", path)
	}
	c := DefaultConfig()
	if err := c.parse([]byte(got), "/etc/loggerhead"); err != nil {
		t.Fatal(err)
	}
	if len(c.Sensors) != 1 || c.Data != "/etc/loggerhead/data" || c.Hub.Roots != "/etc/loggerhead/root.pem" || c.ClaimCodeFile != "/etc/loggerhead/claim.code" {
		t.Errorf("%+v", c)
	}
	// The sensors that stand there as comments.
	all := regexp.MustCompile(`(?m)^  # ((?:- | ).*)$`).ReplaceAllString(got[strings.Index(got, "\nsensors:"):], "  $1")
	c = DefaultConfig()
	if err := c.parse([]byte("serial: x\n"+all), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	types := map[string]bool{}
	for _, s := range c.Sensors {
		types[s.Type] = true
		if s.Type == "csv" {
			if err := os.WriteFile(filepath.Join(c.base, s.CSV.File), []byte("time,level_m\n2026-11-24 12:00:00,1.5\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(c.base, filepath.Dir(s.CSV.State)), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		d, err := sensor.New(s, c.base, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Errorf("%s: %v", s.Type, err)
			continue
		}
		if err := d.Close(); err != nil {
			t.Errorf("%s: %v", s.Type, err)
		}
	}
	if len(types) != 5 {
		t.Errorf("the example shows %v", types)
	}
}

func TestConfigRefuses(t *testing.T) {
	const good = "serial: x\nsensors: [{type: simulator, interval: 1m}]\n"
	c := DefaultConfig()
	if err := c.parse([]byte(good), "/"); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "serial: x\n", good + "nonsense: 1\n", good + "---\nserial: y\n", good + "serial: y\n", "[]", "serial: ''\n", "serial: 'a b'\nsensors: [{type: simulator, interval: 1m}]\n",
		good + "hub: {https: 'http://hub:8884'}\n", good + "hub: {https: 'https://hub:8884/x'}\n", good + "hub: {https: 'https://u:p@hub'}\n", good + "hub: {https: hub}\n",
		good + "hub: {mqtt: hub}\n", good + "hub: {mqtt: ':8883'}\n", good + "hub: {mqtt: 'hub:0'}\n", good + "hub: {roots: ''}\n", good + "data: ''\n",
		good + "samples: {max_mib: 1}\n", good + "samples: {keep_acked_mib: 1000}\n", good + "samples: {keep_acked_mib: -1}\n", good + "samples: {when_full: panic}\n",
		good + "upload: {interval: 0s}\n", good + "upload: {max_records: 0}\n", good + "upload: {max_records: 99999}\n", good + "upload: {max_kib: 4096}\n", good + "upload: {max_backoff: 1ms}\n",
		good + "log: {format: xml}\n", good + "log: {level: loud}\n", good + "upload: {interval: 60}\n", good + "upload: {live: maybe}\n",
		"serial: x\nsensors: [{type: simulator, interval: 1m, nonsense: 1}]\n",
	} {
		c := DefaultConfig()
		if err := c.parse([]byte(bad), "/"); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := LoadConfig(filepath.Join(t.TempDir(), "none")); lh.CodeOf(err) != lh.NotFound {
		t.Error(err)
	}
}
