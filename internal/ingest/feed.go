package ingest

import (
	"sync"
	"sync/atomic"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// feed hands events to whoever listens to a project. It never waits for a listener: one that is slow loses events and
// is told that it did.
type feed struct {
	mu   sync.RWMutex
	subs map[lh.ProjectID]map[*subscription]bool
}

type subscription struct {
	events chan Event
	lost   atomic.Bool
}

// Subscribe listens to a project's uploads, with room for buffer events. missed reports, once each time, that events
// were lost since it was last asked. cancel ends the subscription; events is not closed.
func (i *Ingest) Subscribe(p lh.ProjectID, buffer int) (events <-chan Event, missed func() bool, cancel func()) {
	f := &i.feed
	s := &subscription{events: make(chan Event, max(buffer, 1))}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.subs == nil {
		f.subs = map[lh.ProjectID]map[*subscription]bool{}
	}
	if f.subs[p] == nil {
		f.subs[p] = map[*subscription]bool{}
	}
	f.subs[p][s] = true
	return s.events, func() bool { return s.lost.Swap(false) }, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.subs[p], s)
		if len(f.subs[p]) == 0 {
			delete(f.subs, p)
		}
	}
}

// listening reports whether anybody listens to a project.
func (f *feed) listening(p lh.ProjectID) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return len(f.subs[p]) > 0
}

func (f *feed) publish(e Event) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for s := range f.subs[e.Project] {
		select {
		case s.events <- e:
		default:
			s.lost.Store(true)
		}
	}
}
