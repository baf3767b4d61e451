package series_test

import (
	"math"
	"sync"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
)

// burst uploads from several goroutines at once while others fold and read. What is read must be in order, nothing
// twice, and have all that was acknowledged before.
func (w *world) burst() {
	type sent struct {
		l *modelLogger
		u series.Upload
	}
	var all []sent
	for range 4 + w.r.IntN(20) {
		_, l := w.logger()
		u := w.make(l)
		u.Received = w.tick()
		all = append(all, sent{l, u})
		if w.r.IntN(4) == 0 { // the same at the same time
			all = append(all, sent{l, u})
		}
	}
	before := map[*modelSeries][]lh.Sample{}
	for _, p := range w.projects {
		for _, l := range p.loggers {
			for _, m := range l.series {
				before[m] = m.view(lh.MinMillis, lh.MaxMillis, series.View{Raw: true})
			}
		}
	}
	var senders, others sync.WaitGroup
	done := make(chan struct{})
	for g := range 4 {
		e := w.hub().e
		senders.Go(func() {
			for i := g; i < len(all); i += 4 {
				if err := e.Append(ctx, all[i].u); err != nil {
					w.t.Errorf("%s=%d: append in a burst: %v", modelSeed, w.seed, err)
				}
			}
		})
	}
	if e := w.hub().e; w.r.IntN(2) == 0 {
		others.Go(func() {
			if err := e.FoldNow(ctx); err != nil && lh.CodeOf(err) != lh.Conflict {
				w.t.Errorf("%s=%d: fold in a burst: %v", modelSeed, w.seed, err)
			}
		})
	}
	for range 2 {
		e, p, l := w.hub().e, (*modelProject)(nil), (*modelLogger)(nil)
		p, l = w.logger()
		m := l.series[w.r.IntN(len(l.series))]
		others.Go(func() {
			for i := 0; i < 5; i++ {
				w.readDuring(e, p, m, before[m])
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	senders.Wait()
	close(done)
	others.Wait()
	if w.t.Failed() {
		w.fatalf("in a burst")
	}
	for _, s := range all {
		s.l.learn(s.u)
	}
	w.did["uploads in bursts"] += len(all)
}

func (w *world) readDuring(e *series.Engine, p *modelProject, m *modelSeries, before []lh.Sample) {
	last := lh.Millis(math.MinInt64)
	seen := map[lh.Millis]lh.Sample{}
	for s, err := range e.ReadView(ctx, p.sc, m.el, lh.MinMillis, lh.MaxMillis+1, series.View{Raw: true}) {
		if err != nil {
			w.t.Errorf("read in a burst: %v", err)
			return
		}
		if s.Time <= last {
			w.t.Errorf("read in a burst: time %d after %d", s.Time, last)
		}
		last, seen[s.Time] = s.Time, s
	}
	for _, s := range before {
		if got, ok := seen[s.Time]; !ok || got.Rank < s.Rank {
			w.t.Errorf("read in a burst: %+v was acknowledged, %+v is read", s, got)
			return
		}
	}
}

// crashDuring crashes while uploads are under way. Those that were not acknowledged are sent again.
func (w *world) crashDuring() {
	type sent struct {
		l     *modelLogger
		u     series.Upload
		acked bool
	}
	var all []*sent
	for range 8 {
		_, l := w.logger()
		u := w.make(l)
		u.Received = w.tick()
		all = append(all, &sent{l, u, false})
	}
	var wg sync.WaitGroup
	for g := range 4 {
		e := w.hub().e
		wg.Go(func() {
			for i := g; i < len(all); i += 4 {
				all[i].acked = e.Append(ctx, all[i].u) == nil
			}
		})
	}
	time.Sleep(time.Duration(w.r.IntN(4000)) * time.Microsecond) // any moment
	w.shut(true)
	wg.Wait()
	w.open()
	for _, s := range all {
		if !s.acked {
			w.did["uploads cut off"]++
			w.must(w.hub().e.Append(ctx, s.u))
		}
		s.l.learn(s.u)
	}
}

// removeDuring deletes a range while uploads come, and are folded, that have samples all around it and none in it.
func (w *world) removeDuring() {
	p, l := w.logger()
	m := l.series[w.r.IntN(len(l.series))]
	from := w.some()
	to := from + lh.Millis(1+w.r.Int64N(lh.DayMillis*2))
	if newest := m.newest(); w.r.IntN(2) == 0 && newest.Time > from { // with the latest
		to = newest.Time + 1
	}
	if m.approved(from, to) {
		return
	}
	w.avoid = [2]lh.Millis{from, to}
	var all []series.Upload
	for range 6 {
		u := w.make(l)
		u.Received = w.tick()
		all = append(all, u)
	}
	w.avoid = [2]lh.Millis{}
	var wg sync.WaitGroup
	for g := range 2 {
		e := w.hub().e
		wg.Go(func() {
			for i := g; i < len(all); i += 2 {
				if err := e.Append(ctx, all[i]); err != nil {
					w.t.Errorf("%s=%d: append beside a deletion: %v", modelSeed, w.seed, err)
				}
			}
		})
	}
	e := w.hub().e
	wg.Go(func() {
		var err error
		for range 20 {
			if err = e.Delete(ctx, p.sc, m.el, from, to); lh.CodeOf(err) != lh.Conflict {
				break
			}
		}
		if err != nil {
			w.t.Errorf("%s=%d: delete beside uploads: %v", modelSeed, w.seed, err)
		}
	})
	wg.Wait()
	if w.t.Failed() {
		w.fatalf("deleting in a burst")
	}
	m.forget(from, to)
	for _, u := range all {
		l.learn(u)
	}
	w.check(1)
}
