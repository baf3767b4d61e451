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

const (
	compactStep = 2 << 20 // bytes moved in one transaction
	compactFree = 4 << 20 // free bytes that are kept for what comes next
)

// Compact gives some space inside the file that is free back to the disk, in one short transaction, and reports whether
// there may be more to give back. A fold leaves free what the journal took. What is little, in itself or beside what
// the database holds, is kept for what comes next. PostgreSQL does this by itself.
func (db *DB) Compact(ctx context.Context) (more bool, err error) {
	return db.compact(ctx, compactFree, 16)
}

// Shrink is [DB.Compact] for a hub that stops: it keeps next to nothing.
func (db *DB) Shrink(ctx context.Context) (more bool, err error) {
	return db.compact(ctx, compactFree/16, 128)
}

func (db *DB) compact(ctx context.Context, least, part int64) (more bool, err error) {
	if !db.sqlite {
		return false, nil
	}
	var mode, page, pages, free int64
	err = db.row(ctx, db.read, `SELECT auto_vacuum, page_size, page_count, freelist_count FROM pragma_auto_vacuum, pragma_page_size, pragma_page_count, pragma_freelist_count`).
		Scan(&mode, &page, &pages, &free)
	if err != nil {
		return false, fmt.Errorf("read database size: %w", err)
	}
	const incremental = 2
	excess := free - max(least/page, (pages-free)/part)
	if mode != incremental || excess <= 0 {
		return false, nil
	}
	step := compactStep / page
	if _, err := db.write.ExecContext(ctx, fmt.Sprintf("PRAGMA incremental_vacuum(%d)", min(excess, step))); err != nil {
		return false, fmt.Errorf("give space back: %w", ended(ctx, err))
	}
	return excess > step, nil
}
