package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/sensor"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/wal"
	"github.com/loggerhead-cloud/loggerhead/internal/config"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// Config is the configuration of a datalogger. The comments of its fields are the reference; `loggerhead-agent config
// example` prints them. Relative paths are relative to the file's folder. Unknown keys are errors.
type Config struct {
	// The hub this datalogger belongs to.
	Hub HubConfig `yaml:"hub"`

	// The serial on the box, under which the device is listed at the hub.
	Serial string `yaml:"serial"`

	// What kind of device this is; told to the hub.
	Hardware string `yaml:"hardware"`

	// File with the one-time claim code from the box. It is read only while the device has no valid certificate, and may
	// be deleted afterwards. To enrol again (revoked, or switched off for longer than a certificate lives), put a new
	// code into it.
	ClaimCodeFile string `yaml:"claim_code_file"`

	// Where the datalogger keeps its identity, its log and its status. Made when missing, mode 0700.
	Data string `yaml:"data"`

	// The datalogger's own log of samples.
	Samples SamplesConfig `yaml:"samples"`

	// How samples get to the hub.
	Upload UploadConfig `yaml:"upload"`

	// What is logged, to standard error.
	Log config.Log `yaml:"log"`

	// What is sampled, one entry a sensor. Its relative paths, too, are relative to this file's folder.
	Sensors []sensor.Config `yaml:"sensors"`

	base string // the folder of the file
}

// HubConfig says where the hub is and how it is known.
type HubConfig struct {
	// Its HTTPS address for devices.
	HTTPS string `yaml:"https"`

	// Its MQTT address for devices, host and port; empty is HTTPS only.
	MQTT string `yaml:"mqtt"`

	// PEM file with the root certificate of the installation (the hub's root.pem), or the old and the new one while they
	// change. No public authority is believed.
	Roots string `yaml:"roots"`

	// The host name in the hub's certificate, where it is not the one in the addresses.
	Name string `yaml:"name"`
}

// SamplesConfig bounds the datalogger's own log.
type SamplesConfig struct {
	// How large the log may get on disk, in MiB.
	MaxMiB int64 `yaml:"max_mib"`

	// How much of what the hub has acknowledged is kept all the same, in MiB, so that it can be read back here.
	KeepAckedMiB int64 `yaml:"keep_acked_mib"`

	// What happens when the log is full of samples that the hub does not have: drop_oldest lets the oldest go, stop
	// takes no new ones. Both are counted and reported.
	WhenFull wal.Policy `yaml:"when_full"`
}

// UploadConfig says how samples get to the hub.
type UploadConfig struct {
	// Send each new sample at once, by MQTT where the hub has it, else by HTTPS. Otherwise samples are gathered for
	// the interval.
	Live bool `yaml:"live"`

	// How long samples are gathered before they are sent, when not live.
	Interval time.Duration `yaml:"interval"`

	// The most records, and the most KiB, of one batch. On a slow link the program takes less by itself.
	MaxRecords int `yaml:"max_records"`
	MaxKiB     int `yaml:"max_kib"`

	// The longest wait between two attempts while the hub cannot be reached.
	MaxBackoff time.Duration `yaml:"max_backoff"`
}

// DefaultConfig is what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{
		Hub:      HubConfig{HTTPS: "https://localhost:8884", MQTT: "localhost:8883", Roots: "root.pem"},
		Hardware: "linux", ClaimCodeFile: "claim.code", Data: "data",
		Samples: SamplesConfig{MaxMiB: 256, KeepAckedMiB: 16, WhenFull: wal.DropOldest},
		Upload:  UploadConfig{Live: true, Interval: time.Minute, MaxRecords: 10000, MaxKiB: 512, MaxBackoff: 5 * time.Minute},
		Log:     config.Log{Level: slog.LevelInfo, Format: "text"},
	}
}

const maxSensors = 256

// LoadConfig reads a configuration file and checks it.
func LoadConfig(path string) (Config, error) {
	c := DefaultConfig()
	b, err := config.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, lh.Errorf(lh.NotFound, "there is no configuration at %s; `loggerhead-agent config example` prints one", path)
	}
	if err != nil {
		return c, fmt.Errorf("read configuration: %w", err)
	}
	abs, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return c, err
	}
	if err := c.parse(b, abs); err != nil {
		return c, lh.Errorf(lh.Invalid, "configuration %s: %v", path, err)
	}
	return c, nil
}

// parse reads YAML over what c holds; base is the folder that relative paths are relative to.
func (c *Config) parse(b []byte, base string) error {
	if err := config.Parse(b, c); err != nil {
		return err
	}
	c.base = base
	for _, p := range []*string{&c.Hub.Roots, &c.ClaimCodeFile, &c.Data} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(base, *p)
		}
	}
	return c.check()
}

var serialForm = regexp.MustCompile(`^[A-Za-z0-9._/-]{1,64}$`)

// check refuses what is ambiguous or dangerous.
func (c *Config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	u, err := url.Parse(c.Hub.HTTPS)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		bad("hub.https: %q is no address such as https://hub.example.org:8884", c.Hub.HTTPS)
	}
	if c.Hub.MQTT != "" {
		host, port, err := net.SplitHostPort(c.Hub.MQTT)
		if n, e := strconv.ParseUint(port, 10, 16); err != nil || host == "" || e != nil || n == 0 {
			bad("hub.mqtt: %q is no host and port such as hub.example.org:8883", c.Hub.MQTT)
		}
	}
	if c.Hub.Roots == "" {
		bad("hub.roots: the hub is believed under a pinned root certificate only; name its file")
	}
	if !serialForm.MatchString(c.Serial) {
		bad("serial: %.80q is not 1 to 64 letters, digits and -._/", c.Serial)
	}
	if len(c.Hardware) > 64 || !utf8.ValidString(c.Hardware) {
		bad("hardware: it has at most 64 bytes of text")
	}
	if c.Data == "" {
		bad("data: a folder is needed")
	}
	if c.Samples.MaxMiB < 4 || c.Samples.MaxMiB > 1<<20 {
		bad("samples.max_mib: %d is not between 4 and %d", c.Samples.MaxMiB, 1<<20)
	}
	if c.Samples.KeepAckedMiB < 0 || c.Samples.KeepAckedMiB > c.Samples.MaxMiB {
		bad("samples.keep_acked_mib: %d is not between 0 and max_mib", c.Samples.KeepAckedMiB)
	}
	if c.Samples.WhenFull != wal.DropOldest && c.Samples.WhenFull != wal.Stop {
		bad("samples.when_full: %q is neither %s nor %s", c.Samples.WhenFull, wal.DropOldest, wal.Stop)
	}
	if c.Upload.Interval < time.Second || c.Upload.Interval > 24*time.Hour {
		bad("upload.interval: %s is not between 1s and 24h", c.Upload.Interval)
	}
	if c.Upload.MaxRecords < 1 || c.Upload.MaxRecords > wire.MaxRecords {
		bad("upload.max_records: %d is not between 1 and %d", c.Upload.MaxRecords, wire.MaxRecords)
	}
	if c.Upload.MaxKiB < 16 || c.Upload.MaxKiB > wire.MaxBatchBytes>>10 {
		bad("upload.max_kib: %d is not between 16 and %d", c.Upload.MaxKiB, wire.MaxBatchBytes>>10)
	}
	if c.Upload.MaxBackoff < time.Second || c.Upload.MaxBackoff > time.Hour {
		bad("upload.max_backoff: %s is not between 1s and 1h", c.Upload.MaxBackoff)
	}
	if err := c.Log.Check(); err != nil {
		bad("log.%w", err)
	}
	if len(c.Sensors) == 0 || len(c.Sensors) > maxSensors {
		bad("sensors: %d of them; 1 to %d are possible", len(c.Sensors), maxSensors)
	}
	return errors.Join(errs...)
}

// hostOf is the host name of an address that check has accepted.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
