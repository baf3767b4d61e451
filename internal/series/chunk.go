package series

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/klauspost/compress/zstd"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// A chunk is the samples of one element on one UTC day; a revision has the same columns and holds the writes that lost
// against those: sorted by time, those of one time by rank. docs/format/chunk.md describes the bytes.
const (
	chunkMagic    = "LHS2"
	revisionMagic = "LHR2"
)

// Bounds of a chunk, which its decoder checks before it allocates.
const (
	maxChunkRaw     = 192 << 20 // bytes before compression, of version 1 and of arrivals
	maxChunkSamples = lh.DayMillis
)

var (
	pow10      = [maxPlaces + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

var errChunk = errors.New("chunk is damaged")

// codec encodes and decodes chunks. It is safe for concurrent use.
type codec struct {
	enc    *zstd.Encoder
	dec    *zstd.Decoder // of version 1 and arrivals
	planes *zstd.Decoder
	raw    sync.Pool // *[]byte, for decoding version 1
	works  sync.Pool // *work
	cols   sync.Pool // *columns
}

func newCodec() *codec {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic(err) // constant options
	}
	decoder := func(most uint64) *zstd.Decoder {
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(most))
		if err != nil {
			panic(err) // likewise
		}
		return dec
	}
	return &codec{enc: enc, dec: decoder(maxChunkRaw), planes: decoder(planeBytes)}
}

func (c *codec) work() *work {
	if w, ok := c.works.Get().(*work); ok {
		return w
	}
	return &work{c: c}
}

func (c *codec) columns() *columns {
	if cols, ok := c.cols.Get().(*columns); ok {
		return cols
	}
	return &columns{}
}

// encode writes the samples of one day, none NaN or infinite: for a chunk sorted by time, no time twice.
func (c *codec) encode(magic string, day int32, samples []lh.Sample) ([]byte, error) {
	if len(samples) > maxChunkSamples {
		return nil, fmt.Errorf("a day of %d samples is too large for a chunk", len(samples))
	}
	w := c.work()
	defer c.works.Put(w)
	blocks := (len(samples) + blockSamples - 1) / blockSamples
	b := make([]byte, 0, 64+len(samples)*5/4)
	b = binary.AppendUvarint(append(b, magic...), uint64(blocks))
	if blocks == 0 {
		return b, nil
	}
	if blocks == 1 {
		return w.appendBlock(b, day, samples), nil
	}
	var directory, all []byte
	for len(samples) > 0 {
		part := samples[:min(blockSamples, len(samples))]
		samples = samples[len(part):]
		at := len(all)
		all = w.appendBlock(all, day, part)
		s := summarize(part)
		sum := s.encode(day)
		directory = binary.AppendUvarint(directory, uint64(len(all)-at))
		directory = append(binary.AppendUvarint(directory, uint64(len(sum))), sum...)
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(directory, castagnoli))
	b = binary.AppendUvarint(b, uint64(len(directory)))
	return append(append(b, directory...), all...), nil
}

// block is one block of a chunk, closed. summary is nil where there is only one, which the chunk's summary is of.
type block struct {
	body, summary []byte
}

// blocksOf takes a chunk of the newest version apart.
func blocksOf(dst []block, magic string, b []byte) ([]block, error) {
	bad := func(what string) ([]block, error) { return dst, fmt.Errorf("%w: its %s", errChunk, what) }
	if len(b) < 5 || string(b[:4]) != magic {
		return dst, fmt.Errorf("%w: it does not begin with %s", errChunk, magic)
	}
	n, k := binary.Uvarint(b[4:])
	if k <= 0 {
		return bad("blocks")
	}
	b = b[4+k:]
	switch n {
	case 0:
		if len(b) > 0 {
			return bad("end")
		}
		return dst, nil
	case 1:
		return append(dst, block{body: b}), nil
	}
	if len(b) < 4 {
		return bad("directory")
	}
	sum := binary.LittleEndian.Uint32(b)
	size, k := binary.Uvarint(b[4:])
	if k <= 0 || size > uint64(len(b)-4-k) {
		return bad("directory")
	}
	directory, b := b[4+k:4+k+int(size)], b[4+k+int(size):]
	if crc32.Checksum(directory, castagnoli) != sum {
		return bad("directory")
	}
	for ; n > 0; n-- {
		var parts [2]uint64
		for i := range parts {
			if parts[i], k = binary.Uvarint(directory); k <= 0 {
				return bad("directory")
			}
			directory = directory[k:]
		}
		if parts[0] > uint64(len(b)) || parts[1] > uint64(len(directory)) {
			return bad("directory")
		}
		dst = append(dst, block{b[:parts[0]], directory[:parts[1]]})
		b, directory = b[parts[0]:], directory[parts[1]:]
	}
	if len(b) > 0 || len(directory) > 0 {
		return bad("end")
	}
	return dst, nil
}

// decode reads a chunk's samples behind dst. Any bytes that encode has not written for this day are an error.
func (c *codec) decode(dst []lh.Sample, magic string, day int32, body []byte) ([]lh.Sample, error) {
	repeats := magic == revisionMagic
	if len(body) >= 4 && string(body[:4]) == chunkMagic1 && !repeats || len(body) >= 4 && string(body[:4]) == revisionMagic1 && repeats {
		return c.decode1(dst, string(body[:4]), day, body)
	}
	var few [1]block
	blocks, err := blocksOf(few[:0], magic, body)
	if err != nil {
		return dst, err
	}
	w, cols := c.work(), c.columns()
	defer func() { c.works.Put(w); c.cols.Put(cols) }()
	base := len(dst)
	for _, b := range blocks {
		what := w.readBlock(cols, day, b.body, false, repeats)
		at := len(dst)
		if what == "" {
			dst, what = w.appendSamples(dst, cols, repeats)
		}
		if what == "" && at > base {
			p, q := dst[at-1], dst[at]
			if q.Time < p.Time || q.Time == p.Time && (!repeats || q.Rank <= p.Rank) {
				what = "times"
			}
		}
		if what != "" {
			return dst[:base], fmt.Errorf("%w: its %s", errChunk, what)
		}
		if len(dst)-base > maxChunkSamples {
			return dst[:base], fmt.Errorf("%w: its count", errChunk)
		}
	}
	return dst, nil
}
