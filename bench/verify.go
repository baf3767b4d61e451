package main

import (
	"context"
	"fmt"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
)

// stored proves over the REST API that every device of these has exactly its records, one a minute from first on: by
// count for all of them, value by value for the first two.
func (in *installation) stored(ctx context.Context, h *hub, devices []*device, channels []channel, first lh.Millis, records int) error {
	c, err := in.client(ctx, h)
	if err != nil {
		return err
	}
	defer c.Close()
	elements, err := in.counted(ctx, c, devices, channels, records)
	if err != nil {
		return err
	}
	for _, d := range devices[:min(2, len(devices))] {
		for k, ch := range channels {
			if err := in.exported(ctx, c, d, elements[d.id][ch.key], k, first, records); err != nil {
				return fmt.Errorf("%s of %s: %w", ch.key, d.serial, err)
			}
		}
	}
	return nil
}

// counted proves that every element of the devices has so many samples, and returns the elements by device and channel.
func (in *installation) counted(ctx context.Context, c *client.Client, devices []*device, channels []channel, records int) (map[lh.DeviceID]map[string]string, error) {
	all, err := c.Elements(ctx, in.project, "")
	if err != nil {
		return nil, err
	}
	by := make(map[lh.DeviceID]map[string]string, len(devices))
	for _, d := range devices {
		by[d.id] = map[string]string{}
	}
	var ids []string
	for _, e := range all {
		if channel := by[lh.DeviceID(e.DeviceID)]; channel != nil {
			channel[e.Channel] = e.ID
			ids = append(ids, e.ID)
		}
	}
	if len(ids) != len(devices)*len(channels) {
		return nil, fmt.Errorf("the hub has %d elements, the devices fed %d", len(ids), len(devices)*len(channels))
	}
	for part := range slices.Chunk(ids, 50) {
		series, err := c.Series(ctx, in.project, part, 0, int64(lh.MaxMillis), 2)
		if err != nil {
			return nil, err
		}
		for _, s := range series {
			if s.Count != int64(records) {
				return nil, fmt.Errorf("element %s has %d samples, %d were acknowledged", s.ElementID, s.Count, records)
			}
		}
	}
	return by, nil
}

// exported proves that an element has what channel k of its device's weather was.
func (in *installation) exported(ctx context.Context, c *client.Client, d *device, element string, k int, first lh.Millis, records int) error {
	w := newWeather(d.index)
	var values [6]float64
	t, n := first, 0
	for got, err := range c.Export(ctx, in.project, []string{element}, 0, int64(lh.MaxMillis)) {
		if err != nil {
			return err
		}
		w.at(t, values[:])
		if got.Time != int64(t) || got.Value != values[k] || got.Flag != int(lh.FlagGood) {
			return fmt.Errorf("read back %+v instead of %g at %d", got, values[k], t)
		}
		t += 60_000
		n++
	}
	if n != records {
		return fmt.Errorf("exported %d samples of %d", n, records)
	}
	return nil
}
