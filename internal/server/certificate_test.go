package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDeviceCertificateOpensNoAPI: a device's certificate is for devices' listeners. To people's it is nobody, whatever is asked.
func TestDeviceCertificateOpensNoAPI(t *testing.T) {
	h := start(t, install(t, "sqlite:hub.db"))
	c, p := h.client("owner@a.example")
	d := h.device(c, p.ID, "LH-0001")
	web := d.HTTP(d.Pair())
	b, err := os.ReadFile("../../docs/openapi.json")
	must(t, err)
	var api struct {
		Paths map[string]map[string]struct {
			ID       string            `json:"operationId"`
			Security *[]map[string]any `json:"security"`
		}
	}
	must(t, json.Unmarshal(b, &api))
	asked := 0
	for path, operations := range api.Paths {
		path = strings.ReplaceAll(path, "{project}", p.ID)
		path = strings.ReplaceAll(path, "{device}", d.id)
		path = regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllString(path, "x")
		for method, o := range operations {
			if o.Security != nil && len(*o.Security) == 0 || o.ID == "" {
				continue // for everybody
			}
			req, err := http.NewRequest(strings.ToUpper(method), "https://"+h.a.People+path, nil)
			must(t, err)
			resp, err := web.Do(req)
			must(t, err)
			body, err := io.ReadAll(resp.Body)
			must(t, err, resp.Body.Close())
			if resp.StatusCode == http.StatusTooManyRequests {
				t.Fatalf("%s: the limit of strangers is reached after %d requests", o.ID, asked)
			}
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s: %d %.100s", o.ID, resp.StatusCode, body)
			}
			asked++
		}
	}
	if asked < 80 {
		t.Errorf("only %d operations were asked", asked)
	}
}
