package series

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
)

func TestArrivalsComeBack(t *testing.T) {
	c := newCodec()
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 5))
		day := int32(r.IntN(40000) - 20000)
		var as []arrival
		first := map[lh.Rank]lh.Millis{}
		for range 1 + r.IntN(60) {
			a := arrival{epoch: uint32(1000 + r.IntN(3)), first: uint32(r.IntN(300)), count: uint32(1 + r.IntN(40)), received: lh.DayStart(day) + lh.Millis(r.IntN(lh.DayMillis))}
			if r.IntN(10) == 0 {
				a.first, a.count = math.MaxUint32-5, 6
			}
			as = append(as, a)
			for i := range a.count {
				k := lh.RankOf(a.epoch, a.first+i)
				if old, ok := first[k]; !ok || a.received < old {
					first[k] = a.received
				}
			}
		}
		body, least, greatest, err := c.encodeArrivals(day, slices.Clone(as))
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.decodeArrivals(nil, day, body)
		if err != nil {
			t.Fatal(err)
		}
		came := newArrivals(got)
		for k, want := range first {
			if at, ok := came.of(k); !ok || at != want {
				t.Fatalf("seed %d: rank %x came at %d (%v), want %d", seed, k, at, ok, want)
			}
			if k < least || k > greatest {
				t.Fatalf("seed %d: rank %x is not within %x–%x", seed, k, least, greatest)
			}
		}
		for range 100 {
			k := lh.RankOf(uint32(999+r.IntN(5)), uint32(r.IntN(400)))
			if _, ok := came.of(k); ok != (first[k] != 0) {
				t.Fatalf("seed %d: rank %x known %v", seed, k, ok)
			}
		}
	}
}

func FuzzArrivals(f *testing.F) {
	c := newCodec()
	raw, _, _, err := c.encodeArrivals(19000, []arrival{{1000, 1, 20, lh.DayStart(19000)}, {1000, 21, 60, lh.DayStart(19000) + 5}})
	if err != nil {
		f.Fatal(err)
	}
	plain, err := c.unpack(arrivalMagic, raw, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Fuzz(func(t *testing.T, b []byte) {
		body, err := c.pack(arrivalMagic, b)
		if err != nil {
			t.Skip()
		}
		as, err := c.decodeArrivals(nil, 19000, body)
		if err != nil {
			return
		}
		again, _, _, err := c.encodeArrivals(19000, slices.Clone(as))
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(as, compareArrivals)
		if back, err := c.decodeArrivals(nil, 19000, again); err != nil || !slices.Equal(back, slices.Compact(as)) {
			t.Fatalf("%v comes back as %v: %v", as, back, err)
		}
	})
}
