package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"unicode"
	"unicode/utf8"

	lh "github.com/loggerhead-cloud/loggerhead"
)

const magic = "LHB1"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The tag byte of a value: flag in the high four bits, in the low four the number of decimal places, or rawValue for
// eight bytes of float64.
const (
	maxPlaces = 12
	rawValue  = 15
)

var pow10 = [maxPlaces + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12}

// maxMantissa keeps decimal mantissas in the integers that float64 holds exactly.
const maxMantissa = 1 << 53

// decimal finds the fewest decimal places with which v is an integer over a power of ten, exactly: the decoder's
// division gives v back bit for bit.
func decimal(v float64) (mantissa int64, places int, ok bool) {
	for p := range pow10 {
		m := math.RoundToEven(v * pow10[p])
		if math.Abs(m) > maxMantissa {
			return 0, 0, false
		}
		if math.Float64bits(float64(int64(m))/pow10[p]) == math.Float64bits(v) { // by way of int64: it has no -0
			return int64(m), p, true
		}
	}
	return 0, 0, false
}

// last remembers the previous mantissa of a channel and its scale.
type last struct {
	mantissa int64
	places   int
}

// check refuses what the format or the bounds do not allow.
func (b *Batch) check() error {
	switch {
	case len(b.Records) > MaxRecords:
		return lh.Errorf(lh.Invalid, "batch has %d records; at most %d are possible", len(b.Records), MaxRecords)
	case b.Log != 0 && b.First == 0:
		return lh.Errorf(lh.Invalid, "batch begins at record 0; a log's first record is 1")
	case uint64(b.First)+uint64(len(b.Records)) > math.MaxUint32:
		return lh.Errorf(lh.Invalid, "batch passes the last sequence number; the device must begin a new log")
	}
	return nil
}

// checkChannels refuses a channel table that the bounds do not allow.
func checkChannels(channels []string) error {
	if len(channels) > MaxChannels {
		return lh.Errorf(lh.Invalid, "batch has %d channels; at most %d are possible", len(channels), MaxChannels)
	}
	seen := make(map[string]struct{}, len(channels))
	for _, c := range channels {
		if err := CheckChannel(c); err != nil {
			return err
		}
		if _, dup := seen[c]; dup {
			return lh.Errorf(lh.Invalid, "channel %q stands twice in the batch", c)
		}
		seen[c] = struct{}{}
	}
	return nil
}

// CheckChannel refuses a channel key that is empty, too long, or has other than printable characters in it.
func CheckChannel(key string) error {
	if key == "" || len(key) > MaxChannelLen {
		return lh.Errorf(lh.Invalid, "a channel key has 1 to %d bytes, not %d", MaxChannelLen, len(key))
	}
	if !utf8.ValidString(key) {
		return lh.Errorf(lh.Invalid, "channel key %q is not UTF-8", key)
	}
	for _, r := range key {
		if !unicode.IsPrint(r) {
			return lh.Errorf(lh.Invalid, "channel key %q has a character that cannot be printed", key)
		}
	}
	return nil
}

// Append writes the batch in its binary form behind dst. Invalid: the batch passes a bound, names a channel it does
// not have, or holds a value that is not finite.
func (b *Batch) Append(dst []byte) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	if err := checkChannels(b.Channels); err != nil {
		return nil, err
	}
	start := len(dst)
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint64(dst, b.Log)
	dst = binary.AppendUvarint(dst, uint64(b.First))
	dst = binary.AppendVarint(dst, int64(b.Sent))
	dst = binary.AppendUvarint(dst, uint64(len(b.Channels)))
	for _, c := range b.Channels {
		dst = binary.AppendUvarint(dst, uint64(len(c)))
		dst = append(dst, c...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Records)))
	prev := make([]last, len(b.Channels))
	var before lh.Millis
	total := 0
	for i := range b.Records {
		r := &b.Records[i]
		if r.Time < lh.MinMillis || r.Time > lh.MaxMillis {
			return nil, lh.Errorf(lh.Invalid, "record %d has a time outside the years 1 to 9999", i)
		}
		dst = binary.AppendVarint(dst, int64(r.Time-before))
		before = r.Time
		dst = binary.AppendUvarint(dst, uint64(len(r.Values)))
		if total += len(r.Values); total > MaxValues {
			return nil, lh.Errorf(lh.Invalid, "batch has more than %d values", MaxValues)
		}
		for _, v := range r.Values {
			if int(v.Channel) >= len(b.Channels) {
				return nil, lh.Errorf(lh.Invalid, "record %d has a value of channel %d of %d", i, v.Channel, len(b.Channels))
			}
			if !v.Flag.Valid() {
				return nil, lh.Errorf(lh.Invalid, "record %d has the unknown flag %d", i, v.Flag)
			}
			if math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
				return nil, lh.Errorf(lh.Invalid, "record %d has a value that is not a finite number; leave absent values out", i)
			}
			dst = binary.AppendUvarint(dst, uint64(v.Channel))
			m, places, ok := decimal(v.Value)
			if !ok {
				dst = append(dst, byte(v.Flag)<<4|rawValue)
				dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.Value))
				continue
			}
			dst = append(dst, byte(v.Flag)<<4|byte(places))
			p := &prev[v.Channel]
			if p.places != places {
				*p = last{places: places}
			}
			dst = binary.AppendVarint(dst, m-p.mantissa)
			p.mantissa = m
		}
	}
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
	if len(dst)-start > MaxBatchBytes {
		return nil, lh.Errorf(lh.Invalid, "batch has %d bytes; at most %d are possible", len(dst)-start, MaxBatchBytes)
	}
	return dst, nil
}

// Decode reads a batch in either form, told apart by its first byte, into b, whose memory it reuses. What it
// allocates is bounded by a small multiple of the input. Invalid: anything else than a whole batch within the bounds;
// b is then empty.
func Decode(b *Batch, data []byte) (err error) {
	defer func() {
		if err != nil {
			*b = Batch{Channels: b.Channels[:0], Records: b.Records[:0], values: b.values[:0]}
		}
	}()
	b.Channels, b.Records = b.Channels[:0], b.Records[:0]
	b.Log, b.First, b.Sent = 0, 0, 0
	if len(data) > MaxBatchBytes {
		return lh.Errorf(lh.Invalid, "batch has %d bytes; at most %d are possible", len(data), MaxBatchBytes)
	}
	if rest := bytes.TrimLeft(data, " \t\r\n"); len(rest) > 0 && rest[0] == '{' {
		return decodeJSON(b, rest)
	}
	return decodeBinary(b, data)
}

// reader takes numbers off the front of a batch. After the first failure every call gives zero.
type reader struct {
	data []byte
	bad  string // what could not be read
}

func (r *reader) fail(what string) {
	if r.bad == "" {
		r.bad = what
	}
	r.data = nil
}

func (r *reader) uvarint(what string) uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.fail(what)
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) varint(what string) int64 {
	v, n := binary.Varint(r.data)
	if n <= 0 {
		r.fail(what)
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *reader) take(n uint64, what string) []byte {
	if n > uint64(len(r.data)) {
		r.fail(what)
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func decodeBinary(b *Batch, data []byte) error {
	if len(data) < len(magic)+8+4 || string(data[:len(magic)]) != magic {
		return lh.Errorf(lh.Invalid, "this is no batch: it begins with neither %q nor a brace", magic)
	}
	body, sum := data[:len(data)-4], binary.LittleEndian.Uint32(data[len(data)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return lh.Errorf(lh.Invalid, "batch is damaged: its checksum does not fit")
	}
	r := &reader{data: body[len(magic):]}
	b.Log = binary.LittleEndian.Uint64(r.take(8, "log"))
	first := r.uvarint("first")
	b.Sent = lh.Millis(r.varint("sent"))
	if first > math.MaxUint32 {
		return lh.Errorf(lh.Invalid, "batch has a sequence number above 32 bits")
	}
	b.First = uint32(first)
	if b.Sent != 0 && (b.Sent < lh.MinMillis || b.Sent > lh.MaxMillis) {
		b.Sent = 0 // a clock beyond all years says nothing; the samples have times of their own
	}
	channels := r.uvarint("channels")
	if channels > MaxChannels {
		return lh.Errorf(lh.Invalid, "batch has %d channels; at most %d are possible", channels, MaxChannels)
	}
	for range channels {
		n := r.uvarint("channel")
		if n > MaxChannelLen {
			return lh.Errorf(lh.Invalid, "a channel key has 1 to %d bytes, not %d", MaxChannelLen, n)
		}
		b.Channels = append(b.Channels, string(r.take(n, "channel")))
	}
	if r.bad != "" {
		return lh.Errorf(lh.Invalid, "batch ends early, in its %s", r.bad)
	}
	if err := checkChannels(b.Channels); err != nil {
		return err
	}
	records := r.uvarint("records")
	if records > MaxRecords || records > uint64(len(r.data)) { // a record has at least two bytes
		return lh.Errorf(lh.Invalid, "batch says it has %d records", records)
	}
	if cap(b.Records) < int(records) {
		b.Records = make([]Record, records)
	}
	b.Records = b.Records[:records]
	if err := b.check(); err != nil {
		return err
	}
	return decodeRecords(b, r)
}

func decodeRecords(b *Batch, r *reader) error {
	var prev [MaxChannels]last
	var before lh.Millis
	// All values lie in one piece of memory. A value has at least three bytes, so it never grows beyond this.
	if most := min(len(r.data)/3, MaxValues); cap(b.values) < most {
		b.values = make([]Value, 0, most)
	}
	values := b.values[:0]
	data := r.data // what is left
	for i := range b.Records {
		rec := &b.Records[i]
		delta, n := varint(data)
		if n <= 0 {
			return endsEarly(i)
		}
		data = data[n:]
		// Two times in range differ by less than the span; a greater difference is caught before it overflows.
		if delta > int64(lh.MaxMillis-lh.MinMillis) || delta < -int64(lh.MaxMillis-lh.MinMillis) {
			return lh.Errorf(lh.Invalid, "record %d has a time outside the years 1 to 9999", i)
		}
		rec.Time = before + lh.Millis(delta)
		if rec.Time < lh.MinMillis || rec.Time > lh.MaxMillis {
			return lh.Errorf(lh.Invalid, "record %d has a time outside the years 1 to 9999", i)
		}
		before = rec.Time
		count, n := uvarint(data)
		if n <= 0 || count > uint64(len(data)-n) {
			return endsEarly(i)
		}
		data = data[n:]
		if uint64(len(values))+count > MaxValues {
			return lh.Errorf(lh.Invalid, "batch has more than %d values", MaxValues)
		}
		start := len(values)
		for range count {
			channel, n := uvarint(data)
			if n <= 0 || n >= len(data) {
				return endsEarly(i)
			}
			tag := data[n]
			data = data[n+1:]
			if channel >= uint64(len(b.Channels)) {
				return lh.Errorf(lh.Invalid, "record %d has a value of channel %d of %d", i, channel, len(b.Channels))
			}
			v := Value{Channel: uint16(channel), Flag: lh.Flag(tag >> 4)}
			if !v.Flag.Valid() {
				return lh.Errorf(lh.Invalid, "record %d has the unknown flag %d", i, v.Flag)
			}
			switch places := int(tag & 15); {
			case places <= maxPlaces:
				p := &prev[channel]
				if p.places != places {
					*p = last{places: places}
				}
				d, n := varint(data)
				if n <= 0 {
					return endsEarly(i)
				}
				data = data[n:]
				if p.mantissa += d; p.mantissa > maxMantissa || p.mantissa < -maxMantissa {
					return lh.Errorf(lh.Invalid, "record %d has a value out of range", i)
				}
				v.Value = float64(p.mantissa) / pow10[places]
			case places == rawValue:
				if len(data) < 8 {
					return endsEarly(i)
				}
				v.Value = math.Float64frombits(binary.LittleEndian.Uint64(data))
				data = data[8:]
				if math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
					return lh.Errorf(lh.Invalid, "record %d has a value that is not a finite number", i)
				}
			default:
				return lh.Errorf(lh.Invalid, "record %d has a value of unknown kind", i)
			}
			values = append(values, v)
		}
		rec.Values = values[start:len(values):len(values)]
	}
	if len(data) > 0 {
		return lh.Errorf(lh.Invalid, "batch has %d bytes too many", len(data))
	}
	b.values = values
	return nil
}

func endsEarly(record int) error {
	return lh.Errorf(lh.Invalid, "batch ends early, in record %d", record)
}

// uvarint is binary.Uvarint, quicker for the one byte that most numbers have.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

// varint is binary.Varint, quicker for one byte or two.
func varint(b []byte) (int64, int) {
	if len(b) > 1 && b[0]&b[1] < 0x80 {
		u, n := uint64(b[0]), 1
		if u >= 0x80 {
			u, n = u&0x7f|uint64(b[1])<<7, 2
		}
		return int64(u>>1) ^ -int64(u&1), n
	}
	return binary.Varint(b)
}

// Check refuses a manifest that passes a bound or names a channel twice.
func (m *Manifest) Check() error {
	if len(m.Version) > 64 || len(m.Hardware) > 64 || !utf8.ValidString(m.Version) || !utf8.ValidString(m.Hardware) {
		return lh.Errorf(lh.Invalid, "version and hardware have at most 64 bytes of text")
	}
	keys := make([]string, len(m.Channels))
	for i, c := range m.Channels {
		keys[i] = c.Key
		switch {
		case len(c.Name) > 200 || len(c.Quantity) > 64 || len(c.Unit) > 32 ||
			!utf8.ValidString(c.Name) || !utf8.ValidString(c.Quantity) || !utf8.ValidString(c.Unit):
			return lh.Errorf(lh.Invalid, "channel %q: name, quantity or unit is too long, or not UTF-8", c.Key)
		case c.Digits < 0 || c.Digits > maxPlaces:
			return lh.Errorf(lh.Invalid, "channel %q: digits are 0 to %d", c.Key, maxPlaces)
		case c.Interval < 0 || c.Interval > 366*lh.DayMillis:
			return lh.Errorf(lh.Invalid, "channel %q: an interval is at most 366 days", c.Key)
		case c.Meaning != "" && !c.Meaning.Valid():
			return lh.Errorf(lh.Invalid, "channel %q: there is no meaning %q", c.Key, c.Meaning)
		}
	}
	if err := checkChannels(keys); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	return nil
}
