package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// handshakeStep: devices connect and hang up, all at once, as after a power cut in their region. Each handshake is full
// and mutual; it counts once the hub has said something behind it, since in TLS 1.3 a client is ready before the hub
// has looked at its certificate.
func handshakeStep(ctx context.Context, in *installation, h *hub, z spineSizes) error {
	const clients = 16
	in.b.say("%d clients shake hands for %s", clients, z.handshakes)
	cpu, err := h.cpu()
	if err != nil {
		return err
	}
	finish := h.profile(ctx, "handshake")
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var turn, count atomic.Int64
	start := time.Now()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for ctx.Err() == nil && time.Since(start) < z.handshakes {
				d := in.devices[int(turn.Add(1))%len(in.devices)]
				if err := in.shakeHands(ctx, h, d); err != nil {
					cancel(err)
					return
				}
				count.Add(1)
			}
		})
	}
	wg.Wait()
	seconds := time.Since(start).Seconds()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	used, err := h.cpu()
	if err != nil {
		return err
	}
	n := float64(count.Load())
	in.b.say("%.0f handshakes; hub %.0f µs of CPU each", n, float64((used-cpu).Microseconds())/n)
	in.b.metric("handshakes_per_s", n/seconds, "handshakes/s")
	finish()
	return nil
}

func (in *installation) shakeHands(ctx context.Context, h *hub, d *device) error {
	conf, err := in.tls(d, "h2")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", h.devices)
	if err != nil {
		return err
	}
	conn := tls.Client(raw, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		return errors.Join(err, raw.Close())
	}
	// A hub that accepts the client begins with a SETTINGS frame (RFC 9113, 3.4); one that does not, with an alert.
	var frame [9]byte
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return errors.Join(err, raw.Close())
	}
	if _, err := io.ReadFull(conn, frame[:]); err != nil {
		return errors.Join(err, raw.Close())
	}
	if conn.ConnectionState().DidResume || frame[3] != 4 {
		return errors.Join(errors.New("that was no full handshake of HTTP/2"), raw.Close())
	}
	return conn.Close()
}

// idleStep: devices stay connected over MQTT with nothing to say.
func idleStep(ctx context.Context, in *installation, h *hub, _ spineSizes) error {
	b := in.b
	// A first connection pays for what all share.
	warm, err := in.dialAll(ctx, h, in.devices[:1], true)
	hangUp(warm)
	if err != nil {
		return err
	}
	before, err := h.settled(ctx, 10*time.Second)
	if err != nil {
		return err
	}
	start := time.Now()
	links, err := in.dialAll(ctx, h, in.devices, true)
	defer hangUp(links)
	if err != nil {
		return err
	}
	took := time.Since(start)
	after, err := h.settled(ctx, 20*time.Second)
	if err != nil {
		return err
	}
	b.say("%d MQTT connections opened in %.1f s; the hub holds %.1f MiB, before them %.1f MiB", len(links), took.Seconds(), float64(after)/(1<<20), float64(before)/(1<<20))
	b.metric("rss_per_idle_connection_kib", float64(after-before)/float64(len(links))/1024, "KiB")
	h.profile(ctx, "idle")()
	return nil
}

// liveStep: three devices, as in the demo: each comes with a day's backlog, then publishes a record a second.
func liveStep(ctx context.Context, in *installation, h *hub, z spineSizes) error {
	b, channels := in.b, station()
	devices := in.devices[z.senders+1 : z.senders+4]
	first := minutesAgo(24*60 + 10)
	senders, err := in.senders(ctx, h, devices, channels, first, 1, 24*60)
	defer closeAll(senders)
	if err != nil {
		return err
	}
	if _, err := sendAll(ctx, senders); err != nil {
		return err
	}
	links, err := in.dialAll(ctx, h, devices, true)
	defer hangUp(links)
	if err != nil {
		return err
	}
	b.say("three devices publish a record a second for %s", z.live)
	var sources []*live
	for _, d := range devices {
		sources = append(sources, newLive(d, channels))
	}
	end, records := time.Now().Add(z.live), 24*60
	for time.Now().Before(end) {
		for i, l := range links {
			payload, err := sources[i].next(nowMillis())
			if err == nil {
				err = l.publish(payload)
			}
			if err != nil {
				return err
			}
		}
		records++
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	c, err := in.client(ctx, h)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := in.counted(ctx, c, devices, channels, records); err != nil {
		return err
	}
	rss, err := h.memory("VmRSS")
	if err != nil {
		return err
	}
	b.metric("hub_rss_mib", float64(rss)/(1<<20), "MiB")
	return nil
}
