package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Cursors returns what seals the cursors of lists, the same on every hub of the installation.
func (db *DB) Cursors() (cipher.AEAD, error) {
	key, err := db.master.Derive("cursors of lists", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Request is what a request asks of the changes it brings about. It is carried by the context to every transaction that
// writes an audit event, where it is checked and noted with the project's row held: nobody comes in between. One request
// has one; it is safe for concurrent use.
type Request struct {
	// Subject is the id of what the request is about, and Versions those it may have for the change to be made; nil is
	// any. What the request itself has written counts as well.
	Subject  string
	Versions []int64
	// Attempt is the request's turn at an idempotency key; nil has none.
	Attempt *Attempt

	mu  sync.Mutex
	own map[string][]int64 // versions that the request has written, by what it wrote
}

type requestKey struct{}

// WithRequest returns a context that carries r.
func WithRequest(ctx context.Context, r *Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// Version returns the newest version of a thing that the request has written and committed; 0 when it has none.
func (r *Request) Version(subject string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if own := r.own[subject]; len(own) > 0 {
		return own[len(own)-1]
	}
	return 0
}

func (r *Request) wrote(subject string, version int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.own[subject], version)
}

// Stale is the cause of a refusal by version: it tells the one there is.
type Stale struct{ Version int64 }

func (s *Stale) Error() string { return fmt.Sprintf("version %d is there", s.Version) }

// StaleError refuses a change of what has another version.
func StaleError(version int64) error {
	return lh.Hide(lh.Stale, &Stale{version}, "it changed since you read it: it has version %d now; read it again, then decide", version)
}

// Version returns how often a thing of the scope's project was changed; 0 for what has not been since such changes are
// kept. It says nothing of whether the thing is there, or the scope's to see.
func (db *DB) Version(ctx context.Context, sc Scope, subject string) (int64, error) {
	if err := sc.need(lh.PermRead); err != nil {
		return 0, err
	}
	var v sql.NullInt64
	err := db.row(ctx, db.read, `SELECT max(version) FROM change WHERE project_id = $1 AND subject = $2`, sc.project, subject).Scan(&v)
	if err != nil {
		return 0, fmt.Errorf("read version: %w", err)
	}
	return v.Int64, nil
}

// SeesSubject reports whether there is a thing with this id that the scope may see.
func (db *DB) SeesSubject(ctx context.Context, sc Scope, subject string) (bool, error) {
	err := sc.need(lh.PermRead)
	if err != nil {
		return false, err
	}
	switch prefix, _, _ := strings.Cut(subject, "_"); prefix {
	case "prj":
		return subject == string(sc.project), nil
	case "loc":
		_, err = db.Location(ctx, sc, lh.LocationID(subject))
	case "dev":
		_, err = db.Device(ctx, sc, lh.DeviceID(subject))
	case "elm":
		_, err = db.Element(ctx, sc, lh.ElementID(subject))
	default:
		if sc.Limited() {
			return false, nil
		}
		var last lh.Operation
		err = db.row(ctx, db.read, `SELECT operation FROM change WHERE project_id = $1 AND subject = $2 ORDER BY version DESC LIMIT 1`, sc.project, subject).Scan(&last)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		return last != lh.OperationDelete, err
	}
	if lh.CodeOf(err) == lh.NotFound {
		return false, nil
	}
	return err == nil, err
}

// changeOf says which change an audit event tells of.
func changeOf(action, subject string, detail any) lh.Change {
	first, verb, _ := strings.Cut(action, ".")
	c := lh.Change{Kind: lh.ChangeKind(first), ID: subject, Operation: lh.OperationChange}
	switch verb {
	case "delete", "remove", "destroy", "leave":
		c.Operation = lh.OperationDelete
	case "approve", "unapprove":
		c.Kind = lh.ChangedApproval
	}
	if c.Kind == lh.ChangedProject && verb == "retention" {
		c.Kind = lh.ChangedSeries
	}
	if m, ok := detail.(map[string]any); ok {
		c.Parent, _ = m["element_id"].(lh.ElementID)
		c.From, _ = m["from"].(lh.Millis)
		c.To, _ = m["to"].(lh.Millis)
	}
	return c
}

const insertChange = `INSERT INTO change (project_id, number, subject, version, kind, operation, parent, location_id, time, from_time, to_time) VALUES `

// changed notes the change that an audit event tells of, and refuses it where the request does not want it. The caller
// holds the project's row and has numbered the event.
func (t *tx) changed(ctx context.Context, p lh.ProjectID, number int64, action, subject string, detail any) error {
	c := changeOf(action, subject, detail)
	var kind lh.ChangeKind
	var last lh.Operation
	err := t.db.row(ctx, t, `SELECT version, kind, operation FROM change WHERE project_id = $1 AND subject = $2 ORDER BY version DESC LIMIT 1`, p, subject).
		Scan(&c.Version, &kind, &last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if r, ok := ctx.Value(requestKey{}).(*Request); ok {
		if err := t.asked(ctx, r, subject, c.Version); err != nil {
			return err
		}
	}
	if c.Operation == lh.OperationChange && c.Kind != lh.ChangedSeries && (c.Version == 0 || last == lh.OperationDelete && kind == c.Kind) {
		c.Operation = lh.OperationCreate
	}
	at, err := t.standsAt(ctx, p, c)
	if err != nil {
		return err
	}
	_, err = t.exec(ctx, insertChange+placeholders(1, 11), p, number, subject, c.Version+1, c.Kind, c.Operation, c.Parent, at, t.now, c.From, c.To)
	t.number = number
	return err
}

// asked holds a change against what the request asks.
func (t *tx) asked(ctx context.Context, r *Request, subject string, version int64) error {
	if r.Subject == subject && r.Versions != nil && t.written[subject] == 0 && !slices.Contains(r.Versions, version) && !r.wrote(subject, version) {
		return StaleError(version)
	}
	if t.written == nil {
		t.request, t.written = r, map[string]int64{}
	}
	t.written[subject] = version + 1
	return t.attempted(ctx, r, subject)
}

// committed tells the request what the transaction has written.
func (t *tx) committed() {
	if t.request == nil {
		return
	}
	t.request.mu.Lock()
	defer t.request.mu.Unlock()
	if t.request.own == nil {
		t.request.own = map[string][]int64{}
	}
	for subject, v := range t.written {
		t.request.own[subject] = append(t.request.own[subject], v)
	}
}

// standsAt returns where a thing stands before the change; "" for what is nowhere or not there yet.
func (t *tx) standsAt(ctx context.Context, p lh.ProjectID, c lh.Change) (lh.LocationID, error) {
	table, id := "element", c.ID
	switch c.Kind {
	case lh.ChangedLocation:
		return lh.LocationID(c.ID), nil
	case lh.ChangedDevice:
		table = "device"
	case lh.ChangedElement, lh.ChangedSeries:
	case lh.ChangedCorrection, lh.ChangedApproval:
		id = string(c.Parent)
	default:
		return "", nil
	}
	var at lh.LocationID
	err := t.db.row(ctx, t, `SELECT location_id FROM `+table+` WHERE project_id = $1 AND id = $2`, p, id).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return at, err
}

// alsoChanged notes that things of a table and a condition (on x, from $6 on) change with the event written last: where
// they stand, or what feeds them. It comes before they do.
func (t *tx) alsoChanged(ctx context.Context, p lh.ProjectID, table string, kind lh.ChangeKind, where string, args ...any) error {
	_, err := t.exec(ctx, `INSERT INTO change (project_id, number, subject, version, kind, operation, parent, location_id, time, from_time, to_time)
		SELECT x.project_id, $2, x.id, coalesce((SELECT max(c.version) FROM change c WHERE c.project_id = x.project_id AND c.subject = x.id), 0) + 1,
		$3, $4, '', x.location_id, $5, 0, 0 FROM `+table+` x WHERE x.project_id = $1 AND x.`+where,
		append([]any{p, t.number, kind, lh.OperationChange, t.now}, args...)...)
	if err != nil {
		return fmt.Errorf("note what else changed: %w", err)
	}
	return nil
}

// ChangeCursor is a place in a project's changes: after the change of Subject in event Number, and after Mark.
type ChangeCursor struct {
	Number  int64  `json:"n"`
	Subject string `json:"s,omitempty"`
	Mark    int64  `json:"m"`
}

// newest is after every subject of an event: no id begins with it.
const newest = "\x7f"

// ChangesNow returns the place after all there is.
func (db *DB) ChangesNow(ctx context.Context, sc Scope) (ChangeCursor, error) {
	c := ChangeCursor{Subject: newest}
	if err := sc.need(lh.PermRead); err != nil {
		return c, err
	}
	err := db.row(ctx, db.read, `SELECT audit_number, coalesce((SELECT number FROM mark_number WHERE project_id = $1), 0) FROM project WHERE id = $1`, sc.project).
		Scan(&c.Number, &c.Mark)
	if err != nil {
		return c, fmt.Errorf("read changes: %w", err)
	}
	return c, nil
}

// Changes returns what was changed after a place, in order, at most limit of each, as far as the scope may see it, and
// where to go on; more says that there is more already. Whoever has seen an event has seen all before it: they are
// numbered while the project's row is held, and so committed in that order.
//
// A limited scope is told of what stands at its locations, now or before the change; what left them reads as deleted.
// Settings, and what is neither a place nor a device nor an element, are told to those who administer, but for members.
func (db *DB) Changes(ctx context.Context, sc Scope, after ChangeCursor, limit int) (cs []lh.Change, ms []lh.Mark, next ChangeCursor, more bool, err error) {
	next = after
	if err := sc.need(lh.PermRead); err != nil {
		return nil, nil, next, false, err
	}
	seen, err := db.visible(ctx, sc)
	if err != nil {
		return nil, nil, next, false, err
	}
	n := 0
	err = db.each(ctx, db.read, `SELECT number, subject, version, kind, operation, parent, location_id, time, from_time, to_time FROM change
		WHERE project_id = $1 AND (number > $2 OR number = $2 AND subject > $3) ORDER BY number, subject LIMIT $4`,
		[]any{sc.project, after.Number, after.Subject, limit + 1}, func(scan func(...any) error) error {
			var c lh.Change
			var at lh.LocationID
			if err := scan(&c.Number, &c.ID, &c.Version, &c.Kind, &c.Operation, &c.Parent, &at, &c.Time, &c.From, &c.To); err != nil {
				return err
			}
			if n++; n > limit {
				more = true
				return nil
			}
			next.Number, next.Subject = c.Number, c.ID
			if c, ok := seen.change(c, at); ok {
				cs = append(cs, c)
			}
			return nil
		})
	if err != nil {
		return nil, nil, after, false, fmt.Errorf("read changes: %w", err)
	}
	n = 0
	err = db.each(ctx, db.read, `SELECT mark, element_id, day, marked FROM chunk WHERE project_id = $1 AND mark > $2 ORDER BY mark LIMIT $3`,
		[]any{sc.project, after.Mark, limit + 1}, func(scan func(...any) error) error {
			var m lh.Mark
			if err := scan(&m.Number, &m.Element, &m.Day, &m.Time); err != nil {
				return err
			}
			if n++; n > limit {
				more = true
				return nil
			}
			next.Mark = m.Number
			if !sc.Limited() || seen.now[string(m.Element)] {
				ms = append(ms, m)
			}
			return nil
		})
	if err != nil {
		return nil, nil, after, false, fmt.Errorf("read marks: %w", err)
	}
	return cs, ms, next, more, nil
}

// visibility is what a scope may be told of.
type visibility struct {
	sc  Scope
	now map[string]bool // of a limited scope: ids of what it sees now
}

func (db *DB) visible(ctx context.Context, sc Scope) (visibility, error) {
	v := visibility{sc: sc, now: map[string]bool{}}
	if !sc.Limited() {
		return v, nil
	}
	err := db.each(ctx, db.read, `SELECT id, location_id FROM element WHERE project_id = $1 UNION ALL SELECT id, location_id FROM device WHERE project_id = $1
		UNION ALL SELECT id, id FROM location WHERE project_id = $1`, []any{sc.project}, func(scan func(...any) error) error {
		var id string
		var at lh.LocationID
		err := scan(&id, &at)
		if err == nil && sc.Sees(at) {
			v.now[id] = true
		}
		return err
	})
	if err != nil {
		return v, fmt.Errorf("read what is visible: %w", err)
	}
	members, err := db.Members(ctx, sc)
	for _, m := range members {
		v.now[string(m.User)] = true
	}
	return v, err
}

// change returns a change as the scope may see it: at is where the thing stood before.
func (v visibility) change(c lh.Change, at lh.LocationID) (lh.Change, bool) {
	switch c.Kind {
	case lh.ChangedProject:
		return c, true
	case lh.ChangedMember:
		return c, !v.sc.Limited() || v.now[c.ID]
	case lh.ChangedLocation, lh.ChangedDevice, lh.ChangedElement:
		if !v.sc.Limited() || v.now[c.ID] {
			return c, true
		}
		c.Operation = lh.OperationDelete // it left, or is gone
		return c, at != "" && v.sc.Sees(at)
	case lh.ChangedSeries:
		return c, !v.sc.Limited() || v.now[c.ID] || c.ID == string(v.sc.project)
	case lh.ChangedCorrection, lh.ChangedApproval:
		return c, !v.sc.Limited() || v.now[string(c.Parent)]
	}
	return c, v.sc.Allows(lh.PermAdminister)
}

// marks takes numbers for days of series that are written, in a fold's transaction, and returns the first. The counter's
// row is held until the commit, so that marks are committed in the order of their numbers; nobody but a fold takes it,
// after the devices and before the chunks.
func (t *tx) marks(ctx context.Context, p lh.ProjectID, n int) (first int64, err error) {
	if n == 0 {
		return 0, nil
	}
	var last int64
	err = t.db.row(ctx, t, `INSERT INTO mark_number (project_id, number) VALUES ($1, $2)
		ON CONFLICT (project_id) DO UPDATE SET number = mark_number.number + $2 RETURNING number`, p, n).Scan(&last)
	if err != nil {
		return 0, fmt.Errorf("count marks: %w", err)
	}
	return last - int64(n) + 1, nil
}
