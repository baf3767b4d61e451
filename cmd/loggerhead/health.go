package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"text/tabwriter"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

type healthCommand struct{ configPath }

// maxHealth bounds the answer; whatever listens there may be another program.
const maxHealth = 1 << 20

func (h healthCommand) Run(ctx context.Context, p program) error {
	c, err := h.load()
	if err != nil {
		return err
	}
	if _, port, err := net.SplitHostPort(c.Private.Listen); err != nil || port == "0" {
		return lh.Errorf(lh.Invalid, "private.listen is %s: a hub that listens on any free port cannot be asked", c.Private.Listen)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Private.Listen+"/healthz", nil)
	if err != nil {
		return err
	}
	// No proxy: the listener is on this machine.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return lh.Hide(lh.Unavailable, err, "no hub answers on %s", c.Private.Listen)
	}
	defer resp.Body.Close()
	var answer struct {
		OK     bool `json:"ok"`
		Checks []struct {
			Name   string `json:"name"`
			OK     bool   `json:"ok"`
			Detail string `json:"detail"`
		} `json:"checks"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxHealth)).Decode(&answer); err != nil || len(answer.Checks) == 0 {
		return lh.Errorf(lh.Unavailable, "what answers on %s is no hub (status %d)", c.Private.Listen, resp.StatusCode)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	bad := 0
	for _, k := range answer.Checks {
		mark := "ok"
		if !k.OK {
			mark = "BAD"
			bad++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", mark, printable(k.Name), printable(k.Detail))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if !answer.OK || bad > 0 || resp.StatusCode != http.StatusOK {
		return lh.Errorf(lh.Unavailable, "the hub is not well: %d of %d checks failed", bad, len(answer.Checks))
	}
	return nil
}
