package calc

import (
	"math"
	"strconv"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Unit is what a calendar counts in.
type Unit uint8

const (
	Second Unit = iota
	Minute
	Hour
	Day
	Week // begins on Monday, ISO 8601
	Month
	Year
)

// Step is the length of a bucket: N units.
type Step struct {
	N    int
	Unit Unit
}

// most is the greatest N of each unit; within it only what cuts the next greater unit evenly is allowed, so that every
// bucket begins where people expect one to begin.
var most = [...]int{Second: 60, Minute: 60, Hour: 24, Day: 366, Week: 1, Month: 12, Year: 100}

// check refuses steps that do not cut a minute, hour, day or year evenly.
func (s Step) check() error {
	if int(s.Unit) >= len(most) || s.N < 1 || s.N > most[s.Unit] {
		return lh.Errorf(lh.Invalid, "an interval of %d units of that kind is not possible", s.N)
	}
	if s.Unit <= Hour && most[s.Unit]%s.N != 0 || s.Unit == Month && 12%s.N != 0 {
		return lh.Errorf(lh.Invalid, "the interval %s does not cut the next greater unit evenly", s)
	}
	return nil
}

// String writes the step as an ISO 8601 duration.
func (s Step) String() string {
	n := strconv.Itoa(s.N)
	if s.Unit <= Hour {
		return "PT" + n + string("SMH"[s.Unit])
	}
	return "P" + n + string("DWMY"[s.Unit-Day])
}

// ParseStep reads an ISO 8601 duration of one unit: PT10S, PT15M, PT1H, P1D, P1W, P1M, P1Y.
func ParseStep(text string) (Step, error) {
	wrong := func() (Step, error) {
		return Step{}, lh.Errorf(lh.Invalid, "%.40q is no interval; use an ISO 8601 duration of one unit, such as PT15M, PT1H, P1D, P1W, P1M or P1Y", text)
	}
	rest, ok := strings.CutPrefix(text, "P")
	letters, first := "DWMY", Day
	if clock, short := strings.CutPrefix(rest, "T"); short {
		rest, letters, first = clock, "SMH", Second
	}
	if !ok || len(rest) < 2 || len(rest) > 4 {
		return wrong()
	}
	unit := strings.IndexByte(letters, rest[len(rest)-1])
	n, err := strconv.Atoi(rest[:len(rest)-1])
	if unit < 0 || err != nil || rest[0] == '+' || rest[0] == '-' {
		return wrong()
	}
	s := Step{n, first + Unit(unit)}
	return s, s.check()
}

// Calendar cuts time into buckets in a time zone. Days, weeks, months and years begin at the zone's midnight, so a day
// may have 23 or 25 hours. Steps under a day begin at midnight too and follow the wall clock: a 6-hour bucket that
// holds a change of the clock is an hour longer or shorter; of hours and less, an hour that the clock shows twice is
// two hours, each with buckets of its own. A midnight the clock skips is the instant it skips at.
type Calendar struct {
	step Step
	loc  *time.Location
}

// NewCalendar returns a calendar. Invalid: the step does not cut evenly; see [ParseStep].
func NewCalendar(s Step, loc *time.Location) (Calendar, error) {
	if loc == nil {
		loc = time.UTC
	}
	return Calendar{s, loc}, s.check()
}

// Start returns the first instant of the bucket that holds t.
func (c Calendar) Start(t lh.Millis) lh.Millis {
	at := t.Time().In(c.loc)
	if c.step.Unit <= Minute || c.step.Unit == Hour && c.step.N == 1 {
		// Elapsed time within the wall clock's hour: the offset of every zone is kept within it, also of those that are
		// half or a quarter of an hour off, and of those that were seconds off once.
		_, offset := at.Zone()
		width := int64(c.step.N) * [...]int64{Second: 1000, Minute: 60_000, Hour: 3_600_000}[c.step.Unit]
		local := int64(t) + int64(offset)*1000
		start := lh.Millis(local - mod(local, width) - int64(offset)*1000)
		if begin, _ := at.ZoneBounds(); !begin.IsZero() && lh.MillisOf(begin) > start {
			return lh.MillisOf(begin) // the clock changed within the bucket
		}
		return start
	}
	return c.wall(c.floor(at))
}

// HoldsDays reports whether whole UTC days may lie in the bucket that holds t and in those after it.
func (c Calendar) HoldsDays(t lh.Millis) bool {
	if c.step.Unit < Day {
		return false
	}
	return c.step.Unit > Day || c.step.N > 1 || c.Start(t)%lh.DayMillis == 0
}

// Next returns the first instant of the bucket after the one that holds t: later than t, always.
func (c Calendar) Next(t lh.Millis) lh.Millis {
	return c.next(t, new(zoneSpan))
}

// zoneSpan is a span of time in which a zone's clock does not change: whoever asks for one bucket after the other finds
// the zone once. The zero value is empty.
type zoneSpan struct {
	begin, end lh.Millis
	offset     lh.Millis
}

func (z *zoneSpan) find(loc *time.Location, t lh.Millis) {
	if t >= z.begin && t < z.end {
		return
	}
	at := t.Time().In(loc)
	_, offset := at.Zone()
	z.begin, z.end, z.offset = math.MinInt64, math.MaxInt64, lh.Millis(offset)*1000
	begin, end := at.ZoneBounds()
	if !begin.IsZero() {
		z.begin = lh.MillisOf(begin)
	}
	if !end.IsZero() {
		z.end = lh.MillisOf(end)
	}
}

// farChange is so far away that a change of the clock moves no cut of a day.
const farChange = 3 * lh.DayMillis

func (c Calendar) next(t lh.Millis, z *zoneSpan) lh.Millis {
	z.find(c.loc, t)
	local := int64(t + z.offset)
	if c.step.Unit <= Minute || c.step.Unit == Hour && c.step.N == 1 {
		width := int64(c.step.N) * [...]int64{Second: 1000, Minute: 60_000, Hour: 3_600_000}[c.step.Unit]
		return min(lh.Millis(local-mod(local, width)+width)-z.offset, z.end)
	}
	if c.step.Unit == Hour || c.step.Unit == Day && c.step.N == 1 {
		width := int64(lh.DayMillis)
		if c.step.Unit == Hour {
			width = int64(c.step.N) * 3_600_000
		}
		if (z.begin == math.MinInt64 || t-z.begin > farChange) && (z.end == math.MaxInt64 || z.end-t > farChange) {
			return lh.Millis(local-mod(local, width)+width) - z.offset // the wall clock and the time agree
		}
	}
	w := c.floor(t.Time().In(c.loc))
	for range 8 { // more than one only where the clock skips a whole bucket
		w = c.advance(w)
		if next := c.wall(w); next > t {
			return next
		}
	}
	return t + 1 // no zone there is skips eight buckets
}

// wallClock is what a clock on the wall shows, without a zone.
type wallClock struct {
	year, month, day, hour int
}

func (c Calendar) floor(at time.Time) wallClock {
	y, m, d := at.Date()
	w := wallClock{y, int(m), d, 0}
	switch c.step.Unit {
	case Hour:
		w.hour = at.Hour() / c.step.N * c.step.N
	case Day:
		// Counted from 1970-01-01, by the date alone.
		day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400
		w.day -= int(mod(day, int64(c.step.N)))
	case Week:
		w.day -= (int(at.Weekday()) + 6) % 7
	case Month:
		w.month, w.day = (w.month-1)/c.step.N*c.step.N+1, 1
	case Year:
		w.year, w.month, w.day = w.year-int(mod(int64(w.year), int64(c.step.N))), 1, 1
	}
	return w
}

func (c Calendar) advance(w wallClock) wallClock {
	switch c.step.Unit {
	case Hour:
		if w.hour += c.step.N; w.hour >= 24 {
			w.hour, w.day = 0, w.day+1
		}
	case Day:
		w.day += c.step.N
	case Week:
		w.day += 7
	case Month:
		w.month += c.step.N
	case Year:
		w.year += c.step.N
	}
	return w
}

// wall returns the first instant at which the zone's clock shows w or, where it skips w, more. time.Date does not
// promise which instant it picks where there are two or none.
func (c Calendar) wall(w wallClock) lh.Millis {
	shown := time.Date(w.year, time.Month(w.month), w.day, w.hour, 0, 0, 0, time.UTC)
	found := lh.Millis(math.MaxInt64)
	var before time.Time
	for i, near := range [2]time.Time{shown.Add(-26 * time.Hour), shown.Add(26 * time.Hour)} {
		_, offset := near.In(c.loc).Zone()
		t := shown.Add(-time.Duration(offset) * time.Second)
		if i == 0 {
			before = t
		}
		if _, o := t.In(c.loc).Zone(); o == offset {
			found = min(found, lh.MillisOf(t))
		}
	}
	if found != math.MaxInt64 {
		return found
	}
	// Skipped: by the old offset the instant lies behind the change, which is where the clock jumps past w.
	begin, _ := before.In(c.loc).ZoneBounds()
	return lh.MillisOf(begin)
}

// mod is the remainder that is never negative.
func mod(a, b int64) int64 {
	if a %= b; a < 0 {
		a += b
	}
	return a
}
