package wal

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// Any bytes: what the scanner calls a record is what appendRecord writes, in rising order, and it is soon done.
func FuzzScanner(f *testing.F) {
	var whole []byte
	for i := range 4 {
		r := rec(i)
		body, err := appendBody(nil, &r)
		if err != nil {
			f.Fatal(err)
		}
		whole = appendRecord(whole, 7, uint32(i+1), body)
	}
	f.Add(whole, false)
	f.Add(append(bytes.Clone(whole[:100]), whole...), true)
	f.Add(bytes.Repeat([]byte{12, 0, 0, 0, 1, 1, 1, 1}, 200), true)
	f.Fuzz(func(t *testing.T, data []byte, any bool) {
		s := newScanner(data, 7, 1)
		s.any = any
		var before uint32
		for {
			seq, body, ok := s.next()
			if !ok {
				break
			}
			if seq <= before || seq > maxSequence {
				t.Fatalf("record %d follows %d", seq, before)
			}
			before = seq
			r := decodeBody(body)
			again, err := appendBody(nil, &r)
			if err != nil && twice(r.Values) == nil {
				t.Fatalf("%+v cannot be written: %v", r, err)
			}
			if !bytes.Equal(appendRecord(nil, 7, seq, again), data[s.start:s.at]) {
				t.Fatalf("record %d reads otherwise than it is written", seq)
			}
		}
		if s.at > len(data) || s.skipped > s.at {
			t.Fatalf("at %d of %d, skipped %d", s.at, len(data), s.skipped)
		}
	})
}

// Any files: the log opens, hands out nothing that cannot be sent, takes records, and has them after another start.
func FuzzOpen(f *testing.F) {
	_, files := filled(f, 40, 7)
	f.Add(files["000000000001.seg"], files["000000000002.seg"], files["cursor"])
	f.Add(files["000000000001.seg"][:200], []byte{}, files["cursor"][:slotSize])
	f.Add([]byte("rubbish"), bytes.Repeat([]byte{1}, 3000), bytes.Repeat([]byte{0xff}, cursorSize))
	f.Fuzz(func(t *testing.T, first, second, cursor []byte) {
		if len(first)+len(second)+len(cursor) > 64<<10 {
			return
		}
		dir := fastDir(t)
		writeFiles(t, dir, map[string][]byte{"000000000001.seg": first, "000000000002.seg": second, "cursor": cursor})
		if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Each(dir, func(uint64, uint32, bool, Record) error { return nil }); err != nil {
			t.Fatal(err)
		}
		l, err := Open(dir, small())
		if err != nil {
			t.Fatal(err)
		}
		st := mustStats(t, l)
		var b wire.Batch
		var came int64
		for {
			if err := l.Batch(&b, 0, 0); err != nil {
				t.Fatal(err)
			}
			if len(b.Records) == 0 {
				break
			}
			came += int64(len(records(t, &b, 0)))
			if err := l.Ack(b.Log, b.Last()); err != nil {
				t.Fatal(err)
			}
		}
		if came != st.Unacked {
			t.Fatalf("%d records came, %d were said", came, st.Unacked)
		}
		mustAppend(t, l, 0, 3)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = mustOpen(t, dir, small())
		wantRecords(t, drain(t, l, 0, 0), 0, 3)
	})
}

// A file made so that every byte could begin a record costs no more than some passes over it.
func TestHostileFileIsSoonRead(t *testing.T) {
	data := bytes.Repeat([]byte{0xff, 0xd3, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0}, maxSegment/12)
	begin := time.Now()
	for _, any := range []bool{false, true} {
		s := newScanner(data, 7, 2)
		s.any = any
		if _, _, ok := s.next(); ok {
			t.Fatal("a record in it")
		}
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Fatalf("it took %v", took)
	}
}

// sample is what a station gives in a minute.
func sampleRecord(n int) Record {
	r := rec(n)
	r.Values = append(r.Values, Value{"0/battery_voltage", 2, 12.61}, Value{"3/rain", 2, float64(n/50) / 5})
	return r
}

func BenchmarkAppend(b *testing.B) {
	l := mustOpen(b, b.TempDir(), Options{})
	n := 0
	for b.Loop() {
		if _, err := l.Append(context.Background(), sampleRecord(n)); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

func BenchmarkAppendAtOnce(b *testing.B) {
	l := mustOpen(b, b.TempDir(), Options{})
	b.SetParallelism(16) // × GOMAXPROCS callers
	b.RunParallel(func(pb *testing.PB) {
		for n := 0; pb.Next(); n++ {
			if _, err := l.Append(context.Background(), sampleRecord(n)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkAppend100Together(b *testing.B) {
	l := mustOpen(b, b.TempDir(), Options{})
	recs := make([]Record, 100)
	for i := range recs {
		recs[i] = sampleRecord(i)
	}
	for b.Loop() {
		if _, err := l.Append(context.Background(), recs...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/record")
}

// The backlog of a logger that was away: batches of 4,000 records, encoded, and acked.
func BenchmarkBatchAndAck(b *testing.B) {
	l := mustOpen(b, b.TempDir(), Options{})
	recs := make([]Record, 4000)
	for i := range recs {
		recs[i] = sampleRecord(i)
	}
	var batch wire.Batch
	var enc []byte
	n, size := 0, 0
	for b.Loop() {
		b.StopTimer()
		if _, err := l.Append(context.Background(), recs...); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		for {
			if err := l.Batch(&batch, 4000, 0); err != nil {
				b.Fatal(err)
			}
			if len(batch.Records) == 0 {
				break
			}
			var err error
			if enc, err = batch.Append(enc[:0]); err != nil {
				b.Fatal(err)
			}
			if err := l.Ack(batch.Log, batch.Last()); err != nil {
				b.Fatal(err)
			}
			n += len(batch.Records)
			size += len(enc)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
	b.ReportMetric(float64(size)/float64(n), "B/record-sent")
}

func BenchmarkOpenFullLog(b *testing.B) {
	dir := b.TempDir()
	l, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	recs := make([]Record, 5000)
	for i := range recs {
		recs[i] = sampleRecord(i)
	}
	for range 40 {
		if _, err := l.Append(context.Background(), recs...); err != nil {
			b.Fatal(err)
		}
	}
	st := mustStats(b, l)
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/(float64(st.Bytes)/(1<<20)), "ms/MiB")
}
