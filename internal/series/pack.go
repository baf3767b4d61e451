package series

import (
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/huff0"
)

// Ways to pack a string of bytes whose length the reader knows. docs/format/chunk.md describes them.
const (
	packPlain   = 0
	packSame    = 1 // one byte, so many times
	packHuffman = 2 // a tree and four streams, RFC 8878
	packZstd    = 3 // a frame, where bytes repeat in longer runs than a Huffman code sees
)

const (
	// packLeast is from how many bytes on packing them is tried.
	packLeast = 32
	// A Huffman code of fewer than packZstdBits bits a byte has hardly any room left; then repetition may have more.
	packZstdBits = 3
	// planeBytes bounds what a packed string may become; none is of more than blockSamples bytes.
	planeBytes = 1 << 16
)

// work is the memory and the state that encoding or decoding takes. One goroutine uses it at a time.
type work struct {
	c     *codec
	huff  huff0.Scratch // for encoding
	tree  huff0.Scratch // for decoding
	plane [8][]byte     // of the integers being read or written
	nums  []int64
	mant  []int64
	zstd  []byte
}

// nothing of a size that only a damaged column can claim is kept: all of it is bounded by blockSamples.
func (w *work) numbers(n int) []int64 {
	w.nums = slices.Grow(w.nums[:0], n)[:n]
	return w.nums
}

// appendPacked writes plain, at least one byte, in the way that takes the fewest.
func (w *work) appendPacked(b, plain []byte) []byte {
	same := true
	for _, c := range plain[1:] {
		if c != plain[0] {
			same = false
			break
		}
	}
	if same {
		return append(b, packSame, plain[0])
	}
	best, kind := plain, byte(packPlain)
	if len(plain) >= packLeast {
		w.huff.Reuse = huff0.ReusePolicyNone
		if out, _, err := huff0.Compress4X(plain, &w.huff); err == nil && len(out)+2 < len(plain) { // the error is that it does not pay
			best, kind = out, packHuffman
			if len(out)*8 < packZstdBits*len(plain) {
				w.zstd = w.c.enc.EncodeAll(plain, w.zstd[:0])
				if len(w.zstd) < len(out) {
					best, kind = w.zstd, packZstd
				}
			}
		}
	}
	b = append(b, kind)
	if kind != packPlain {
		b = binary.AppendUvarint(b, uint64(len(best)))
	}
	return append(b, best...)
}

// unpackInto fills dst, at least one byte, and returns what follows; ok is false where b is not that.
func (w *work) unpackInto(dst, b []byte) (rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, false
	}
	kind := b[0]
	b = b[1:]
	switch kind {
	case packPlain:
		if len(b) < len(dst) {
			return nil, false
		}
		copy(dst, b)
		return b[len(dst):], true
	case packSame:
		for i := range dst {
			dst[i] = b[0]
		}
		return b[1:], true
	case packHuffman, packZstd:
	default:
		return nil, false
	}
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, false
	}
	packed, rest := b[n:n+int(size)], b[n+int(size):]
	if kind == packHuffman {
		tree, streams, err := huff0.ReadTable(packed, &w.tree)
		if err != nil {
			return nil, false
		}
		// The capacity tells how many bytes must come.
		out, err := tree.Decoder().Decompress4X(dst[:0:len(dst)], streams)
		return rest, err == nil && len(out) == len(dst)
	}
	// The decoder takes no more than planeBytes, whatever a frame says.
	out, err := w.c.planes.DecodeAll(packed, dst[:0:len(dst)])
	if err != nil || len(out) != len(dst) {
		return nil, false
	}
	copy(dst, out) // mostly the same memory
	return rest, true
}
