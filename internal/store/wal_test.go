package store

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/ncruces/go-sqlite3/vfs"
)

// memoryFile is a file in memory. What other connections see is what is in it.
type memoryFile struct {
	vfs.File
	data  []byte
	syncs int
}

func (f *memoryFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memoryFile) WriteAt(p []byte, off int64) (int, error) {
	if n := off + int64(len(p)); n > int64(len(f.data)) {
		f.data = append(f.data, make([]byte, n-int64(len(f.data)))...)
	}
	return copy(f.data[off:], p), nil
}

func (f *memoryFile) Truncate(n int64) error  { f.data = f.data[:n]; return nil }
func (f *memoryFile) Size() (int64, error)    { return int64(len(f.data)), nil }
func (f *memoryFile) Close() error            { return nil }
func (f *memoryFile) Sync(vfs.SyncFlag) error { f.syncs++; return nil }

// A log that gathers holds, whenever a commit has ended and at every reading, what one that does not would hold: random
// transactions, written as SQLite writes them, with pages that spill, frames that fill a sector up, logs begun anew and
// processes that end.
func TestLogThatGathers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		page := 512 << r.IntN(6)
		frame := int64(walFrameHeader + page)
		var plain, below memoryFile
		f := &walFile{File: &below}
		end := int64(0) // of what is committed
		write := func(p []byte, off int64) {
			for _, w := range []vfs.File{&plain, f} {
				if n, err := w.WriteAt(p, off); err != nil || n != len(p) {
					t.Fatal(n, err)
				}
			}
		}
		bytesOf := func(n int) []byte {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			return b
		}
		sync := func() {
			if err := f.Sync(0); err != nil {
				t.Fatal(err)
			}
		}
		for range 1 + r.IntN(40) {
			switch r.IntN(12) {
			case 0: // the process ends; another opens the file
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				f = &walFile{File: &below}
			case 1:
				end = 0
			}
			at := end
			if at == 0 {
				h := bytesOf(walHeader)
				binary.BigEndian.PutUint32(h[8:], uint32(page))
				write(h, 0)
				sync()
				at = walHeader
			}
			first := at
			for range 1 + r.IntN(30) {
				write(bytesOf(walFrameHeader), at)
				write(bytesOf(page), at+walFrameHeader)
				at += frame
				if r.IntN(8) == 0 { // the page is asked for again, or written anew
					back := first + r.Int64N((at-first)/frame)*frame
					if r.IntN(2) == 0 {
						write(bytesOf(page), back+walFrameHeader)
					}
					got := make([]byte, page)
					if n, err := f.ReadAt(got, back+walFrameHeader); n != page || err != nil || !bytes.Equal(got, plain.data[back+walFrameHeader:][:page]) {
						t.Fatalf("page %d: a page of the transaction is not what was written: %d %v", page, n, err)
					}
				}
			}
			if r.IntN(6) == 0 {
				continue // rolled back
			}
			// The last frame is written again and again until the sector of 4096 bytes is full, which is synced there.
			before := below.syncs
			point := (at + 4095) &^ 4095
			for at < point {
				for _, p := range [][]byte{bytesOf(walFrameHeader), bytesOf(page)} {
					if n := point - at; n > 0 && n <= int64(len(p)) {
						write(p[:n], at)
						sync()
						at, p = at+n, p[n:]
					}
					if len(p) > 0 {
						write(p, at)
						at += int64(len(p))
					}
				}
			}
			if below.syncs == before {
				sync()
			}
			if !bytes.Equal(below.data[:at], plain.data[:at]) {
				t.Fatalf("page %d: what is committed, up to %d, is not there for others", page, at)
			}
			end = at
		}
		n, err := f.Size()
		if err != nil || n != int64(len(plain.data)) {
			t.Errorf("%d bytes, want %d; %v", n, len(plain.data), err)
		}
	}
}
