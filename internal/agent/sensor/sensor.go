package sensor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// Reading is one channel's value. It is finite.
type Reading struct {
	Channel string
	Value   float64
	Flag    lh.Flag
}

// Record is what was read at one instant.
type Record struct {
	Time     lh.Millis
	Readings []Reading
}

// Sensor is a source of records. It is used by one goroutine.
type Sensor interface {
	// Channels are fixed after New.
	Channels() []wire.ManifestChannel
	// Sample reads every channel once. It may return records and an error: some channels failed. No records and no
	// error means that there is nothing now. It comes back soon after ctx ends; a Modbus request that is under way
	// takes up to its timeout, a connection that does not come up 5 s.
	Sample(ctx context.Context, now time.Time) ([]Record, error)
	// Close lets go of what the sensor holds. It does not commit.
	Close() error
}

// Committer is a Sensor with a place of its own in what it reads (csv). After the records of a Sample are durable its
// user calls Commit, which makes the place durable; without it the next Sample returns the same records again. So a
// power cut between the two makes it read twice, never not at all.
type Committer interface {
	Commit() error
}

// The bounds of the time between samples.
const (
	MinInterval = 100 * time.Millisecond
	MaxInterval = 24 * time.Hour
)

// New makes the sensor that c describes; relative paths are relative to the folder base. Nothing that can be away for a
// while need be there yet: a device, a program or a file of /sys is looked for at each Sample. Invalid: c is not right.
func New(c Config, base string, log *slog.Logger) (Sensor, error) {
	if c.Interval < MinInterval || c.Interval > MaxInterval {
		return nil, lh.Errorf(lh.Invalid, "interval: it is %v to %v, not %v", MinInterval, MaxInterval, c.Interval)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	var makers = []struct {
		kind  string
		given bool
		make  func() (Sensor, error)
	}{
		{"simulator", c.Simulator != nil, func() (Sensor, error) { return newSimulator(c.Simulator, c.Interval) }},
		{"csv", c.CSV != nil, func() (Sensor, error) { return newReplay(c.CSV, base, log) }},
		{"command", c.Command != nil, func() (Sensor, error) { return newCommand(c.Command, c.Interval, base) }},
		{"file", c.File != nil, func() (Sensor, error) { return newFile(c.File, c.Interval, base) }},
		{"modbus", c.Modbus != nil, func() (Sensor, error) { return newModbus(c.Modbus, c.Interval) }},
	}
	var found func() (Sensor, error)
	for _, m := range makers {
		switch {
		case m.kind == c.Type && !m.given && m.kind != "simulator":
			return nil, lh.Errorf(lh.Invalid, "a sensor of type %s needs a section %q", c.Type, c.Type)
		case m.kind == c.Type:
			found = m.make
		case m.given:
			return nil, lh.Errorf(lh.Invalid, "a sensor of type %q cannot have a section %q", c.Type, m.kind)
		}
	}
	if found == nil {
		return nil, lh.Errorf(lh.Invalid, "type: there is no sensor %q; there are simulator, csv, command, file and modbus", c.Type)
	}
	s, err := found()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Type, err)
	}
	m := wire.Manifest{Channels: s.Channels()}
	if err := m.Check(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", c.Type, err), s.Close())
	}
	return s, nil
}

// under makes a path absolute, beginning at base.
func under(base, p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(base, p)
}
