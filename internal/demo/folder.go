package demo

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/durable"
)

// What is in a demo's folder.
const (
	lockFile   = "demo.lock" // also marks the folder as a demo's
	loginsFile = "log-ins.txt"
	hubDir     = "hub"
	loggersDir = "loggers"
	logsDir    = "logs"
	hubLog     = "hub.log"
)

const (
	minFree = 200 << 20 // bytes
	maxLog  = 8 << 20   // an older log larger than this is begun anew
)

func pid() int { return os.Getpid() }

// checkAgent refuses what cannot be run as a datalogger.
func checkAgent(path string) error {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return lh.Errorf(lh.NotFound, "there is no loggerhead-agent at %s; `make build` makes it, or name it with --agent", path)
	}
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0 {
		return lh.Errorf(lh.Invalid, "%s is not a program", path)
	}
	return nil
}

// check finds out early whether a port is in use.
func (p Ports) check() error {
	for _, l := range []struct {
		port uint16
		flag string
	}{{p.People, "--people-port"}, {p.MQTT, "--mqtt-port"}, {p.Devices, "--devices-port"}, {p.Private, "--private-port"}} {
		c, err := net.Listen("tcp", address(l.port))
		if errors.Is(err, unix.EADDRINUSE) {
			return lh.Errorf(lh.Conflict, "port %d is in use by another program (another demo?); stop that, or choose another port with %s", l.port, l.flag)
		}
		if err != nil {
			return lh.Errorf(lh.Conflict, "cannot listen on port %d (%v); choose another with %s", l.port, errors.Unwrap(err), l.flag)
		}
		if err := c.Close(); err != nil {
			return err
		}
	}
	return nil
}

func address(port uint16) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// openFolder makes the demo's folder, or opens one that a demo made, and keeps other demos out until unlock.
func openFolder(dir string, free func(string) (uint64, error)) (unlock func() error, err error) {
	at := dir
	for {
		if st, err := os.Stat(at); err == nil && !st.IsDir() {
			return nil, lh.Errorf(lh.Invalid, "%s is not a folder", at)
		} else if err == nil || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	n, err := free(at)
	if err != nil {
		return nil, fmt.Errorf("ask for free space in %s: %w", at, err)
	}
	if n < minFree {
		return nil, lh.Errorf(lh.Exhausted, "there are only %d MiB free in %s; the demo needs %d MiB: free some, or name another folder with --data", n>>20, at, minFree>>20)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &lh.Error{Code: lh.Invalid, Message: "make the demo's folder: " + err.Error()}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	lock := filepath.Join(dir, lockFile)
	if _, err := os.Lstat(lock); err != nil && len(entries) > 0 {
		return nil, lh.Errorf(lh.Conflict, "%s is not empty and not a demo's folder; name another with --data", dir)
	}
	f, err := os.OpenFile(lock, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the demo's folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = lh.Errorf(lh.Conflict, "another demo runs on the folder %s", dir)
		}
		return nil, errors.Join(err, f.Close())
	}
	for _, sub := range []string{hubDir, loggersDir, logsDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f.Close, nil // closing unlocks; so does the end of the process
}

func freeSpace(path string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// openLog opens a log file to append to.
func (d *demo) openLog(name string) (*os.File, error) {
	path := filepath.Join(d.dir, logsDir, name)
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if st, err := os.Stat(path); err == nil && st.Size() > maxLog {
		flags |= os.O_TRUNC
	}
	return os.OpenFile(path, flags, 0o600)
}

// login is a person of the demo.
type login struct{ role, name, email, password string }

type logins []login

// people are who may log in to every demo; the passwords are each folder's own.
func people() logins {
	return logins{{role: "owner", name: "Ane Owner", email: "owner@demo.example"}, {role: "viewer", name: "Viggo Viewer", email: "viewer@demo.example"}}
}

const loginsHead = "# The log-ins of this demo: role, e-mail, password.\n"

// loadLogins reads the folder's passwords, or makes them: fresh is then true. The file is on disk before any account
// has the password, so no account is left that nobody can open.
func loadLogins(dir string) (ls logins, fresh bool, err error) {
	path := filepath.Join(dir, loginsFile)
	ls = people()
	b, err := os.ReadFile(path)
	if err == nil {
		known := map[string]string{}
		for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
			if f := strings.Fields(s.Text()); len(f) == 3 && f[0] != "#" {
				known[f[1]] = f[2]
			}
		}
		for i := range ls {
			if ls[i].password = known[ls[i].email]; ls[i].password == "" {
				return nil, false, lh.Errorf(lh.Invalid, "%s has no password for %s; delete the file and the next demo makes new ones", path, ls[i].email)
			}
		}
		return ls, false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	text := loginsHead
	for i := range ls {
		ls[i].password = newPassword()
		text += fmt.Sprintf("%-7s %s  %s\n", ls[i].role, ls[i].email, ls[i].password)
	}
	return ls, true, durable.Write(path, []byte(text), 0o600)
}

// newPassword returns 80 random bits, easy to type.
func newPassword() string {
	s := strings.ToLower(rand.Text())
	return s[0:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:16]
}
