package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// terminal opens a pseudo-terminal: what is written to keyboard is typed, what is read from it is on the screen.
func terminal(t *testing.T) (keyboard, line *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	keyboard = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { keyboard.Close() })
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	line, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { line.Close() })
	return keyboard, line
}

// typist answers each prompt that is written to it by typing the next line, once echo is off.
type typist struct {
	t        *testing.T
	keyboard *os.File
	lines    []string
	prompts  bytes.Buffer
}

func (p *typist) Write(b []byte) (int, error) {
	p.prompts.Write(b)
	if strings.HasSuffix(string(b), ": ") {
		next := p.lines[0]
		p.lines = p.lines[1:]
		go func() {
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				s, err := unix.IoctlGetTermios(int(p.keyboard.Fd()), unix.TCGETS)
				if err == nil && s.Lflag&unix.ECHO == 0 {
					break
				}
				if time.Now().After(deadline) {
					p.t.Error("the terminal still echoes what is typed")
					break
				}
			}
			fmt.Fprintln(p.keyboard, next)
		}()
	}
	return len(b), nil
}

func TestPasswordFromTerminal(t *testing.T) {
	for _, c := range []struct {
		lines []string
		code  lh.Code
	}{
		{[]string{"correct horse battery", "correct horse battery"}, ""},
		{[]string{"correct horse battery", "correct horse bakery"}, lh.Invalid},
		{[]string{""}, lh.Invalid},
	} {
		keyboard, line := terminal(t)
		typed := &typist{t: t, keyboard: keyboard, lines: c.lines}
		got, err := passwordSource{}.read(program{stdin: line, stderr: typed})
		if lh.CodeOf(err) != c.code || err == nil && got != c.lines[0] {
			t.Errorf("%q: %q, %v", c.lines, got, err)
		}
		if p := typed.prompts.String(); !strings.Contains(p, "Password: ") || strings.Contains(p, "Again: ") != (len(c.lines) == 2) {
			t.Errorf("prompts: %q", p)
		}
		s, err := unix.IoctlGetTermios(int(line.Fd()), unix.TCGETS)
		if err != nil || s.Lflag&unix.ECHO == 0 {
			t.Errorf("the terminal is left without echo: %v", err)
		}
	}
}
