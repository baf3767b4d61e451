package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// chartStep: somebody opens a year of minutes on a screen of 1,000 pixels.
func chartStep(ctx context.Context, in *installation, h *hub, z spineSizes) error {
	b := in.b
	d, channels := in.devices[z.senders], station()[:3]
	const batches = 20
	records := z.days * 24 * 60 / batches
	first := minutesAgo(batches * records)
	senders, err := in.senders(ctx, h, []*device{d}, channels, first, batches, records)
	defer closeAll(senders)
	if err != nil {
		return err
	}
	if _, err := sendAll(ctx, senders); err != nil {
		return err
	}
	if err := h.folded(ctx); err != nil {
		return err
	}
	if err := in.stored(ctx, h, []*device{d}, channels, first, batches*records); err != nil {
		return err
	}
	c, err := in.client(ctx, h)
	if err != nil {
		return err
	}
	defer c.Close()
	elements, err := c.Elements(ctx, in.project, string(d.id))
	if err != nil {
		return err
	}
	web := in.browser(1)
	defer web.CloseIdleConnections()
	// 1,000 buckets with the least and the greatest of each: what a line chart of 1,000 pixels can show.
	query := url.Values{"elements": {elements[0].ID}, "from": {strconv.FormatInt(int64(first), 10)}, "points": {"2000"}, "format": {"columns"},
		"to": {strconv.FormatInt(int64(first)+int64(batches*records)*60_000, 10)}}
	address := "https://" + h.people + "/api/v1/projects/" + in.project + "/series?" + query.Encode()
	finish := h.profile(ctx, "chart")
	cpu, err := h.cpu()
	if err != nil {
		return err
	}
	const cold, all = 5, 45
	var warm []time.Duration
	size := 0
	for i := range all {
		start := time.Now()
		if size, err = in.chart(ctx, web, address); err != nil {
			return err
		}
		if i >= cold {
			warm = append(warm, time.Since(start))
		}
	}
	used, err := h.cpu()
	if err != nil {
		return err
	}
	median := quantile(warm, 0.5)
	b.say("a chart of %d samples: %d bytes; hub %.1f ms of CPU each; fastest %s, median %s, 90 %% %s", batches*records, size, float64((used-cpu).Milliseconds())/all,
		quantile(warm, 0).Round(10*time.Microsecond), median.Round(10*time.Microsecond), quantile(warm, 0.9).Round(10*time.Microsecond))
	b.metric("chart_year_to_1000px_ms", float64(median.Microseconds())/1000, "ms")
	finish()
	return nil
}

// chart asks for one chart and returns its size in bytes.
func (in *installation) chart(ctx context.Context, web *http.Client, address string) (int, error) {
	body, err := ask(ctx, web, address, in.token)
	if err != nil {
		return 0, err
	}
	if len(body) < 17*1000 || string(body[:4]) != "LHC1" {
		return 0, errors.New("the answer is not the columns of a chart")
	}
	return len(body), nil
}
