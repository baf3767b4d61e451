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
	// liveCheck is how often a stream asks again whether its reader still may.
	liveCheck = time.Second
	// liveDevices is how often device states are compared.
	liveDevices = 2 * time.Second
)

func streamLive(a *API, ctx context.Context, sc store.Scope, in *liveInput) (*huma.StreamResponse, error) {
	wanted, err := a.wantedElements(ctx, sc, in)
	if err != nil {
		return nil, err
	}
	p := principal(ctx)
	leave, err := a.streams.enter(p.Actor().ID)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(c huma.Context) {
		defer leave()
		r, w := humago.Unwrap(c)
		s := &liveStream{api: a, scope: sc, principal: p, in: in, wanted: wanted, w: w, ctl: http.NewResponseController(w),
			devices: map[lh.DeviceID]LiveDevice{}}
		if err := s.run(r.Context()); err != nil && r.Context().Err() == nil && lh.CodeOf(err) == lh.Internal {
			a.Log.ErrorContext(r.Context(), "live stream ended", "project", sc.Project(), "err", err)
		}
	}}, nil
}

// streams counts the open live streams. Each costs the hub some queries a second, so they are bounded, and nobody can take
// all of them.
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

// wantedElements returns the elements a stream shows: those asked for and seen.
func (a *API) wantedElements(ctx context.Context, sc store.Scope, in *liveInput) (map[lh.ElementID]bool, error) {
	es, err := a.DB.Elements(ctx, sc)
	if err != nil {
		return nil, err
	}
	asked := map[lh.ElementID]bool{}
	for _, id := range in.Elements {
		asked[id] = true
	}
	wanted := map[lh.ElementID]bool{}
	for _, e := range es {
		if (in.DeviceID == "" || e.Device == in.DeviceID) && (len(asked) == 0 || asked[e.ID]) {
			wanted[e.ID] = true
		}
	}
	return wanted, nil
}

// liveStream is one reader's stream; the goroutine of its request owns it.
type liveStream struct {
	api       *API
	scope     store.Scope
	principal access.Principal
	in        *liveInput
	wanted    map[lh.ElementID]bool
	w         http.ResponseWriter
	ctl       *http.ResponseController
	devices   map[lh.DeviceID]LiveDevice
}

func (s *liveStream) run(ctx context.Context) error {
	events, missed, cancel := s.api.Subscribe(s.scope.Project(), liveBuffer)
	defer cancel()
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	if err := s.send(": loggerhead\n\n"); err != nil {
		return err
	}
	if err := s.sendDevices(ctx); err != nil {
		return err
	}
	ping, check, devices := time.NewTicker(livePing), time.NewTicker(liveCheck), time.NewTicker(liveDevices)
	defer ping.Stop()
	defer check.Stop()
	defer devices.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-s.api.closing.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return nil
			}
			if missed() {
				err = s.event("resync", struct{}{})
			}
			for _, l := range e.Samples {
				if err == nil && s.wanted[l.Element] {
					err = s.event("sample", LiveSample{l.Element, l.Sample.Time, l.Sample.Value, l.Sample.Flag})
				}
			}
		case <-ping.C:
			err = s.send(": ping\n\n")
		case <-check.C:
			err = s.mayStill(ctx)
		case <-devices.C:
			err = s.sendDevices(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// mayStill ends the stream of somebody who logged out, was removed or got another role or other locations.
func (s *liveStream) mayStill(ctx context.Context) error {
	if err := s.api.Access.StillIn(ctx, s.principal); err != nil {
		return err
	}
	sc, err := s.api.Access.Scope(ctx, s.principal, s.scope.Project())
	if err != nil {
		return err
	}
	if !sc.Allows(lh.PermRead) {
		return lh.Errorf(lh.Forbidden, "this role may not read")
	}
	s.scope = sc
	return nil
}

// sendDevices tells each device whose state changed since it was last told, and notices elements that came or went; the
// reader of one that came is told to read again.
func (s *liveStream) sendDevices(ctx context.Context) error {
	ds, err := s.api.DB.Devices(ctx, s.scope)
	if err != nil {
		return err
	}
	wanted, err := s.api.wantedElements(ctx, s.scope, s.in)
	if err != nil {
		return err
	}
	grown := false
	for id := range wanted {
		grown = grown || !s.wanted[id]
	}
	if s.wanted = wanted; grown { // what an element told before this look was left out
		if err := s.event("resync", struct{}{}); err != nil {
			return err
		}
	}
	now := lh.MillisOf(s.api.Now())
	for _, d := range ds {
		if s.in.DeviceID != "" && d.ID != s.in.DeviceID {
			continue
		}
		state := LiveDevice{d.ID, d.Online(now) && d.State == lh.DeviceEnrolled, d.LastSeen}
		if s.devices[d.ID] == state {
			continue
		}
		s.devices[d.ID] = state
		if err := s.event("device", state); err != nil {
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
