package agent_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/loggerhead-cloud/loggerhead/internal/agent"
)

// TestStatusSaysEnrolled: the status file says at once that a device has enrolled, with and without an agent running;
// nothing here would look for it by and by.
func TestStatusSaysEnrolled(t *testing.T) {
	h := startHub(t)
	waits := func(serial string) (l *logger, file, code string, stop func()) {
		t.Helper()
		l = h.newLogger(serial, simulator, "")
		claim := filepath.Join(l.dir, "claim.code")
		b, err := os.ReadFile(claim)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(claim); err != nil {
			t.Fatal(err)
		}
		stop = l.start(func(o *agent.Options) {
			agent.QuickRefusals(o)
			agent.OneLook(o)
		})
		file = filepath.Join(l.dir, "data", "status.json")
		until(t, "a status", func() bool { return readStatus(t, file).Process != 0 })
		if s := readStatus(t, file); s.Device != "" || s.NotAfter != 0 {
			t.Fatalf("without a claim code: %+v", s)
		}
		return l, file, string(b), stop
	}
	t.Run("running", func(t *testing.T) {
		l, file, code, stop := waits("T-1")
		l.code(code)
		until(t, "enrolled in the file", func() bool { return readStatus(t, file).Device != "" })
		if s := readStatus(t, file); s.NotAfter == 0 || s.Process != os.Getpid() {
			t.Errorf("%+v", s)
		}
		stop()
	})
	t.Run("stopped", func(t *testing.T) {
		l, file, code, stop := waits("T-2")
		stop()
		before := readStatus(t, file)
		l.code(code)
		cfg, err := agent.LoadConfig(l.config())
		if err != nil {
			t.Fatal(err)
		}
		id, err := agent.Enrol(t.Context(), agent.Options{Config: cfg, Log: cfg.Log.Logger(l.said), Synced: func() bool { return false }})
		if err != nil {
			t.Fatal(err)
		}
		after := readStatus(t, file)
		if after.Device != id || after.NotAfter == 0 || after.Process != 0 || after.Samples != before.Samples || after.Written != before.Written {
			t.Errorf("after enrolling as %s: %+v", id, after)
		}
	})
}
