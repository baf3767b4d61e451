package series

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Options are how an engine works. A zero field has the default in brackets.
type Options struct {
	// CommitWait is how long a group commit may wait for more uploads while many come [2 ms]; negative is not at all.
	// One that comes alone never waits.
	CommitWait time.Duration
	// CommitRows is the most uploads in one commit [1024].
	CommitRows int
	// QueueRows and QueueBytes bound what waits for a commit [4096, 64 MiB]; beyond, Append says "later".
	QueueRows  int
	QueueBytes int64
	// FoldAge, FoldRows and FoldBytes are from when on a device's uploads are folded [15 min, 256, 64 KiB]. What waits
	// longer writes chunks less often, and makes readers of the device's series decode more that is not folded.
	FoldAge   time.Duration
	FoldRows  int64
	FoldBytes int64
	// FoldWaiting is how many bytes of all devices' uploads wait before the longest are folded earlier [40 MiB]. As much,
	// and an eighth more, is kept in memory.
	FoldWaiting int64
	// FoldBite is about how many bytes of journal go into one fold's transaction [1 MiB].
	FoldBite int64
	// Backlog is how many bytes of journal may wait for a fold [2 GiB]; beyond, Append says "later".
	Backlog int64
	// Scope gives the hub's own scope in a project. Required for folding.
	Scope func(lh.ProjectID) store.Scope
	// Cut ends the connections of a device whose project was destroyed; nil leaves them to end by themselves.
	Cut        func(lh.DeviceID)
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

func (o *Options) defaults() {
	set(&o.CommitWait, 2*time.Millisecond)
	set(&o.CommitRows, 1024)
	set(&o.QueueRows, 4096)
	set(&o.QueueBytes, 64<<20)
	set(&o.FoldAge, 15*time.Minute)
	set(&o.FoldRows, 256)
	set(&o.FoldBytes, 64<<10)
	set(&o.FoldWaiting, 40<<20)
	set(&o.FoldBite, 1<<20)
	set(&o.Backlog, 2<<30)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewRegistry()
	}
}

func set[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Engine is the series of an installation. Its methods may be called concurrently; Run once.
type Engine struct {
	db    *store.DB
	o     Options
	codec *codec

	mu     sync.RWMutex // guards closed against a send on queue
	closed bool
	queue  chan *pending
	queued atomic.Int64 // bytes in queue
	// backlog is the bytes of journal waiting for a fold: counted up at commits, set right at every look at the table.
	backlog atomic.Int64
	nudge   chan struct{} // tells the folder that much has come
	retain  chan struct{} // asks for what is to be deleted to be deleted
	folding chan struct{} // is held by who folds: two would only undo each other's work
	looked  time.Time     // when the journal was last looked at; owned by who folds
	dead    atomic.Int64  // bytes of journal that are folded, and not purged

	tailsMu sync.Mutex
	tails   map[tailKey]*tail
	kept    int64 // bytes of uploads in tails

	partsPool sync.Pool // *parts

	problemsMu sync.Mutex
	problems   map[string]string // by row or chunk, in words

	commits, samples, folds, readBack prometheus.Counter
	group, foldTime                   prometheus.Histogram
}

// pending is an upload that waits for its commit; done gets the outcome.
type pending struct {
	row  store.JournalAppend
	done chan error
}

// New returns an engine on a database. Nothing is stored before Run runs.
func New(db *store.DB, o Options) *Engine {
	o.defaults()
	e := &Engine{db: db, o: o, codec: newCodec(), queue: make(chan *pending, o.QueueRows), nudge: make(chan struct{}, 1), retain: make(chan struct{}, 1), folding: make(chan struct{}, 1), problems: map[string]string{}, tails: map[tailKey]*tail{}}
	e.partsPool.New = func() any { return newParts() }
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		o.Registerer.MustRegister(c)
		return c
	}
	e.commits = counter("loggerhead_series_commits_total", "Group commits to the journal.")
	e.samples = counter("loggerhead_series_samples_total", "Samples made durable in the journal, repeated ones included.")
	e.folds = counter("loggerhead_series_chunks_folded_total", "Chunks written by folds.")
	e.readBack = counter("loggerhead_series_journal_rows_read_back_total", "Uploads that folds read from the journal, not having them in memory.")
	e.group = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "loggerhead_series_commit_uploads", Help: "Uploads in one group commit.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 11)})
	e.foldTime = prometheus.NewHistogram(prometheus.HistogramOpts{Name: "loggerhead_series_fold_seconds", Help: "Time of one fold.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)})
	o.Registerer.MustRegister(e.group, e.foldTime,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "loggerhead_series_backlog_bytes", Help: "Bytes of journal that wait for a fold."},
			func() float64 { return float64(e.backlog.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "loggerhead_series_problems", Help: "Journal rows and chunks that cannot be read."},
			func() float64 { return float64(len(e.Problems())) }))
	return e
}

// later is the answer under back-pressure: the device keeps the samples and comes again.
func later(why string) error {
	return lh.Errorf(lh.Unavailable, "the hub is taking in as much as it can (%s); keep the samples and send them later", why)
}

// Append stores an upload and returns nil when it is on disk, synced. Unavailable: later. When ctx ends first, the
// upload may be stored all the same; sending it again does no harm.
func (e *Engine) Append(ctx context.Context, u Upload) error {
	if len(u.Elements) != len(u.Batch.Channels) {
		return fmt.Errorf("append: %d elements for %d channels", len(u.Elements), len(u.Batch.Channels))
	}
	if e.backlog.Load() > e.o.Backlog {
		return later("many samples wait to be folded")
	}
	p := &pending{done: make(chan error, 1), row: store.JournalAppend{Scope: u.Scope, Device: u.Device, Received: u.Received,
		Samples: u.Batch.Samples(), Body: encodeJournal(&u), Latest: u.latest(), Seen: u.Seen}}
	size := int64(len(p.row.Body))
	if e.queued.Add(size) > e.o.QueueBytes {
		e.queued.Add(-size)
		return later("many uploads wait for the disk")
	}
	e.mu.RLock()
	if e.closed {
		e.mu.RUnlock()
		e.queued.Add(-size)
		return later("it is stopping")
	}
	select {
	case e.queue <- p:
		e.mu.RUnlock()
	default:
		e.mu.RUnlock()
		e.queued.Add(-size)
		return later("many uploads wait for the disk")
	}
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		return lh.Hide(lh.Unavailable, ctx.Err(), "the hub did not store this in time; send it again")
	}
}

// Run commits and folds until ctx ends; then it takes nothing more, commits what is queued, folds once more and
// gives space back in a bounded time, and returns.
func (e *Engine) Run(ctx context.Context) error {
	foldCtx, stopFold := context.WithCancel(context.Background())
	defer stopFold()
	var folder sync.WaitGroup
	folder.Go(func() { e.foldLoop(foldCtx) })
	folder.Go(func() { e.retainLoop(foldCtx) })
	folder.Go(func() { e.destroyLoop(foldCtx) })
	var committer sync.WaitGroup
	committer.Go(e.commitLoop)
	<-ctx.Done()
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	close(e.queue)
	committer.Wait()
	stopFold()
	folder.Wait()
	last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := e.foldDue(last, true); err != nil && last.Err() == nil {
		return fmt.Errorf("last fold: %w", err)
	}
	for more, err := true, error(nil); more; {
		if more, err = e.db.Shrink(last); err != nil {
			e.o.Log.Warn("the database's file keeps space that it does not need", "err", err)
		}
	}
	return nil
}

// commitLoop owns the writing side of the journal. While a commit is on its way to the disk, the next group gathers in
// the queue by itself; only after a full-ish group does it wait a little, so that a busy hub syncs less often and a
// lone upload is never delayed.
func (e *Engine) commitLoop() {
	busy := false
	for first := range e.queue {
		group := e.gather([]*pending{first})
		if busy && len(group) < e.o.CommitRows && e.o.CommitWait > 0 {
			time.Sleep(e.o.CommitWait)
			group = e.gather(group)
		}
		busy = len(group) >= 8
		e.commit(group)
	}
}

// gather takes what is in the queue, without waiting.
func (e *Engine) gather(group []*pending) []*pending {
	for len(group) < e.o.CommitRows {
		select {
		case p, ok := <-e.queue:
			if !ok {
				return group
			}
			group = append(group, p)
		default:
			return group
		}
	}
	return group
}

// commit makes a group durable and tells each upload's sender. Where the group as a whole fails, each upload is tried
// alone, so that one that cannot be stored does not take the others with it.
func (e *Engine) commit(group []*pending) {
	rows := make([]store.JournalAppend, len(group))
	var bytes, samples int64
	for i, p := range group {
		rows[i] = p.row
		bytes += int64(len(p.row.Body))
		samples += int64(p.row.Samples)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	err := e.db.AppendJournal(ctx, rows)
	cancel()
	e.queued.Add(-bytes)
	if err != nil && len(group) > 1 {
		for _, p := range group {
			e.queued.Add(int64(len(p.row.Body)))
			e.commit([]*pending{p})
		}
		return
	}
	if err != nil {
		if c := lh.CodeOf(err); c == lh.Internal || c == lh.Unavailable {
			e.trouble(cannotStore, err)
			err = lh.Hide(lh.Unavailable, err, "the hub cannot store samples right now; keep them and send them later")
		}
		group[0].done <- err
		return
	}
	e.trouble(cannotStore, nil)
	e.commits.Inc()
	var stored int64
	for i := range rows {
		stored += rows[i].Size
	}
	e.samples.Add(float64(samples))
	e.group.Observe(float64(len(group)))
	e.backlog.Add(stored)
	if e.committed(rows) {
		select {
		case e.nudge <- struct{}{}:
		default:
		}
	}
	for _, p := range group {
		p.done <- nil
	}
}

// Problems returns, in words, what cannot be read: journal rows and chunks that are damaged. They stay where they are.
// Beside them it tells when the last upload could not be stored, and the last fold not be done.
func (e *Engine) Problems() []string {
	e.problemsMu.Lock()
	defer e.problemsMu.Unlock()
	return slices.Sorted(maps.Values(e.problems))
}

const maxProblems = 1000

// problem notes what cannot be read and reports whether it was known.
func (e *Engine) problem(what string, err error) {
	e.problemsMu.Lock()
	_, known := e.problems[what]
	if !known && len(e.problems) < maxProblems {
		e.problems[what] = fmt.Sprintf("%s: %v", what, err)
	}
	e.problemsMu.Unlock()
	if !known {
		e.o.Log.Error("samples cannot be read; they are kept where they are", "what", what, "err", err)
	}
}

// solved forgets a problem that is no more.
func (e *Engine) solved(what fmt.Stringer) {
	e.problemsMu.Lock()
	defer e.problemsMu.Unlock()
	if len(e.problems) > 0 {
		delete(e.problems, what.String())
	}
}

// What an engine as a whole may be unable to do.
const (
	cannotStore = "uploads cannot be stored"
	cannotFold  = "uploads cannot be folded"
)

// trouble notes that the engine cannot do something now, or, when err is nil, that it can. It logs when that changes: what
// is tried again and again must not fill the log, and with it the disk.
func (e *Engine) trouble(what string, err error) {
	e.problemsMu.Lock()
	_, known := e.problems[what]
	if err == nil {
		delete(e.problems, what)
	} else {
		e.problems[what] = fmt.Sprintf("%s: %v", what, err)
	}
	e.problemsMu.Unlock()
	switch {
	case err != nil && !known:
		e.o.Log.Error(what+"; it is tried again", "err", err)
	case err == nil && known:
		e.o.Log.Info("no longer: " + what)
	}
}

// gone reports whether err only says that somebody ended the work.
func gone(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
