package series

import (
	"context"
	"errors"
	"slices"
	"sync"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// How a stream hands over the samples of days that are shown as they are stored.
type form uint8

const (
	asSamples   form = iota
	asValues         // columns
	asMantissas      // columns, of decimal values the mantissas
)

// Bounds of what is read with one query, and so of what is open at a time.
const (
	streamDays    = 64
	streamSamples = 16 // days, where they are handed over as samples: those take four times the memory
	streamBytes   = 1 << 20
)

// slot is a day on its way to who asked. Who holds the mutex opens it: the one who asked, or a helper before that.
type slot struct {
	day
	chunk store.ClosedChunk // where stored is set

	mu      sync.Mutex
	opened  bool
	cols    *columns    // of all of the day; nil where only view can tell
	samples []lh.Sample // likewise
	err     error
}

// stream yields the days of a reader in batches, ascending. The journal was read before it.
type stream struct {
	r     *reader
	form  form
	next  int32 // the first day that is not read yet
	last  int32
	extra []int32 // days that may have no chunk: unfolded samples, or a fill; ascending
	only  []day   // the only days that are wanted, ascending; nil is all
	// enough, if set, may take a block of a dense day by its summary, and then returns true.
	enough func(*summary) bool
}

var errFull = errors.New("enough")

// batch reads some days; none is the end.
func (s *stream) batch(ctx context.Context) ([]*slot, error) {
	var slots []*slot
	for len(slots) == 0 && s.next <= s.last {
		most, size := streamDays, 0
		if s.form == asSamples {
			most = streamSamples
		}
		upto := s.last
		err := s.r.e.db.ClosedChunks(ctx, s.r.sc, s.r.el.ID, s.next, s.last, func(c store.ClosedChunk) error {
			if len(slots) == most || size > streamBytes {
				upto = slots[len(slots)-1].number
				return errFull
			}
			if s.only != nil {
				if _, found := slices.BinarySearchFunc(s.only, c.Day, func(d day, n int32) int { return int(d.number) - int(n) }); !found {
					return nil
				}
			}
			size += c.Size()
			slots = append(slots, &slot{day: s.r.dayOf(c.Day, true), chunk: c})
			return nil
		})
		if err != nil && !errors.Is(err, errFull) {
			return nil, err
		}
		stored := len(slots)
		for len(s.extra) > 0 && s.extra[0] <= upto {
			if _, found := slices.BinarySearchFunc(slots[:stored], s.extra[0], func(x *slot, n int32) int { return int(x.number) - int(n) }); !found {
				slots = append(slots, &slot{day: s.r.dayOf(s.extra[0], false)})
			}
			s.extra = s.extra[1:]
		}
		if len(slots) > stored {
			slices.SortFunc(slots, func(a, b *slot) int { return int(a.number) - int(b.number) })
		}
		s.next = upto + 1
		if upto == s.last {
			break
		}
	}
	return slots, nil
}

// piece is the samples of a day, or of a part of it: columns, or else samples.
type piece struct {
	cols    *columns
	samples []lh.Sample
}

// each hands fn all pieces in order; fn must not keep them. While fn works, a helper, if one is free, reads the next
// days and opens some ahead. No query is open while fn works: a slow receiver holds up nobody.
func (s *stream) each(ctx context.Context, fn func(piece) error) error {
	e := s.r.e
	batch, err := s.batch(ctx)
	for err == nil && len(batch) > 0 {
		var next []*slot
		var nextErr error
		var helping sync.WaitGroup
		helped := s.next <= s.last || len(batch) > 3
		if helped {
			select {
			case e.codec.helpers <- struct{}{}:
				helping.Go(func() {
					defer func() { <-e.codec.helpers }()
					next, nextErr = s.batch(ctx)
					for _, x := range batch {
						if x.mu.TryLock() {
							s.open(x)
							x.mu.Unlock()
						}
					}
				})
			default:
				helped = false
			}
		}
		err = s.deliver(ctx, batch, fn)
		if err != nil {
			for _, x := range batch { // the helper need not go on
				x.mu.Lock()
				x.opened = true
				x.mu.Unlock()
			}
		}
		helping.Wait()
		if err == nil && !helped {
			next, nextErr = s.batch(ctx)
		}
		if batch = next; err == nil {
			err = nextErr
		}
	}
	return err
}

func (s *stream) deliver(ctx context.Context, batch []*slot, fn func(piece) error) error {
	ahead := 0
	for i, x := range batch {
		for ahead = max(ahead, i+1); !x.mu.TryLock(); ahead++ {
			// A helper is at it: meanwhile one of the next.
			if ahead == len(batch) {
				x.mu.Lock()
				break
			}
			if y := batch[ahead]; y.mu.TryLock() {
				s.open(y)
				y.mu.Unlock()
			}
		}
		s.open(x)
		x.mu.Unlock()
		if err := s.hand(ctx, x, fn); err != nil {
			return err
		}
	}
	return nil
}

// open opens a day that is shown as it is stored, if its chunk is one block.
func (s *stream) open(x *slot) {
	if x.opened {
		return
	}
	x.opened = true
	if !x.straight() || s.form != asSamples && !s.r.covers(x.number) {
		return
	}
	body, err := x.chunk.Body()
	if err != nil {
		x.err = err
		return
	}
	var few [1]block
	blocks, err := blocksOf(few[:0], chunkMagic, body)
	if err != nil || len(blocks) != 1 {
		return // dense, of another version or damaged: hand sees to it
	}
	c := s.r.e.codec
	w, cols := c.work(), c.columns()
	defer c.works.Put(w)
	what := w.readBlock(cols, x.number, blocks[0].body, s.form == asMantissas, false)
	if what == "" && s.form == asSamples {
		x.samples, what = w.appendSamples(c.samples(), cols, false)
		c.cols.Put(cols)
		cols = nil
	}
	if what != "" {
		x.err = damaged(what)
		return
	}
	x.cols = cols
}

// hand gives fn the samples of an opened slot.
func (s *stream) hand(ctx context.Context, x *slot, fn func(piece) error) error {
	r := s.r
	if x.err != nil {
		return r.e.unreadable(chunkKey{r.el.ID, x.number}, x.err)
	}
	if x.cols != nil {
		err := fn(piece{cols: x.cols})
		r.e.codec.cols.Put(x.cols)
		x.cols = nil
		return err
	}
	if x.samples != nil {
		err := fn(piece{samples: clip(x.samples, r.from, r.to)})
		r.e.codec.keep(x.samples)
		x.samples = nil
		return err
	}
	var body []byte
	if x.stored {
		var err error
		if body, err = x.chunk.Body(); err != nil {
			return r.e.unreadable(chunkKey{r.el.ID, x.number}, err)
		}
	}
	if x.straight() {
		return s.eachBlock(x.number, body, fn)
	}
	samples, err := r.view(ctx, &x.day, body, r.e.codec.samples())
	if err == nil {
		err = fn(piece{samples: samples})
	}
	r.e.codec.keep(samples)
	return err
}

// eachBlock hands fn the blocks of a chunk that is shown as it is stored, one after the other, those outside the range
// left closed.
func (s *stream) eachBlock(day int32, body []byte, fn func(piece) error) error {
	r, f := s.r, s.form
	c := r.e.codec
	if version1(body) {
		samples, err := c.decode(c.samples(), chunkMagic, day, body)
		if err != nil {
			return r.e.unreadable(chunkKey{r.el.ID, day}, err)
		}
		defer c.keep(samples)
		return fn(piece{samples: clip(samples, r.from, r.to)})
	}
	blocks, err := blocksOf(nil, chunkMagic, body)
	if err != nil {
		return r.e.unreadable(chunkKey{r.el.ID, day}, err)
	}
	w, cols := c.work(), c.columns()
	samples := c.samples()
	defer func() { c.works.Put(w); c.cols.Put(cols); c.keep(samples) }()
	until := lh.DayStart(day) - 1
	for i := range blocks {
		if blocks[i].summary != nil {
			sum, err := decodeSummary(day, blocks[i].summary)
			if err != nil {
				return r.e.unreadable(chunkKey{r.el.ID, day}, err)
			}
			if sum.first.Time >= r.to || sum.last.Time < r.from {
				continue
			}
			if s.enough != nil && sum.first.Time > until && sum.first.Time >= r.from && sum.last.Time < r.to && s.enough(&sum) {
				until = sum.last.Time
				continue
			}
		}
		what := w.readBlock(cols, day, blocks[i].body, f == asMantissas, false)
		if what == "" && cols.first <= until {
			what = "times"
		}
		if what != "" {
			return r.e.unreadable(chunkKey{r.el.ID, day}, damaged(what))
		}
		until = cols.last()
		if f != asSamples && cols.first >= r.from && until < r.to {
			if err := fn(piece{cols: cols}); err != nil {
				return err
			}
			continue
		}
		cols.settle()
		if samples, what = w.appendSamples(samples[:0], cols, false); what != "" {
			return r.e.unreadable(chunkKey{r.el.ID, day}, damaged(what))
		}
		if err := fn(piece{samples: clip(samples, r.from, r.to)}); err != nil {
			return err
		}
	}
	return nil
}
