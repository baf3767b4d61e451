// Package durable writes small files whole, so that they survive the end of the program, of the system and of the
// power at any instant: afterwards the path has the whole old file or the whole new one, and once a call has returned
// nil, the new one.
//
// A file is written beside its path, as path.new, and then put there. What a crash leaves at path.new is never read and
// never more than one file a path; the next write of the path takes it away. Two that write one path at the same time do
// not mix: one of them may be refused. Folders are trusted: whoever may write into one can put anything in place anyway.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// suffix is of files being written.
const suffix = ".new"

// Write puts a file with the content and the mode in the place of path, which need not be there. A link at path is
// replaced, not followed.
//
// The calls: open, flock and write path.new, fchmod, fsync; rename to path; open the folder, fsync.
func Write(path string, data []byte, mode fs.FileMode) error {
	d := realDisk()
	return d.write(path, data, mode, d.rename)
}

// Create is Write for a path where nothing is yet. What is there stays, whatever it is, and the error is
// [fs.ErrExist]; of several at once, one creates.
//
// The calls: those of Write, but link to path and unlink path.new for the rename. Both are synced with the folder.
func Create(path string, data []byte, mode fs.FileMode) error {
	d := realDisk()
	return d.write(path, data, mode, func(from, to string) error {
		if err := d.link(from, to); err != nil {
			return err
		}
		return os.Remove(from)
	})
}

// Remove removes a file and syncs its folder; one that is not there is removed.
func Remove(path string) error {
	if err := os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir syncs a folder: the names of its files, not what is in them. The calls: open, fsync, close.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Clear removes what crashes left half written in a folder, for which there may never be another write. It is for the
// one process that writes there, before it does.
func Clear(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Type().IsRegular() && strings.HasSuffix(e.Name(), suffix) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// disk is the steps whose order and failures matter; tests put others in their place.
type disk struct {
	sync         func(*os.File) error
	rename, link func(from, to string) error
	syncDir      func(dir string) error
}

func realDisk() disk {
	return disk{sync: (*os.File).Sync, rename: os.Rename, link: os.Link, syncDir: SyncDir}
}

// write writes a file beside path, and place puts it there. When it fails before that, path is as it was.
func (d *disk) write(path string, data []byte, mode fs.FileMode, place func(from, to string) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	f, err := begin(path + suffix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }() // the lock is held until path has the file
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode)); err == nil {
		err = d.sync(f)
	}
	if err == nil {
		err = place(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return d.syncDir(filepath.Dir(path))
}

// begin opens a new file, locked for as long as it is open. One that is there is a crash's, since those at work hold
// their lock. It is removed and not written over: after a crash in Create it may be the same file as path.
func begin(name string) (*os.File, error) {
	for range 100 { // as often as others get in between
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		fresh, err := take(f)
		if err == nil && fresh {
			return f, nil
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s is there again and again", name)
}

// take locks an open file, and reports whether it is as it was made. A crash's is removed.
func take(f *os.File) (fresh bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, fmt.Errorf("%s is being written already", f.Name())
	}
	if err != nil {
		return false, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Lstat(f.Name())
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, named) {
		return false, nil // it was another's, who has put it in place or removed it before our lock
	}
	if err != nil {
		return false, err
	}
	st, ok := mine.Sys().(*syscall.Stat_t)
	if ok && st.Nlink <= 1 && mine.Size() == 0 {
		return true, nil
	}
	return false, os.Remove(f.Name())
}
