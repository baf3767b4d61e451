package api

import (
	"context"
	"slices"
	"sync"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

const (
	// watchEvery is how often it is asked again who may still listen: whoever may not hears nothing more within a second.
	watchEvery = 500 * time.Millisecond
	// watchDevices is how often device states are compared.
	watchDevices = 2 * time.Second
	// watchTime bounds one look. One that takes longer has failed.
	watchTime = 2 * time.Second
)

// watches look after what people and programs listen to for long: one watch for each project that anybody listens to.
type watches struct {
	api *API
	mu  sync.Mutex
	by  map[lh.ProjectID]*watch
}

// watch looks after the listeners of one project with one goroutine, so that the database is asked the same few questions
// whether one listens or a thousand do.
type watch struct {
	api     *API
	project lh.ProjectID
	poke    chan struct{} // asks for a look at once
	stop    context.CancelFunc

	// Of watches.mu.
	listeners map[*listener]bool
	seen      *sight // at the last look; nil before the first
	at        time.Time

	// Of the goroutine alone.
	audited int64 // number of the newest audit event when the project's things were read; 0 is never
	devices []lh.Device
	shown   *sight
	stated  time.Time // when the states were last compared
}

// sight is what is in a project, whoever sees it. It is never changed.
type sight struct {
	elements []lh.Element
	devices  []sighted
}

type sighted struct {
	LiveDevice
	location lh.LocationID
}

// listener is one who listens.
type listener struct {
	principal access.Principal
	updates   chan update   // the newest; who is slow misses those before
	gone      chan struct{} // closed when it may listen no longer
	err       error         // then: why
}

// update is what a listener may see from now on.
type update struct {
	scope store.Scope
	sight *sight
}

// listen begins to look after somebody who may read a project now, by scope. done ends it.
func (ws *watches) listen(p access.Principal, sc store.Scope) (l *listener, done func()) {
	l = &listener{principal: p, updates: make(chan update, 1), gone: make(chan struct{})}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.by[sc.Project()]
	if w == nil {
		ctx, stop := context.WithCancel(context.Background())
		w = &watch{api: ws.api, project: sc.Project(), poke: make(chan struct{}, 1), stop: stop, listeners: map[*listener]bool{}}
		ws.by[sc.Project()] = w
		go w.run(ctx, ws)
	}
	w.listeners[l] = true
	if w.seen != nil && time.Since(w.at) < watchEvery {
		l.updates <- update{sc, w.seen}
	} else {
		w.look()
	}
	return l, func() {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		if delete(w.listeners, l); len(w.listeners) == 0 && ws.by[w.project] == w {
			delete(ws.by, w.project)
			w.stop()
		}
	}
}

// look asks for a look at once; several who ask get one.
func (w *watch) look() {
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

func (w *watch) run(ctx context.Context, ws *watches) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.poke:
		}
		ws.mu.Lock()
		ls := make([]*listener, 0, len(w.listeners))
		for l := range w.listeners {
			ls = append(ls, l)
		}
		ws.mu.Unlock()
		started := time.Now()
		checked, s, err := w.check(ctx, ls)
		w.api.looks.Observe(time.Since(started).Seconds())
		if ctx.Err() != nil {
			return
		}
		if err != nil && lh.CodeOf(err) != lh.NotFound {
			w.api.Log.ErrorContext(ctx, "live streams end: who may listen could not be asked", "project", w.project, "streams", len(ls), "err", err)
		}
		ws.mu.Lock()
		if err == nil {
			w.seen, w.at = s, started
		}
		for i, l := range ls {
			if !w.listeners[l] {
				continue // has left
			}
			switch {
			case err != nil:
				w.end(l, err)
			case checked[i].Err != nil:
				w.end(l, checked[i].Err)
			case !checked[i].Scope.Allows(lh.PermRead):
				w.end(l, lh.Errorf(lh.Forbidden, "this role may not read"))
			default:
				select { // what it has not taken yet is out of date
				case <-l.updates:
				default:
				}
				l.updates <- update{checked[i].Scope, s}
			}
		}
		ws.mu.Unlock()
	}
}

// end tells a listener that it may listen no longer. The caller has the lock.
func (w *watch) end(l *listener, err error) {
	delete(w.listeners, l)
	l.err = err
	close(l.gone)
}

// check asks who of the listeners may still listen, and what there is to see.
func (w *watch) check(ctx context.Context, ls []*listener) ([]access.Rechecked, *sight, error) {
	ctx, cancel := context.WithTimeout(ctx, watchTime)
	defer cancel()
	ps := make([]access.Principal, len(ls))
	for i, l := range ls {
		ps[i] = l.principal
	}
	checked, err := w.api.Access.Recheck(ctx, w.project, ps)
	if err != nil {
		return nil, nil, err
	}
	s, err := w.sightNow(ctx)
	return checked, s, err
}

// sightNow returns what is in the project. What is sealed is opened only when something was changed; states of devices are
// compared from time to time.
func (w *watch) sightNow(ctx context.Context) (*sight, error) {
	sc, db := w.api.Access.Hub(w.project), w.api.DB
	n, err := db.AuditNumber(ctx, sc)
	if err != nil {
		return nil, err
	}
	if n == w.audited && w.shown != nil && time.Since(w.stated) < watchDevices {
		return w.shown, nil
	}
	s, audited := &sight{}, w.audited
	if n == w.audited && w.shown != nil {
		s.elements = w.shown.elements
		seen, err := db.LastSeen(ctx, sc)
		if err != nil {
			return nil, err
		}
		for i, d := range w.devices {
			w.devices[i].LastSeen = seen[d.ID]
		}
	} else {
		if w.devices, err = db.Devices(ctx, sc); err != nil {
			return nil, err
		}
		if s.elements, err = db.Elements(ctx, sc); err != nil {
			return nil, err
		}
		w.audited = n
	}
	now := lh.MillisOf(w.api.Now())
	s.devices = make([]sighted, len(w.devices))
	for i, d := range w.devices {
		s.devices[i] = sighted{LiveDevice{d.ID, d.Online(now) && d.State == lh.DeviceEnrolled, d.LastSeen}, d.Location}
	}
	w.stated = time.Now()
	if w.shown == nil || n != audited || !slices.Equal(s.devices, w.shown.devices) {
		w.shown = s
	}
	return w.shown, nil
}
