package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

// Bounds of a project's programs.
const (
	MaxServiceAccounts = 200
	MaxIntegrations    = 200
	MaxNetworks        = 50
)

type serviceBody struct {
	Name string `json:"name"`
}

// serviceDetail is what the audit trail keeps of a service account.
type serviceDetail struct {
	Name      string         `json:"name"`
	Role      lh.Role        `json:"role"`
	Locations []string       `json:"locations,omitempty"`
	Networks  []netip.Prefix `json:"networks,omitempty"`
	Expires   lh.Millis      `json:"expires,omitempty"`
	Enabled   bool           `json:"enabled"`
}

func noService() error {
	return lh.Errorf(lh.NotFound, "there is no such service account in this project")
}

func joinNetworks(ns []netip.Prefix) string {
	s := make([]string, len(ns))
	for i, n := range ns {
		s[i] = n.String()
	}
	return strings.Join(s, ",")
}

// splitNetworks fails on what is no network: to let it pass would open to everywhere what was closed.
func splitNetworks(column string) ([]netip.Prefix, error) {
	if column == "" {
		return nil, nil
	}
	var ns []netip.Prefix
	for s := range strings.SplitSeq(column, ",") {
		n, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("allowed networks: %w", err)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

const serviceColumns = `a.id, a.role, a.locations, a.networks, a.expires, a.enabled, a.created, a.body`

// serviceRow is a service account as its row has it.
type serviceRow struct {
	lh.ServiceAccount
	locations, networks string
	enabled             int
	sealed              []byte
}

func (r *serviceRow) fields() []any {
	return []any{&r.ID, &r.Role, &r.locations, &r.networks, &r.Expires, &r.enabled, &r.Created, &r.sealed}
}

func (r *serviceRow) open(k *seal.Key, p lh.ProjectID) (lh.ServiceAccount, error) {
	a := r.ServiceAccount
	a.Project, a.Enabled, a.Locations = p, r.enabled != 0, splitLocations(r.locations)
	var err error
	if a.Networks, err = splitNetworks(r.networks); err != nil {
		return a, fmt.Errorf("service account %s: %w", a.ID, err)
	}
	var b serviceBody
	if err := openJSON(k, r.sealed, place("service", p, string(a.ID)), &b); err != nil {
		return a, err
	}
	a.Name = b.Name
	return a, nil
}

// ServiceAccounts returns the service accounts of the scope's project, oldest first.
func (db *DB) ServiceAccounts(ctx context.Context, sc Scope) ([]lh.ServiceAccount, error) {
	if err := sc.need(lh.PermAdminister); err != nil {
		return nil, err
	}
	return db.services(ctx, sc, `a.project_id = $1 ORDER BY a.created, a.id`, sc.project)
}

// ServiceAccount returns one.
func (db *DB) ServiceAccount(ctx context.Context, sc Scope, id lh.ServiceID) (lh.ServiceAccount, error) {
	if err := sc.need(lh.PermAdminister); err != nil {
		return lh.ServiceAccount{}, err
	}
	as, err := db.services(ctx, sc, `a.project_id = $1 AND a.id = $2`, sc.project, id)
	if err == nil && len(as) == 0 {
		err = noService()
	}
	if err != nil {
		return lh.ServiceAccount{}, err
	}
	return as[0], nil
}

func (db *DB) services(ctx context.Context, sc Scope, where string, args ...any) ([]lh.ServiceAccount, error) {
	return programs[serviceRow, lh.ServiceAccount](ctx, db, sc, `SELECT `+serviceColumns+` FROM service_account a WHERE `+where, args)
}

// programRow is a row of a program's table: a service account's or an integration's.
type programRow[R, T any] interface {
	*R
	fields() []any
	open(k *seal.Key, p lh.ProjectID) (T, error)
}

// programs reads rows of programs. Whether the scope may is the caller's to check.
func programs[R, T any, P programRow[R, T]](ctx context.Context, db *DB, sc Scope, query string, args []any) ([]T, error) {
	k, err := db.key(ctx, db.read, string(sc.project))
	if err != nil {
		return nil, err
	}
	var all []T
	err = db.each(ctx, db.read, query, args, func(scan func(...any) error) error {
		r := P(new(R))
		if err := scan(r.fields()...); err != nil {
			return err
		}
		one, err := r.open(k, sc.project)
		all = append(all, one)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read programs: %w", err)
	}
	return all, nil
}

// checkService refuses what nobody can be given, and more than the scope has.
func checkService(sc Scope, a lh.ServiceAccount) error {
	switch {
	case len(a.Name) == 0 || len(a.Name) > 200:
		return lh.Errorf(lh.Invalid, "a service account's name has 1 to 200 bytes")
	case !a.Role.Valid() || a.Role == lh.RoleOwner:
		return lh.Errorf(lh.Invalid, "a service account is a viewer, an editor or an administrator")
	case !a.Role.Within(sc.role):
		return lh.Errorf(lh.Forbidden, "nobody gives a role that is more than their own")
	case len(a.Locations) > 0 && a.Role == lh.RoleAdministrator:
		return lh.Errorf(lh.Invalid, "an administrator is one of the whole project; make it an editor, or lift the limit to locations")
	case len(a.Locations) > 1000:
		return lh.Errorf(lh.Invalid, "at most 1000 locations can be listed")
	case a.Expires < 0:
		return lh.Errorf(lh.Invalid, "expires is a time, or 0 for never")
	}
	return checkNetworks(a.Networks)
}

func checkNetworks(ns []netip.Prefix) error {
	if len(ns) > MaxNetworks {
		return lh.Errorf(lh.Invalid, "at most %d networks can be listed", MaxNetworks)
	}
	for _, n := range ns {
		switch {
		case !n.IsValid() || n.Addr().Is4In6() || n.Addr().Zone() != "":
			return lh.Errorf(lh.Invalid, "%q is no network, such as 192.0.2.0/24 or 2001:db8::/32", n)
		case n != n.Masked():
			return lh.Errorf(lh.Invalid, "%s has bits beyond its length; %s is meant?", n, n.Masked())
		}
	}
	return nil
}

// locationsAreThere refuses a limit to locations that the project has not.
func (t *tx) locationsAreThere(ctx context.Context, sc Scope, ls []lh.LocationID) error {
	for _, l := range ls {
		if err := t.locationIsThere(ctx, sc, l); err != nil {
			return err
		}
	}
	return nil
}

// room refuses one more row of a table than a project may have. The caller has taken the project's row, by its audit
// event, so that two that count at once do not both pass.
func (t *tx) room(ctx context.Context, table string, p lh.ProjectID, most int, what string) error {
	var n int
	if err := t.db.row(ctx, t, `SELECT count(*) FROM `+table+` WHERE project_id = $1`, p).Scan(&n); err != nil {
		return err
	}
	if n >= most {
		return lh.Errorf(lh.Exhausted, "a project has at most %d %s; remove some that are not used", most, what)
	}
	return nil
}

// CreateServiceAccount makes a service account and gives it its id.
func (db *DB) CreateServiceAccount(ctx context.Context, sc Scope, a lh.ServiceAccount) (lh.ServiceAccount, error) {
	if err := sc.need(lh.PermAdminister); err != nil {
		return a, err
	}
	if err := checkService(sc, a); err != nil {
		return a, err
	}
	a.ID, a.Project = lh.NewServiceID(), sc.project
	err := db.putService(ctx, sc, "service_account.create", a, func(t *tx, body []byte) (int64, error) {
		if err := t.room(ctx, "service_account", sc.project, MaxServiceAccounts, "service accounts"); err != nil {
			return 0, err
		}
		a.Created = t.now
		return t.exec(ctx, `INSERT INTO service_account (project_id, id, role, locations, networks, expires, enabled, created, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			sc.project, a.ID, a.Role, joinLocations(a.Locations), joinNetworks(a.Networks), a.Expires, flag(a.Enabled), t.now, body)
	})
	return a, err
}

// ChangeServiceAccount writes what a service account is and may. It holds from its next request on.
func (db *DB) ChangeServiceAccount(ctx context.Context, sc Scope, a lh.ServiceAccount) error {
	if err := sc.need(lh.PermAdminister); err != nil {
		return err
	}
	if err := checkService(sc, a); err != nil {
		return err
	}
	return db.putService(ctx, sc, "service_account.change", a, func(t *tx, body []byte) (int64, error) {
		return t.exec(ctx, `UPDATE service_account SET role = $3, locations = $4, networks = $5, expires = $6, enabled = $7, body = $8
			WHERE project_id = $1 AND id = $2`,
			sc.project, a.ID, a.Role, joinLocations(a.Locations), joinNetworks(a.Networks), a.Expires, flag(a.Enabled), body)
	})
}

func (db *DB) putService(ctx context.Context, sc Scope, action string, a lh.ServiceAccount, put func(*tx, []byte) (int64, error)) error {
	detail := serviceDetail{Name: a.Name, Role: a.Role, Networks: a.Networks, Expires: a.Expires, Enabled: a.Enabled}
	for _, l := range a.Locations {
		detail.Locations = append(detail.Locations, string(l))
	}
	return db.putSealed(ctx, sc, place("service", sc.project, string(a.ID)), serviceBody{a.Name}, action, string(a.ID), detail,
		func(t *tx, body []byte) (int64, error) {
			if err := t.locationsAreThere(ctx, sc, a.Locations); err != nil {
				return 0, err
			}
			return put(t, body)
		}, noService)
}

// told names what failed, where nobody has put it in words for whoever asked.
func told(err error, action string) error {
	if err != nil && lh.CodeOf(err) == lh.Internal {
		return fmt.Errorf("%s: %w", action, err)
	}
	return err
}

// DeleteServiceAccount removes a service account with its keys and tokens, at once.
func (db *DB) DeleteServiceAccount(ctx context.Context, sc Scope, id lh.ServiceID) error {
	return db.deleteProgram(ctx, sc, "service_account", string(id), noService)
}

// deleteProgram removes a row of table and all by which it proved itself. What it did is on record for longer.
func (db *DB) deleteProgram(ctx context.Context, sc Scope, table, id string, missing func() error) error {
	if err := sc.need(lh.PermAdminister); err != nil {
		return err
	}
	err := db.update(ctx, func(t *tx) error {
		if err := t.audit(ctx, sc.project, sc.actor, table+".delete", id, nil); err != nil {
			return err
		}
		n, err := t.exec(ctx, `DELETE FROM `+table+` WHERE project_id = $1 AND id = $2`, sc.project, id)
		if err == nil && n == 0 {
			err = missing()
		}
		for _, of := range []string{"program_key", "service_token"} {
			if err == nil {
				_, err = t.exec(ctx, `DELETE FROM `+of+` WHERE project_id = $1 AND program_id = $2`, sc.project, id)
			}
		}
		return err
	})
	return told(err, table+".delete")
}

// KeyProof is what a program has proven itself with, and how its project stands.
type KeyProof struct {
	Key      lh.KeyID
	Expires  lh.Millis // of the key, or of the token that was got with it; 0 is never
	Used     lh.Millis // as recorded, of the key
	Standing Standing
}

const proofColumns = `, k.id, k.used, p.archived, p.destroy, `

func (p *KeyProof) fields() []any {
	return []any{&p.Expires, &p.Key, &p.Used, &p.Standing.Archived, &p.Standing.Destroy}
}

func unknownKey() error { return lh.Errorf(lh.NotFound, "there is no such key") }

// ServiceByKey returns the service account of the key with this hash. NotFound when there is none; whether it may be
// used, by its time, its account and its networks, is the caller's to check.
func (db *DB) ServiceByKey(ctx context.Context, hash []byte) (lh.ServiceAccount, KeyProof, error) {
	return db.serviceBy(ctx, `SELECT a.project_id, k.expires`+proofColumns+serviceColumns+` FROM program_key k
		JOIN service_account a ON a.project_id = k.project_id AND a.id = k.program_id
		JOIN project p ON p.id = a.project_id WHERE k.key_hash = $1`, hash)
}

// ServiceByToken is [DB.ServiceByKey] for an access token; it is none once the key it was got with is gone or has ended.
func (db *DB) ServiceByToken(ctx context.Context, hash []byte, now lh.Millis) (lh.ServiceAccount, KeyProof, error) {
	return db.serviceBy(ctx, `SELECT a.project_id, s.expires`+proofColumns+serviceColumns+` FROM service_token s
		JOIN program_key k ON k.project_id = s.project_id AND k.program_id = s.program_id AND k.id = s.key_id
		JOIN service_account a ON a.project_id = k.project_id AND a.id = k.program_id
		JOIN project p ON p.id = a.project_id
		WHERE s.token_hash = $1 AND (k.expires = 0 OR k.expires > $2)`, hash, now)
}

func (db *DB) serviceBy(ctx context.Context, query string, args ...any) (lh.ServiceAccount, KeyProof, error) {
	var r serviceRow
	p, k, proof, err := db.programBy(ctx, r.fields(), query, args...)
	if err != nil {
		return lh.ServiceAccount{}, proof, err
	}
	a, err := r.open(k, p)
	return a, proof, err
}

// programBy finds a program by what it proves itself with, scans its row into fields, and returns its project with the key that
// opens the row. NotFound: there is none.
func (db *DB) programBy(ctx context.Context, fields []any, query string, args ...any) (p lh.ProjectID, k *seal.Key, proof KeyProof, err error) {
	err = db.row(ctx, db.read, query, args...).Scan(slices.Concat([]any{&p}, proof.fields(), fields)...)
	if errors.Is(err, sql.ErrNoRows) {
		return p, nil, proof, unknownKey()
	}
	if err != nil {
		return p, nil, proof, fmt.Errorf("read program: %w", ended(ctx, err))
	}
	k, err = db.key(ctx, db.read, string(p))
	if lh.CodeOf(err) == lh.NotFound { // the project is gone since
		err = unknownKey()
	}
	return p, k, proof, err
}
