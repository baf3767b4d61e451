package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// TestHealthBelievesOutcomesOnly: only a hub that says of every check that it is well is well.
func TestHealthBelievesOutcomesOnly(t *testing.T) {
	good := `{"ok": true, "checks": [{"name": "store", "ok": true, "detail": "fine"}]}`
	for name, c := range map[string]struct {
		status int
		body   string
		code   lh.Code
		words  string
	}{
		"well":                {200, good, "", "ok  store  fine"},
		"status says no":      {503, good, lh.Unavailable, "not well"},
		"one check says no":   {200, `{"ok": true, "checks": [{"name": "store", "ok": false, "detail": "disk full"}]}`, lh.Unavailable, "BAD  store  disk full"},
		"the sum says no":     {200, `{"ok": false, "checks": [{"name": "store", "ok": true}]}`, lh.Unavailable, "not well"},
		"nothing was checked": {200, `{"ok": true, "checks": []}`, lh.Unavailable, "no hub"},
		"another program":     {200, "<html>", lh.Unavailable, "no hub"},
		"sent elsewhere":      {302, "", lh.Unavailable, "no hub"},
		"steers the terminal": {200, `{"ok": true, "checks": [{"name": "a\u001b[2J", "ok": true}]}`, "", "a?[2J"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				w.Write([]byte(good))
				return
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(c.status)
			w.Write([]byte(c.body))
		}))
		file := filepath.Join(t.TempDir(), "loggerhead.yaml")
		if err := os.WriteFile(file, []byte("private:\n  listen: "+strings.TrimPrefix(s.URL, "http://")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		got := run(context.Background(), []string{"health", "--config", file}, os.Getenv, strings.NewReader(""), &out, &out)
		if got != c.code.ExitStatus() || !strings.Contains(out.String(), c.words) {
			t.Errorf("%s: status %d, %q", name, got, out.String())
		}
		s.Close()
	}
}
