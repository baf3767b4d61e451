package sensor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// fileSensor reads a number from a file.
type fileSensor struct {
	c        *File
	path     string
	channels []wire.ManifestChannel
}

func newFile(c *File, interval time.Duration, base string) (Sensor, error) {
	if c.Path == "" {
		return nil, lh.Errorf(lh.Invalid, "path: a file is needed")
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return &fileSensor{c: c, path: under(base, c.Path), channels: []wire.ManifestChannel{c.describe(interval)}}, nil
}

func (s *fileSensor) Channels() []wire.ManifestChannel { return s.channels }
func (s *fileSensor) Close() error                     { return nil }

func (s *fileSensor) Sample(ctx context.Context, now time.Time) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	text, err := readSmall(s.path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path, err)
	}
	v, present, err := parseNumber(text, s.c.Absent)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path, err)
	}
	if !present {
		return nil, nil
	}
	r, ok := s.c.reading(v, lh.FlagNotEvaluated)
	if !ok {
		return nil, fmt.Errorf("read %s: the value is not finite", s.path)
	}
	return []Record{{Time: lh.MillisOf(now), Readings: []Reading{r}}}, nil
}

// readSmall reads the first line of a plain file. Opening does not wait, so that a pipe in its place holds nothing up.
func readSmall(path string) (text string, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", errors.New("it is not a plain file")
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", err
	}
	text, _, _ = strings.Cut(strings.TrimLeft(string(b), " \t\r\n"), "\n")
	return text, nil
}
