package series

import (
	"math/rand/v2"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// TestBucketsEndWhereTheNextBegins holds the two ways a sample finds its bucket together.
func TestBucketsEndWhereTheNextBegins(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for range 20000 {
		from := lh.MinMillis + lh.Millis(r.Int64N(int64(lh.MaxMillis-lh.MinMillis)))
		width := 1 + r.Uint64N(uint64(lh.MaxMillis-from)+1)>>r.UintN(40)
		buckets := 1 + r.Uint64N(50000)
		d := &reducer{from: from, width: max(width, 1), buckets: buckets}
		b := d.bucket(from + lh.Millis(r.Uint64N(d.width)))
		end := d.end(b)
		if got := d.bucket(end - 1); got != b {
			t.Fatalf("from %d width %d buckets %d: %d is before the end of bucket %d, but in %d", from, d.width, buckets, end-1, b, got)
		}
		// What lies beyond the extent belongs to its last sample's bucket.
		if got := d.bucket(end); uint64(end-from) < d.width && got <= b {
			t.Fatalf("from %d width %d buckets %d: %d is the end of bucket %d, but in %d", from, d.width, buckets, end, b, got)
		}
	}
}
