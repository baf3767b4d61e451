package image

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/loggerhead-cloud/loggerhead/internal/durable"
)

// The stored security counter is one line of text, e.g. "loggerhead-counter-1 9 1f2e3d4c": the counter in decimal and
// the CRC-32 (IEEE) of what stands before it, against failing flash, not against people.
const (
	counterFile = "counter"
	counterForm = "loggerhead-counter-1 %d"
)

// LoadCounter reads the security counter from the state folder dir. No file is 0, as on a device that has confirmed
// nothing yet; no folder, or a file that cannot be read as a whole, is an error and nothing may run.
func LoadCounter(dir string) (uint32, error) {
	if st, err := os.Stat(dir); err != nil {
		return 0, fmt.Errorf("read security counter: %w", err)
	} else if !st.IsDir() {
		return 0, fmt.Errorf("read security counter: %s is not a folder", dir)
	}
	f, err := os.Open(filepath.Join(dir, counterFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read security counter: %w", err)
	}
	defer f.Close() // read only: a failing close loses nothing
	b, err := io.ReadAll(io.LimitReader(f, 100))
	if err != nil {
		return 0, fmt.Errorf("read security counter: %w", err)
	}
	var n uint32
	if _, err := fmt.Sscanf(string(b), counterForm, &n); err != nil || string(b) != counterLine(n) {
		return 0, fmt.Errorf("read security counter: %s is damaged; write it anew when you know which counter this device had", f.Name())
	}
	return n, nil
}

// RaiseCounter stores n as the security counter of the state folder dir; a stored one that is as great stays. It is for
// the moment an image is confirmed, never before, or a bad update locks out the one to fall back to. When it returns
// nil the counter is synced, file and folder; cut short, the counter is the old one or the new one.
func RaiseCounter(dir string, n uint32) error {
	old, err := LoadCounter(dir)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, counterFile)
	_, err = os.Lstat(name)
	if err == nil && old >= n {
		return nil
	}
	if err := durable.Write(name, []byte(counterLine(max(old, n))), 0o644); err != nil {
		return fmt.Errorf("raise security counter: %w", err)
	}
	return nil
}

func counterLine(n uint32) string {
	s := fmt.Sprintf(counterForm, n)
	return fmt.Sprintf("%s %08x\n", s, crc32.ChecksumIEEE([]byte(s)))
}
