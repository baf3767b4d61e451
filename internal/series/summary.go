package series

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
)

const (
	summaryVersion = 1
	// summaryGaps is how many of a day's widest distances a summary lists.
	summaryGaps = 8
)

// summary says of a chunk what wide queries need, so that they leave the chunk closed.
type summary struct {
	count, good           int64
	first, last, min, max lh.Sample // without their ranks
	sum                   float64
	worst                 lh.Flag
	// gaps are the widest distances between neighbours, by the sample before, widest first. When there are fewer than
	// summaryGaps, the day has no others.
	gaps []gap
}

// gap is a distance between two neighbouring samples.
type gap struct{ before, after lh.Millis }

func (g gap) width() lh.Millis { return g.after - g.before }

// summarize sums up the samples of one day, at least one. Of equal values the first counts, as a reader of the samples
// would find it.
func summarize(samples []lh.Sample) summary {
	s := summary{count: int64(len(samples)), first: samples[0], last: samples[len(samples)-1], min: samples[0], max: samples[0]}
	for i := range samples {
		p := &samples[i]
		if p.Flag == lh.FlagGood {
			s.good++
		}
		s.worst = max(s.worst, p.Flag)
		s.sum += p.Value
		if p.Value < s.min.Value {
			s.min = *p
		}
		if p.Value > s.max.Value {
			s.max = *p
		}
		if i > 0 {
			s.addGap(gap{samples[i-1].Time, p.Time})
		}
	}
	return s
}

func (s *summary) addGap(g gap) {
	if len(s.gaps) == summaryGaps && g.width() <= s.gaps[summaryGaps-1].width() {
		return
	}
	at, _ := slices.BinarySearchFunc(s.gaps, g, func(a, b gap) int { return int(b.width() - a.width()) })
	for at < len(s.gaps) && s.gaps[at].width() == g.width() {
		at++
	}
	if len(s.gaps) < summaryGaps {
		s.gaps = append(s.gaps, gap{})
	}
	copy(s.gaps[at+1:], s.gaps[at:])
	s.gaps[at] = g
}

func (s *summary) encode(day int32) []byte {
	b := []byte{summaryVersion, byte(s.worst)}
	b = binary.AppendUvarint(b, uint64(s.count))
	b = binary.AppendUvarint(b, uint64(s.good))
	start := lh.DayStart(day)
	for _, p := range []lh.Sample{s.first, s.last, s.min, s.max} {
		b = binary.AppendUvarint(b, uint64(p.Time-start))
		b = append(b, byte(p.Flag))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(p.Value))
	}
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(s.sum))
	b = append(b, byte(len(s.gaps)))
	for _, g := range s.gaps {
		b = binary.AppendUvarint(b, uint64(g.before-start))
		b = binary.AppendUvarint(b, uint64(g.width()))
	}
	return b
}

func decodeSummary(day int32, b []byte) (summary, error) {
	var s summary
	bad := fmt.Errorf("%w: its summary", errChunk)
	if len(b) < 2 || b[0] != summaryVersion || !lh.Flag(b[1]).Valid() {
		return s, bad
	}
	s.worst = lh.Flag(b[1])
	b = b[2:]
	ok := true
	number := func(most uint64) uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > most {
			ok = false
			return 0
		}
		b = b[n:]
		return v
	}
	float := func() float64 {
		if len(b) < 8 {
			ok = false
			return 0
		}
		v := math.Float64frombits(binary.LittleEndian.Uint64(b))
		b = b[8:]
		return v
	}
	s.count = int64(number(maxChunkSamples))
	s.good = int64(number(maxChunkSamples))
	start := lh.DayStart(day)
	for _, p := range []*lh.Sample{&s.first, &s.last, &s.min, &s.max} {
		p.Time = start + lh.Millis(number(lh.DayMillis-1))
		if len(b) == 0 {
			return s, bad
		}
		p.Flag, b = lh.Flag(b[0]), b[1:]
		p.Value = float()
		ok = ok && p.Flag.Valid() && !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0)
	}
	s.sum = float()
	if len(b) == 0 || b[0] > summaryGaps {
		return s, bad
	}
	n := int(b[0])
	b = b[1:]
	for range n {
		before := start + lh.Millis(number(lh.DayMillis-1))
		s.gaps = append(s.gaps, gap{before, before + lh.Millis(number(lh.DayMillis-1))})
	}
	if !ok || len(b) > 0 || s.count == 0 || s.good > s.count || s.first.Time > s.last.Time {
		return s, bad
	}
	return s, nil
}
