package server

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/pprof"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// check is the outcome of one health check, in words.
type check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// expiringSoon is how long before its end a certificate counts as a problem; renewal has had its chance by then.
const (
	leafExpiring    = 10 * 24 * time.Hour
	issuingExpiring = 60 * 24 * time.Hour
)

// health asks for outcomes: it stores, reads back, and looks at what will stop working.
func (s *Server) health(ctx context.Context) []check {
	var checks []check
	add := func(name string, err error, detail string) {
		c := check{Name: name, OK: err == nil, Detail: detail}
		if err != nil {
			c.Detail = err.Error()
		}
		checks = append(checks, c)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "hub"
	}
	start := time.Now()
	err = s.db.Check(ctx, host)
	add("store", err, fmt.Sprintf("stored and read back in %s", time.Since(start).Round(time.Microsecond)))
	problems := s.engine.Problems()
	if len(problems) > 0 {
		add("series", fmt.Errorf("%s", problems[0]), "")
	} else {
		add("series", nil, "uploads are folded")
	}
	detail, err := s.mailHealth(ctx)
	add("mail", err, detail)
	expiry := func(name string, c *x509.Certificate, margin time.Duration) {
		left := c.NotAfter.Sub(s.now())
		var err error
		if left < margin {
			err = fmt.Errorf("expires %s, in %.1f days", c.NotAfter.Format(time.DateOnly), left.Hours()/24)
		}
		add(name, err, "good until "+c.NotAfter.Format(time.DateOnly))
	}
	expiry("certificate for devices", s.certs.hubLeaf.Load(), leafExpiring)
	expiry("certificate for people", s.certs.peopleLeaf.Load(), leafExpiring)
	expiry("authority for devices", s.certs.auth.devices.Cert, issuingExpiring)
	expiry("authority for the hub", s.certs.auth.hub.Cert, issuingExpiring)
	if s.stopping.Load() {
		add("running", fmt.Errorf("the hub is stopping"), "")
	}
	return checks
}

// privateHandler serves the operator's listener, which is on loopback only.
func (s *Server) privateHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
		defer cancel()
		out := struct {
			OK     bool    `json:"ok"`
			Checks []check `json:"checks"`
		}{true, s.health(ctx)}
		for _, c := range out.Checks {
			out.OK = out.OK && c.OK
		}
		w.Header().Set("Content-Type", "application/json")
		if !out.OK {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.Encode(out) // the asker has gone if it fails
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
