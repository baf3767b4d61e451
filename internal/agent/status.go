package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/agent/wal"
	"github.com/loggerhead-cloud/loggerhead/internal/durable"
)

// Status is how the datalogger is, as its status file says it.
type Status struct {
	Version  string         `json:"version"`
	Process  int            `json:"process"` // 0 when it has stopped
	Started  lh.Millis      `json:"started"`
	Written  lh.Millis      `json:"written"`
	Serial   string         `json:"serial"`
	Device   lh.DeviceID    `json:"device,omitempty"`
	NotAfter lh.Millis      `json:"certificate_not_after,omitempty"`
	Samples  SamplesStatus  `json:"samples"`
	Uplink   UplinkStatus   `json:"uplink"`
	Sensors  []SensorStatus `json:"sensors"`
}

// SamplesStatus is how its own log is.
type SamplesStatus struct {
	Log     string    `json:"log"`
	Last    uint32    `json:"last"`
	Acked   uint32    `json:"acked"`
	Unacked int64     `json:"unacked"`
	Oldest  lh.Millis `json:"oldest_unacked,omitempty"`
	Bytes   int64     `json:"bytes"`
	Dropped uint64    `json:"dropped"`
	Aside   uint64    `json:"aside"`
	Damaged uint64    `json:"damaged_bytes"`
	Error   string    `json:"error,omitempty"`
}

// UplinkStatus is how the way to the hub is. Counts are since the start.
type UplinkStatus struct {
	Project     lh.ProjectID `json:"project,omitempty"`
	Hub         string       `json:"trouble,omitempty"` // why nothing gets there; "" when all is well
	MQTT        string       `json:"mqtt"`              // up, off, or why there is no session
	Failures    int          `json:"failures"`          // one after another
	Reached     lh.Millis    `json:"reached,omitempty"` // the hub answered, by the device's clock
	Acked       lh.Millis    `json:"acked,omitempty"`
	Records     int64        `json:"records_acked"`
	ByMQTT      int64        `json:"batches_by_mqtt"`
	ByHTTPS     int64        `json:"batches_by_https"`
	ClockOffset int64        `json:"clock_offset_ms"` // the device's clock minus the hub's
}

// SensorStatus is how one sensor is. Counts are since the start.
type SensorStatus struct {
	Name     string    `json:"name"`
	Records  int64     `json:"records"`
	Last     lh.Millis `json:"last,omitempty"` // time of its last record
	Lost     int64     `json:"lost"`           // records that the log did not take
	Failures int       `json:"failures"`
	Error    string    `json:"error,omitempty"` // the last one
}

const maxStatus = 1 << 20

// status gathers how everything is.
func (a *Agent) status() Status {
	s := Status{Version: a.o.Version, Process: a.pid, Started: a.started, Serial: a.o.Config.Serial,
		Device: a.id.device(), Uplink: a.uplink.status(), Sensors: []SensorStatus{}}
	if c := a.id.cert.Load(); c != nil {
		s.NotAfter = lh.MillisOf(c.NotAfter)
	}
	w, err := a.samples.Stats()
	s.Samples = samplesStatus(w)
	if err != nil {
		s.Samples.Error = printable(err.Error())
	}
	switch {
	case a.live == nil:
		s.Uplink.MQTT = "off"
	case a.live.up() != nil:
		s.Uplink.MQTT = "up"
	default:
		s.Uplink.MQTT = "no session"
		if why := a.live.last.Load(); why != nil {
			s.Uplink.MQTT += ": " + printable(*why)
		}
	}
	for _, p := range a.samplers {
		s.Sensors = append(s.Sensors, p.status())
	}
	return s
}

func samplesStatus(w wal.Stats) SamplesStatus {
	return SamplesStatus{Log: fmt.Sprintf("%016x", w.Log), Last: w.Last, Acked: w.Acked, Unacked: w.Unacked, Oldest: w.Oldest,
		Bytes: w.Bytes, Dropped: w.Dropped, Aside: w.Aside, Damaged: w.Damaged}
}

// health is the part of a status whose change is worth a write at once.
func (s *Status) health() string {
	return fmt.Sprint(s.Device, s.NotAfter, s.Uplink.Hub == "", s.Uplink.MQTT == "up", s.Samples.Dropped, s.Samples.Aside, s.Samples.Error)
}

// write writes the status file.
func (s *Status) write(dir string, now time.Time) error {
	s.Written = lh.MillisOf(now)
	return s.save(dir)
}

func (s *Status) save(dir string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return durable.Write(filepath.Join(dir, statusFile), append(b, '\n'), 0o644)
}

// enrolled tells the status of an agent that has stopped which certificate there is now; the rest stays as of then.
func enrolled(dir string, i *identity) error {
	b, err := readBounded(filepath.Join(dir, statusFile), maxStatus)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var s Status
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return err
	}
	if c := i.cert.Load(); c != nil {
		s.Device, s.NotAfter = i.device(), lh.MillisOf(c.NotAfter)
	}
	return s.save(dir)
}

// PrintStatus prints the status that the running agent wrote last.
func PrintStatus(w io.Writer, c Config, asJSON bool) error {
	b, err := readBounded(filepath.Join(c.Data, statusFile), maxStatus)
	if errors.Is(err, fs.ErrNotExist) {
		return lh.Errorf(lh.NotFound, "no agent has run on %s yet", c.Data)
	}
	if err != nil {
		return fmt.Errorf("read status: %w", err)
	}
	if asJSON {
		_, err := w.Write(b)
		return err
	}
	var s Status
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("read status: %w", err)
	}
	_, err = w.Write(s.text())
	return err
}

func (s *Status) text() []byte {
	var b bytes.Buffer
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", key, fmt.Sprintf(format, args...))
	}
	at := func(t lh.Millis) string {
		if t == 0 {
			return "never"
		}
		return t.Time().Format(time.RFC3339)
	}
	if s.Process == 0 {
		line("agent", "%s, stopped at %s", s.Version, at(s.Written))
	} else {
		line("agent", "%s, process %d since %s, as of %s", s.Version, s.Process, at(s.Started), at(s.Written))
	}
	if s.Device == "" {
		line("device", "serial %s, not enrolled", s.Serial)
	} else {
		line("device", "serial %s, %s, certificate until %s", s.Serial, s.Device, at(s.NotAfter))
	}
	line("hub", "reached %s, acknowledged %s, %d batches by MQTT, %d by HTTPS, clock %+d ms", at(s.Uplink.Reached), at(s.Uplink.Acked),
		s.Uplink.ByMQTT, s.Uplink.ByHTTPS, s.Uplink.ClockOffset)
	if s.Uplink.Hub != "" {
		line("trouble", "%s (%d times)", s.Uplink.Hub, s.Uplink.Failures)
	}
	line("mqtt", "%s", s.Uplink.MQTT)
	line("samples", "record %d, acknowledged %d, %d to send, %d KiB, %d dropped, %d set aside", s.Samples.Last, s.Samples.Acked, s.Samples.Unacked,
		s.Samples.Bytes>>10, s.Samples.Dropped, s.Samples.Aside)
	if s.Samples.Unacked > 0 {
		line("", "oldest to send is of %s", at(s.Samples.Oldest))
	}
	if s.Samples.Error != "" {
		line("", "%s", s.Samples.Error)
	}
	for _, p := range s.Sensors {
		line("sensor", "%s: %d records, last %s, %d lost, %d failures %s", p.Name, p.Records, at(p.Last), p.Lost, p.Failures, p.Error)
	}
	return b.Bytes()
}

// PrintLog prints the device's own log, a line for each value: log, record, whether the hub has it, time, channel,
// value, flag.
func PrintLog(w io.Writer, c Config, unacked bool) error {
	fmt.Fprintln(w, "log\trecord\tacked\ttime\tchannel\tvalue\tflag")
	return wal.Each(filepath.Join(c.Data, samplesDir), func(log uint64, seq uint32, acked bool, r wal.Record) error {
		if unacked && acked {
			return nil
		}
		for _, v := range r.Values {
			_, err := fmt.Fprintf(w, "%016x\t%d\t%t\t%s\t%s\t%v\t%d\n", log, seq, acked, r.Time.Time().Format("2006-01-02T15:04:05.000Z07:00"), v.Channel, v.Value, v.Flag)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
