package agent_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is the real program, running.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan error
}

func (l *logger) exec(args ...string) *process {
	l.t.Helper()
	path, err := program()
	if err != nil {
		l.t.Fatal(err)
	}
	p := &process{t: l.t, cmd: exec.Command(path, append(args, "--config", l.config())...), done: make(chan error, 1)}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = l.dir, l.said, l.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	l.t.Cleanup(p.kill)
	return p
}

// kill ends the process as a power cut would. A second one does nothing.
func (p *process) kill() {
	if p.done != nil {
		p.cmd.Process.Kill() // it may have ended
		<-p.done
		p.done = nil
	}
}

// stop asks the process to end and expects that it does, well.
func (p *process) stop() {
	p.t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.done:
		p.done = nil
		if err != nil {
			p.t.Errorf("the agent ended with %v", err)
		}
	case <-time.After(15 * time.Second):
		p.t.Errorf("the agent does not end")
		p.kill()
	}
	p.t.Logf("stopped in %s", time.Since(began).Round(time.Millisecond))
}

// TestKill9 kills the real program at random moments while it enrols, samples and uploads, with a hub and without. It goes on where it stopped: its
// records are numbered without a hole, and the hub has each of them once.
func TestKill9(t *testing.T) {
	h := startHub(t)
	l := h.newLogger("T-1", simulator+"  - {type: file, interval: 100ms, file: {path: /proc/sys/kernel/pid_max, key: 9/pid_max}}\n", "upload: {max_backoff: 1s, max_records: 50}")
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	for n := range rounds {
		switch n { // for a third of the time there is no hub, so that much is unacknowledged
		case rounds / 3:
			h.stop()
		case 2 * rounds / 3:
			h.run()
			h.logIn()
		}
		p := l.exec("run")
		time.Sleep(time.Duration(200+rand.IntN(700)) * time.Millisecond) // when the power goes, not a thing to wait for
		p.kill()
	}
	_, records, acked := l.ownLog()
	t.Logf("after %d kills: %d records, %d known to be at the hub", rounds, records, acked)
	p := l.exec("run")
	until(t, "all acknowledged", func() bool { s := l.status(); return s.Process != 0 && s.Uplink.Records > 0 })
	p.stop()
	_, after, _ := l.ownLog()
	if records == 0 || after <= records {
		t.Errorf("%d records before the last run, %d after it", records, after)
	}
	l.sameAtHub()
	if n := strings.Count(l.said.String(), "msg=enrolled"); n > 1 { // 0: it was killed between having and saying it
		t.Errorf("it enrolled %d times", n)
	}
}

// TestNoListener looks at the sockets of the real program while its sessions are up: it listens on nothing, in TCP and
// in UDP.
func TestNoListener(t *testing.T) {
	h := startHub(t)
	l := h.newLogger("T-1", simulator, "")
	p := l.exec("run")
	until(t, "both ways up", func() bool { return l.said.has("session is up") && l.said.has("the hub knows this device") })
	connected := 0
	for range 20 {
		open := socketsOf(t, p.cmd.Process.Pid)
		for _, s := range open {
			if s.listens {
				t.Errorf("the agent listens: %s", s.line)
			}
		}
		connected = max(connected, len(open))
		time.Sleep(20 * time.Millisecond) // to see it at different moments
	}
	if connected == 0 {
		t.Error("the agent has no socket at all; the test looks in the wrong place")
	}
	if rss := memory(t, p.cmd.Process.Pid); rss > 64<<10 {
		t.Errorf("the agent takes %d KiB", rss)
	} else {
		t.Logf("the agent takes %d KiB", rss)
	}
	p.stop()
}

type socket struct {
	listens bool
	line    string
}

// socketsOf finds a process's TCP and UDP sockets: the inodes among its open files, in the kernel's tables.
func socketsOf(t *testing.T, pid int) (found []socket) {
	t.Helper()
	mine := map[string]bool{}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name())); err == nil && strings.HasPrefix(to, "socket:[") {
			mine[strings.Trim(to, "socket:[]")] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			continue // a kernel without IPv6
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 10 || !mine[f[9]] {
				continue
			}
			const listening, unconnected = "0A", "07"
			found = append(found, socket{f[3] == listening || strings.HasPrefix(table, "udp") && f[3] == unconnected, table + " " + strings.TrimSpace(line)})
		}
	}
	return found
}

// memory is the process's resident memory in KiB.
func memory(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// TestOneProcess starts a second agent on the same folder, and the commands that a person uses.
func TestOneProcess(t *testing.T) {
	h := startHub(t)
	l := h.newLogger("T-1", simulator, "")
	run := func(args ...string) (string, int) {
		t.Helper()
		path, err := program()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.Command(path, append(args, "--config", l.config())...)
		out, err := c.CombinedOutput()
		if err != nil && c.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), c.ProcessState.ExitCode()
	}
	if out, status := run("status"); status != 4 || !strings.Contains(out, "no agent has run") {
		t.Errorf("status: %d %s", status, out)
	}
	out, status := run("enrol")
	if status != 0 || !strings.Contains(out, "dev_") {
		t.Fatalf("enrol: %d %s", status, out)
	}
	id := strings.TrimSpace(out[strings.LastIndex(out, "dev_"):])
	if out, status := run("enrol"); status != 0 || !strings.Contains(out, id) {
		t.Errorf("a second enrol: %d %s", status, out)
	}
	p := l.exec("run")
	until(t, "status", func() bool { return l.status().Samples.Acked > 0 })
	if out, status := run("run"); status != 5 || !strings.Contains(out, "another loggerhead-agent is running") {
		t.Errorf("a second run: %d %s", status, out)
	}
	if out, status := run("log"); status != 5 {
		t.Errorf("log beside run: %d %s", status, out)
	}
	if out, status := run("status"); status != 0 || !strings.Contains(out, id) || !strings.Contains(out, "process "+strconv.Itoa(p.cmd.Process.Pid)) {
		t.Errorf("status: %d %s", status, out)
	}
	p.stop()
	if out, status := run("log"); status != 0 || !strings.Contains(out, "1/water_level") || strings.Contains(out, "false") {
		t.Errorf("log: %d %.500s", status, out)
	}
	if out, status := run("status"); status != 0 || !strings.Contains(out, "stopped at") {
		t.Errorf("status: %d %s", status, out)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "agent.yaml"), []byte("serial: x\nnonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, status := run("run"); status != 2 || !strings.Contains(out, "nonsense") {
		t.Errorf("a wrong configuration: %d %s", status, out)
	}
}
