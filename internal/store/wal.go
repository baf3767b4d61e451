package store

import (
	"encoding/binary"
	"sync"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
	"github.com/ncruces/go-sqlite3/vfs/adiantum"
)

// vfsName is the file system of SQLite's files: Adiantum, with a write-ahead log that gathers what is written to it.
const vfsName = "loggerhead"

var registerVFS = sync.OnceFunc(func() {
	vfs.Register(vfsName, walVFS{adiantum.Wrap(vfs.Find(""), nil)})
})

// walVFS opens write-ahead logs as walFile, and everything else as it is.
type walVFS struct{ vfs.VFS }

func (v walVFS) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	return vfsutil.WrapOpen(v.VFS, name, flags)
}

func (v walVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, out, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	if err == nil && flags&vfs.OPEN_WAL != 0 {
		f = &walFile{File: f}
	}
	return f, out, err
}

const (
	walHeader      = 32 // bytes before the first frame
	walFrameHeader = 24
	walBuffer      = 1 << 20
)

// walFile gathers what SQLite writes to its log until the log is synced, which is at every commit. A frame is a header
// of 24 bytes and a page, written one by one, and so none lies on whole blocks of the enciphering file system, which
// would read, decipher, encipher and write the blocks at the ends of each: here the blocks inside are enciphered once.
//
// Nobody misses what is gathered: with synchronous=full, which every connection has before it can write, other
// connections learn of frames when they are committed, after the sync, and the one that writes is given them back. Beyond the sync of a commit goes only the rest of a frame that fills a sector up:
// that is written through.
type walFile struct {
	vfs.File
	buf     []byte
	at      int64 // where buf goes
	end     int64 // of the last writing
	frame   int64 // bytes of a frame; 0 is not known yet
	through bool  // what comes is the rest of a frame whose beginning is synced
}

// Unwrap lets the layers above find the file below.
func (f *walFile) Unwrap() vfs.File { return f.File }

func (f *walFile) WriteAt(p []byte, off int64) (int, error) {
	if off == 0 && len(p) == walHeader {
		f.frame = walFrameHeader + int64(binary.BigEndian.Uint32(p[8:]))
	}
	if f.frame == 0 { // a log that was there
		var h [walHeader]byte
		if n, err := f.File.ReadAt(h[:], 0); err == nil && n == len(h) {
			f.frame = walFrameHeader + int64(binary.BigEndian.Uint32(h[8:]))
		}
	}
	f.end = off + int64(len(p))
	end := f.at + int64(len(f.buf))
	if f.through || f.frame == 0 || len(f.buf) > 0 && (off < f.at || off > end) || off+int64(len(p)) > f.at+walBuffer && len(f.buf) > 0 {
		if err := f.flush(); err != nil {
			return 0, err
		}
	}
	if f.through || f.frame == 0 || len(p) > walBuffer {
		n, err := f.File.WriteAt(p, off)
		f.through = f.through && !f.whole(f.end)
		return n, err
	}
	if len(f.buf) == 0 {
		f.at = off
	}
	have := copy(f.buf[off-f.at:], p)
	f.buf = append(f.buf, p[have:]...)
	return len(p), nil
}

// whole reports whether a frame ends at an offset.
func (f *walFile) whole(off int64) bool { return (off-walHeader)%f.frame == 0 }

// flush writes what is gathered. What cannot be written is dropped: its transaction fails.
func (f *walFile) flush() error {
	if len(f.buf) == 0 {
		return nil
	}
	_, err := f.File.WriteAt(f.buf, f.at)
	f.buf = f.buf[:0]
	return err
}

func (f *walFile) Sync(flags vfs.SyncFlag) error {
	if err := f.flush(); err != nil {
		return err
	}
	f.through = f.frame > 0 && f.end > walHeader && !f.whole(f.end)
	return f.File.Sync(flags)
}

func (f *walFile) ReadAt(p []byte, off int64) (int, error) {
	if len(f.buf) > 0 && off < f.at+int64(len(f.buf)) && off+int64(len(p)) > f.at {
		if err := f.flush(); err != nil {
			return 0, err
		}
	}
	return f.File.ReadAt(p, off)
}

func (f *walFile) Truncate(size int64) error {
	if err := f.flush(); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *walFile) Size() (int64, error) {
	if err := f.flush(); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *walFile) Close() error {
	err := f.flush()
	if e := f.File.Close(); err == nil {
		err = e
	}
	return err
}
