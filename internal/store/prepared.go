package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
)

// statements keeps prepared statements of one pool of SQLite connections, which would parse a query each time it is
// asked otherwise; pgx does as much by itself for PostgreSQL. Queries are constants of this package but for lists of a
// few lengths, so there are few; past maxStatements the rest goes without.
type statements struct {
	pool *sql.DB
	mu   sync.Mutex
	by   map[string]*sql.Stmt
}

const maxStatements = 500

// of returns the prepared form of a query in SQLite's own form; nil where it cannot have one.
func (s *statements) of(ctx context.Context, query string) *sql.Stmt {
	s.mu.Lock()
	stmt, full := s.by[query], len(s.by) >= maxStatements
	s.mu.Unlock()
	if stmt != nil || full {
		return stmt
	}
	stmt, err := s.pool.PrepareContext(ctx, query)
	if err != nil {
		return nil // whoever runs the query is told the error
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.by[query]; other != nil { // somebody was first
		stmt.Close() // was never run
		return other
	}
	if s.by == nil {
		s.by = map[string]*sql.Stmt{}
	}
	s.by[query] = stmt
	return stmt
}

func (s *statements) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, stmt := range s.by {
		errs = append(errs, stmt.Close())
	}
	s.by = nil
	return errors.Join(errs...)
}

// prepared returns the prepared form of a query on SQLite's readers; nil elsewhere.
func (db *DB) prepared(ctx context.Context, on queryer, query string) *sql.Stmt {
	if pool, ok := on.(*sql.DB); ok && db.sqlite && pool == db.read {
		return db.reads.of(ctx, db.q(query))
	}
	return nil
}

// prepare makes a query of a hot writing transaction ready. It must be called before the transaction begins, which
// then holds the only connection that writes; see [tx.ready].
func (db *DB) prepare(ctx context.Context, queries ...string) {
	if db.sqlite {
		for _, q := range queries {
			db.writes.of(ctx, db.q(q))
		}
	}
}

// ready returns a statement of the transaction to be run many times: one that [DB.prepare] has made, else a new one.
// Close it.
func (t *tx) ready(ctx context.Context, query string) (*sql.Stmt, error) {
	q := t.db.q(query)
	if t.db.sqlite {
		t.db.writes.mu.Lock()
		stmt := t.db.writes.by[q]
		t.db.writes.mu.Unlock()
		if stmt != nil {
			return t.StmtContext(ctx, stmt), nil
		}
	}
	return t.PrepareContext(ctx, q)
}
