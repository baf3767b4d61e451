package agent

import (
	"crypto/x509"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/durable"
)

// keepClock is how often the time heard from the hub is written down: rarely, because flash wears.
const keepClock = time.Hour

// The kept time is one line of text, e.g. "loggerhead-clock-1 1795516755814 1f2e3d4c": milliseconds since 1970 and the
// CRC-32 (IEEE) of what stands before it, against failing flash.
const clockForm = "loggerhead-clock-1 %d"

// clock is what the device knows of the time beside its own clock, which may be anything. Samples carry the device's
// own clock; this one is for certificates only. It is safe for concurrent use.
type clock struct {
	wall   func() time.Time // the device's clock
	synced func() bool      // whether something outside keeps the device's clock right (NTP)
	path   string
	log    *slog.Logger

	mu sync.Mutex
	// heard is what the hub said its time was, at what the device's clock showed then (with its monotonic reading).
	heard, at time.Time
	floor     time.Time // has passed for certain
	kept      time.Time // what the file says
}

// openClock reads the kept time. A file that cannot be read counts for nothing: the next answer of the hub mends it.
func openClock(dir string, wall func() time.Time, synced func() bool, log *slog.Logger) *clock {
	c := &clock{wall: wall, synced: synced, path: filepath.Join(dir, clockFile), log: log, floor: buildTime()}
	b, err := readBounded(c.path, 100)
	if errors.Is(err, fs.ErrNotExist) {
		return c
	}
	var ms lh.Millis
	if err == nil {
		_, err = fmt.Sscanf(string(b), clockForm, &ms)
	}
	if err == nil && string(b) != clockLine(ms) {
		err = errors.New("its checksum does not fit")
	}
	if err != nil {
		log.Warn("the kept time cannot be read and is left out", "file", c.path, "err", err)
		return c
	}
	c.kept = ms.Time()
	if c.kept.After(c.floor) {
		c.floor = c.kept
	}
	return c
}

func clockLine(t lh.Millis) string {
	s := fmt.Sprintf(clockForm, t)
	return fmt.Sprintf("%s %08x\n", s, crc32.ChecksumIEEE([]byte(s)))
}

// hear takes the time from an answer of the hub that proved itself with cert. A time outside that certificate's life is
// not believed: else a hub whose key was stolen could push this device beyond the life of every honest hub.
func (c *clock) hear(t lh.Millis, cert *x509.Certificate) {
	now := t.Time()
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		c.log.Warn("the hub gave a time outside the life of its certificate; it is not believed", "time", now)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard, c.at = now, c.wall()
	if now.After(c.floor) {
		c.floor = now
	}
	if c.floor.Sub(c.kept) < keepClock {
		return
	}
	if err := durable.Write(c.path, []byte(clockLine(lh.MillisOf(c.floor))), 0o600); err != nil {
		c.log.Warn("the time could not be kept", "err", err)
		return
	}
	c.kept = c.floor
}

// Now is the best guess: the hub's time going on, or the device's clock while nothing was heard.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.wall()
	if c.heard.IsZero() {
		return now
	}
	guess := c.heard.Add(now.Sub(c.at)) // the difference is monotonic: setting the clock does not move it
	// It stands still while the machine sleeps, and the hub may not have been heard by HTTPS for weeks. A clock that is
	// kept right is then the better one.
	if now = now.Round(0); now.After(guess) && c.synced() {
		return now
	}
	return guess
}

// Floor is a time that has passed for certain.
func (c *clock) Floor() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.floor
}

// Unsure reports that nothing has confirmed the device's clock.
func (c *clock) Unsure() bool {
	c.mu.Lock()
	heard := !c.heard.IsZero()
	c.mu.Unlock()
	return !heard && !c.synced()
}

// offset is the device's clock minus the hub's, when it was heard.
func (c *clock) offset() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heard.IsZero() {
		return 0, false
	}
	return c.at.Round(0).Sub(c.heard), true
}

// kernelSynced reports whether the kernel's clock is disciplined by a time service: adjtimex(2) without STA_UNSYNC.
func kernelSynced() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	const timeError, staUnsync = 5, 0x40
	return err == nil && state != timeError && t.Status&staUnsync == 0
}

// buildTime is when the source of this program was committed, which is a time that has passed; zero when the program
// does not know.
func buildTime() time.Time {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			if t, err := time.Parse(time.RFC3339, strings.TrimSpace(s.Value)); err == nil {
				return t
			}
		}
	}
	return time.Time{}
}
