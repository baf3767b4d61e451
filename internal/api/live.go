package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

type liveInput struct {
	ProjectPath
	DeviceID lh.DeviceID    `query:"device_id" maxLength:"40"`
	Elements []lh.ElementID `query:"elements" maxItems:"1000" doc:"Ids, by commas; none is all"`
}

// LiveSample is the data of a sample event.
type LiveSample struct {
	ElementID lh.ElementID `json:"element_id"`
	Time      lh.Millis    `json:"time"`
	Value     float64      `json:"value"`
	Flag      lh.Flag      `json:"flag"`
}

// LiveDevice is the data of a device event.
type LiveDevice struct {
	ID       lh.DeviceID `json:"id"`
	Online   bool        `json:"online"`
	LastSeen lh.Millis   `json:"last_seen"`
}

const (
	livePing   = 15 * time.Second
	liveBuffer = 256
)

func streamLive(a *API, ctx context.Context, sc store.Scope, in *liveInput) (*huma.StreamResponse, error) {
	p := principal(ctx)
	leave, err := a.streams.enter(p.Actor().ID)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		defer leave()
		r, w := humago.Unwrap(c)
		s := &liveStream{api: a, scope: sc, principal: p, in: in, asked: map[lh.ElementID]bool{}, w: w, ctl: http.NewResponseController(w),
			devices: map[lh.DeviceID]LiveDevice{}}
		for _, id := range in.Elements {
			s.asked[id] = true
		}
		err := s.run(r.Context())
		if err != nil && !s.begun {
			problemOf(a.Log, r, err).write(w)
			return
		}
		if err != nil && r.Context().Err() == nil && lh.CodeOf(err) == lh.Internal {
			a.Log.ErrorContext(r.Context(), "live stream ended", "project", sc.Project(), "err", err)
		}
	}}, nil
}

// streams counts the open live streams. Each takes memory and a connection, so they are bounded, and nobody can take all
// of them.
type streams struct {
	mu           sync.Mutex
	most, ofUser int // at once
	open         int
	by           map[string]int // principal
}

// enter takes a place, which leave gives back. Exhausted: there is none.
func (s *streams) enter(u string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= s.most {
		return nil, lh.Errorf(lh.Exhausted, "too many live streams are open on this hub; try again later")
	}
	if s.by[u] >= s.ofUser {
		return nil, lh.Errorf(lh.Exhausted, "you have %d live streams open; close some", s.by[u])
	}
	s.open++
	s.by[u]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open--
		if s.by[u]--; s.by[u] == 0 {
			delete(s.by, u)
		}
	}, nil
}

func (s *streams) count() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(s.open)
}

// liveStream is one reader's stream; the goroutine of its request owns it.
type liveStream struct {
	api       *API
	scope     store.Scope
	principal access.Principal
	in        *liveInput
	asked     map[lh.ElementID]bool // none is all
	wanted    map[lh.ElementID]bool // those asked for and seen
	sight     *sight                // what was last looked at; nil before
	w         http.ResponseWriter
	ctl       *http.ResponseController
	devices   map[lh.DeviceID]LiveDevice // as last told
	begun     bool
}

func (s *liveStream) run(ctx context.Context) error {
	events, missed, cancel := s.api.Subscribe(s.scope.Project(), liveBuffer)
	defer cancel()
	l, done := s.api.watches.listen(s.principal, s.scope)
	defer done()
	// What is seen is known before the first word: what comes in after that is told.
	select {
	case u := <-l.updates:
		s.look(u)
	case <-l.gone:
		return l.err
	case <-ctx.Done():
		return nil
	case <-s.api.closing.Done():
		return nil
	}
	s.begun = true
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	if err := s.send(": loggerhead\n\n"); err != nil {
		return err
	}
	if err := s.sendDevices(); err != nil {
		return err
	}
	ping := time.NewTicker(livePing)
	defer ping.Stop()
	for {
		// What a reader may see goes before what there is to see.
		var err error
		select {
		case <-l.gone:
			return l.err
		case u := <-l.updates:
			if err := s.update(u); err != nil {
				return err
			}
			continue
		default:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.api.closing.Done():
			return nil
		case <-l.gone:
			return l.err
		case u := <-l.updates:
			err = s.update(u)
		case e, ok := <-events:
			if !ok {
				return nil
			}
			if missed() {
				err = s.event("resync", struct{}{})
			}
			for _, l := range e.Samples {
				if err == nil && s.wanted[l.Element] {
					s.api.Access.Count(s.principal, classLive, 0, 1)
					err = s.event("sample", LiveSample{l.Element, l.Sample.Time, l.Sample.Value, l.Sample.Flag})
				}
			}
		case <-ping.C:
			s.api.Access.InUse(ctx, s.principal)
			err = s.send(": ping\n\n")
		}
		if err != nil {
			return err
		}
	}
}

// look takes over what the reader may see now, and reports whether elements are among it that were not.
func (s *liveStream) look(u update) (grown bool) {
	s.scope, s.sight = u.scope, u.sight
	wanted := map[lh.ElementID]bool{}
	for _, e := range u.sight.elements {
		if s.scope.Sees(e.Location) && (s.in.DeviceID == "" || e.Device == s.in.DeviceID) && (len(s.asked) == 0 || s.asked[e.ID]) {
			wanted[e.ID] = true
			grown = grown || !s.wanted[e.ID]
		}
	}
	s.wanted = wanted
	return grown
}

// update takes over what the reader may see now. The reader of an element that came is told to read again: what it told
// before this look was left out.
func (s *liveStream) update(u update) error {
	if u.sight == s.sight && u.scope.Same(s.scope) {
		s.scope = u.scope
		return nil
	}
	if s.look(u) {
		if err := s.event("resync", struct{}{}); err != nil {
			return err
		}
	}
	return s.sendDevices()
}

// sendDevices tells each device whose state changed since it was last told.
func (s *liveStream) sendDevices() error {
	for _, d := range s.sight.devices {
		if !s.scope.Sees(d.location) || s.in.DeviceID != "" && d.ID != s.in.DeviceID || s.devices[d.ID] == d.LiveDevice {
			continue
		}
		s.devices[d.ID] = d.LiveDevice
		if err := s.event("device", d.LiveDevice); err != nil {
			return err
		}
	}
	return nil
}

func (s *liveStream) event(name string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return s.send(fmt.Sprintf("event: %s\ndata: %s\n\n", name, b))
}

func (s *liveStream) send(text string) error {
	if err := s.ctl.SetWriteDeadline(time.Now().Add(s.api.stall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return lh.Hide(lh.Unavailable, err, "the reader is gone")
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return lh.Hide(lh.Unavailable, err, "the reader is gone")
	}
	if err := s.ctl.Flush(); err != nil {
		return lh.Hide(lh.Unavailable, err, "the reader is gone")
	}
	return nil
}
