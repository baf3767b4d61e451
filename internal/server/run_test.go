package server_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/server"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// TestShutdown: an upload that is under way is acknowledged and kept, what was queued is there, new ones are not
// taken, and the next start reads all of it.
func TestShutdown(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, database string) {
		c := install(t, database)
		h := start(t, c)
		cl, p := h.client("owner@a.example")
		d := h.device(cl, p.ID, "LH-1")
		if status, ack, err := d.upload(h, batch(t, 1, 1.7e12, 100)); status != 200 || ack.AckedThrough != 100 {
			t.Fatalf("%d %+v %v", status, ack, err)
		}
		// Somebody who says nothing more takes no time away from the rest.
		idle, err := tls.Dial("tcp", h.a.People, &tls.Config{RootCAs: h.roots, NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		defer idle.Close()
		fmt.Fprint(idle, "GET / HT")
		// Half of the next one, by hand.
		raw := batch(t, 101, 1.7e12+100000, 100)
		cfg := d.TLS(d.Pair())
		cfg.NextProtos = []string{"http/1.1"}
		conn, err := tls.Dial("tcp", h.a.Devices, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/batch HTTP/1.1\r\nHost: hub\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", wire.ContentBatch, len(raw))
		if _, err := conn.Write(raw[:len(raw)/2]); err != nil {
			t.Fatal(err)
		}
		underway := func() bool { // its handler waits for the other half
			resp, err := http.Get("http://" + h.a.Private + "/debug/pprof/goroutine?debug=2")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return strings.Contains(string(b), "gateway.(*Gateway).batch")
		}
		for deadline := time.Now().Add(10 * time.Second); !underway(); {
			if time.Now().After(deadline) {
				t.Fatal("the hub does not see the upload")
			}
			time.Sleep(10 * time.Millisecond)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := h.stop(); err != nil {
				t.Errorf("stop: %v", err)
			}
		})
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if probe, err := net.Dial("tcp", h.a.Devices); err != nil {
				break // no more are taken
			} else if probe.Close(); time.Now().After(deadline) {
				t.Fatal("a stopping hub takes new connections")
			}
		}
		if _, err := conn.Write(raw[len(raw)/2:]); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("the upload under way gets no answer: %v\n%s", err, h.log)
		}
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || err != nil || !bytes.Contains(body, []byte(`"acked_through":200`)) {
			t.Errorf("the upload under way: %d %s %v", resp.StatusCode, body, err)
		}
		wg.Wait()
		again := start(t, c)
		cl, _ = again.client("owner@a.example")
		got := samples(t, cl, p.ID)
		if len(got) != 200 {
			t.Fatalf("%d of 200 acknowledged samples are there", len(got))
		}
		for i, s := range got {
			if want := lh.Millis(1.7e12) + lh.Millis(i)*1000; s.Time != int64(want) {
				t.Fatalf("sample %d is of %d", i, s.Time)
			}
		}
	})
}

// TestStopsWithEverythingOpen: idle connections, live streams and half-said requests do not hold a hub up for long.
func TestStopsWithEverythingOpen(t *testing.T) {
	t.Parallel()
	h := start(t, install(t, "sqlite:hub.db"))
	cl, p := h.client("owner@a.example")
	d := h.device(cl, p.ID, "LH-1")
	people := &tls.Config{RootCAs: h.roots, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}}
	mqtt := d.TLS(d.Pair())
	mqtt.NextProtos = []string{"mqtt"}
	for _, o := range []struct {
		addr, say string
		cfg       *tls.Config
	}{{h.a.People, "", people}, {h.a.People, "GET / HT", people}, {h.a.People, "GET /api/v1/projects/" + p.ID + "/live HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + cl.Token() + "\r\n\r\n", people},
		{h.a.Devices, "", d.TLS(d.Pair())}, {h.a.MQTT, "", mqtt}, {h.a.MQTT, "\x10", mqtt}} {
		conn, err := tls.Dial("tcp", o.addr, o.cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, o.say); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := net.Dial("tcp", h.a.MQTT) // not even a handshake
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	begin := time.Now()
	h.stop() // it may say that something was cut off
	if took := time.Since(begin); took > 12*time.Second {
		t.Errorf("it took %s to stop", took)
	}
}

func TestPortInUse(t *testing.T) {
	c := install(t, "sqlite:hub.db")
	for name, set := range map[string]func(c *server.Config, addr string){
		"people": func(c *server.Config, a string) { c.People.Listen = a }, "devices": func(c *server.Config, a string) { c.Devices.Listen = a },
		"mqtt": func(c *server.Config, a string) { c.MQTT.Listen = a }, "private": func(c *server.Config, a string) { c.Private.Listen = a },
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		used := c
		set(&used, l.Addr().String())
		s, err := server.New(ctx, used, server.Deps{})
		if s != nil || lh.CodeOf(err) != lh.Conflict || !strings.Contains(lh.PublicMessage(err), l.Addr().String()) || !strings.Contains(lh.PublicMessage(err), name+".listen") {
			t.Errorf("%s: %v", name, err)
		}
		must(t, l.Close())
	}
	h := start(t, c) // the refusals left nothing open
	must(t, h.stop())
}

// TestNoPlaintext: whoever speaks plain HTTP, MQTT or old TLS to a public port is told nothing.
func TestNoPlaintext(t *testing.T) {
	h := start(t, install(t, "sqlite:hub.db"))
	for name, addr := range map[string]string{"people": h.a.People, "devices": h.a.Devices, "mqtt": h.a.MQTT} {
		for _, say := range []string{"GET / HTTP/1.1\r\nHost: hub\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "POST /v1/batch HTTP/1.1\r\nHost: hub\r\nContent-Length: 0\r\n\r\n",
			"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc", "hello\n", strings.Repeat("\x00", 100)} {
			conn, err := net.Dial("tcp", addr)
			must(t, err, conn.SetDeadline(time.Now().Add(10*time.Second)))
			_, err = io.WriteString(conn, say)
			must(t, err)
			b, err := io.ReadAll(conn)
			if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
				t.Errorf("%s: the connection stays open after %.20q", name, say)
			}
			// A TLS alert is all there may be: type 21, then at most 6 bytes.
			if len(b) > 7 || len(b) > 0 && b[0] != 21 {
				t.Errorf("%s answers %.20q with %q", name, say, b)
			}
			must(t, conn.Close())
		}
		for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12} {
			conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: h.roots, ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: version})
			if err == nil {
				t.Errorf("%s speaks TLS %x", name, version)
				conn.Close()
			}
		}
	}
}

func TestPrivateListener(t *testing.T) {
	h := start(t, install(t, "sqlite:hub.db"), func(d *server.Deps) { d.Web = fstest.MapFS{"index.html": {Data: []byte("app")}} })
	cl, p := h.client("owner@a.example")
	d := h.device(cl, p.ID, "LH-1")
	if status, _, err := d.upload(h, batch(t, 1, 1.7e12, 10)); status != 200 {
		t.Fatal(status, err)
	}
	if host, _, err := net.SplitHostPort(h.a.Private); err != nil || !net.ParseIP(host).IsLoopback() {
		t.Errorf("private listener at %s", h.a.Private)
	}
	get := func(base, path string) (int, string) {
		t.Helper()
		resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: h.roots}}}).Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		must(t, err)
		return resp.StatusCode, string(b)
	}
	status, metrics := get("http://"+h.a.Private, "/metrics")
	for _, want := range []string{"go_goroutines ", "process_resident_memory_bytes ", "loggerhead_ingest_samples_total 10\n", `loggerhead_ingest_uploads_total{outcome="ok"} 1`,
		"loggerhead_series_samples_total 10\n", "loggerhead_series_commits_total ", "loggerhead_series_backlog_bytes ", "loggerhead_api_live_streams 0", `loggerhead_api_requests_total{operation="log-in",status="2xx"}`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics (%d) lack %q", status, want)
		}
	}
	for _, secret := range []string{p.ID, d.id, "owner@a.example"} {
		if strings.Contains(metrics, secret) {
			t.Errorf("the metrics name %s", secret)
		}
	}
	for path, want := range map[string]int{"/debug/pprof/": 200, "/debug/pprof/goroutine?debug=1": 200, "/healthz": 200, "/": 404, "/api/v1/session": 404} {
		if status, _ := get("http://"+h.a.Private, path); status != want {
			t.Errorf("private %s: %d", path, status)
		}
	}
	// None of it is public.
	for _, path := range []string{"/metrics", "/healthz", "/debug/pprof/"} {
		if _, body := get("https://"+h.a.People, path); body != "app" {
			t.Errorf("people's %s: %.100s", path, body)
		}
		if status, body := get("https://"+h.a.Devices, path); status != 404 {
			t.Errorf("devices' %s: %d %.100s", path, status, body)
		}
	}
}

// TestPeoplesOwnCertificate: files are used, read anew when they change, and refused when they do not fit.
func TestPeoplesOwnCertificate(t *testing.T) {
	c := install(t, "sqlite:hub.db")
	other, err := pki.NewHierarchy("public.example", time.Now().Add(-pki.HubLife))
	must(t, err)
	write := func(life time.Duration) {
		key, err := pki.NewKey()
		must(t, err)
		leaf, err := pki.IssueHub(other.Hub, key.Public(), []string{"localhost", "127.0.0.1"}, time.Now().Add(life-pki.HubLife))
		must(t, err)
		keyPEM, err := pki.MarshalKeyPEM(key)
		must(t, err, os.WriteFile(filepath.Join(c.Data, "tls.pem"), pki.MarshalCertsPEM(leaf, other.Hub.Cert), 0o644), os.WriteFile(filepath.Join(c.Data, "tls.key"), keyPEM, 0o600))
	}
	c.People.Certificate, c.People.Key = filepath.Join(c.Data, "tls.pem"), filepath.Join(c.Data, "tls.key")
	if _, err := server.New(ctx, c, server.Deps{}); err == nil || !strings.Contains(err.Error(), "people.certificate") {
		t.Errorf("files that are not there: %v", err)
	}
	write(pki.HubLife)
	h := start(t, c)
	h.roots.AddCert(other.Root.Cert)
	conn, err := tls.Dial("tcp", h.a.People, &tls.Config{RootCAs: h.roots, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.ConnectionState().PeerCertificates[0].Issuer.String(); got != other.Hub.Cert.Subject.String() {
		t.Errorf("people get a certificate of %s", got)
	}
	must(t, conn.Close())
	if status, got := h.health(); status != 200 {
		t.Errorf("health %+v", got)
	}
	must(t, h.stop())
	write(5 * 24 * time.Hour)
	h = start(t, c)
	if _, got := h.health(); len(got.failed()) != 1 || got.failed()[0] != "certificate for people" {
		t.Errorf("with five days left: %v", got.failed())
	}
	must(t, h.stop(), os.WriteFile(filepath.Join(c.Data, "tls.key"), []byte("no key"), 0o600))
	if _, err := server.New(ctx, c, server.Deps{}); err == nil || strings.Contains(err.Error(), "no key\n") {
		t.Errorf("a broken key: %v", err)
	}
}
