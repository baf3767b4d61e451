package wal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// rec is record n of a station, as the tests know it again.
func rec(n int) Record {
	return Record{Time: lh.Millis(1_700_000_000_000 + int64(n)*1000), Values: []Value{
		{"1/water_level", lh.FlagGood, float64(n) / 1000},
		{"1/temperature", lh.FlagSuspect, 4 + float64(n%7)/3},
		{fmt.Sprintf("9/extra_%d", n%3), lh.FlagNotEvaluated, -float64(n)},
	}}
}

func number(r Record) int { return int(r.Time-1_700_000_000_000) / 1000 }

// small are options under which a log soon has many files.
func small() Options { return Options{MaxBytes: minLog, SegmentBytes: minSegment} }

func mustOpen(t testing.TB, dir string, o Options) *Log {
	t.Helper()
	l, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func mustAppend(t testing.TB, l *Log, from, n int) uint32 {
	t.Helper()
	recs := make([]Record, n)
	for i := range recs {
		recs[i] = rec(from + i)
	}
	first, err := l.Append(context.Background(), recs...)
	if err != nil {
		t.Fatal(err)
	}
	return first
}

func mustStats(t testing.TB, l *Log) Stats {
	t.Helper()
	st, err := l.Stats()
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// records turns a batch back into records, and checks that the wire can carry it within the bound.
func records(t testing.TB, b *wire.Batch, maxBytes int) []Record {
	t.Helper()
	enc, err := b.Append(nil)
	if err != nil {
		t.Fatalf("batch cannot be sent: %v", err)
	}
	if maxBytes > 0 && len(enc) > maxBytes && len(b.Records) > 1 {
		t.Fatalf("batch has %d bytes, more than %d", len(enc), maxBytes)
	}
	var out []Record
	for _, r := range b.Records {
		x := Record{Time: r.Time}
		for _, v := range r.Values {
			x.Values = append(x.Values, Value{b.Channels[v.Channel], v.Flag, v.Value})
		}
		out = append(out, x)
	}
	return out
}

// drain takes everything that is unacked out of the log and acks it.
func drain(t testing.TB, l *Log, maxRecords, maxBytes int) []Record {
	t.Helper()
	var out []Record
	var b wire.Batch
	for {
		if err := l.Batch(&b, maxRecords, maxBytes); err != nil {
			t.Fatal(err)
		}
		if len(b.Records) == 0 {
			return out
		}
		out = append(out, records(t, &b, maxBytes)...)
		if err := l.Ack(b.Log, b.Last()); err != nil {
			t.Fatal(err)
		}
	}
}

func wantRecords(t testing.TB, got []Record, from, n int) {
	t.Helper()
	var want []Record
	for i := range n {
		want = append(want, rec(from+i))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("records differ (-want +got):\n%s", d)
	}
}

func TestWhatIsAppendedComesOutInOrder(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, small())
	id := l.ID()
	if id == 0 {
		t.Fatal("the log has no id")
	}
	var next uint32 = 1
	for i := 0; i < 400; {
		n := 1 + i%5
		if first := mustAppend(t, l, i, n); first != next {
			t.Fatalf("first = %d, want %d", first, next)
		}
		i, next = i+n, next+uint32(n)
	}
	total := int(next - 1)
	select {
	case <-l.Wait():
	default:
		t.Fatal("no signal after new records")
	}
	st := mustStats(t, l)
	if st.Unacked != int64(total) || st.Last != next-1 || st.Acked != 0 || st.Oldest != rec(0).Time || st.Log != id {
		t.Fatalf("stats %+v", st)
	}
	if st.Bytes > small().MaxBytes || st.Bytes < 400*50 {
		t.Fatalf("the log says it has %d bytes", st.Bytes)
	}
	var b wire.Batch
	b.Sent = 77
	if err := l.Batch(&b, 7, 0); err != nil {
		t.Fatal(err)
	}
	if b.Log != id || b.First != 1 || len(b.Records) != 7 || b.Sent != 77 {
		t.Fatalf("batch of log %x, first %d, %d records, sent %d", b.Log, b.First, len(b.Records), b.Sent)
	}
	var again wire.Batch
	again.Sent = 77
	if err := l.Batch(&again, 7, 0); err != nil { // nothing was acked, so it is the same
		t.Fatal(err)
	}
	if d := cmp.Diff(b, again, cmpopts.IgnoreUnexported(wire.Batch{})); d != "" {
		t.Fatal(d)
	}
	wantRecords(t, drain(t, l, 37, 2000), 0, total)
	st = mustStats(t, l)
	if st.Unacked != 0 || st.Acked != next-1 || st.Oldest != 0 {
		t.Fatalf("stats %+v", st)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	l = mustOpen(t, dir, small())
	if l.ID() != id {
		t.Fatal("opening again changed the id")
	}
	if got := drain(t, l, 0, 0); len(got) != 0 {
		t.Fatalf("%d records came again after their ack", len(got))
	}
	if first := mustAppend(t, l, total, 3); first != next {
		t.Fatalf("first = %d after opening again, want %d", first, next)
	}
	wantRecords(t, drain(t, l, 0, 0), total, 3)
}

func TestBatchBounds(t *testing.T) {
	l := mustOpen(t, t.TempDir(), Options{})
	many := Record{Time: 1}
	for i := range wire.MaxChannels {
		many.Values = append(many.Values, Value{fmt.Sprintf("%s/%d", strings.Repeat("x", 90), i), lh.FlagGood, 1 / (1 + float64(i))})
	}
	odd := Record{Time: 2, Values: []Value{{"one more", lh.FlagGood, 1}}}
	empty := Record{Time: 3}
	if _, err := l.Append(context.Background(), many, many, odd, empty); err != nil {
		t.Fatal(err)
	}
	var b wire.Batch
	if err := l.Batch(&b, 0, 10); err != nil || len(b.Records) != 1 {
		t.Fatalf("%d records, %v; want the one that is always there", len(b.Records), err)
	}
	if err := l.Batch(&b, 0, 0); err != nil || len(b.Records) != 2 || len(b.Channels) != wire.MaxChannels {
		t.Fatalf("%d records, %d channels, %v; want a batch that ends before it has too many channels", len(b.Records), len(b.Channels), err)
	}
	got := drain(t, l, 0, wire.MaxBatchBytes)
	if d := cmp.Diff([]Record{many, many, odd, empty}, got); d != "" {
		t.Fatal(d)
	}
}

func TestAppendRefusesWhatCannotBeSent(t *testing.T) {
	l := mustOpen(t, t.TempDir(), small())
	nan := 0.0
	nan /= nan
	ok := Value{"a", lh.FlagGood, 1}
	for name, r := range map[string]Record{
		"not a number":    {Time: 1, Values: []Value{{"a", lh.FlagGood, nan}}},
		"unknown flag":    {Time: 1, Values: []Value{{"a", 5, 1}}},
		"no channel":      {Time: 1, Values: []Value{{"", lh.FlagGood, 1}}},
		"channel twice":   {Time: 1, Values: []Value{ok, ok}},
		"line in channel": {Time: 1, Values: []Value{{"a\nb", lh.FlagGood, 1}}},
		"year 10000":      {Time: lh.MaxMillis + 1, Values: []Value{ok}},
		"too many values": {Time: 1, Values: make([]Value, wire.MaxChannels+1)},
	} {
		if _, err := l.Append(context.Background(), rec(0), r); lh.CodeOf(err) != lh.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := Record{Time: 1}
	for i := range 20 {
		twice.Values = append(twice.Values, Value{fmt.Sprint("c", i%19), lh.FlagGood, 1})
	}
	if _, err := l.Append(context.Background(), twice); lh.CodeOf(err) != lh.Invalid {
		t.Errorf("channel twice among many: %v", err)
	}
	if _, err := l.Append(context.Background()); lh.CodeOf(err) != lh.Invalid {
		t.Errorf("no records: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Append(ctx, rec(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if st := mustStats(t, l); st.Unacked != 0 || st.Last != 0 {
		t.Errorf("something of it is in the log: %+v", st)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(context.Background(), rec(0)); lh.CodeOf(err) != lh.Unavailable {
		t.Errorf("closed: %v", err)
	}
}

func TestAckHoldsWhatItIsTold(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, small())
	mustAppend(t, l, 0, 100)
	id := l.ID()
	if err := l.Ack(id, 101); lh.CodeOf(err) != lh.Invalid {
		t.Fatalf("a record that is not there was acked: %v", err)
	}
	for _, a := range []struct {
		log           uint64
		through, want uint32
	}{{id, 40, 40}, {id, 39, 40}, {id + 1, 90, 40}, {id, 0, 40}, {id, 41, 41}} {
		if err := l.Ack(a.log, a.through); err != nil {
			t.Fatal(err)
		}
		if st := mustStats(t, l); st.Acked != a.want || st.Unacked != int64(100-a.want) || st.Oldest != rec(int(a.want)).Time {
			t.Fatalf("after ack %d: %+v", a.through, st)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, dir, small())
	wantRecords(t, drain(t, l, 9, 0), 41, 59)
}

func TestOneProcessHasTheLog(t *testing.T) {
	dir := t.TempDir()
	if err := Each(dir, nil); lh.CodeOf(err) != lh.NotFound {
		t.Fatalf("Each without a log: %v", err)
	}
	l := mustOpen(t, dir, small())
	if _, err := Open(dir, small()); !errors.Is(err, ErrHeld) {
		t.Fatalf("second Open: %v", err)
	}
	if err := Each(dir, nil); !errors.Is(err, ErrHeld) {
		t.Fatalf("Each: %v", err)
	}
	mustAppend(t, l, 0, 120)
	if err := l.Ack(l.ID(), 70); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var got []Record
	if err := Each(dir, func(log uint64, seq uint32, acked bool, r Record) error {
		if log != l.ID() || seq != uint32(len(got)+1) || acked != (seq <= 70) {
			t.Errorf("record %d of log %x, acked %v", seq, log, acked)
		}
		got = append(got, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	wantRecords(t, got, 0, 120)
	stop := errors.New("stop")
	if err := Each(dir, func(uint64, uint32, bool, Record) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("Each lost the error: %v", err)
	}
}

func TestNewIDWhenTheNumbersAreUsedUp(t *testing.T) {
	dir := t.TempDir()
	l, err := open(dir, small(), realDisk(), 100)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, 0, 90)
	old := l.ID()
	mustAppend(t, l, 90, 60) // 10 of the old, 50 of the new
	if l.ID() == old {
		t.Fatal("no new id")
	}
	if st := mustStats(t, l); st.Unacked != 150 || st.Last != 50 || st.Acked != 0 {
		t.Fatalf("stats %+v", st)
	}
	var b wire.Batch
	if err := l.Batch(&b, 0, 0); err != nil {
		t.Fatal(err)
	}
	if b.Log != old || b.First != 1 || b.Last() != 100 {
		t.Fatalf("batch of %x, %d to %d", b.Log, b.First, b.Last())
	}
	if err := l.Ack(l.ID(), 20); err != nil { // later than the old log: the hub has it all
		t.Fatal(err)
	}
	if err := l.Ack(old, 50); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = open(dir, small(), realDisk(), 100); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	wantRecords(t, drain(t, l, 0, 0), 120, 30)
}

func TestAckedFilesStayToBeReadBack(t *testing.T) {
	dir := t.TempDir()
	o := small()
	o.KeepAcked = 5 * minSegment
	l := mustOpen(t, dir, o)
	for i := range 1000 {
		mustAppend(t, l, i, 1)
		if err := l.Ack(l.ID(), uint32(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	segs, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(segs) < 4 || len(segs) > 6 {
		t.Fatalf("%d files, %v", len(segs), err)
	}
	if st := mustStats(t, l); st.Dropped != 0 {
		t.Fatalf("stats %+v", st)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var last int
	if err := Each(dir, func(_ uint64, _ uint32, acked bool, r Record) error {
		if !acked {
			t.Error("not acked")
		}
		if n := number(r); last != 0 && n != last+1 {
			t.Errorf("record %d follows %d", n, last)
		}
		last = number(r)
		return nil
	}); err != nil || last != 999 {
		t.Fatalf("last is %d, %v", last, err)
	}
}

func TestManyAppendAtOnce(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{SegmentBytes: 16 << 10})
	const workers, each = 8, 60
	var mu sync.Mutex
	at := map[int]uint32{}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				n := w*each + i
				first, err := l.Append(context.Background(), rec(2*n), rec(2*n+1))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				at[2*n] = first
				mu.Unlock()
			}
		})
	}
	var got []Record
	var seqs []uint32
	var b wire.Batch
	for len(got) < 2*workers*each && !t.Failed() {
		<-l.Wait()
		for {
			if err := l.Batch(&b, 50, 0); err != nil {
				t.Fatal(err)
			}
			if len(b.Records) == 0 {
				break
			}
			for i, r := range records(t, &b, wire.MaxBatchBytes) {
				got, seqs = append(got, r), append(seqs, b.First+uint32(i))
			}
			if err := l.Ack(b.Log, b.Last()); err != nil {
				t.Fatal(err)
			}
			mustStats(t, l)
		}
	}
	wg.Wait()
	for i, r := range got {
		n := number(r)
		if d := cmp.Diff(rec(n), r); d != "" {
			t.Fatal(d)
		}
		if n%2 == 0 && at[n] != seqs[i] {
			t.Fatalf("record %d came as %d, Append said %d", n, seqs[i], at[n])
		}
		if n%2 == 1 && at[n-1]+1 != seqs[i] {
			t.Fatalf("record %d came as %d, not behind its other half %d", n, seqs[i], at[n-1])
		}
	}
	slices.Sort(seqs)
	if len(slices.Compact(seqs)) != 2*workers*each {
		t.Fatal("a number was given twice")
	}
}

// While one Append syncs, others queue; they share the next sync.
func TestAppendsShareASync(t *testing.T) {
	dir := t.TempDir()
	tr := &tracer{root: dir}
	const others = 8
	var l *Log
	var syncing chan struct{} // closed when the first sync begins
	syncs := 0
	tr.fail = func(_ int, s step) (int, error) {
		if syncing == nil || s.op != "sync" {
			return 0, nil
		}
		if syncs++; syncs > 1 {
			return 0, nil
		}
		close(syncing)
		for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			l.queueMu.Lock()
			n := len(l.queue)
			l.queueMu.Unlock()
			if n == others {
				return 0, nil
			}
		}
		return 0, errors.New("the others do not queue")
	}
	l, err := open(dir, Options{}, tr.disk(), maxSequence)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	syncing = make(chan struct{})
	var wg sync.WaitGroup
	add := func(i int) {
		wg.Go(func() {
			if _, err := l.Append(context.Background(), rec(i)); err != nil {
				t.Error(err)
			}
		})
	}
	add(0)
	<-syncing
	for i := range others {
		add(i + 1)
	}
	wg.Wait()
	if syncs != 2 {
		t.Errorf("%d appends took %d syncs", 1+others, syncs)
	}
	if st := mustStats(t, l); st.Unacked != 1+others {
		t.Errorf("stats %+v", st)
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"policy":   {WhenFull: "explode"},
		"segment":  {SegmentBytes: 1},
		"segments": {MaxBytes: minLog, SegmentBytes: minLog},
		"bytes":    {MaxBytes: 1000},
		"keep":     {KeepAcked: -1},
	} {
		if _, err := Open(t.TempDir(), o); lh.CodeOf(err) != lh.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "log"), small()); err == nil {
		t.Error("a log inside a file")
	}
}
