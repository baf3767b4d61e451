package wire

import (
	"bytes"
	"flag"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	lh "github.com/loggerhead-cloud/loggerhead"
)

var update = flag.Bool("update", false, "write golden files anew")

func sample() *Batch {
	return &Batch{Log: 0x0123456789abcdef, First: 41, Sent: 1795516755814, Channels: []string{"1/water_level", "2/temperature", "sys/µ"},
		Records: []Record{
			{Time: 1795516700000, Values: []Value{{0, 1, 1.234}, {1, 2, -7.5}, {2, 4, math.Pi}}},
			{Time: 1795516760000, Values: []Value{{0, 1, 1.236}, {1, 3, -7}}},
			{Time: -62135596800000, Values: []Value{{2, 9, math.Copysign(0, -1)}}},
			{Time: 253402300799999},
			{Time: 5, Values: []Value{{0, 1, 5e-324}, {1, 1, math.MaxFloat64}, {2, 1, 1 << 53}, {0, 1, 1e12 + 0.5}}},
		}}
}

func TestGolden(t *testing.T) {
	b := sample()
	got, err := b.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "batch-1.bin")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the binary form has changed; devices in the field write the old one")
	}
	var back Batch
	if err := Decode(&back, want); err != nil {
		t.Fatal(err)
	}
	same(t, b, &back)
}

// same compares bit for bit, so that -0 is not 0.
func same(t *testing.T, want, got *Batch) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Batch{}), cmpopts.EquateEmpty(), cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })); d != "" {
		t.Error(d)
	}
}

func randomBatch(r *rand.Rand) *Batch {
	b := &Batch{Log: r.Uint64() | 1, First: 1 + r.Uint32N(1<<31), Sent: lh.Millis(r.Int64N(1 << 41))}
	for i := range 1 + r.IntN(8) {
		b.Channels = append(b.Channels, string(rune('a'+i))+"/x")
	}
	at := lh.Millis(r.Int64N(1 << 41))
	for range r.IntN(200) {
		at += lh.Millis(r.Int64N(200000) - 50000)
		rec := Record{Time: at}
		for range r.IntN(6) {
			v := Value{Channel: uint16(r.IntN(len(b.Channels))), Flag: []lh.Flag{1, 2, 3, 4, 9}[r.IntN(5)]}
			switch r.IntN(4) {
			case 0:
				v.Value = math.Float64frombits(r.Uint64())
				if math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
					v.Value = 0
				}
			case 1:
				v.Value = float64(r.IntN(100000)) / 1000
			case 2:
				v.Value = r.NormFloat64()
			case 3:
				v.Value = math.Round(r.NormFloat64()*1e6) / 100
			}
			rec.Values = append(rec.Values, v)
		}
		b.Records = append(b.Records, rec)
	}
	return b
}

func TestRoundTripIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var back Batch // reused, as the hub does
	for range 500 {
		b := randomBatch(r)
		data, err := b.Append([]byte("kept"))
		if err != nil {
			t.Fatal(err)
		}
		if string(data[:4]) != "kept" {
			t.Fatal("Append overwrote what was there")
		}
		if err := Decode(&back, data[4:]); err != nil {
			t.Fatal(err)
		}
		if len(b.Records) == 0 {
			b.Records = back.Records
		}
		same(t, b, &back)
		if b.Samples() != back.Samples() || b.Last() != back.Last() {
			t.Fatal("counts differ")
		}
	}
}

func TestEveryDamageIsFound(t *testing.T) {
	data, err := sample().Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x10
		if err := Decode(&b, bad); lh.CodeOf(err) != lh.Invalid || len(b.Records) != 0 || len(b.Channels) != 0 {
			t.Fatalf("byte %d flipped: %v, %d records", i, err, len(b.Records))
		}
		if err := Decode(&b, data[:i]); lh.CodeOf(err) != lh.Invalid {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
	if err := Decode(&b, append(data, 0)); lh.CodeOf(err) != lh.Invalid {
		t.Fatalf("a byte too many: %v", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*Batch){
		"NaN":               func(b *Batch) { b.Records[0].Values[0].Value = math.NaN() },
		"infinity":          func(b *Batch) { b.Records[0].Values[0].Value = math.Inf(-1) },
		"flag 0":            func(b *Batch) { b.Records[0].Values[0].Flag = 0 },
		"flag 5":            func(b *Batch) { b.Records[0].Values[0].Flag = 5 },
		"channel":           func(b *Batch) { b.Records[0].Values[0].Channel = 3 },
		"year 10000":        func(b *Batch) { b.Records[0].Time = lh.MaxMillis + 1 },
		"year 0":            func(b *Batch) { b.Records[0].Time = lh.MinMillis - 1 },
		"sequence 0":        func(b *Batch) { b.First = 0 },
		"sequence overflow": func(b *Batch) { b.First = math.MaxUint32 - 3 },
		"channel twice":     func(b *Batch) { b.Channels[1] = b.Channels[0] },
		"channel empty":     func(b *Batch) { b.Channels[1] = "" },
		"channel long":      func(b *Batch) { b.Channels[1] = strings.Repeat("x", MaxChannelLen+1) },
		"channel control":   func(b *Batch) { b.Channels[1] = "a\nb" },
		"channel not UTF-8": func(b *Batch) { b.Channels[1] = "\xff" },
		"too many records":  func(b *Batch) { b.Records = make([]Record, MaxRecords+1) },
		"too many values":   func(b *Batch) { b.Records[0].Values = make([]Value, MaxValues+1) },
		"too many channels": func(b *Batch) { b.Channels = make([]string, MaxChannels+1) },
	} {
		b := sample()
		change(b)
		if _, err := b.Append(nil); lh.CodeOf(err) != lh.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestHostileCounts gives the decoder well-summed batches whose counts promise more than there is.
func TestHostileCounts(t *testing.T) {
	sum := func(body []byte) []byte {
		c := crc32.Checksum(body, castagnoli)
		return append(body, byte(c), byte(c>>8), byte(c>>16), byte(c>>24))
	}
	head := append([]byte(magic), 1, 0, 0, 0, 0, 0, 0, 0, 1, 0)
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
	var b Batch
	for name, body := range map[string][]byte{
		"channels":       append(bytes.Clone(head), huge...),
		"channel length": append(append(bytes.Clone(head), 1), huge...),
		"records":        append(append(bytes.Clone(head), 0), huge...),
		"values":         append(append(bytes.Clone(head), 0, 1, 0), huge...),
		"time overflow":  append(append(append(bytes.Clone(head), 0, 2), append(bytes.Clone(huge), 0)...), append(bytes.Clone(huge), 0)...),
		"first":          append(append([]byte(magic), 1, 0, 0, 0, 0, 0, 0, 0), huge...),
	} {
		if n := testing.AllocsPerRun(1, func() {
			if err := Decode(&b, sum(bytes.Clone(body))); lh.CodeOf(err) != lh.Invalid {
				t.Errorf("%s: %v", name, err)
			}
		}); n > 50 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestJSON(t *testing.T) {
	var b Batch
	err := Decode(&b, []byte(` {"log":"0123456789abcdef","first":7,"sent":1700000001000,"records":[
		{"t":1700000000000,"v":{"1/t":3.25,"1/h":"NAN","1/x":null,"1/b":-1e-3},"f":{"1/t":3}},
		{"f":{"1/b":4},"v":{"1/b":2},"t":1700000060000}]} `))
	if err != nil {
		t.Fatal(err)
	}
	same(t, &Batch{Log: 0x0123456789abcdef, First: 7, Sent: 1700000001000, Channels: []string{"1/t", "1/b"}, Records: []Record{
		{Time: 1700000000000, Values: []Value{{0, 3, 3.25}, {1, 2, -0.001}}},
		{Time: 1700000060000, Values: []Value{{1, 4, 2}}}}}, &b)
	for _, bad := range []string{
		`{`, `{}x`, `[]`, `{"records":{}}`, `{"records":[{}]}`, `{"records":[{"t":1.5}]}`, `{"records":[{"t":"1"}]}`, `{"records":[1]}`,
		`{"a":1}`, `{"records":[],"records":[]}`, `{"records":[{"t":1,"v":{"a":1,"a":2}}]}`, `{"records":[{"t":1,"v":{"a":true}}]}`,
		`{"records":[{"t":1,"v":{"a":1e999}}]}`, `{"records":[{"t":1,"v":{"a":"1"}}]}`, `{"records":[{"t":1,"v":{"":1}}]}`,
		`{"records":[{"t":1,"v":{"a":1},"f":{"a":7}}]}`, `{"records":[{"t":1,"z":1}]}`, `{"records":[{"t":999999999999999}]}`,
		`{"log":"1","records":[]}`, `{"log":"0123456789abcdef","records":[]}`, `{"first":-1}`, `{"first":4294967296}`,
		`{"records":[{"t":1,"v":{"a":[[[[[[1]]]]]]}}]}`, strings.Repeat(`{"records":[`, 10000),
	} {
		if err := Decode(&b, []byte(bad)); lh.CodeOf(err) != lh.Invalid || len(b.Records) != 0 {
			t.Errorf("%.60s: %v", bad, err)
		}
	}
	if err := Decode(&b, make([]byte, MaxBatchBytes+1)); lh.CodeOf(err) != lh.Invalid {
		t.Errorf("too large: %v", err)
	}
}

func TestManifest(t *testing.T) {
	good := `{"version":"1.0","hardware":"lh-1","channels":[{"key":"1/t","name":"T","quantity":"temperature","unit":"Cel","digits":1,"interval_ms":60000,"meaning":"instantaneous"}]}`
	if m, err := DecodeManifest([]byte(good)); err != nil || m.Channels[0].Interval != 60000 {
		t.Errorf("%+v %v", m, err)
	}
	for _, bad := range []string{``, `{"x":1}`, good + `x`, `{"channels":[{"key":""}]}`, `{"channels":[{"key":"a"},{"key":"a"}]}`,
		`{"channels":[{"key":"a","digits":99}]}`, `{"channels":[{"key":"a","meaning":"x"}]}`, `{"channels":[{"key":"a","interval_ms":-1}]}`,
		`{"version":"` + strings.Repeat("x", 65) + `"}`} {
		if _, err := DecodeManifest([]byte(bad)); lh.CodeOf(err) != lh.Invalid {
			t.Errorf("%.60s: %v", bad, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	data, err := sample().Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"log":"0123456789abcdef","first":7,"records":[{"t":1,"v":{"a":1.5},"f":{"a":3}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var b Batch
		if Decode(&b, data) != nil {
			// Behind a right checksum the decoder must stand by itself.
			body := append([]byte(magic), data...)
			c := crc32.Checksum(body, castagnoli)
			data = append(body, byte(c), byte(c>>8), byte(c>>16), byte(c>>24))
			if Decode(&b, data) != nil {
				return
			}
		}
		// What was taken can be written and read again, the same.
		again, err := b.Append(nil)
		if err != nil {
			if len(data) > MaxBatchBytes/4 {
				return // JSON may be tighter than binary at the bound
			}
			t.Fatal(err)
		}
		var back Batch
		if err := Decode(&back, again); err != nil {
			t.Fatal(err)
		}
		same(t, &b, &back)
	})
}

// TestMemoryIsReusedCleanly decodes batches of all sizes and both forms into one Batch; each must read as in a new one.
func TestMemoryIsReusedCleanly(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	var reused Batch
	for range 500 {
		b := &Batch{Log: 7, First: 1, Channels: []string{"a", "b", "c"}[:1+r.IntN(3)]}
		for range r.IntN(40) {
			rec := Record{Time: lh.Millis(r.Int64N(1e12))}
			for c := range b.Channels {
				if r.IntN(3) > 0 {
					rec.Values = append(rec.Values, Value{uint16(c), 1, float64(r.IntN(1000)) / 10})
				}
			}
			b.Records = append(b.Records, rec)
		}
		var data []byte
		if r.IntN(2) == 0 {
			var err error
			if data, err = b.Append(nil); err != nil {
				t.Fatal(err)
			}
		} else {
			data = []byte(`{"log":"0000000000000007","first":1,"records":[`)
			for i, rec := range b.Records {
				if i > 0 {
					data = append(data, ',')
				}
				data = fmt.Appendf(data, `{"t":%d,"v":{`, rec.Time)
				for k, v := range rec.Values {
					data = fmt.Appendf(data, `%s%q:%g`, []string{"", ","}[min(k, 1)], b.Channels[v.Channel], v.Value)
				}
				data = append(data, "}}"...)
			}
			data = append(data, "]}"...)
		}
		if r.IntN(10) == 0 {
			data = data[:len(data)-r.IntN(5)]
		}
		var fresh Batch
		err1, err2 := Decode(&fresh, data), Decode(&reused, data)
		if (err1 == nil) != (err2 == nil) {
			t.Fatal(err1, err2)
		}
		same(t, &fresh, &reused)
	}
}

func BenchmarkDecode(b *testing.B) {
	batch := &Batch{Log: 1, First: 1, Channels: []string{"a", "b", "c", "d"}}
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 250 {
		rec := Record{Time: lh.Millis(1700000000000 + i*1000)}
		for c := range 4 {
			rec.Values = append(rec.Values, Value{uint16(c), 1, math.Round(r.NormFloat64()*1000) / 1000})
		}
		batch.Records = append(batch.Records, rec)
	}
	data, err := batch.Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(len(data))/1000, "B/sample")
	var back Batch
	b.ReportAllocs()
	for b.Loop() {
		if err := Decode(&back, data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds()/1e6, "Msamples/s")
}
