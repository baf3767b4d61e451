package sensor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lh "github.com/loggerhead-cloud/loggerhead"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func sample(t testing.TB, s Sensor) (map[string]float64, error) {
	t.Helper()
	recs, err := s.Sample(context.Background(), noon)
	got := map[string]float64{}
	for _, r := range recs {
		if r.Time != lh.MillisOf(noon) || len(r.Readings) == 0 {
			t.Fatalf("record %+v", r)
		}
		for _, x := range r.Readings {
			if x.Flag != lh.FlagNotEvaluated {
				t.Fatalf("flag %d", x.Flag)
			}
			got[x.Channel] = x.Value
		}
	}
	return got, err
}

func ptr[T any](v T) *T { return &v }

func TestFile(t *testing.T) {
	dir := t.TempDir()
	c := &File{Path: "temp1_input", Absent: []string{"-9999", "open"}, Channel: Channel{Key: "board", Unit: "Cel", Scale: ptr(0.001), Offset: -1}}
	s := mustNew(t, Config{Type: "file", Interval: time.Second, File: c}, dir)
	path := filepath.Join(dir, "temp1_input")
	if _, err := sample(t, s); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("no file: %v", err)
	}
	for text, want := range map[string]map[string]float64{
		"23456\n":             {"board": 22.456},
		"  -40125":            {"board": -41.125},
		"\n5000 \nother line": {"board": 4},
		"1e3":                 {"board": 0},
		"":                    {},
		"NaN":                 {},
		"-9999.00\n":          {},
		"open":                {},
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := sample(t, s)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%q: %v %s", text, err, d)
		}
	}
	for _, text := range []string{"twelve", "0x10", "1_000", "inf", "-Infinity", "1e999", "12 13", "1,5", strings.Repeat("1", 100)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := sample(t, s); err == nil || len(got) != 0 {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := sample(t, s); err == nil {
		t.Errorf("a pipe gave %v", got)
	}
}

func script(t testing.TB, body string) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "read")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
	return []string{path}
}

func TestCommandNumber(t *testing.T) {
	one := []MatchChannel{{Channel: Channel{Key: "level", Unit: "m", Scale: ptr(0.01)}}}
	for body, want := range map[string]map[string]float64{
		"echo 1234":             {"level": 12.34},
		"echo '  -7  '; exit 0": {"level": -0.07},
		"echo NAN":              {},
		"true":                  {},
		"echo -7999":            {},
	} {
		s := mustNew(t, Config{Type: "command", Interval: time.Second, Command: &Command{Run: script(t, body), Absent: []string{"-7999"}, Channels: one}}, t.TempDir())
		got, err := sample(t, s)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%q: %v %s", body, err, d)
		}
	}
	for body, says := range map[string]string{
		"echo 5; echo it is broken >&2; exit 3": "it is broken",
		"echo abc":                              "abc",
		"echo 1; echo 2":                        "no finite",
		"yes":                                   "wrote more than",
		"kill -9 $$":                            "killed",
	} {
		s := mustNew(t, Config{Type: "command", Interval: time.Second, Command: &Command{Run: script(t, body), Channels: one}}, t.TempDir())
		got, err := sample(t, s)
		if err == nil || len(got) > 0 || !strings.Contains(err.Error(), says) || len(err.Error()) > 1000 {
			t.Errorf("%q: %v %v", body, got, err)
		}
	}
	gone := mustNew(t, Config{Type: "command", Interval: time.Second, Command: &Command{Run: []string{"/no/such/program"}, Channels: one}}, t.TempDir())
	if _, err := sample(t, gone); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
}

func TestCommandPairs(t *testing.T) {
	c := &Command{Run: script(t, "echo '# comment'; echo t = 3.5; echo h=66; echo bad=x; echo none=; echo t2=1; echo t2=2"), Channels: []MatchChannel{
		{Match: "t", Channel: Channel{Key: "a/t"}},
		{Match: "h", Channel: Channel{Key: "a/h", Offset: 1}},
		{Match: "bad", Channel: Channel{Key: "a/bad"}},
		{Match: "none", Channel: Channel{Key: "a/none"}},
		{Match: "missing", Channel: Channel{Key: "a/missing"}},
		{Match: "t2", Channel: Channel{Key: "a/t2"}},
	}}
	s := mustNew(t, Config{Type: "command", Interval: time.Second, Command: c}, "/")
	got, err := sample(t, s)
	if d := cmp.Diff(map[string]float64{"a/t": 3.5, "a/h": 67, "a/t2": 2}, got); d != "" {
		t.Error(d)
	}
	if err == nil || !strings.Contains(err.Error(), `"a/bad"`) || !strings.Contains(err.Error(), `"missing"`) {
		t.Errorf("the failed channels are not named: %v", err)
	}
}

// A program that hangs is killed with its children, and holds up the sampling no longer than it may.
func TestCommandTimeout(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	body := fmt.Sprintf("sleep 60 & echo $! >> %s; echo $$ >> %s; echo 4; wait", pids, pids)
	s := mustNew(t, Config{Type: "command", Interval: time.Second, Command: &Command{Run: script(t, body), Timeout: 2 * time.Second,
		Channels: []MatchChannel{{Channel: Channel{Key: "x"}}}}}, "/")
	begin := time.Now()
	got, err := sample(t, s)
	if err == nil || len(got) != 0 || !strings.Contains(err.Error(), "longer than 2s") {
		t.Fatalf("%v %v", got, err)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Fatalf("it took %v", took)
	}
	b, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(string(b)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(10 * time.Second)
		for alive(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d lives on", pid)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if recs, err := s.Sample(ctx, noon); err == nil || len(recs) > 0 {
		t.Fatalf("canceled: %v %v", recs, err)
	}
}

// alive reports whether a process runs; one that nobody has waited for yet does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}

func TestScaledIsTheDecimal(t *testing.T) {
	for i := range 100_000 {
		want, err := strconv.ParseFloat(fmt.Sprintf("%d.%03d", i/1000, i%1000), 64)
		if err != nil {
			t.Fatal(err)
		}
		if got := scaled(float64(i), ptr(0.001)); got != want {
			t.Fatalf("%d × 0.001 = %v, want %v", i, got, want)
		}
	}
	if got := scaled(3, ptr(2.5)); got != 7.5 {
		t.Errorf("3 × 2.5 = %v", got)
	}
	if got := scaled(3, ptr(-0.5)); got != -1.5 {
		t.Errorf("3 × -0.5 = %v", got)
	}
}

func FuzzParseNumber(f *testing.F) {
	for _, s := range []string{"1.5", "-9999", "NAN", "", "1e5", "0x1p-2", "+.e", "--1"} {
		f.Add(s, "-9999")
	}
	f.Fuzz(func(t *testing.T, text, absent string) {
		v, present, err := parseNumber(text, []string{absent})
		if present && (err != nil || v-v != 0) {
			t.Fatalf("%q: %v %v", text, v, err)
		}
		if present && strings.TrimSpace(text) == absent {
			t.Fatalf("%q is absent, and is %v", text, v)
		}
	})
}
