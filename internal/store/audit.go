package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

// Formats of an audit event's hash. docs/audit.md describes auditNetstrings for who checks an exported trail.
const (
	auditJSON       = 0 // SHA-256 of the event's JSON by Go, with the hash before it in Hash; without the address
	auditNetstrings = 1
)

// audit writes one event in the caller's transaction: either the change and its event last, or neither. detail is
// anything JSON can write and holds no secret. It takes the project's row, so that events of a project queue up and
// are numbered without a hole.
func (t *tx) audit(ctx context.Context, project lh.ProjectID, actor lh.Actor, action, subject string, detail any) error {
	err := t.auditIn(ctx, lh.AuditEvent{Project: project, Actor: actor, Action: action, Subject: subject}, detail,
		`UPDATE project SET audit_number = audit_number + 1 WHERE id = $1 RETURNING audit_number, audit_hash`,
		`UPDATE project SET audit_hash = $2 WHERE id = $1`, project)
	if err == nil {
		err = t.unfrozen(ctx, project, actor, action)
	}
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	return nil
}

// auditAccount writes an event about an account, or whatever else belongs to no project, into the installation's own
// chain, in the caller's transaction. subject is an id; detail holds ids and states, no address and no name: the event
// outlives the account.
func (t *tx) auditAccount(ctx context.Context, by lh.Actor, action string, subject lh.UserID, detail any) error {
	err := t.auditIn(ctx, lh.AuditEvent{Project: installation, Actor: by, Action: action, Subject: string(subject)}, detail,
		`UPDATE installation SET audit_number = audit_number + 1 WHERE id = $1 RETURNING audit_number, audit_hash`,
		`UPDATE installation SET audit_hash = $2 WHERE id = $1`, 1)
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	return nil
}

// looked is a detail that is found out when the trail is the transaction's own, and with it, what is before the change: nobody
// else changes it any more.
type looked func(t *tx) (any, error)

// changeDetail is what most changes tell.
type changeDetail struct {
	Before any `json:"before"`
	After  any `json:"after"`
}

// auditIn chains an event to a trail whose row head has its newest number and hash; count and move are the statements
// that count it up and put the new hash there.
func (t *tx) auditIn(ctx context.Context, e lh.AuditEvent, detail any, count, move string, head any) error {
	var prev []byte
	if err := t.db.row(ctx, t, count, head).Scan(&e.Number, &prev); err != nil {
		return err
	}
	if f, ok := detail.(looked); ok {
		var err error
		if detail, err = f(t); err != nil {
			return err
		}
	}
	d, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	e.Time, e.Detail = t.now, string(d)
	k, err := t.db.key(ctx, t, string(e.Project))
	if err != nil {
		return err
	}
	row, err := chained(k, prev, &e)
	if err != nil {
		return err
	}
	if _, err := t.exec(ctx, insertAudit.query(1), row...); err != nil {
		return err
	}
	if _, err = t.exec(ctx, move, head, e.Hash); err != nil || e.Project == installation {
		return err
	}
	return t.changed(ctx, e.Project, e.Number, e.Action, e.Subject, detail) // change.go: versions, If-Match, the feed
}

var insertAudit = insertion{head: `INSERT INTO audit (project_id, number, time, actor_kind, actor_id, action, subject, detail, hash, format, origin) VALUES `, columns: 11}

// chained gives an event its hash behind prev, the hash of the one before it, and returns its row. Empty: there is none before.
func chained(k *seal.Key, prev []byte, e *lh.AuditEvent) ([]any, error) {
	if len(prev) == 0 {
		prev = auditSeed(e.Project)
	}
	detail, err := k.Seal([]byte(e.Detail), place("audit", e.Project, e.Number))
	if err != nil {
		return nil, err
	}
	origin := []byte{}
	if e.Actor.From.IsValid() {
		if origin, err = k.Seal([]byte(e.Actor.From.String()), place("audit", e.Project, e.Number, "origin")); err != nil {
			return nil, err
		}
	}
	e.Hash = auditHash(auditNetstrings, prev, *e)
	return []any{string(e.Project), e.Number, int64(e.Time), string(e.Actor.Kind), e.Actor.ID, e.Action, e.Subject, detail, e.Hash, auditNetstrings, origin}, nil
}

// auditHash chains an event to the one before it.
func auditHash(format int, prev []byte, e lh.AuditEvent) []byte {
	if format == auditJSON {
		e.Hash = prev
		b, err := json.Marshal(e)
		if err != nil {
			panic(err) // a struct of strings, numbers and bytes always marshals
		}
		h := sha256.Sum256(b)
		return h[:]
	}
	from := ""
	if e.Actor.From.IsValid() {
		from = e.Actor.From.String()
	}
	b := bytes.Clone(prev)
	for _, s := range []string{string(e.Project), strconv.FormatInt(e.Number, 10), strconv.FormatInt(int64(e.Time), 10),
		string(e.Actor.Kind), e.Actor.ID, from, e.Action, e.Subject, e.Detail} {
		b = append(strconv.AppendInt(b, int64(len(s)), 10), ':')
		b = append(append(b, s...), ',')
	}
	h := sha256.Sum256(b)
	return h[:]
}

// auditSeed is what the first event of a trail is chained to.
func auditSeed(p lh.ProjectID) []byte {
	h := sha256.Sum256([]byte("loggerhead audit " + p))
	return h[:]
}

// AuditFilter says which events are wanted; its zero value wants all.
type AuditFilter struct {
	From, To lh.Millis // To is excluded; 0 is no end
	Actor    string    // id
	Action   string    // all of it, or up to a dot: "device" is every action on devices
	Subject  string    // id
	Newest   bool      // newest first
}

func (f AuditFilter) where() (string, []any) {
	to := cmp.Or(f.To, lh.MaxMillis+1)
	// Every clause always stands, so that there are two statements and not thirty-two.
	return ` AND time >= $2 AND time < $3 AND ($4 = '' OR actor_id = $4) AND ($5 = '' OR action = $5 OR action LIKE $6) AND ($7 = '' OR subject = $7)`,
		[]any{f.From, to, f.Actor, f.Action, likePrefix(f.Action + "."), f.Subject}
}

// likePrefix is the pattern for what begins with s; in an action or id nothing needs escaping but what no action has.
func likePrefix(s string) string {
	out := make([]byte, 0, len(s)+1)
	for i := range len(s) {
		if s[i] != '%' && s[i] != '_' && s[i] != '\\' {
			out = append(out, s[i])
		}
	}
	return string(append(out, '%'))
}

// Audit hands fn the project's events numbered after after, or before it where newest come first (0: from that end), in
// order, at most limit, that the filter wants. It checks the hash of each against the event before it: one altered, removed
// or put in between is an error that names its number.
func (db *DB) Audit(ctx context.Context, sc Scope, after int64, limit int, f AuditFilter, fn func(lh.AuditEvent) error) error {
	if err := sc.need(lh.PermAdminister); err != nil && !sc.Allows(lh.PermMaintain) {
		return err
	}
	return db.auditTrail(ctx, sc.project, after, limit, f, fn)
}

// AccountAudit hands fn events of the installation's own trail, as [DB.Audit] does. Whoever calls it has made sure that an
// operator asks.
func (db *DB) AccountAudit(ctx context.Context, after int64, limit int, f AuditFilter, fn func(lh.AuditEvent) error) error {
	return db.auditTrail(ctx, installation, after, limit, f, fn)
}

func (db *DB) auditTrail(ctx context.Context, owner lh.ProjectID, after int64, limit int, f AuditFilter, fn func(lh.AuditEvent) error) error {
	k, err := db.key(ctx, db.read, string(owner))
	if err != nil {
		return err
	}
	if after > 0 {
		var n int64
		err := db.row(ctx, db.read, `SELECT number FROM audit WHERE project_id = $1 AND number = $2`, owner, after).Scan(&n)
		if errors.Is(err, sql.ErrNoRows) {
			return lh.Errorf(lh.NotFound, "there is no audit event %d here", after)
		}
		if err != nil {
			return fmt.Errorf("read audit trail: %w", err)
		}
	}
	where, args := f.where()
	order := ` AND number > $8 ORDER BY number LIMIT $9`
	if f.Newest {
		order = ` AND ($8 = 0 OR number < $8) ORDER BY number DESC LIMIT $9`
	}
	args = append(append([]any{owner}, args...), after, limit)
	return db.each(ctx, db.read, `SELECT number, time, actor_kind, actor_id, action, subject, detail, hash, format, origin,
		(SELECT hash FROM audit b WHERE b.project_id = a.project_id AND b.number = a.number - 1) FROM audit a WHERE project_id = $1`+where+order, args,
		func(scan func(...any) error) error {
			e := lh.AuditEvent{Project: owner}
			var sealed, origin, prev []byte
			var format int
			if err := scan(&e.Number, &e.Time, &e.Actor.Kind, &e.Actor.ID, &e.Action, &e.Subject, &sealed, &e.Hash, &format, &origin, &prev); err != nil {
				return err
			}
			d, err := k.Open(sealed, place("audit", owner, e.Number))
			if err != nil {
				return brokenTrail(owner, e.Number, err)
			}
			e.Detail = string(d)
			if len(origin) > 0 {
				b, err := k.Open(origin, place("audit", owner, e.Number, "origin"))
				if err == nil {
					e.Actor.From, err = netip.ParseAddr(string(b))
				}
				if err != nil {
					return brokenTrail(owner, e.Number, err)
				}
			}
			if e.Number == 1 {
				prev = auditSeed(owner)
			}
			if prev == nil {
				return brokenTrail(owner, e.Number-1, errors.New("it is missing"))
			}
			if !bytes.Equal(e.Hash, auditHash(format, prev, e)) {
				return brokenTrail(owner, e.Number, errors.New("it does not follow on the one before it"))
			}
			e.Format, e.Before = format, prev
			return fn(e)
		})
}

func brokenTrail(owner lh.ProjectID, number int64, err error) error {
	return fmt.Errorf("the audit trail of %s is broken at event %d: %w", owner, number, err)
}

// VerifyAudit reads a project's whole audit trail and returns how many events it has. An error names the first event that is
// altered or missing, the last ones included: the project's row tells how many there must be.
func (db *DB) VerifyAudit(ctx context.Context, sc Scope) (int64, error) {
	if err := sc.need(lh.PermMaintain); err != nil {
		return 0, err
	}
	return db.verifyTrail(ctx, sc.project, `SELECT audit_number, audit_hash FROM project WHERE id = $1`, sc.project)
}

// VerifyAccountAudit is [DB.VerifyAudit] for the installation's own trail. It is the hub's own.
func (db *DB) VerifyAccountAudit(ctx context.Context) (int64, error) {
	return db.verifyTrail(ctx, installation, `SELECT audit_number, audit_hash FROM installation WHERE id = $1`, 1)
}

func (db *DB) verifyTrail(ctx context.Context, owner lh.ProjectID, headQuery string, arg any) (int64, error) {
	// The head first: what is written meanwhile lies behind it.
	var last int64
	var hash []byte
	if err := db.row(ctx, db.read, headQuery, arg).Scan(&last, &hash); err != nil {
		return 0, fmt.Errorf("read the head of the audit trail: %w", err)
	}
	var n int64
	var newest []byte
	for n < last {
		before := n
		err := db.auditTrail(ctx, owner, n, int(min(1000, last-n)), AuditFilter{}, func(e lh.AuditEvent) error {
			n++
			newest = e.Hash
			if e.Number != n {
				return brokenTrail(owner, n, errors.New("it is missing"))
			}
			return nil
		})
		if err != nil {
			return n, err
		}
		if n == before {
			return n, brokenTrail(owner, n+1, errors.New("it is missing, and so is what came after it"))
		}
	}
	if last > 0 && !bytes.Equal(newest, hash) {
		return n, brokenTrail(owner, last, errors.New("it is not the one that was written last"))
	}
	return n, nil
}
