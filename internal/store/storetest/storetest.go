// Package storetest gives tests real databases: an encrypted SQLite file and a schema of its own on a real
// PostgreSQL, empty and migrated.
package storetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// PostgresEnv names the variable that holds the URL of a PostgreSQL on which tests may make schemas. Without it the
// PostgreSQL half of a test is skipped; `make test` always sets it.
const PostgresEnv = "LOGGERHEAD_TEST_POSTGRES"

// Each runs f on SQLite and on PostgreSQL.
func Each(t *testing.T, f func(t *testing.T, db *store.DB)) {
	t.Helper()
	EachOptions(t, func(t *testing.T, o store.Options) { f(t, Open(t, o)) })
}

// EachOptions runs f with what opens an empty database on each engine, for tests that open it more than once.
func EachOptions(t *testing.T, f func(t *testing.T, o store.Options)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { f(t, Postgres(t)) })
}

func master(t testing.TB) *seal.Master {
	t.Helper()
	m, err := seal.NewMaster()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// SQLite returns the options of an empty SQLite database in the test's folder.
func SQLite(t testing.TB) store.Options {
	t.Helper()
	return store.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "hub.db"), Master: master(t)}
}

// Postgres returns the options of an empty schema, which is dropped when the test ends. It skips the test where there
// is no PostgreSQL.
func Postgres(t testing.TB) store.Options {
	t.Helper()
	base := os.Getenv(PostgresEnv)
	if base == "" {
		t.Skipf("%s is not set; `make test` starts a PostgreSQL and sets it", PostgresEnv)
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatalf("%s is no URL", PostgresEnv)
	}
	var r [8]byte
	rand.Read(r[:])
	schema := fmt.Sprintf("t_%x", r)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	admin := func(sql string) error {
		c, err := pgx.Connect(ctx, base)
		if err != nil {
			return err
		}
		_, err = c.Exec(ctx, sql)
		if e := c.Close(ctx); err == nil {
			err = e
		}
		return err
	}
	if err := admin("CREATE SCHEMA " + schema); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel = context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := admin("DROP SCHEMA " + schema + " CASCADE"); err != nil {
			t.Errorf("drop schema: %v", err)
		}
	})
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return store.Options{URL: u.String(), Master: master(t)}
}

// Open opens a database and closes it when the test ends.
func Open(t testing.TB, o store.Options) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close database: %v", err)
		}
	})
	return db
}

// Project makes a user and a project and returns the owner's scope.
func Project(t testing.TB, db *store.DB) store.Scope {
	t.Helper()
	ctx := context.Background()
	u, err := db.CreateUser(ctx, lh.User{Email: string(lh.NewUserID()) + "@test.example", Name: "Owner"}, "x")
	if err != nil {
		t.Fatal(err)
	}
	p, err := db.CreateProject(ctx, u.ID, lh.Project{Name: "Skjern Å", Zone: "Europe/Copenhagen"})
	if err != nil {
		t.Fatal(err)
	}
	return store.NewScope(p.ID, lh.RoleOwner, lh.Actor{Kind: lh.ActorUser, ID: string(u.ID)})
}

// HubScope returns the scope of the hub's own background work in a project.
func HubScope(p lh.ProjectID) store.Scope {
	return store.NewScope(p, lh.RoleHub, lh.Actor{Kind: lh.ActorHub})
}

// DeviceScope makes a claimed device with an element for each channel and returns it, its own scope and its elements
// in the order of the channels.
func DeviceScope(t testing.TB, db *store.DB, sc store.Scope, channels ...string) (lh.Device, store.Scope, []lh.Element) {
	t.Helper()
	ctx := context.Background()
	serial := string(lh.NewDeviceID())
	if err := db.AddInventory(ctx, []lh.Inventory{{Serial: serial, Hardware: "lh-test-1", ClaimHash: []byte("hash")}}); err != nil {
		t.Fatal(err)
	}
	d, err := db.ClaimDevice(ctx, sc, serial, []byte("hash"), lh.Device{Name: "Logger " + serial, MaxOffline: 300})
	if err != nil {
		t.Fatal(err)
	}
	own := store.NewScope(d.Project, lh.RoleDevice, lh.Actor{Kind: lh.ActorDevice, ID: string(d.ID)})
	want := make([]lh.Element, len(channels))
	for i, c := range channels {
		want[i] = lh.Element{Channel: c, Name: c, Digits: 2, Interval: 60000, Meaning: lh.Instantaneous, Color: "#3366cc"}
	}
	all, err := db.BindElements(ctx, own, d.ID, want)
	if err != nil {
		t.Fatal(err)
	}
	byChannel := map[string]lh.Element{}
	for _, e := range all {
		byChannel[e.Channel] = e
	}
	for i, c := range channels {
		want[i] = byChannel[c]
	}
	return d, own, want
}

// Clock is a hub's clock: the real one, moved.
type Clock struct {
	mu  sync.Mutex
	add time.Duration
}

// Now is the time on it.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.add)
}

// Move puts it on.
func (c *Clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add += d
}
