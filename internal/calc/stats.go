package calc

import (
	"math"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Options say what is known of a series and what is asked of it. A zero field has the default in brackets.
type Options struct {
	// Meaning is what the time of a sample stands for [instantaneous]. A statistic of the preceding interval belongs to
	// the bucket in which that interval ends, so a sample stamped exactly at a cut counts to the bucket before it.
	Meaning lh.Meaning
	// Interval is the expected distance between samples, ms; 0 is unknown: nothing is expected and nothing is a gap.
	Interval int64
	// GapFactor times Interval is the greatest distance that is no gap [2.5].
	GapFactor float64
	// Complete is the share of expected samples that must be good for a bucket to be complete [0.75].
	Complete float64
	// Rollover is the value at which a counter begins again at 0. 0 is none: then any drop is a reset.
	Rollover float64
	// Percentiles that are asked for, each in 0–100. They keep a bucket's values in memory, 8 bytes each.
	Percentiles []float64
	// Simple leaves out what needs more than each sample's value by itself: StdDev, TimeMeanLinear, TimeMeanCarried and
	// Increase are NaN. Whole days may then come as summaries; see [Aggregator.AddDay].
	Simple bool
	// Directions takes the values as degrees, 0 to 360, and makes Direction and DirectionDeviation of them.
	Directions bool
}

func (o Options) gap() float64 {
	if o.GapFactor == 0 {
		o.GapFactor = 2.5
	}
	if o.Interval == 0 {
		return math.Inf(1)
	}
	return o.GapFactor * float64(o.Interval)
}

// Stats are the statistics of one bucket. Samples flagged bad or missing are received and nothing else: no statistic
// uses them. Where Used is 0, only TimeMeanCarried can have a value; what has none is NaN.
type Stats struct {
	Start, End lh.Millis // [Start, End); (Start, End] for statistics of the preceding interval
	// Expected is how many samples the interval lets expect (0: unknown), Received how many came, Used how many of
	// them are not bad, Good how many are neither bad nor suspect.
	Expected, Received, Used, Good int64
	// Incomplete says that fewer than the share asked for are good, or that a total has a gap in it.
	Incomplete bool
	Flag       lh.Flag // the worst of all received; missing where none was

	Sum, Mean, StdDev float64 // StdDev: of the sample (n−1); NaN below 2
	Min, Max          lh.Sample
	First, Last       lh.Sample
	// TimeMeanLinear weighs values by time along straight lines between samples, over the bucket's edges; time within
	// gaps does not count. TimeMeanCarried carries each value forward to the next sample, through empty buckets.
	TimeMeanLinear, TimeMeanCarried float64
	// Increase is the sum of increases of a counter, from the last sample before the bucket.
	Increase    float64
	Percentiles []float64 // in the order asked; linear between ranks
	// Direction is the unit-vector mean in [0, 360) and DirectionDeviation Yamartino's standard deviation, in degrees,
	// of values that are directions.
	Direction, DirectionDeviation float64
}

// Aggregator makes [Stats] of samples that come in ascending order, bucket by bucket. The samples just before and just
// after the range, where there are such, make the values at its edges right: hand them over too. Not safe for
// concurrent use.
type Aggregator struct {
	cal      Calendar
	zone     zoneSpan
	o        Options
	from, to lh.Millis
	emit     func(*Stats) error
	gap      float64   // ms; a greater distance is one
	shift    lh.Millis // 1 where a sample at a cut counts to the bucket before it

	s      Stats
	open   bool
	at     lh.Millis // where the next bucket begins
	sum    daySum
	moment moment
	values []float64
	wind   Wind

	// Bad samples wait here until their bucket closes: only the next usable one tells where the line over them ends.
	bad []badRun

	prev      lh.Sample // newest usable sample
	have      bool
	linear    float64 // value × ms of the open bucket
	linearMs  float64 // ms it covers
	carried   float64 // likewise
	carriedMs float64
	walked    lh.Millis // up to where carried is counted
	even      stretch   // is not in the four yet
	gapped    bool      // the open bucket's total has a gap in it
}

// NewAggregator aggregates [from, to) into the calendar's buckets, the first and last cut at from and to, and hands
// each to emit, empty ones too. emit must not keep its argument.
func NewAggregator(cal Calendar, from, to lh.Millis, o Options, emit func(*Stats) error) *Aggregator {
	a := &Aggregator{cal: cal, o: o, from: from, to: to, emit: emit, at: from, walked: from, gap: o.gap()}
	switch o.Meaning {
	case lh.PrecedingMean, lh.PrecedingSum, lh.PrecedingMin, lh.PrecedingMax:
		a.shift = 1
	}
	return a
}

// badRun is samples of one bucket that are received and not used.
type badRun struct {
	next lh.Millis // where the bucket after theirs begins
	n    int64
	flag lh.Flag
}

// begin opens the next bucket.
func (a *Aggregator) begin() {
	start, end := a.at, min(a.cal.next(a.at, &a.zone), a.to)
	a.s = Stats{Start: start, End: end, Percentiles: a.s.Percentiles[:0]}
	if a.o.Interval > 0 {
		a.s.Expected = max(1, int64(math.Round(float64(end-start)/float64(a.o.Interval))))
	}
	a.open, a.at = true, end
	a.sum, a.moment, a.values, a.wind = daySum{}, moment{}, a.values[:0], Wind{}
	a.linear, a.linearMs, a.carried, a.carriedMs, a.gapped = 0, 0, 0, 0, false
}

// close completes the open bucket and hands it over.
func (a *Aggregator) close() error {
	a.carry(a.s.End)
	s := &a.s
	for len(a.bad) > 0 && min(a.bad[0].next, a.to) <= s.End {
		s.Received += a.bad[0].n
		s.Flag = max(s.Flag, a.bad[0].flag)
		a.bad = a.bad[1:]
	}
	nan := math.NaN()
	s.Sum, s.Mean, s.StdDev, s.TimeMeanLinear, s.TimeMeanCarried = nan, nan, nan, nan, nan
	if s.Used > 0 {
		s.Sum = a.sum.total()
		s.Mean = s.Sum / float64(s.Used)
		s.StdDev = a.moment.stdDev()
	}
	if s.Used == 0 || a.o.Simple {
		s.Increase = nan
	}
	if s.Received == 0 {
		s.Flag = lh.FlagMissing
	}
	if a.linearMs > 0 {
		s.TimeMeanLinear = a.linear / a.linearMs
	} else if s.Used > 0 && !a.o.Simple {
		s.TimeMeanLinear = s.Mean // samples, but no line between any two of them
	}
	if a.carriedMs > 0 {
		s.TimeMeanCarried = a.carried / a.carriedMs
	}
	s.Direction, s.DirectionDeviation = nan, nan
	if a.o.Directions {
		s.Direction, s.DirectionDeviation = a.wind.MeanDirection(), a.wind.Yamartino()
	}
	share := a.o.Complete
	if share == 0 {
		share = 0.75
	}
	s.Incomplete = a.gapped || s.Expected > 0 && float64(s.Good) < share*float64(s.Expected)
	slices.Sort(a.values)
	for _, p := range a.o.Percentiles {
		s.Percentiles = append(s.Percentiles, percentile(a.values, p))
	}
	a.open = false
	return a.emit(s)
}

// reach closes every bucket that ends at or before t (as shifted), and opens the one that holds it.
func (a *Aggregator) reach(t lh.Millis) error {
	for {
		if !a.open {
			if a.at >= a.to {
				return nil
			}
			a.begin()
		}
		if t < a.s.End {
			return nil
		}
		if err := a.close(); err != nil {
			return err
		}
	}
}

// Add takes the next sample. Its rank is left out.
func (a *Aggregator) Add(s lh.Sample) error {
	s.Rank = 0
	usable := s.Flag != lh.FlagBad && s.Flag != lh.FlagMissing
	at := s.Time - a.shift
	if at < a.from {
		if usable {
			a.prev, a.have = s, true
		}
		return nil
	}
	if !usable {
		if at < a.to {
			a.addBad(at, s.Flag)
		}
		return nil
	}
	evenly := a.goesOn(s.Time, at)
	if !evenly && a.have && !a.o.Simple {
		if err := a.line(a.prev, s); err != nil {
			return err
		}
	}
	if err := a.reach(at); err != nil {
		return err
	}
	if at >= a.to {
		return nil
	}
	a.s.Received++
	a.s.Flag = max(a.s.Flag, s.Flag)
	if s.Flag != lh.FlagSuspect {
		a.s.Good++
	}
	switch {
	case a.o.Simple:
	case evenly:
		a.stretch(s.Time-a.prev.Time, 1)
		a.even.sum += s.Value
		a.moment.add(s.Value)
	default:
		a.carry(s.Time)
		a.moment.add(s.Value)
	}
	if a.have {
		if s.Value >= a.prev.Value {
			a.s.Increase += s.Value - a.prev.Value
		} else {
			a.s.Increase += fallen(a.prev.Value, s.Value, a.o.Rollover)
		}
		a.gapped = a.gapped || a.o.Meaning == lh.Counter && float64(s.Time-a.prev.Time) > a.gap
	}
	if a.s.Used == 0 {
		a.s.First, a.s.Min, a.s.Max = s, s, s
	}
	if s.Value < a.s.Min.Value {
		a.s.Min = s
	}
	if s.Value > a.s.Max.Value {
		a.s.Max = s
	}
	a.s.Last = s
	a.s.Used++
	a.sum.add(s)
	if len(a.o.Percentiles) > 0 {
		a.values = append(a.values, s.Value)
	}
	if a.o.Directions {
		a.wind.AddDirection(s.Value)
	}
	a.prev, a.have = s, true
	return nil
}

func (a *Aggregator) addBad(at lh.Millis, f lh.Flag) {
	if n := len(a.bad); n > 0 && at < a.bad[n-1].next {
		a.bad[n-1].n++
		a.bad[n-1].flag = max(a.bad[n-1].flag, f)
		return
	}
	a.bad = append(a.bad, badRun{a.cal.next(at, &a.zone), 1, f})
}

// Finish closes the buckets that are left.
func (a *Aggregator) Finish() error { return a.reach(a.to) }

// line adds the straight line from p to q to every bucket it crosses, closing those it leaves behind. A line over a
// gap is none: nothing is interpolated silently.
func (a *Aggregator) line(p, q lh.Sample) error {
	a.flatten()
	if float64(q.Time-p.Time) > a.gap {
		return nil
	}
	span := float64(q.Time - p.Time)
	if a.open && p.Time >= a.s.Start && q.Time <= a.s.End { // what follows, for a line that crosses no edge
		a.linear += float64((p.Value + q.Value) / 2 * span)
		a.linearMs += span
		return nil
	}
	value := func(t lh.Millis) float64 {
		if t == q.Time {
			return q.Value
		}
		return p.Value + float64((q.Value-p.Value)*(float64(t-p.Time)/span))
	}
	for x := max(p.Time, a.from); x < min(q.Time, a.to); {
		if err := a.reach(x); err != nil {
			return err
		}
		y := min(q.Time, a.s.End)
		a.linear += float64((value(x) + value(y)) / 2 * float64(y-x))
		a.linearMs += float64(y - x)
		x = y
	}
	return nil
}

// stretch is a run of neighbours in one bucket that lie equally far apart, with no gap: their lines and what is carried
// between them follow from one sum.
type stretch struct {
	span       lh.Millis // from each to the next; 0: there is no stretch
	first, sum float64   // sum: of all values, the first and the last too
}

// goesOn reports whether a usable sample, which counts at a time, lies in the open bucket with all of what leads to it.
func (a *Aggregator) goesOn(t, at lh.Millis) bool {
	return a.have && a.open && !a.o.Simple && a.prev.Time >= a.s.Start && at < a.s.End && a.walked == a.prev.Time && float64(t-a.prev.Time) <= a.gap && t > a.prev.Time
}

// stretch makes room for n more samples that lie span apart, the first of them as far from the newest. Their values are
// to be added to the sum.
func (a *Aggregator) stretch(span lh.Millis, n int) {
	if a.even.span != span {
		a.flatten()
		a.even = stretch{span, a.prev.Value, a.prev.Value}
	}
	ms := float64(span) * float64(n) // whole, far fewer than 2^53: to add them at once is to add them one by one
	a.linearMs += ms
	a.carriedMs += ms
	a.walked = a.prev.Time + span*lh.Millis(n)
}

// flatten counts the stretch, which ends with the newest sample.
func (a *Aggregator) flatten() {
	if a.even.span == 0 {
		return
	}
	span, last := float64(a.even.span), a.prev.Value
	carried := a.even.sum - last
	a.carried += float64(carried * span)
	a.linear += float64((carried + (last-a.even.first)/2) * span)
	a.even.span = 0
}

// carry counts the newest value up to t, which lies in the open bucket or at its end.
func (a *Aggregator) carry(t lh.Millis) {
	if a.o.Simple {
		return
	}
	a.flatten()
	if a.have && t > a.walked {
		a.carried += float64(a.prev.Value * float64(t-a.walked))
		a.carriedMs += float64(t - a.walked)
	}
	a.walked = max(a.walked, t)
}

// fallen is by how much a counter grew that was at a and is at b, which is less: a roll-over where the counter has one,
// else a reset, since which it has counted b.
func fallen(a, b, rollover float64) float64 {
	if rollover > 0 && a <= rollover {
		return rollover - a + b
	}
	return max(b, 0)
}

// daySum adds values up day by day (UTC), and the days' sums to a total. Stored summaries hold the sums of whole days;
// adding in this order gives the same bits whether a day's sum comes from its summary or from its samples.
type daySum struct {
	days, current float64
	start, end    lh.Millis // of the day that current is of; both 0 before the first
}

func (d *daySum) add(s lh.Sample) {
	if s.Time < d.start || s.Time >= d.end {
		day := s.Time.Day()
		d.days, d.current, d.start, d.end = d.days+d.current, 0, lh.DayStart(day), lh.DayStart(day+1)
	}
	d.current += s.Value
}

// whole adds a day of which nothing was added before, by its sum.
func (d *daySum) whole(day int32, sum float64) {
	d.days, d.current, d.start, d.end = d.days+d.current, sum, lh.DayStart(day), lh.DayStart(day+1)
}

func (d *daySum) total() float64 { return d.days + d.current }

// moment is the running variance. It takes momentBlock values at a time as their distances from the first of them, and
// the squares of those: as that one is among them, hardly anything cancels, however large the values and close together
// they are, and no value waits for a division after the one before. Blocks are joined by Chan's formula.
type moment struct {
	n, mean, m          float64 // of the blocks that are full
	k                   int     // values of the open block
	first, sum, squares float64
}

const momentBlock = 64

func (m *moment) add(v float64) {
	if m.k == 0 {
		m.first = v
	}
	d := v - m.first
	m.sum += d
	m.squares += float64(d * d) // the conversion forbids to fuse, so that every processor gives the same bits
	if m.k++; m.k == momentBlock {
		m.join()
	}
}

// join adds the open block to the others.
func (m *moment) join() {
	if m.k == 0 {
		return
	}
	k := float64(m.k)
	off := m.sum / k
	within := max(m.squares-float64(m.sum*off), 0)
	d := m.first + off - m.mean
	n := m.n + k
	m.m += within + float64(float64(d*d)*(m.n/n))*k
	m.mean += float64(d * (k / n))
	m.n, m.k, m.sum, m.squares = n, 0, 0, 0
}

func (m *moment) stdDev() float64 {
	m.join()
	if m.n < 2 {
		return math.NaN()
	}
	return math.Sqrt(m.m / (m.n - 1))
}

// percentile of sorted values, linear between the two nearest ranks (type 7 of Hyndman and Fan, what R, NumPy and
// spreadsheets give).
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	rank := p / 100 * float64(len(sorted)-1)
	low := int(math.Floor(rank))
	if low >= len(sorted)-1 {
		return sorted[len(sorted)-1]
	}
	return sorted[low] + (sorted[low+1]-sorted[low])*(rank-float64(low))
}
