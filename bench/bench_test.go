package main

import (
	"bytes"
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// TestSpine runs the whole group in tiny sizes against a hub built from this tree.
func TestSpine(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs a hub")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	if err := run(ctx, []string{"-group", "spine", "-small"}, &stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	line := regexp.MustCompile(`^metric=([a-z0-9_]+) value=(-?\d+(?:\.\d+)?) unit=(\S+)$`)
	got := map[string]float64{}
	for l := range strings.Lines(stdout.String()) {
		m := line.FindStringSubmatch(strings.TrimSuffix(l, "\n"))
		if m == nil {
			t.Errorf("no metric line: %q", l)
			continue
		}
		if _, twice := got[m[1]]; twice {
			t.Errorf("%s was told twice", m[1])
		}
		v, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Error(err)
		}
		got[m[1]] = v
	}
	want := []string{"handshakes_per_s", "ingest_https_samples_per_s", "ingest_mqtt_messages_per_s", "hub_cpu_s_per_million_samples",
		"chart_year_to_1000px_ms", "hub_rss_mib"}
	if !strings.Contains(stderr.String(), "skipped initial_js_kib_gz") {
		want = append(want, "initial_js_kib_gz")
	}
	for _, name := range want {
		if got[name] <= 0 {
			t.Errorf("%s is %g", name, got[name])
		}
	}
	for _, name := range []string{"rss_per_idle_connection_kib", "bytes_per_sample"} { // so few may cost less than a page
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	if t.Failed() {
		t.Log(stderr.String())
	}
}

func TestUnknownNamesAreRefused(t *testing.T) {
	var out bytes.Buffer
	for _, args := range [][]string{{"-group", "spines"}, {"-group", ""}, {"-only", "mqtt", "extra"}, {"-nonsense"}} {
		if err := run(context.Background(), args, &out, &out); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}

// TestStampChangesTheClockOnly proves that a stamped batch is whole and says the same but for its clock.
func TestStampChangesTheClockOnly(t *testing.T) {
	d := &device{index: 3, log: 9, next: 70000}
	batches, err := backlog(d, station(), 1_790_000_040_000, 2, 5)
	if err != nil {
		t.Fatal(err)
	}
	w := newWeather(3)
	at := lh.Millis(1_790_000_040_000)
	for i, b := range batches {
		now := lh.Millis(1_795_000_000_123 + i)
		if err := stamp(b, now); err != nil {
			t.Fatal(err)
		}
		var got wire.Batch
		if err := wire.Decode(&got, b); err != nil {
			t.Fatal(err)
		}
		if got.Sent != now || got.Log != 9 || got.First != 70000+uint32(i)*5 || len(got.Records) != 5 {
			t.Errorf("%+v", got)
		}
		for _, r := range got.Records {
			var want [6]float64
			w.at(at, want[:])
			for c, v := range r.Values {
				if r.Time != at || v.Value != want[c] {
					t.Errorf("%d: %v instead of %v", r.Time, v, want[c])
				}
			}
			at += 60_000
		}
	}
	if err := stamp(batches[0], 5); err == nil {
		t.Error("a clock that does not fit was taken")
	}
}

func TestInitialScriptsFollowImports(t *testing.T) {
	text := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	dist := fstest.MapFS{
		"index.html": text(`<script type="module" crossorigin src="/assets/main-1.js"></script>
			<link rel="modulepreload" crossorigin href="/assets/shared-2.js"><link rel="stylesheet" href="/assets/main.css">`),
		"assets/main-1.js":   text(`import{a as b}from"./shared-2.js";import"./side-3.js";const later=()=>import("./page-4.js");` + strings.Repeat("x", 5000)),
		"assets/shared-2.js": text(`export const a=1`), "assets/side-3.js": text(`export{c}from"./deep-5.js"`), "assets/deep-5.js": text(`export const c=2`),
		"assets/page-4.js": text(`import"./shared-2.js"`),
	}
	total, files, err := initialScripts(dist)
	if err != nil || files != 4 || total < 100 || total > 1000 {
		t.Errorf("%d bytes in %d files, %v", total, files, err)
	}
	delete(dist, "assets/deep-5.js")
	if _, _, err := initialScripts(dist); err == nil {
		t.Error("a missing script was not noticed")
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{0: "0.000", 0.9312: "0.931", 12.345: "12.3", 4303719.4: "4303719", -3: "-3.000"} {
		if got := figure(v); got != want {
			t.Errorf("%g: %s", v, got)
		}
	}
}
