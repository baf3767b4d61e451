package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/durable"
)

// Files in the data folder.
const (
	lockFile     = "lock"
	samplesDir   = "samples"      // package wal's
	identityFile = "identity.pem" // certificate and key in use, in one file, so that they always belong together
	nextFile     = "next.pem"     // a renewed certificate and its key, until it has worked once
	pendingFile  = "pending.key"  // a key that a certificate was, or will be, asked for
	claimedFile  = "claimed"      // hash of the claim code that was used up
	clockFile    = "clock"
	statusFile   = "status.json"
)

// openData makes the data folder where it is missing, clears what a power cut left half written, and locks it against a
// second process; the lock goes with the file, or with the process.
func openData(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errors.Join(lh.Errorf(lh.Conflict, "another loggerhead-agent is running on the data folder %s", dir), f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock data folder: %w", err), f.Close())
	}
	if err := durable.Clear(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("clear data folder: %w", err), f.Close())
	}
	return f, nil
}

// readBounded reads a file of at most max bytes.
func readBounded(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	b, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(b)) > max {
		err = fmt.Errorf("%s is larger than %d bytes", path, max)
	}
	return b, err
}
