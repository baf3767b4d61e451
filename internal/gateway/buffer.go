package gateway

import (
	"errors"
	"io"
	"sync"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// bufferSizes are what upload buffers come in; the greatest holds every packet and every body, and one byte more.
var bufferSizes = [...]int{1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, maxPacket}

// buffers lends memory for uploads, so that a stream of them makes no garbage and an idle connection holds none.
type buffers struct {
	pools [len(bufferSizes)]sync.Pool // *[]byte of exactly that size
}

// get lends a buffer of at least n bytes, at most the greatest size; give it back with put.
func (b *buffers) get(n int) *[]byte {
	for i, size := range bufferSizes {
		if n <= size || i == len(bufferSizes)-1 {
			if p, ok := b.pools[i].Get().(*[]byte); ok {
				return p
			}
			p := make([]byte, size)
			return &p
		}
	}
	return nil // not reached: the last size takes all
}

// size is how much memory get lends for n bytes.
func (b *buffers) size(n int) int {
	for _, size := range bufferSizes {
		if n <= size {
			return size
		}
	}
	return bufferSizes[len(bufferSizes)-1]
}

func (b *buffers) put(p *[]byte) {
	for i, size := range bufferSizes {
		if len(*p) == size {
			b.pools[i].Put(p)
			return
		}
	}
}

// read reads a body of at most limit bytes whole into a lent buffer, which grows with what arrives: who announces much
// and sends little holds little. length is what was announced, -1 for unknown. The caller gives the buffer back, also
// after an error. Invalid: the body is longer.
func (b *buffers) read(r io.Reader, length int64, limit int) (buf *[]byte, body []byte, err error) {
	tooLong := lh.Errorf(lh.Invalid, "the body has more than the %d bytes that are taken", limit)
	if length > int64(limit) {
		return b.get(0), nil, tooLong
	}
	first := int64(64 << 10)
	if length >= 0 && length < first {
		first = length + 1 // one more, to meet the end without growing
	}
	buf = b.get(int(first))
	n := 0
	for {
		m, err := r.Read((*buf)[n:])
		if n += m; n > limit {
			return buf, nil, tooLong
		}
		if errors.Is(err, io.EOF) {
			return buf, (*buf)[:n], nil
		}
		if err != nil {
			return buf, nil, lh.Hide(lh.Unavailable, err, "the body did not arrive whole")
		}
		if n == len(*buf) {
			bigger := b.get(n + 1)
			copy(*bigger, *buf)
			b.put(buf)
			buf = bigger
		}
	}
}
