package api_test

import (
	"context"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// script is how a page's script in one language is run, and what it must say.
type script struct {
	program string
	check   []string // succeeds where the libraries are there, too
	run     []string // %s is the script's file, %script its text
	want    []string // in what it prints
}

// scripts runs the scripts of a page, as they stand there, with the real interpreters and libraries that are on this
// machine. after looks at the folder each ran in.
func (r *rig) scripts(page string, env []string, cases map[string]script, after func(t *testing.T, folder string)) {
	text, err := os.ReadFile(page)
	if err != nil {
		r.t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)```(r|python|php|js|sh)\n(.*?)\n```").FindAllStringSubmatch(string(text), -1) {
		blocks[m[1]] = m[2]
	}
	roots := filepath.Join(r.t.TempDir(), "root.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
	if err := os.WriteFile(roots, cert, 0o600); err != nil {
		r.t.Fatal(err)
	}
	// R trusts what the system trusts, and this certificate only where a request is told so.
	trust := `plain <- httr2::req_perform
utils::assignInNamespace("req_perform", function(req, ...) plain(httr2::req_options(req, cainfo = Sys.getenv("CURL_CA_BUNDLE")), ...), "httr2")
`
	for name, c := range cases {
		r.t.Run(name, func(t *testing.T) {
			text := blocks[name]
			if text == "" {
				t.Fatalf("the page has no script in %s", name)
			}
			if err := exec.Command(c.program, c.check...).Run(); err != nil {
				t.Skipf("%s or its library is not on this machine: %v", c.program, err)
			}
			if name == "r" {
				text = trust + text
			}
			folder := t.TempDir()
			file := filepath.Join(folder, "script."+name)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			args := make([]string, len(c.run))
			for i, a := range c.run {
				args[i] = strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(a, "%script", text), "%s", file), "%roots", roots)
			}
			run, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			cmd := exec.CommandContext(run, c.program, args...)
			cmd.Dir = folder
			cmd.Env = append(append(os.Environ(), "HUB="+r.server.URL, "CURL_CA_BUNDLE="+roots, "REQUESTS_CA_BUNDLE="+roots, "NODE_EXTRA_CA_CERTS="+roots, "HOME="+folder), env...)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v:\n%s", err, out)
			}
			for _, w := range c.want {
				if !strings.Contains(string(out), w) {
					t.Errorf("it prints no %q:\n%s", w, out)
				}
			}
			after(t, folder)
		})
	}
}

// Checks that an interpreter has what the scripts use.
var (
	hasR      = []string{"-e", "library(httr2); library(jsonlite)"}
	hasPython = []string{"-c", "import requests"}
	hasShell  = []string{"-c", "curl --version"}
)

// TestConsibioScripts runs the scripts of docs/consibio.md.
func TestConsibioScripts(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		s := r.consibioSite(r.owner, "Ford")
		a, b := string(s.elements[0].ID), string(s.elements[1].ID)
		r.scripts("../../docs/consibio.md", []string{"EMAIL=owner@a.example", "PASSWORD=" + password}, map[string]script{
			"r":      {"Rscript", hasR, []string{"%s"}, []string{a + " 1720961640.351 20", " 1720961880.351 24", b + " 1720961640.351 100 "}},
			"python": {"python3", hasPython, []string{"%s"}, []string{a + " 1720961640.0 20.0", " 1720961880.0 24.0", b + " 1720961640.0 100.0"}},
			"php":    {"php", []string{"-r", "curl_init();"}, []string{"-d", "curl.cainfo=%roots", "%s"}, []string{a + " 1720961640 20", " 1720961880 24"}},
			"js":     {"node", []string{"-e", "fetch"}, []string{"--input-type=module", "-e", "%script"}, []string{a + " 1720961640 20", " 1720961880 24"}},
			"sh":     {"bash", hasShell, []string{"%s"}, []string{`"` + a + `":[{"t":1720961640.351,"v":20.0}`, `"status":"ok"`}},
		}, func(*testing.T, string) {})
	})
}

// TestExportScripts runs the scripts of docs/exports.md.
func TestExportScripts(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		s := r.site(r.owner, "Ford", "1/level")
		now := lh.MillisOf(r.clock.Now())
		r.upload(s, now-2*3600_000, 12.5)
		_, key := r.service(r.owner, lh.RoleViewer)
		cases := map[string]script{
			"r":      {program: "Rscript", check: hasR, run: []string{"%s"}},
			"python": {program: "python3", check: hasPython, run: []string{"%s"}},
			"sh":     {program: "bash", check: hasShell, run: []string{"-e", "%s"}},
		}
		r.scripts("../../docs/exports.md", []string{"TOKEN=" + key, "PROJECT=" + string(r.owner.Project())}, cases, func(t *testing.T, folder string) {
			b, err := os.ReadFile(filepath.Join(folder, "week.csv"))
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(string(b)), "\r\n")
			if len(lines) < 169 || lines[0] != "time,Ford 1/level mean" || !strings.Contains(string(b), ",12.5\r\n") {
				t.Errorf("%d lines: %.200s", len(lines), b)
			}
		})
	})
}
