package series

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// A column of integers is either runs of equal numbers or, where those are short, planes: the numbers less a base,
// zigzag-coded, the least byte of each, then the next byte of each, as many as most numbers need; what does not fit
// follows one by one. docs/format/chunk.md describes the bytes.
const intRuns = 0 // else the number of planes, 1 to 8

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// appendInts writes at least one number.
func (w *work) appendInts(b []byte, nums []int64, rebase bool) []byte {
	most := (len(nums)/8 + 8) / 3 // about three bytes a run against a bit a number
	runs := 1
	for i := 1; i < len(nums) && runs <= most; i++ {
		if nums[i] != nums[i-1] {
			runs++
		}
	}
	if runs <= most {
		b = append(b, intRuns)
		for i := 0; i < len(nums); {
			j := i + 1
			for j < len(nums) && nums[j] == nums[i] {
				j++
			}
			b = binary.AppendUvarint(binary.AppendVarint(b, nums[i]), uint64(j-i))
			i = j
		}
		return b
	}
	base := int64(0)
	if rebase {
		base = commonest(nums)
	}
	planes := 1
	w.plane[0] = slices.Grow(w.plane[0][:0], len(nums))[:len(nums)]
	extras := 0
	for i, v := range nums {
		u := zigzag(v - base)
		w.plane[0][i] = byte(u)
		if u > 0xff {
			extras++
		}
	}
	if extras > len(nums)/4 { // one plane is not the best for sure
		planes, extras = w.morePlanes(nums, base)
	}
	b = append(b, byte(planes))
	b = binary.AppendVarint(b, base)
	for p := range planes {
		b = w.appendPacked(b, w.plane[p])
	}
	b = binary.AppendUvarint(b, uint64(extras))
	next := 0
	for i, v := range nums {
		if extras == 0 {
			break
		}
		if u := zigzag(v-base) >> (8 * planes); planes < 8 && u > 0 {
			b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(i-next)), u)
			next, extras = i+1, extras-1
		}
	}
	return b
}

// morePlanes makes as many planes as are best, and returns how many numbers do not fit them.
func (w *work) morePlanes(nums []int64, base int64) (planes, extras int) {
	var most [9]int // how many numbers take so many bytes
	for _, v := range nums {
		most[(bits.Len64(zigzag(v-base))+7)/8]++
	}
	planes = planesFor(&most, len(nums))
	for p := range planes {
		w.plane[p] = slices.Grow(w.plane[p][:0], len(nums))[:len(nums)]
	}
	for i, v := range nums {
		u := zigzag(v - base)
		for p := range planes {
			w.plane[p][i] = byte(u)
			u >>= 8
		}
		if u > 0 {
			extras++
		}
	}
	return planes, extras
}

// planesFor weighs a plane, which a code makes smaller, against three bytes for each number that does not fit.
func planesFor(most *[9]int, n int) int {
	best, least := 8, n*8
	left := n - most[0]
	for p := 1; p <= 8; p++ {
		left -= most[p]
		if cost := p*n*3/4 + left*3; cost < least {
			best, least = p, cost
		}
	}
	return best
}

// commonest returns the number that most are, if there is one, and else some number (Boyer and Moore's vote).
func commonest(nums []int64) int64 {
	found, votes := int64(0), 0
	for _, v := range nums {
		switch {
		case votes == 0:
			found, votes = v, 1
		case v == found:
			votes++
		default:
			votes--
		}
	}
	return found
}

// ints is a column of integers that was read, its planes unpacked, but not put together.
type ints struct {
	n      int
	planes int
	runs   []byte // where planes is intRuns: checked
	base   int64
	plane  *[8][]byte
	extras int
	extra  []byte // checked
}

// readInts reads a column of n numbers, at least one, and returns what follows it. The planes stay valid until w is used
// again.
func (w *work) readInts(b []byte, n int) (c ints, rest []byte, ok bool) {
	if len(b) == 0 || b[0] > 8 {
		return c, nil, false
	}
	c.n, c.planes = n, int(b[0])
	b = b[1:]
	if c.planes == intRuns {
		c.runs = b
		for left := n; left > 0; {
			_, k := binary.Varint(b)
			if k <= 0 {
				return c, nil, false
			}
			run, l := binary.Uvarint(b[k:])
			if l <= 0 || run == 0 || run > uint64(left) {
				return c, nil, false
			}
			left -= int(run)
			b = b[k+l:]
		}
		c.runs = c.runs[:len(c.runs)-len(b)]
		return c, b, true
	}
	base, k := binary.Varint(b)
	if k <= 0 {
		return c, nil, false
	}
	c.base, b = base, b[k:]
	c.plane = &w.plane
	for p := range c.planes {
		w.plane[p] = slices.Grow(w.plane[p][:0], n)[:n]
		if b, ok = w.unpackInto(w.plane[p], b); !ok {
			return c, nil, false
		}
	}
	extras, k := binary.Uvarint(b)
	if k <= 0 || extras > uint64(n) || c.planes == 8 && extras > 0 {
		return c, nil, false
	}
	b = b[k:]
	c.extras, c.extra = int(extras), b
	for at := uint64(0); extras > 0; extras-- {
		skip, k := binary.Uvarint(b)
		if k <= 0 || skip >= uint64(n) || at+skip >= uint64(n) {
			return c, nil, false
		}
		high, l := binary.Uvarint(b[k:])
		if l <= 0 || high == 0 || bits.Len64(high) > 64-8*c.planes {
			return c, nil, false
		}
		at += skip + 1
		b = b[k+l:]
	}
	c.extra = c.extra[:len(c.extra)-len(b)]
	return c, b, true
}

// eachRun hands fn the runs of a column of runs, until it returns false.
func (c *ints) eachRun(fn func(v int64, n int) bool) bool {
	for b := c.runs; len(b) > 0; {
		v, k := binary.Varint(b)
		n, l := binary.Uvarint(b[k:])
		if !fn(v, int(n)) {
			return false
		}
		b = b[k+l:]
	}
	return true
}

// into writes the numbers into dst.
func (c *ints) into(dst []int64) {
	if c.planes == intRuns {
		at := 0
		c.eachRun(func(v int64, n int) bool {
			for i := range dst[at : at+n] {
				dst[at+i] = v
			}
			at += n
			return true
		})
		return
	}
	base := c.base
	if c.planes == 1 && c.extras == 0 {
		for i, x := range c.plane[0] {
			dst[i] = unzigzag(uint64(x)) + base
		}
		return
	}
	for i, x := range c.plane[0] {
		dst[i] = int64(x)
	}
	for p := 1; p < c.planes; p++ {
		for i, x := range c.plane[p] {
			dst[i] |= int64(uint64(x) << (8 * p))
		}
	}
	at := 0
	for b := c.extra; len(b) > 0; at++ {
		skip, k := binary.Uvarint(b)
		high, l := binary.Uvarint(b[k:])
		at += int(skip)
		dst[at] |= int64(high << (8 * c.planes))
		b = b[k+l:]
	}
	for i, u := range dst {
		dst[i] = unzigzag(uint64(u)) + base
	}
}

// sums writes first and, behind it, the sums of first and the numbers up to each: n+1 in all. ok is false where one may
// leave ±2^53.
func (c *ints) sums(dst []int64, first int64) (ok bool) {
	dst[0] = first
	m := first
	switch {
	case c.planes == intRuns:
		at := 1
		c.eachRun(func(v int64, n int) bool {
			for i := range dst[at : at+n] {
				m += v
				dst[at+i] = m
			}
			at += n
			return true
		})
	case c.planes == 1 && c.extras == 0 && c.base == 0:
		out := dst[1:]
		plane := c.plane[0]
		out = out[:len(plane)]
		for i, x := range plane {
			m += unzigzag(uint64(x))
			out[i] = m
		}
		if first < maxMantissa-128*blockSamples && first > -maxMantissa+128*blockSamples {
			return true
		}
	default:
		c.into(dst[1:])
		for i, d := range dst[1:] {
			m += d
			dst[1+i] = m
		}
	}
	for _, m := range dst {
		if m > maxMantissa || m < -maxMantissa {
			return false
		}
	}
	return true
}
