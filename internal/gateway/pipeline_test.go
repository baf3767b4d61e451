package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/gateway"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// gate is an Accept that a test holds back.
type gate struct {
	mu      sync.Mutex
	waiting []string // payloads that came, in order
	most    int      // under way at once
	now     int
	let     chan error
	deaf    bool // to the end of its context
}

func (g *gate) accept(ctx context.Context, _ store.Scope, _ lh.DeviceID, payload []byte) (wire.Ack, error) {
	g.mu.Lock()
	g.waiting = append(g.waiting, string(payload))
	g.now++
	g.most = max(g.most, g.now)
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.now--
		g.mu.Unlock()
	}()
	if g.deaf {
		return wire.Ack{}, <-g.let
	}
	select {
	case err := <-g.let:
		return wire.Ack{}, err
	case <-ctx.Done():
		return wire.Ack{}, lh.Hide(lh.Unavailable, ctx.Err(), "not in time")
	}
}

func (g *gate) came() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

func gated(t *testing.T, change func(*gateway.Config)) (*hub, *gate) {
	g := &gate{let: make(chan error)}
	return newHub(t, func(c *gateway.Config) {
		c.Accept = g.accept
		if change != nil {
			change(c)
		}
	}), g
}

// silent checks that the hub says nothing for a moment.
func (r *raw) silent() {
	r.t.Helper()
	if err := r.c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		r.t.Fatal(err)
	}
	var e net.Error
	if n, err := r.c.Read(make([]byte, 1)); !errors.As(err, &e) || !e.Timeout() {
		r.t.Fatalf("the hub said something: %d %v", n, err)
	}
	if err := r.c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
}

// TestPubackOnlyWhenDurable: no acknowledgement before Accept has returned, and they come in the order of the uploads
// whatever the order in which they became durable.
func TestPubackOnlyWhenDurable(t *testing.T) {
	bothVersions(t, func(t *testing.T, v byte) {
		hold := map[byte]chan struct{}{}
		for i := range byte(16) {
			hold[i] = make(chan struct{})
		}
		var came atomic.Int32
		h := newHub(t, func(c *gateway.Config) {
			c.Accept = func(ctx context.Context, _ store.Scope, _ lh.DeviceID, p []byte) (wire.Ack, error) {
				came.Add(1)
				select {
				case <-hold[p[len(p)-1]]:
				case <-ctx.Done():
				}
				return wire.Ack{}, ctx.Err()
			}
		})
		r := h.connect(h.logger(), v)
		payload := func(i byte) []byte { return append([]byte("LHB1\x07\x07\x07\x07\x07\x07\x07\x07\x01"), i) }
		for i := range byte(16) {
			r.publish(int(i)+100, payload(i))
		}
		eventually(t, "all sixteen are under way at once", func() bool { return came.Load() == 16 })
		for i := byte(15); i > 0; i-- {
			close(hold[i])
		}
		r.silent() // the first one is not durable yet
		close(hold[0])
		for i := range 16 {
			r.wantPuback(i+100, 0)
		}
	})
}

// TestUploadsWithoutALogAreTakenInTurn, since their rank is their arrival.
func TestUploadsWithoutALogAreTakenInTurn(t *testing.T) {
	h, g := gated(t, nil)
	r := h.connect(h.logger(), 5)
	for i := range 4 {
		r.publish(i+1, fmt.Appendf(nil, `{"n":%d}`, i))
	}
	r.publish(5, batch(7, 1, 1))
	for i := range 5 {
		eventually(t, "the next came", func() bool { return g.came() == i+1 })
		r.silent()
		if n := g.came(); n != i+1 {
			t.Fatalf("%d are under way beside one without a log", n-i)
		}
		g.let <- nil
		r.wantPuback(i+1, 0)
	}
	if want := []string{`{"n":0}`, `{"n":1}`, `{"n":2}`, `{"n":3}`}; !slices.Equal(g.waiting[:4], want) {
		t.Errorf("order: %q", g.waiting)
	}
}

// TestReceiveMaximum: on MQTT 5 a seventeenth upload under way breaks the protocol; on 3.1.1 it waits.
func TestReceiveMaximum(t *testing.T) {
	bothVersions(t, func(t *testing.T, v byte) {
		h, g := gated(t, nil)
		r := h.connect(h.logger(), v)
		for i := range 17 {
			r.publish(i+1, batch(7, 1, 1))
		}
		if v == 5 {
			r.wantEnd(0x93)
			close(g.let)
			return
		}
		eventually(t, "sixteen came", func() bool { return g.came() == 16 })
		r.silent()
		close(g.let)
		for i := range 17 {
			r.wantPuback(i+1, 0)
		}
		if g.most != 16 {
			t.Errorf("%d uploads were under way at once", g.most)
		}
	})
}
