package gateway_test

import (
	"context"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/gateway"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// What the edge itself costs, the device's side included: Accept does nothing.

func free(c *gateway.Config) {
	c.Accept = func(context.Context, store.Scope, lh.DeviceID, []byte) (wire.Ack, error) { return wire.Ack{}, nil }
}

// BenchmarkMQTT uploads small batches on one connection, sixteen under way.
func BenchmarkMQTT(b *testing.B) {
	h := newHub(b, free)
	r := h.connect(h.logger(), 5)
	payload := batch(7, 1, 10)
	b.ReportAllocs()
	sent, acked := 0, 0
	for b.Loop() {
		if sent-acked == 16 {
			r.wantPuback(acked%1000+1, 0)
			acked++
		}
		r.publish(sent%1000+1, payload)
		sent++
	}
	for ; acked < sent; acked++ {
		r.wantPuback(acked%1000+1, 0)
	}
}

// BenchmarkHTTPS uploads small batches on one connection, one after the other.
func BenchmarkHTTPS(b *testing.B) {
	h := newHub(b, free)
	c := h.client(h.logger(), true)
	payload := batch(7, 1, 10)
	b.ReportAllocs()
	for b.Loop() {
		if r, body := post(b, c, h.url("/v1/batch"), wire.ContentBatch, payload); r.StatusCode != 200 {
			b.Fatalf("%d %s", r.StatusCode, body)
		}
	}
}
