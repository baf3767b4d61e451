package series

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// foldAgain is how long a fold that failed waits before it is tried again.
const foldAgain = 2 * time.Second

// compactBelow is how little waits when the database's file is made smaller.
const compactBelow = 4 << 20

// foldLoop folds what is due until ctx ends.
func (e *Engine) foldLoop(ctx context.Context) {
	tick := time.NewTicker(max(min(e.o.FoldAge/4, time.Second), 10*time.Millisecond))
	defer tick.Stop()
	var again time.Time // not before then
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-e.nudge:
		}
		if time.Now().Before(again) {
			continue
		}
		// Where another hub is at it, there is nothing to do.
		if _, err := e.foldDue(ctx, false); err == nil {
			e.trouble(cannotFold, nil)
		} else if ctx.Err() == nil && !gone(err) {
			e.trouble(cannotFold, err)
			again = time.Now().Add(foldAgain)
		}
		if e.backlog.Load() > compactBelow {
			continue // what is free is about to be used again
		}
		if _, err := e.db.Compact(ctx); err != nil && ctx.Err() == nil && !gone(err) {
			e.o.Log.Warn("the database's file keeps space that it does not need", "err", err)
			again = time.Now().Add(foldAgain)
		}
	}
}

// FoldNow folds everything that can be folded.
func (e *Engine) FoldNow(ctx context.Context) error {
	others, err := e.foldDue(ctx, true)
	return errors.Join(others, err)
}

// foldDue folds the devices of which enough waits, or for long, or all of them. others is an error, too, where other hubs
// fold a device at the same time, again and again, and may not have folded all of it.
func (e *Engine) foldDue(ctx context.Context, all bool) (others, err error) {
	select {
	case e.folding <- struct{}{}:
		defer func() { <-e.folding }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if all || time.Since(e.looked) >= lookEvery {
		if err := e.look(ctx); err != nil {
			return nil, err
		}
		e.looked = time.Now()
	}
	var busy, errs []error
	for ts := e.due(all, ""); len(ts) > 0; {
		n := 1
		for n < len(ts) && ts[n].project == ts[0].project {
			n++
		}
		_, err := e.foldTails(ctx, ts[:n])
		switch lh.CodeOf(err) {
		case lh.NotFound: // a project that is gone: what it has left is swept, not folded
		case lh.Conflict:
			busy = append(busy, err)
		default:
			errs = append(errs, err)
		}
		ts = ts[n:]
	}
	// Folded rows are taken out of the journal when they are as many as the others, or nothing else is to be done.
	if dead := e.dead.Load(); dead > max(purgeBytes, e.backlog.Load()) || dead > 0 && (all || e.backlog.Load() == 0) {
		if err := e.db.Purge(ctx); err != nil {
			errs = append(errs, err)
		} else {
			e.dead.Add(-dead)
		}
	}
	return errors.Join(busy...), errors.Join(errs...)
}

// purgeBytes is how much of the journal may be folded rows, however little waits.
const purgeBytes = 16 << 20

// stuck are the rows that a fold could not take: they cannot be read, or belong into what cannot be read. They stay in
// the journal; the next fold tries them again.
type stuck map[store.JournalID]bool

// foldAll folds what one project's journal holds now and returns what is stuck.
func (e *Engine) foldAll(ctx context.Context, p lh.ProjectID) (stuck, error) {
	if err := e.look(ctx); err != nil {
		return nil, err
	}
	return e.foldTails(ctx, e.due(true, p))
}

// foldTails folds some devices of one project, in bites of several, and returns what is stuck.
func (e *Engine) foldTails(ctx context.Context, ts []*tail) (stuck, error) {
	ts = slices.Clone(ts)
	held := stuck{}
	conflicts := 0
	for len(ts) > 0 {
		if err := ctx.Err(); err != nil {
			return held, err
		}
		start := time.Now()
		sc := e.o.Scope(ts[0].project)
		var bite []*deviceFold
		var again []*tail
		var size int64
		for size < e.o.FoldBite && len(ts) > 0 {
			t := ts[0]
			ts = ts[1:]
			rows, folded, more, err := e.take(ctx, sc, t, e.o.FoldBite-size, held)
			if err != nil {
				return held, fmt.Errorf("fold device %s: %w", t.device, err)
			}
			if len(rows) == 0 {
				e.forget(t) // folded elsewhere, or all of it is stuck
				continue
			}
			if more {
				again = append(again, t)
			}
			f, err := e.foldDevice(ctx, sc, t, rows, folded, held)
			if err != nil {
				return held, fmt.Errorf("fold device %s: %w", t.device, err)
			}
			for i := range rows {
				size += int64(len(rows[i].Body)) + rowCost
			}
			if f != nil {
				bite = append(bite, f)
			} else {
				e.forget(t)
			}
		}
		err := e.storeBite(ctx, sc, bite)
		if lh.CodeOf(err) == lh.Conflict && conflicts < 5 { // another hub folded these, or deleted; read again
			conflicts++
			again = again[:0]
			for _, f := range bite {
				e.forget(f.tail)
				again = append(again, f.tail)
			}
			ts = append(again, ts...)
			continue
		}
		if err != nil {
			return held, fmt.Errorf("fold project %s: %w", sc.Project(), err)
		}
		for _, f := range bite {
			e.settle(f.tail, &f.DeviceFold)
		}
		if len(bite) > 0 {
			e.foldTime.Observe(time.Since(start).Seconds())
		}
		ts = append(ts, again...)
	}
	return held, nil
}

// deviceFold is what a fold makes of some of one device's rows.
type deviceFold struct {
	store.DeviceFold
	tail     *tail
	chunks   []store.Chunk
	arrivals []store.ArrivalDay
}

// storeBite stores what was made of some devices in one transaction.
func (e *Engine) storeBite(ctx context.Context, sc store.Scope, bite []*deviceFold) error {
	if len(bite) == 0 {
		return nil
	}
	var chunks []store.Chunk
	var arrivals []store.ArrivalDay
	folds := make([]store.DeviceFold, len(bite))
	// One order for everybody, so that two hubs never wait for each other's rows.
	slices.SortFunc(bite, func(a, b *deviceFold) int { return cmp.Compare(a.Device, b.Device) })
	for i, f := range bite {
		folds[i] = f.DeviceFold
		chunks, arrivals = append(chunks, f.chunks...), append(arrivals, f.arrivals...)
	}
	if err := e.db.Fold(ctx, sc, chunks, folds, arrivals); err != nil {
		return err
	}
	e.folds.Add(float64(len(chunks)))
	return nil
}

type chunkKey struct {
	element lh.ElementID
	day     int32
}

// String names the chunk for people.
func (k chunkKey) String() string {
	return fmt.Sprintf("chunk of element %s on %s", k.element, lh.DayStart(k.day).Time().Format(time.DateOnly))
}

// foldRow is a row of a fold.
type foldRow struct {
	store.JournalRow
	keys []chunkKey // the chunks it has samples of
	came []arrival
}

// foldDevice makes chunks of some rows of a device, which is folded up to a number. Rows that cannot be read, and rows
// that belong into a chunk or arrival day that cannot be read, are added to held; the rest goes on without them. It
// returns nil where there is nothing to be stored.
func (e *Engine) foldDevice(ctx context.Context, sc store.Scope, t *tail, rows []store.JournalRow, folded int64, held stuck) (*deviceFold, error) {
	f := &deviceFold{tail: t, DeviceFold: store.DeviceFold{Device: t.device, From: folded, To: folded, Oldest: lh.MillisOf(e.o.Now())}}
	days, err := e.arrivalDays(ctx, sc, rows)
	if err != nil {
		return nil, err
	}
	p := e.partsPool.Get().(*parts)
	defer func() {
		p.memory.chunks = nil
		e.partsPool.Put(p)
	}()
	p.reset()
	good := make([]foldRow, 0, len(rows))
	for _, row := range rows {
		if !row.Held {
			f.To = row.Seq
		}
		if days[arrivalKey{row.Device, row.Received.Day()}] == nil {
			f.hold(&row, held)
			continue
		}
		g := foldRow{JournalRow: row}
		if err := p.collect(&g); err != nil {
			e.problem("journal row "+row.ID.String(), err)
			f.hold(&row, held)
			continue
		}
		good = append(good, g)
	}
	if err := e.ahead(ctx, sc, p); err != nil {
		return nil, err
	}
	broken := map[chunkKey]bool{}
	f.chunks = make([]store.Chunk, 0, len(p.used))
	err = p.each(func(k chunkKey, samples []lh.Sample) error {
		c, err := e.foldChunk(ctx, sc, k, samples, &p.memory)
		if err != nil && (lh.CodeOf(err) != lh.Internal || gone(err)) {
			return err
		}
		if err != nil {
			e.problem(k.String(), err)
			broken[k] = true
			return nil
		}
		e.solved(k)
		f.chunks = append(f.chunks, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(broken) > 0 {
		// The rows that belong into a broken chunk stay, and so what they would have put into others: those are made
		// again from the rest.
		kept := good[:0]
		p.reset()
		for _, g := range good {
			if slices.ContainsFunc(g.keys, func(k chunkKey) bool { return broken[k] }) {
				f.hold(&g.JournalRow, held)
				continue
			}
			if err := p.collect(&g); err != nil {
				return nil, err
			}
			kept = append(kept, g)
		}
		good, f.chunks = kept, f.chunks[:0]
		err := p.each(func(k chunkKey, samples []lh.Sample) error {
			c, err := e.foldChunk(ctx, sc, k, samples, &p.memory)
			f.chunks = append(f.chunks, c)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for i := range good {
		g := &good[i]
		f.Rows, f.Bytes, f.Samples = f.Rows+1, f.Bytes+g.Size, f.Samples+int64(g.Samples)
		if g.Held {
			f.Done = append(f.Done, g.Seq)
		}
		d := days[arrivalKey{g.Device, g.Received.Day()}]
		d.came, d.more = append(d.came, g.came...), d.more || len(g.came) > 0
	}
	if len(good) == 0 && f.To == f.From {
		return nil, nil // nothing but what was stuck already
	}
	f.arrivals, err = e.foldArrivals(days)
	return f, err
}

// hold notes a row that is not taken.
func (f *deviceFold) hold(row *store.JournalRow, held stuck) {
	held[row.ID] = true
	if !row.Held {
		f.Held = append(f.Held, row.Seq)
	}
}

// parts is what a device's rows hold for each chunk. Its memory is used again.
type parts struct {
	by     map[chunkKey]int // index into all
	used   []chunkKey       // by that index
	all    [][]lh.Sample
	last   []lastPart
	upload Upload
	batch  wire.Batch
	memory foldMemory
}

// lastPart is where a channel's samples went last: those of one upload are mostly of one day.
type lastPart struct {
	day  int32
	part int // -1: nowhere yet
}

func newParts() *parts { return &parts{by: map[chunkKey]int{}} }

// maxKeptParts bounds the memory that is kept, in samples.
const maxKeptParts = 1 << 19

func (p *parts) reset() {
	clear(p.by)
	total := 0
	for i := range p.all {
		if total += cap(p.all[i]); total > maxKeptParts {
			p.all = p.all[:i:i]
			break
		}
		p.all[i] = p.all[i][:0]
	}
	p.used = p.used[:0]
}

// collect adds a row's samples and notes in it what it holds.
func (p *parts) collect(g *foldRow) error {
	if g.Err != nil {
		return g.Err
	}
	u := &p.upload
	if err := decodeJournal(u, &p.batch, g.Body); err != nil {
		return err
	}
	g.keys, g.came = nil, arrivalsOf(u)
	p.last = slices.Grow(p.last[:0], len(u.Elements))[:len(u.Elements)]
	for i := range p.last {
		p.last[i].part = -1
	}
	for i := range p.batch.Records {
		r := &p.batch.Records[i]
		rank, day := lh.RankOf(u.Epoch, u.Sequence+uint32(i)), r.Time.Day()
		impossible := r.Time < u.NotBefore || r.Time > u.NotAfter
		for k := range r.Values {
			v := &r.Values[k]
			l := &p.last[v.Channel]
			if l.part < 0 || l.day != day {
				key := chunkKey{u.Elements[v.Channel], day}
				l.day, l.part = day, p.index(key)
				if !slices.Contains(g.keys, key) {
					g.keys = append(g.keys, key)
				}
			}
			flag := v.Flag
			if impossible {
				flag = max(flag, lh.FlagSuspect)
			}
			p.all[l.part] = append(p.all[l.part], lh.Sample{Time: r.Time, Value: v.Value, Flag: flag, Rank: rank})
		}
	}
	return nil
}

func (p *parts) index(k chunkKey) int {
	i, ok := p.by[k]
	if !ok {
		i = len(p.used)
		p.by[k], p.used = i, append(p.used, k)
		if i == len(p.all) {
			p.all = append(p.all, nil)
		}
	}
	return i
}

// each hands fn the samples of each chunk, by day and element: so lie, in the table, the chunks of a day that is over
// beside each other, and those of the day that goes on.
func (p *parts) each(fn func(chunkKey, []lh.Sample) error) error {
	order := make([]int, len(p.used))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(p.used[a].day, p.used[b].day), strings.Compare(string(p.used[a].element), string(p.used[b].element)))
	})
	for _, i := range order {
		if err := fn(p.used[i], p.all[i]); err != nil {
			return err
		}
	}
	return nil
}

// foldMemory is used again from chunk to chunk.
type foldMemory struct {
	stored, merged, lost, late, sorted []lh.Sample
	chunks                             map[chunkKey]store.Chunk // read ahead
}

// readAhead is up to how many chunks of a device are read before the first is folded, with one query an element.
const readAhead = 256

// ahead reads the stored chunks that the parts belong to, where they lie close enough together; else each is read when
// its turn comes.
func (e *Engine) ahead(ctx context.Context, sc store.Scope, p *parts) error {
	m := &p.memory
	m.chunks = nil
	if len(p.used) > readAhead {
		return nil
	}
	type span struct {
		first, last int32
		days        int32
	}
	spans := map[lh.ElementID]*span{}
	for _, k := range p.used {
		if s := spans[k.element]; s == nil {
			spans[k.element] = &span{k.day, k.day, 1}
		} else {
			s.first, s.last, s.days = min(s.first, k.day), max(s.last, k.day), s.days+1
		}
	}
	m.chunks = make(map[chunkKey]store.Chunk, len(p.used))
	for el, s := range spans {
		if s.last-s.first > 2*s.days {
			continue
		}
		for day := s.first; day <= s.last; day++ {
			m.chunks[chunkKey{el, day}] = store.Chunk{Element: el, Day: day}
		}
		err := e.db.Folded(ctx, sc, el, s.first, s.last, func(c store.Chunk) error {
			m.chunks[chunkKey{el, c.Day}] = c
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// foldChunk merges samples of one element and day into the stored chunk, and what loses into its revision.
func (e *Engine) foldChunk(ctx context.Context, sc store.Scope, k chunkKey, samples []lh.Sample, m *foldMemory) (store.Chunk, error) {
	c, there := m.chunks[k]
	if !there {
		c = store.Chunk{Element: k.element, Day: k.day}
		if err := e.db.Folded(ctx, sc, k.element, k.day, k.day, func(got store.Chunk) error { c = got; return nil }); err != nil {
			return c, err
		}
	}
	err := c.Err
	if err != nil {
		return c, err
	}
	m.stored, m.lost = m.stored[:0], m.lost[:0]
	if c.Gen > 0 {
		if m.stored, err = e.codec.decode(m.stored, chunkMagic, k.day, c.Body); err != nil {
			return c, err
		}
	}
	m.merged = merge(m.merged, m.stored, m.normalize(samples), &m.lost)
	if c.Body, err = e.codec.encodeOver(chunkMagic, k.day, m.merged, m.stored, c.Body); err != nil {
		return c, err
	}
	c.Summary = summaryBeside(k.day, m.merged)
	old := c.Revision
	if c.Revision = nil; len(m.lost) > 0 {
		c.Revision, err = e.foldRevision(k, old, m.lost)
	}
	return c, err
}

// normalize is [normalize] for what mostly comes in order: what is late is taken out, sorted by itself, and merged.
func (m *foldMemory) normalize(s []lh.Sample) []lh.Sample {
	m.late = m.late[:0]
	in := s[:0]
	for i := range s {
		if n := len(in); n > 0 && s[i].Time <= in[n-1].Time {
			m.late = append(m.late, s[i])
		} else {
			in = append(in, s[i])
		}
	}
	if len(m.late) == 0 {
		return in
	}
	m.sorted = merge(m.sorted, in, normalize(m.late, &m.lost), &m.lost)
	return m.sorted
}

// foldRevision adds writes that lost to those that lost before. Raw values are never thrown away.
func (e *Engine) foldRevision(k chunkKey, old []byte, lost []lh.Sample) ([]byte, error) {
	var all []lh.Sample
	if old != nil {
		var err error
		if all, err = e.codec.decode(nil, revisionMagic, k.day, old); err != nil {
			return nil, fmt.Errorf("revision of %s: %w", k, err)
		}
	}
	had := len(all)
	all = append(all, lost...)
	slices.SortStableFunc(all, compareWrites)
	all = slices.CompactFunc(all, func(a, b lh.Sample) bool { return a.Time == b.Time && a.Rank == b.Rank })
	if len(all) == had {
		return nil, nil // delivered again; they are on record
	}
	return e.codec.encode(revisionMagic, k.day, all)
}

// revision returns the writes of a day that lost, sorted by time and rank.
func (e *Engine) revision(ctx context.Context, sc store.Scope, k chunkKey) ([]lh.Sample, error) {
	body, err := e.db.Revision(ctx, sc, k.element, k.day)
	if err != nil || body == nil {
		return nil, err
	}
	s, err := e.codec.decode(nil, revisionMagic, k.day, body)
	if err != nil {
		return nil, fmt.Errorf("revision of %s: %w", k, err)
	}
	return s, nil
}

type arrivalKey struct {
	device lh.DeviceID
	day    int32
}

// String names the arrivals for people.
func (k arrivalKey) String() string {
	return fmt.Sprintf("arrivals of device %s on %s", k.device, lh.DayStart(k.day).Time().Format(time.DateOnly))
}

// arrivalsOf tells when the records of an upload came: one arrival, or two where the sequence passes its greatest number.
func arrivalsOf(u *Upload) []arrival {
	n := uint32(len(u.Batch.Records))
	if n == 0 {
		return nil
	}
	if left := -u.Sequence; left != 0 && left < n {
		return []arrival{{u.Epoch, u.Sequence, left, u.Received}, {u.Epoch, 0, n - left, u.Received}}
	}
	return []arrival{{u.Epoch, u.Sequence, n, u.Received}}
}

// arrivalDay is what is on record of an arrival day, and what a fold adds.
type arrivalDay struct {
	store.ArrivalDay
	came []arrival
	more bool
}

// arrivalDays reads those that some rows belong to. One that cannot be read is left out.
func (e *Engine) arrivalDays(ctx context.Context, sc store.Scope, rows []store.JournalRow) (map[arrivalKey]*arrivalDay, error) {
	days := map[arrivalKey]*arrivalDay{}
	for i := range rows {
		k := arrivalKey{rows[i].Device, rows[i].Received.Day()}
		if _, done := days[k]; done {
			continue
		}
		days[k] = nil
		d := &arrivalDay{}
		var err error
		if d.ArrivalDay, err = e.db.ArrivalDay(ctx, sc, k.device, k.day); err == nil && d.Gen > 0 {
			d.came, err = e.codec.decodeArrivals(nil, k.day, d.Body)
		}
		if err != nil && (lh.CodeOf(err) != lh.Internal || gone(err)) {
			return nil, err
		}
		if err != nil {
			e.problem(k.String(), err)
			continue
		}
		e.solved(k)
		days[k] = d
	}
	return days, nil
}

// foldArrivals writes the arrival days to which there is something to add.
func (e *Engine) foldArrivals(days map[arrivalKey]*arrivalDay) ([]store.ArrivalDay, error) {
	var out []store.ArrivalDay
	for k, d := range days {
		if d == nil || !d.more {
			continue
		}
		var err error
		if d.Body, d.Min, d.Max, err = e.codec.encodeArrivals(k.day, d.came); err != nil {
			return nil, err
		}
		out = append(out, d.ArrivalDay)
	}
	// One order for everybody, as with the chunks.
	slices.SortFunc(out, func(a, b store.ArrivalDay) int {
		return cmp.Or(strings.Compare(string(a.Device), string(b.Device)), cmp.Compare(a.Day, b.Day))
	})
	return out, nil
}
