package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// sender is a device with its connection and what it will send.
type sender struct {
	d       *device
	http    *http.Client
	url     string
	batches [][]byte
	last    []uint32 // number of each batch's last record, which the hub must acknowledge
	waited  *atomic.Int64
	took    []time.Duration
}

// senders opens a connection for each device and encodes what it will send.
func (in *installation) senders(ctx context.Context, h *hub, devices []*device, channels []channel, first lh.Millis, batches, records int) ([]*sender, error) {
	out := make([]*sender, len(devices))
	var waited atomic.Int64
	err := each(ctx, devices, 8, func(ctx context.Context, d *device) error {
		c, err := in.uplink(ctx, h, d, channels)
		if err != nil {
			return err
		}
		s := &sender{d: d, http: c, url: "https://" + h.devices + "/v1/batch", waited: &waited}
		out[slices.Index(devices, d)] = s
		before := d.next
		if s.batches, err = backlog(d, channels, first, batches, records); err != nil {
			return err
		}
		for i := range s.batches {
			s.last = append(s.last, before+uint32((i+1)*records)-1)
		}
		return nil
	})
	return out, err
}

// run uploads everything, one batch after the other as a device does, and returns at the last acknowledgement.
func (s *sender) run(ctx context.Context) error {
	for i, b := range s.batches {
		start := time.Now()
		if err := s.upload(ctx, b, s.last[i]); err != nil {
			return fmt.Errorf("batch %d of %s: %w", i, s.d.serial, err)
		}
		s.took = append(s.took, time.Since(start))
	}
	return nil
}

// upload sends one batch until it is acknowledged; where the hub says "later", the device waits as it was told.
func (s *sender) upload(ctx context.Context, batch []byte, last uint32) error {
	for {
		if err := stamp(batch, lh.MillisOf(time.Now())); err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, "POST", s.url, bytes.NewReader(batch))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", wire.ContentBatch)
		resp, err := s.http.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		resp.Body.Close() // read to its end
		if err != nil {
			return err
		}
		switch resp.StatusCode {
		case http.StatusOK:
			var ack wire.Ack
			if err := json.Unmarshal(body, &ack); err != nil {
				return err
			}
			if ack.AckedThrough != last {
				return fmt.Errorf("acknowledged through %d instead of %d", ack.AckedThrough, last)
			}
			return nil
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
			if err != nil || seconds > 60 {
				return fmt.Errorf("%s, Retry-After %q: %s", resp.Status, resp.Header.Get("Retry-After"), body)
			}
			s.waited.Add(1)
			if err := sleep(ctx, time.Duration(seconds)*time.Second); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s: %s", resp.Status, body)
		}
	}
}

// sendAll lets all senders run at once and returns the time from the first byte to the last acknowledgement.
func sendAll(ctx context.Context, senders []*sender) (time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	var wg sync.WaitGroup
	for _, s := range senders {
		wg.Go(func() {
			if err := s.run(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return time.Since(start), context.Cause(ctx)
}

func closeAll(senders []*sender) {
	for _, s := range senders {
		if s != nil {
			s.http.CloseIdleConnections()
		}
	}
}

// quantile returns the value below which a share of the durations lies.
func quantile(all []time.Duration, share float64) time.Duration {
	slices.Sort(all)
	return all[min(int(float64(len(all))*share), len(all)-1)]
}
