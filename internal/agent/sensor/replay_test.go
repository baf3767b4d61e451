package sensor

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/config"
)

// demoConfig is the sensor that the README of the demo's data describes.
func demoConfig(t testing.TB) (Config, string) {
	t.Helper()
	dir, err := filepath.Abs("../../../deploy/demo")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatal("the README has no configuration")
	}
	var f struct {
		Sensors []Config `yaml:"sensors"`
	}
	if err := config.Parse(m[1], &f); err != nil || len(f.Sensors) != 1 {
		t.Fatalf("%d sensors, %v", len(f.Sensors), err)
	}
	c := f.Sensors[0]
	c.CSV.State = filepath.Join(t.TempDir(), "position") // nothing is written beside the data
	return c, dir
}

func TestReplayOfTheDemo(t *testing.T) {
	c, dir := demoConfig(t)
	// What the file says, read in another way.
	f, err := os.Open(filepath.Join(dir, c.CSV.File))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{"00010/00003": "00010/mean", "00010/00001": "00010/max", "00060/00003": "00060/mean"}
	var want []Record
	for _, row := range rows[1:] {
		day, err := time.Parse("2006-01-02", row[0])
		if err != nil {
			t.Fatal(err)
		}
		at := lh.MillisOf(day.Add(5 * time.Hour))
		if len(want) == 0 || want[len(want)-1].Time != at {
			want = append(want, Record{Time: at})
		}
		v, err := strconv.ParseFloat(row[4], 64)
		if err != nil {
			t.Fatal(err)
		}
		w := &want[len(want)-1]
		w.Readings = append(w.Readings, Reading{Channel: keys[row[1]+"/"+row[2]], Value: v, Flag: lh.FlagGood})
	}
	if len(want) != 122 {
		t.Fatalf("the file has %d days", len(want))
	}

	// A restart at each record, now with its Commit and now without: nothing is missing, and only what was not
	// committed comes twice.
	var got []Record
	s, err := New(c, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		recs, err := s.Sample(context.Background(), noon)
		if err != nil {
			t.Fatal(err)
		}
		if len(recs) == 0 {
			break
		}
		if len(recs) != 1 {
			t.Fatalf("%d records at once", len(recs))
		}
		again, err := s.Sample(context.Background(), noon)
		if d := cmp.Diff(recs, again); err != nil || d != "" {
			t.Fatalf("without Commit the next Sample gives others: %v %s", err, d)
		}
		commit := i%3 != 1
		if commit {
			got = append(got, recs...)
			if err := s.(Committer).Commit(); err != nil {
				t.Fatal(err)
			}
		}
		if i%2 == 0 || !commit {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = New(c, dir, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	if recs, err := s.Sample(context.Background(), noon); err != nil || len(recs) != 0 {
		t.Fatalf("behind its end the replay gives %v, %v", recs, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// write makes a CSV file and a configuration of it.
func write(t testing.TB, text string, change func(c *CSV)) Config {
	t.Helper()
	dir := t.TempDir()
	c := &CSV{File: filepath.Join(dir, "in.csv"), State: filepath.Join(dir, "position"), Time: "t", TimeFormat: "unix",
		Channels: []MatchChannel{{Match: "a", Channel: Channel{Key: "x/a"}}, {Match: "b", Channel: Channel{Key: "x/b"}}}}
	if change != nil {
		change(c)
	}
	if err := os.WriteFile(c.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Config{Type: "csv", Interval: time.Second, CSV: c}
}

// all replays a file to its end and writes down what came.
func all(t testing.TB, s Sensor) (out []string, faults []error) {
	t.Helper()
	nothing := 0
	for range 10_000 {
		recs, err := s.Sample(context.Background(), noon)
		if err != nil {
			faults = append(faults, err)
		}
		for _, r := range recs {
			line := fmt.Sprint(int64(r.Time))
			for _, x := range r.Readings {
				line += fmt.Sprintf(" %s=%v/%d", x.Channel, x.Value, x.Flag)
			}
			out = append(out, line)
		}
		if len(recs) > 0 || err != nil {
			nothing = 0
		} else if nothing++; nothing == 5 {
			return out, faults
		}
		if err := s.(Committer).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the replay has no end")
	return nil, nil
}

func TestReplayForms(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		change func(c *CSV)
		want   []string
		faults []string // a part of each
	}{
		"wide": {"t,a,b\n1,2,3\n2,4,\n3,,\n4,NAN,-5e-1\n", nil,
			[]string{"1000 x/a=2/2 x/b=3/2", "2000 x/a=4/2", "4000 x/b=-0.5/2"}, nil},
		"no newline, spaces, BOM, CRLF": {"\ufefft, a ,b\r\n 1 , 2 ,3\r\n2,4,5", nil,
			[]string{"1000 x/a=2/2 x/b=3/2", "2000 x/a=4/2 x/b=5/2"}, nil},
		"absent": {"t,a,b\n1,-9999,3\n2,-9999.0,-7999\n", func(c *CSV) { c.Absent = []string{"-9999"} },
			[]string{"1000 x/b=3/2", "2000 x/b=-7999/2"}, nil},
		"semicolon and comma": {"t;a;b\n1;2,5;-3\n2;1.234;1\n", func(c *CSV) { c.Delimiter, c.DecimalComma = ";", true },
			[]string{"1000 x/a=2.5/2 x/b=-3/2", "2000 x/b=1/2"}, []string{"line 3"}},
		"long": {"t,k,v,q\n1,a,5,ok\n1,b,6,bad\n1,c,7,ok\n2,b,8,\n", func(c *CSV) {
			c.Key, c.Value, c.Flag, c.Flags = []string{"k"}, "v", "q", map[string]lh.Flag{"ok": 1, "bad": 4}
		}, []string{"1000 x/a=5/1 x/b=6/4", "2000 x/b=8/2"}, nil},
		"units": {"t,k,v,u\n1,a,5,F\n1,b,6,degC\n2,a,7,Cel\n", func(c *CSV) {
			c.Key, c.Value, c.Unit, c.Units = []string{"k"}, "v", "u", map[string]string{"degC": "Cel"}
			c.Channels[0].Unit, c.Channels[1].Unit = "Cel", "Cel"
		}, []string{"1000 x/b=6/2", "2000 x/a=7/2"}, []string{`the unit is "F"`}},
		"twice in an instant": {"t,k,v\n1,a,5\n1,a,6\n", func(c *CSV) { c.Key, c.Value = []string{"k"}, "v" },
			[]string{"1000 x/a=5/2"}, []string{"line 3"}},
		"back in time": {"t,a,b\n9,1,\n8,2,\n9,3,\n", nil, []string{"9000 x/a=1/2", "8000 x/a=2/2", "9000 x/a=3/2"}, nil},
		"damaged rows": {"t,a,b\nnever,1,2\n1,x,2\n2,\"3,4\n3\",5\n4,6\n5,7,8,9\n\"6\"x,1,1\n7,1,1\n", nil,
			[]string{"1000 x/b=2/2", "2000 x/b=5/2", "4000 x/a=6/2", "5000 x/a=7/2 x/b=8/2", "7000 x/a=1/2 x/b=1/2"},
			[]string{"line 2", "line 3", "3,4", "line 8"}},
		"unix_ms": {"t,a,b\n-1500,1,\n", func(c *CSV) { c.TimeFormat = "unix_ms" }, []string{"-1500 x/a=1/2"}, nil},
		"zone with summer time": {"t,a,b\n2026-03-29 01:59:59,1,\n2026-03-29 03:00:00,2,\n", func(c *CSV) {
			c.TimeFormat, c.Zone = "2006-01-02 15:04:05", "Europe/Copenhagen"
		}, []string{"1774745999000 x/a=1/2", "1774746000000 x/a=2/2"}, nil},
		"years beyond":  {"t,a,b\n1e15,1,\n1,1,\n", nil, []string{"1000 x/a=1/2"}, []string{"1 to 9999"}},
		"only a header": {"t,a,b\n", nil, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := mustNew(t, write(t, test.text, test.change), "")
			got, faults := all(t, s)
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
			said := fmt.Sprint(faults)
			for _, part := range test.faults {
				if !strings.Contains(said, part) {
					t.Errorf("%q is not in %s", part, said)
				}
			}
			if len(test.faults) == 0 && len(faults) > 0 {
				t.Error(said)
			}
		})
	}
}

func TestReplayAtSpeed(t *testing.T) {
	var b strings.Builder
	b.WriteString("t,a,b\n")
	for i := range 100 {
		fmt.Fprintf(&b, "%d,%d,\n", 3600*i, i)
	}
	c := write(t, b.String(), func(c *CSV) { c.Speed = 3600 })
	s := mustNew(t, c, "")
	counts := []int{}
	for _, after := range []time.Duration{0, 500 * time.Millisecond, time.Second, 5 * time.Second, time.Hour} {
		recs, err := s.Sample(context.Background(), noon.Add(after))
		if err != nil {
			t.Fatal(err)
		}
		counts = append(counts, len(recs))
		if err := s.(Committer).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(counts, []int{1, 0, 1, 4, 94}) {
		t.Errorf("instants by and by: %v", counts)
	}
}

func TestReplayRefusesAnotherFile(t *testing.T) {
	text := "t,a,b\n1,1,1\n2,2,2\n3,3,3\n"
	c := write(t, text, nil)
	s := mustNew(t, c, "")
	for range 2 {
		if _, err := s.Sample(context.Background(), noon); err != nil {
			t.Fatal(err)
		}
		if err := s.(Committer).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	state, err := os.ReadFile(c.CSV.State)
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]string{"longer": text + "4,4,4\n", "shorter": text[:20], "changed": strings.Replace(text, "2,2,2", "2,2,9", 1)} {
		if err := os.WriteFile(c.CSV.File, []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(c, "", nil); lh.CodeOf(err) != lh.Conflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(c.CSV.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range state {
		for _, bad := range []string{string(state[:i]), string(state[:i]) + "~" + string(state[i+1:])} {
			if bad == "" {
				continue
			}
			if err := os.WriteFile(c.CSV.State, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := New(c, "", nil); lh.CodeOf(err) != lh.Conflict {
				t.Fatalf("%q: %v", bad, err)
			}
		}
	}
	if err := os.WriteFile(c.CSV.State, state, 0o600); err != nil {
		t.Fatal(err)
	}
	got, faults := all(t, mustNew(t, c, ""))
	if d := cmp.Diff([]string{"3000 x/a=3/2 x/b=3/2"}, got); d != "" || len(faults) > 0 {
		t.Error(d, faults)
	}
}

// When the place cannot be kept the replay goes on, says so, and gives the records again after a restart.
func TestReplayWithoutAPlace(t *testing.T) {
	c := write(t, "t,a,b\n1,1,1\n2,2,2\n", func(c *CSV) { c.State = filepath.Join(filepath.Dir(c.State), "missing", "position") })
	s := mustNew(t, c, "")
	for want := 1; want <= 2; want++ {
		recs, err := s.Sample(context.Background(), noon)
		if err != nil || len(recs) != 1 || recs[0].Time != lh.Millis(want*1000) {
			t.Fatalf("%v %v", recs, err)
		}
		if err := s.(Committer).Commit(); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("the place was kept nowhere: %v", err)
		}
	}
	if recs, err := mustNew(t, c, "").Sample(context.Background(), noon); err != nil || len(recs) != 1 || recs[0].Time != 1000 {
		t.Fatalf("after a restart: %v %v", recs, err)
	}
}

func TestReplaySaysOnceWhatItLeavesOut(t *testing.T) {
	c := write(t, "t,k,v\n1,a,1\n1,z,2\n2,a,3\n2,z,4\n3,y,4\n", func(c *CSV) { c.Key, c.Value = []string{"k"}, "v" })
	var said bytes.Buffer
	s, err := New(c, "", slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, _ := all(t, s)
	if len(got) != 2 || strings.Count(said.String(), "match=z") != 1 || strings.Count(said.String(), "match=y") != 1 {
		t.Errorf("%v\n%s", got, &said)
	}
}

func TestConfigs(t *testing.T) {
	csvText := "t,a,b\n1,1,1\n"
	for name, c := range map[string]Config{
		"no type":            {Interval: time.Second},
		"unknown type":       {Type: "crystal ball", Interval: time.Second},
		"no interval":        {Type: "simulator"},
		"short interval":     {Type: "simulator", Interval: time.Millisecond},
		"long interval":      {Type: "simulator", Interval: 25 * time.Hour},
		"no section":         {Type: "file", Interval: time.Second},
		"foreign section":    {Type: "simulator", Interval: time.Second, File: &File{Path: "/x", Channel: Channel{Key: "a"}}},
		"speed":              {Type: "simulator", Interval: time.Second, Simulator: &Simulator{Speed: -1}},
		"history":            {Type: "simulator", Interval: time.Hour, Simulator: &Simulator{History: 1000 * time.Hour}},
		"file without path":  {Type: "file", Interval: time.Second, File: &File{Channel: Channel{Key: "a"}}},
		"file without key":   {Type: "file", Interval: time.Second, File: &File{Path: "/x"}},
		"digits":             {Type: "file", Interval: time.Second, File: &File{Path: "/x", Channel: Channel{Key: "a", Digits: 13}}},
		"meaning":            {Type: "file", Interval: time.Second, File: &File{Path: "/x", Channel: Channel{Key: "a", Meaning: "deep"}}},
		"nothing to run":     {Type: "command", Interval: time.Second, Command: &Command{Channels: []MatchChannel{{Channel: Channel{Key: "a"}}}}},
		"no channels":        {Type: "command", Interval: time.Second, Command: &Command{Run: []string{"true"}}},
		"two without match":  {Type: "command", Interval: time.Second, Command: &Command{Run: []string{"true"}, Channels: []MatchChannel{{Channel: Channel{Key: "a"}}, {Channel: Channel{Key: "b"}}}}},
		"match twice":        {Type: "command", Interval: time.Second, Command: &Command{Run: []string{"true"}, Channels: []MatchChannel{{Match: "m", Channel: Channel{Key: "a"}}, {Match: "m", Channel: Channel{Key: "b"}}}}},
		"key twice":          {Type: "command", Interval: time.Second, Command: &Command{Run: []string{"true"}, Channels: []MatchChannel{{Match: "m", Channel: Channel{Key: "a"}}, {Match: "n", Channel: Channel{Key: "a"}}}}},
		"timeout":            {Type: "command", Interval: time.Second, Command: &Command{Run: []string{"true"}, Timeout: time.Hour, Channels: []MatchChannel{{Channel: Channel{Key: "a"}}}}},
		"csv: no column":     write(t, csvText, func(c *CSV) { c.Time = "when" }),
		"csv: no channel":    write(t, csvText, func(c *CSV) { c.Channels[1].Match = "c" }),
		"csv: key, no value": write(t, csvText, func(c *CSV) { c.Key = []string{"a"} }),
		"csv: units":         write(t, csvText, func(c *CSV) { c.Units = map[string]string{"a": "b"} }),
		"csv: flag":          write(t, csvText, func(c *CSV) { c.Flag, c.Flags = "a", map[string]lh.Flag{"x": 7} }),
		"csv: zone":          write(t, csvText, func(c *CSV) { c.Zone = "Mars/Olympus" }),
		"csv: local zone":    write(t, csvText, func(c *CSV) { c.Zone = "Local" }),
		"csv: delimiter":     write(t, csvText, func(c *CSV) { c.Delimiter = "::" }),
		"csv: every":         write(t, csvText, func(c *CSV) { c.Every = -1 }),
		"csv: no state":      write(t, csvText, func(c *CSV) { c.State = "" }),
	} {
		if s, err := New(c, t.TempDir(), nil); lh.CodeOf(err) != lh.Invalid {
			t.Errorf("%s: %v", name, err)
			if err == nil {
				s.Close()
			}
		}
	}
	huge := write(t, csvText, nil)
	if err := os.Truncate(huge.CSV.File, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := New(huge, "", nil); lh.CodeOf(err) != lh.Invalid {
		t.Errorf("a huge file: %v", err)
	}
}

// Whatever is in the file: no panic, no endless replay, no value that is not finite, and a restart at any place gives
// the rest as it would have come.
func FuzzReplay(f *testing.F) {
	for _, s := range []string{"t,a,b\n1,2,3\n", "t,a,b\n1,\"2\n\",3\n\"\n\"x,,\n", "t,a\n1,1\n1,2\n2\n\n\n3,3,3,3", "t;a,b\n"} {
		f.Add(s, uint8(1))
	}
	f.Fuzz(func(t *testing.T, text string, restart uint8) {
		if len(text) > 4096 {
			return
		}
		one := func(c *CSV) { c.Channels = c.Channels[:1] }
		s, err := New(write(t, text, one), "", nil)
		if err != nil {
			return
		}
		want, _ := all(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		c := write(t, text, one)
		if s, err = New(c, "", nil); err != nil {
			t.Fatal(err)
		}
		var got []string
		for range restart % 8 {
			recs, _ := s.Sample(context.Background(), noon)
			for _, r := range recs {
				for _, x := range r.Readings {
					if x.Value-x.Value != 0 {
						t.Fatalf("%v is not finite", x)
					}
				}
				got = append(got, fmt.Sprintf("%d x/a=%v/2", int64(r.Time), r.Readings[0].Value))
			}
			if err := s.(Committer).Commit(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = New(c, "", nil); err != nil {
			t.Fatal(err)
		}
		rest, _ := all(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, append(got, rest...)); d != "" {
			t.Fatal(d)
		}
	})
}
