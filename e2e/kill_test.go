package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

const (
	kills    = 20
	channels = 3
	firstAt  = int64(1_700_000_000_000)
)

// valueOf is what record seq of a device says on a channel; absent now and then, and mostly not a decimal.
func valueOf(device int, seq uint32, channel int) (float64, bool) {
	r := rand.New(rand.NewPCG(uint64(device)<<32|uint64(seq), uint64(channel)))
	switch r.IntN(8) {
	case 0:
		return 0, false
	case 1:
		return float64(r.IntN(100000)) / 1000, true
	case 2:
		return math.Copysign(0, -1), true
	}
	return math.Float64frombits(r.Uint64()&^(0x7ff<<52) | uint64(900+r.IntN(200))<<52), true
}

// timeOf is when record seq was taken: mostly a second apart, at times out of order, over several days.
func timeOf(seq uint32) int64 { return firstAt + int64(seq^1)*7000 }

// uploader is a device that uploads its log until told to stop, as loggers do: a batch is sent again, later and
// perhaps larger, until it is acknowledged.
type uploader struct {
	n       int
	d       *device
	address *atomic.Pointer[string] // of the hub that is up
	acked   uint32                  // the goroutine's own until it has ended
	sent    uint32                  // the greatest record that left
	answers int
}

func (u *uploader) run(stop context.Context) {
	client := u.d.HTTP(u.d.Pair())
	client.Timeout = 5 * time.Second
	r := rand.New(rand.NewPCG(uint64(u.n), 7))
	for stop.Err() == nil {
		first := u.acked + 1
		if u.acked > 100 && r.IntN(5) == 0 {
			first -= uint32(r.IntN(100)) // part of it a second time
		}
		b := wire.Batch{Log: uint64(u.n) + 1, First: first}
		for c := range channels {
			b.Channels = append(b.Channels, fmt.Sprint(c, "/x"))
		}
		for seq := first; seq < first+uint32(200+r.IntN(800)); seq++ {
			rec := wire.Record{Time: lh.Millis(timeOf(seq))}
			for c := range channels {
				if v, ok := valueOf(u.n, seq, c); ok {
					rec.Values = append(rec.Values, wire.Value{Channel: uint16(c), Flag: lh.FlagGood, Value: v})
				}
			}
			b.Records = append(b.Records, rec)
		}
		raw, err := b.Append(nil)
		if err != nil {
			u.d.t.Error(err)
			return
		}
		u.sent = max(u.sent, b.Last())
		resp, err := client.Post("https://"+*u.address.Load()+"/v1/batch", wire.ContentBatch, bytes.NewReader(raw))
		if err != nil { // the hub is down
			time.Sleep(10 * time.Millisecond)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		var ack wire.Ack
		if err != nil || resp.StatusCode != http.StatusOK || json.Unmarshal(body, &ack) != nil {
			if err == nil && resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusTooManyRequests {
				u.d.t.Errorf("upload: %d %s", resp.StatusCode, body)
				return
			}
			continue
		}
		if ack.AckedThrough != b.Last() {
			u.d.t.Errorf("acked through %d of %d", ack.AckedThrough, b.Last())
		}
		u.acked = max(u.acked, ack.AckedThrough)
		u.answers++
	}
}

// TestKill kills a real hub twenty times while devices upload to it over mutual TLS: no acknowledged sample is lost,
// none stands twice, and every value is exact.
func TestKill(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { killHub(t, "sqlite:hub.db") })
	t.Run("postgres", func(t *testing.T) { killHub(t, storetest.Postgres(t).URL) })
}

func killHub(t *testing.T, database string) {
	in := install(t, database)
	h := in.serve()
	c := in.logIn(h, in.admin)
	p, err := c.CreateProject(ctx, "Skjern Å", "Europe/Copenhagen")
	if err != nil {
		t.Fatal(err)
	}
	var address atomic.Pointer[string]
	address.Store(&h.Devices)
	uploaders := make([]*uploader, 3)
	for n := range uploaders {
		uploaders[n] = &uploader{n: n, d: in.enrol(h, c, p.ID, fmt.Sprint("LH-", n)), address: &address}
	}
	stop, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, u := range uploaders {
		wg.Go(func() { u.run(stop) })
	}
	for range kills {
		time.Sleep(time.Duration(20+rand.IntN(250)) * time.Millisecond) // any moment; there is nothing to wait for
		h.kill()
		h = in.serve()
		address.Store(&h.Devices)
	}
	cancel()
	wg.Wait()
	h.kill() // once more, at rest
	h = in.serve()
	c = in.logIn(h, in.admin)
	devices, err := c.Devices(ctx, p.ID)
	if err != nil || len(devices) != len(uploaders) {
		t.Fatalf("%d devices, %v", len(devices), err)
	}
	total := 0
	for _, u := range uploaders {
		if u.answers == 0 {
			t.Errorf("device %d was never answered", u.n)
		}
		es, err := c.Elements(ctx, p.ID, u.d.id)
		if err != nil || len(es) != channels {
			t.Fatalf("%d elements, %v", len(es), err)
		}
		for _, e := range es {
			channel := int(e.Channel[0] - '0')
			got := map[int64]float64{}
			n := 0
			for s, err := range c.Export(ctx, p.ID, []string{e.ID}, int64(lh.MinMillis), int64(lh.MaxMillis)) {
				if err != nil {
					t.Fatal(err)
				}
				if _, twice := got[s.Time]; twice {
					t.Fatalf("device %d channel %d: %d stands twice", u.n, channel, s.Time)
				}
				got[s.Time] = s.Value
				n++
			}
			counted, err := c.Series(ctx, p.ID, []string{e.ID}, int64(lh.MinMillis), int64(lh.MaxMillis), 2)
			if err != nil || counted[0].Count != int64(n) {
				t.Errorf("device %d channel %d: %d samples are read, %d are counted, %v", u.n, channel, n, counted[0].Count, err)
			}
			known := 0
			for seq := uint32(1); seq <= u.sent; seq++ {
				want, present := valueOf(u.n, seq, channel)
				v, there := got[timeOf(seq)]
				switch {
				case there && !present || there && math.Float64bits(v) != math.Float64bits(want):
					t.Fatalf("device %d channel %d: record %d reads %v, it said %v", u.n, channel, seq, v, want)
				case !there && present && seq <= u.acked:
					t.Fatalf("device %d channel %d: record %d of %d acknowledged ones is lost", u.n, channel, seq, u.acked)
				case there:
					known++
				}
			}
			if known != n {
				t.Errorf("device %d channel %d: %d samples that nobody sent", u.n, channel, n-known)
			}
			total += n
		}
	}
	t.Logf("%d kills, %d samples", kills+1, total)
	if err := h.stop(); err != nil {
		t.Errorf("stop: %v\n%s", err, h.log)
	}
}
