package series

import (
	"bytes"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
)

var update = flag.Bool("update", false, "write golden files anew")

func bitsEqual(a, b []lh.Sample) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Time != b[i].Time || math.Float64bits(a[i].Value) != math.Float64bits(b[i].Value) || a[i].Flag != b[i].Flag || a[i].Rank != b[i].Rank {
			return false
		}
	}
	return true
}

func goldenSamples() []lh.Sample {
	start := lh.DayStart(-1)
	return []lh.Sample{
		{Time: start, Value: 1.25, Flag: 1, Rank: lh.RankOf(1700000000, 1)},
		{Time: start + 60000, Value: -0.001, Flag: 1, Rank: lh.RankOf(1700000000, 2)},
		{Time: start + 120000, Value: math.Copysign(0, -1), Flag: 3, Rank: lh.RankOf(1700000000, 3)},
		{Time: start + 120001, Value: 5e-324, Flag: 9, Rank: lh.RankOf(4294967295, 4294967295)},
		{Time: start + lh.DayMillis - 1, Value: math.MaxFloat64, Flag: 4},
	}
}

// TestEveryVersionIsRead decodes the files that each version of the format has left.
func TestEveryVersionIsRead(t *testing.T) {
	c := newCodec()
	decimal := goldenSamples()[:2]
	for name, want := range map[string][]lh.Sample{"chunk-1-xor.bin": goldenSamples(), "chunk-1-decimal.bin": decimal} {
		path := filepath.Join("testdata", name)
		if *update {
			b, err := c.encode(chunkMagic, -1, want)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.decode(nil, chunkMagic, -1, b)
		if err != nil || !bitsEqual(got, want) {
			t.Errorf("%s: %v\n%v", name, got, err)
		}
	}
	path := filepath.Join("testdata", "summary-1.bin")
	s := summarize(goldenSamples())
	if *update {
		if err := os.WriteFile(path, s.encode(-1), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeSummary(-1, b)
	if err != nil || got.count != 5 || got.good != 2 || got.worst != 9 || got.max.Value != math.MaxFloat64 || got.min.Value != -0.001 ||
		got.sum != s.sum || len(got.gaps) != 4 || got.gaps[0].before != lh.DayStart(-1)+120001 {
		t.Errorf("%+v %v", got, err)
	}
}

func randomDay(r *rand.Rand, day int32, n int) []lh.Sample {
	var out []lh.Sample
	at := lh.DayStart(day)
	kind := r.IntN(3)
	for range n {
		at += 1 + lh.Millis(r.Int64N(lh.DayMillis/int64(n+1)))
		s := lh.Sample{Time: at, Flag: []lh.Flag{1, 1, 1, 2, 3, 4, 9}[r.IntN(7)], Rank: lh.Rank(r.Uint64())}
		switch kind {
		case 0:
			s.Value = math.Round(r.NormFloat64()*1000) / 1000
		case 1:
			s.Value = r.NormFloat64()
		case 2:
			for s.Value = math.NaN(); math.IsNaN(s.Value) || math.IsInf(s.Value, 0); {
				s.Value = math.Float64frombits(r.Uint64())
			}
		}
		out = append(out, s)
	}
	return out
}

func TestChunkRoundTripIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	c := newCodec()
	var buf []lh.Sample
	for i := range 300 {
		day := int32(r.IntN(100000) - 50000)
		want := randomDay(r, day, 1+r.IntN(300))
		b, err := c.encode(chunkMagic, day, want)
		if err != nil {
			t.Fatal(err)
		}
		if buf, err = c.decode(buf[:0], chunkMagic, day, b); err != nil || !bitsEqual(buf, want) {
			t.Fatalf("round %d: %v", i, err)
		}
		// Times are offsets from the day, so it is the seal that binds a chunk to its day: as another's it has its times.
		for j := range want {
			want[j].Time += lh.DayMillis
		}
		if buf, err = c.decode(buf[:0], chunkMagic, day+1, b); err != nil || !bitsEqual(buf, want) {
			t.Fatalf("round %d, as of the next day: %v", i, err)
		}
	}
}

func TestDamagedChunksAreRefused(t *testing.T) {
	c := newCodec()
	r := rand.New(rand.NewPCG(5, 6))
	b, err := c.encode(chunkMagic, 7, randomDay(r, 7, 100))
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range b {
		for bit := range 8 {
			bad := bytes.Clone(b)
			bad[i] ^= 1 << bit
			got, err := c.decode(nil, chunkMagic, 7, bad)
			if err != nil {
				refused++
				continue
			}
			want, err := c.decode(nil, chunkMagic, 7, b)
			if err != nil || !bitsEqual(got, want) {
				t.Fatalf("bit %d of byte %d flipped gives other samples", bit, i)
			}
		}
		if _, err := c.decode(nil, chunkMagic, 7, b[:i]); err == nil {
			t.Fatalf("cut at %d was taken", i)
		}
	}
	if refused < len(b)*7 {
		t.Errorf("only %d of %d flips were noticed", refused, len(b)*8)
	}
}

func FuzzChunk(f *testing.F) {
	c := newCodec()
	for _, s := range [][]lh.Sample{goldenSamples(), goldenSamples()[:2]} {
		b, err := c.encode(chunkMagic, -1, s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := c.decode(nil, chunkMagic, -1, b); err == nil {
			check(t, c, got)
		}
		if got, err := decodeColumns(nil, -1, b, false); err == nil { // behind the checksum
			check(t, c, got)
		}
	})
}

func check(t *testing.T, c *codec, got []lh.Sample) {
	b, err := c.encode(chunkMagic, -1, got)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := c.decode(nil, chunkMagic, -1, b); err != nil || !bitsEqual(got, again) {
		t.Fatalf("what was decoded does not encode to the same: %v", err)
	}
}
