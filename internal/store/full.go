package store

import (
	"errors"
	"fmt"

	"github.com/ncruces/go-sqlite3"
	"golang.org/x/sys/unix"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// fullDisk is how little space a disk has that counts as full.
const fullDisk = 1 << 20

// whyNot makes of a failure of SQLite that the disk is full, where it is: SQLite tells no more than that a write failed.
func (db *DB) whyNot(err error) error {
	if !errors.Is(err, sqlite3.IOERR) && !errors.Is(err, sqlite3.FULL) {
		return err
	}
	var st unix.Statfs_t
	if unix.Statfs(db.dir, &st) != nil {
		return err
	}
	if left := st.Bavail * uint64(st.Bsize); left < fullDisk {
		err = fmt.Errorf("the disk with %s is full, %d bytes are left: %w", db.dir, left, err)
		return lh.Hide(lh.Unavailable, err, "the hub's disk is full; nothing can be stored until it has space again")
	}
	return err
}
