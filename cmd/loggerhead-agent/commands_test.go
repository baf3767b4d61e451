package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommands runs the program's commands in this process: what they print, and the status they end with. What needs a
// hub is tested in internal/agent, with the real program.
func TestCommands(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good := write("good.yaml", "serial: T-1\nsensors: [{type: simulator, interval: 1m}]\n")
	bad := write("bad.yaml", "serial: T-1\nsensors: [{type: simulator, interval: 1m}]\nhub: {https: 'http://x'}\n")
	write("junk.pem", "junk")
	rooted := write("rooted.yaml", "serial: T-1\nhub: {roots: junk.pem}\nsensors: [{type: simulator, interval: 1m}]\n")
	for _, c := range []struct {
		args        string
		status      int
		out, errors string
	}{
		{"version", 0, "loggerhead-agent ", ""},
		{"config example", 0, "claim_code_file: claim.code", ""},
		{"config check --config " + good, 0, "", ""},
		{"config check --config " + bad, 2, "", "hub.https"},
		{"config check --config " + filepath.Join(dir, "none"), 4, "", "config example"},
		{"run --config " + bad, 2, "", "hub.https"},
		{"run --config " + good, 1, "", "hub.roots"},
		{"run --config " + rooted, 2, "", "junk.pem"},
		{"enrol --config " + good, 1, "", "hub.roots"},
		{"status --config " + good, 4, "", "no agent has run"},
		{"", 2, "", "--help"},
		{"nonsense", 2, "", "nonsense"},
		{"run --nonsense", 2, "", "nonsense"},
		{"--help", 0, "Sample, keep and upload", ""},
		{"run --help", 0, "--config", ""},
	} {
		var out, errs bytes.Buffer
		status := run(t.Context(), strings.Fields(c.args), &out, &errs)
		if status != c.status || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.errors) || c.errors == "" && errs.Len() > 0 {
			t.Errorf("%s: status %d\n%s\n%s", c.args, status, out.String(), errs.String())
		}
	}
}
