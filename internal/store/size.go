package store

import (
	"context"
	"fmt"
)

// Size is how large a database is, in bytes.
type Size struct {
	// Used is what its contents take; Disk is what they take on the disk, with space inside that is free to be used
	// again. On PostgreSQL, which cleans up by itself later, both are the same and hold what is not cleaned up yet.
	Used, Disk int64
}

// Size returns how large the database is. It is the hub's own and tells sizes only.
func (db *DB) Size(ctx context.Context) (Size, error) {
	var s Size
	if !db.sqlite {
		err := db.row(ctx, db.read, `SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c
			JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relkind = 'r'`).Scan(&s.Used)
		if err != nil {
			return s, fmt.Errorf("read database size: %w", err)
		}
		s.Disk = s.Used
		return s, nil
	}
	var page, pages, free int64
	err := db.row(ctx, db.read, `SELECT page_size, page_count, freelist_count FROM pragma_page_size, pragma_page_count, pragma_freelist_count`).
		Scan(&page, &pages, &free)
	if err != nil {
		return s, fmt.Errorf("read database size: %w", err)
	}
	return Size{Used: page * (pages - free), Disk: page * pages}, nil
}
