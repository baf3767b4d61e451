package sensor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// Bounds of a program's output.
const (
	maxOutput  = 64 << 10
	maxMessage = 300 // of what it says of its failure
)

// commandSensor runs a program and reads its output.
type commandSensor struct {
	c        *Command
	dir      string
	channels []wire.ManifestChannel
}

func newCommand(c *Command, interval time.Duration, base string) (Sensor, error) {
	if len(c.Run) == 0 || c.Run[0] == "" {
		return nil, lh.Errorf(lh.Invalid, "run: a program is needed")
	}
	copied := *c
	c = &copied
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Timeout < 100*time.Millisecond || c.Timeout > 10*time.Minute {
		return nil, lh.Errorf(lh.Invalid, "timeout: it is 100ms to 10m, not %v", c.Timeout)
	}
	s := &commandSensor{c: c, dir: base}
	if len(c.Channels) == 0 {
		return nil, lh.Errorf(lh.Invalid, "channels: at least one is needed")
	}
	seen := map[string]bool{}
	for i := range c.Channels {
		ch := &c.Channels[i]
		if err := ch.check(); err != nil {
			return nil, err
		}
		if ch.Match == "" && len(c.Channels) > 1 {
			return nil, lh.Errorf(lh.Invalid, "channel %q: of several channels each needs a match", ch.Key)
		}
		if seen[ch.Match] {
			return nil, lh.Errorf(lh.Invalid, "two channels match %q", ch.Match)
		}
		seen[ch.Match] = true
		s.channels = append(s.channels, ch.describe(interval))
	}
	return s, nil
}

func (s *commandSensor) Channels() []wire.ManifestChannel { return s.channels }
func (s *commandSensor) Close() error                     { return nil }

func (s *commandSensor) Sample(ctx context.Context, now time.Time) ([]Record, error) {
	out, err := s.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", s.c.Run[0], err)
	}
	r, err := s.parse(string(out))
	if err != nil {
		err = fmt.Errorf("output of %s: %w", s.c.Run[0], err)
	}
	if len(r) == 0 {
		return nil, err
	}
	return []Record{{Time: lh.MillisOf(now), Readings: r}}, err
}

// run runs the program in a process group of its own, which is killed as a whole when the time is up or it says too
// much, and returns what it wrote.
func (s *commandSensor) run(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.c.Run[0], s.c.Run[1:]...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for one that left the group and holds the pipe
	out, msg := &bounded{most: maxOutput, full: cancel}, &bounded{most: maxMessage}
	cmd.Stdout, cmd.Stderr = out, msg
	err := cmd.Run()
	switch {
	case out.over:
		return nil, lh.Errorf(lh.Invalid, "it wrote more than %d bytes", maxOutput)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, lh.Errorf(lh.Unavailable, "it took longer than %v", s.c.Timeout)
	case err != nil && msg.b.Len() > 0:
		return nil, fmt.Errorf("%w: %s", err, strings.ToValidUTF8(strings.TrimSpace(msg.b.String()), string(utf8.RuneError)))
	case err != nil:
		return nil, err
	}
	return out.b.Bytes(), nil
}

// bounded keeps what is written to it up to a bound, and calls full when there is more. exec writes to it from one
// goroutine and has ended that when Run returns.
type bounded struct {
	b    bytes.Buffer
	most int
	over bool
	full func()
}

func (w *bounded) Write(p []byte) (int, error) {
	room := w.most - w.b.Len()
	if len(p) > room {
		w.over = true
		if w.full != nil {
			w.full()
		}
		w.b.Write(p[:max(room, 0)])
		return len(p), nil
	}
	return w.b.Write(p)
}

// parse reads the values. An error of one channel leaves the others.
func (s *commandSensor) parse(out string) ([]Reading, error) {
	if s.c.Channels[0].Match == "" {
		return s.value(nil, &s.c.Channels[0], out)
	}
	words := map[string]string{}
	for line := range strings.Lines(out) {
		if k, v, ok := strings.Cut(line, "="); ok {
			words[strings.TrimSpace(k)] = v // the last one counts
		}
	}
	var r []Reading
	var errs []error
	for i := range s.c.Channels {
		ch := &s.c.Channels[i]
		text, ok := words[ch.Match]
		if !ok {
			errs = append(errs, lh.Errorf(lh.Invalid, "there is no %q", ch.Match))
			continue
		}
		var err error
		if r, err = s.value(r, ch, text); err != nil {
			errs = append(errs, err)
		}
	}
	return r, errors.Join(errs...)
}

func (s *commandSensor) value(r []Reading, ch *MatchChannel, text string) ([]Reading, error) {
	v, present, err := parseNumber(text, s.c.Absent)
	if err != nil {
		return r, fmt.Errorf("channel %q: %w", ch.Key, err)
	}
	if !present {
		return r, nil
	}
	x, ok := ch.reading(v, lh.FlagNotEvaluated)
	if !ok {
		return r, lh.Errorf(lh.Invalid, "channel %q: the value is not finite", ch.Key)
	}
	return append(r, x), nil
}
