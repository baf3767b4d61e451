//go:build linux

package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/loggerhead-cloud/loggerhead/internal/image"
)

var built struct {
	sync.Once
	dir string
	err error
}

func TestMain(m *testing.M) {
	status := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(status)
}

// binaries builds the real stage1, as it is released, and the program it shall start; once.
func binaries(t testing.TB) (stage1, program string) {
	t.Helper()
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "stage1-test-"); built.err != nil {
			return
		}
		for out, pkg := range map[string]string{"stage1": ".", "program": "./testdata/program"} {
			cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(built.dir, out), pkg)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if msg, err := cmd.CombinedOutput(); err != nil {
				built.err = fmt.Errorf("build %s: %w: %s", pkg, err, msg)
				return
			}
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "stage1"), filepath.Join(built.dir, "program")
}

// device is a folder with an image, a key and a state, and how stage1 is called on it.
type device struct {
	dir, stage1 string
	key         crypto.Signer
	payload     []byte
	args        []string // of stage1, but for --image
}

const hardware = "lh-sim-1"

func newDevice(t testing.TB) *device {
	t.Helper()
	stage1, program := binaries(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	d := &device{dir: t.TempDir(), stage1: stage1, key: key, payload: payload}
	d.write(t, "key.pem", publicPEM(t, key))
	if err := os.Mkdir(d.path("state"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := image.RaiseCounter(d.path("state"), 5); err != nil {
		t.Fatal(err)
	}
	d.args = []string{"--key", d.path("key.pem"), "--hardware", hardware, "--state", d.path("state")}
	return d
}

func publicPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func (d *device) path(name string) string { return filepath.Join(d.dir, name) }

func (d *device) write(t testing.TB, name string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(d.path(name), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return d.path(name)
}

func (d *device) sign(t testing.TB, change func(*image.SignOptions)) []byte {
	t.Helper()
	o := image.SignOptions{Key: d.key, Hardware: hardware, Counter: 5, Version: image.Version{Major: 1}}
	if change != nil {
		change(&o)
	}
	b, err := image.Sign(d.payload, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type outcome struct {
	status, pid    int
	stdout, stderr string
	ran            bool
}

func (d *device) boot(t testing.TB, args ...string) outcome {
	t.Helper()
	mark := d.path("ran")
	if err := os.Remove(mark); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var out, msg bytes.Buffer
	cmd := exec.Command(d.stage1, args...)
	cmd.Env = []string{"RAN=" + mark, "COLOUR=brun æøå", "EMPTY="}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("from outside"), &out, &msg
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	_, statErr := os.Stat(mark)
	return outcome{cmd.ProcessState.ExitCode(), cmd.Process.Pid, out.String(), msg.String(), statErr == nil}
}

// refuse boots and expects the status, one line that holds the words, and that nothing ran.
func (d *device) refuse(t *testing.T, name string, status int, words string, args ...string) {
	t.Helper()
	got := d.boot(t, args...)
	if got.ran || got.stdout != "" {
		t.Errorf("%s: IT RAN", name)
	}
	if got.status != status || !strings.Contains(got.stderr, words) || !strings.HasPrefix(got.stderr, "loggerhead-stage1: ") {
		t.Errorf("%s: status %d, want %d with %q: %s", name, got.status, status, words, got.stderr)
	}
	if lines := strings.Count(got.stderr, "\n"); status != exitUsage && lines != 1 {
		t.Errorf("%s: %d lines: %s", name, lines, got.stderr)
	}
}

func (d *device) with(img string) []string { return append([]string{"--image", img}, d.args...) }

func TestRunsWhatItVerified(t *testing.T) {
	d := newDevice(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	second := d.write(t, "second.pem", publicPEM(t, ed))
	img := d.write(t, "slot", d.sign(t, nil))
	for name, data := range map[string][]byte{
		"ECDSA":           d.sign(t, nil),
		"Ed25519":         d.sign(t, func(o *image.SignOptions) { o.Key = ed }),
		"pure Ed25519":    d.sign(t, func(o *image.SignOptions) { o.Key, o.Pure = ed, true }),
		"a later counter": d.sign(t, func(o *image.SignOptions) { o.Counter = 1000 }),
		"padded slot":     append(d.sign(t, nil), bytes.Repeat([]byte{0xff}, 5000)...),
	} {
		d.write(t, "slot", data)
		args := append(d.with(img), "--key="+second, "--", "run", "--key", "", "two words", "--")
		got := d.boot(t, args...)
		if got.status != 0 || !got.ran || got.stderr != "" {
			t.Errorf("%s: status %d: %s", name, got.status, got.stderr)
			continue
		}
		var p struct {
			Args, Env, Open []string
			Pid, Seals      int
			Exe, Stdin      string
		}
		if err := json.Unmarshal([]byte(got.stdout), &p); err != nil {
			t.Fatal(err, got.stdout)
		}
		if want := []string{img, "run", "--key", "", "two words", "--"}; !slices.Equal(p.Args, want) {
			t.Errorf("%s: arguments %q, want %q", name, p.Args, want)
		}
		if want := []string{"RAN=" + d.path("ran"), "COLOUR=brun æøå", "EMPTY="}; !slices.Equal(p.Env, want) {
			t.Errorf("%s: environment %q, want %q", name, p.Env, want)
		}
		if p.Pid != got.pid || p.Stdin != "from outside" || len(p.Open) != 0 {
			t.Errorf("%s: process %d instead of %d, stdin %q, open %q", name, p.Pid, got.pid, p.Stdin, p.Open)
		}
		if !strings.HasPrefix(p.Exe, "/memfd:") || p.Seals&seals != seals {
			t.Errorf("%s: runs from %s, seals %#x", name, p.Exe, p.Seals)
		}
	}
	d.write(t, "slot", d.sign(t, nil))
	if got := d.boot(t, append(d.with(img), "--", "fail")...); got.status != 7 || got.stderr != "program: told to fail\n" {
		t.Errorf("the program's own end is lost: %+v", got)
	}
	if n, err := image.LoadCounter(d.path("state")); err != nil || n != 5 {
		t.Errorf("the counter is %d now, %v: only a confirmed image may raise it", n, err)
	}
}

// TestFlippedBytes damages one byte at a time: all of the header, all behind the payload, and samples within it.
func TestFlippedBytes(t *testing.T) {
	d := newDevice(t)
	data := d.sign(t, nil)
	img := d.write(t, "slot", data)
	f, err := os.OpenFile(img, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var offsets []int
	for i := range 32 {
		offsets = append(offsets, i)
	}
	for i := 0; i < 40; i++ {
		offsets = append(offsets, 32+i*(len(d.payload)-1)/39)
	}
	for i := 32 + len(d.payload); i < len(data); i += 3 {
		offsets = append(offsets, i)
	}
	for _, i := range append(offsets, len(data)-1) {
		if _, err := f.WriteAt([]byte{data[i] ^ 0x10}, int64(i)); err != nil {
			t.Fatal(err)
		}
		if got := d.boot(t, d.with(img)...); got.ran || got.status < exitFormat || got.status > exitRollback {
			t.Errorf("byte %d flipped: ran %v, status %d: %s", i, got.ran, got.status, got.stderr)
		}
		if _, err := f.WriteAt(data[i:i+1], int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := d.boot(t, d.with(img)...); !got.ran {
		t.Errorf("restored, it does not run: %s", got.stderr)
	}
}

func TestRefuses(t *testing.T) {
	d := newDevice(t)
	good := d.sign(t, nil)
	img := d.write(t, "slot", good)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := os.ReadFile("../../internal/image/testdata/unsigned.img")
	if err != nil {
		t.Fatal(err)
	}
	encrypted := bytes.Clone(good)
	encrypted[16] |= 4
	for _, c := range []struct {
		name   string
		data   []byte
		status int
		words  string
	}{
		{"older counter", d.sign(t, func(o *image.SignOptions) { o.Counter = 4 }), exitRollback, "its security counter is 4, at least 5"},
		{"other hardware", d.sign(t, func(o *image.SignOptions) { o.Hardware = "lh-sim-2" }), exitHardware, "it is for lh-sim-2, this is lh-sim-1"},
		{"foreign key", d.sign(t, func(o *image.SignOptions) { o.Key = other }), exitSignature, "not one of the 1 trusted"},
		{"unsigned", unsigned, exitSignature, "not signed at all"},
		{"signature of another image", append(bytes.Clone(good[:len(good)-80]), d.sign(t, func(o *image.SignOptions) { o.Counter = 6 })[len(good)-80:]...), exitFormat, ""},
		{"dependency", d.sign(t, func(o *image.SignOptions) { o.Dependencies = []image.Dependency{{Image: 1}} }), exitDependency, "needs another image"},
		{"encrypted", encrypted, exitFormat, "encrypted"},
		{"cut at the end", good[:len(good)-1], exitFormat, "TLV"},
		{"cut in half", good[:len(good)/2], exitFormat, "cut short"},
		{"header only", good[:32], exitFormat, "cut short"},
		{"empty", nil, exitFormat, "no image header"},
		{"bare program", d.payload, exitFormat, "no image header"},
		{"erased flash", bytes.Repeat([]byte{0xff}, 4096), exitFormat, "no image header"},
	} {
		d.write(t, "slot", c.data)
		if c.status == exitFormat && c.words == "" { // the two may differ in the length of the signature
			if got := d.boot(t, d.with(img)...); got.ran || got.status != exitFormat && got.status != exitSignature {
				t.Errorf("%s: ran %v, status %d: %s", c.name, got.ran, got.status, got.stderr)
			}
			continue
		}
		d.refuse(t, c.name, c.status, c.words, d.with(img)...)
	}

	d.write(t, "slot", good)
	link := d.path("link")
	if err := os.Symlink(img, link); err != nil {
		t.Fatal(err)
	}
	pipe := d.path("pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	large := d.write(t, "large", good)
	if err := os.Truncate(large, image.MaxSize+1); err != nil {
		t.Fatal(err)
	}
	d.refuse(t, "symbolic link", exitUnreadable, "symbolic link", d.with(link)...)
	d.refuse(t, "pipe", exitUnreadable, "not a plain file", d.with(pipe)...)
	d.refuse(t, "folder", exitUnreadable, "not a plain file", d.with(d.dir)...)
	d.refuse(t, "device", exitUnreadable, "not a plain file", d.with("/dev/zero")...)
	d.refuse(t, "missing", exitUnreadable, "no such file", d.with(d.path("none"))...)
	d.refuse(t, "too large", exitUnreadable, "at most", d.with(large)...)

	script := d.payload
	d.payload = []byte("#!/bin/sh\ntouch $RAN\n")
	d.refuse(t, "script", exitStart, "not a Linux program", d.with(d.write(t, "script", d.sign(t, nil)))...)
	d.payload = append([]byte("\x7fELF"), make([]byte, 100)...)
	d.refuse(t, "no program of this machine", exitStart, "exec format error", d.with(d.write(t, "noelf", d.sign(t, nil)))...)
	d.payload = script
}

func TestRefusesSettings(t *testing.T) {
	d := newDevice(t)
	img := d.write(t, "slot", d.sign(t, nil))
	key, state := d.path("key.pem"), d.path("state")
	broken := d.write(t, "broken.pem", []byte("-----BEGIN PUBLIC KEY-----\n"))
	link := d.path("link.pem")
	if err := os.Symlink(key, link); err != nil {
		t.Fatal(err)
	}
	args := func(key, hardware, state string) []string {
		return []string{"--image", img, "--key", key, "--hardware", hardware, "--state", state}
	}
	d.refuse(t, "no key file", exitSetting, "no such file", args(d.path("none"), hardware, state)...)
	d.refuse(t, "broken key", exitSetting, "broken.pem", args(broken, hardware, state)...)
	d.refuse(t, "one good key, one broken", exitSetting, "broken.pem", append(args(key, hardware, state), "--key", broken)...)
	d.refuse(t, "key behind a link", exitSetting, "symbolic link", args(link, hardware, state)...)
	d.refuse(t, "no state", exitSetting, "no such file", args(key, hardware, d.path("none"))...)
	d.refuse(t, "state is a file", exitSetting, "not a folder", args(key, hardware, img)...)
	d.refuse(t, "hardware", exitHardware, "this is lh-sim-2", args(key, "lh-sim-2", state)...)
	d.refuse(t, "odd hardware", exitHardware, "printable", args(key, "lh sim", state)...)

	good := args(key, hardware, state)
	d.refuse(t, "nothing", exitUsage, "usage:")
	for i := 0; i < len(good); i += 2 {
		d.refuse(t, "without "+good[i], exitUsage, "are needed", slices.Delete(slices.Clone(good), i, i+2)...)
		d.refuse(t, "no value of "+good[i], exitUsage, "needs a value", slices.Replace(slices.Clone(good), i, i+2, good[i]+"=")...)
		if good[i] != "--key" {
			d.refuse(t, "twice "+good[i], exitUsage, "twice", append(slices.Clone(good), good[i], good[i+1])...)
		}
	}
	d.refuse(t, "value missing at the end", exitUsage, "needs a value", append(good, "--key")...)
	d.refuse(t, "unknown flag", exitUsage, "not a flag", append(good, "--verbose")...)
	d.refuse(t, "argument without --", exitUsage, "not a flag", append(good, "run")...)
	d.refuse(t, "too many keys", exitUsage, "1 to 16 --key", append(good, slices.Repeat([]string{"--key", key}, 16)...)...)

	d.write(t, "state/counter", []byte("loggerhead-counter-1 0 00000000\n"))
	d.refuse(t, "damaged counter", exitSetting, "damaged", good...)
	if err := os.Remove(d.path("state/counter")); err != nil {
		t.Fatal(err)
	}
	if got := d.boot(t, good...); !got.ran {
		t.Errorf("without a stored counter it does not run: %s", got.stderr)
	}
}

// TestSize holds stage1 small: it is the part that every device must trust.
func TestSize(t *testing.T) {
	stage1, _ := binaries(t)
	st, err := os.Stat(stage1)
	if err != nil {
		t.Fatal(err)
	}
	if st.Size() > 3_500_000 {
		t.Errorf("stage1 has %d bytes", st.Size())
	}
}

// BenchmarkBoot is the time from the start of stage1 to the end of a program of 10 MB that does next to nothing; the
// other is the same program started by itself.
func BenchmarkBoot(b *testing.B) {
	d := newDevice(b)
	d.payload = append(d.payload, make([]byte, 10<<20-len(d.payload))...)
	img := d.write(b, "slot", d.sign(b, nil))
	bare := d.write(b, "bare", d.payload)
	if err := os.Chmod(bare, 0o755); err != nil {
		b.Fatal(err)
	}
	b.Run("stage1", func(b *testing.B) {
		for b.Loop() {
			if msg, err := exec.Command(d.stage1, d.with(img)...).CombinedOutput(); err != nil {
				b.Fatal(err, string(msg))
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			if msg, err := exec.Command(bare).CombinedOutput(); err != nil {
				b.Fatal(err, string(msg))
			}
		}
	})
}
