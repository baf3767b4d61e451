package client_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loggerhead-cloud/loggerhead/client"
)

// exporting is a client of a hub that answers with h.
func exporting(t *testing.T, h http.HandlerFunc) *client.Client {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = false
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c, err := client.New(s.URL, client.Options{Roots: roots, Token: "lhs_x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestDownloadGoesOn: a download that breaks off goes on where it was, and is whole.
func TestDownloadGoesOn(t *testing.T) {
	file := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	var requests atomic.Int64
	c := exporting(t, func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		if r.Header.Get("Authorization") != "Bearer lhs_x" || r.URL.Path != "/api/v1/projects/prj_x/exports/exp_x/file" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		w.Header().Set("ETag", `"one"`)
		if n > 1 && r.Header.Get("If-Range") != `"one"` {
			t.Errorf("request %d: %v", n, r.Header)
		}
		if n < 4 {
			w = &breaking{ResponseWriter: w, left: 200_000}
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
	})
	var got bytes.Buffer
	n, err := c.ExportFile(context.Background(), "prj_x", "exp_x", &got)
	if err != nil || n != int64(len(file)) || !bytes.Equal(got.Bytes(), file) || requests.Load() != 4 {
		t.Errorf("%d bytes of %d by %d requests: %v", n, len(file), requests.Load(), err)
	}
}

// breaking cuts the connection after some bytes.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) > b.left {
		b.ResponseWriter.Write(p[:b.left])
		http.NewResponseController(b.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	b.left -= len(p)
	return b.ResponseWriter.Write(p)
}

// TestDownloadThatChanged: two halves of two files never become one.
func TestDownloadThatChanged(t *testing.T) {
	var requests atomic.Int64
	c := exporting(t, func(w http.ResponseWriter, r *http.Request) {
		etag := `"one"`
		if requests.Add(1) == 1 {
			w = &breaking{ResponseWriter: w, left: 100}
		} else {
			etag = `"two"`
		}
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, 1000)))
	})
	var e *client.Error
	if _, err := c.ExportFile(context.Background(), "prj_x", "exp_x", &bytes.Buffer{}); !errors.As(err, &e) || e.Code != "conflict" {
		t.Errorf("%v", err)
	}
}

// TestDownloadGivesUp: a hub that says no is asked once, a full disk is told, one that is silent is given up.
func TestDownloadGivesUp(t *testing.T) {
	var requests atomic.Int64
	c := exporting(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(409)
		w.Write([]byte(`{"status":409,"code":"conflict","detail":"this export is not ready yet"}`))
	})
	var e *client.Error
	if _, err := c.ExportFile(context.Background(), "prj_x", "exp_x", &bytes.Buffer{}); !errors.As(err, &e) || e.Detail != "this export is not ready yet" || requests.Load() != 1 {
		t.Errorf("%v after %d requests", err, requests.Load())
	}
	full := exporting(t, func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 1000)) })
	if _, err := full.ExportFile(context.Background(), "prj_x", "exp_x", fullDisk{}); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
	dead := exporting(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := dead.ExportFile(ctx, "prj_x", "exp_x", &bytes.Buffer{}); err == nil || ctx.Err() != nil {
		t.Errorf("%v, %v", err, ctx.Err())
	}
}

var errFull = errors.New("no space left")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }
