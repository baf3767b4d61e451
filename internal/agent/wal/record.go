package wal

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// Record is one sampling: what was read at one instant.
type Record struct {
	Time   lh.Millis
	Values []Value // at most wire.MaxChannels, no channel twice
}

// Value is one channel's reading. A channel that gave nothing is absent.
type Value struct {
	Channel string
	Flag    lh.Flag
	Value   float64 // finite
}

// A record on disk is its head (length of the body, CRC-32C, sequence number; 4 bytes each) and its body: time (8), number
// of values (2), and per value the channel's length (1), the channel, the flag (1) and the float64 (8). Records name
// their channels in full, so that each can be read without any other.
const (
	headSize = 12
	minBody  = 8 + 2
	maxBody  = minBody + wire.MaxChannels*(1+wire.MaxChannelLen+1+8)
)

// maxSequence is the last sequence number a log gives; wire allows no batch to end above it.
const maxSequence = math.MaxUint32 - 1

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendBody writes a record's body behind dst. Invalid: what could not be sent later.
func appendBody(dst []byte, r *Record) ([]byte, error) {
	if r.Time < lh.MinMillis || r.Time > lh.MaxMillis {
		return nil, lh.Errorf(lh.Invalid, "record has a time outside the years 1 to 9999")
	}
	if len(r.Values) > wire.MaxChannels {
		return nil, lh.Errorf(lh.Invalid, "record has %d values; at most %d are possible", len(r.Values), wire.MaxChannels)
	}
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Time))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(r.Values)))
	for i := range r.Values {
		v := &r.Values[i]
		if err := wire.CheckChannel(v.Channel); err != nil {
			return nil, err
		}
		if !v.Flag.Valid() {
			return nil, lh.Errorf(lh.Invalid, "channel %q has the unknown flag %d", v.Channel, v.Flag)
		}
		if math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
			return nil, lh.Errorf(lh.Invalid, "channel %q has a value that is not a finite number; leave absent values out", v.Channel)
		}
		dst = append(dst, byte(len(v.Channel)))
		dst = append(dst, v.Channel...)
		dst = append(dst, byte(v.Flag))
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.Value))
	}
	return dst, twice(r.Values)
}

// twice refuses a channel that is there twice: of one instant there is one value.
func twice(values []Value) error {
	if len(values) <= 16 {
		for i := range values {
			for j := range i {
				if values[i].Channel == values[j].Channel {
					return lh.Errorf(lh.Invalid, "channel %q stands twice in a record", values[i].Channel)
				}
			}
		}
		return nil
	}
	seen := make(map[string]struct{}, len(values))
	for i := range values {
		if _, dup := seen[values[i].Channel]; dup {
			return lh.Errorf(lh.Invalid, "channel %q stands twice in a record", values[i].Channel)
		}
		seen[values[i].Channel] = struct{}{}
	}
	return nil
}

// sum is the checksum of a record. The log's id is in it, so that what another log left in the same place is no record.
func sum(log uint64, seq uint32, body []byte) uint32 {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[0:], log)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(body)))
	binary.LittleEndian.PutUint32(b[12:], seq)
	return crc32.Update(crc32.Checksum(b[:], castagnoli), castagnoli, body)
}

// appendRecord writes a whole record behind dst.
func appendRecord(dst []byte, log uint64, seq uint32, body []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body)))
	dst = binary.LittleEndian.AppendUint32(dst, sum(log, seq, body))
	dst = binary.LittleEndian.AppendUint32(dst, seq)
	return append(dst, body...)
}

// eachValue hands fn the values of a body; false: it is no body as appendBody writes them. The name is the body's memory.
func eachValue(body []byte, fn func(channel []byte, flag lh.Flag, v float64)) bool {
	if len(body) < minBody {
		return false
	}
	if t := bodyTime(body); t < lh.MinMillis || t > lh.MaxMillis {
		return false
	}
	n := int(binary.LittleEndian.Uint16(body[8:]))
	if n > wire.MaxChannels {
		return false
	}
	b := body[minBody:]
	for range n {
		if len(b) == 0 || len(b) < 1+int(b[0])+9 {
			return false
		}
		name := b[1 : 1+int(b[0])]
		b = b[1+len(name):]
		flag, v := lh.Flag(b[0]), math.Float64frombits(binary.LittleEndian.Uint64(b[1:]))
		b = b[9:]
		if !flag.Valid() || math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
		fn(name, flag, v)
	}
	return len(b) == 0
}

func bodyTime(body []byte) lh.Millis { return lh.Millis(binary.LittleEndian.Uint64(body)) }

// decodeBody makes a record of a valid body.
func decodeBody(body []byte) Record {
	r := Record{Time: bodyTime(body)}
	eachValue(body, func(channel []byte, flag lh.Flag, v float64) {
		r.Values = append(r.Values, Value{Channel: string(channel), Flag: flag, Value: v})
	})
	return r
}

// scanner finds the records in a piece of a segment. Bytes that are no record are stepped over: after a power cut in
// the middle of a write, and on a failing disk, what stands behind a hole can still be whole.
type scanner struct {
	data    []byte
	log     uint64
	least   uint32 // sequence numbers grow; the next is at least this
	at      int    // behind the last record found
	start   int    // where the last record found begins
	skipped int    // bytes stepped over between records
	budget  int    // bytes that may still be checked in vain, against data made to be slow
	any     bool   // the next record may have any number
	names   map[string]struct{}
}

func newScanner(data []byte, log uint64, least uint32) *scanner {
	return &scanner{data: data, log: log, least: least, budget: 4*len(data) + 1<<20, names: map[string]struct{}{}}
}

// next returns the next record; the body is the data's memory. false: there is none, and everything from s.at on is
// no record.
func (s *scanner) next() (seq uint32, body []byte, ok bool) {
	for at := s.at; len(s.data)-at >= headSize+minBody && s.budget > 0; at++ {
		seq, body, ok := s.record(at)
		if !ok {
			continue
		}
		s.skipped += at - s.at
		s.start, s.at = at, at+headSize+len(body)
		s.least, s.any = seq+1, false
		return seq, body, true
	}
	return 0, nil, false
}

func (s *scanner) record(at int) (seq uint32, body []byte, ok bool) {
	d := s.data[at:]
	length := binary.LittleEndian.Uint32(d)
	if length < minBody || length > maxBody || uint64(length)+headSize > uint64(len(d)) {
		return 0, nil, false
	}
	seq = binary.LittleEndian.Uint32(d[8:])
	// Within a segment numbers have no holes but those that were damaged, and each of these took some bytes.
	if seq < s.least || seq > maxSequence || !s.any && uint64(seq-s.least) > uint64(at-s.at)/(headSize+minBody) {
		return 0, nil, false
	}
	body = d[headSize : headSize+length]
	if sum(s.log, seq, body) != binary.LittleEndian.Uint32(d[4:]) || !s.valid(body) {
		s.budget -= len(body)
		return 0, nil, false
	}
	return seq, body, true
}

// valid reports whether a body is one that appendBody writes, so that wire can encode it.
func (s *scanner) valid(body []byte) bool {
	names := true
	ok := eachValue(body, func(channel []byte, _ lh.Flag, _ float64) {
		if _, known := s.names[string(channel)]; known || !names {
			return
		}
		name := string(channel)
		if names = wire.CheckChannel(name) == nil; names && len(s.names) < wire.MaxChannels {
			s.names[name] = struct{}{}
		}
	})
	return ok && names
}
