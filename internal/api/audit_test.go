package api_test

import (
	"bytes"
	"encoding/csv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

// TestAuditExport: what the documentation says of an exported trail is true: its own program checks a good one, and finds
// what was altered, left out or put in another order.
func TestAuditExport(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("LOGGERHEAD_TEST_ALL") != "" {
			t.Fatal("python3 is missing")
		}
		t.Skip("there is no python3")
	}
	doc, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	_, script, _ := strings.Cut(string(doc), "```python\n")
	script, _, ok := strings.Cut(script, "```")
	if !ok {
		t.Fatal("docs/audit.md has no program")
	}
	each(t, rigOptions{}, func(r *rig) {
		for _, name := range []string{"Weir <1> & “2”", "Å, \"quoted\"", "Bridge"} {
			if a := r.as("owner@a.example", "POST", r.path("locations"), map[string]any{"name": name}); a.status != 201 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		a := r.as("owner@a.example", "GET", r.path("audit", "export")+"?format=ndjson", nil)
		if a.status != 200 || a.header.Get("Content-Type") != "application/x-ndjson" {
			t.Fatalf("%d %v", a.status, a.header)
		}
		lines := bytes.SplitAfter(bytes.TrimSpace(a.body), []byte("\n"))
		if len(lines) < 4 {
			t.Fatalf("%d events", len(lines))
		}
		dir := t.TempDir()
		check := func(name string, lines [][]byte) (string, error) {
			f := filepath.Join(dir, name)
			if err := os.WriteFile(f, bytes.Join(lines, nil), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(python, "-c", script, f).CombinedOutput()
			return string(out), err
		}
		if out, err := check("good", lines); err != nil || !strings.Contains(out, "unbroken") {
			t.Errorf("a good trail: %s %v", out, err)
		}
		if out, err := check("short", append([][]byte{}, lines[0], lines[2])); err == nil || !strings.Contains(out, "event 3 does not follow on event 1") {
			t.Errorf("an event is left out: %s %v", out, err)
		}
		for _, alter := range [][2]string{{"Bridge", "Brücke"}, {`"user"`, `"hub"`}, {`"from":"127.0.0.1"`, `"from":"192.0.2.1"`}} {
			bad := bytes.Replace(bytes.Join(lines, nil), []byte(alter[0]), []byte(alter[1]), 1)
			if bytes.Equal(bad, bytes.Join(lines, nil)) {
				t.Errorf("there is no %s in %s", alter[0], lines[1])
			}
			if out, err := check("bad", [][]byte{bad}); err == nil || !strings.Contains(out, "not what its hash says") {
				t.Errorf("%s is altered: %s %v", alter[0], out, err)
			}
		}
		rows, err := csv.NewReader(bytes.NewReader(r.as("owner@a.example", "GET", r.path("audit", "export")+"?action=location", nil).body)).ReadAll()
		if err != nil || len(rows) != 4 || rows[1][4] != "127.0.0.1" || rows[1][5] != "location.create" {
			t.Errorf("as CSV: %v %v", rows, err)
		}
		newest := items[api.AuditEvent](t, r.as("owner@a.example", "GET", r.path("audit")+"?newest=true&limit=2&action=location", nil))
		if len(newest) != 2 || !strings.Contains(newest[0].Detail, "Bridge") || newest[0].From != "127.0.0.1" || newest[0].ActorKind != lh.ActorUser {
			t.Errorf("newest first: %+v", newest)
		}
	})
}
