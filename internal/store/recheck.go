package store

import (
	"context"
	"fmt"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// mostIn is how many values one IN list names.
const mostIn = 256

// in calls query with lists of the values, each written as an IN list that begins with parameter number first. Lists have
// few lengths, so that few statements are prepared: what is missing of one is filled up with its last value.
func in[T ~string](values []T, first int, query func(list string, args []any) error) error {
	for len(values) > 0 {
		n := min(len(values), mostIn)
		length := 1
		for length < n {
			length *= 2
		}
		var list strings.Builder
		args := make([]any, length)
		for i := range args {
			if i > 0 {
				list.WriteByte(',')
			}
			fmt.Fprintf(&list, "$%d", first+i)
			args[i] = string(values[min(i, n-1)])
		}
		if err := query(list.String(), args); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}

// SessionsStand returns which of some log-ins are neither ended nor expired, by a query for each 256 of them.
func (db *DB) SessionsStand(ctx context.Context, ids []lh.SessionID) (map[lh.SessionID]bool, error) {
	stand := make(map[lh.SessionID]bool, len(ids))
	now := lh.MillisOf(db.now())
	err := in(ids, 1, func(list string, args []any) error {
		return db.each(ctx, db.read, `SELECT id, expires FROM session WHERE id IN (`+list+`)`, args, func(scan func(...any) error) error {
			var id lh.SessionID
			var expires lh.Millis
			err := scan(&id, &expires)
			stand[id] = expires > now
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	return stand, nil
}

// ProjectMemberships returns what some users are in one project, by a query for each 256 of them. Who is nothing in it is
// not in the answer.
func (db *DB) ProjectMemberships(ctx context.Context, p lh.ProjectID, users []lh.UserID) (map[lh.UserID]Membership, error) {
	found := make(map[lh.UserID]Membership, len(users))
	err := in(users, 2, func(list string, args []any) error {
		ms, err := db.memberships(ctx, `SELECT `+membershipColumns+` WHERE m.project_id = $1 AND m.user_id IN (`+list+`)`, append([]any{p}, args...)...)
		for _, m := range ms {
			found[m.User] = m
		}
		return err
	})
	return found, err
}

// AuditNumber returns the number of the project's newest audit event: while it stays, nothing that is audited has changed.
func (db *DB) AuditNumber(ctx context.Context, sc Scope) (int64, error) {
	if err := sc.need(lh.PermRead); err != nil {
		return 0, err
	}
	var n int64
	found := false
	err := db.each(ctx, db.read, `SELECT audit_number FROM project WHERE id = $1`, []any{sc.project}, func(scan func(...any) error) error {
		found = true
		return scan(&n)
	})
	if err == nil && !found {
		err = noProject()
	}
	return n, err
}

// LastSeen returns when each device that the scope sees was last heard of, without opening what is sealed of them.
func (db *DB) LastSeen(ctx context.Context, sc Scope) (map[lh.DeviceID]lh.Millis, error) {
	if err := sc.need(lh.PermRead); err != nil {
		return nil, err
	}
	seen := map[lh.DeviceID]lh.Millis{}
	err := db.each(ctx, db.read, `SELECT id, location_id, last_seen FROM device WHERE project_id = $1`, []any{sc.project}, func(scan func(...any) error) error {
		var id lh.DeviceID
		var l lh.LocationID
		var at lh.Millis
		if err := scan(&id, &l, &at); err != nil {
			return err
		}
		if sc.Sees(l) {
			seen[id] = at
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read devices: %w", err)
	}
	return seen, nil
}
