package series

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// blockSamples is the most samples of one block. A day of more is cut into several, so that whoever wants an hour of it
// unpacks no more than that.
const blockSamples = 4096

const (
	maxPlaces   = 12
	floatValues = 255     // in the place of the decimal places: values are bits
	maxMantissa = 1 << 53 // up to which float64 has every integer
)

// mantissa returns v as an integer over 10^places if that gives v back bit for bit.
func mantissa(v float64, places int) (int64, bool) {
	m := math.RoundToEven(v * pow10[places])
	if math.Abs(m) > maxMantissa {
		return 0, false
	}
	i := int64(m)
	return i, math.Float64bits(float64(i)/pow10[places]) == math.Float64bits(v)
}

// mantissas finds the fewest decimal places that hold every value exactly, and the values in them.
func mantissas(dst []int64, s []lh.Sample) (places int, ok bool) {
	for i := 0; i < len(s); i++ {
		if dst[i], ok = mantissa(s[i].Value, places); ok {
			continue
		}
		if places++; places > maxPlaces {
			return 0, false
		}
		i = -1 // all must fit the new scale; at most twelve times
	}
	return places, true
}

// appendBlock writes some samples of one day, sorted, at least one and at most blockSamples.
func (w *work) appendBlock(b []byte, day int32, s []lh.Sample) []byte {
	sum := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.AppendUvarint(b, uint64(len(s)))
	b = binary.AppendUvarint(b, uint64(s[0].Time-lh.DayStart(day)))
	steps := w.numbers(len(s) - 1)
	if len(s) > 1 {
		for i := range steps {
			steps[i] = int64(s[i+1].Time - s[i].Time)
		}
		b = w.appendInts(b, steps, true)
	}
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && s[j].Flag == s[i].Flag {
			j++
		}
		b = binary.AppendUvarint(append(b, byte(s[i].Flag)), uint64(j-i))
		i = j
	}
	b = w.appendValues(b, s, steps)
	b = binary.AppendUvarint(b, uint64(s[0].Rank))
	if len(s) > 1 {
		for i := range steps {
			steps[i] = int64(s[i+1].Rank - s[i].Rank) // wraps; the decoder wraps back
		}
		b = w.appendInts(b, steps, true)
	}
	binary.LittleEndian.PutUint32(b[sum:], crc32.Checksum(b[sum+4:], castagnoli))
	return b
}

func (w *work) appendValues(b []byte, s []lh.Sample, steps []int64) []byte {
	w.mant = slices.Grow(w.mant[:0], len(s))[:len(s)]
	if places, ok := mantissas(w.mant, s); ok {
		b = binary.AppendVarint(append(b, byte(places)), w.mant[0])
		for i := range steps {
			steps[i] = w.mant[i+1] - w.mant[i]
		}
		if len(steps) > 0 {
			b = w.appendInts(b, steps, false)
		}
		return b
	}
	b = append(b, floatValues)
	for p := range w.plane {
		w.plane[p] = slices.Grow(w.plane[p][:0], len(s))[:len(s)]
	}
	prev := uint64(0)
	for i := range s {
		v := math.Float64bits(s[i].Value)
		x := v ^ prev
		prev = v
		for p := range w.plane {
			w.plane[p][i] = byte(x >> (56 - 8*p))
		}
	}
	for p := range w.plane {
		b = w.appendPacked(b, w.plane[p])
	}
	return b
}

// columns is a block that was read: the samples of a part of a day, by columns. Its memory may be used again.
type columns struct {
	n     int
	first lh.Millis
	steps []stepRun   // the distances between neighbours, in runs; unless times is set
	times []lh.Millis // of all samples, where the distances differ
	flags []flagRun
	// places is the number of decimal places, and mants the values in them, where they were asked for; else values are
	// the values, and mants is empty.
	places int
	mants  []int64
	values []float64
	ranks  []byte // unread
}

type stepRun struct {
	step lh.Millis
	n    int
}

type flagRun struct {
	flag lh.Flag
	n    int
}

// readBlock reads a block into c. Where whole is set, decimal values are left as mantissas. repeats lets a time stand
// more than once. what names what of it is damaged; "" is nothing. Ranks are left unread.
func (w *work) readBlock(c *columns, day int32, b []byte, whole, repeats bool) (what string) {
	if len(b) < 5 || crc32.Checksum(b[4:], castagnoli) != binary.LittleEndian.Uint32(b) {
		return "checksum"
	}
	return w.readContent(c, day, b[4:], whole, repeats)
}

// readContent reads what stands behind a block's checksum.
func (w *work) readContent(c *columns, day int32, b []byte, whole, repeats bool) (what string) {
	count, k := binary.Uvarint(b)
	if k <= 0 || count == 0 || count > blockSamples {
		return "count"
	}
	n := int(count)
	b = b[k:]
	offset, k := binary.Uvarint(b)
	if k <= 0 || offset >= lh.DayMillis {
		return "times"
	}
	b = b[k:]
	c.n, c.first = n, lh.DayStart(day)+lh.Millis(offset)
	c.steps, c.times = c.steps[:0], c.times[:0]
	if n > 1 {
		var ok bool
		if b, ok = w.readTimes(c, b, lh.DayStart(day+1), repeats); !ok {
			return "times"
		}
	}
	c.flags = c.flags[:0]
	for left := n; left > 0; {
		if len(b) < 2 || !lh.Flag(b[0]).Valid() {
			return "flags"
		}
		run, k := binary.Uvarint(b[1:])
		if k <= 0 || run == 0 || run > uint64(left) {
			return "flags"
		}
		c.flags = append(c.flags, flagRun{lh.Flag(b[0]), int(run)})
		left -= int(run)
		b = b[1+k:]
	}
	rest, ok := w.readValues(c, b, whole)
	if !ok {
		return "values"
	}
	c.ranks = rest
	return ""
}

func (w *work) readTimes(c *columns, b []byte, end lh.Millis, repeats bool) (rest []byte, ok bool) {
	col, rest, ok := w.readInts(b, c.n-1)
	if !ok {
		return nil, false
	}
	at := c.first
	fits := func(step int64) bool { return step > 0 && step < lh.DayMillis || step == 0 && repeats }
	if col.planes == intRuns {
		ok = col.eachRun(func(v int64, n int) bool {
			if !fits(v) || lh.Millis(v) > (end-1-at)/lh.Millis(n) {
				return false
			}
			at += lh.Millis(v) * lh.Millis(n)
			c.steps = append(c.steps, stepRun{lh.Millis(v), n})
			return true
		})
		return rest, ok
	}
	steps := w.numbers(c.n - 1)
	col.into(steps)
	c.times = append(slices.Grow(c.times, c.n), at)
	for _, v := range steps {
		if !fits(v) {
			return nil, false
		}
		at += lh.Millis(v) // no more than blockSamples days in all
		c.times = append(c.times, at)
	}
	return rest, at < end
}

func (w *work) readValues(c *columns, b []byte, whole bool) (rest []byte, ok bool) {
	if len(b) == 0 || b[0] > maxPlaces && b[0] != floatValues {
		return nil, false
	}
	kind := b[0]
	b = b[1:]
	c.mants, c.values = c.mants[:0], c.values[:0]
	if kind == floatValues {
		return w.readFloats(c, b)
	}
	c.places = int(kind)
	first, k := binary.Varint(b)
	if k <= 0 || first > maxMantissa || first < -maxMantissa {
		return nil, false
	}
	b = b[k:]
	var col ints
	if c.n > 1 {
		if col, b, ok = w.readInts(b, c.n-1); !ok {
			return nil, false
		}
	}
	if whole {
		c.mants = slices.Grow(c.mants, c.n)[:c.n]
		return b, col.sums(c.mants, first)
	}
	scale := pow10[kind]
	c.values = slices.Grow(c.values, c.n)[:c.n]
	if col.planes == 1 && col.extras == 0 && col.base == 0 && first < maxMantissa-128*blockSamples && first > -maxMantissa+128*blockSamples {
		m := first
		c.values[0] = float64(m) / scale
		out, plane := c.values[1:], col.plane[0]
		out = out[:len(plane)]
		for i, x := range plane {
			m += unzigzag(uint64(x))
			out[i] = float64(m) / scale
		}
		return b, true
	}
	w.mant = slices.Grow(w.mant[:0], c.n)[:c.n]
	if !col.sums(w.mant, first) {
		return nil, false
	}
	for i, m := range w.mant {
		c.values[i] = float64(m) / scale
	}
	return b, true
}

func (w *work) readFloats(c *columns, b []byte) (rest []byte, ok bool) {
	for p := range w.plane {
		w.plane[p] = slices.Grow(w.plane[p][:0], c.n)[:c.n]
		if b, ok = w.unpackInto(w.plane[p], b); !ok {
			return nil, false
		}
	}
	c.values = slices.Grow(c.values, c.n)[:c.n]
	prev := uint64(0)
	for i := range c.values {
		for p := range w.plane {
			prev ^= uint64(w.plane[p][i]) << (56 - 8*p)
		}
		v := math.Float64frombits(prev)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, false
		}
		c.values[i] = v
	}
	return b, true
}

// appendSamples makes samples of columns that have values, behind dst. what is "ranks" where those are damaged.
func (w *work) appendSamples(dst []lh.Sample, c *columns, repeats bool) (out []lh.Sample, what string) {
	base := len(dst)
	dst = slices.Grow(dst, c.n)[:base+c.n]
	s := dst[base:]
	if len(c.times) > 0 {
		for i, t := range c.times {
			s[i].Time = t
		}
	} else {
		at, i := c.first, 1
		s[0].Time = at
		for _, r := range c.steps {
			for k := range s[i : i+r.n] {
				at += r.step
				s[i+k].Time = at
			}
			i += r.n
		}
	}
	for i, v := range c.values {
		s[i].Value = v
	}
	i := 0
	for _, r := range c.flags {
		for k := range s[i : i+r.n] {
			s[i+k].Flag = r.flag
		}
		i += r.n
	}
	first, k := binary.Uvarint(c.ranks)
	if k <= 0 {
		return dst[:base], "ranks"
	}
	b := c.ranks[k:]
	s[0].Rank = lh.Rank(first)
	if c.n > 1 {
		col, rest, ok := w.readInts(b, c.n-1)
		if !ok {
			return dst[:base], "ranks"
		}
		b = rest
		rank, i := lh.Rank(first), 1
		if col.planes == intRuns {
			col.eachRun(func(v int64, n int) bool {
				for k := range s[i : i+n] {
					rank += lh.Rank(v)
					s[i+k].Rank = rank
				}
				i += n
				return true
			})
		} else {
			steps := w.numbers(c.n - 1)
			col.into(steps)
			for i, v := range steps {
				rank += lh.Rank(v)
				s[1+i].Rank = rank
			}
		}
	}
	if len(b) > 0 {
		return dst[:base], "end"
	}
	if repeats {
		for i := 1; i < len(s); i++ {
			if s[i].Time == s[i-1].Time && s[i].Rank <= s[i-1].Rank {
				return dst[:base], "ranks"
			}
		}
	}
	return dst, ""
}
