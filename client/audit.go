package client

import (
	"context"
	"io"
	"net/url"
	"strconv"
)

// AuditEvent is one thing somebody did.
type AuditEvent struct {
	Number    int64  `json:"number"`
	Time      int64  `json:"time"`
	ActorKind string `json:"actor_kind"`
	ActorID   string `json:"actor_id"`
	From      string `json:"from"` // address
	Action    string `json:"action"`
	Subject   string `json:"subject"`
	Detail    string `json:"detail"` // JSON
}

// AuditQuery says which events are wanted; its zero value wants the first hundred.
type AuditQuery struct {
	From, To               int64 // To is excluded; 0 is now
	Actor, Action, Subject string
	Newest                 bool // newest first
	Limit                  int
}

func (q AuditQuery) values() url.Values {
	v := url.Values{}
	number := func(name string, n int64) {
		if n != 0 {
			v.Set(name, strconv.FormatInt(n, 10))
		}
	}
	text := func(name, s string) {
		if s != "" {
			v.Set(name, s)
		}
	}
	number("from", q.From)
	number("to", q.To)
	number("limit", int64(q.Limit))
	text("actor", q.Actor)
	text("action", q.Action)
	text("subject", q.Subject)
	if q.Newest {
		v.Set("newest", "true")
	}
	return v
}

// Audit returns events of a project's audit trail, one page of them.
func (c *Client) Audit(ctx context.Context, project string, q AuditQuery) ([]AuditEvent, error) {
	return whole[AuditEvent](ctx, c, projectPath(project, "audit"), q.values())
}

// ExportAudit writes a project's whole audit trail, as far as the query wants it, as "csv" or "ndjson".
func (c *Client) ExportAudit(ctx context.Context, project, format string, q AuditQuery, to io.Writer) error {
	v := q.values()
	v.Del("limit")
	v.Del("newest")
	v.Set("format", format)
	resp, err := c.open(ctx, "GET", projectPath(project, "audit", "export"), v, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(to, resp.Body)
	return err
}
