package series

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
)

const (
	summaryVersion  = 2
	summaryVersion1 = 1
	// summaryGaps is how many of a day's widest distances a summary may list.
	summaryGaps = 8
)

// Bits of a summary's second byte. The lowest two number the unit of its times.
const (
	summaryUnits  = 3
	summaryFlags  = 4 // the four samples have flags of their own, not all the worst
	summaryFloats = 8 // values are bits of float64
	summaryKnown  = summaryUnits | summaryFlags | summaryFloats
)

// units are what a summary counts its times in: the greatest that leaves no rest.
var units = [...]lh.Millis{1, 1000, 60_000}

// summary says of a chunk what wide queries need, so that they leave the chunk closed.
type summary struct {
	count, good           int64
	first, last, min, max lh.Sample // without their ranks
	sum                   float64
	worst                 lh.Flag
	// gaps are distances between neighbours that are wide for this day, by the sample before, widest first; of equal
	// ones the first comes first. rest is the widest distance that is not listed; 0 is none.
	gaps []gap
	rest lh.Millis
}

// gap is a distance between two neighbouring samples.
type gap struct{ before, after lh.Millis }

func (g gap) width() lh.Millis { return g.after - g.before }

// summarize sums up the samples of one day, at least one. Of equal values the first counts, as a reader of the samples
// would find it.
func summarize(samples []lh.Sample) summary {
	s := summary{count: int64(len(samples)), first: samples[0], last: samples[len(samples)-1]}
	least, greatest := 0, 0
	lo, hi := samples[0].Value, samples[0].Value
	for i := range samples {
		p := &samples[i]
		if p.Flag == lh.FlagGood {
			s.good++
		}
		s.worst = max(s.worst, p.Flag)
		s.sum += p.Value
		if p.Value < lo {
			lo, least = p.Value, i
		}
		if p.Value > hi {
			hi, greatest = p.Value, i
		}
	}
	s.min, s.max = samples[least], samples[greatest]
	s.findGaps(samples)
	for _, p := range []*lh.Sample{&s.first, &s.last, &s.min, &s.max} {
		p.Rank = 0
	}
	return s
}

// findGaps lists the widest distances, at most summaryGaps, of those that are more than one and a half times the mean.
// More would only repeat how often samples come.
func (s *summary) findGaps(samples []lh.Sample) {
	n := lh.Millis(len(samples) - 1)
	if n == 0 {
		return
	}
	most := (s.last.Time - s.first.Time) * 3 / (2 * n)
	prev := samples[0].Time
	for i := range samples[1:] {
		t := samples[1+i].Time
		if t-prev > most {
			s.addGap(gap{prev, t})
		} else if t-prev > s.rest {
			s.rest = t - prev
		}
		prev = t
	}
}

func (s *summary) addGap(g gap) {
	if len(s.gaps) == summaryGaps {
		narrow := s.gaps[summaryGaps-1].width()
		if s.rest = max(s.rest, min(narrow, g.width())); g.width() <= narrow {
			return
		}
		s.gaps = s.gaps[:summaryGaps-1]
	}
	at := len(s.gaps)
	for at > 0 && s.gaps[at-1].width() < g.width() {
		at--
	}
	s.gaps = slices.Insert(s.gaps, at, g)
}

// encode writes the newest version; docs/format/summary.md describes the bytes.
func (s *summary) encode(day int32) []byte {
	b := make([]byte, 0, 64)
	kind, start := byte(0), lh.DayStart(day)
	times := []lh.Millis{s.last.Time, s.min.Time, s.max.Time}
	for u := byte(len(units) - 1); u > 0; u-- {
		fits := s.rest%units[u] == 0
		for _, t := range times {
			fits = fits && (t-s.first.Time)%units[u] == 0
		}
		for _, g := range s.gaps {
			fits = fits && (g.before-s.first.Time)%units[u] == 0 && g.width()%units[u] == 0
		}
		if fits {
			kind = u
			break
		}
	}
	unit := units[kind]
	four := []lh.Sample{s.first, s.last, s.min, s.max}
	for _, p := range four {
		if p.Flag != s.worst {
			kind |= summaryFlags
		}
	}
	var m [4]int64
	places, decimal := mantissas(m[:], four)
	if !decimal {
		kind |= summaryFloats
	}
	b = append(b, summaryVersion, kind, byte(s.worst))
	b = binary.AppendUvarint(b, uint64(s.count))
	b = binary.AppendUvarint(b, uint64(s.count-s.good))
	b = binary.AppendUvarint(b, uint64(s.first.Time-start))
	for _, t := range times {
		b = binary.AppendUvarint(b, uint64((t-s.first.Time)/unit))
	}
	if kind&summaryFlags != 0 {
		for _, p := range four {
			b = append(b, byte(p.Flag))
		}
	}
	if decimal {
		b = binary.AppendVarint(append(b, byte(places)), m[0])
		for _, v := range m[1:] {
			b = binary.AppendVarint(b, v-m[0])
		}
	} else {
		for _, p := range four {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(p.Value))
		}
	}
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(s.sum))
	b = binary.AppendUvarint(b, uint64(s.rest/unit))
	b = append(b, byte(len(s.gaps)))
	for _, g := range s.gaps {
		b = binary.AppendUvarint(b, uint64((g.before-s.first.Time)/unit))
		b = binary.AppendUvarint(b, uint64(g.width()/unit))
	}
	return b
}

// besideFrom is from how many samples on a chunk has a summary beside it. Of fewer the body is no longer than both
// summary and seal, and opened as fast: it says the same.
const besideFrom = 48

// summaryBeside is what stands beside the chunk of some samples, at least one; nil is nothing.
func summaryBeside(day int32, samples []lh.Sample) []byte {
	if len(samples) < besideFrom {
		return nil
	}
	s := summarize(samples)
	return s.encode(day)
}

// summaryReader reads the parts of a summary; ok is false once one was not there.
type summaryReader struct {
	b  []byte
	ok bool
}

func (r *summaryReader) number(most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > most {
		r.ok, r.b = false, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *summaryReader) signed() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.ok, r.b = false, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *summaryReader) byte() byte {
	if len(r.b) == 0 {
		r.ok = false
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *summaryReader) float() float64 {
	if len(r.b) < 8 {
		r.ok, r.b = false, nil
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	r.b = r.b[8:]
	return v
}

// decodeSummary reads a summary of any version.
func decodeSummary(day int32, b []byte) (summary, error) {
	var s summary
	r := summaryReader{b, true}
	switch r.byte() {
	case summaryVersion:
		r.summary(&s, day)
	case summaryVersion1:
		r.summary1(&s, day)
	default:
		r.ok = false
	}
	r.ok = r.ok && len(r.b) == 0 && s.count > 0 && s.good >= 0 && s.good <= s.count && s.worst.Valid() && s.first.Time <= s.last.Time
	for _, p := range []*lh.Sample{&s.first, &s.last, &s.min, &s.max} {
		r.ok = r.ok && p.Flag.Valid() && !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) && p.Time.Day() == day &&
			p.Time >= s.first.Time && p.Time <= s.last.Time
	}
	for _, g := range s.gaps {
		r.ok = r.ok && g.before >= s.first.Time && g.after <= s.last.Time
	}
	if !r.ok {
		return summary{}, fmt.Errorf("%w: its summary", errChunk)
	}
	return s, nil
}

func (r *summaryReader) summary(s *summary, day int32) {
	kind := r.byte()
	if kind&^summaryKnown != 0 || int(kind&summaryUnits) >= len(units) {
		r.ok = false
		return
	}
	unit := units[kind&summaryUnits]
	span := func() lh.Millis { return lh.Millis(r.number(lh.DayMillis/uint64(unit))) * unit }
	s.worst = lh.Flag(r.byte())
	s.count = int64(r.number(maxChunkSamples))
	s.good = s.count - int64(r.number(maxChunkSamples))
	s.first.Time = lh.DayStart(day) + lh.Millis(r.number(lh.DayMillis-1))
	for _, p := range []*lh.Sample{&s.last, &s.min, &s.max} {
		p.Time = s.first.Time + span()
	}
	four := [...]*lh.Sample{&s.first, &s.last, &s.min, &s.max}
	for _, p := range four {
		p.Flag = s.worst
		if kind&summaryFlags != 0 {
			p.Flag = lh.Flag(r.byte())
		}
	}
	if kind&summaryFloats != 0 {
		for _, p := range four {
			p.Value = r.float()
		}
	} else {
		places, first := r.byte(), r.signed()
		if places > maxPlaces {
			r.ok = false
			return
		}
		m := first
		for i, p := range four {
			if i > 0 {
				m = first + r.signed()
			}
			r.ok = r.ok && m <= maxMantissa && m >= -maxMantissa
			p.Value = float64(m) / pow10[places]
		}
	}
	s.sum = r.float()
	s.rest = span()
	n := r.byte()
	if n > summaryGaps {
		r.ok = false
		return
	}
	for range n {
		before := s.first.Time + span()
		s.gaps = append(s.gaps, gap{before, before + span()})
	}
}

// summary1 reads version 1, which listed the widest distances whether they were wide for the day or not.
func (r *summaryReader) summary1(s *summary, day int32) {
	start := lh.DayStart(day)
	s.worst = lh.Flag(r.byte())
	s.count = int64(r.number(maxChunkSamples))
	s.good = int64(r.number(maxChunkSamples))
	for _, p := range []*lh.Sample{&s.first, &s.last, &s.min, &s.max} {
		p.Time = start + lh.Millis(r.number(lh.DayMillis-1))
		p.Flag = lh.Flag(r.byte())
		p.Value = r.float()
	}
	s.sum = r.float()
	n := r.byte()
	if n > summaryGaps {
		r.ok = false
		return
	}
	for range n {
		before := start + lh.Millis(r.number(lh.DayMillis-1))
		s.gaps = append(s.gaps, gap{before, before + lh.Millis(r.number(lh.DayMillis-1))})
	}
	if n == summaryGaps { // there may be more of its width
		s.rest = s.gaps[n-1].width()
	}
}

// sumsUp reports whether a stored summary, of any version, is what the samples add up to; none is where they need none.
func sumsUp(day int32, stored []byte, samples []lh.Sample) bool {
	if len(stored) == 0 {
		return len(samples) > 0 && len(samples) < besideFrom
	}
	got, err := decodeSummary(day, stored)
	if err != nil {
		return false
	}
	want := summarize(samples)
	if stored[0] == summaryVersion1 {
		want.gaps, want.rest = nil, 0
		for i := range samples[1:] {
			want.addGap(gap{samples[i].Time, samples[1+i].Time})
		}
		want.rest = 0
		if len(want.gaps) == summaryGaps {
			want.rest = want.gaps[summaryGaps-1].width()
		}
	}
	return got.equal(&want)
}

// checkBlocks says what is wrong with the summaries in a chunk's directory, whose samples are given.
func checkBlocks(day int32, body []byte, samples []lh.Sample) error {
	if version1(body) {
		return nil
	}
	blocks, err := blocksOf(nil, chunkMagic, body)
	if err != nil || len(blocks) == 1 {
		return err
	}
	for _, b := range blocks {
		s, err := decodeSummary(day, b.summary)
		if err != nil {
			return err
		}
		n := min(int(s.count), len(samples))
		if n == 0 {
			return damaged("directory")
		}
		if got := summarize(samples[:n]); !got.equal(&s) {
			return fmt.Errorf("%w: its directory is not what its samples add up to", errChunk)
		}
		samples = samples[n:]
	}
	if len(samples) > 0 {
		return damaged("directory")
	}
	return nil
}

// equal compares bit for bit.
func (s *summary) equal(t *summary) bool {
	same := func(a, b lh.Sample) bool {
		return a.Time == b.Time && a.Flag == b.Flag && math.Float64bits(a.Value) == math.Float64bits(b.Value)
	}
	return s.count == t.count && s.good == t.good && s.worst == t.worst && same(s.first, t.first) && same(s.last, t.last) &&
		same(s.min, t.min) && same(s.max, t.max) && math.Float64bits(s.sum) == math.Float64bits(t.sum) && s.rest == t.rest && slices.Equal(s.gaps, t.gaps)
}
