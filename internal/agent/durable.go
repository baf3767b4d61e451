package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	lh "github.com/loggerhead-cloud/loggerhead"
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

	newPrefix = ".new-" // of files being written
)

// durable writes a file so that after a power cut it is the whole old one or the whole new one: written aside, synced,
// renamed over it, and the folder synced.
func durable(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), newPrefix+"*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(f.Name())))
		}
	}()
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// remove removes a file durably; one that is not there is removed.
func remove(path string) error {
	if err := os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

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
	files, err := os.ReadDir(dir)
	for _, e := range files {
		if strings.HasPrefix(e.Name(), newPrefix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("clear data folder: %w", err), f.Close())
	}
	return f, nil
}
