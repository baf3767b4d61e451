package series_test

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/series"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// modelSeconds is for how long TestAgainstNaiveMap plays, over both engines; LOGGERHEAD_MODEL_SEED plays one game again.
const (
	modelSeconds = "LOGGERHEAD_MODEL_SECONDS"
	modelSeed    = "LOGGERHEAD_MODEL_SEED"
)

// TestAgainstNaiveMap plays games of random uploads (late, repeated, overlapping, from several goroutines at once),
// corrections, approvals, deletions, retention, folds, restarts and crashes, and holds every query against a plain map
// of everything that ever happened.
func TestAgainstNaiveMap(t *testing.T) {
	seconds, err := strconv.Atoi(cmp.Or(os.Getenv(modelSeconds), "20"))
	if err != nil {
		t.Fatal(err)
	}
	engines := 2
	if os.Getenv(storetest.PostgresEnv) == "" {
		engines = 1
	}
	storetest.EachOptions(t, func(t *testing.T, o store.Options) {
		end := time.Now().Add(time.Duration(seconds) * time.Second / time.Duration(engines))
		seed := rand.Uint64()
		again := os.Getenv(modelSeed)
		if again != "" {
			if seed, err = strconv.ParseUint(again, 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		sum := tally{}
		games := 0
		for ; games == 0 || again == "" && time.Now().Before(end); games++ {
			w := newWorld(t, o, seed+uint64(games), end)
			w.play()
			for k, n := range w.did {
				sum[k] += n
			}
		}
		t.Logf("seeds %d to %d: %v", seed, seed+uint64(games-1), sum)
	})
}

// tally counts what was done.
type tally map[string]int

// world is one game: an installation with its hubs, and the model of all that it was told.
type world struct {
	t        *testing.T
	seed     uint64
	r        *rand.Rand
	o        store.Options
	end      time.Time
	clock    atomic.Int64
	base     lh.Millis // about where the samples lie
	hubs     []*modelHub
	projects []*modelProject
	moments  []lh.Millis // at which nothing happened
	step     int
	avoid    [2]lh.Millis // uploads made now have nothing in this range
	did      tally
}

// modelHub is one hub process: its own handle of the database and its engine.
type modelHub struct {
	db     *store.DB
	e      *series.Engine
	cancel func()
	ended  chan error
}

type modelProject struct {
	sc      store.Scope
	loggers []*modelLogger
}

type modelLogger struct {
	*logger
	held    []series.Upload         // to be delivered, or delivered again
	came    map[lh.Rank][]lh.Millis // when each rank arrived, as far as that is on record
	series  []*modelSeries          // by channel
	intents map[lh.ElementID]int    // index into series
}

type modelSeries struct {
	history
	el lh.Element
	// trusted holds the writes that may be the latest, by time.
	trusted map[lh.Millis]lh.Sample
}

// bases are around changes of clocks in the zones asked for.
var bases = []time.Time{
	time.Date(2024, 3, 29, 0, 0, 0, 0, time.UTC), time.Date(2024, 10, 25, 0, 0, 0, 0, time.UTC),
	time.Date(2018, 11, 2, 0, 0, 0, 0, time.UTC),  // São Paulo skips a midnight
	time.Date(2011, 12, 28, 0, 0, 0, 0, time.UTC), // Apia skips a day
	time.Date(2024, 12, 29, 0, 0, 0, 0, time.UTC),
}

func newWorld(t *testing.T, o store.Options, seed uint64, end time.Time) *world {
	t.Helper()
	w := &world{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 1)), o: o, end: end, did: tally{}}
	w.base = lh.MillisOf(bases[w.r.IntN(len(bases))])
	w.clock.Store(int64(w.base + 8*lh.DayMillis))
	w.o.Now = func() time.Time { return lh.Millis(w.clock.Load()).Time() }
	w.o.Log = slog.New(slog.DiscardHandler)
	w.open()
	db := w.hubs[0].db
	for range 2 {
		p := &modelProject{sc: storetest.Project(t, db)}
		for _, channels := range [][]string{{"a", "b"}, {"c"}} {
			l := &modelLogger{logger: newLogger(t, db, p.sc, channels...), came: map[lh.Rank][]lh.Millis{}, intents: map[lh.ElementID]int{}}
			for i, el := range l.elements {
				el.Interval = []int64{0, 60_000, 600_000}[w.r.IntN(3)]
				el.Meaning = []lh.Meaning{lh.Instantaneous, lh.PrecedingMean, lh.PrecedingSum, lh.Counter}[w.r.IntN(4)]
				l.series = append(l.series, &modelSeries{el: el, trusted: map[lh.Millis]lh.Sample{}})
				l.intents[el.ID] = i
			}
			p.loggers = append(p.loggers, l)
		}
		w.projects = append(w.projects, p)
	}
	return w
}

func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s=%d step %d: "+format, append([]any{modelSeed, w.seed, w.step}, args...)...)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.fatalf("%v", err)
	}
}

// open starts the hubs: one on SQLite, two beside each other on PostgreSQL.
func (w *world) open() {
	n := 1
	if w.o.URL[0] == 'p' {
		n = 1 + w.r.IntN(2)
	}
	for range n {
		db, err := store.Open(ctx, w.o)
		w.must(err)
		o := series.Options{Scope: storetest.HubScope, Now: w.o.Now, Log: w.o.Log, FoldBite: []int64{1, 3000, 1 << 20}[w.r.IntN(3)]}
		if o.FoldAge = 1 << 62; w.r.IntN(2) == 0 {
			o.FoldAge = 20 * time.Millisecond // in the background too, at any moment
		}
		h := &modelHub{db: db, e: series.New(db, o), ended: make(chan error, 1)}
		run, cancel := context.WithCancel(ctx)
		h.cancel = cancel
		go func() { h.ended <- h.e.Run(run) }()
		w.hubs = append(w.hubs, h)
	}
}

// shut ends the hubs, in good order or not: a crash closes the database under the engine, which cannot fold any more.
func (w *world) shut(crash bool) {
	for _, h := range w.hubs {
		if crash {
			w.must(h.db.Close())
		}
		h.cancel()
		if err := <-h.ended; err != nil && !crash {
			w.fatalf("engine: %v", err)
		}
		if !crash {
			w.must(h.db.Close())
		}
	}
	w.hubs = nil
}

func (w *world) hub() *modelHub         { return w.hubs[w.r.IntN(len(w.hubs))] }
func (w *world) project() *modelProject { return w.projects[w.r.IntN(len(w.projects))] }

func (w *world) logger() (*modelProject, *modelLogger) {
	p := w.project()
	return p, p.loggers[w.r.IntN(len(p.loggers))]
}

// tick moves the clock on; between two events lies a moment at which nothing happened.
func (w *world) tick() lh.Millis {
	now := w.clock.Add(1 + w.r.Int64N(40*60_000))
	w.moments = append(w.moments, lh.Millis(now))
	return lh.Millis(w.clock.Add(1))
}

const modelDays = 5

// some returns a time, coarse, so that times meet.
func (w *world) some() lh.Millis {
	return w.base + lh.Millis(w.r.Int64N(modelDays*lh.DayMillis/300_000)*300_000)
}

func (w *world) play() {
	steps := 60 + w.r.IntN(160)
	for w.step = 0; w.step < steps && (w.step < 20 || time.Now().Before(w.end)); w.step++ {
		w.tick()
		ops := []struct {
			name   string
			weight int
			do     func()
		}{
			{"upload", 40, w.upload}, {"repeat", 12, w.repeat}, {"burst", 6, w.burst}, {"deletion in a burst", 3, w.removeDuring}, {"new log", 3, w.newLog},
			{"correction", 8, w.correct}, {"revocation", 4, w.revoke}, {"approval", 5, w.approve}, {"fold", 8, func() { w.fold() }},
			{"deletion", 3, w.remove}, {"retention", 1, w.retain}, {"restart", 2, func() { w.restart(false) }}, {"crash", 2, func() { w.restart(true) }},
			{"check", 8, func() { w.check(3) }},
		}
		total := 0
		for _, o := range ops {
			total += o.weight
		}
		at := w.r.IntN(total)
		for _, o := range ops {
			if at -= o.weight; at < 0 {
				w.did[o.name]++
				o.do()
				break
			}
		}
	}
	w.check(6)
	w.restart(w.r.IntN(2) == 0)
	w.check(3)
	w.fold()
	w.check(6)
	w.whole()
	w.destroy()
	w.shut(false)
	w.did["games"]++
}

// value is what a sensor may say.
func (w *world) value() float64 {
	switch w.r.IntN(40) {
	case 0:
		return math.Copysign(0, -1)
	case 1:
		return w.r.NormFloat64()
	case 2:
		return 5e-324
	}
	return math.Round(w.r.NormFloat64()*1000) / 100
}

// make builds an upload of a logger, the next of its log.
func (w *world) make(l *modelLogger) series.Upload {
	at := w.some()
	interval := lh.Millis([]int64{1000, 60_000, 300_000}[w.r.IntN(3)])
	var records []wire.Record
	for range 1 + w.r.IntN(50) {
		rec := wire.Record{Time: at}
		switch w.r.IntN(60) {
		case 0:
			rec.Time = lh.Millis(w.r.IntN(1000)) // a clock at 1970
		case 1:
			rec.Time = w.base + 40000*lh.DayMillis + lh.Millis(w.r.IntN(1000))
		}
		if rec.Time >= w.avoid[0] && rec.Time < w.avoid[1] {
			rec.Time = w.avoid[1]
		}
		for c := range l.elements {
			if w.r.IntN(10) > 0 {
				rec.Values = append(rec.Values, wire.Value{Channel: uint16(c), Flag: []lh.Flag{1, 1, 1, 1, 2, 3, 4, 9}[w.r.IntN(8)], Value: w.value()})
			}
		}
		records = append(records, rec)
		at += interval * lh.Millis(w.r.IntN(3)) // 0 is the same time again
		if w.r.IntN(30) == 0 {
			at -= 20 * interval
		}
	}
	u := l.logger.upload(w.t, l.seq, records...)
	l.seq += uint32(len(records))
	u.NotBefore, u.NotAfter = 1e12, lh.Millis(w.clock.Load())+120_000
	return u
}

// deliver hands an upload in until it is acknowledged, as a device does, and puts it into the model.
func (w *world) deliver(l *modelLogger, u series.Upload) {
	u.Received = w.tick()
	for try := 0; ; try++ {
		c, cancel := ctx, func() {}
		if try < 2 && w.r.IntN(20) == 0 { // somebody gives up waiting
			c, cancel = context.WithTimeout(ctx, time.Duration(w.r.IntN(3))*time.Millisecond)
		}
		err := w.hub().e.Append(c, u)
		cancel()
		if err == nil {
			break
		}
		if try > 5 || lh.CodeOf(err) != lh.Unavailable {
			w.fatalf("append: %v", err)
		}
	}
	l.learn(u)
}

// learn puts an acknowledged upload into the model.
func (l *modelLogger) learn(u series.Upload) {
	for i := range u.Batch.Records {
		k := lh.RankOf(u.Epoch, u.Sequence+uint32(i))
		l.came[k] = append(l.came[k], u.Received)
	}
	u.Each(func(c uint16, s lh.Sample) {
		m := l.series[c]
		m.add(s, u.Received)
		if old, ok := m.trusted[s.Time]; s.Time <= u.NotAfter && (!ok || s.Rank >= old.Rank) {
			m.trusted[s.Time] = s
		}
	})
	l.date()
}

// date has every write count from the first arrival of its rank that is on record, or always where none is.
func (l *modelLogger) date() {
	for _, m := range l.series {
		for _, ws := range m.writes {
			for i := range ws {
				ws[i].received = math.MinInt64
				if at := l.came[ws[i].Rank]; len(at) > 0 {
					ws[i].received = slices.Min(at)
				}
			}
		}
	}
}

func (w *world) upload() {
	_, l := w.logger()
	u := w.make(l)
	if w.r.IntN(3) == 0 {
		l.held = append(l.held, u)
	}
	if w.r.IntN(6) > 0 { // else it comes later than its successors, or never
		w.deliver(l, u)
	}
}

// repeat delivers what was delivered before, or is late.
func (w *world) repeat() {
	_, l := w.logger()
	if len(l.held) > 0 {
		w.deliver(l, l.held[w.r.IntN(len(l.held))])
	}
}

// newLog is a device that lost its log.
func (w *world) newLog() {
	_, l := w.logger()
	l.epoch, l.seq = l.epoch+1, 1
}

// fold folds everything, by whichever hub. Hubs that fold at once may have to begin again.
func (w *world) fold() {
	for try := 0; ; try++ {
		err := w.hub().e.FoldNow(ctx)
		if err == nil {
			return
		}
		if lh.CodeOf(err) != lh.Conflict || try > 20 {
			w.fatalf("fold: %v", err)
		}
	}
}

func (w *world) restart(crash bool) {
	if crash && w.r.IntN(2) == 0 {
		w.crashDuring()
		return
	}
	w.shut(crash)
	w.open()
}

func (w *world) someSeries() (*modelProject, *modelSeries) {
	p, l := w.logger()
	return p, l.series[w.r.IntN(len(l.series))]
}

func (w *world) correct() {
	p, m := w.someSeries()
	from := w.some()
	c := lh.Correction{Element: m.el.ID, From: from, To: from + lh.Millis(1+w.r.Int64N(lh.DayMillis)), A: float64(w.r.IntN(9)-4) / 2, B: float64(w.r.IntN(5)),
		Flag: []lh.Flag{1, 3, 4}[w.r.IntN(3)],
		Kind: []lh.CorrectionKind{lh.CorrectOffset, lh.CorrectFactor, lh.CorrectDrift, lh.CorrectDelete, lh.CorrectFlag, lh.CorrectFill}[w.r.IntN(6)]}
	if c.Kind == lh.CorrectFill {
		for x := c.From; x < c.To; x += lh.Millis(1+w.r.Int64N(20)) * 150_000 {
			c.Samples = append(c.Samples, lh.Sample{Time: x, Value: w.value(), Flag: lh.FlagSuspect})
		}
	}
	got, err := w.hub().db.AddCorrection(ctx, p.sc, c)
	if locked := m.approved(c.From, c.To); locked != (lh.CodeOf(err) == lh.Conflict) || err != nil && !locked {
		w.fatalf("correction of an approved range (%v): %v", locked, err)
	}
	if err == nil {
		m.corrections = append(m.corrections, got)
	}
}

func (w *world) revoke() {
	p, m := w.someSeries()
	if n := len(m.approvals); n > 0 && w.r.IntN(2) == 0 {
		a := &m.approvals[w.r.IntN(n)]
		err := w.hub().db.RevokeApproval(ctx, p.sc, m.el.ID, a.ID)
		if gone := a.Revoked != 0; gone != (lh.CodeOf(err) == lh.Conflict) || err != nil && !gone {
			w.fatalf("revoke an approval (revoked already: %v): %v", gone, err)
		}
		if err == nil {
			a.Revoked = max(lh.Millis(w.clock.Load()), a.Created)
		}
		return
	}
	if len(m.corrections) == 0 {
		return
	}
	c := &m.corrections[w.r.IntN(len(m.corrections))]
	got, err := w.hub().db.RevokeCorrection(ctx, p.sc, m.el.ID, c.ID)
	if refused := c.Revoked != 0 || m.approved(c.From, c.To); refused != (lh.CodeOf(err) == lh.Conflict) || err != nil && !refused {
		w.fatalf("revoke a correction (refused: %v): %v", refused, err)
	}
	if err == nil {
		got.Samples = c.Samples
		*c = got
	}
}

func (w *world) approve() {
	p, m := w.someSeries()
	from := w.some()
	a := lh.Approval{Element: m.el.ID, From: from, To: from + lh.Millis(1+w.r.Int64N(lh.DayMillis))}
	got, err := w.hub().db.Approve(ctx, p.sc, a)
	if locked := m.approved(a.From, a.To); locked != (lh.CodeOf(err) == lh.Conflict) || err != nil && !locked {
		w.fatalf("approve twice (%v): %v", locked, err)
	}
	if err == nil {
		m.approvals = append(m.approvals, got)
	}
}

// remove deletes a range for good.
func (w *world) remove() {
	p, m := w.someSeries()
	from := w.some()
	to := from + lh.Millis(1+w.r.Int64N(lh.DayMillis*2))
	if w.r.IntN(8) == 0 {
		from, to = lh.MinMillis, lh.MaxMillis+1
	}
	locked := m.approved(from, to)
	var err error
	for range 10 { // hubs that fold into the range meanwhile
		if err = w.hub().e.Delete(ctx, p.sc, m.el, from, to); lh.CodeOf(err) != lh.Conflict || locked {
			break
		}
	}
	if locked != (lh.CodeOf(err) == lh.Conflict) || err != nil && !locked {
		w.fatalf("delete (approved: %v): %v", locked, err)
	}
	if err == nil {
		m.forget(from, to)
	}
}

// forget removes a range from the model.
func (m *modelSeries) forget(from, to lh.Millis) {
	gone := func(t lh.Millis) bool { return t >= from && t < to }
	maps.DeleteFunc(m.writes, func(t lh.Millis, _ []arrivedWrite) bool { return gone(t) })
	maps.DeleteFunc(m.trusted, func(t lh.Millis, _ lh.Sample) bool { return gone(t) })
	for i := range m.corrections {
		m.corrections[i].Samples = slices.DeleteFunc(slices.Clone(m.corrections[i].Samples), func(s lh.Sample) bool { return gone(s.Time) })
	}
}

// retain drops the oldest days of a project, as its retention would have it. (An engine that has just started may be
// about to look at the settings of retention, so they are left alone.)
func (w *world) retain() {
	p := w.project()
	cut := w.base.Day() - 1 + int32(w.r.IntN(modelDays))
	if w.r.IntN(4) == 0 {
		cut = lh.Millis(w.clock.Load()).Day() // nothing stays but what is stamped in the future
	}
	w.fold() // retention leaves alone what is not folded
	_, err := w.hub().db.DropBefore(ctx, storetest.HubScope(p.sc.Project()), cut)
	w.must(err)
	dropped := false
	for _, l := range p.loggers {
		for _, m := range l.series {
			for at := range m.writes {
				dropped = dropped || at.Day() < cut
			}
			m.forget(lh.MinMillis, lh.DayStart(cut))
		}
	}
	if !dropped { // then the arrivals stay, too
		return
	}
	for _, l := range p.loggers {
		for k, at := range l.came {
			l.came[k] = slices.DeleteFunc(at, func(at lh.Millis) bool { return at.Day() < cut-1 })
		}
		l.date()
	}
}

// destroy deletes one project, and then the other, which until then has all it had.
func (w *world) destroy() {
	for len(w.projects) > 0 {
		p := w.projects[0]
		h := w.hub()
		w.must(h.e.DeleteProject(ctx, p.sc))
		_, err := h.e.Retain(ctx)
		w.must(err)
		for _, h := range w.hubs {
			for s, err := range h.e.Read(ctx, p.sc, p.loggers[0].elements[0], lh.MinMillis, lh.MaxMillis) {
				if err == nil {
					w.fatalf("of a deleted project, %+v is read", s)
				}
			}
		}
		w.projects = w.projects[1:]
		if len(w.projects) > 0 {
			w.restart(false)
			w.check(3)
		}
	}
}
