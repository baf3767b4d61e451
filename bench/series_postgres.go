package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/loggerhead-cloud/loggerhead/internal/seal"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// postgresBin is where Debian keeps the programs of PostgreSQL 15.
const postgresBin = "/usr/lib/postgresql/15/bin"

// seriesPostgres measures the same flow into a PostgreSQL of its own, which syncs every commit.
func (b *bench) seriesPostgres(ctx context.Context, z seriesSizes) (err error) {
	if _, err := os.Stat(filepath.Join(postgresBin, "initdb")); err != nil {
		b.say("skipped pg_series_ingest_samples_per_s: PostgreSQL 15 is not installed (Debian: apt install postgresql-15)")
		return nil
	}
	url, stop, err := startPostgres(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	master, err := seal.NewMaster()
	if err != nil {
		return err
	}
	// The same devices, with what they sampled first: whole uploads only.
	z.minutes = z.pgMinutes
	up, err := b.encodeUploads(z)
	if err != nil {
		return err
	}
	defer up.Close()
	in, err := b.openSeries(ctx, store.Options{URL: url, Master: master, Log: b.log()}, z.devices)
	if err != nil {
		return err
	}
	defer in.close(&err)
	got, err := in.feed(ctx, up, z.minutes)
	if err != nil {
		return err
	}
	b.metric("pg_series_ingest_samples_per_s", got.samples/got.acked.Seconds(), "samples/s")
	b.say("PostgreSQL: %.0f samples acknowledged in %.1fs, folded after %.1fs, %.1fs of CPU here", got.samples, got.acked.Seconds(), got.folded.Seconds(), got.cpu.Seconds())
	if err := in.verify(ctx, z.minutes); err != nil {
		return err
	}
	b.say("PostgreSQL: every series has its samples")
	return nil
}

// startPostgres starts a throw-away PostgreSQL on a Unix socket in a private folder and returns its URL and what stops
// and removes it. As root it runs as the user postgres, since it refuses to run as root.
func startPostgres(ctx context.Context) (url string, stop func() error, err error) {
	dir, err := os.MkdirTemp("", "loggerhead-bench-postgres-")
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	var as []string
	if os.Geteuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return "", nil, fmt.Errorf("there is no user to run PostgreSQL as: %w", err)
		}
		uid, err := strconv.Atoi(u.Uid)
		if err == nil {
			err = os.Chown(dir, uid, -1)
		}
		if err != nil {
			return "", nil, err
		}
		as = []string{"runuser", "-u", "postgres", "--"}
	}
	command := func(ctx context.Context, program string, args ...string) error {
		line := append(append([]string{}, as...), append([]string{filepath.Join(postgresBin, program)}, args...)...)
		c := exec.CommandContext(ctx, line[0], line[1:]...)
		c.Dir = "/"
		out, err := os.Create(filepath.Join(dir, program+".out")) // a pipe would stay open with the server
		if err != nil {
			return err
		}
		defer out.Close() // is only read when something went wrong
		c.Stdout, c.Stderr = out, out
		if err := c.Run(); err != nil {
			said, _ := os.ReadFile(out.Name()) // as much as there is
			return fmt.Errorf("%s: %w: %.500s", program, err, said)
		}
		return nil
	}
	data := filepath.Join(dir, "data")
	if err := command(ctx, "initdb", "-D", data, "-U", "loggerhead", "-A", "trust", "-E", "UTF8", "--locale=C"); err != nil {
		return "", nil, err
	}
	if err := command(ctx, "pg_ctl", "-D", data, "-l", filepath.Join(dir, "server.log"), "-w", "-t", "60", "-o",
		"-c listen_addresses='' -c unix_socket_directories='"+dir+"' -c shared_buffers=256MB -c max_wal_size=2GB", "start"); err != nil {
		return "", nil, err
	}
	return "postgres://loggerhead@/postgres?host=" + dir, func() error {
		return errors.Join(command(context.Background(), "pg_ctl", "-D", data, "-m", "immediate", "-w", "-t", "30", "stop"), os.RemoveAll(dir))
	}, nil
}
