package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
	"github.com/loggerhead-cloud/loggerhead/internal/ingest"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/store/storetest"
)

// How long the machine of a test may take: to tell a sample, which takes milliseconds on an idle one, and to end a stream,
// whose right to go on is checked twice a second.
const (
	soon = 2 * time.Second
	ends = time.Second + soon
)

// event is one server-sent event.
type event struct{ name, data string }

// stream is one reader of live values.
type stream struct {
	t      *testing.T
	events chan event // closed at the end
	cancel func()
}

// live opens a stream and waits until it has begun.
func (r *rig) live(email, query string, opts ...option) *stream {
	r.t.Helper()
	c, cancel := context.WithCancel(ctx)
	resp, err := r.server.Client().Do(r.request(c, "GET", r.path("live")+query, nil, append(opts, bearer(r.token(email)))...))
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		cancel()
		r.t.Fatalf("live: %v %+v", err, resp)
	}
	s := &stream{r.t, make(chan event, 1000), cancel}
	begun := make(chan struct{})
	go func() {
		defer close(s.events)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		var e event
		for lines.Scan() {
			switch line := lines.Text(); {
			case strings.HasPrefix(line, ": loggerhead"):
				close(begun)
			case strings.HasPrefix(line, "event: "):
				e.name = line[len("event: "):]
			case strings.HasPrefix(line, "data: "):
				e.data = line[len("data: "):]
			case line == "" && e.name != "":
				s.events <- e
				e = event{}
			}
		}
	}()
	r.t.Cleanup(cancel)
	select {
	case <-begun:
	case <-time.After(5 * time.Second):
		r.t.Fatal("the stream does not begin")
	}
	return s
}

// next returns the next event of a name within limit; others are passed over.
func (s *stream) next(name string, limit time.Duration) (string, bool) {
	s.t.Helper()
	late := time.After(limit)
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				s.t.Errorf("the stream ended instead of telling a %s", name)
				return "", false
			}
			if e.name == name {
				return e.data, true
			}
		case <-late:
			return "", false
		}
	}
}

func (s *stream) sample(limit time.Duration) (l api.LiveSample, ok bool) {
	s.t.Helper()
	data, ok := s.next("sample", limit)
	if ok {
		if err := json.Unmarshal([]byte(data), &l); err != nil {
			s.t.Fatal(err)
		}
	}
	return l, ok
}

// ends waits for the end of the stream.
func (s *stream) ends(limit time.Duration) bool {
	s.t.Helper()
	late := time.After(limit)
	for {
		select {
		case _, ok := <-s.events:
			if !ok {
				return true
			}
		case <-late:
			return false
		}
	}
}

func TestLiveDelivers(t *testing.T) {
	t.Parallel()
	each(t, rigOptions{}, liveDelivers)
	t.Run("http1", func(t *testing.T) {
		liveDelivers(newRig(t, storetest.SQLite(t), rigOptions{http1: true, readTimeout: time.Second}))
	})
}

func liveDelivers(r *rig) {
	t := r.t
	here, there := r.site(r.owner, "Here", "1/level", "2/temp"), r.site(r.owner, "There", "1/level")
	r.member("limited@a.example", lh.RoleViewer, here.location.ID)
	all := r.live("owner@a.example", "")
	one := r.live("owner@a.example", "?elements="+string(here.elements[1].ID))
	device := r.live("owner@a.example", "?device_id="+string(there.device.ID))
	limited := r.live("limited@a.example", "")
	// Each begins with the devices it shows.
	for s, n := range map[*stream]int{all: 2, one: 2, device: 1, limited: 1} {
		for range n {
			if data, ok := s.next("device", soon); !ok || strings.Contains(data, `"online":true`) {
				t.Errorf("a stream begins with %q %v", data, ok)
			}
		}
	}
	if len(limited.events) > 0 {
		t.Errorf("a limited member is told of %v", <-limited.events)
	}
	at := lh.MillisOf(r.clock.Now())
	start := time.Now()
	r.upload(here, at, 1.5, 8)
	for _, want := range []api.LiveSample{{ElementID: here.elements[0].ID, Time: at, Value: 1.5, Flag: 1}, {ElementID: here.elements[1].ID, Time: at, Value: 8, Flag: 1}} {
		for name, s := range map[string]*stream{"all": all, "limited": limited} {
			if got, ok := s.sample(soon); !ok || got != want {
				t.Errorf("%s: %+v after %s, want %+v", name, got, time.Since(start), want)
			}
		}
	}
	if got, ok := one.sample(soon); !ok || got.ElementID != here.elements[1].ID {
		t.Errorf("one element: %+v", got)
	}
	r.upload(there, at, 7)
	for name, s := range map[string]*stream{"all": all, "device": device} {
		if got, ok := s.sample(soon); !ok || got.ElementID != there.elements[0].ID || got.Value != 7 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// A channel nobody knew: its samples are told, or the reader is told to read again.
	wide := here
	es, err := r.db.BindElements(ctx, here.own, here.device.ID, []lh.Element{{Channel: "3/new", Name: "New", Meaning: lh.Instantaneous}})
	if err != nil {
		t.Fatal(err)
	}
	wide.elements = es
	r.upload(wide, at+1, 1, 2, 3)
	known := false
	late := time.After(ends + soon)
	for !known {
		select {
		case e := <-limited.events:
			known = e.name == "resync" || e.name == "sample" && strings.Contains(e.data, string(es[2].ID))
		case <-late:
			t.Fatal("the first sample of a new element is never told, nor that it was left out")
		}
	}
	for _, s := range []*stream{limited, device, one} {
		s.cancel()
		for e := range s.events {
			if s == limited && (strings.Contains(e.data, string(there.elements[0].ID)) || strings.Contains(e.data, string(there.device.ID))) {
				t.Errorf("a limited member is told %v", e)
			}
			if s == device && e.name == "sample" || s == one && e.name == "sample" && !strings.Contains(e.data, string(here.elements[1].ID)) {
				t.Errorf("told what was not asked for: %v", e)
			}
		}
	}
}

// TestLiveEnds: whoever logs out, is removed or runs out of their session hears no more within seconds.
func TestLiveEnds(t *testing.T) {
	t.Parallel()
	each(t, rigOptions{}, func(r *rig) {
		t := r.t
		r.site(r.owner, "Here", "1/level")
		out := r.user("removed@a.example")
		if err := r.db.SetMember(ctx, r.owner, lh.Member{User: out, Role: lh.RoleViewer}); err != nil {
			t.Fatal(err)
		}
		r.member("loggedout@a.example", lh.RoleViewer)
		r.member("newpassword@a.example", lh.RoleViewer)
		streams := map[string]*stream{}
		for _, who := range []string{"removed@a.example", "loggedout@a.example", "newpassword@a.example", "owner@a.example"} {
			streams[who] = r.live(who, "")
		}
		if err := r.db.RemoveMember(ctx, r.owner, out); err != nil {
			t.Fatal(err)
		}
		if a := r.as("loggedout@a.example", "DELETE", "/api/v1/session", nil); a.status != 204 {
			t.Fatal(a.status)
		}
		if err := r.access.SetPassword(ctx, "newpassword@a.example", "another good password"); err != nil {
			t.Fatal(err)
		}
		late := time.Now().Add(ends)
		for who, s := range streams {
			if who != "owner@a.example" && !s.ends(time.Until(late)) {
				t.Errorf("%s still listens", who)
			}
		}
		if streams["owner@a.example"].ends(0) {
			t.Error("somebody else's stream ended too")
		}
		r.clock.Move(access.SessionLife + time.Second)
		if !streams["owner@a.example"].ends(ends) {
			t.Error("an expired session still listens")
		}
		if strings.Contains(r.log.String(), "level=ERROR") {
			t.Errorf("logged as faults: %s", r.log)
		}
	})
}

// TestLiveMoves: a device that moves out of a limited member's sight is silent to them soon after.
func TestLiveMoves(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.SQLite(t), rigOptions{})
	here, there := r.site(r.owner, "Here", "1/level"), r.site(r.owner, "There", "1/level")
	id := r.member("limited@a.example", lh.RoleViewer, here.location.ID)
	s := r.live("limited@a.example", "")
	if err := r.db.SetMember(ctx, r.owner, lh.Member{User: id, Role: lh.RoleViewer, Locations: []lh.LocationID{there.location.ID}}); err != nil {
		t.Fatal(err)
	}
	silent, at := false, lh.MillisOf(r.clock.Now())
	for start := time.Now(); time.Since(start) < 5*time.Second && !silent; at++ {
		r.upload(here, at, 1)
		r.upload(there, at, 2)
		for {
			l, ok := s.sample(soon)
			if !ok {
				break
			}
			if l.ElementID == there.elements[0].ID {
				silent = true
				break
			}
		}
	}
	if !silent {
		t.Fatal("the new limit does not reach an open stream")
	}
	r.upload(here, at+1000, 1)
	r.upload(there, at+1000, 2)
	for {
		l, ok := s.sample(soon)
		if !ok {
			t.Fatal("nothing of the new location")
		}
		if l.Time == at+1000 {
			if l.ElementID != there.elements[0].ID {
				t.Errorf("told of the old location: %+v", l)
			}
			break
		}
	}
}

// TestLiveResync: a reader whose events were lost is told so before what comes next.
func TestLiveResync(t *testing.T) {
	t.Parallel()
	feed := make(chan ingest.Event, 10)
	var lost atomic.Bool
	cancelled := make(chan struct{})
	r := newRig(t, storetest.SQLite(t), rigOptions{subscribe: func(lh.ProjectID, int) (<-chan ingest.Event, func() bool, func()) {
		return feed, func() bool { return lost.Swap(false) }, func() { close(cancelled) }
	}})
	s := r.site(r.owner, "Here", "1/level")
	l := r.live("owner@a.example", "")
	tell := func(v float64) {
		feed <- ingest.Event{Project: r.owner.Project(), Device: s.device.ID, Samples: []lh.Latest{{Element: s.elements[0].ID, Sample: lh.Sample{Time: 1, Value: v, Flag: 1}}}}
	}
	tell(1)
	if got, ok := l.sample(soon); !ok || got.Value != 1 {
		t.Fatalf("%+v", got)
	}
	lost.Store(true)
	tell(2)
	late := time.After(soon)
	var names []string
	for len(names) < 2 {
		select {
		case e := <-l.events:
			if e.name != "device" {
				names = append(names, e.name)
			}
		case <-late:
			t.Fatalf("told %v", names)
		}
	}
	if names[0] != "resync" || names[1] != "sample" {
		t.Errorf("told %v", names)
	}
	tell(3)
	if got, ok := l.sample(soon); !ok || got.Value != 3 {
		t.Errorf("%+v", got)
	}
	l.cancel()
	select {
	case <-cancelled:
	case <-time.After(5 * time.Second):
		t.Error("a reader that left is still subscribed")
	}
}

// TestStreamsAreBounded: nobody takes all of them, and a place that was left is free again.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.SQLite(t), rigOptions{})
	r.api.SetStreams(3, 2)
	r.member("viewer@a.example", lh.RoleViewer)
	refused := func(email string) {
		t.Helper()
		a := r.send("GET", r.path("live"), nil, bearer(r.token(email)))
		if a.status != 429 || a.problem(t).Code != lh.Exhausted || a.header.Get("Retry-After") == "" {
			t.Errorf("one too many: %d %s", a.status, a.body)
		}
	}
	first := r.live("owner@a.example", "")
	r.live("owner@a.example", "")
	refused("owner@a.example")
	r.live("viewer@a.example", "")
	refused("viewer@a.example") // all are taken
	first.cancel()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		a := r.send("GET", r.path("live"), nil, bearer(r.token("viewer@a.example")))
		if a.status == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the place of one who left stays taken: %d", a.status)
		}
	}
}

func TestCloseStreams(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.SQLite(t), rigOptions{})
	s := r.live("owner@a.example", "")
	r.api.CloseStreams()
	if !s.ends(soon) {
		t.Error("a stream goes on while the hub stops")
	}
}

// TestOnline: a device counts as online from its first upload until its time of silence has passed.
func TestOnline(t *testing.T) {
	t.Parallel()
	r := newRig(t, storetest.SQLite(t), rigOptions{})
	s := r.site(r.owner, "Here", "1/level")
	device := func() (d api.Device) {
		t.Helper()
		r.as("owner@a.example", "GET", r.path("devices", string(s.device.ID)), nil).decode(t, &d)
		return d
	}
	if device().Online {
		t.Error("online before it was ever heard of")
	}
	if err := r.db.AddCertificate(ctx, s.own, s.device.Serial, nil, store.Certificate{KeyHash: [32]byte{1}, Device: s.device.ID, NotAfter: lh.MaxMillis}); err != nil {
		t.Fatal(err)
	}
	if device().Online {
		t.Error("online with a certificate alone")
	}
	r.upload(s, lh.MillisOf(r.clock.Now()), 1)
	d := device()
	if !d.Online || d.LastSeen == 0 {
		t.Errorf("an upload is no sign of life: %+v", d)
	}
	r.clock.Move(time.Duration(d.MaxOffline+1) * time.Second)
	if device().Online {
		t.Error("online after its time of silence")
	}
}
