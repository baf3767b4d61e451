package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

var bin string // folder of the real programs, built once

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "loggerhead-demo-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	bin = dir
	c := exec.Command("go", "build", "-trimpath", "-o", dir, "../../cmd/loggerhead", "../../cmd/loggerhead-agent")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	status := 1
	if out, err := c.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
	} else {
		status = m.Run()
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}

// output collects what a demo prints; it is written and read at the same time.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func options(t *testing.T, out *output) Options {
	return Options{Data: filepath.Join(t.TempDir(), "demo"), Agent: filepath.Join(bin, "loggerhead-agent"), Version: "test", Out: out, History: 20 * time.Minute}
}

// processes returns the ids of the processes whose command line names the folder.
func processes(t *testing.T, folder string) (ids []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil || id == os.Getpid() {
			continue
		}
		if b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")); err == nil && bytes.Contains(b, []byte(folder)) {
			ids = append(ids, id)
		}
	}
	return ids
}

// until polls for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func none(t *testing.T, folder string) {
	t.Helper()
	if left := processes(t, folder); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

var lastLine = regexp.MustCompile(`(?m)^demo: devices_online=3 samples_stored=(\d+) samples_acked=(\d+) latest_age_s=(\d+) ok\n\z`)

func numbers(t *testing.T, out string) (stored, acked int) {
	t.Helper()
	m := lastLine.FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("the last line is not as promised:\n%s", out)
	}
	stored, _ = strconv.Atoi(m[1])
	acked, _ = strconv.Atoi(m[2])
	return stored, acked
}

// TestDemoTwice runs a demo, then another on the same folder, which goes on from what is there.
func TestDemoTwice(t *testing.T) {
	t.Parallel()
	var out output
	o := options(t, &out)
	o.Duration = 4 * time.Second
	var first, second []string
	o.beforeCheck = func(d *demo) error {
		first = nil
		for _, l := range d.loggers {
			first = append(first, d.project, l.device.ID, l.device.Serial)
		}
		return nil
	}
	if err := Run(t.Context(), o); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	stored, acked := numbers(t, out.String())
	if acked < 1200*3+600*3 || stored < acked { // two stations bring their past
		t.Errorf("%d samples stored, %d acknowledged", stored, acked)
	}
	none(t, o.Data)
	for _, words := range []string{"owner@demo.example", "viewer@demo.example", "https://localhost:", "stops by itself", "is online"} {
		if !strings.Contains(out.String(), words) {
			t.Errorf("it does not say %q:\n%s", words, out.String())
		}
	}
	before, err := os.ReadFile(filepath.Join(o.Data, loginsFile))
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(o.Data, loginsFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("log-ins: %v %v", st.Mode(), err)
	}

	second, first = first, nil
	out = output{}
	if err := Run(t.Context(), o); err != nil {
		t.Fatalf("second run: %v\n%s", err, out.String())
	}
	stored2, acked2 := numbers(t, out.String())
	if stored2 <= stored || acked2 <= acked {
		t.Errorf("the second run has %d and %d samples after %d and %d", stored2, acked2, stored, acked)
	}
	if stored2 > stored+3000 {
		t.Errorf("the second run brought the past once more: %d samples after %d", stored2, stored)
	}
	if strings.Join(first, " ") != strings.Join(second, " ") {
		t.Errorf("project and devices were %v, are %v", second, first)
	}
	if after, err := os.ReadFile(filepath.Join(o.Data, loginsFile)); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the log-ins changed: %v", err)
	}
	none(t, o.Data)
}

// TestLostFiles: what a second run needs may be gone; it makes it anew.
func TestLostFiles(t *testing.T) {
	t.Parallel()
	var out output
	o := options(t, &out)
	o.Duration = time.Second
	if err := Run(t.Context(), o); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	ids := map[string]string{}
	o.beforeCheck = func(d *demo) error {
		for _, l := range d.loggers {
			ids[l.key] = l.device.ID
		}
		return nil
	}
	if err := os.Remove(filepath.Join(o.Data, loginsFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(o.Data, loggersDir, "enge")); err != nil {
		t.Fatal(err)
	}
	out = output{}
	if err := Run(t.Context(), o); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	numbers(t, out.String())
	if len(ids) != 3 {
		t.Errorf("devices %v", ids)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	var out output
	o := options(t, &out)
	o.Duration = time.Second
	refused := func(name string, o Options, code lh.Code, words ...string) {
		t.Helper()
		err := Run(t.Context(), o)
		if lh.CodeOf(err) != code {
			t.Errorf("%s: %v (%s), want %s", name, err, lh.CodeOf(err), code)
			return
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v does not say %q", name, err, w)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than a line: %q", name, err)
		}
	}
	missing := o
	missing.Agent = filepath.Join(t.TempDir(), "loggerhead-agent")
	refused("no agent", missing, lh.NotFound, missing.Agent, "make build")
	if err := os.WriteFile(missing.Agent, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("agent is no program", missing, lh.Invalid, "not a program")

	full := o
	full.free = func(string) (uint64, error) { return minFree - 1, nil }
	refused("no space", full, lh.Exhausted, "199 MiB free", "--data")
	unknown := o
	unknown.free = func(string) (uint64, error) { return 0, errors.New("no answer") }
	refused("space unknown", unknown, lh.Internal, "no answer")

	if _, err := os.Stat(o.Data); err == nil {
		t.Error("a refused demo made its folder")
	}
	foreign := o
	foreign.Data = t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign.Data, "letter.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("somebody's folder", foreign, lh.Conflict, "not empty")
	foreign.Data = filepath.Join(foreign.Data, "letter.txt")
	refused("a file", foreign, lh.Invalid, "not a folder")

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	for flag, p := range map[string]Ports{"--people-port": {People: port}, "--mqtt-port": {MQTT: port}, "--devices-port": {Devices: port}, "--private-port": {Private: port}} {
		used := o
		used.Ports = p
		refused(flag, used, lh.Conflict, strconv.Itoa(int(port)), "in use", flag)
	}

	unlock, err := openFolder(o.Data, freeSpace)
	if err != nil {
		t.Fatal(err)
	}
	refused("two on a folder", o, lh.Conflict, "another demo")
	if err := unlock(); err != nil {
		t.Fatal(err)
	}

	// An agent that ends by itself, and one that never comes online.
	broken := o
	broken.Data, broken.Agent = filepath.Join(t.TempDir(), "d"), "/bin/false"
	refused("agent ends", broken, lh.Internal, "stopped", "log")
	none(t, broken.Data)
	if err := os.WriteFile(filepath.Join(o.Data, loginsFile), []byte("# emptied\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("passwords lost", o, lh.Invalid, "delete the file")
}

// start starts the real program and returns it and what it says.
func start(t *testing.T, data string, args ...string) (*exec.Cmd, *output) {
	t.Helper()
	out := &output{}
	c := exec.Command(filepath.Join(bin, "loggerhead"), append([]string{"demo", "--data", data, "--history", "20m", "--people-port", "0", "--mqtt-port", "0",
		"--devices-port", "0", "--private-port", "0"}, args...)...)
	c.Stdout, c.Stderr = out, out
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, out
}

func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return -1
}

// TestProgram is the demo as people run it: until Ctrl-C, killed, with a datalogger killed, and interrupted early.
func TestProgram(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "demo")
	c, out := start(t, data)
	until(t, "up", func() bool { return strings.Contains(out.String(), "Stop it with Ctrl-C") })
	if n := len(processes(t, data)); n != 4 {
		t.Errorf("%d processes run, want the hub and three dataloggers:\n%s", n, out.String())
	}
	other, otherOut := start(t, data)
	if got := exitStatus(other.Wait()); got != lh.Conflict.ExitStatus() || !strings.Contains(otherOut.String(), "another demo runs on the folder") {
		t.Errorf("a second demo on the folder: status %d, %s", got, otherOut.String())
	}
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v\n%s", err, out.String())
	}
	none(t, data)

	// Killed, it takes its dataloggers along; nothing that they had written is lost to the next run.
	c, out = start(t, data)
	until(t, "up again", func() bool { return strings.Contains(out.String(), "Stop it with Ctrl-C") })
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if c.Wait() == nil {
		t.Error("killed, and content")
	}
	until(t, "all processes gone", func() bool { return len(processes(t, data)) == 0 })
	c, out = start(t, data, "--seconds", "1")
	if err := c.Wait(); err != nil {
		t.Errorf("after a kill: %v\n%s", err, out.String())
	}
	numbers(t, out.String())

	// A datalogger that dies ends the demo, with its name.
	c, out = start(t, data)
	until(t, "up once more", func() bool { return strings.Contains(out.String(), "Stop it with Ctrl-C") })
	for _, id := range processes(t, filepath.Join(data, loggersDir, "enge")) {
		if err := syscall.Kill(id, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if got := exitStatus(c.Wait()); got != 1 || !strings.Contains(out.String(), "Station Skjern Enge stopped (signal: killed)") {
		t.Errorf("a datalogger was killed: status %d\n%s", got, out.String())
	}
	none(t, data)

	// Interrupted before it was up, or before its time.
	early := filepath.Join(t.TempDir(), "demo")
	for _, at := range []string{"keys, certificates", "dataloggers\n", "stops by itself"} {
		c, out = start(t, early, "--seconds", "60")
		until(t, at, func() bool { return strings.Contains(out.String(), at) })
		if err := c.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if got := exitStatus(c.Wait()); got != lh.Unavailable.ExitStatus() || !strings.Contains(out.String(), "interrupted") || lastLine.MatchString(out.String()) {
			t.Errorf("interrupted at %q: status %d\n%s", at, got, out.String())
		}
		none(t, early)
	}
	c, out = start(t, early, "--seconds", "1")
	if err := c.Wait(); err != nil {
		t.Errorf("after interruptions: %v\n%s", err, out.String())
	}
	numbers(t, out.String())
}

// TestInterruptedWhileReadingBack: the check is not skipped silently.
func TestInterruptedWhileReadingBack(t *testing.T) {
	t.Parallel()
	var out output
	o := options(t, &out)
	o.Duration = time.Second
	ctx, cancel := context.WithCancel(t.Context())
	o.beforeCheck = func(*demo) error { cancel(); return nil }
	if err := Run(ctx, o); err == nil || lastLine.MatchString(out.String()) {
		t.Errorf("%v\n%s", err, out.String())
	}
	none(t, o.Data)
}
