package api

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// AuditEvent is one thing somebody did, in answers.
type AuditEvent struct {
	Number    int64        `json:"number" doc:"Counts from 1 without a hole"`
	Time      lh.Millis    `json:"time"`
	ActorKind lh.ActorKind `json:"actor_kind" example:"user"`
	ActorID   string       `json:"actor_id"`
	From      string       `json:"from" doc:"The address it was done from; empty where it is not known, or the hub did it by itself" example:"192.0.2.7"`
	Action    string       `json:"action" example:"device.claim"`
	Subject   string       `json:"subject" doc:"Id of what it was done to"`
	Detail    string       `json:"detail" doc:"JSON of what changed, mostly “before” and “after”"`
	Hash      []byte       `json:"hash" doc:"Covers the event and the hash before it"`
}

func auditEventOf(e lh.AuditEvent) AuditEvent {
	return AuditEvent{e.Number, e.Time, e.Actor.Kind, e.Actor.ID, addressText(e.Actor.From), e.Action, e.Subject, e.Detail, e.Hash}
}

// addressText is "" for an address that is not known.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// AuditFilter is the part of an input that says which events are wanted.
type AuditFilter struct {
	From    lh.Millis `query:"from" minimum:"0" doc:"Not before"`
	To      lh.Millis `query:"to" minimum:"0" doc:"Before; 0 is until now"`
	Actor   string    `query:"actor" maxLength:"64" doc:"Only what this user, service account, device or integration did, by id"`
	Action  string    `query:"action" maxLength:"64" doc:"Only this action, or with its first word alone all of that kind" example:"device"`
	Subject string    `query:"subject" maxLength:"64" doc:"Only what was done to this, by id"`
}

func (f AuditFilter) filter(newest bool) store.AuditFilter {
	return store.AuditFilter{From: f.From, To: f.To, Actor: f.Actor, Action: f.Action, Subject: f.Subject, Newest: newest}
}

// AuditPage is the part of an input that says which part of a trail is asked for.
type AuditPage struct {
	After  int64  `query:"after" minimum:"0" doc:"Number of the event to go on behind, in the order asked for"`
	Newest bool   `query:"newest" doc:"Newest first"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"At most so many at a time"`
	Cursor string `query:"cursor" maxLength:"2048" doc:"Where to go on: that of next in the page before"`
}

type auditInput struct {
	ProjectPath
	AuditFilter
	AuditPage
}

func listAudit(a *API, ctx context.Context, sc store.Scope, in *auditInput) (*list[AuditEvent], error) {
	return a.auditPage(ctx, in.AuditPage, func(after int64, limit int, fn func(lh.AuditEvent) error) error {
		return a.DB.Audit(ctx, sc, after, limit, in.filter(in.Newest), fn)
	})
}

type accountAuditInput struct {
	AuditFilter
	AuditPage
}

func listAccountAudit(a *API, ctx context.Context, p access.Principal, in *accountAuditInput) (*list[AuditEvent], error) {
	if err := operatorOnly(p); err != nil {
		return nil, err
	}
	return a.auditPage(ctx, in.AuditPage, func(after int64, limit int, fn func(lh.AuditEvent) error) error {
		return a.DB.AccountAudit(ctx, after, limit, in.filter(in.Newest), fn)
	})
}

// operatorOnly refuses who does not run the installation.
func operatorOnly(p access.Principal) error {
	if !p.User.Operator {
		return lh.Errorf(lh.Forbidden, "only an operator of this installation may do this")
	}
	return nil
}

func (a *API) auditPage(ctx context.Context, in AuditPage, read func(after int64, limit int, fn func(lh.AuditEvent) error) error) (*list[AuditEvent], error) {
	after := in.After
	if _, err := a.openCursor(ctx, in.Cursor, &after); err != nil {
		return nil, err
	}
	var es []AuditEvent
	err := read(after, in.Limit+1, func(e lh.AuditEvent) error {
		es = append(es, auditEventOf(e))
		return nil
	})
	if err != nil {
		return nil, err
	}
	next := ""
	if len(es) > in.Limit {
		es = es[:in.Limit]
		if next, err = a.cursor(ctx, es[in.Limit-1].Number); err != nil {
			return nil, err
		}
	}
	return onwards(ctx, listOf(es), next), nil
}

type exportAuditInput struct {
	ProjectPath
	AuditFilter
	Format string `query:"format" enum:"csv,ndjson" default:"csv"`
}

func exportAudit(a *API, ctx context.Context, sc store.Scope, in *exportAuditInput) (*huma.StreamResponse, error) {
	return a.auditFile(sc, in.Format, func(ctx context.Context, after int64, limit int, fn func(lh.AuditEvent) error) error {
		return a.DB.Audit(ctx, sc, after, limit, in.filter(false), fn)
	}), nil
}

type exportAccountAuditInput struct {
	AuditFilter
	Format string `query:"format" enum:"csv,ndjson" default:"csv"`
}

func exportAccountAudit(a *API, ctx context.Context, p access.Principal, in *exportAccountAuditInput) (*huma.StreamResponse, error) {
	if err := operatorOnly(p); err != nil {
		return nil, err
	}
	return a.auditFile(store.Scope{}, in.Format, func(ctx context.Context, after int64, limit int, fn func(lh.AuditEvent) error) error {
		return a.DB.AccountAudit(ctx, after, limit, in.filter(false), fn)
	}), nil
}

// auditLine is an event in a file, with everything that is needed to work its hash out again; docs/audit.md tells how.
type auditLine struct {
	Project   lh.ProjectID `json:"project"`
	Number    int64        `json:"number"`
	Time      lh.Millis    `json:"time"`
	ActorKind lh.ActorKind `json:"actor_kind"`
	ActorID   string       `json:"actor_id"`
	From      string       `json:"from"`
	Action    string       `json:"action"`
	Subject   string       `json:"subject"`
	Detail    string       `json:"detail"`
	Format    int          `json:"format"`
	Before    string       `json:"before"`
	Hash      string       `json:"hash"`
}

// auditFile streams a trail as a file. It reads page by page, so that no reading transaction lasts as long as the reader.
func (a *API) auditFile(sc store.Scope, format string, read func(ctx context.Context, after int64, limit int, fn func(lh.AuditEvent) error) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(c huma.Context) {
		c.SetHeader("Content-Type", map[string]string{"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}[format])
		c.SetHeader("Content-Disposition", `attachment; filename="audit.`+format+`"`)
		a.stream(c, sc, func(ctx context.Context, out *bufio.Writer) error {
			var put func(auditLine) error
			if format == "csv" {
				w := csv.NewWriter(out)
				if err := w.Write([]string{"number", "time", "actor_kind", "actor_id", "from", "action", "subject", "detail", "hash"}); err != nil {
					return err
				}
				put = func(l auditLine) error {
					err := w.Write([]string{strconv.FormatInt(l.Number, 10), l.Time.Time().Format(time.RFC3339Nano), string(l.ActorKind), l.ActorID, l.From,
						l.Action, l.Subject, l.Detail, l.Hash})
					w.Flush()
					return err
				}
			} else {
				j := json.NewEncoder(out)
				j.SetEscapeHTML(false)
				put = func(l auditLine) error { return j.Encode(l) }
			}
			for after, n := int64(0), 1; n > 0; {
				n = 0
				err := read(ctx, after, 1000, func(e lh.AuditEvent) error {
					after = e.Number
					n++
					return put(auditLine{e.Project, e.Number, e.Time, e.Actor.Kind, e.Actor.ID, addressText(e.Actor.From), e.Action, e.Subject, e.Detail,
						e.Format, hex.EncodeToString(e.Before), hex.EncodeToString(e.Hash)})
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}}
}
