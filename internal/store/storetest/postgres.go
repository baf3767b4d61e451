package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Exec runs a statement on the PostgreSQL behind a URL, as an operator or a mishap would.
func Exec(t testing.TB, url, sql string) {
	t.Helper()
	withPostgres(t, url, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, sql)
		return err
	})
}

// Dump returns every value of every table of the schema behind a URL as text, binary columns in their own bytes: what
// somebody with the database and without the master key can read.
func Dump(t testing.TB, url string) (values []string) {
	t.Helper()
	withPostgres(t, url, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
		if err != nil {
			return err
		}
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, n := range tables {
			rows, err := c.Query(ctx, "SELECT * FROM "+pgx.Identifier{n}.Sanitize())
			if err != nil {
				return err
			}
			for rows.Next() {
				vs, err := rows.Values()
				if err != nil {
					return err
				}
				for _, v := range vs {
					if b, ok := v.([]byte); ok {
						v = string(b)
					}
					values = append(values, fmt.Sprint(v))
				}
			}
			if err := rows.Err(); err != nil {
				return err
			}
		}
		if len(tables) < 10 {
			return fmt.Errorf("the schema has %d tables only", len(tables))
		}
		return nil
	})
	return values
}

func withPostgres(t testing.TB, url string, f func(context.Context, *pgx.Conn) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	err = f(ctx, c)
	if e := c.Close(ctx); err == nil {
		err = e
	}
	if err != nil {
		t.Fatal(err)
	}
}
