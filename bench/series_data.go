package main

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

const (
	seriesPerDevice = 8
	minute          = 60_000
	// ingestDay, wideDay and yearDay are where the parts of the workload begin: the year is 2025, with both changes of
	// the clock.
	ingestDay = 20301
	wideDay   = 20201
	yearDay   = 20089
	// Devices of the wide part and of the year are numbered from here on.
	wideDevice, yearDevice = 100_000, 200_000
)

// wave is one series: a daily sine and AR(1) noise, in 2 or 3 decimals. The same device and channel give the same
// values again.
type wave struct {
	r                     *rand.Rand
	mean, swing, phase    float64
	noise, drifted, scale float64
}

// arKeeps is how much of the noise a minute keeps: it forgets half in 34 minutes.
const arKeeps = 0.98

func newWave(device, channel int) *wave {
	r := rand.New(rand.NewPCG(uint64(device)<<8|uint64(channel), 3))
	w := &wave{r: r, phase: 2 * math.Pi * r.Float64(), scale: 100}
	if channel%2 == 1 {
		w.scale = 1000
	}
	// In units of the last decimal: hundreds of them by day, four by minute.
	w.mean, w.swing, w.noise = (2000+1000*r.Float64())/w.scale, (200+600*r.Float64())/w.scale, 4/w.scale
	return w
}

// next returns the value of the next minute; the first call is minute 0.
func (w *wave) next(m int) float64 {
	w.drifted = arKeeps*w.drifted + w.noise*w.r.NormFloat64()
	return w.round(w.mean + w.swing*math.Sin(2*math.Pi*float64(m)/(24*60)+w.phase) + w.drifted)
}

func (w *wave) round(v float64) float64 { return math.Round(v*w.scale) / w.scale }

// corrected reports whether a minute of a device is written again later, with other values: one in a thousand.
func corrected(device, m int) bool {
	h := fnv.New32a()
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(device))
	binary.LittleEndian.PutUint64(b[8:], uint64(m))
	h.Write(b[:])
	return h.Sum32()%1000 == 7
}

// values makes all values of a device: as first sampled, by channel and minute.
func values(device, channels, minutes int) ([][]float64, []*wave) {
	vs, ws := make([][]float64, channels), make([]*wave, channels)
	for c := range vs {
		ws[c] = newWave(device, c)
		vs[c] = make([]float64, minutes)
		for m := range vs[c] {
			vs[c][m] = ws[c].next(m)
		}
	}
	return vs, ws
}

// final returns what a series must hold in the end.
func final(device, channel, minutes int) []float64 {
	w := newWave(device, channel)
	vs := make([]float64, minutes)
	for m := range vs {
		if vs[m] = w.next(m); corrected(device, m) {
			vs[m] = w.round(vs[m] + 1)
		}
	}
	return vs
}

// upload is a place in the file of encoded batches.
type upload struct {
	at      int64
	length  int32
	last    int32 // newest minute in it
	samples int32 // 0: it was sent before
}

// uploads are all encoded batches, in a file, so that they are no part of the memory that is measured.
type uploads struct {
	file    *os.File
	by      [][]upload // of each device, in the order they are sent
	uploads int
	size    int64
}

func (u *uploads) Close() error { return u.file.Close() }

// encodeUploads writes the workload: each device uploads 15 to 60 minutes at a time; 10 % of uploads come hours to weeks
// late, 2 % come twice, and 0.1 % of records are written again with other values.
func (b *bench) encodeUploads(z seriesSizes) (*uploads, error) {
	f, err := os.Create(filepath.Join(b.dir, "uploads"))
	if err != nil {
		return nil, err
	}
	u := &uploads{file: f, by: make([][]upload, z.devices)}
	out := bufio.NewWriterSize(f, 1<<20)
	var body []byte
	for d := range u.by {
		vs, ws := values(d, seriesPerDevice, z.minutes)
		r := rand.New(rand.NewPCG(uint64(d), 4))
		type sent struct {
			upload
			when float64
		}
		var all []sent
		var again []int // minutes to be written again by the next upload
		batch := wire.Batch{Log: uint64(d) + 1, First: 1, Channels: channelKeys(seriesPerDevice)}
		for m := 0; m < z.minutes; {
			n := min(15+r.IntN(46), z.minutes-m)
			batch.Records = batch.Records[:0]
			add := func(m int, second bool) {
				rec := wire.Record{Time: lh.DayStart(ingestDay) + lh.Millis(m)*minute}
				for c := range vs {
					v := vs[c][m]
					if second {
						v = ws[c].round(v + 1)
					}
					rec.Values = append(rec.Values, wire.Value{Channel: uint16(c), Flag: lh.FlagGood, Value: v})
				}
				batch.Records = append(batch.Records, rec)
			}
			rewrite := func() {
				for _, a := range again {
					add(a, true)
				}
				again = again[:0]
			}
			rewrite()
			for range n {
				add(m, false)
				if corrected(d, m) {
					again = append(again, m)
				}
				m++
			}
			if m == z.minutes {
				rewrite()
			}
			if body, err = batch.Append(body[:0]); err != nil {
				return nil, err
			}
			if _, err := out.Write(body); err != nil {
				return nil, err
			}
			s := sent{upload{u.size, int32(len(body)), int32(m), int32(len(batch.Records) * seriesPerDevice)}, float64(m)}
			u.size += int64(len(body))
			batch.First += uint32(len(batch.Records))
			if r.IntN(10) == 0 {
				s.when += 60 * math.Exp(r.Float64()*math.Log(3*7*24)) // an hour to three weeks, in minutes
			}
			all = append(all, s)
			if r.IntN(50) == 0 {
				s.samples, s.when = 0, s.when+60*r.Float64()
				all = append(all, s)
			}
		}
		slices.SortStableFunc(all, func(a, b sent) int { return cmp.Compare(a.when, b.when) })
		for _, s := range all {
			u.by[d] = append(u.by[d], s.upload)
		}
		u.uploads += len(all)
	}
	return u, out.Flush()
}

func channelKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = "1/series_" + strconv.Itoa(i)
	}
	return keys
}
