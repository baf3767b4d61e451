package main

import (
	"bytes"
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestSeries runs the whole group in tiny sizes.
func TestSeries(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	if err := run(ctx, []string{"-group", "series", "-small"}, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	line := regexp.MustCompile(`^metric=([a-z0-9_]+) value=(\d+(?:\.\d+)?) unit=(\S+)$`)
	got := map[string]float64{}
	for l := range strings.Lines(stdout.String()) {
		m := line.FindStringSubmatch(strings.TrimSuffix(l, "\n"))
		if m == nil {
			t.Errorf("no metric line: %q", l)
			continue
		}
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Error(err)
		}
		got[m[1]] = v
	}
	want := []string{"series_folded_samples_per_s", "series_growth_bytes_per_sample", "series_peak_rss_mib"}
	for _, name := range []string{"series_ingest_samples_per_s", "series_cpu_s_per_million", "series_bytes_per_sample", "query_raw_day_ms",
		"query_year_1000_buckets_ms", "query_latest_8000_series_ms", "query_50x30d_hourly_ms", "query_year_daily_zone_ms"} {
		want = append(want, name, "row_"+name)
	}
	if !strings.Contains(stderr.String(), "skipped pg_series_ingest_samples_per_s") {
		want = append(want, "pg_series_ingest_samples_per_s")
	}
	for _, name := range want {
		if got[name] <= 0 {
			t.Errorf("%s is %g", name, got[name])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d figures were told, %d are known", len(got), len(want))
	}
	if t.Failed() {
		t.Log(stderr.String())
	}
}

// TestWorkload proves that the workload is what docs/bench.md says: how much of it comes late, twice, and is written again.
func TestWorkload(t *testing.T) {
	z := seriesSizes{devices: 200, minutes: 1500}
	b := &bench{dir: t.TempDir()}
	up, err := b.encodeUploads(z)
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	var twice, records int
	for _, us := range up.by {
		for _, u := range us {
			if u.samples == 0 {
				twice++
			}
			records += int(u.samples) / seriesPerDevice
		}
	}
	once := up.uploads - twice
	if share := float64(twice) / float64(once); share < 0.015 || share > 0.025 {
		t.Errorf("%.4f of uploads come twice", share)
	}
	again := records - z.devices*z.minutes
	if share := float64(again) / float64(z.devices*z.minutes); share < 0.0008 || share > 0.0012 {
		t.Errorf("%.5f of records are written again", share)
	}
	if mean := float64(records) / float64(once); mean < 35 || mean > 40 {
		t.Errorf("an upload has %.1f records", mean)
	}
}
