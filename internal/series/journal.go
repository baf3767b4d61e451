package series

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// Upload is one batch of a device on its way into the journal.
type Upload struct {
	Scope    store.Scope // the device's own
	Device   lh.DeviceID
	Received lh.Millis // by the hub's clock
	// Epoch and Sequence rank the samples: record i of the batch has rank RankOf(Epoch, Sequence+i).
	Epoch, Sequence uint32
	// Elements are those of the batch's channels, by their index.
	Elements []lh.ElementID
	// Samples outside NotBefore..NotAfter have an impossible time: they are stored with the flag suspect, or worse if
	// they have it, and one after NotAfter never becomes the latest.
	NotBefore, NotAfter lh.Millis
	// Seen is what the upload told of its device, recorded with it; nil is nothing new.
	Seen  *store.DeviceSeen
	Raw   []byte      // the batch as received
	Batch *wire.Batch // the same, decoded; Append does not keep it
}

// A journal row's body is what is needed to read the upload again, then the upload as received;
// docs/format/journal.md describes the bytes.
const journalVersion = 1

var errJournal = errors.New("journal row is damaged")

// encodeJournal writes a row's body.
func encodeJournal(u *Upload) []byte {
	size := 64 + len(u.Raw)
	for _, e := range u.Elements {
		size += 1 + len(e)
	}
	b := make([]byte, 0, size)
	b = append(b, journalVersion)
	b = binary.AppendUvarint(b, uint64(u.Epoch))
	b = binary.AppendUvarint(b, uint64(u.Sequence))
	b = binary.AppendVarint(b, int64(u.Received))
	b = binary.AppendVarint(b, int64(u.NotBefore))
	b = binary.AppendVarint(b, int64(u.NotAfter))
	b = binary.AppendUvarint(b, uint64(len(u.Elements)))
	for _, e := range u.Elements {
		b = append(b, byte(len(e)))
		b = append(b, e...)
	}
	return append(b, u.Raw...)
}

// decodeJournal reads a row's body into u and batch; u.Raw and the batch's memory are body's and batch's own.
func decodeJournal(u *Upload, batch *wire.Batch, body []byte) error {
	if len(body) == 0 || body[0] != journalVersion {
		return fmt.Errorf("%w: its version is not known", errJournal)
	}
	b := body[1:]
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
	signed := func() lh.Millis {
		v, n := binary.Varint(b)
		if n <= 0 {
			ok = false
			return 0
		}
		b = b[n:]
		return lh.Millis(v)
	}
	u.Epoch, u.Sequence = uint32(number(1<<32-1)), uint32(number(1<<32-1))
	u.Received, u.NotBefore, u.NotAfter = signed(), signed(), signed()
	elements := number(wire.MaxChannels)
	u.Elements = u.Elements[:0]
	for range elements {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return fmt.Errorf("%w: its elements", errJournal)
		}
		u.Elements = append(u.Elements, lh.ElementID(b[1:1+int(b[0])]))
		b = b[1+int(b[0]):]
	}
	if !ok {
		return fmt.Errorf("%w: its head", errJournal)
	}
	u.Raw, u.Batch = b, batch
	if err := wire.Decode(batch, b); err != nil {
		return fmt.Errorf("%w: %w", errJournal, err)
	}
	if len(u.Elements) != len(batch.Channels) {
		return fmt.Errorf("%w: %d elements for %d channels", errJournal, len(u.Elements), len(batch.Channels))
	}
	return nil
}

// Each hands fn every sample of the upload with the index of its channel, in the order of the records.
func (u *Upload) Each(fn func(channel uint16, s lh.Sample)) {
	for i := range u.Batch.Records {
		r := &u.Batch.Records[i]
		rank := lh.RankOf(u.Epoch, u.Sequence+uint32(i))
		impossible := r.Time < u.NotBefore || r.Time > u.NotAfter
		for _, v := range r.Values {
			s := lh.Sample{Time: r.Time, Value: v.Value, Flag: v.Flag, Rank: rank}
			if impossible {
				s.Flag = max(s.Flag, lh.FlagSuspect)
			}
			fn(v.Channel, s)
		}
	}
}

// latest returns the newest sample of each element that can be trusted to be no later than now.
func (u *Upload) latest() []lh.Latest {
	found := make([]lh.Sample, len(u.Elements))
	have := make([]bool, len(u.Elements))
	left := len(u.Elements)
	records := u.Batch.Records
	ordered := slices.IsSortedFunc(records, func(a, b wire.Record) int { return cmp.Compare(a.Time, b.Time) })
	// From the last record back: ranks within an upload grow with its records, so that of equal times the later one wins.
	for i := len(records) - 1; i >= 0 && (left > 0 || !ordered); i-- {
		r := &records[i]
		if r.Time > u.NotAfter {
			continue
		}
		for k := len(r.Values) - 1; k >= 0; k-- {
			v := &r.Values[k]
			if have[v.Channel] && r.Time <= found[v.Channel].Time {
				continue
			}
			if !have[v.Channel] {
				have[v.Channel], left = true, left-1
			}
			s := lh.Sample{Time: r.Time, Value: v.Value, Flag: v.Flag, Rank: lh.RankOf(u.Epoch, u.Sequence+uint32(i))}
			if r.Time < u.NotBefore {
				s.Flag = max(s.Flag, lh.FlagSuspect)
			}
			found[v.Channel] = s
		}
	}
	out := make([]lh.Latest, 0, len(found))
	for c, ok := range have {
		if ok {
			out = append(out, lh.Latest{Element: u.Elements[c], Sample: found[c], Received: u.Received})
		}
	}
	return out
}
