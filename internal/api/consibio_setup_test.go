package api_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// noData is the whole body where there is nothing, or nothing for the asker.
const noData = `{"payload":{"error":"No data found"},"status":"error"}`

// raw sends the very bytes of a request on a TLS connection of its own and reads the answer.
func (r *rig) raw(request string) answer {
	r.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(r.server.Certificate())
	c, err := tls.Dial("tcp", r.server.Listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "example.com", MinVersion: tls.VersionTLS13})
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		r.t.Fatalf("%v after %q", err, request)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err == nil {
			b, err = io.ReadAll(z)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return answer{resp.StatusCode, resp.Header, b}
}

// crlf makes the lines of a request's head.
func crlf(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

// payload decodes the payload of a good answer.
func payload(r *rig, a answer) map[string]any {
	r.t.Helper()
	var out struct {
		Status  string         `json:"status"`
		Payload map[string]any `json:"payload"`
	}
	if ct := a.header.Get("Content-Type"); a.status != 200 || ct != "application/json" {
		r.t.Fatalf("status %d, type %q: %.300s", a.status, ct, a.body)
	}
	if err := json.Unmarshal(a.body, &out); err != nil || out.Status != "ok" {
		r.t.Fatalf("%v: %.300s", err, a.body)
	}
	return out.Payload
}

// failure checks that an answer is 200 with an error in it, and returns its words.
func failure(r *rig, a answer) string {
	r.t.Helper()
	var out struct {
		Status  string            `json:"status"`
		Payload map[string]string `json:"payload"`
	}
	if err := json.Unmarshal(a.body, &out); err != nil || a.status != 200 || out.Status != "error" || out.Payload["error"] == "" {
		r.t.Fatalf("no error in the words of these APIs: status %d: %v: %.300s", a.status, err, a.body)
	}
	return out.Payload["error"]
}

// stream0 is when the samples of a test stand, and what they are: five minutes of minutes, with milliseconds.
const consibioStart lh.Millis = 1720961640_351

// consibioSite is a site whose first channel has five samples from consibioStart on, the third of them bad.
func (r *rig) consibioSite(sc store.Scope, name string) site {
	r.t.Helper()
	s := r.site(sc, name, "1/temperature", "1/water_level", "rain")
	for i := range 5 {
		r.upload(s, consibioStart+lh.Millis(i)*60_000, 20+float64(i), float64(i)/3)
	}
	if _, err := r.db.AddCorrection(ctx, sc, lh.Correction{Element: s.elements[0].ID, From: consibioStart + 120_000, To: consibioStart + 120_001,
		Kind: lh.CorrectFlag, Flag: lh.FlagBad}); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.db.AddCorrection(ctx, sc, lh.Correction{Element: s.elements[1].ID, From: consibioStart, To: consibioStart + 3600_000,
		Kind: lh.CorrectOffset, A: 100}); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// consibioCalls are a good call of each operation on things of a site: the path with its query, and the body.
var consibioCalls = map[string]func(p lh.ProjectID, s site) (path, body string){
	"consibio-v2-test": func(lh.ProjectID, site) (string, string) { return "/consibio/v2/test", "" },
	"consibio-v2-token": func(lh.ProjectID, site) (string, string) {
		return "/consibio/v2/oauth/token", "grant_type=password&username=owner%40a.example&password=correct+horse+battery&client_id=R_PACKAGE_CLIENT"
	},
	"consibio-v2-login":    func(lh.ProjectID, site) (string, string) { return "/consibio/v2/login", consibioCredentials },
	"consibio-v2-me":       func(lh.ProjectID, site) (string, string) { return "/consibio/v2/users/me", "" },
	"consibio-v2-projects": func(lh.ProjectID, site) (string, string) { return "/consibio/v2/projects", "" },
	"consibio-v2-project":  func(p lh.ProjectID, _ site) (string, string) { return "/consibio/v2/projects/" + string(p), "" },
	"consibio-v2-devices": func(p lh.ProjectID, _ site) (string, string) {
		return "/consibio/v2/projects/" + string(p) + "/devices", ""
	},
	"consibio-v2-device": func(p lh.ProjectID, s site) (string, string) {
		return "/consibio/v2/projects/" + string(p) + "/devices/" + string(s.device.ID), ""
	},
	"consibio-v2-elements": func(p lh.ProjectID, _ site) (string, string) {
		return "/consibio/v2/projects/" + string(p) + "/elements", ""
	},
	"consibio-v2-element": func(p lh.ProjectID, s site) (string, string) {
		return "/consibio/v2/projects/" + string(p) + "/elements/" + string(s.elements[0].ID), ""
	},
	"consibio-v2-datalog": func(p lh.ProjectID, s site) (string, string) {
		return fmt.Sprintf("/consibio/v2/projects/%s/datalog?elements=%s;%s;%s&from_time=1720961617.4103&to_time=1721048017.4103", p,
			s.elements[0].ID, s.elements[1].ID, s.elements[2].ID), ""
	},
	"consibio-v1-login":    func(lh.ProjectID, site) (string, string) { return "/consibio/rest/login", consibioCredentials },
	"consibio-v1-projects": func(lh.ProjectID, site) (string, string) { return "/consibio/rest/list_projects", "" },
	"consibio-v1-devices": func(p lh.ProjectID, _ site) (string, string) {
		return "/consibio/rest/list_devices_in_project?project_id=" + string(p), ""
	},
	"consibio-v1-elements": func(p lh.ProjectID, _ site) (string, string) {
		return "/consibio/rest/list_elements_in_project?project_id=" + string(p), ""
	},
	"consibio-v1-value": func(p lh.ProjectID, s site) (string, string) {
		return "/consibio/rest/get_element_value?project_id=" + string(p) + "&element_id=" + string(s.elements[0].ID), ""
	},
	"consibio-v1-datalog": func(p lh.ProjectID, s site) (string, string) {
		return fmt.Sprintf("/consibio/rest/get_datalog_for_element?project_id=%s&element_id=%s&from_time=1720961617.5&to_time=1720976017.5&interval=1800.0", p, s.elements[0].ID), ""
	},
}

const consibioCredentials = `{"username": "owner@a.example", "password": "correct horse battery"}`

// consibio calls an operation by its id.
func (r *rig) consibio(id string, p lh.ProjectID, s site, token string) answer {
	r.t.Helper()
	path, body := consibioCalls[id](p, s)
	method, opts := "GET", []option{bearer(token)}
	var in any
	if body != "" {
		method, in = "POST", body
		if !strings.HasPrefix(body, "{") {
			opts = append(opts, header("Content-Type", "application/x-www-form-urlencoded"))
		}
	}
	return r.do(method, path, in, opts...)
}
