package server_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/server"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

func TestHealthy(t *testing.T) {
	eachDatabase(t, func(t *testing.T, database string) {
		h := start(t, install(t, database))
		status, got := h.health()
		if status != 200 || !got.OK || len(got.failed()) != 0 {
			t.Errorf("%d %+v", status, got)
		}
		for _, c := range got.Checks {
			if c.Name == "" || c.Detail == "" {
				t.Errorf("a check without words: %+v", c)
			}
		}
	})
}

// TestDatabaseGone: health stores and reads back, so it knows.
func TestDatabaseGone(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		h := start(t, install(t, "sqlite:hub.db"))
		must(t, h.s.DB().Close())
		if status, got := h.health(); status != 503 || !slices.Contains(got.failed(), "store") {
			t.Errorf("%d %+v", status, got)
		}
	})
	t.Run("postgres", func(t *testing.T) {
		c := config(t.TempDir())
		c.Database = storetest.Postgres(t).URL
		_, err := server.Init(ctx, c, time.Now())
		must(t, err)
		c, err = server.LoadConfig(filepath.Join(c.Data, server.ConfigFile))
		must(t, err)
		h := start(t, c)
		storetest.Exec(t, c.Database, "ALTER TABLE heartbeat RENAME TO hidden")
		if status, got := h.health(); status != 503 || !slices.Contains(got.failed(), "store") {
			t.Errorf("cannot store: %d %+v", status, got)
		}
		storetest.Exec(t, c.Database, "ALTER TABLE hidden RENAME TO heartbeat")
		if status, got := h.health(); status != 200 {
			t.Errorf("back again: %d %+v", status, got)
		}
	})
}

// TestDiskFull: health is not ok, uploads are told "later" and none is acknowledged; with room again all goes on, and
// what was acknowledged is there.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=700"); err != nil {
		t.Skipf("a small disk needs the right to mount: %v", err)
	}
	t.Cleanup(func() { must(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	c := config(dir)
	_, err := server.Init(ctx, c, time.Now())
	must(t, err)
	c, err = server.LoadConfig(filepath.Join(dir, server.ConfigFile))
	must(t, err)
	c.Series.FoldAge = time.Hour
	h := start(t, c)
	cl, p := h.client("owner@a.example")
	d := h.device(cl, p.ID, "LH-1")
	acked := map[uint32]bool{}
	next := uint32(1)
	send := func() int {
		status, _, err := d.upload(h, batch(t, next, lh.Millis(1.7e12)+lh.Millis(next)*1000, 2000))
		must(t, err)
		if status == 200 {
			acked[next] = true
		}
		next += 2000
		return status
	}
	if status := send(); status != 200 {
		t.Fatal(status)
	}
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	must(t, err)
	for err == nil { // to the last byte
		_, err = f.Write(make([]byte, 4096))
	}
	must(t, f.Close())
	full := false
	for range 200 {
		if status := send(); status != 200 {
			full = status == 503 || status == 429
			if !full {
				t.Errorf("an upload to a full disk: %d", status)
			}
			break
		}
	}
	if !full {
		t.Fatal("the disk does not fill")
	}
	if status, got := h.health(); status != 503 || !slices.Contains(got.failed(), "store") {
		t.Errorf("health with a full disk: %d %+v", status, got)
	}
	must(t, os.Remove(ballast))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if status := send(); status == 200 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("with room again: %d", status)
		}
	}
	if status, got := h.health(); status != 200 {
		t.Errorf("health with room again: %d %+v", status, got)
	}
	seen := map[int64]bool{}
	for _, s := range samples(t, cl, p.ID) {
		if seen[s.Time] {
			t.Fatalf("%d stands twice", s.Time)
		}
		seen[s.Time] = true
	}
	for first := range acked {
		for i := range 2000 {
			if at := int64(1.7e12) + int64(first)*1000 + int64(i)*1000; !seen[at] {
				t.Fatalf("record %d of the acknowledged upload %d is lost", i, first)
			}
		}
	}
	must(t, h.stop())
}

// TestCertificatesExpire: in time before they do, health says which.
func TestCertificatesExpire(t *testing.T) {
	var ahead atomic.Int64
	c := install(t, "sqlite:hub.db")
	h := start(t, c, func(d *server.Deps) {
		d.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	for days, want := range map[int][]string{0: nil, 75: nil, 81: {"certificate for devices", "certificate for people"}, 91: {"certificate for devices", "certificate for people"}} {
		ahead.Store(int64(days) * int64(24*time.Hour))
		if status, got := h.health(); !slices.Equal(got.failed(), want) || (status == 200) != (want == nil) {
			t.Errorf("%d days on: %d, failed %v, want %v", days, status, got.failed(), want)
		}
	}
	ahead.Store(0)
	must(t, h.stop())
	// A hub that starts then makes new ones; the authorities are what runs out at last.
	ahead.Store(int64(91 * 24 * time.Hour))
	h = start(t, c, func(d *server.Deps) {
		d.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	if status, got := h.health(); status != 200 {
		t.Errorf("started 91 days on: %+v", got)
	}
}

// TestDamageShows: a chunk or upload that cannot be read is a matter for the operator.
func TestDamageShows(t *testing.T) {
	c := install(t, "sqlite:hub.db")
	c.Series.FoldAge = 100 * time.Millisecond
	h := start(t, c)
	cl, p := h.client("owner@a.example")
	d := h.device(cl, p.ID, "LH-1")
	own := store.NewScope(lh.ProjectID(p.ID), lh.RoleDevice, lh.Actor{Kind: lh.ActorDevice, ID: d.id})
	must(t, h.s.DB().AppendJournal(ctx, []store.JournalAppend{{Scope: own, Device: lh.DeviceID(d.id), Received: 1, Samples: 1, Body: []byte("damaged")}}))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		status, got := h.health()
		if status == 503 && slices.Equal(got.failed(), []string{"series"}) {
			for _, c := range got.Checks {
				if c.Name == "series" && !strings.Contains(c.Detail, d.id) {
					t.Errorf("it does not say where: %+v", c)
				}
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("health does not tell of damage: %+v", got)
		}
	}
	// The rest goes on.
	if status, _, err := d.upload(h, batch(t, 1, 1.7e12, 10)); status != 200 {
		t.Error(status, err)
	}
	if got := samples(t, cl, p.ID); len(got) != 10 {
		t.Errorf("%d of 10 samples beside the damage", len(got))
	}
}
