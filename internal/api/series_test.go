package api_test

import (
	"crypto/tls"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// point is a sample as any of the formats tells it.
type point struct {
	at    lh.Millis
	value float64
	flag  int
}

// decodeColumns reads the binary columns, by docs/format/columns.md.
func decodeColumns(t *testing.T, b []byte) []api.ElementSeries {
	t.Helper()
	le := binary.LittleEndian
	if len(b) < 8 || string(b[:4]) != "LHC1" || len(b)%8 != 0 {
		t.Fatalf("no columns: %d bytes, %.20q", len(b), b)
	}
	out := make([]api.ElementSeries, le.Uint32(b[4:]))
	at := 8
	pad := func() {
		for at%8 != 0 {
			if b[at] != 0 {
				t.Fatal("padding is not zero")
			}
			at++
		}
	}
	number := func() float64 { at += 8; return math.Float64frombits(le.Uint64(b[at-8:])) }
	for i := range out {
		n := int(le.Uint16(b[at:]))
		s := api.ElementSeries{ElementID: lh.ElementID(b[at+2 : at+2+n]), Gaps: [][2]lh.Millis{}}
		at += 2 + n
		s.Reduced = le.Uint32(b[at:])&1 == 1
		s.IntervalMs, s.Count = int64(le.Uint64(b[at+4:])), int64(le.Uint64(b[at+12:]))
		points, gaps := int(le.Uint32(b[at+20:])), int(le.Uint32(b[at+24:]))
		at += 28
		pad()
		s.Times, s.Values, s.Flags = make([]lh.Millis, points), make([]float64, points), make([]int, points)
		for k := range points {
			s.Times[k] = lh.Millis(number())
		}
		for k := range points {
			s.Values[k] = number()
		}
		for range gaps {
			s.Gaps = append(s.Gaps, [2]lh.Millis{lh.Millis(number()), lh.Millis(number())})
		}
		for k := range points {
			s.Flags[k] = int(b[at])
			at++
		}
		pad()
		out[i] = s
	}
	if at != len(b) {
		t.Fatalf("%d bytes behind the columns", len(b)-at)
	}
	return out
}

func decodeCSV(t *testing.T, body []byte) map[lh.ElementID][]point {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(string(body))).ReadAll()
	if err != nil || len(rows) == 0 || strings.Join(rows[0], ",") != "time,element_id,value,flag" {
		t.Fatalf("no CSV: %v, %.100q", err, body)
	}
	out := map[lh.ElementID][]point{}
	for _, r := range rows[1:] {
		at, err1 := time.Parse("2006-01-02T15:04:05.000Z", r[0])
		v, err2 := strconv.ParseFloat(r[2], 64)
		f, err3 := strconv.Atoi(r[3])
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatalf("line %q", r)
		}
		out[lh.ElementID(r[1])] = append(out[lh.ElementID(r[1])], point{lh.MillisOf(at), v, f})
	}
	return out
}

func pointsOf(s api.ElementSeries) []point {
	out := make([]point, len(s.Times))
	for i := range s.Times {
		out[i] = point{s.Times[i], s.Values[i], s.Flags[i]}
	}
	return out
}

// history uploads random samples of two channels: late, doubled and overwritten, around 1970, with gaps, some folded
// and some not. It returns what a plain map makes of it.
func (r *rig) history(s site, rnd *rand.Rand, uploads int) map[lh.ElementID]map[lh.Millis]point {
	want := map[lh.ElementID]map[lh.Millis]point{s.elements[0].ID: {}, s.elements[1].ID: {}}
	now := lh.MillisOf(r.clock.Now())
	starts := []lh.Millis{-400 * lh.DayMillis, -2 * lh.DayMillis, -3600000, now - 30*lh.DayMillis, now - 3*lh.DayMillis, now - lh.DayMillis}
	seq := uint32(1)
	for range uploads {
		b := wire.Batch{Log: 1, First: seq, Channels: []string{s.elements[0].Channel, s.elements[1].Channel}}
		at := starts[rnd.IntN(len(starts))] + lh.Millis(rnd.Int64N(2*lh.DayMillis))/60000*60000
		for range 1 + rnd.IntN(120) {
			rec := wire.Record{Time: min(at, now)}
			for c := range 2 {
				if rnd.IntN(5) == 0 {
					continue
				}
				v := math.Round(1000*math.Sin(float64(at)/1e7))/100 + float64(c)
				switch rnd.IntN(40) {
				case 0:
					v = rnd.NormFloat64() * 1e6
				case 1:
					v = math.Float64frombits(rnd.Uint64()&^(0x7ff<<52) | 1000<<52)
				case 2:
					v = 0
				}
				f := []lh.Flag{1, 1, 1, 2, 3, 4, 9}[rnd.IntN(7)]
				rec.Values = append(rec.Values, wire.Value{Channel: uint16(c), Flag: f, Value: v})
				if rec.Time < 1e12 { // before any clock was set
					f = max(f, lh.FlagSuspect)
				}
				want[s.elements[c].ID][rec.Time] = point{rec.Time, v, int(f)}
			}
			b.Records = append(b.Records, rec)
			at += []lh.Millis{0, 60000, 60000, 60000, 60000, 60001, 90000, 150000, 150001, 3600000}[rnd.IntN(10)]
		}
		seq += uint32(len(b.Records))
		r.uploadBatch(s, b)
		if rnd.IntN(10) == 0 {
			r.uploadBatch(s, b) // the answer was lost
		}
		if rnd.IntN(15) == 0 {
			if err := r.engine.FoldNow(ctx); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	return want
}

// gapsOf finds the distances of more than 2.5 intervals.
func gapsOf(ps []point, interval int64) [][2]lh.Millis {
	out := [][2]lh.Millis{}
	for i := 1; i < len(ps) && len(out) < 1000; i++ {
		if 2*int64(ps[i].at-ps[i-1].at) > 5*interval {
			out = append(out, [2]lh.Millis{ps[i-1].at, ps[i].at})
		}
	}
	return out
}

// bucketOf is the bucket of a time where the extent of the data is cut into equal ones.
func bucketOf(at, first, last lh.Millis, buckets int) int64 {
	n := new(big.Int).Mul(big.NewInt(int64(at-first)), big.NewInt(int64(buckets)))
	return n.Div(n, big.NewInt(int64(last-first)+1)).Int64()
}

// checkReduced holds a reduced series to what it was made from.
func checkReduced(what string, got api.ElementSeries, all []point, points int) error {
	if got.Count != int64(len(all)) {
		return fmt.Errorf("%s: count %d of %d", what, got.Count, len(all))
	}
	gp := pointsOf(got)
	if len(all) <= points {
		if got.Reduced || !slices.Equal(gp, all) {
			return fmt.Errorf("%s: %d samples fit into %d points, and are not told as they are", what, len(all), points)
		}
		return nil
	}
	if !got.Reduced || len(gp) > points {
		return fmt.Errorf("%s: reduced is %v, with %d points", what, got.Reduced, len(gp))
	}
	have := map[point]bool{}
	for _, p := range all {
		have[p] = true
	}
	type extremes struct{ least, greatest float64 }
	fill := func(ps []point) map[int64]extremes {
		m := map[int64]extremes{}
		for _, p := range ps {
			b := bucketOf(p.at, all[0].at, all[len(all)-1].at, points/2)
			e, ok := m[b]
			if !ok {
				e = extremes{p.value, p.value}
			}
			m[b] = extremes{min(e.least, p.value), max(e.greatest, p.value)}
		}
		return m
	}
	for i, p := range gp {
		if !have[p] {
			return fmt.Errorf("%s: %v is no sample", what, p)
		}
		if i > 0 && p.at <= gp[i-1].at {
			return fmt.Errorf("%s: not ascending at %d", what, i)
		}
	}
	if want := fill(all); !maps.Equal(fill(gp), want) {
		return fmt.Errorf("%s: the least or greatest of some of %d buckets is lost", what, len(want))
	}
	return nil
}

// TestSeriesFormats: raw and reduced, as JSON, CSV and columns, all agree with a brute-force reference.
func TestSeriesFormats(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		s := r.site(r.owner, "Here", "1/level", "2/temp")
		rnd := rand.New(rand.NewPCG(11, 12))
		want := r.history(s, rnd, 60)
		var ids []string
		sorted := map[lh.ElementID][]point{}
		for _, e := range s.elements {
			ids = append(ids, string(e.ID))
			for _, at := range slices.Sorted(maps.Keys(want[e.ID])) {
				sorted[e.ID] = append(sorted[e.ID], want[e.ID][at])
			}
		}
		token := bearer(r.token("owner@a.example"))
		ask := func(from, to lh.Millis, points int, format string) answer {
			t.Helper()
			a := r.do("GET", fmt.Sprintf("%s?elements=%s&from=%d&to=%d&points=%d&format=%s", r.path("series"), strings.Join(ids, ","), from, to, points, format), nil, token)
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			return a
		}
		now := lh.MillisOf(r.clock.Now())
		ranges := [][2]lh.Millis{{lh.MinMillis, lh.MaxMillis + 1}, {-lh.DayMillis, lh.DayMillis}, {0, 0}, {5, 6}, {now, now}}
		for range 5 {
			p := sorted[s.elements[0].ID]
			from := p[rnd.IntN(len(p))].at + lh.Millis(rnd.IntN(3)-1)
			to := p[rnd.IntN(len(p))].at + lh.Millis(rnd.IntN(3)-1)
			ranges = append(ranges, [2]lh.Millis{min(from, to), max(from, to)})
		}
		for pass := range 2 {
			for _, rg := range ranges {
				clipped := map[lh.ElementID][]point{}
				for id, ps := range sorted {
					for _, p := range ps {
						if p.at >= rg[0] && p.at < rg[1] {
							clipped[id] = append(clipped[id], p)
						}
					}
				}
				for _, points := range []int{0, 2, 3, 4 + rnd.IntN(1000), 100000} {
					what := fmt.Sprintf("pass %d, %d to %d, %d points", pass, rg[0], rg[1], points)
					var js api.Series
					ja := ask(rg[0], rg[1], points, "json")
					ja.decode(t, &js)
					if js.From != rg[0] || js.To != rg[1] || len(js.Series) != 2 || ja.header.Get("Content-Type") != "application/json" {
						t.Fatalf("%s: %d %d, %d series", what, js.From, js.To, len(js.Series))
					}
					ca, ba := ask(rg[0], rg[1], points, "csv"), ask(rg[0], rg[1], points, "columns")
					if ca.header.Get("Content-Type") != "text/csv; charset=utf-8" || ba.header.Get("Content-Type") != "application/vnd.loggerhead.columns" {
						t.Errorf("%s: types %q and %q", what, ca.header.Get("Content-Type"), ba.header.Get("Content-Type"))
					}
					cs, bs := decodeCSV(t, ca.body), decodeColumns(t, ba.body)
					for i, e := range s.elements {
						got, all := js.Series[i], clipped[e.ID]
						if got.ElementID != e.ID || got.IntervalMs != 60000 {
							t.Fatalf("%s: series %d is of %s, interval %d", what, i, got.ElementID, got.IntervalMs)
						}
						limit := points
						if points == 0 {
							limit = math.MaxInt
						}
						if err := checkReduced(what, got, all, limit); err != nil {
							t.Fatal(err)
						}
						if !slices.Equal(got.Gaps, gapsOf(all, 60000)) {
							t.Fatalf("%s: gaps %v, want %v", what, got.Gaps, gapsOf(all, 60000))
						}
						if !slices.Equal(pointsOf(got), cs[e.ID]) && len(all) > 0 {
							t.Fatalf("%s: CSV has %d points, JSON %d, or others", what, len(cs[e.ID]), len(got.Times))
						}
						b := bs[i]
						if b.ElementID != e.ID || b.Reduced != got.Reduced || b.Count != got.Count || b.IntervalMs != got.IntervalMs ||
							!slices.Equal(pointsOf(b), pointsOf(got)) || !slices.Equal(b.Gaps, got.Gaps) {
							t.Fatalf("%s: columns differ from JSON", what)
						}
					}
				}
			}
			if err := r.engine.FoldNow(ctx); err != nil { // once more, all of it folded
				t.Fatal(err)
			}
		}
	})
}

// TestSeriesOfNobody: an element that no device feeds, and one that has no samples, answer with empty arrays, not null.
func TestSeriesOfNobody(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		s := r.site(r.owner, "Here", "1/level")
		lone, err := r.db.CreateElement(ctx, r.owner, lh.Element{Name: "Discharge"})
		if err != nil {
			r.t.Fatal(err)
		}
		for _, points := range []int{0, 10} {
			a := r.as("owner@a.example", "GET", fmt.Sprintf("%s?elements=%s,%s&from=0&to=10&points=%d", r.path("series"), s.elements[0].ID, lone.ID, points), nil)
			if strings.Contains(string(a.body), "null") || strings.Count(string(a.body), `"times":[],"values":[],"flags":[],"gaps":[]`) != 2 {
				r.t.Errorf("%d %s", a.status, a.body)
			}
		}
	})
}

// TestDamagedChunk: an export that meets a damaged chunk breaks off, so that nobody takes half of it for the whole, and
// health hears of it.
func TestDamagedChunk(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		t.Run(fmt.Sprint("http1=", http1), func(t *testing.T) {
			r := newRig(t, storetest.SQLite(t), rigOptions{http1: http1})
			s := r.site(r.owner, "Here", "1/level")
			var b wire.Batch
			b.Channels = []string{"1/level"}
			rnd := rand.New(rand.NewPCG(1, 1))
			for i := range 20000 {
				b.Records = append(b.Records, wire.Record{Time: lh.Millis(1.7e12) + lh.Millis(i)*10000, Values: []wire.Value{{Flag: 1, Value: rnd.Float64()}}})
			}
			r.uploadBatch(s, b)
			if err := r.engine.FoldNow(ctx); err != nil {
				t.Fatal(err)
			}
			hub := storetest.HubScope(r.owner.Project())
			day := b.Records[len(b.Records)-1].Time.Day()
			damage := func(part func(*store.Chunk)) {
				t.Helper()
				c, err := r.db.WholeChunk(ctx, hub, s.elements[0].ID, day)
				if err != nil || c.Gen == 0 || c.Summary == nil {
					t.Fatalf("%+v, %v", c, err)
				}
				part(&c)
				if err := r.db.Fold(ctx, hub, []store.Chunk{c}, nil, nil); err != nil {
					t.Fatal(err)
				}
			}
			damage(func(c *store.Chunk) { c.Body = []byte("damaged") })
			query := fmt.Sprintf("%s?elements=%s&from=0&to=%d", r.path("series"), s.elements[0].ID, lh.MaxMillis)
			resp, err := r.server.Client().Do(r.request(ctx, "GET", query+"&format=csv", nil, bearer(r.token("owner@a.example"))))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if resp.StatusCode != http.StatusOK || err == nil || len(body) < 10000 {
				t.Errorf("status %d, %d bytes, and then %v", resp.StatusCode, len(body), err)
			}
			for _, more := range []string{"", "&format=columns", "&points=1000"} {
				if a := r.as("owner@a.example", "GET", query+more, nil); a.status != 500 {
					t.Errorf("%s: %d", more, a.status)
				}
			}
			if ps := r.engine.Problems(); len(ps) != 1 || !strings.Contains(ps[0], string(s.elements[0].ID)) {
				t.Errorf("problems: %v", ps)
			}
			// What is known before the first byte is a problem like any other.
			day = b.Records[0].Time.Day()
			damage(func(c *store.Chunk) { c.Body = []byte("damaged") })
			a := r.as("owner@a.example", "GET", query+"&format=csv", nil)
			if a.status != 500 || a.problem(t).Code != lh.Internal || a.header.Get("Content-Disposition") != "" {
				t.Errorf("a damaged first day: %d %v %.100s", a.status, a.header, a.body)
			}
		})
	}
}

// TestStalledReader: somebody who asks for much and reads nothing is cut off, and does not hold the answer in memory.
func TestStalledReader(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.SQLite(t), rigOptions{http1: true, writeBuffer: 32 << 10})
	r.api.SetStall(300 * time.Millisecond)
	s := r.site(r.owner, "Here", "1/level")
	rnd := rand.New(rand.NewPCG(1, 1))
	b := wire.Batch{Channels: []string{"1/level"}}
	for i := range wire.MaxRecords {
		b.Records = append(b.Records, wire.Record{Time: lh.Millis(1.7e12) + lh.Millis(i)*1000, Values: []wire.Value{{Flag: 1, Value: rnd.Float64()}}})
	}
	r.uploadBatch(s, b)
	token := r.token("owner@a.example")
	for _, format := range []string{"json", "columns", "csv"} {
		raw, err := net.Dial("tcp", r.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		if err := raw.(*net.TCPConn).SetReadBuffer(32 << 10); err != nil {
			t.Fatal(err)
		}
		conn := tls.Client(raw, &tls.Config{RootCAs: r.server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"})
		// Half a megabyte or more, which these sockets do not hold.
		fmt.Fprintf(conn, "GET %s?elements=%s&from=0&to=%d&format=%s HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nAuthorization: Bearer %s\r\n\r\n", r.path("series"), s.elements[0].ID, lh.MaxMillis, format, token)
		if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil { // it has begun
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); r.active.Load() > 0; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: the answer still waits for a reader that does not read", format)
			}
		}
		if rest, err := io.ReadAll(conn); len(rest) > 450<<10 {
			t.Errorf("%s: %d bytes came, which is all of it; then %v", format, len(rest), err)
		}
	}
}

// TestLongExport: an export may take longer than a request may take to arrive.
func TestLongExport(t *testing.T) {
	r := newRig(t, storetest.SQLite(t), rigOptions{http1: true, readTimeout: 500 * time.Millisecond})
	s := r.site(r.owner, "Here", "1/level")
	rnd := rand.New(rand.NewPCG(1, 1))
	const samples = 200000
	for n := 0; n < samples; n += wire.MaxRecords / 2 {
		b := wire.Batch{Channels: []string{"1/level"}}
		for i := n; i < min(n+wire.MaxRecords/2, samples); i++ {
			b.Records = append(b.Records, wire.Record{Time: lh.Millis(1.7e12) + lh.Millis(i)*1000, Values: []wire.Value{{Flag: 1, Value: rnd.Float64()}}})
		}
		r.uploadBatch(s, b)
	}
	query := fmt.Sprintf("%s?elements=%s&from=0&to=%d&format=csv", r.path("series"), s.elements[0].ID, lh.MaxMillis)
	token := r.token("owner@a.example")
	resp, err := r.server.Client().Do(r.request(ctx, "GET", query, nil, bearer(token), header("Accept-Encoding", "identity")))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines, buf := 0, make([]byte, 1<<20)
	start := time.Now()
	for slow := 0; ; slow++ {
		n, err := resp.Body.Read(buf)
		lines += strings.Count(string(buf[:n]), "\n")
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %s and %d lines: %v", time.Since(start), lines, err)
		}
		if time.Since(start) < time.Second { // a slow reader, so that the writer waits
			time.Sleep(20 * time.Millisecond)
		}
	}
	if lines != samples+1 {
		t.Errorf("%d lines", lines)
	}
}
