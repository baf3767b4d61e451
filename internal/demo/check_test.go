package demo

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/wal"
)

// exporter returns a demo whose hub exports these lines of CSV.
func exporter(t *testing.T, lines ...string) *demo {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "time,element_id,value,flag\n"+strings.Join(lines, "\n"))
	}))
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c, err := client.New(s.URL, client.Options{Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &demo{api: c}
}

func TestCheckElement(t *testing.T) {
	t.Parallel()
	line := func(ms int64, v string) string {
		return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") + ",elm_x," + v + ",1"
	}
	for _, c := range []struct {
		name          string
		lines         []string
		log           []entry
		stored, acked int64
		words         string
	}{
		{name: "all there", lines: []string{line(1, "1"), line(2, "0.1")}, log: []entry{{1, 1, 0, true, 1}, {2, 2, 1, true, 0.1}}, stored: 2, acked: 2},
		{name: "out of order in the log", lines: []string{line(-5, "1"), line(2, "2")}, log: []entry{{2, 1, 0, true, 2}, {-5, 2, 1, true, 1}}, stored: 2, acked: 2},
		{name: "more than the log has", lines: []string{line(1, "1"), line(2, "2")}, log: []entry{{2, 2, 0, true, 2}}, stored: 2, acked: 1},
		{name: "not acknowledged, not there", lines: []string{line(1, "1")}, log: []entry{{1, 1, 0, true, 1}, {2, 2, 1, false, 2}}, stored: 1, acked: 1},
		{name: "not acknowledged, there", lines: []string{line(1, "1"), line(2, "2")}, log: []entry{{1, 1, 0, true, 1}, {2, 2, 1, false, 2}}, stored: 2, acked: 1},
		{name: "one instant twice, the later stands", lines: []string{line(1, "2")}, log: []entry{{1, 1, 0, true, 1}, {1, 2, 1, true, 2}}, stored: 1, acked: 1},
		{name: "one instant twice, the earlier stands", lines: []string{line(1, "1")}, log: []entry{{1, 1, 0, true, 1}, {1, 2, 1, true, 2}}, words: "altered"},
		{name: "the later one's acknowledgement lost", lines: []string{line(1, "2")}, log: []entry{{1, 1, 0, true, 1}, {1, 2, 1, false, 2}}, stored: 1, acked: 1},
		{name: "first lost", lines: []string{line(2, "2")}, log: []entry{{1, 1, 0, true, 1}, {2, 2, 1, true, 2}}, words: "record 1 of its log"},
		{name: "last lost", lines: []string{line(1, "1")}, log: []entry{{1, 1, 0, true, 1}, {2, 2, 1, true, 2}}, words: "record 2 of its log"},
		{name: "all lost", log: []entry{{1, 7, 0, true, 1}}, words: "1970-01-01T00:00:00.001Z, value 1, record 7"},
		{name: "altered", lines: []string{line(1, "1.0000000000000002")}, log: []entry{{1, 1, 0, true, 1}}, words: "its log has 1, the hub 1.0000000000000002"},
		{name: "twice", lines: []string{line(1, "1"), line(1, "1")}, log: []entry{{1, 1, 0, true, 1}}, words: "twice"},
		{name: "backwards", lines: []string{line(2, "1"), line(1, "1")}, words: "twice, or out of order"},
		{name: "no number", lines: []string{line(1, "x")}, words: "export"},
	} {
		var lines []string
		for _, l := range c.lines {
			if l != "" {
				lines = append(lines, l)
			}
		}
		d := exporter(t, lines...)
		stored, acked, err := d.checkElement(t.Context(), &logger{name: "L"}, "elm_x", "1/x", c.log)
		if c.words != "" {
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%s: %v, want %q", c.name, err, c.words)
			}
			continue
		}
		if err != nil || stored != c.stored || acked != c.acked {
			t.Errorf("%s: %d stored, %d acked, %v", c.name, stored, acked, err)
		}
	}
}

// TestTamperedLogsFail runs a real demo and then makes the dataloggers' logs say what the hub does not have. Each time
// the check must find it; between, it must be content.
func TestTamperedLogsFail(t *testing.T) {
	t.Parallel()
	var out output
	o := options(t, &out)
	o.Duration = 2 * time.Second
	o.beforeCheck = func(d *demo) error {
		l := d.loggers[0]
		dir := filepath.Join(l.dir, samplesDir)
		kept := filepath.Join(t.TempDir(), "kept")
		if err := os.CopyFS(kept, os.DirFS(dir)); err != nil {
			return err
		}
		var last wal.Record
		if err := wal.Each(dir, func(_ uint64, _ uint32, acked bool, r wal.Record) error {
			if acked && len(r.Values) > 0 {
				last = r
			}
			return nil
		}); err != nil {
			return err
		}
		for name, c := range map[string]struct {
			r     wal.Record
			words string
		}{
			"a sample nobody got":   {wal.Record{Time: last.Time + 12345, Values: []wal.Value{{Channel: last.Values[0].Channel, Flag: lh.FlagGood, Value: 1}}}, "cannot be read back"},
			"a channel nobody has":  {wal.Record{Time: last.Time, Values: []wal.Value{{Channel: "9/ghost", Flag: lh.FlagGood, Value: 1}}}, "9/ghost"},
			"another value":         {wal.Record{Time: last.Time, Values: []wal.Value{{Channel: last.Values[0].Channel, Flag: lh.FlagGood, Value: last.Values[0].Value + 1}}}, "altered"},
			"one before all others": {wal.Record{Time: -1, Values: []wal.Value{{Channel: last.Values[0].Channel, Flag: lh.FlagGood, Value: 1}}}, "1969-12-31T23:59:59.999Z"},
		} {
			if err := tamper(dir, c.r); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if _, _, err := d.checkLogger(t.Context(), l); err == nil || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), l.name) {
				t.Errorf("%s: the check says %v", name, err)
			}
			if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(kept))); err != nil {
				return err
			}
			if _, n, err := d.checkLogger(t.Context(), l); err != nil || n == 0 {
				t.Errorf("after %s was taken back: %d, %v", name, n, err)
			}
		}
		return tamper(dir, wal.Record{Time: 1, Values: []wal.Value{{Channel: last.Values[0].Channel, Flag: lh.FlagGood, Value: 1}}})
	}
	err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "1970-01-01T00:00:00.001Z") || lastLine.MatchString(out.String()) {
		t.Errorf("a tampered log passed: %v\n%s", err, out.String())
	}
	if lh.CodeOf(err).ExitStatus() != 1 {
		t.Errorf("exit status %d", lh.CodeOf(err).ExitStatus())
	}
	none(t, o.Data)
}

// tamper adds a record to a log and acknowledges everything in it.
func tamper(dir string, r wal.Record) error {
	l, err := wal.Open(dir, wal.Options{})
	if err != nil {
		return err
	}
	seq, err := l.Append(context.Background(), r)
	if err == nil {
		err = l.Ack(l.ID(), seq)
	}
	return errors.Join(err, l.Close())
}
