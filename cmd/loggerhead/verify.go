package main

import (
	"context"
	"fmt"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
)

type verifyCommand struct{ configPath }

// Run reads everything and says in words what is wrong. It changes nothing, and may run beside a hub.
func (v verifyCommand) Run(ctx context.Context, p program) (err error) {
	cfg, err := v.load()
	if err != nil {
		return err
	}
	db, err := v.database(ctx, cfg.Log.Logger(p.stderr))
	if err != nil {
		return err
	}
	defer func() {
		if e := db.Close(); err == nil {
			err = e
		}
	}()
	acc := access.New(access.Options{DB: db})
	e := series.New(db, series.Options{Scope: acc.Hub, Log: cfg.Log.Logger(p.stderr)})
	start, told := time.Now(), time.Now()
	got, err := e.Verify(ctx,
		func(finding string) { fmt.Fprintln(p.stdout, "BAD ", finding) },
		func(so series.Verified) {
			if time.Since(told) >= 2*time.Second {
				told = time.Now()
				fmt.Fprintf(p.stderr, "  … %d chunks, %d samples\n", so.Chunks, so.Samples)
			}
		})
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "read %d projects, %d elements, %d chunks, %d samples, %d overwritten values, %d uploads not folded yet and %d audit events in %s\n",
		got.Projects, got.Elements, got.Chunks, got.Samples, got.Revisions, got.Uploads, got.AuditEvents, time.Since(start).Round(time.Millisecond))
	if got.Findings > 0 {
		return lh.Errorf(lh.Internal, "%d things are wrong; each is named above. Put back what is damaged from a backup", got.Findings)
	}
	_, err = fmt.Fprintln(p.stdout, "everything is as it was written")
	return err
}
