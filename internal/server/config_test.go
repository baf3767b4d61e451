package server_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/loggerhead-cloud/loggerhead/internal/server"
)

func load(t *testing.T, text string) (server.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "loggerhead.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return server.LoadConfig(path)
}

// TestExample: the printed example is golden, and reads back as the defaults it shows.
func TestExample(t *testing.T) {
	text, err := server.DefaultConfig().Example()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "example.yaml")
	if *update {
		must(t, os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("the example has changed; if that is meant, run: go test ./internal/server -update\n%s", text)
	}
	got, err := load(t, text)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := load(t, "")
	if err != nil {
		t.Fatal(err)
	}
	got.Data, got.Database, got.MasterKey, empty.Data, empty.Database, empty.MasterKey = "", "", "", "", "", ""
	if !reflect.DeepEqual(got, empty) {
		t.Errorf("the example reads as %+v, an empty file as %+v", got, empty)
	}
	// Every key has its words.
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		key, _, _ := strings.Cut(line, ":")
		i := strings.Index(text, "\n"+line)
		before := text[:max(i, 0)]
		if last := before[strings.LastIndex(before, "\n")+1:]; !strings.HasPrefix(key, " ") && !strings.HasPrefix(last, "#") {
			t.Errorf("%s has no comment", key)
		}
	}
}

func TestPaths(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "loggerhead.yaml")
	must(t, os.WriteFile(path, []byte("data: var\ndatabase: sqlite:db/hub.db\nmaster_key: /secrets/master.key\npeople: {certificate: tls/c.pem, key: /k.pem}\n"), 0o600))
	c, err := server.LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Data != filepath.Join(dir, "var") || c.Database != "sqlite:"+filepath.Join(dir, "var", "db", "hub.db") || c.MasterKey != "/secrets/master.key" ||
		c.People.Certificate != filepath.Join(dir, "var", "tls", "c.pem") || c.People.Key != "/k.pem" {
		t.Errorf("%+v", c)
	}
}

// TestConfigRefuses: unknown keys, and what is ambiguous or dangerous, with a sentence that names the key.
func TestConfigRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"databse: sqlite:x":                                          "databse",
		"people: {listen: ':1', lsiten: ':2'}":                       "lsiten",
		"data: a\ndata: b":                                           "data",
		"data: a\n---\ndata: b":                                      "document",
		"data: [a]":                                                  "line 1",
		"{":                                                          "",
		"private: {listen: ':8885'}":                                 "loopback",
		"private: {listen: '0.0.0.0:8885'}":                          "loopback",
		"private: {listen: '192.0.2.1:8885'}":                        "loopback",
		"private: {listen: '[::]:8885'}":                             "loopback",
		"private: {listen: 'hub.example.org:8885'}":                  "loopback",
		"people: {listen: ':8884'}":                                  "same port",
		"mqtt: {listen: '127.0.0.1:8885'}":                           "same port",
		"people: {listen: '8443'}":                                   "people.listen",
		"people: {listen: ':https-alt-x'}":                           "people.listen",
		"devices: {listen: ':65536'}":                                "devices.listen",
		"devices: {listen: ':-1'}":                                   "devices.listen",
		"mqtt: {listen: ''}":                                         "mqtt.listen",
		"mqtt: {listen: '127.0.0.1:'}":                               "mqtt.listen",
		"people: {certificate: a.pem}":                               "together",
		"people: {key: a.pem}":                                       "together",
		"hosts: []":                                                  "hosts",
		"series: {commit_wait: -1ms}":                                "commit_wait",
		"series: {commit_wait: 2s}":                                  "commit_wait",
		"series: {commit_wait: 5}":                                   "",
		"series: {fold_age: 2h}":                                     "fold_age",
		"series: {fold_age: 0s}":                                     "fold_age",
		"people: {consibio_host: api.example.org}":                   "people.consibio_host",
		"hosts: [a.example]\npeople: {consibio_host: a.example}":     "only one of hosts",
		"exports: {at_once: 0}":                                      "exports.at_once",
		"exports: {max_size_mib: 0}":                                 "exports.max_size_mib",
		"exports: {keep: 1m}":                                        "exports.keep",
		"exports: {keep: 200h}":                                      "exports.keep",
		"exports: {max_time: 1s}":                                    "exports.max_time",
		"log: {format: xml}":                                         "log.format",
		"log: {level: loud}":                                         "",
		"database: ''":                                               "database",
		"database: 'sqlite:'":                                        "database",
		"database: mysql://x/y":                                      "database",
		"database: postgres://u:secret@127.0.0.1/x":                  "PGPASSFILE",
		"database: postgres://u@127.0.0.1/x?password=secret":         "PGPASSFILE",
		"master_key: ''":                                             "master_key",
		"trust_domain: ''":                                           "trust_domain",
		"trust_domain: 'a b'":                                        "trust_domain",
		strings.Repeat("# long\n", 200000):                           "larger",
		"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]": "",
	} {
		c, err := load(t, text)
		if err == nil {
			t.Errorf("%.60q is taken: %+v", text, c)
			continue
		}
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%.60q: %v, which does not name %s", text, err, says)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%.60q: the refusal repeats a password: %v", text, err)
		}
	}
	if _, err := server.LoadConfig(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "loggerhead init") {
		t.Errorf("no file: %v", err)
	}
	for _, text := range []string{"", "# nothing\n", "people: {listen: '127.0.0.1:0'}\ndevices: {listen: '127.0.0.1:0'}", "private: {listen: 'localhost:1'}", "private: {listen: '[::1]:1'}",
		"database: postgres://u@127.0.0.1/x", "series: {commit_wait: 0s, fold_age: 1h}", "log: {level: debug, format: json}",
		"hosts: [a.example, b.example]\npeople: {consibio_host: B.example}", "exports: {at_once: 1, max_size_mib: 10, keep: 168h, max_time: 24h}"} {
		if _, err := load(t, text); err != nil {
			t.Errorf("%q is refused: %v", text, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	if d := server.DefaultConfig(); d.Series.CommitWait > 10*time.Millisecond || d.Check() != nil {
		t.Errorf("the defaults: %+v, %v", d, d.Check())
	}
}
