package series

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// An arrival says when an upload came: the records of ranks RankOf(epoch, first) and the count-1 after it. The
// arrivals of a device and a day (of the hub's clock) are kept together; docs/format/arrival.md describes the bytes.
type arrival struct {
	epoch, first, count uint32
	received            lh.Millis
}

const arrivalMagic = "LHA1"

// maxArrivals bounds the arrivals of a device on one day.
const maxArrivals = 16 << 20

func compareArrivals(a, b arrival) int {
	return cmp.Or(cmp.Compare(a.received, b.received), cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.first, b.first), cmp.Compare(a.count, b.count))
}

// encodeArrivals writes the arrivals of one day, which it sorts, each once. It returns their least and greatest rank.
func (c *codec) encodeArrivals(day int32, as []arrival) (body []byte, least, greatest lh.Rank, err error) {
	slices.SortFunc(as, compareArrivals)
	as = slices.Compact(as)
	raw := binary.AppendUvarint(make([]byte, 0, 8+len(as)*6), uint64(len(as)))
	least = math.MaxUint64
	at, epoch, next := lh.DayStart(day), int64(0), int64(0)
	for _, a := range as {
		raw = binary.AppendUvarint(raw, uint64(a.received-at))
		raw = binary.AppendVarint(raw, int64(a.epoch)-epoch)
		raw = binary.AppendVarint(raw, int64(a.first)-next) // mostly 0: uploads follow one another
		raw = binary.AppendUvarint(raw, uint64(a.count))
		at, epoch, next = a.received, int64(a.epoch), int64(a.first)+int64(a.count)
		least = min(least, lh.RankOf(a.epoch, a.first))
		greatest = max(greatest, lh.RankOf(a.epoch, a.first+a.count-1))
	}
	body, err = c.pack(arrivalMagic, raw)
	return body, least, greatest, err
}

// decodeArrivals reads them behind dst.
func (c *codec) decodeArrivals(dst []arrival, day int32, body []byte) ([]arrival, error) {
	b, err := c.unpack(arrivalMagic, body, nil)
	if err != nil {
		return dst, err
	}
	bad := func(what string) ([]arrival, error) { return dst, fmt.Errorf("%w: its %s", errChunk, what) }
	n, k := binary.Uvarint(b)
	if k <= 0 || n > maxArrivals || n > uint64(len(b)) {
		return bad("count")
	}
	b = b[k:]
	at, epoch, next := lh.DayStart(day), int64(0), int64(0)
	end := lh.DayStart(day + 1)
	for range n {
		var v [4]int64
		for i := range v {
			if i == 1 || i == 2 {
				v[i], k = binary.Varint(b)
			} else {
				var u uint64
				u, k = binary.Uvarint(b)
				v[i] = int64(min(u, math.MaxInt64))
			}
			if k <= 0 {
				return bad("arrivals")
			}
			b = b[k:]
		}
		if v[0] >= lh.DayMillis || max(v[1], -v[1]) > math.MaxUint32 || max(v[2], -v[2]) > 2*math.MaxUint32 {
			return bad("arrivals")
		}
		at, epoch, next = at+lh.Millis(v[0]), epoch+v[1], next+v[2]
		if at >= end || epoch < 0 || epoch > math.MaxUint32 || next < 0 || v[3] < 1 || next+v[3]-1 > math.MaxUint32 {
			return bad("arrivals")
		}
		dst = append(dst, arrival{uint32(epoch), uint32(next), uint32(v[3]), at})
		next += v[3]
	}
	if len(b) > 0 {
		return bad("end")
	}
	return dst, nil
}

// arrivals answers when a rank first arrived.
type arrivals struct {
	by map[uint32][]span // by epoch: disjoint, ascending
}

// span is a run of sequence numbers with one first arrival.
type span struct {
	first, last uint64
	received    lh.Millis
}

// newArrivals takes arrivals in any order, repeated deliveries too: the first counts.
func newArrivals(as []arrival) arrivals {
	slices.SortFunc(as, compareArrivals)
	a := arrivals{map[uint32][]span{}}
	for _, v := range as {
		a.by[v.epoch] = cover(a.by[v.epoch], span{uint64(v.first), uint64(v.first) + uint64(v.count) - 1, v.received})
	}
	return a
}

// cover adds those parts of s that no earlier span covers.
func cover(spans []span, s span) []span {
	i, _ := slices.BinarySearchFunc(spans, s.first, func(x span, t uint64) int { return cmp.Compare(x.last, t) })
	for ; s.first <= s.last; i++ {
		if i == len(spans) || s.last < spans[i].first {
			return slices.Insert(spans, i, s)
		}
		if s.first < spans[i].first {
			spans = slices.Insert(spans, i, span{s.first, spans[i].first - 1, s.received})
			i++
		}
		s.first = spans[i].last + 1
	}
	return spans
}

// of returns when a rank first arrived; ok is false where no arrival holds it.
func (a arrivals) of(r lh.Rank) (at lh.Millis, ok bool) {
	spans := a.by[uint32(r>>32)]
	seq := uint64(uint32(r))
	i, _ := slices.BinarySearchFunc(spans, seq, func(x span, t uint64) int { return cmp.Compare(x.last, t) })
	if i == len(spans) || seq < spans[i].first {
		return 0, false
	}
	return spans[i].received, true
}
