package sensor

import (
	"context"
	"errors"
	"log/slog"
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
	// error means that there is nothing now.
	Sample(ctx context.Context, now time.Time) ([]Record, error)
	Close() error
}

// Committer is a Sensor with a place of its own in what it reads (csv). After the records of a Sample are durable its
// user calls Commit, which makes the place durable; without it the next Sample returns the same records again.
type Committer interface {
	Commit() error
}

// New makes the sensor that c describes; relative paths are relative to the folder base.
func New(c Config, base string, log *slog.Logger) (Sensor, error) {
	return nil, errors.New("not built yet")
}
