package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/loggerhead-cloud/loggerhead/internal/seal"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// seriesSizes are how much the group series stores.
type seriesSizes struct {
	devices, minutes int // what flows in: minutes of eight series each
	wide, wideDays   int // series that are asked for a month at a time
	yearDays         int
	pgMinutes        int // of the same devices, into PostgreSQL
	rowMinutes       int // likewise, into the point-per-row table
	queries          int // how often each query is asked
}

func (b *bench) seriesSizes() seriesSizes {
	if b.small {
		return seriesSizes{devices: 5, minutes: 400, wide: 10, wideDays: 3, yearDays: 8, pgMinutes: 200, rowMinutes: 100, queries: 3}
	}
	return seriesSizes{devices: 1000, minutes: 3760, wide: 50, wideDays: 30, yearDays: 365, pgMinutes: 1250, rowMinutes: 250, queries: 40}
}

// runSeries measures store and series in this process: no network, no hub around them. What it stores it compares with
// the generator before it tells the last figure.
func runSeries(ctx context.Context, b *bench) error {
	z := b.seriesSizes()
	up, err := b.encodeUploads(z)
	if err != nil {
		return err
	}
	defer up.Close()
	b.say("%d uploads encoded: %d devices × %d series × %d minutes, %.1f MiB", up.uploads, z.devices, seriesPerDevice, z.minutes, float64(up.size)/(1<<20))
	if err := b.seriesSQLite(ctx, z, up); err != nil {
		return err
	}
	if b.wants("rows") {
		if err := b.seriesRows(ctx, z); err != nil {
			return fmt.Errorf("point-per-row table: %w", err)
		}
	}
	if b.wants("postgres") {
		if err := b.seriesPostgres(ctx, z); err != nil {
			return fmt.Errorf("postgres: %w", err)
		}
	}
	return nil
}

func (b *bench) seriesSQLite(ctx context.Context, z seriesSizes, up *uploads) (err error) {
	master, err := seal.NewMaster()
	if err != nil {
		return err
	}
	folder := filepath.Join(b.dir, "sqlite")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	o := store.Options{URL: "sqlite:" + filepath.Join(folder, "hub.db"), Master: master, Log: b.log()}
	in, err := b.openSeries(ctx, o, z.devices)
	if err != nil {
		return err
	}
	defer in.close(&err)
	empty, err := in.db.Size(ctx)
	if err != nil {
		return err
	}
	b.say("%d devices are in the database, which takes %d bytes", z.devices, empty.Used)

	stop, err := b.profile("ingest")
	if err != nil {
		return err
	}
	resetPeak()
	got, err := in.feed(ctx, up, z.minutes)
	if err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}
	peak := peakMemory()
	b.metric("series_ingest_samples_per_s", got.samples/got.acked.Seconds(), "samples/s")
	b.metric("series_folded_samples_per_s", got.samples/got.folded.Seconds(), "samples/s")
	b.metric("series_cpu_s_per_million", got.cpu.Seconds()/got.samples*1e6, "s")
	b.say("%.0f samples acknowledged in %.1fs, folded after %.1fs, %.1fs of CPU, %d commits told later", got.samples, got.acked.Seconds(), got.folded.Seconds(), got.cpu.Seconds(), got.later)

	// Everything is folded; to close is to checkpoint. What is on the disk then is what the series cost.
	if err := in.shut(); err != nil {
		return err
	}
	bytes, err := folderBytes(folder)
	if err != nil {
		return err
	}
	if err := in.reopen(ctx, o); err != nil {
		return err
	}
	size, err := in.db.Size(ctx)
	if err != nil {
		return err
	}
	stored := float64(z.devices * z.minutes * seriesPerDevice)
	b.metric("series_bytes_per_sample", float64(bytes)/stored, "bytes")
	b.metric("series_growth_bytes_per_sample", float64(bytes-empty.Used)/stored, "bytes")
	b.say("%d bytes in files, %d of them used", bytes, size.Used)
	if err := in.verify(ctx, z.minutes); err != nil {
		return err
	}
	b.say("every series has its samples; %d were compared one by one", sampledSeries)

	if err := in.addWide(ctx, z); err != nil {
		return err
	}
	debug.FreeOSMemory()
	resetPeak()
	if stop, err = b.profile("queries"); err != nil {
		return err
	}
	if err := in.queries(ctx, z); err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}
	b.say("peak memory: %.0f MiB while samples came, %.0f MiB while queries ran", peak, peakMemory())
	b.metric("series_peak_rss_mib", max(peak, peakMemory()), "MiB")
	return nil
}

// log tells what goes wrong in the engine, and nothing else.
func (b *bench) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(b.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// profile starts a CPU profile where -profiles asks for it, and returns what ends it.
func (b *bench) profile(name string) (stop func() error, err error) {
	if b.profiles == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(filepath.Join(b.profiles, "series-"+name+".cpu"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		if err := f.Close(); err != nil {
			return err
		}
		a, err := os.Create(filepath.Join(b.profiles, "series-"+name+".allocs"))
		if err != nil {
			return err
		}
		if err := pprof.Lookup("allocs").WriteTo(a, 0); err != nil {
			return err
		}
		return a.Close()
	}, nil
}

// processCPU is the processor time this process has used.
func processCPU() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// resetPeak makes the kernel forget the most memory this process ever held (proc(5), clear_refs). Where it cannot, the
// peak is that since the start.
func resetPeak() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600) // see above
}

// peakMemory is the most resident memory, in MiB, since resetPeak; what the Go runtime holds where there is no /proc.
func peakMemory() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		for line := range strings.Lines(string(status)) {
			if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				if kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 64); err == nil {
					return kib / 1024
				}
			}
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.Sys) / (1 << 20)
}

// folderBytes adds up the files of a folder.
func folderBytes(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		i, err := d.Info()
		if err == nil {
			total += i.Size()
		}
		return err
	})
	return total, err
}
