package loggerhead

import "time"

// Millis is an instant: milliseconds since 1970-01-01T00:00:00Z, UTC, negative before it.
type Millis int64

// The instants a sample may carry: the years 0001 to 9999, which every output format can write.
const (
	MinMillis Millis = -62135596800000
	MaxMillis Millis = 253402300799999
)

// DayMillis is the length of a UTC day, the span of one stored chunk.
const DayMillis = 24 * 60 * 60 * 1000

// MillisOf cuts t to whole milliseconds.
func MillisOf(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Time returns the instant in UTC.
func (m Millis) Time() time.Time { return time.UnixMilli(int64(m)).UTC() }

// Day returns the UTC day of the instant, counted from 1970-01-01 (floored, so 1969-12-31 is day -1).
func (m Millis) Day() int32 {
	d := int64(m) / DayMillis
	if int64(m)%DayMillis < 0 {
		d--
	}
	return int32(d)
}

// DayStart returns the first instant of a UTC day.
func DayStart(day int32) Millis { return Millis(int64(day) * DayMillis) }

// Flag is the quality of a sample, by QARTOD: greater is worse.
type Flag uint8

const (
	FlagGood         Flag = 1
	FlagNotEvaluated Flag = 2
	FlagSuspect      Flag = 3
	FlagBad          Flag = 4
	FlagMissing      Flag = 9
)

// Valid reports whether f is one of the five flags.
func (f Flag) Valid() bool { return f >= FlagGood && f <= FlagBad || f == FlagMissing }

// Sample is one reading of one element. Its identity within the element is Time.
type Sample struct {
	Time  Millis
	Value float64 // never NaN or ±Inf: absence is no sample
	Flag  Flag
	// Rank orders writes of the same (element, time): the greater rank wins, in whatever order the writes arrive.
	// See [Rank].
	Rank Rank
}

// Rank is the place of a write among all writes to an element: epoch<<32 | sequence. The epoch is the second (Unix
// time, by the hub's clock) at which the hub first met the log the sample comes from; the sequence is the record's
// number in that log. So a device's own later record wins over its earlier one even when it is delivered first, and
// a new log (a replaced or wiped logger) wins over an old one.
type Rank uint64

// RankOf joins an epoch and a record's sequence number.
func RankOf(epoch, seq uint32) Rank { return Rank(epoch)<<32 | Rank(seq) }
