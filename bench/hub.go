package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// hub is a `loggerhead serve` on an installation; its process changes when it is started again.
type hub struct {
	b      *bench
	config string
	logs   string // file
	*process
}

type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // after done

	people, devices, mqtt, private string // where it listens
}

// buildHub builds the hub of this tree, unless one was given.
func (b *bench) buildHub(ctx context.Context) error {
	if b.hub != "" {
		return nil
	}
	b.hub = filepath.Join(b.dir, "loggerhead")
	b.say("building the hub")
	c := exec.CommandContext(ctx, "go", "build", "-o", b.hub, "github.com/loggerhead-cloud/loggerhead/cmd/loggerhead")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build the hub: %w\n%s", err, out)
	}
	return nil
}

// startHub starts a hub on an installation and waits until it listens.
func (b *bench) startHub(ctx context.Context, config string) (*hub, error) {
	h := &hub{b: b, config: config, logs: filepath.Join(b.dir, "hub.log")}
	return h, h.start(ctx)
}

func (h *hub) start(ctx context.Context) error {
	p := &process{done: make(chan struct{})}
	h.process = p
	logs, err := os.OpenFile(h.logs, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	p.cmd = exec.Command(h.b.hub, "serve", "--config", h.config)
	pipe, err := p.cmd.StderrPipe()
	if err != nil {
		return errors.Join(err, logs.Close())
	}
	p.cmd.Stdout = logs
	if err := p.cmd.Start(); err != nil {
		return errors.Join(err, logs.Close())
	}
	up := make(chan struct{})
	go func() {
		defer close(p.done)
		told := false
		lines := bufio.NewScanner(pipe)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var l struct{ Msg, People, Devices, MQTT, Private string }
			if !told && json.Unmarshal(lines.Bytes(), &l) == nil && l.Msg == "hub is up" {
				p.people, p.devices, p.mqtt, p.private, told = l.People, l.Devices, l.MQTT, l.Private, true
				close(up)
			}
			fmt.Fprintln(logs, lines.Text())
		}
		io.Copy(logs, pipe) // what a scanner would not take
		p.err = errors.Join(p.cmd.Wait(), logs.Close())
	}()
	select {
	case <-up:
		return nil
	case <-p.done:
		return fmt.Errorf("the hub did not start: %w\n%s", p.err, h.tail())
	case <-time.After(30 * time.Second):
	case <-ctx.Done():
	}
	return errors.Join(errors.New("the hub did not say that it is up"), h.kill())
}

// stop ends the hub as an operator would; it folds what it has. A hub that does not go is killed, which is an error.
func (h *hub) stop() error {
	select {
	case <-h.done:
		return fmt.Errorf("the hub ended by itself: %w\n%s", h.err, h.tail())
	default:
	}
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return errors.Join(err, h.kill())
	}
	select {
	case <-h.done:
		if h.err != nil {
			return fmt.Errorf("the hub stopped with: %w\n%s", h.err, h.tail())
		}
		return nil
	case <-time.After(45 * time.Second):
		return errors.Join(errors.New("the hub did not stop within 45 s"), h.kill())
	}
}

func (h *hub) kill() error {
	if err := h.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-h.done
	return nil
}

// tail returns the end of the hub's log.
func (h *hub) tail() string {
	b, err := os.ReadFile(h.logs)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-2000):])
}

// cpu returns the processor time the hub has used, by the kernel's count (proc(5), 100 a second).
func (h *hub) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 13 {
		return 0, errors.New("/proc/*/stat cannot be read")
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// memory returns a field of /proc/*/status in bytes: VmRSS is what the hub holds, VmHWM the most it ever held.
func (h *hub) memory(field string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, field+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/*/status has no %s", field)
}

// settled returns the hub's memory after collections, once it stays the same within half a percent, or after most.
func (h *hub) settled(ctx context.Context, most time.Duration) (int64, error) {
	end := time.Now().Add(most)
	before := int64(0)
	for {
		if _, err := h.get(ctx, "/debug/pprof/heap?gc=1"); err != nil {
			return 0, err
		}
		rss, err := h.memory("VmRSS")
		if err != nil {
			return 0, err
		}
		if max(rss-before, before-rss) < rss/200 || time.Now().After(end) {
			return rss, nil
		}
		before = rss
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// get reads a page of the private listener.
func (h *hub) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+h.private+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return b, err
}

// value returns one of the hub's own metrics.
func (h *hub) value(ctx context.Context, name string) (float64, error) {
	b, err := h.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
	}
	return 0, fmt.Errorf("the hub has no metric %s", name)
}

// folded waits until no upload waits for a fold.
func (h *hub) folded(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("uploads were not folded within 2 minutes"))
	defer cancel()
	for {
		v, err := h.value(ctx, "loggerhead_series_backlog_bytes")
		if err != nil {
			return err
		}
		if v == 0 {
			return nil
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return err
		}
	}
}

// profile takes a CPU profile while a step runs and a heap profile when it ends, where profiles are asked for.
func (h *hub) profile(ctx context.Context, name string) (finish func()) {
	if h.b.profiles == "" {
		return func() {}
	}
	save := func(kind, path string) {
		p, err := h.get(ctx, path)
		if err == nil {
			err = os.WriteFile(filepath.Join(h.b.profiles, name+"."+kind+".pprof"), p, 0o644)
		}
		if err != nil {
			h.b.say("no %s profile of %s: %v", kind, name, err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		save("cpu", "/debug/pprof/profile?seconds=8")
	}()
	return func() {
		save("heap", "/debug/pprof/heap")
		save("allocs", "/debug/pprof/allocs")
		<-done
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
