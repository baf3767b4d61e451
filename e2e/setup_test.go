package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loggerhead-cloud/loggerhead/client"
	"github.com/loggerhead-cloud/loggerhead/internal/pki"
	"github.com/loggerhead-cloud/loggerhead/internal/pki/pkitest"
)

var ctx = context.Background()

const password = "correct horse battery"

// programs is the folder of the programs under test.
var programs string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

// run builds the programs as they are shipped, without the race detector, and runs the tests.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "loggerhead-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-race=false", "-o", dir, "../cmd/loggerhead", "../cmd/loggerhead-agent")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		return 1
	}
	programs = dir
	return m.Run()
}

// installation is a hub's folder; its process comes and goes.
type installation struct {
	t     *testing.T
	dir   string
	roots *x509.CertPool
	root  *x509.Certificate
	admin string // the owner's address
}

// install makes an installation by the program itself, on free ports of loopback.
func install(t *testing.T, database string) *installation {
	t.Helper()
	in := &installation{t: t, dir: t.TempDir(), roots: x509.NewCertPool(), admin: "owner@a.example"}
	in.command(nil, "init", ".", "--database", database)
	path := filepath.Join(in.dir, "loggerhead.yaml")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^(\s+listen:) .*$`).ReplaceAll(b, []byte("$1 127.0.0.1:0"))
	text = regexp.MustCompile(`(?m)^(\s+fold_age:) .*$`).ReplaceAll(text, []byte("$1 200ms"))
	text = regexp.MustCompile(`(?m)^(\s+format:) .*$`).ReplaceAll(text, []byte("$1 json"))
	if bytes.Count(text, []byte("127.0.0.1:0")) != 4 || !bytes.Contains(text, []byte("fold_age: 200ms")) || !bytes.Contains(text, []byte("format: json")) {
		t.Fatalf("the configuration is not as expected:\n%s", text)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.ReadFile(filepath.Join(in.dir, "root.pem"))
	if err != nil || !in.roots.AppendCertsFromPEM(root) {
		t.Fatal(err)
	}
	if in.root, err = pki.ParseCertPEM(root); err != nil {
		t.Fatal(err)
	}
	in.command(strings.NewReader(password+"\n"), "user", "add", in.admin)
	return in
}

// command runs the hub's program and returns what it printed.
func (in *installation) command(stdin io.Reader, args ...string) string {
	in.t.Helper()
	c, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(c, filepath.Join(programs, "loggerhead"), args...)
	cmd.Dir, cmd.Stdin = in.dir, stdin
	out, err := cmd.CombinedOutput()
	if err != nil {
		in.t.Fatalf("loggerhead %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// hub is a running `loggerhead serve`.
type hub struct {
	cmd                            *exec.Cmd
	People, Devices, MQTT, Private string
	log                            *lines
	done                           chan struct{} // closed when the process has ended
	err                            error         // of its end
}

// lines keeps what a process says.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) add(line string) { l.mu.Lock(); defer l.mu.Unlock(); l.b.WriteString(line + "\n") }
func (l *lines) String() string  { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// serve starts the hub and waits until it is up.
func (in *installation) serve() *hub {
	in.t.Helper()
	h := &hub{cmd: exec.Command(filepath.Join(programs, "loggerhead"), "serve"), log: &lines{}, done: make(chan struct{})}
	h.cmd.Dir = in.dir
	stderr, err := h.cmd.StderrPipe()
	if err != nil {
		in.t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		in.t.Fatal(err)
	}
	up := make(chan struct{})
	go func() {
		for s := bufio.NewScanner(stderr); s.Scan(); {
			h.log.add(s.Text())
			var said struct{ Msg string }
			if json.Unmarshal(s.Bytes(), &said) == nil && said.Msg == "hub is up" {
				json.Unmarshal(s.Bytes(), h) // the addresses; what is wrong with them shows at once
				close(up)
			}
		}
		h.err = h.cmd.Wait()
		close(h.done)
	}()
	in.t.Cleanup(h.kill)
	select {
	case <-up:
	case <-h.done:
		in.t.Fatalf("the hub ends at its start: %v\n%s", h.err, h.log)
	case <-time.After(30 * time.Second):
		in.t.Fatalf("the hub does not come up:\n%s", h.log)
	}
	return h
}

// kill ends the hub with SIGKILL: what it holds in memory is gone.
func (h *hub) kill() {
	h.cmd.Process.Kill() // it may have ended
	<-h.done
}

// stop asks the hub to end.
func (h *hub) stop() error {
	if err := h.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case <-h.done:
		return h.err
	case <-time.After(30 * time.Second):
		return errors.New("the hub does not stop")
	}
}

// logIn returns a client of somebody.
func (in *installation) logIn(h *hub, email string) *client.Client {
	in.t.Helper()
	c, err := client.New("https://"+h.People, client.Options{Roots: in.roots})
	if err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(c.Close)
	if _, err := c.LogIn(ctx, email, password); err != nil {
		in.t.Fatal(err)
	}
	return c
}

// claim lists a device and claims it; it returns its claim code.
func (in *installation) claim(c *client.Client, project, serial string) (client.Device, string) {
	in.t.Helper()
	out := in.command(nil, "inventory", "add", serial)
	code := regexp.MustCompile(`[0-9A-Z]{4}(-[0-9A-Z]{4}){4}`).FindString(out)
	if code == "" {
		in.t.Fatalf("no claim code: %s", out)
	}
	d, err := c.ClaimDevice(ctx, project, client.Claim{Serial: serial, ClaimCode: code, Name: "Logger " + serial, MaxOffline: 60})
	if err != nil {
		in.t.Fatal(err)
	}
	return d, code
}

// device is a datalogger with its identity.
type device struct {
	*pkitest.Device
	t  *testing.T
	id string
}

// enrol claims and enrols a device, by EST as loggers do.
func (in *installation) enrol(h *hub, c *client.Client, project, serial string) *device {
	in.t.Helper()
	claimed, code := in.claim(c, project, serial)
	return &device{pkitest.Enrol(in.t, h.Devices, in.root, serial, code), in.t, claimed.ID}
}
