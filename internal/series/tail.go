package series

import (
	"cmp"
	"context"
	"slices"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// tailKey names a device.
type tailKey struct {
	project lh.ProjectID
	device  lh.DeviceID
}

// tail is what of one device waits for a fold: how much, as far as is known, and its newest uploads themselves, so that a
// fold need not read back what this hub has just stored. The journal is what holds; a tail that does not fit it is
// forgotten and read.
type tail struct {
	tailKey
	count, held, bytes int64
	oldest             lh.Millis
	folded             int64              // up to this number the journal is folded; unknown where negative
	next               int64              // number of the next upload
	rows               []store.JournalRow // numbered without a gap, up to next-1
	until              int64              // the running fold takes what is numbered below
}

// committed adds what AppendJournal has stored to the tails, and reports whether something is due now.
func (e *Engine) committed(rows []store.JournalAppend) (due bool) {
	e.tailsMu.Lock()
	defer e.tailsMu.Unlock()
	for i := range rows {
		r := &rows[i]
		k := tailKey{r.Scope.Project(), r.Device}
		t := e.tails[k]
		if t == nil {
			t = &tail{tailKey: k, folded: -1, next: r.Seq}
			if r.Seq == 1 {
				t.folded = 0
			}
			e.tails[k] = t
		}
		if t.count == 0 {
			t.oldest = r.Received
		}
		t.count, t.bytes = t.count+1, t.bytes+r.Size
		if r.Seq != t.next || e.kept > e.o.FoldWaiting+e.o.FoldWaiting/8 {
			e.drop(t) // another hub stores for the device, or folds do not keep up: they read the journal
		} else {
			t.rows = append(t.rows, store.JournalRow{ID: r.ID, Device: r.Device, Seq: r.Seq, Received: r.Received, Samples: r.Samples, Size: r.Size, Body: r.Body})
			e.kept += int64(len(r.Body))
		}
		t.next = r.Seq + 1
		due = due || e.full(t)
	}
	return due || e.backlog.Load() > e.o.FoldWaiting
}

// drop forgets a tail's rows. The lock is held.
func (e *Engine) drop(t *tail) {
	for i := range t.rows {
		e.kept -= int64(len(t.rows[i].Body))
	}
	t.rows = nil
}

// full reports whether a device has so much waiting that it is to be folded. The lock is held.
func (e *Engine) full(t *tail) bool {
	return t.count-t.held >= e.o.FoldRows || t.bytes >= e.o.FoldBytes && t.count > t.held
}

// look takes from the journal what waits there: after a start, and from other hubs.
func (e *Engine) look(ctx context.Context) error {
	ws, err := e.db.Waiting(ctx)
	if err != nil {
		return err
	}
	e.tailsMu.Lock()
	defer e.tailsMu.Unlock()
	found := make(map[tailKey]bool, len(ws))
	var waiting int64
	for i := range ws {
		w := &ws[i]
		k := tailKey{w.Project, w.Device}
		found[k] = true
		t := e.tails[k]
		if t == nil {
			t = &tail{tailKey: k}
			e.tails[k] = t
		}
		if t.next > w.Next { // an upload came while this was read
			w.Rows, w.Bytes = max(w.Rows, t.count), max(w.Bytes, t.bytes)
		} else if t.next < w.Next {
			e.drop(t)
			t.next = w.Next
		}
		if w.Held() == w.Rows && t.held == w.Rows {
			w.Oldest = max(w.Oldest, t.oldest) // tried again then, and not before
		}
		t.count, t.bytes, t.held, t.oldest, t.folded = w.Rows, w.Bytes, w.Held(), w.Oldest, w.Folded
		waiting += t.bytes
	}
	for k, t := range e.tails {
		if !found[k] && len(t.rows) == 0 {
			delete(e.tails, k)
		} else if !found[k] {
			waiting += t.bytes
		}
	}
	e.backlog.Store(waiting)
	return nil
}

// due returns the tails to be folded now, by project and device: all, or those that are full or old, and the longest
// where too much waits in all.
func (e *Engine) due(all bool, only lh.ProjectID) []*tail {
	e.tailsMu.Lock()
	defer e.tailsMu.Unlock()
	now := lh.MillisOf(e.o.Now())
	var ts, others []*tail
	var left int64
	for _, t := range e.tails {
		if t.count == 0 || only != "" && t.project != only {
			continue
		}
		t.until = t.next
		if all || e.full(t) || int64(now-t.oldest) >= e.o.FoldAge.Milliseconds() {
			ts = append(ts, t)
		} else {
			others, left = append(others, t), left+t.bytes
		}
	}
	if left > e.o.FoldWaiting-e.o.FoldWaiting/4 && e.backlog.Load() > e.o.FoldWaiting {
		slices.SortFunc(others, func(a, b *tail) int { return cmp.Compare(b.bytes, a.bytes) })
		for _, t := range others {
			if left < e.o.FoldWaiting-e.o.FoldWaiting/4 {
				break
			}
			ts, left = append(ts, t), left-t.bytes
		}
	}
	slices.SortFunc(ts, func(a, b *tail) int {
		return cmp.Or(cmp.Compare(a.project, b.project), cmp.Compare(a.device, b.device))
	})
	return ts
}

// take returns a tail's first rows, about so many bytes and at least one, none of those in without: from memory where
// they are, else from the journal. more says that there are others below until.
func (e *Engine) take(ctx context.Context, sc store.Scope, t *tail, most int64, without stuck) (rows []store.JournalRow, folded int64, more bool, err error) {
	e.tailsMu.Lock()
	if t.held == 0 && len(t.rows) > 0 && t.folded >= 0 && t.rows[0].Seq == t.folded+1 {
		var size int64
		n := 0
		for ; n < len(t.rows) && (n == 0 || size+int64(len(t.rows[n].Body)) <= most); n++ {
			size += int64(len(t.rows[n].Body)) + rowCost
		}
		rows, folded, more = slices.Clone(t.rows[:n]), t.folded, n < len(t.rows) && t.rows[n].Seq < t.until
		e.tailsMu.Unlock()
		return rows, folded, more, nil
	}
	until := t.until
	e.tailsMu.Unlock()
	rows, folded, more, err = e.db.Unfolded(ctx, sc, t.device, most, without)
	e.readBack.Add(float64(len(rows)))
	if more && rows[len(rows)-1].Seq+1 >= until {
		more = false
	}
	return rows, folded, more, err
}

// rowCost is as store counts it.
const rowCost = 256

// settle notes that a tail is folded up to a number.
func (e *Engine) settle(t *tail, f *store.DeviceFold) {
	e.tailsMu.Lock()
	defer e.tailsMu.Unlock()
	n := 0
	for n < len(t.rows) && t.rows[n].Seq <= f.To {
		e.kept -= int64(len(t.rows[n].Body))
		n++
	}
	t.rows = slices.Delete(t.rows, 0, n)
	if t.next <= f.To {
		t.next = f.To + 1
	}
	t.count, t.bytes, t.folded = max(t.count-f.Rows, 0), max(t.bytes-f.Bytes, 0), f.To
	t.held += int64(len(f.Held)) - int64(len(f.Done))
	t.oldest = f.Oldest
	e.backlog.Add(-f.Bytes)
	e.dead.Add(f.Bytes)
}

// forget has the next fold of a tail read the journal: it has been folded elsewhere, or is stuck.
func (e *Engine) forget(t *tail) {
	e.tailsMu.Lock()
	defer e.tailsMu.Unlock()
	e.drop(t)
	t.folded, t.oldest = -1, lh.MillisOf(e.o.Now())
}

// lookEvery is how often a hub looks for what others have stored.
const lookEvery = time.Second
