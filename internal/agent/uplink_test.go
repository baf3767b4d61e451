package agent

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// TestFaultyHub lets a hub misbehave in every way for its first answers: no record is lost, set aside or acknowledged
// wrongly, and the ones behind are not blocked.
func TestFaultyHub(t *testing.T) {
	text := func(status int, media, body string) func(int, *wire.Batch, http.ResponseWriter, *http.Request) bool {
		return func(n int, _ *wire.Batch, w http.ResponseWriter, _ *http.Request) bool {
			if n > 3 {
				return false
			}
			w.Header().Set("Content-Type", media)
			w.Header().Set("Location", "/v1/manifest")
			w.WriteHeader(status)
			w.Write([]byte(body))
			return true
		}
	}
	ack := func(change func(*wire.Ack, *wire.Batch)) func(int, *wire.Batch, http.ResponseWriter, *http.Request) bool {
		return func(n int, b *wire.Batch, w http.ResponseWriter, _ *http.Request) bool {
			a := wire.Ack{AckedThrough: b.Last(), Time: lh.MillisOf(time.Now())}
			change(&a, b)
			if n <= 3 {
				json.NewEncoder(w).Encode(a)
			}
			return n <= 3
		}
	}
	for name, fault := range map[string]func(int, *wire.Batch, http.ResponseWriter, *http.Request) bool{
		"503":                text(503, "text/plain", "later"),
		"500 page":           text(500, "text/html", "<h1>oops</h1>"),
		"400 of a proxy":     text(400, "text/html", "bad request"),
		"400, another code":  text(400, "application/problem+json", `{"code":"internal","detail":"x"}`),
		"404":                text(404, "text/plain", ""),
		"redirect":           text(307, "text/plain", ""),
		"redirect 302":       text(302, "text/plain", ""),
		"204":                text(204, "", ""),
		"empty":              text(200, "application/json", ""),
		"not JSON":           text(200, "application/json", "<html>"),
		"JSON, no ack":       text(200, "application/json", "{}"),
		"JSON, null":         text(200, "application/json", `{"acked_through":null,"time":null}`),
		"JSON, negative":     text(200, "application/json", `{"acked_through":-1,"time":0}`),
		"JSON, too great":    text(200, "application/json", `{"acked_through":4294967296,"time":0}`),
		"JSON, a text":       text(200, "application/json", `{"acked_through":"1000","time":0}`),
		"an answer too long": text(200, "application/json", strings.Repeat(" ", 2*maxAnswer)+`{"acked_through":1000,"time":0}`),
		"acks beyond":        ack(func(a *wire.Ack, b *wire.Batch) { a.AckedThrough = b.Last() + 1 }),
		"acks far beyond":    ack(func(a *wire.Ack, b *wire.Batch) { a.AckedThrough = 1<<32 - 1 }),
		"acks nothing":       ack(func(a *wire.Ack, b *wire.Batch) { a.AckedThrough = b.First - 1 }),
		"acks before":        ack(func(a *wire.Ack, b *wire.Batch) { a.AckedThrough = 0 }),
		"429 with date": func(n int, _ *wire.Batch, w http.ResponseWriter, _ *http.Request) bool {
			if n <= 2 {
				w.Header().Set("Retry-After", time.Now().UTC().Format(http.TimeFormat))
				refuse(w, lh.Exhausted, "slower")
			}
			return n <= 2
		},
		"401 for a while": func(n int, _ *wire.Batch, w http.ResponseWriter, _ *http.Request) bool {
			if n <= 3 {
				refuse(w, lh.Unauthenticated, "who are you")
			}
			return n <= 3
		},
		"cut before the answer": func(n int, _ *wire.Batch, w http.ResponseWriter, _ *http.Request) bool {
			if n <= 3 {
				panic(http.ErrAbortHandler)
			}
			return false
		},
		"cut within the answer": func(n int, b *wire.Batch, w http.ResponseWriter, _ *http.Request) bool {
			if n <= 3 {
				w.Header().Set("Content-Length", "500")
				w.Write([]byte(`{"acked_through":1000,"time":1`))
				panic(http.ErrAbortHandler)
			}
			return false
		},
		"stored, and the answer lost": nil, // below: it needs the hub
		"never answers": func(n int, _ *wire.Batch, w http.ResponseWriter, r *http.Request) bool {
			if n <= 1 {
				<-r.Context().Done()
				return true
			}
			return false
		},
		"never ends its answer": func(n int, _ *wire.Batch, w http.ResponseWriter, r *http.Request) bool {
			if n <= 1 {
				w.Write([]byte(`{"acked_through":10`))
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return true
			}
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inst := newInstallation(t)
			hub := &fakeHub{device: testDevice, fault: fault}
			if fault == nil {
				hub.fault = func(n int, b *wire.Batch, w http.ResponseWriter, r *http.Request) bool {
					if n <= 3 {
						hub.take(b)
						panic(http.ErrAbortHandler)
					}
					return false
				}
			}
			b := newBench(t, inst, serve(t, inst.hubTLS("127.0.0.1", "h2", "http/1.1"), hub))
			b.uplink.hub.batchTime = 500 * time.Millisecond
			b.fill(1500)
			b.start()
			until(t, "everything acknowledged", func() bool { return b.stats().Unacked == 0 })
			if n, _ := hub.has(); n != 1500 {
				t.Errorf("the hub has %d of 1500 records", n)
			}
			if s := b.stats(); s.Aside != 0 || s.Dropped != 0 || s.Acked != 1500 {
				t.Errorf("%+v", s)
			}
			if t.Failed() {
				t.Log(b.said)
			}
		})
	}
}

// TestBadRecord has a hub that cannot read a few of many records: those are set aside, and only those.
func TestBadRecord(t *testing.T) {
	inst := newInstallation(t)
	bad := map[uint32]bool{1: true, 537: true, 538: true, 1999: true}
	hub := &fakeHub{device: testDevice, fault: func(_ int, b *wire.Batch, w http.ResponseWriter, _ *http.Request) bool {
		for i := range b.Records {
			if bad[b.First+uint32(i)] {
				refuse(w, lh.Invalid, "record 5 has no\nmeaning")
				return true
			}
		}
		return false
	}}
	b := newBench(t, inst, serve(t, inst.hubTLS("127.0.0.1", "h2", "http/1.1"), hub))
	b.fill(2000)
	b.start()
	until(t, "everything settled", func() bool { return b.stats().Unacked == 0 })
	n, requests := hub.has()
	if s := b.stats(); n != 2000-len(bad) || s.Aside != uint64(len(bad)) {
		t.Errorf("the hub has %d records, %d are aside", n, s.Aside)
	}
	if requests > 150 {
		t.Errorf("it took %d requests", requests)
	}
	files, err := os.ReadDir(filepath.Join(b.uplink.cfg.Data, samplesDir, "aside"))
	if err != nil || len(files) != len(bad) {
		t.Fatalf("%d files aside, %v", len(files), err)
	}
	text, err := os.ReadFile(filepath.Join(b.uplink.cfg.Data, samplesDir, "aside", files[0].Name()))
	if err != nil || !strings.Contains(string(text), "record 5 has no meaning") {
		t.Errorf("%s %v", text, err)
	}
}

// TestHubCallsAllInvalid has a hub that calls everything invalid, an empty batch too: it does not mean the records, and
// none is set aside.
func TestHubCallsAllInvalid(t *testing.T) {
	inst := newInstallation(t)
	hub := &fakeHub{device: testDevice}
	sick := make(chan struct{})
	hub.fault = func(_ int, _ *wire.Batch, w http.ResponseWriter, _ *http.Request) bool {
		select {
		case <-sick:
			return false
		default:
			refuse(w, lh.Invalid, "no")
			return true
		}
	}
	b := newBench(t, inst, serve(t, inst.hubTLS("127.0.0.1", "h2", "http/1.1"), hub))
	b.fill(50)
	b.start()
	until(t, "some complaints", func() bool { return strings.Count(b.said.String(), "not even an empty batch") > 3 })
	if s := b.stats(); s.Aside != 0 || s.Unacked != 50 {
		t.Fatalf("%+v", s)
	}
	close(sick)
	until(t, "everything acknowledged", func() bool { return b.stats().Unacked == 0 })
	if n, _ := hub.has(); n != 50 || b.stats().Aside != 0 {
		t.Errorf("the hub has %d records, %d are aside", n, b.stats().Aside)
	}
}

// TestStrangers has hubs and devices that do not belong together: nothing is sent, nothing is lost, and the log says
// what is wrong.
func TestStrangers(t *testing.T) {
	inst, other := newInstallation(t), newInstallation(t)
	for name, c := range map[string]struct {
		hub, device *installation
		host, says  string
	}{
		"hub of another installation":    {other, inst, "127.0.0.1", "not of the pinned root"},
		"hub of another name":            {inst, inst, "hub.example.org", "not of this name"},
		"device of another installation": {inst, other, "127.0.0.1", "refuses this device's certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			hub := &fakeHub{device: testDevice}
			b := newBench(t, inst, serve(t, c.hub.hubTLS(c.host, "h2", "http/1.1"), hub))
			if err := b.uplink.id.settle(c.device.deviceAt(testDevice, time.Now())); err != nil {
				t.Fatal(err)
			}
			b.fill(10)
			b.start()
			until(t, c.says, func() bool { return strings.Count(b.said.String(), c.says) > 2 })
			if n, requests := hub.has(); n != 0 || requests != 0 || b.stats().Unacked != 10 {
				t.Errorf("%d records, %d requests, %d unacked", n, requests, b.stats().Unacked)
			}
		})
	}
}

// TestSlowLink cuts every batch above some size, as a link does that is too slow for it: the batches get smaller until
// they pass.
func TestSlowLink(t *testing.T) {
	inst := newInstallation(t)
	hub := &fakeHub{device: testDevice, fault: func(_ int, b *wire.Batch, _ http.ResponseWriter, _ *http.Request) bool {
		if len(b.Records) > 300 {
			panic(http.ErrAbortHandler)
		}
		return false
	}}
	b := newBench(t, inst, serve(t, inst.hubTLS("127.0.0.1", "h2", "http/1.1"), hub))
	b.uplink.cfg.Upload.MaxRecords, b.uplink.maxRecs = 10000, 10000
	b.fill(5000)
	b.start()
	until(t, "everything acknowledged", func() bool { return b.stats().Unacked == 0 })
	if n, _ := hub.has(); n != 5000 {
		t.Errorf("the hub has %d of 5000 records", n)
	}
}

// TestWaits looks at how long the uplink waits after failures: more each time, up to the bound, never the same.
func TestWaits(t *testing.T) {
	inst := newInstallation(t)
	b := newBench(t, inst, "127.0.0.1:1")
	u := b.uplink
	u.again, u.refused = backoff{base: firstWait, max: 5 * time.Minute}, backoff{base: refusedWait, max: refusedMax}
	var sum time.Duration
	seen := map[time.Duration]bool{}
	for i := range 400 {
		d := u.after(http.ErrServerClosed)
		if top := firstWait << min(i, 20); d < minWait || d > top && top > 0 || d > 5*time.Minute {
			t.Fatalf("failure %d: %s", i+1, d)
		}
		if i >= 100 {
			sum, seen[d] = sum+d, true
		}
	}
	if mean := sum / 300; mean < 2*time.Minute || mean > 3*time.Minute || len(seen) < 290 {
		t.Errorf("mean wait %s, %d different ones of 300", mean, len(seen))
	}
	if d := u.after(&refusal{status: 503, code: lh.Unavailable, after: 20 * time.Minute}); d < 20*time.Minute {
		t.Errorf("Retry-After of 20m, and it waits %s", d)
	}
	u.again.reset()
	if d := u.after(http.ErrServerClosed); d > firstWait {
		t.Errorf("after a success it waits %s", d)
	}
	for range 50 {
		if d := u.after(&refusal{status: 403, code: lh.Forbidden}); d > refusedMax {
			t.Errorf("refused, it waits %s", d)
		}
	}
	for s, want := range map[string]time.Duration{"": 0, "3": 3 * time.Second, "-1": 0, "x": 0, "99999999": maxRetryAfter, "Sun, 06 Nov 1994 08:49:37 GMT": 0} {
		if d := retryAfter(s, time.Now()); d != want {
			t.Errorf("Retry-After %q: %s, not %s", s, d, want)
		}
	}
}

// TestGather sends nothing at once when it is not live: what comes within the interval goes together.
func TestGather(t *testing.T) {
	inst := newInstallation(t)
	hub := &fakeHub{device: testDevice}
	b := newBench(t, inst, serve(t, inst.hubTLS("127.0.0.1", "http/1.1"), hub)) // and HTTP/1.1 does as well
	b.uplink.cfg.Upload.Live, b.uplink.cfg.Upload.Interval = false, time.Second
	b.start()
	began := time.Now()
	n := 0
	for time.Since(began) < 2500*time.Millisecond {
		b.fill(1)
		n++
		time.Sleep(20 * time.Millisecond)
	}
	until(t, "everything acknowledged", func() bool { return b.stats().Unacked == 0 })
	got, requests := hub.has()
	if most := int(time.Since(began)/time.Second) + 2; got != n || requests > most || requests < 2 {
		t.Errorf("the hub has %d of %d records, in %d requests", got, n, requests)
	}
}

// TestLastUpload stops an uplink that waits: it tries once more and ends soon, with a hub and without one.
func TestLastUpload(t *testing.T) {
	inst := newInstallation(t)
	hub := &fakeHub{device: testDevice}
	addr := serve(t, inst.hubTLS("127.0.0.1", "h2", "http/1.1"), hub)
	for _, c := range []struct {
		addr string
		left int64
	}{{addr, 0}, {"127.0.0.1:1", 5}} {
		b := newBench(t, inst, c.addr)
		b.uplink.again = backoff{base: time.Hour, max: time.Hour}
		b.uplink.welcomed = testDevice
		b.uplink.cfg.Upload.Live, b.uplink.cfg.Upload.Interval = false, time.Hour
		b.uplink.sent = time.Now()
		stopping, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			b.uplink.run(t.Context(), stopping)
		}()
		b.fill(5)
		close(stopping)
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("it does not end")
		}
		if s := b.stats(); s.Unacked != c.left {
			t.Errorf("%d records are left, not %d", s.Unacked, c.left)
		}
	}
}
