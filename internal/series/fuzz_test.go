package series

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// golden adds what versions of a format have left.
func golden(f *testing.F, pattern string) {
	names, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(names) == 0 {
		f.Fatalf("%s: %v", pattern, err)
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// FuzzRevision: what is taken for a revision is sorted by time and rank, each write once, all of the day, and comes back.
func FuzzRevision(f *testing.F) {
	c := newCodec()
	start := lh.DayStart(-1)
	lost := []lh.Sample{{Time: start, Value: 1, Flag: 1, Rank: 1}, {Time: start, Value: 2, Flag: 9, Rank: 7}, {Time: start + 5, Value: math.Pi, Flag: 3, Rank: math.MaxUint64}}
	b, err := c.encode(revisionMagic, -1, lost)
	if err != nil {
		f.Fatal(err)
	}
	golden(f, "revision-*.bin")
	f.Add(b)
	f.Add(b[9:])
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, decode := range []func() ([]lh.Sample, error){
			func() ([]lh.Sample, error) { return c.decode(nil, revisionMagic, -1, b) },
			func() ([]lh.Sample, error) { return decodeColumns(nil, -1, b, true) }, // behind the checksum
			func() ([]lh.Sample, error) {
				if got, ok := content(c, b, true); ok {
					return got, nil
				}
				return nil, errChunk
			},
		} {
			got, err := decode()
			if err != nil {
				continue
			}
			for i, s := range got {
				if s.Time.Day() != -1 || !s.Flag.Valid() || math.IsNaN(s.Value) || math.IsInf(s.Value, 0) || i > 0 && compareWrites(got[i-1], s) >= 0 {
					t.Fatalf("write %d of %v", i, got)
				}
			}
			body, err := c.encode(revisionMagic, -1, got)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := c.decode(nil, revisionMagic, -1, body); err != nil || !bitsEqual(got, again) {
				t.Fatalf("what was decoded does not encode to the same: %v", err)
			}
		}
	})
}

// FuzzSummary: a summary that is taken says only what a day can have, and comes back.
func FuzzSummary(f *testing.F) {
	golden(f, "summary-*.bin")
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSummary(-1, b)
		if err != nil {
			return
		}
		if s.count < 1 || s.good > s.count || !s.worst.Valid() || len(s.gaps) > summaryGaps {
			t.Fatalf("%+v", s)
		}
		for _, p := range []lh.Sample{s.first, s.last, s.min, s.max} {
			if p.Time.Day() != -1 || !p.Flag.Valid() || math.IsNaN(p.Value) || math.IsInf(p.Value, 0) {
				t.Fatalf("%+v", s)
			}
		}
		if again, err := decodeSummary(-1, s.encode(-1)); err != nil || !again.equal(&s) {
			t.Fatalf("%+v comes back as %+v: %v", s, again, err)
		}
	})
}

// FuzzJournal: a row that is taken is written back as it was, and no sample of it names a channel that has no element.
func FuzzJournal(f *testing.F) {
	golden(f, "journal-*.bin")
	f.Fuzz(func(t *testing.T, b []byte) {
		var u Upload
		if decodeJournal(&u, new(wire.Batch), b) != nil {
			return
		}
		n := 0
		u.Each(func(c uint16, s lh.Sample) {
			_ = u.Elements[c]
			if !s.Flag.Valid() || math.IsNaN(s.Value) || math.IsInf(s.Value, 0) || s.Time < lh.MinMillis || s.Time > lh.MaxMillis {
				t.Fatalf("%+v", s)
			}
			n++
		})
		if n != u.Batch.Samples() {
			t.Fatalf("%d samples of %d", n, u.Batch.Samples())
		}
		for _, a := range arrivalsOf(&u) {
			if a.count == 0 || uint64(a.first)+uint64(a.count) > 1<<32 {
				t.Fatalf("arrival %+v", a)
			}
		}
		var again Upload
		body := encodeJournal(&u)
		if err := decodeJournal(&again, new(wire.Batch), body); err != nil || again.Epoch != u.Epoch || again.Sequence != u.Sequence || again.Received != u.Received ||
			again.NotBefore != u.NotBefore || again.NotAfter != u.NotAfter || !slices.Equal(again.Elements, u.Elements) || !bytes.Equal(again.Raw, u.Raw) {
			t.Fatalf("%+v comes back as %+v: %v", u, again, err)
		}
	})
}

// FuzzArrivalFrame: any bytes as an arrival day, frame and all.
func FuzzArrivalFrame(f *testing.F) {
	c := newCodec()
	body, _, _, err := c.encodeArrivals(19000, []arrival{{1000, 1, 20, lh.DayStart(19000)}, {math.MaxUint32, math.MaxUint32, 1, lh.DayStart(19001) - 1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, b []byte) {
		as, err := c.decodeArrivals(nil, 19000, b)
		if err != nil {
			return
		}
		came := newArrivals(as)
		for _, a := range as {
			if a.received.Day() != 19000 || a.count == 0 {
				t.Fatalf("%+v", a)
			}
			for _, k := range []uint32{a.first, a.first + a.count - 1} {
				if at, ok := came.of(lh.RankOf(a.epoch, k)); !ok || at > a.received {
					t.Fatalf("rank %d of %+v came at %d (%v)", k, a, at, ok)
				}
			}
		}
	})
}
