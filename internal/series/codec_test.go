package series

import (
	"bytes"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// TestEveryVersionIsRead decodes the files that each version of each format has left. -update writes those of the newest
// versions; those of earlier ones can only be kept.
func TestEveryVersionIsRead(t *testing.T) {
	c := newCodec()
	day := lh.DayStart(-1)
	lost := []lh.Sample{{Time: day, Value: 1, Flag: 1, Rank: 1}, {Time: day, Value: 2, Flag: 9, Rank: 7}, {Time: day + 5, Value: math.Pi, Flag: 3, Rank: math.MaxUint64}}
	for _, v := range []struct {
		name, magic string
		want        []lh.Sample
	}{
		{"chunk-1-xor.bin", chunkMagic, goldenSamples()},
		{"chunk-1-decimal.bin", chunkMagic, goldenSamples()[:2]},
		{"revision-1.bin", revisionMagic, lost},
		{"chunk-2-float.bin", chunkMagic, goldenSamples()},
		{"chunk-2-decimal.bin", chunkMagic, goldenSamples()[:2]},
		{"chunk-2-minutes.bin", chunkMagic, minutes(-1, 1440)},
		{"chunk-2-dense.bin", chunkMagic, minutes(-1, 2*blockSamples+5)},
		{"revision-2.bin", revisionMagic, lost},
	} {
		b := goldenFile(t, v.name, func() ([]byte, error) { return c.encode(v.magic, -1, v.want) })
		got, err := c.decode(nil, v.magic, -1, b)
		if err != nil || !bitsEqual(got, v.want) {
			t.Errorf("%s: %v\n%v", v.name, got, err)
		}
	}
	for _, v := range []struct {
		name    string
		samples []lh.Sample
	}{{"summary-1.bin", goldenSamples()}, {"summary-2.bin", goldenSamples()}, {"summary-2-minutes.bin", minutes(-1, 1440)}} {
		s := summarize(v.samples)
		b := goldenFile(t, v.name, func() ([]byte, error) { return s.encode(-1), nil })
		if !sumsUp(-1, b, v.samples) {
			got, err := decodeSummary(-1, b)
			t.Errorf("%s: %+v %v", v.name, got, err)
		}
		if sumsUp(-1, b, v.samples[1:]) {
			t.Errorf("%s: fewer samples add up to it, too", v.name)
		}
	}
	came := []arrival{{1000, 1, 20, lh.DayStart(19000)}, {math.MaxUint32, math.MaxUint32, 1, lh.DayStart(19001) - 1}}
	b := goldenFile(t, "arrival-1.bin", func() ([]byte, error) { b, _, _, err := c.encodeArrivals(19000, slices.Clone(came)); return b, err })
	if got, err := c.decodeArrivals(nil, 19000, b); err != nil || !slices.Equal(got, came) {
		t.Errorf("arrival-1.bin: %v %v", got, err)
	}
}

// goldenFile reads a file of testdata, which -update writes where it is of a version that is still written.
func goldenFile(t *testing.T, name string, make func() ([]byte, error)) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	old := strings.Contains(name, "-1") && !strings.HasPrefix(name, "arrival")
	if *update && !old {
		b, err := make()
		if err == nil {
			err = os.WriteFile(path, b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// minutes is a series as loggers send it: so many samples of a day, in even steps, in three decimals.
func minutes(day int32, n int) []lh.Sample {
	r := rand.New(rand.NewPCG(9, 9))
	out := make([]lh.Sample, n)
	step := lh.Millis(60_000)
	for step*lh.Millis(n) > lh.DayMillis {
		step /= 10
	}
	v := 4200.0
	for i := range out {
		v += 4 * r.NormFloat64()
		out[i] = lh.Sample{Time: lh.DayStart(day) + lh.Millis(i)*step, Value: math.Round(v) / 1000, Flag: 1, Rank: lh.RankOf(1700000000, uint32(i+1))}
	}
	return out
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

// TestUnevenStepsComeBack: runs, planes, what does not fit them, and each way of packing, in turn.
func TestUnevenStepsComeBack(t *testing.T) {
	c := newCodec()
	r := rand.New(rand.NewPCG(1, 1))
	var got []lh.Sample
	for range 3000 {
		n, kinds := 1+r.IntN(400), 1+r.IntN(5)
		wide := []int64{1, 400, 400_000, 1 << 40}[r.IntN(4)]
		var s []lh.Sample
		at := lh.Millis(r.IntN(1000))
		for i := range n {
			at += lh.Millis(1 + r.IntN(kinds)*r.IntN(kinds))
			if r.IntN(40) == 0 {
				at += lh.Millis(r.Int64N(min(wide, 150_000)))
			}
			v := float64(r.IntN(kinds)) / 10
			if r.IntN(20) == 0 {
				v = float64(r.Int64N(wide)) / 100
			}
			s = append(s, lh.Sample{Time: at, Value: v, Flag: 1, Rank: lh.Rank(int64(i) * r.Int64N(wide))})
		}
		b, err := c.encode(chunkMagic, 0, s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err = c.decode(got[:0], chunkMagic, 0, b); err != nil || !bitsEqual(got, s) {
			t.Fatalf("%d samples of %d kinds up to %d: %v", n, kinds, wide, err)
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
	golden(f, "chunk-*.bin")
	for _, s := range [][]lh.Sample{goldenSamples(), goldenSamples()[:2], minutes(-1, 600)} {
		b, err := c.encode(chunkMagic, -1, s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[9:]) // behind the checksum
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := c.decode(nil, chunkMagic, -1, b); err == nil {
			check(t, c, got)
		}
		if got, err := decodeColumns(nil, -1, b, false); err == nil { // version 1 behind the checksum
			check(t, c, got)
		}
		if got, ok := content(c, b, false); ok {
			check(t, c, got)
		}
	})
}

// content decodes what stands behind the checksum of a block, by its values and by its mantissas, which must agree.
func content(c *codec, b []byte, repeats bool) ([]lh.Sample, bool) {
	w, cols, whole := c.work(), c.columns(), c.columns()
	what := w.readContent(cols, -1, b, false, repeats)
	if again := w.readContent(whole, -1, b, true, repeats); again != what {
		panic("read by its mantissas: " + again + ", by its values: " + what)
	}
	if what != "" {
		return nil, false
	}
	for i, m := range whole.mants {
		if float64(m)/pow10[whole.places] != cols.values[i] {
			panic("mantissas and values differ")
		}
	}
	got, what := w.appendSamples(nil, cols, repeats)
	return got, what == ""
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

// BenchmarkCodec is what a fold and a reader do with a day of minutes.
func BenchmarkCodec(b *testing.B) {
	c := newCodec()
	day := minutes(20000, 1440)
	body, err := c.encode(chunkMagic, 20000, day)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d bytes", len(body))
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.encode(chunkMagic, 20000, day); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("summarize", func(b *testing.B) {
		for b.Loop() {
			s := summarize(day)
			s.encode(20000)
		}
	})
	b.Run("samples", func(b *testing.B) {
		var got []lh.Sample
		for b.Loop() {
			if got, err = c.decode(got[:0], chunkMagic, 20000, body); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, mants := range map[string]bool{"values": false, "mantissas": true} {
		b.Run(name, func(b *testing.B) {
			w, cols := c.work(), c.columns()
			for b.Loop() {
				if what := w.readBlock(cols, 20000, body[5:], mants, false); what != "" {
					b.Fatal(what)
				}
			}
		})
	}
}
