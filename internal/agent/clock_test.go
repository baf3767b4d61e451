package agent

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// TestClock walks through what the device knows of the time.
func TestClock(t *testing.T) {
	dir := t.TempDir()
	quiet := slog.New(slog.DiscardHandler)
	inst := newInstallation(t)
	cert := inst.Hub.Cert
	real := time.Now().Truncate(time.Second)
	wall := time.Date(1970, 1, 1, 0, 5, 0, 0, time.UTC)
	synced := false
	open := func() *clock {
		return openClock(dir, func() time.Time { return wall }, func() bool { return synced }, quiet)
	}
	c := open()
	if !c.Unsure() || !c.Now().Equal(wall) || c.Floor().After(real) {
		t.Errorf("%v %v %v", c.Unsure(), c.Now(), c.Floor())
	}
	c.hear(lh.MillisOf(cert.NotAfter.Add(time.Hour)), cert)
	c.hear(lh.MillisOf(cert.NotBefore.Add(-time.Hour)), cert)
	if !c.Unsure() {
		t.Error("a time outside the certificate's life is believed")
	}
	c.hear(lh.MillisOf(real), cert)
	wall = wall.Add(10 * time.Second)
	if off, ok := c.offset(); c.Unsure() || !c.Now().Equal(real.Add(10*time.Second)) || !c.Floor().Equal(real) || !ok || off > -50*365*24*time.Hour {
		t.Errorf("%v %v %v %v", c.Unsure(), c.Now(), c.Floor(), off)
	}
	c.hear(lh.MillisOf(real.Add(-time.Minute)), cert) // the floor never sinks
	if !c.Floor().Equal(real) {
		t.Error(c.Floor())
	}
	// A machine that slept: its monotonic clock stood still, and the clock that is kept right did not.
	slept := c.Now()
	wall, synced = slept.Add(time.Hour), true
	c.at = wall
	if !c.Now().Equal(wall) {
		t.Errorf("after a sleep it is %s, not %s", c.Now(), wall)
	}
	synced = false
	if !c.Now().Equal(real.Add(-time.Minute)) {
		t.Errorf("it is %s by a clock that nothing keeps right", c.Now())
	}
	// After a restart the floor is there; the clock is unsure, unless the kernel's is kept right.
	if c = open(); !c.Floor().Equal(real) || !c.Unsure() {
		t.Errorf("%v %v", c.Floor(), c.Unsure())
	}
	if synced = true; c.Unsure() {
		t.Error("unsure of a clock that is kept right")
	}
	// Not written for every answer.
	before, err := os.ReadFile(filepath.Join(dir, clockFile))
	if err != nil {
		t.Fatal(err)
	}
	c.hear(lh.MillisOf(real.Add(keepClock-time.Second)), cert)
	if after, err := os.ReadFile(filepath.Join(dir, clockFile)); err != nil || !bytes.Equal(before, after) {
		t.Errorf("%s %v", after, err)
	}
	c.hear(lh.MillisOf(real.Add(keepClock)), cert)
	if c = open(); !c.Floor().Equal(real.Add(keepClock)) {
		t.Error(c.Floor())
	}
	// Every damage is found, and costs the kept time only.
	good, err := os.ReadFile(filepath.Join(dir, clockFile))
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		for _, b := range [][]byte{bad, good[:i]} {
			if err := os.WriteFile(filepath.Join(dir, clockFile), b, 0o600); err != nil {
				t.Fatal(err)
			}
			if c := open(); c.Floor().After(real) {
				t.Fatalf("%q is read as %s", b, c.Floor())
			}
		}
	}
}
