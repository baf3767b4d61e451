package series

import (
	"context"
	"math/bits"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Reduced is a series in the points asked for.
type Reduced struct {
	Samples []lh.Sample // ascending
	Count   int64       // samples in the range
	Reduced bool        // Samples are the least and greatest of buckets, not all
	// Gaps are where more than gapFactor expected intervals lie between two neighbouring samples of the range, by the
	// times of the two; at most maxGaps, the first ones.
	Gaps [][2]lh.Millis
}

const (
	// A distance of more than gapFactor (2.5, in halves) expected intervals is a gap.
	gapHalves = 5
	maxGaps   = 1000
)

// Reduce returns an element's series in [from, to) as people see it now: every sample if there are at most points of
// them or points is 0, else the least and the greatest of each of points/2 equal buckets over the extent of the data,
// with their true times and flags, so that every spike stays. Invalid: points is 1 or negative.
func (e *Engine) Reduce(ctx context.Context, sc store.Scope, el lh.Element, from, to lh.Millis, points int) (Reduced, error) {
	return e.ReduceView(ctx, sc, el, from, to, points, View{})
}

// ReduceView is [Engine.Reduce] as another View shows the series.
func (e *Engine) ReduceView(ctx context.Context, sc store.Scope, el lh.Element, from, to lh.Millis, points int, v View) (Reduced, error) {
	if points == 1 || points < 0 {
		return Reduced{}, lh.Errorf(lh.Invalid, "a series cannot be reduced to %d points; ask for 2 or more, or 0 for all", points)
	}
	in, err := e.reader(ctx, sc, el, from, to, v)
	if err != nil || from >= to {
		return Reduced{}, err
	}
	if err := in.unfolded(ctx); err != nil {
		return Reduced{}, err
	}
	if r, ok, err := in.reduceNarrow(ctx, points); ok || err != nil {
		return r, err
	}
	days, err := in.days(ctx)
	if err != nil {
		return Reduced{}, err
	}
	r := &reducer{limit: el.Interval * gapHalves / 2}
	// What must be opened in any case: days at the edges, with unfolded samples, and that are not shown as they are
	// stored. They tell how many samples there are and where they begin and end.
	opened := map[int32][]lh.Sample{}
	first, last := to, from
	for i := range days {
		d := &days[i]
		if d.whole(from, to) {
			r.count += d.summary.count
			first, last = min(first, d.summary.first.Time), max(last, d.summary.last.Time)
			continue
		}
		samples, err := in.open(ctx, d, nil)
		if err != nil {
			return Reduced{}, err
		}
		opened[d.number] = samples
		r.count += int64(len(samples))
		if n := len(samples); n > 0 {
			first, last = min(first, samples[0].Time), max(last, samples[n-1].Time)
		}
	}
	if r.count == 0 {
		return Reduced{}, nil
	}
	if points > 0 && r.count > int64(points) {
		r.reduced = true
		r.from, r.width, r.buckets = first, uint64(last-first)+1, uint64(points/2)
	} else {
		r.out = make([]lh.Sample, 0, r.count)
	}
	return in.reduceDays(ctx, days, opened, r)
}

// reduceNarrow reduces to buckets that are narrower than a day, so that no summary can answer for one: all days are
// opened, in one pass, and counted in it. ok is false where that is not how it is, or it turns out that there are no more
// samples than points.
func (in *reader) reduceNarrow(ctx context.Context, points int) (_ Reduced, ok bool, err error) {
	if points == 0 || in.past || len(in.parts) != 1 || len(in.parts[0].stack) > 0 || len(in.extra()) > 0 {
		return Reduced{}, false, nil
	}
	// The first and the last sample say where the buckets are.
	var ends [2]lh.Millis
	for i, day := range []int32{in.from.Day(), (in.to - 1).Day()} {
		c, found, err := in.e.db.NearestChunk(ctx, in.sc, in.el.ID, day, i == 0)
		if err != nil {
			return Reduced{}, false, err
		}
		if !found || c.Day < in.from.Day() || c.Day > (in.to-1).Day() {
			return Reduced{}, false, nil
		}
		body, err := c.Body()
		if err == nil {
			in.stored, err = in.e.codec.decodeRange(in.stored[:0], chunkMagic, c.Day, body, in.from, in.to)
		}
		if err != nil {
			return Reduced{}, false, in.e.unreadable(chunkKey{in.el.ID, c.Day}, err)
		}
		s := clip(in.stored, in.from, in.to)
		if len(s) == 0 {
			return Reduced{}, false, nil
		}
		if ends[i] = s[0].Time; i == 1 {
			ends[i] = s[len(s)-1].Time
		}
	}
	r := &reducer{limit: in.el.Interval * gapHalves / 2, reduced: true, from: ends[0], width: uint64(ends[1]-ends[0]) + 1, buckets: uint64(points / 2)}
	if ends[1] < ends[0] || r.width/r.buckets >= lh.DayMillis {
		return Reduced{}, false, nil
	}
	r.out = make([]lh.Sample, 0, min(2*r.buckets, 4000))
	s := &stream{r: in, form: asMantissas, next: in.from.Day(), last: (in.to - 1).Day()}
	s.enough = func(s *summary) bool {
		enough := r.enough(s)
		if enough {
			r.count += s.count
			r.summary(s)
		}
		return enough
	}
	err = s.each(ctx, func(p piece) error {
		if p.cols != nil {
			r.count += int64(p.cols.n)
		}
		r.count += int64(len(p.samples))
		return r.piece(p)
	})
	if err != nil || r.count <= int64(points) {
		return Reduced{}, false, err
	}
	r.flush()
	return Reduced{Samples: r.out, Count: r.count, Reduced: true, Gaps: r.gaps}, true, nil
}

// whole reports whether the day's summary answers for it: all of it is asked for, as it is stored, and nothing of it is
// unfolded.
func (d *day) whole(from, to lh.Millis) bool {
	return d.plain && d.stored && len(d.journal) == 0 && lh.DayStart(d.number) >= from && lh.DayStart(d.number+1) <= to
}

// reduceDays walks the days: those opened already, those a summary answers for, and the rest, whose chunks are read in
// one pass.
func (in *reader) reduceDays(ctx context.Context, days []day, opened map[int32][]lh.Sample, r *reducer) (Reduced, error) {
	isOpen := func(d *day) bool { _, ok := opened[d.number]; return ok }
	closed := func(d *day) bool { return !isOpen(d) && r.enough(&d.summary) }
	for i := 0; i < len(days); {
		d := &days[i]
		if isOpen(d) {
			r.samples(opened[d.number])
			i++
			continue
		}
		if closed(d) {
			r.summary(&d.summary)
			i++
			continue
		}
		// A run of days that must be opened: one query for all of them.
		j := i
		for j < len(days) && !isOpen(&days[j]) && !closed(&days[j]) {
			j++
		}
		f := asMantissas
		if !r.reduced {
			f = asSamples
		}
		if err := in.streamDays(ctx, f, days[i:j], r.piece); err != nil {
			return Reduced{}, err
		}
		i = j
	}
	r.flush()
	return Reduced{Samples: r.out, Count: r.count, Reduced: r.reduced, Gaps: r.gaps}, nil
}

// reducer takes samples and summaries in order of time.
type reducer struct {
	limit   int64 // ms; a greater distance is a gap; 0 is none
	count   int64
	reduced bool
	from    lh.Millis // of the first bucket
	width   uint64    // ms of all buckets together
	buckets uint64

	out      []lh.Sample
	gaps     [][2]lh.Millis
	any      bool
	previous lh.Millis
	current  uint64 // bucket of least and greatest
	open     bool
	least    lh.Sample
	greatest lh.Sample
}

// bucket returns the bucket of a time: floor((t-from) * buckets / width), without overflow. A sample beyond the extent,
// which was folded in while the answer was made, counts to the bucket at that end.
func (r *reducer) bucket(t lh.Millis) uint64 {
	offset := min(uint64(max(t-r.from, 0)), r.width-1)
	hi, lo := bits.Mul64(offset, r.buckets)
	q, _ := bits.Div64(hi, lo, r.width)
	return q
}

// enough reports whether a summary is: all it is of lies in one bucket, and it lists every gap.
func (r *reducer) enough(s *summary) bool {
	return r.reduced && r.bucket(s.first.Time) == r.bucket(s.last.Time) && (r.limit == 0 || int64(s.rest) <= r.limit)
}

func (r *reducer) step(t lh.Millis) {
	if r.any && r.limit > 0 && int64(t-r.previous) > r.limit && len(r.gaps) < maxGaps {
		r.gaps = append(r.gaps, [2]lh.Millis{r.previous, t})
	}
	r.previous, r.any = t, true
}

// piece takes the next samples in whichever form they come.
func (r *reducer) piece(p piece) error {
	if p.cols != nil {
		r.columns(p.cols)
	} else {
		r.samples(p.samples)
	}
	return nil
}

func (r *reducer) columns(c *columns) {
	r.step(c.first)
	at := c.first
	for _, s := range c.steps {
		if end := at + s.step*lh.Millis(s.n); r.limit == 0 || int64(s.step) <= r.limit {
			at, r.previous = end, end
		} else {
			for at < end {
				at += s.step
				r.step(at)
			}
		}
	}
	for _, t := range c.times[min(1, len(c.times)):] {
		r.step(t)
	}
	for i, t := 0, c.first; i < c.n; {
		bucket := r.bucket(t)
		end := r.end(bucket)
		j := c.before(end)
		least, greatest := c.extremes(i, j)
		r.into(bucket, c.at(least), c.at(greatest))
		if i = j; i < c.n {
			t = c.at(i).Time
		}
	}
}

func (r *reducer) samples(s []lh.Sample) {
	if !r.reduced {
		for i := range s {
			r.step(s[i].Time)
		}
		r.out = append(r.out, s...)
		return
	}
	for i := 0; i < len(s); {
		// The run of samples in one bucket; where it ends is worked out once for all of them.
		bucket := r.bucket(s[i].Time)
		end := r.end(bucket)
		least, greatest := i, i
		r.step(s[i].Time)
		for i++; i < len(s) && s[i].Time < end; i++ {
			r.step(s[i].Time)
			if s[i].Value < s[least].Value {
				least = i
			}
			if s[i].Value > s[greatest].Value {
				greatest = i
			}
		}
		r.into(bucket, s[least], s[greatest])
	}
}

// end returns the first time after a bucket. The last bucket also takes what lies beyond the extent.
func (r *reducer) end(bucket uint64) lh.Millis {
	if bucket+1 >= r.buckets {
		return lh.MaxMillis + 1
	}
	// The least offset with offset*buckets/width >= bucket+1.
	hi, lo := bits.Mul64(bucket+1, r.width)
	q, rest := bits.Div64(hi, lo, r.buckets)
	if rest > 0 {
		q++
	}
	return r.from + lh.Millis(q)
}

// summary takes a day that lies in one bucket.
func (r *reducer) summary(s *summary) {
	r.step(s.first.Time)
	// The listed gaps are widest first; they are told in order of time.
	for last := s.first.Time; r.limit > 0; {
		next := gap{}
		for _, g := range s.gaps {
			if int64(g.width()) > r.limit && g.before >= last && (next.after == 0 && next.before == 0 || g.before < next.before) {
				next = g
			}
		}
		if next.width() == 0 {
			break
		}
		if len(r.gaps) < maxGaps {
			r.gaps = append(r.gaps, [2]lh.Millis{next.before, next.after})
		}
		last = next.after
	}
	r.previous = s.last.Time
	r.into(r.bucket(s.first.Time), s.min, s.max)
}

func (r *reducer) into(bucket uint64, least, greatest lh.Sample) {
	if !r.open || bucket != r.current {
		r.flush()
		r.current, r.open, r.least, r.greatest = bucket, true, least, greatest
		return
	}
	if least.Value < r.least.Value {
		r.least = least
	}
	if greatest.Value > r.greatest.Value {
		r.greatest = greatest
	}
}

// flush writes the open bucket: its least and greatest in order of time.
func (r *reducer) flush() {
	if !r.open {
		return
	}
	r.open = false
	a, b := r.least, r.greatest
	if a.Time > b.Time {
		a, b = b, a
	}
	a.Rank, b.Rank = 0, 0 // a summary does not know them
	r.out = append(r.out, a)
	if a.Time != b.Time {
		r.out = append(r.out, b)
	}
}
