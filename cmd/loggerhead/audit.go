package main

import (
	"context"
	"strconv"
	"time"

	"github.com/loggerhead-cloud/loggerhead/client"
)

type auditCommand struct {
	List   auditListCommand   `cmd:"" default:"withargs" help:"List what was changed, by whom, from where and when; newest first."`
	Export auditExportCommand `cmd:"" help:"Write the whole trail, as CSV, or as NDJSON with the hashes it is checked by."`
}

// auditFlags say which events.
type auditFlags struct {
	Actor   string   `help:"Only what this one did, by id."`
	Action  string   `help:"Only this action, or this kind: device.claim, or device." placeholder:"ACTION"`
	Subject string   `help:"Only what was done to this, by id."`
	Since   timeFlag `help:"Only from then on." placeholder:"TIME"`
}

func (f auditFlags) query() (client.AuditQuery, error) {
	q := client.AuditQuery{Actor: f.Actor, Action: f.Action, Subject: f.Subject}
	if f.Since == "" {
		return q, nil
	}
	var err error
	q.From, err = f.Since.millis(time.Now())
	return q, err
}

type auditListCommand struct {
	projectFlags
	outputFlags
	auditFlags
	Limit int `help:"At most so many." default:"50"`
}

func (l auditListCommand) Run(ctx context.Context, p program) error {
	q, err := l.query()
	if err != nil {
		return err
	}
	q.Newest, q.Limit = true, l.Limit
	return l.inProject(ctx, p, func(c *client.Client, project string) error {
		es, err := c.Audit(ctx, project, q)
		if err != nil {
			return err
		}
		return show(p, l.outputFlags, es,
			column[client.AuditEvent]{"number", func(e client.AuditEvent) string { return strconv.FormatInt(e.Number, 10) }},
			column[client.AuditEvent]{"time", func(e client.AuditEvent) string { return moment(e.Time) }},
			column[client.AuditEvent]{"who", func(e client.AuditEvent) string { return e.ActorKind + " " + e.ActorID }},
			column[client.AuditEvent]{"from", func(e client.AuditEvent) string { return e.From }},
			column[client.AuditEvent]{"action", func(e client.AuditEvent) string { return e.Action }},
			column[client.AuditEvent]{"subject", func(e client.AuditEvent) string { return e.Subject }},
			column[client.AuditEvent]{"detail", func(e client.AuditEvent) string { return e.Detail }})
	})
}

type auditExportCommand struct {
	projectFlags
	auditFlags
	Format string `help:"csv or ndjson." enum:"csv,ndjson" default:"csv"`
}

func (x auditExportCommand) Run(ctx context.Context, p program) error {
	q, err := x.query()
	if err != nil {
		return err
	}
	return x.inProject(ctx, p, func(c *client.Client, project string) error {
		return c.ExportAudit(ctx, project, x.Format, q, p.stdout)
	})
}
