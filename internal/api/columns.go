package api

import (
	"encoding/binary"
	"math"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
)

// columnsType is the media type of series as binary columns, which a browser maps onto typed arrays without parsing.
// docs/format/columns.md describes it.
const columnsType = "application/vnd.loggerhead.columns"

const columnsMagic = "LHC1"

// encodeColumns writes the series one after the other, little endian; all arrays of 8-byte numbers begin at a multiple
// of 8 from the start.
func encodeColumns(elements []lh.Element, reduced []series.Reduced) []byte {
	size := 8
	for _, r := range reduced {
		size += 96 + len(r.Samples)*17 + len(r.Gaps)*16
	}
	b := make([]byte, 0, size)
	le := binary.LittleEndian
	b = append(b, columnsMagic...)
	b = le.AppendUint32(b, uint32(len(elements)))
	number := func(f float64) { b = le.AppendUint64(b, math.Float64bits(f)) }
	pad := func() {
		for len(b)%8 != 0 {
			b = append(b, 0)
		}
	}
	for i, e := range elements {
		r := reduced[i]
		b = le.AppendUint16(b, uint16(len(e.ID)))
		b = append(b, e.ID...)
		var flags uint32
		if r.Reduced {
			flags |= 1
		}
		b = le.AppendUint32(b, flags)
		b = le.AppendUint64(b, uint64(e.Interval))
		b = le.AppendUint64(b, uint64(r.Count))
		b = le.AppendUint32(b, uint32(len(r.Samples)))
		b = le.AppendUint32(b, uint32(len(r.Gaps)))
		pad()
		for _, s := range r.Samples {
			number(float64(s.Time))
		}
		for _, s := range r.Samples {
			number(s.Value)
		}
		for _, g := range r.Gaps {
			number(float64(g[0]))
			number(float64(g[1]))
		}
		for _, s := range r.Samples {
			b = append(b, byte(s.Flag))
		}
		pad()
	}
	return b
}
