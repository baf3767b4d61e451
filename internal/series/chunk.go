package series

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"runtime"
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
	lists  sync.Pool // *[]lh.Sample
	// helpers holds one for each goroutine that opens chunks for another: with who asked, there are as many as
	// processors.
	helpers chan struct{}
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
	return &codec{enc: enc, dec: decoder(maxChunkRaw), planes: decoder(planeBytes), helpers: make(chan struct{}, runtime.GOMAXPROCS(0)-1)}
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

// samples returns memory for samples; keep takes it back.
func (c *codec) samples() []lh.Sample {
	if s, ok := c.lists.Get().(*[]lh.Sample); ok {
		return (*s)[:0]
	}
	return make([]lh.Sample, 0, 1440)
}

func (c *codec) keep(s []lh.Sample) {
	if cap(s) > 0 && cap(s) <= 2*blockSamples {
		c.lists.Put(&s)
	}
}

func damaged(what string) error { return fmt.Errorf("%w: its %s", errChunk, what) }

// version1 reports whether a chunk or revision is of version 1.
func version1(body []byte) bool {
	return len(body) >= 4 && (string(body[:4]) == chunkMagic1 || string(body[:4]) == revisionMagic1)
}

// encode writes the samples of one day, none NaN or infinite: for a chunk sorted by time, no time twice.
func (c *codec) encode(magic string, day int32, samples []lh.Sample) ([]byte, error) {
	return c.encodeOver(magic, day, samples, nil, nil)
}

// encodeOver is encode of what became of a chunk: old are its bytes and was its samples. Blocks before the first change
// are copied.
func (c *codec) encodeOver(magic string, day int32, samples, was []lh.Sample, old []byte) ([]byte, error) {
	if len(samples) > maxChunkSamples {
		return nil, fmt.Errorf("a day of %d samples is too large for a chunk", len(samples))
	}
	w := c.work()
	defer c.works.Put(w)
	n := (len(samples) + blockSamples - 1) / blockSamples
	b := make([]byte, 0, 64+len(samples)*5/4)
	b = binary.AppendUvarint(append(b, magic...), uint64(n))
	switch n {
	case 0:
		return b, nil
	case 1:
		return w.appendBlock(b, day, samples), nil
	}
	var kept []block
	if len(was) >= blockSamples && !version1(old) {
		blocks, err := blocksOf(nil, magic, old)
		if err != nil {
			return nil, err
		}
		same := unchanged(was, samples) / blockSamples
		for len(kept) < min(same, len(blocks)) {
			// Who wrote them may have cut them otherwise.
			if s, err := decodeSummary(day, blocks[len(kept)].summary); err != nil || s.count != blockSamples {
				break
			}
			kept = blocks[:len(kept)+1]
		}
	}
	var directory, all []byte
	add := func(block, sum []byte) {
		directory = binary.AppendUvarint(directory, uint64(len(block)))
		directory = append(binary.AppendUvarint(directory, uint64(len(sum))), sum...)
	}
	for len(samples) > 0 {
		part := samples[:min(blockSamples, len(samples))]
		samples = samples[len(part):]
		if len(kept) > 0 {
			all = append(all, kept[0].body...)
			add(kept[0].body, kept[0].summary)
			kept = kept[1:]
			continue
		}
		at := len(all)
		all = w.appendBlock(all, day, part)
		s := summarize(part)
		add(all[at:], s.encode(day))
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(directory, castagnoli))
	b = binary.AppendUvarint(b, uint64(len(directory)))
	return append(append(b, directory...), all...), nil
}

// unchanged returns with how many samples both begin alike. Each came out of a decoder or goes into an encoder: bits tell.
func unchanged(a, b []lh.Sample) int {
	n := min(len(a), len(b))
	for i := range n {
		p, q := &a[i], &b[i]
		if p.Time != q.Time || p.Rank != q.Rank || p.Flag != q.Flag || math.Float64bits(p.Value) != math.Float64bits(q.Value) {
			return i
		}
	}
	return n
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

// overlaps reports whether a block may have samples in [from, to).
func (b *block) overlaps(day int32, from, to lh.Millis) (bool, error) {
	if b.summary == nil {
		return true, nil
	}
	s, err := decodeSummary(day, b.summary)
	return err == nil && s.first.Time < to && s.last.Time >= from, err
}

// decode reads a chunk's samples behind dst. Any bytes that encode has not written for this day are an error.
func (c *codec) decode(dst []lh.Sample, magic string, day int32, body []byte) ([]lh.Sample, error) {
	return c.decodeRange(dst, magic, day, body, lh.DayStart(day), lh.DayStart(day+1))
}

// decodeRange is decode of at least those samples that are in [from, to): blocks that have none stay closed.
func (c *codec) decodeRange(dst []lh.Sample, magic string, day int32, body []byte, from, to lh.Millis) ([]lh.Sample, error) {
	repeats := magic == revisionMagic
	if version1(body) && repeats == (string(body[:4]) == revisionMagic1) {
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
	for i := range blocks {
		inside, err := blocks[i].overlaps(day, from, to)
		if err != nil {
			return dst[:base], err
		}
		if !inside {
			continue
		}
		what := w.readBlock(cols, day, blocks[i].body, false, repeats)
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
			return dst[:base], damaged(what)
		}
		if len(dst)-base > maxChunkSamples {
			return dst[:base], damaged("count")
		}
	}
	return dst, nil
}
