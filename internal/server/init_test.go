package server_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loggerhead-cloud/loggerhead/client"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/seal"
	"github.com/loggerhead-cloud/loggerhead/internal/server"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// contents reads a folder's files but the database, which changes by being opened.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "hub.db") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

// sound checks that the installation works: the root's key signs for its certificate, and a hub starts.
func sound(t *testing.T, dir string) {
	t.Helper()
	root, err1 := os.ReadFile(filepath.Join(dir, server.RootFile))
	key, err2 := os.ReadFile(filepath.Join(dir, server.RootKeyFile))
	must(t, err1, err2)
	if _, err := pki.ParseKeyPair(root, key); err != nil {
		t.Errorf("the root's key is not its certificate's: %v", err)
	}
	c, err := server.LoadConfig(filepath.Join(dir, server.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, c)
	if status, got := h.health(); status != 200 {
		t.Errorf("health: %+v", got)
	}
	if err := h.stop(); err != nil {
		t.Error(err)
	}
}

func TestInitTwice(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		c := config(t.TempDir())
		c.Database = database
		c.Data = filepath.Join(c.Data, "hub")
		keep, err := server.Init(ctx, c, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		want := []string{filepath.Join(c.Data, "master.key"), filepath.Join(c.Data, server.RootKeyFile)}
		if !slices.Equal(keep, want) {
			t.Errorf("to keep offline: %v, want %v", keep, want)
		}
		for name, mode := range map[string]fs.FileMode{".": 0o700, "master.key": 0o600, server.RootKeyFile: 0o600, server.ConfigFile: 0o600, server.RootFile: 0o644} {
			if st, err := os.Stat(filepath.Join(c.Data, name)); err != nil || st.Mode().Perm() != mode {
				t.Errorf("%s: mode %v, %v", name, st.Mode(), err)
			}
		}
		if database == "sqlite:hub.db" {
			if st, err := os.Stat(filepath.Join(c.Data, "hub.db")); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("hub.db: mode %v, %v", st.Mode(), err)
			}
		}
		before := contents(t, c.Data)
		if len(before) != 4 {
			t.Errorf("the folder holds %d files", len(before))
		}
		if again, err := server.Init(ctx, c, time.Now().Add(time.Hour)); err != nil || !slices.Equal(again, keep) {
			t.Errorf("once more: %v, %v", again, err)
		}
		after := contents(t, c.Data)
		for name, b := range before {
			if after[name] != b {
				t.Errorf("a second init changed %s", name)
			}
		}
		sound(t, c.Data)
		// The root's key is taken offline, as it should be: nothing makes another.
		must(t, os.Rename(filepath.Join(c.Data, server.RootKeyFile), filepath.Join(t.TempDir(), "kept")))
		if again, err := server.Init(ctx, c, time.Now()); err != nil || len(again) != 1 || exists(filepath.Join(c.Data, server.RootKeyFile)) {
			t.Errorf("with the root's key offline: %v, %v", again, err)
		}
	})
}

// TestInitIsCutOff: after a crash at any file, another init completes the installation.
func TestInitIsCutOff(t *testing.T) {
	whole := config(t.TempDir())
	if _, err := server.Init(ctx, whole, time.Now()); err != nil {
		t.Fatal(err)
	}
	for name, prepare := range map[string]func(t *testing.T, c server.Config){
		"empty folder": func(t *testing.T, c server.Config) {},
		"master key alone": func(t *testing.T, c server.Config) {
			_, err := seal.CreateMaster(filepath.Join(c.Data, "master.key"))
			must(t, err)
		},
		"database without authorities": func(t *testing.T, c server.Config) {
			m, err := seal.CreateMaster(filepath.Join(c.Data, "master.key"))
			must(t, err)
			db, err := store.Open(ctx, store.Options{URL: "sqlite:" + filepath.Join(c.Data, "hub.db"), Master: m})
			must(t, err)
			must(t, db.Close())
		},
		"root key written, nothing stored": func(t *testing.T, c server.Config) {
			m, err := seal.CreateMaster(filepath.Join(c.Data, "master.key"))
			must(t, err)
			db, err := store.Open(ctx, store.Options{URL: "sqlite:" + filepath.Join(c.Data, "hub.db"), Master: m})
			must(t, err)
			h, err := pki.NewHierarchy("loggerhead.internal", time.Now())
			must(t, err)
			_, key, err := h.Root.MarshalPEM()
			must(t, err, db.Close(), os.WriteFile(filepath.Join(c.Data, server.RootKeyFile), key, 0o600))
		},
		"authorities stored, no root.pem":    without(whole, server.RootFile, server.ConfigFile),
		"no configuration":                   without(whole, server.ConfigFile),
		"a half-written file left behind":    without(whole, server.ConfigFile, "+"+server.ConfigFile+".new"),
		"root.pem is missing, rest is there": without(whole, server.RootFile),
	} {
		t.Run(name, func(t *testing.T) {
			c := config(t.TempDir())
			prepare(t, c)
			before := contents(t, c.Data)
			if _, err := server.Init(ctx, c, time.Now()); err != nil {
				t.Fatal(err)
			}
			if k := before["master.key"]; k != "" && k != contents(t, c.Data)["master.key"] {
				t.Error("the master key was replaced")
			}
			sound(t, c.Data)
		})
	}
}

// without copies an installation but for some files; "+name" adds one.
func without(from server.Config, but ...string) func(t *testing.T, c server.Config) {
	return func(t *testing.T, c server.Config) {
		entries, err := os.ReadDir(from.Data)
		must(t, err)
		for _, e := range entries {
			if slices.Contains(but, e.Name()) {
				continue
			}
			b, err1 := os.ReadFile(filepath.Join(from.Data, e.Name()))
			st, err2 := e.Info()
			must(t, err1, err2)
			must(t, os.WriteFile(filepath.Join(c.Data, e.Name()), b, st.Mode().Perm()))
		}
		for _, n := range but {
			if n, ok := strings.CutPrefix(n, "+"); ok {
				must(t, os.WriteFile(filepath.Join(c.Data, n), []byte("half"), 0o600))
			}
		}
	}
}

// TestInitRefuses: what would lose or fork an installation.
func TestInitRefuses(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		c := install(t, database)
		key := filepath.Join(c.Data, "master.key")
		kept, err := os.ReadFile(key)
		must(t, err, os.Remove(key))
		_, err = server.Init(ctx, c, time.Now())
		if err == nil || !strings.Contains(err.Error(), "master key") {
			t.Errorf("a database without its master key: %v", err)
		}
		if exists(key) {
			t.Error("a new master key stands where the kept one belongs")
		}
		if _, err := server.New(ctx, c, server.Deps{}); err == nil || !strings.Contains(err.Error(), "kept copy") {
			t.Errorf("a hub without its master key: %v", err)
		}
		other, err := seal.CreateMaster(key)
		must(t, err)
		if _, err := server.New(ctx, c, server.Deps{}); err == nil || !strings.Contains(err.Error(), other.ID()) {
			t.Errorf("a hub with another master key: %v", err)
		}
		must(t, os.WriteFile(key, kept, 0o600))
		sound(t, c.Data)
		must(t, os.Chmod(key, 0o644))
		if _, err := server.New(ctx, c, server.Deps{}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("a master key others can read: %v", err)
		}
		must(t, os.Chmod(key, 0o600))

		// The folder of one installation with the database of another, or an empty one: the root's key, of which this may
		// be the only copy, stays.
		fork := c
		fork.Database = "sqlite:other.db"
		rootKey, err := os.ReadFile(filepath.Join(c.Data, server.RootKeyFile))
		must(t, err)
		if _, err := server.Init(ctx, fork, time.Now()); err == nil || !strings.Contains(err.Error(), "database") {
			t.Errorf("another database in the same folder: %v", err)
		}
		if now, err := os.ReadFile(filepath.Join(c.Data, server.RootKeyFile)); err != nil || !bytes.Equal(now, rootKey) {
			t.Errorf("the root's key is gone: %v", err)
		}
		changed := c
		changed.TrustDomain = "elsewhere.example"
		if _, err := server.New(ctx, changed, server.Deps{}); err == nil || !strings.Contains(err.Error(), "trust_domain") {
			t.Errorf("another trust domain: %v", err)
		}
		for _, bad := range []string{"", "a b", "Å", "x/y", strings.Repeat("x", 300)} {
			b := config(t.TempDir())
			b.TrustDomain = bad
			if _, err := server.Init(ctx, b, time.Now()); err == nil || exists(filepath.Join(b.Data, "master.key")) {
				t.Errorf("trust domain %q: %v", bad, err)
			}
		}
	})
	if _, err := server.New(ctx, config(t.TempDir()), server.Deps{}); err == nil || !strings.Contains(err.Error(), "loggerhead init") {
		t.Errorf("a hub that was never set up: %v", err)
	}
}

// TestNothingInPlain: what people and devices told the hub is in no file of its folder, nor in PostgreSQL's tables, in
// the open.
func TestNothingInPlain(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		c := install(t, database)
		h := start(t, c)
		cl, p := h.client("margrethe@secret-mail.example")
		d := h.device(cl, p.ID, "LH-SECRET-SERIAL")
		if _, err := cl.CreateLocation(ctx, p.ID, client.Location{Name: "Secret Weir"}); err != nil {
			t.Fatal(err)
		}
		for _, raw := range [][]byte{secretBatch(t), []byte(`{"records":[{"t":1700000000000,"v":{"1/secret_channel":123.456}}]}`)} {
			if status, _, err := d.upload(h, raw); status != 200 {
				t.Fatalf("%d %v", status, err)
			}
		}
		words := []string{"secret-mail", "Secret Weir", "LH-SECRET-SERIAL", "secret_channel", "Skjern", "Owner", password, "BEGIN", "$argon2id", cl.Token(), "SQLite format 3"}
		if strings.HasPrefix(c.Database, "postgres") {
			values := storetest.Dump(t, c.Database)
			if len(values) < 50 {
				t.Errorf("%d values are too few to prove anything", len(values))
			}
			for _, text := range values {
				for _, w := range words {
					if strings.Contains(text, w) {
						t.Errorf("PostgreSQL holds %q in the open", w)
					}
				}
			}
		}
		look := func(when string) {
			t.Helper()
			err := filepath.WalkDir(c.Data, func(path string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() || !strings.HasPrefix(e.Name(), "hub.db") {
					return err
				}
				b, err := os.ReadFile(path)
				for _, w := range words {
					if bytes.Contains(b, []byte(w)) {
						t.Errorf("%s: %s holds %q in the open", when, e.Name(), w)
					}
				}
				return err
			})
			must(t, err)
		}
		if database == "sqlite:hub.db" && !exists(filepath.Join(c.Data, "hub.db-wal")) {
			t.Error("there is no write-ahead log to look into")
		}
		look("running")
		must(t, h.stop())
		look("stopped")
		if strings.Contains(h.log.String(), "secret-mail") || strings.Contains(h.log.String(), password) || strings.Contains(h.log.String(), cl.Token()) {
			t.Errorf("the log holds a secret: %s", h.log)
		}
	})
}

func secretBatch(t *testing.T) []byte {
	t.Helper()
	b := wire.Batch{Log: 1, First: 1, Channels: []string{"1/secret_channel"}, Records: []wire.Record{{Time: 1.7e12, Values: []wire.Value{{Flag: 1, Value: 123.456}}}}}
	raw, err := b.Append(nil)
	must(t, err)
	return raw
}
