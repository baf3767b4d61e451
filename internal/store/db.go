package store

import (
	"context"
	"database/sql"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing/fstest"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/ncruces/go-sqlite3"
	sqlitedriver "github.com/ncruces/go-sqlite3/driver"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
)

//go:embed migrations/*.sql
var migrations embed.FS

// installation is the owner of what belongs to no project.
const installation = "installation"

// Options are what a database is opened with.
type Options struct {
	// URL is "sqlite:" and a file's path, or "postgres://…". A PostgreSQL that is not on a Unix socket or on
	// loopback is refused without sslmode=verify-full.
	URL    string
	Master *seal.Master
	Now    func() time.Time // nil is time.Now
	Log    *slog.Logger     // nil is slog.Default
}

// DB is an open database. It is safe for concurrent use.
type DB struct {
	read, write *sql.DB // one pool on PostgreSQL; on SQLite write has the one connection that may write
	sqlite      bool
	dir         string // of SQLite's file
	master      *seal.Master
	now         func() time.Time
	log         *slog.Logger

	keysMu  sync.Mutex
	keys    map[string]knownKey // by owner
	keepKey time.Duration

	reads, writes statements // of SQLite

	intakesMu sync.Mutex
	intakes   map[intakeKey]*intake // as this process last wrote them
}

// Open opens a database, making it when it is not there, and brings its schema up to date.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Master == nil {
		return nil, errors.New("open database: no master key given")
	}
	db := &DB{master: o.Master, now: o.Now, log: o.Log, keys: map[string]knownKey{}, keepKey: 10 * time.Second, intakes: map[intakeKey]*intake{}}
	if db.now == nil {
		db.now = time.Now
	}
	if db.log == nil {
		db.log = slog.Default()
	}
	var err error
	if path, ok := strings.CutPrefix(o.URL, "sqlite:"); ok {
		err = db.openSQLite(path)
	} else if strings.HasPrefix(o.URL, "postgres://") || strings.HasPrefix(o.URL, "postgresql://") {
		err = db.openPostgres(o.URL)
	} else {
		err = errors.New(`the database URL begins with neither "sqlite:" nor "postgres://"`)
	}
	if err == nil {
		err = db.migrate(ctx)
	}
	if err == nil {
		err = db.ensureInstallationKey(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", db.whyNot(err)), db.Close())
	}
	return db, nil
}

// openSQLite opens the encrypted file. WAL with synchronous=FULL syncs the log at every commit: a commit that has
// returned survives a power cut.
func (db *DB) openSQLite(path string) error {
	if path == "" || strings.HasPrefix(path, ":memory:") {
		return errors.New("the SQLite database needs a file's path")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	if st, err := os.Stat(filepath.Dir(abs)); err != nil || !st.IsDir() {
		return fmt.Errorf("there is no folder %s for the database; `loggerhead init` makes it", filepath.Dir(abs))
	}
	registerVFS()
	db.sqlite, db.dir = true, filepath.Dir(abs)
	key, err := db.master.Derive("sqlite file", 32)
	if err != nil {
		return err
	}
	st, err := os.Stat(abs)
	fresh := err != nil || st.Size() == 0
	setup := func(write bool) func(*sqlite3.Conn) error {
		pragmas := []string{"hexkey='" + hex.EncodeToString(key) + "'", "synchronous=full", "busy_timeout=20000", "page_size=8192", "temp_store=memory",
			"journal_mode=wal", "foreign_keys=on",
			// Pages that every commit changes are copied into the file once in 48 MB of log, instead of once in 16 MB.
			"wal_autocheckpoint=3000", "journal_size_limit=67108864"}
		if fresh {
			// For Compact. A file that is made without it stays without it; to one that has it, this would be a write at
			// each opening, which is not possible on a full disk.
			pragmas = slices.Insert(pragmas, 5, "auto_vacuum=incremental")
		}
		if write {
			pragmas = append(pragmas, "cache_size=-16384")
		} else { // up to eight of them
			pragmas = append(pragmas, "cache_size=-4096", "query_only=on")
		}
		return func(c *sqlite3.Conn) error {
			for i, p := range pragmas {
				if err := c.Exec("PRAGMA " + p); err != nil {
					if i == 0 {
						return errors.New("the database file's key could not be set") // the error may hold the key
					}
					if errors.Is(err, sqlite3.NOTADB) {
						return fmt.Errorf("%s does not open with the master key %s: another key, or a damaged file: %w", abs, db.master.ID(), err)
					}
					return fmt.Errorf("PRAGMA %s: %w", p, err)
				}
			}
			return nil
		}
	}
	name := (&url.URL{Scheme: "file", OmitHost: true, Path: abs}).String()
	if db.write, err = sqlitedriver.Open(name+"?vfs="+vfsName+"&_txlock=immediate", setup(true)); err != nil {
		return err
	}
	db.write.SetMaxOpenConns(1)
	db.writes.pool = db.write
	if err := db.write.Ping(); err != nil { // makes the file, so that readers find it
		return err
	}
	if err := os.Chmod(abs, 0o600); err != nil {
		return err
	}
	if db.read, err = sqlitedriver.Open(name+"?vfs="+vfsName+"&_txlock=deferred", setup(false)); err != nil {
		return err
	}
	db.read.SetMaxOpenConns(8)
	db.read.SetMaxIdleConns(4)
	db.reads.pool = db.read
	return nil
}

func (db *DB) openPostgres(u string) error {
	cfg, err := pgx.ParseConfig(u)
	if err != nil {
		return errors.New("the PostgreSQL URL cannot be read: check user, host, port and parameters") // the cause may hold the password
	}
	local := strings.HasPrefix(cfg.Host, "/")
	if ip := net.ParseIP(cfg.Host); ip != nil && ip.IsLoopback() || cfg.Host == "localhost" {
		local = true
	}
	if !local && (cfg.TLSConfig == nil || cfg.TLSConfig.InsecureSkipVerify) {
		return fmt.Errorf("PostgreSQL on %s would be reached without a verified certificate; add sslmode=verify-full to the URL", cfg.Host)
	}
	for _, f := range cfg.Fallbacks {
		if !local && f.TLSConfig == nil {
			return fmt.Errorf("PostgreSQL on %s may fall back to plaintext; add sslmode=verify-full to the URL", cfg.Host)
		}
	}
	db.write = stdlib.OpenDB(*cfg)
	db.write.SetMaxOpenConns(16)
	db.write.SetMaxIdleConns(8)
	db.read = db.write
	return nil
}

// migrations returns what changes the schema.
func (db *DB) migrations() (*goose.Provider, error) {
	files := fstest.MapFS{}
	err := fs.WalkDir(migrations, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := migrations.ReadFile(p)
		if err != nil {
			return err
		}
		if !db.sqlite {
			b = []byte(strings.ReplaceAll(string(b), " BLOB ", " BYTEA "))
		}
		files[strings.TrimPrefix(p, "migrations/")] = &fstest.MapFile{Data: b}
		return nil
	})
	if err != nil {
		return nil, err
	}
	dialect := goose.DialectSQLite3
	opts := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithTableName("schema_version")}
	if !db.sqlite {
		dialect = goose.DialectPostgres
		l, err := lock.NewPostgresSessionLocker() // several replicas may start at once
		if err != nil {
			return nil, err
		}
		opts = append(opts, goose.WithSessionLocker(l))
	}
	return goose.NewProvider(dialect, db.write, files, opts...)
}

func (db *DB) migrate(ctx context.Context) error {
	p, err := db.migrations()
	if err != nil {
		return err
	}
	_, target, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	current, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	if current > target {
		return fmt.Errorf("the database has schema %d, this program knows %d: run the newer program", current, target)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring schema up to date: %w", err)
	}
	return nil
}

// Engine names the engine for logs and tests: "sqlite" or "postgres".
func (db *DB) Engine() string {
	if db.sqlite {
		return "sqlite"
	}
	return "postgres"
}

// Close closes the database. On SQLite it also folds the write-ahead log into the file.
func (db *DB) Close() error {
	err := errors.Join(db.reads.close(), db.writes.close())
	if db.read != nil && db.read != db.write {
		err = errors.Join(err, db.read.Close())
	}
	if db.write != nil {
		err = errors.Join(err, db.write.Close())
	}
	return err
}

// q turns the numbered parameters of a statement ($1) into the engine's own form.
func (db *DB) q(s string) string {
	if db.sqlite {
		return strings.ReplaceAll(s, "$", "?")
	}
	return s
}

// args replaces what a text column cannot hold on PostgreSQL (NUL, and what is no UTF-8), and so names nothing that is
// there, by something that names nothing either: an id that somebody made up is then not found, instead of an error.
func (db *DB) args(args []any) []any {
	if db.sqlite {
		return args
	}
	var clean []any
	for i, a := range args {
		v := reflect.ValueOf(a)
		if v.Kind() != reflect.String || utf8.ValidString(v.String()) && !strings.Contains(v.String(), "\x00") {
			continue
		}
		if clean == nil {
			clean = slices.Clone(args)
		}
		clean[i] = "\uFFFD"
	}
	if clean != nil {
		return clean
	}
	return args
}

// queryer is what reads: a pool or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// each runs a query and hands every row's scan to fn.
func (db *DB) each(ctx context.Context, on queryer, query string, args []any, fn func(scan func(...any) error) error) error {
	var rows *sql.Rows
	var err error
	if stmt := db.prepared(ctx, on, query); stmt != nil {
		rows, err = stmt.QueryContext(ctx, args...)
	} else {
		rows, err = on.QueryContext(ctx, db.q(query), db.args(args)...)
	}
	if err != nil {
		return ended(ctx, err)
	}
	defer rows.Close() // its error is also Err's
	for rows.Next() {
		if err := fn(rows.Scan); err != nil {
			return err
		}
	}
	return ended(ctx, rows.Err())
}

// ended adds to an error that the context has ended, which SQLite tells in words of its own: "interrupted".
func ended(ctx context.Context, err error) error {
	if e := ctx.Err(); err != nil && e != nil && !errors.Is(err, e) {
		return fmt.Errorf("%w: %w", e, err)
	}
	return err
}

func (db *DB) row(ctx context.Context, on queryer, query string, args ...any) *sql.Row {
	if stmt := db.prepared(ctx, on, query); stmt != nil {
		return stmt.QueryRowContext(ctx, args...)
	}
	return on.QueryRowContext(ctx, db.q(query), db.args(args)...)
}

// tx is a writing transaction. What it did is durable when update has returned nil.
type tx struct {
	*sql.Tx
	db  *DB
	now lh.Millis

	number  int64            // of the audit event written last
	request *Request         // that changed something; nil for none
	written map[string]int64 // the versions it gave, by what was changed
	noted   bool             // on the request's idempotency key
}

func (t *tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	r, err := t.ExecContext(ctx, t.db.q(query), t.db.args(args)...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// update runs fn in one transaction and commits it, or changes nothing. A serialisation failure or deadlock of
// PostgreSQL is tried again a few times, so fn must be able to run more than once.
func (db *DB) update(ctx context.Context, fn func(*tx) error) error {
	for try := 1; ; try++ {
		err := db.updateOnce(ctx, fn)
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && (pg.Code == "40001" || pg.Code == "40P01") && try < 5 {
			continue
		}
		return db.whyNot(err)
	}
}

func (db *DB) updateOnce(ctx context.Context, fn func(*tx) error) (err error) {
	t, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() {
		if err != nil {
			if e := t.Rollback(); e != nil && !errors.Is(e, sql.ErrTxDone) {
				err = errors.Join(err, e)
			}
		}
	}()
	w := &tx{Tx: t, db: db, now: lh.MillisOf(db.now())}
	if err := fn(w); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	w.committed()
	return nil
}

// unique reports whether err is a clash with a unique key.
func unique(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "23505"
	}
	return errors.Is(err, sqlite3.CONSTRAINT_UNIQUE) || errors.Is(err, sqlite3.CONSTRAINT_PRIMARYKEY)
}

// ensureInstallationKey makes the installation's data key at the first start and proves at every later one that the
// master key opens it.
func (db *DB) ensureInstallationKey(ctx context.Context) error {
	if _, err := db.key(ctx, db.write, installation); err == nil || lh.CodeOf(err) != lh.NotFound {
		return err
	}
	_, wrapped, err := db.master.NewKey(installation)
	if err != nil {
		return err
	}
	return db.update(ctx, func(t *tx) error {
		// Another replica may have been first: then its key stays.
		_, err := t.exec(ctx, `INSERT INTO owner_key (owner, created, wrapped) VALUES ($1, $2, $3) ON CONFLICT (owner) DO NOTHING`,
			installation, t.now, wrapped)
		return err
	})
}

// knownKey is an opened data key. It is read anew after a while, so that a key that another hub destroyed is soon
// forgotten here, too.
type knownKey struct {
	key  *seal.Key
	read time.Time
}

// key returns an owner's data key. NotFound means it was destroyed or never made.
func (db *DB) key(ctx context.Context, on queryer, owner string) (*seal.Key, error) {
	db.keysMu.Lock()
	known, ok := db.keys[owner]
	if ok && time.Since(known.read) > db.keepKey {
		delete(db.keys, owner)
		ok = false
	}
	db.keysMu.Unlock()
	if ok {
		return known.key, nil
	}
	read := time.Now()
	var wrapped []byte
	err := db.row(ctx, on, `SELECT wrapped FROM owner_key WHERE owner = $1`, owner).Scan(&wrapped)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, lh.Errorf(lh.NotFound, "there is no such project, or it is not yours to see")
	}
	if err != nil {
		return nil, fmt.Errorf("read data key: %w", err)
	}
	k, err := db.master.OpenKey(owner, wrapped)
	if err != nil {
		return nil, err
	}
	db.keysMu.Lock()
	db.keys[owner] = knownKey{k, read}
	db.keysMu.Unlock()
	return k, nil
}

// sealJSON writes v as JSON, sealed under k for its place.
func sealJSON(k *seal.Key, v any, place string) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return k.Seal(b, place)
}

func openJSON(k *seal.Key, sealed []byte, place string, v any) error {
	b, err := k.Open(sealed, place)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	return nil
}

// place names where sealed bytes stand; it binds them to it. The parts are joined by spaces, as fmt.Sprint writes them;
// those of samples are spared the way through fmt.
func place(parts ...any) string {
	b := make([]byte, 0, 96)
	for i, p := range parts {
		if i > 0 {
			b = append(b, ' ')
		}
		switch v := p.(type) {
		case string:
			b = append(b, v...)
		case lh.ProjectID:
			b = append(b, v...)
		case lh.DeviceID:
			b = append(b, v...)
		case lh.ElementID:
			b = append(b, v...)
		case int32:
			b = strconv.AppendInt(b, int64(v), 10)
		case lh.Millis:
			b = strconv.AppendInt(b, int64(v), 10)
		default:
			b = fmt.Append(b, v)
		}
	}
	return string(b)
}

// Check proves that the database can store and read back: it writes the process's heartbeat, commits it to disk and
// reads it on another connection.
func (db *DB) Check(ctx context.Context, name string) error {
	at := lh.MillisOf(db.now())
	err := db.update(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO heartbeat (name, time) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET time = excluded.time`, name, at)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot store: %w", err)
	}
	var got lh.Millis
	if err := db.row(ctx, db.read, `SELECT time FROM heartbeat WHERE name = $1`, name).Scan(&got); err != nil {
		return fmt.Errorf("cannot read back: %w", err)
	}
	if got != at {
		return fmt.Errorf("read back %d where %d was stored", got, at)
	}
	return nil
}
