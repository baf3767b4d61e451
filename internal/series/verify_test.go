package series_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

func verify(t *testing.T, e *series.Engine) (series.Verified, []string) {
	t.Helper()
	var findings []string
	v, err := e.Verify(ctx, func(f string) { findings = append(findings, f) }, func(series.Verified) {})
	if err != nil {
		t.Fatal(err)
	}
	if int(v.Findings) != len(findings) {
		t.Errorf("%d findings, %d told", v.Findings, len(findings))
	}
	return v, findings
}

func TestVerifyReadsEverything(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := lh.MillisOf(time.Now())
		sc := storetest.Project(t, db)
		e, _ := start(t, db, series.Options{})
		l := tenDays(t, db, sc, e, now)
		v, findings := verify(t, e)
		if len(findings) > 0 || v.Projects != 1 || v.Elements != 2 || v.Uploads != 1 || v.Samples != 2*41 || v.Chunks < 20 || v.AuditEvents == 0 {
			t.Errorf("%+v %q", v, findings)
		}
		if err := e.FoldNow(ctx); err != nil {
			t.Fatal(err)
		}
		if v, findings := verify(t, e); len(findings) > 0 || v.Uploads != 0 || v.Samples != 2*41 || v.Revisions != 2*41 {
			t.Errorf("%+v %q", v, findings)
		}
		// A summary that counts wrongly, and a chunk that is none.
		hub := storetest.HubScope(sc.Project())
		days := []int32{(now - 3*lh.DayMillis).Day(), (now - 5*lh.DayMillis).Day()}
		a, err := db.WholeChunk(ctx, hub, l.elements[0].ID, days[0])
		if err != nil {
			t.Fatal(err)
		}
		b, err := db.WholeChunk(ctx, hub, l.elements[0].ID, days[1])
		if err != nil {
			t.Fatal(err)
		}
		if a.Summary, err = os.ReadFile("testdata/summary-2.bin"); err != nil { // another day's
			t.Fatal(err)
		}
		b.Summary, b.Body = a.Summary, []byte("LHS2 and nonsense")
		if err := db.Fold(ctx, hub, []store.Chunk{a, b}, nil, nil); err != nil {
			t.Fatal(err)
		}
		v, findings = verify(t, e)
		for _, d := range days {
			want := "chunk of element " + string(l.elements[0].ID) + " on " + lh.DayStart(d).Time().Format(time.DateOnly)
			if !slices.ContainsFunc(findings, func(f string) bool { return strings.HasPrefix(f, want) }) {
				t.Errorf("%q is not found: %q", want, findings)
			}
		}
		if len(findings) != 2 || v.Chunks < 20 {
			t.Errorf("%+v %q", v, findings)
		}
	})
}

// A flipped bit anywhere in the file is found, or changes nothing; what is found does not end the reading.
func TestFlippedBitsAreFound(t *testing.T) {
	o := storetest.SQLite(t)
	path := strings.TrimPrefix(o.URL, "sqlite:")
	db, err := store.Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	sc := storetest.Project(t, db)
	e, stop := start(t, db, series.Options{})
	l := newLogger(t, db, sc, "1/level", "2/rain")
	now := lh.MillisOf(time.Now())
	r := rand.New(rand.NewPCG(3, 4))
	for day := range lh.Millis(150) {
		var records []wire.Record
		for i := range lh.Millis(288) {
			records = append(records, record(now-(150-day)*lh.DayMillis+i*300_000, float64(r.IntN(1e9))/1000, float64(r.IntN(1000))/10))
		}
		if err := e.Append(ctx, l.upload(t, l.seq, records...)); err != nil {
			t.Fatal(err)
		}
		l.seq += uint32(len(records))
	}
	if err := e.FoldNow(ctx); err != nil {
		t.Fatal(err)
	}
	all := func(e *series.Engine) (out []lh.Sample, err error) {
		for _, el := range l.elements {
			for s, err := range e.Read(ctx, sc, el, lh.MinMillis, lh.MaxMillis) {
				if err != nil {
					return nil, err
				}
				out = append(out, s)
			}
		}
		return out, nil
	}
	want, err := all(e)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found, harmless, shut := 0, 0, 0
	for round := range 60 {
		bad := slices.Clone(good)
		bit := r.IntN(len(bad) * 8)
		bad[bit/8] ^= 1 << (bit % 8)
		o := o
		dir := t.TempDir()
		o.URL = "sqlite:" + filepath.Join(dir, "hub.db")
		if err := os.WriteFile(filepath.Join(dir, "hub.db"), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := store.Open(ctx, o)
		if err != nil {
			shut++ // a page without which nothing opens; it says so
			continue
		}
		e := series.New(db, series.Options{Scope: storetest.HubScope})
		var findings []string
		if _, err := e.Verify(ctx, func(f string) { findings = append(findings, f) }, func(series.Verified) {}); err != nil {
			findings = append(findings, err.Error())
		}
		if len(findings) > 0 {
			found++
		} else {
			got, err := all(e)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("round %d: bit %d (page %d) changed what is read (%d samples of %d, %v), and verify finds nothing", round, bit, bit/8/8192, len(got), len(want), err)
			}
			harmless++
		}
		if err := db.Close(); err != nil {
			t.Logf("round %d: close: %v", round, err)
		}
	}
	t.Logf("%d found, %d harmless, %d do not open", found, harmless, shut)
	if found < 10 { // the harmless ones hit pages that hold nothing any more
		t.Errorf("only %d of 60 flipped bits were found (%d harmless, %d do not open)", found, harmless, shut)
	}
}

// Verify runs beside a hub that takes in, folds and overwrites: that is no damage.
func TestVerifyBesideAHub(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		sc := storetest.Project(t, db)
		e, _ := start(t, db, series.Options{})
		l := newLogger(t, db, sc, "1/level", "2/rain")
		at := lh.DayStart(20000)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				l.seq += 2
				if err := e.Append(ctx, l.upload(t, l.seq, record(at, float64(i), 1), record(at+1000, 2, float64(i)))); err != nil {
					t.Error(err)
				}
				if err := e.FoldNow(ctx); err != nil {
					t.Error(err)
				}
			}
		})
		for range 40 {
			if _, findings := verify(t, e); len(findings) > 0 {
				t.Errorf("found %q", findings)
				break
			}
		}
		close(stop)
		wg.Wait()
	})
}
