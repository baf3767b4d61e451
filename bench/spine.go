package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// spineSizes is how much the spine group does.
type spineSizes struct {
	devices                   int // claimed and enrolled; each holds an idle connection
	senders, batches, records int // by HTTPS: each sender uploads batches of records
	links, messages           int // by MQTT: each link publishes messages
	handshakes                time.Duration
	days                      int // of minutes behind the chart
	live                      time.Duration
}

func (b *bench) spineSizes() spineSizes {
	if b.small {
		return spineSizes{devices: 10, senders: 3, batches: 2, records: 200, links: 3, messages: 4, handshakes: 300 * time.Millisecond, days: 3, live: time.Second}
	}
	return spineSizes{devices: 1000, senders: 100, batches: 20, records: 1000, links: 500, messages: 60, handshakes: 5 * time.Second, days: 365, live: 10 * time.Second}
}

// runSpine measures the way from the sensor to the chart. Each step has a hub process of its own on the one
// installation, so that none measures what another left in memory.
func runSpine(ctx context.Context, b *bench) error {
	if err := b.buildHub(ctx); err != nil {
		return err
	}
	z := b.spineSizes()
	in, err := b.install(ctx, z.devices)
	if err != nil {
		return err
	}
	steps := []struct {
		name string
		run  func(context.Context, *installation, *hub, spineSizes) error
	}{
		{"enrol", func(ctx context.Context, in *installation, h *hub, _ spineSizes) error {
			return in.enrolDevices(ctx, h)
		}},
		{"handshake", handshakeStep}, {"idle", idleStep}, {"https", httpsStep}, {"mqtt", mqttStep}, {"live", liveStep}, {"chart", chartStep},
	}
	for _, s := range steps {
		if s.name != "enrol" && !b.wants(s.name) {
			continue
		}
		if err := b.step(ctx, in, z, s.run); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if b.wants("web") {
		return b.webStep()
	}
	return nil
}

func (b *bench) step(ctx context.Context, in *installation, z spineSizes, run func(context.Context, *installation, *hub, spineSizes) error) (err error) {
	h, err := b.startHub(ctx, in.config)
	if err != nil {
		return err
	}
	err = run(ctx, in, h, z)
	return errors.Join(err, h.stop())
}

// httpsStep: many devices come back after a week offline and upload their backlogs at once.
func httpsStep(ctx context.Context, in *installation, h *hub, z spineSizes) error {
	b, channels := in.b, station()
	devices := in.devices[:z.senders]
	first := minutesAgo(z.batches * z.records)
	if err := bind(ctx, in, h, devices, channels); err != nil {
		return err
	}
	before, err := in.size(ctx, h)
	if err != nil {
		return err
	}
	senders, err := in.senders(ctx, h, devices, channels, first, z.batches, z.records)
	defer closeAll(senders)
	if err != nil {
		return err
	}
	bytes := 0
	for _, s := range senders {
		for _, p := range s.batches {
			bytes += len(p)
		}
	}
	samples := float64(z.senders * z.batches * z.records * len(channels))
	b.say("%d devices upload %d batches of %d records of %d channels each, %.1f M samples, %.1f MB", z.senders, z.batches, z.records, len(channels), samples/1e6, float64(bytes)/1e6)
	cpu, err := h.cpu()
	if err != nil {
		return err
	}
	own := ownCPU()
	finish := h.profile(ctx, "https")
	took, err := sendAll(ctx, senders)
	if err != nil {
		return err
	}
	ackedCPU, err := h.cpu()
	if err != nil {
		return err
	}
	own = ownCPU() - own
	finish()
	if err := h.folded(ctx); err != nil {
		return err
	}
	foldedCPU, err := h.cpu()
	if err != nil {
		return err
	}
	var waits []time.Duration
	for _, s := range senders {
		waits = append(waits, s.took...)
	}
	peak, err := h.memory("VmHWM")
	if err != nil {
		return err
	}
	b.say("acknowledged in %.2f s; upload median %s, 99 %% %s; told to come later %d times; hub %.2f CPU-s until the last acknowledgement, generator %.2f; hub's peak memory %d MiB",
		took.Seconds(), quantile(waits, 0.5).Round(time.Millisecond), quantile(waits, 0.99).Round(time.Millisecond), senders[0].waited.Load(), (ackedCPU - cpu).Seconds(), own.Seconds(), peak>>20)
	b.metric("ingest_https_samples_per_s", samples/took.Seconds(), "samples/s")
	b.metric("hub_cpu_s_per_million_samples", (foldedCPU-cpu).Seconds()/samples*1e6, "s")
	if err := in.stored(ctx, h, devices, channels, first, z.batches*z.records); err != nil {
		return err
	}
	b.say("everything acknowledged was read back over the REST API")
	closeAll(senders)
	after, err := in.size(ctx, h)
	if err != nil {
		return err
	}
	b.say("the database grew by %.2f MB in use, %.2f MB of disk", float64(after.Used-before.Used)/1e6, float64(after.Disk-before.Disk)/1e6)
	b.metric("bytes_per_sample", float64(after.Used-before.Used)/samples, "B")
	return nil
}

func minutesAgo(n int) lh.Millis {
	now := lh.MillisOf(time.Now())
	return now - now%60_000 - lh.Millis(n)*60_000
}

// bind lets the devices tell what they measure, so that their elements are there before anything is timed.
func bind(ctx context.Context, in *installation, h *hub, devices []*device, channels []channel) error {
	return each(ctx, devices, 8, func(ctx context.Context, d *device) error {
		c, err := in.uplink(ctx, h, d, channels)
		if err == nil {
			c.CloseIdleConnections()
		}
		return err
	})
}

// size returns the database's size after a restart of the hub, which folds what is left and empties SQLite's log.
func (in *installation) size(ctx context.Context, h *hub) (store.Size, error) {
	var size store.Size
	if err := h.stop(); err != nil {
		return size, err
	}
	err := in.open(ctx, func(db *store.DB) (err error) { size, err = db.Size(ctx); return err })
	if err != nil {
		return size, err
	}
	return size, h.start(ctx)
}

// mqttStep: many devices publish each sample record as they take it.
func mqttStep(ctx context.Context, in *installation, h *hub, z spineSizes) error {
	b, channels := in.b, station()
	devices := in.devices[len(in.devices)-z.links:]
	if err := bind(ctx, in, h, devices, channels); err != nil {
		return err
	}
	links, err := in.dialAll(ctx, h, devices, true)
	defer hangUp(links)
	if err != nil {
		return err
	}
	first := minutesAgo(z.messages + 1)
	sources := make([]*live, len(links))
	for i, l := range links {
		sources[i] = newLive(l.d, channels)
	}
	// The first record of a device's log makes the log known; it is not counted.
	if _, err := publishAll(ctx, links, sources, first, 1); err != nil {
		return err
	}
	b.say("%d MQTT connections publish %d records of %d channels each, QoS 1, one in flight", z.links, z.messages, len(channels))
	cpu, err := h.cpu()
	if err != nil {
		return err
	}
	commits, err := h.value(ctx, "loggerhead_series_commits_total")
	if err != nil {
		return err
	}
	own := ownCPU()
	finish := h.profile(ctx, "mqtt")
	start := time.Now()
	took, err := publishAll(ctx, links, sources, first+60_000, z.messages)
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	own = ownCPU() - own
	used, err := h.cpu()
	if err != nil {
		return err
	}
	after, err := h.value(ctx, "loggerhead_series_commits_total")
	if err != nil {
		return err
	}
	n := float64(z.links * z.messages)
	b.say("acknowledged in %.2f s; PUBACK median %s, 99 %% %s; CPU a message: hub %.0f µs, generator %.0f µs; %.0f messages a commit", seconds,
		quantile(took, 0.5).Round(10*time.Microsecond), quantile(took, 0.99).Round(10*time.Microsecond),
		float64((used-cpu).Microseconds())/n, float64(own.Microseconds())/n, n/(after-commits))
	b.metric("ingest_mqtt_messages_per_s", n/seconds, "messages/s")
	finish()
	return in.stored(ctx, h, devices, channels, first, z.messages+1)
}

// publishAll lets all devices publish so many records, one a minute from first on, each waiting for its PUBACK, and
// returns how long each waited.
func publishAll(ctx context.Context, links []*mqttLink, sources []*live, first lh.Millis, messages int) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	took := make([][]time.Duration, len(links))
	var wg sync.WaitGroup
	for i, l := range links {
		wg.Go(func() {
			for k := 0; k < messages && ctx.Err() == nil; k++ {
				payload, err := sources[i].next(first + lh.Millis(k)*60_000)
				at := time.Now()
				if err == nil {
					err = l.publish(payload)
				}
				if err != nil {
					cancel(fmt.Errorf("message %d of %s: %w", k, l.d.serial, err))
				}
				took[i] = append(took[i], time.Since(at))
			}
		})
	}
	wg.Wait()
	return slices.Concat(took...), context.Cause(ctx)
}
