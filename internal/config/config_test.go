package config

import (
	"bytes"
	_ "embed"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

//go:embed config_test.go
var source string

// sample is a configuration with all that ours have.
type sample struct {
	// Where it is. It has
	// two lines.
	Name string `yaml:"name"`

	// How it is reached.
	Reach reach `yaml:"reach"`

	Hosts []string `yaml:"hosts"`

	// What is logged.
	Log Log `yaml:"log"`

	// What may follow.
	Rest []rest `yaml:"rest"`

	base string // not of the file
}

type reach struct {
	// The longest wait.
	Wait time.Duration `yaml:"wait"`
	Port int           `yaml:"port"`
}

type rest struct {
	A int `yaml:"a"`
}

const example = `
# Where it is. It has
# two lines.
name: 'a: b'

# How it is reached.
reach:
  # The longest wait.
  wait: 5s
  port: 7
hosts:
  - x
  - z

# What is logged.
log:
  # debug, info, warn or error.
  level: WARN
  # text or json.
  format: json

# What may follow.
rest:
`

func TestExample(t *testing.T) {
	c := sample{Name: "a: b", Reach: reach{5 * time.Second, 7}, Hosts: []string{"x", "z"}, Log: Log{slog.LevelWarn, "json"}, base: "/"}
	got, err := Example(c, source)
	if err != nil || got != example {
		t.Fatalf("%v\n%s", err, got)
	}
	again := sample{base: "/"}
	if err := Parse([]byte(got), &again); err != nil || !reflect.DeepEqual(again, c) {
		t.Errorf("reads back as %+v, %v", again, err)
	}
}

func TestParse(t *testing.T) {
	c := sample{Name: "default", Reach: reach{time.Second, 1}}
	if err := Parse([]byte("reach: {port: 2}\nrest: [{a: 3}]\n"), &c); err != nil {
		t.Fatal(err)
	}
	if c.Name != "default" || c.Reach != (reach{time.Second, 2}) || len(c.Rest) != 1 || c.Rest[0].A != 3 {
		t.Errorf("%+v", c)
	}
	for _, none := range []string{"", "\n", "# nothing\n", "---\n"} {
		before := c
		if err := Parse([]byte(none), &c); err != nil || !reflect.DeepEqual(c, before) {
			t.Errorf("%q: %+v, %v", none, c, err)
		}
	}
	for text, says := range map[string]string{
		"nmae: x":                     "nmae",
		"reach: {prot: 1}":            "prot",
		"rest: [{b: 1}]":              "field b",
		"base: x":                     "base",
		"name: x\nname: y":            "already",
		"name: x\n---\nname: y":       "document",
		"name: x\n---\n{":             "document",
		"name: [x]":                   "line 1",
		"reach: {wait: 5}":            "line 1",
		"log: {level: loud}":          "loud",
		"[]":                          "line 1",
		"{":                           "line 1",
		"\x00":                        "control",
		strings.Repeat("[", 20000):    "depth",
		"<<: {name: x}\nreach: *none": "anchor",
	} {
		if err := Parse([]byte(text), new(sample)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v, want %q in it", text, err, says)
		}
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for size, ok := range map[int]bool{0: true, maxBytes: true, maxBytes + 1: false} {
		if err := os.WriteFile(path, bytes.Repeat([]byte("#"), size), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := Read(path); ok != (err == nil) || ok && len(b) != size {
			t.Errorf("%d bytes: %d, %v", size, len(b), err)
		}
	}
	if _, err := Read(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
}

func TestLog(t *testing.T) {
	for format, first := range map[string]string{"text": "time=", "json": "{"} {
		l := Log{Level: slog.LevelWarn, Format: format}
		if err := l.Check(); err != nil {
			t.Error(err)
		}
		var b bytes.Buffer
		l.Logger(&b).Info("quiet")
		l.Logger(&b).Warn("loud")
		if s := b.String(); !strings.HasPrefix(s, first) || strings.Contains(s, "quiet") || !strings.Contains(s, "loud") {
			t.Errorf("%s: %s", format, s)
		}
	}
	for _, bad := range []string{"", "xml", "JSON"} {
		if err := (Log{Format: bad}).Check(); err == nil {
			t.Errorf("%q is a format", bad)
		}
	}
}
