package gateway_test

import (
	"math/rand/v2"
	"testing"

	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// TestGarbage: a device of ours that has gone mad sends damaged packets. Whatever comes of its own connection, the hub
// goes on, and the next device is served.
func TestGarbage(t *testing.T) {
	h := newHub(t, nil)
	mad, good := h.logger(), h.logger()
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 150 {
		r := h.connect(mad, byte(4+i%2))
		good := [][]byte{
			r.publishPacket(1, 1+i, wire.UpTopic(mad.id), batch(7, 1, 3)), r.subscribePacket(3, wire.DownTopic(mad.id)), pack(12, 0),
			r.publishPacket(0, 0, wire.UpTopic(mad.id), []byte("{}")), pack(14, 0), pack(4, 0, u16(1)), r.connectPacket(60),
		}
		var stream []byte
		for range 1 + rnd.IntN(6) {
			p := append([]byte(nil), good[rnd.IntN(len(good))]...)
			for range rnd.IntN(3) {
				p[rnd.IntN(len(p))] ^= 1 << rnd.IntN(8)
			}
			stream = append(stream, p[:len(p)-rnd.IntN(2)*rnd.IntN(len(p))]...)
		}
		if _, err := r.c.Write(stream); err != nil && !isClosed(err) {
			t.Logf("stream %d: %v", i, err) // the hub hung up in the middle of it
		}
		r.c.NetConn().Close()
	}
	r := h.connect(good, 5)
	r.publish(1, batch(7, 1, 3))
	r.wantPuback(1, 0)
	if got := h.samples(good.id, "1/level"); len(got) != 3 {
		t.Errorf("%d samples", len(got))
	}
	eventually(t, "the mad device's connections are gone", func() bool { return h.metric("loggerhead_gateway_connections", "mqtt") == 1 })
}
