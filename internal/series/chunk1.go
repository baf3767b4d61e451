package series

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/klauspost/compress/zstd"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Version 1 of chunks and revisions, which is only read; docs/format/chunk.md describes its bytes. Arrivals still have
// its frame.
const (
	chunkMagic1    = "LHS1"
	revisionMagic1 = "LHR1"
)

// Kinds of the value column.
const (
	valuesDecimal = 0 // integers over a power of ten
	valuesXOR     = 1 // bits of float64, XOR with the one before, by byte planes
)

// decode1 reads version 1 behind dst.
func (c *codec) decode1(dst []lh.Sample, magic string, day int32, body []byte) ([]lh.Sample, error) {
	buf, _ := c.raw.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	raw, err := c.unpack(magic, body, (*buf)[:0])
	if err != nil {
		return dst, err
	}
	dst, err = decodeColumns(dst, day, raw, magic == revisionMagic1)
	if cap(raw) <= maxPooledRaw {
		*buf = raw
		c.raw.Put(buf)
	}
	return dst, err
}

// pack puts a frame around bytes: magic, checksum, size, zstd.
func (c *codec) pack(magic string, raw []byte) ([]byte, error) {
	if len(raw) > maxChunkRaw {
		return nil, fmt.Errorf("%d bytes are too many to pack", len(raw))
	}
	out := make([]byte, 0, len(raw)/4+32)
	out = append(out, magic...)
	out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(raw, castagnoli))
	out = binary.AppendUvarint(out, uint64(len(raw)))
	return c.enc.EncodeAll(raw, out), nil
}

// maxPooledRaw is the size up to which memory for decoding is kept: a day of samples every few seconds.
const maxPooledRaw = 256 << 10

// unpack takes the frame off, in buf's memory where it is enough.
func (c *codec) unpack(magic string, body, buf []byte) ([]byte, error) {
	if len(body) < len(magic)+5 || string(body[:4]) != magic {
		return nil, fmt.Errorf("%w: it does not begin with %s", errChunk, magic)
	}
	sum := binary.LittleEndian.Uint32(body[4:])
	size, n := binary.Uvarint(body[8:])
	if n <= 0 || size > maxChunkRaw {
		return nil, fmt.Errorf("%w: its size", errChunk)
	}
	var head zstd.Header
	if err := head.Decode(body[8+n:]); err != nil || head.Skippable || head.HasFCS && head.FrameContentSize != size {
		return nil, fmt.Errorf("%w: its frame", errChunk)
	}
	// What is promised is not allocated before it is there: at most the input times what zstd can do, by growing.
	if likely := min(size, uint64(len(body))*64+4096); uint64(cap(buf)) < likely {
		buf = make([]byte, 0, likely)
	}
	raw, err := c.dec.DecodeAll(body[8+n:], buf[:0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errChunk, err)
	}
	if uint64(len(raw)) != size || crc32.Checksum(raw, castagnoli) != sum {
		return nil, fmt.Errorf("%w: its checksum does not fit", errChunk)
	}
	return raw, nil
}

// decodeColumns reads the columns; repeats lets a time stand more than once.
func decodeColumns(dst []lh.Sample, day int32, raw []byte, repeats bool) ([]lh.Sample, error) {
	bad := func(what string) ([]lh.Sample, error) { return dst, fmt.Errorf("%w: its %s", errChunk, what) }
	count, k := binary.Uvarint(raw)
	if k <= 0 || count > maxChunkSamples || count > uint64(len(raw)) { // a time takes at least a byte
		return bad("count")
	}
	raw = raw[k:]
	var columns [4][]byte
	for i := range columns {
		if len(raw) < 4 {
			return bad("columns")
		}
		n := binary.LittleEndian.Uint32(raw)
		if uint64(n) > uint64(len(raw)-4) {
			return bad("columns")
		}
		columns[i], raw = raw[4:4+n], raw[4+n:]
	}
	n := int(count)
	if len(raw) > 0 || len(columns[0]) < n || len(columns[3]) < n {
		return bad("columns")
	}
	base := len(dst)
	if cap(dst)-base < n {
		grown := make([]lh.Sample, base, base+n)
		copy(grown, dst)
		dst = grown
	}
	out := dst[base : base+n]

	start, end := int64(lh.DayStart(day)), int64(lh.DayStart(day+1))
	b := columns[0]
	prev, delta := start, int64(0)
	for i := 0; i < n; i++ {
		if len(b) == 0 {
			return bad("times")
		}
		// A logger that keeps its interval has zeros here, one byte each: most often to the end.
		if b[0] == 0 && delta > 0 {
			run := zeros(b, n-i)
			if delta > (end-1-prev)/int64(run) {
				return bad("times")
			}
			for k := range out[i : i+run] {
				prev += delta
				out[i+k].Time = lh.Millis(prev)
			}
			b = b[run:]
			i += run - 1
			continue
		}
		if b[0] == 0 {
			b = b[1:]
		} else {
			dod, k := binary.Varint(b)
			if k <= 0 {
				return bad("times")
			}
			b = b[k:]
			delta += dod
		}
		if prev += delta; prev < start || prev >= end || i > 0 && (delta < 0 || delta == 0 && !repeats) {
			return bad("times")
		}
		out[i].Time = lh.Millis(prev)
	}
	if len(b) > 0 {
		return bad("times")
	}
	if err := decodeValues(out, columns[1]); err != nil {
		return dst, err
	}
	b = columns[2]
	for i := 0; i < n; {
		if len(b) < 2 || !lh.Flag(b[0]).Valid() {
			return bad("flags")
		}
		run, k := binary.Uvarint(b[1:])
		if k <= 0 || run == 0 || run > uint64(n-i) {
			return bad("flags")
		}
		flagged := out[i : i+int(run)]
		for k := range flagged {
			flagged[k].Flag = lh.Flag(b[0])
		}
		i += int(run)
		b = b[1+k:]
	}
	if len(b) > 0 {
		return bad("flags")
	}
	b = columns[3]
	prev, delta = 0, 0
	for i := 0; i < n; i++ {
		if len(b) == 0 {
			return bad("ranks")
		}
		if b[0] == 0 && !repeats { // likewise: records of one log, one after the other
			run := zeros(b, n-i)
			for k := range out[i : i+run] {
				prev += delta
				out[i+k].Rank = lh.Rank(prev)
			}
			b = b[run:]
			i += run - 1
			continue
		}
		if b[0] == 0 {
			b = b[1:]
		} else {
			dod, k := binary.Varint(b)
			if k <= 0 {
				return bad("ranks")
			}
			b = b[k:]
			delta += dod
		}
		prev += delta
		out[i].Rank = lh.Rank(prev)
		if i > 0 && out[i].Time == out[i-1].Time && out[i].Rank <= out[i-1].Rank {
			return bad("ranks")
		}
	}
	if len(b) > 0 {
		return bad("ranks")
	}
	return dst[:base+n], nil
}

// zeros returns with how many zero bytes b begins, at most so many.
func zeros(b []byte, most int) int {
	n := 0
	b = b[:min(len(b), most)]
	for len(b)-n >= 8 && binary.LittleEndian.Uint64(b[n:]) == 0 {
		n += 8
	}
	for n < len(b) && b[n] == 0 {
		n++
	}
	return n
}

func decodeValues(out []lh.Sample, b []byte) error {
	bad := fmt.Errorf("%w: its values", errChunk)
	switch {
	case len(b) >= 2 && b[0] == valuesDecimal && b[1] <= maxPlaces:
		scale := pow10[b[1]]
		b = b[2:]
		m := int64(0)
		for i := range out {
			var d int64
			switch {
			case len(b) > 0 && b[0] < 0x80: // most differences take one byte or two
				u := uint64(b[0])
				d, b = int64(u>>1)^-int64(u&1), b[1:]
			case len(b) > 1 && b[1] < 0x80:
				u := uint64(b[0]&0x7f) | uint64(b[1])<<7
				d, b = int64(u>>1)^-int64(u&1), b[2:]
			default:
				v, k := binary.Varint(b)
				if k <= 0 {
					return bad
				}
				d, b = v, b[k:]
			}
			if m += d; m > 1<<53 || m < -1<<53 {
				return bad
			}
			out[i].Value = float64(m) / scale
		}
		if len(b) > 0 {
			return bad
		}
	case len(b) == 1+8*len(out) && b[0] == valuesXOR:
		b = b[1:]
		prev := uint64(0)
		for i := range out {
			x := uint64(0)
			for p := range 8 {
				x |= uint64(b[p*len(out)+i]) << (56 - 8*p)
			}
			prev ^= x
			v := math.Float64frombits(prev)
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return bad
			}
			out[i].Value = v
		}
	default:
		return bad
	}
	return nil
}
