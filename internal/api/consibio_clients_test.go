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
)

// TestConsibioScripts runs the scripts of docs/consibio.md, as they stand there, with the real interpreters and libraries
// that are on this machine.
func TestConsibioScripts(t *testing.T) {
	page, err := os.ReadFile("../../docs/consibio.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, m := range regexp.MustCompile("(?s)```(r|python|php|js|sh)\n(.*?)\n```").FindAllStringSubmatch(string(page), -1) {
		blocks[m[1]] = m[2]
	}
	each(t, rigOptions{}, func(r *rig) {
		s := r.consibioSite(r.owner, "Ford")
		folder := r.t.TempDir()
		roots := filepath.Join(folder, "root.pem")
		cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
		if err := os.WriteFile(roots, cert, 0o600); err != nil {
			r.t.Fatal(err)
		}
		// R trusts what the system trusts, and this certificate only where a request is told so.
		trust := `plain <- httr2::req_perform
utils::assignInNamespace("req_perform", function(req, ...) plain(httr2::req_options(req, cainfo = Sys.getenv("CURL_CA_BUNDLE")), ...), "httr2")
`
		for name, c := range map[string]struct {
			program string
			check   []string // succeeds where the libraries are there, too
			run     []string // %s is the script's file
			want    []string // in what it prints
		}{
			"r":      {"Rscript", []string{"-e", "library(httr2); library(jsonlite)"}, []string{"%s"}, []string{string(s.elements[0].ID) + " 1720961640.351 20", " 1720961880.351 24", string(s.elements[1].ID) + " 1720961640.351 100 "}},
			"python": {"python3", []string{"-c", "import requests"}, []string{"%s"}, []string{string(s.elements[0].ID) + " 1720961640.0 20.0", " 1720961880.0 24.0", string(s.elements[1].ID) + " 1720961640.0 100.0"}},
			"php":    {"php", []string{"-r", "curl_init();"}, []string{"-d", "curl.cainfo=" + roots, "%s"}, []string{string(s.elements[0].ID) + " 1720961640 20", " 1720961880 24"}},
			"js":     {"node", []string{"-e", "fetch"}, []string{"--input-type=module", "-e", "%script"}, []string{string(s.elements[0].ID) + " 1720961640 20", " 1720961880 24"}},
			"sh":     {"bash", []string{"-c", "curl --version"}, []string{"%s"}, []string{`"` + string(s.elements[0].ID) + `":[{"t":1720961640.351,"v":20.0}`, `"status":"ok"`}},
		} {
			r.t.Run(name, func(t *testing.T) {
				if blocks[name] == "" {
					t.Fatalf("the page has no script in %s", name)
				}
				if err := exec.Command(c.program, c.check...).Run(); err != nil {
					t.Skipf("%s or its library is not on this machine: %v", c.program, err)
				}
				file := filepath.Join(folder, "script."+name)
				script := blocks[name]
				if name == "r" {
					script = trust + script
				}
				if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
					t.Fatal(err)
				}
				args := make([]string, len(c.run))
				for i, a := range c.run {
					args[i] = strings.ReplaceAll(strings.ReplaceAll(a, "%script", blocks[name]), "%s", file)
				}
				run, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				cmd := exec.CommandContext(run, c.program, args...)
				cmd.Dir = folder
				cmd.Env = append(os.Environ(), "HUB="+r.server.URL, "EMAIL=owner@a.example", "PASSWORD="+password, "CURL_CA_BUNDLE="+roots,
					"REQUESTS_CA_BUNDLE="+roots, "NODE_EXTRA_CA_CERTS="+roots, "HOME="+folder)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%v:\n%s", err, out)
				}
				for _, w := range c.want {
					if !strings.Contains(string(out), w) {
						t.Errorf("it prints no %q:\n%s", w, out)
					}
				}
			})
		}
	})
}
