package sensor

import (
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Config is one entry of the agent's `sensors:`. The comments of its fields are the reference. It has the section of
// its type, and no other; only the simulator's may be left out.
type Config struct {
	// simulator, csv, command, file or modbus.
	Type string `yaml:"type"`

	// Time between samples, 100ms to 24h.
	Interval time.Duration `yaml:"interval"`

	Simulator *Simulator `yaml:"simulator,omitempty"`
	CSV       *CSV       `yaml:"csv,omitempty"`
	Command   *Command   `yaml:"command,omitempty"`
	File      *File      `yaml:"file,omitempty"`
	Modbus    *Modbus    `yaml:"modbus,omitempty"`
}

// Channel describes one channel of a sensor.
type Channel struct {
	// Port and quantity, unique on the device, e.g. "1/water_level".
	Key string `yaml:"key"`

	// What people see [the key].
	Name string `yaml:"name,omitempty"`

	// E.g. water_level, temperature, conductivity, rain, battery_voltage.
	Quantity string `yaml:"quantity,omitempty"`

	// UCUM code, e.g. m, Cel, uS/cm, mm, V.
	Unit string `yaml:"unit,omitempty"`

	// Digits after the decimal point when shown, 0 to 12.
	Digits int `yaml:"digits,omitempty"`

	// What the time of a sample stands for: instantaneous, preceding_mean, preceding_sum, preceding_min, preceding_max,
	// succeeding_mean or counter.
	Meaning lh.Meaning `yaml:"meaning,omitempty"`

	// The value is what was read × scale + offset [1, 0].
	Scale  *float64 `yaml:"scale,omitempty"`
	Offset float64  `yaml:"offset,omitempty"`
}

// Simulator is a hydrological station that exists only in arithmetic: water level, water temperature, conductivity,
// a tipping-bucket rain counter and the battery.
type Simulator struct {
	// Two stations with different seeds have different weather.
	Seed uint64 `yaml:"seed,omitempty"`

	// How much faster than real its world runs, 1 to 3600 [1].
	Speed float64 `yaml:"speed,omitempty"`

	// Now and then a channel, a sample or some minutes are missing [true].
	Gaps *bool `yaml:"gaps,omitempty"`

	// Now and then a record has a wrong clock: 1970, an hour back, or 2036 [false].
	ClockFaults bool `yaml:"clock_faults,omitempty"`

	// The first sample brings the records of this long before it, up to 31 days, as of a logger that was out of reach.
	History time.Duration `yaml:"history,omitempty"`

	// Time between those records [the interval]; there are at most 100000.
	HistoryInterval time.Duration `yaml:"history_interval,omitempty"`
}

// CSV replays a file of readings with their own times, once: one instant per sample. Rows of one instant stand together.
// The file must be complete, have a header line, and at most 64 MiB; it must not change.
type CSV struct {
	// The file.
	File string `yaml:"file"`

	// A file that keeps how far the replay is.
	State string `yaml:"state"`

	// One character between fields [,].
	Delimiter string `yaml:"delimiter,omitempty"`

	// Numbers have a decimal comma [false].
	DecimalComma bool `yaml:"decimal_comma,omitempty"`

	// Column of the time.
	Time string `yaml:"time"`

	// How it is written: unix, unix_ms, or a layout of Go's time package [2006-01-02T15:04:05Z07:00].
	TimeFormat string `yaml:"time_format,omitempty"`

	// The zone of times that do not say theirs: an IANA name or an offset like -05:00 [UTC].
	Zone string `yaml:"zone,omitempty"`

	// Columns that together name the channel, when each row has one value. Without them each channel has a column.
	Key []string `yaml:"key,omitempty"`

	// Column of the value, when each row has one.
	Value string `yaml:"value,omitempty"`

	// Column of the unit, when each row has one, and what its words mean in UCUM. A row whose unit is not its channel's
	// is refused.
	Unit  string            `yaml:"unit,omitempty"`
	Units map[string]string `yaml:"units,omitempty"`

	// Column of the quality, and the flag of its words (1 good, 2 not evaluated, 3 suspect, 4 bad); other words are 2.
	// Without such a column the flag is 2.
	Flag  string             `yaml:"flag,omitempty"`
	Flags map[string]lh.Flag `yaml:"flags,omitempty"`

	// The time that is expected between readings of the file, e.g. 24h; charts show a greater distance as a gap [unknown].
	Every time.Duration `yaml:"every,omitempty"`

	// Words that mean that there is no value, besides an empty field and NAN.
	Absent []string `yaml:"absent,omitempty"`

	// How much faster than it happened the file is replayed, counted from the start of the agent [0: one instant per
	// sample, whatever its time].
	Speed float64 `yaml:"speed,omitempty"`

	// The channels; rows of others are left out.
	Channels []MatchChannel `yaml:"channels"`
}

// MatchChannel is a channel and how its values are found.
type MatchChannel struct {
	// csv: the key columns' values joined by "/", or the column of the values. command: the word before the "=".
	Match string `yaml:"match,omitempty"`

	Channel `yaml:",inline"`
}

// Command runs a program and reads its output: one number, or lines of word=number.
type Command struct {
	// The program and its arguments. There is no shell.
	Run []string `yaml:"run"`

	// How long it may take, 100ms to 10m [10s].
	Timeout time.Duration `yaml:"timeout,omitempty"`

	// Words that mean that there is no value, besides nothing and NAN.
	Absent []string `yaml:"absent,omitempty"`

	// One channel without a match takes one number; channels with one take the number of their line.
	Channels []MatchChannel `yaml:"channels"`
}

// File reads a number from a file, e.g. of /sys/class/hwmon.
type File struct {
	// The file.
	Path string `yaml:"path"`

	// Words that mean that there is no value, besides nothing and NAN.
	Absent []string `yaml:"absent,omitempty"`

	Channel `yaml:",inline"`
}

// Modbus reads registers of one device over Modbus TCP or RTU.
type Modbus struct {
	// tcp://host:port, or rtu:///dev/ttyUSB0.
	URL string `yaml:"url"`

	// The device's address, 0 to 247 [1].
	Unit *uint8 `yaml:"unit,omitempty"`

	// How long one answer may take, 10ms to 1m [1s].
	Timeout time.Duration `yaml:"timeout,omitempty"`

	// Serial line of RTU: speed [19200], data bits [8], parity none, even or odd [none], stop bits [2 without parity,
	// else 1].
	Baud     uint   `yaml:"baud,omitempty"`
	DataBits uint   `yaml:"data_bits,omitempty"`
	Parity   string `yaml:"parity,omitempty"`
	StopBits uint   `yaml:"stop_bits,omitempty"`

	// What is read, in this order. A device on a serial line that leaves a request unanswered is not asked further in that
	// sample.
	Registers []Register `yaml:"registers"`
}

// Register is one value of a Modbus device.
type Register struct {
	// The address as sent, counted from 0.
	Address uint16 `yaml:"address"`

	// holding or input [holding].
	Kind string `yaml:"kind,omitempty"`

	// uint16, int16, uint32, int32, float32 or float64 [uint16].
	Type string `yaml:"type,omitempty"`

	// Order of the bytes in a register, and of the registers in a value: big or little [big].
	Bytes string `yaml:"bytes,omitempty"`
	Words string `yaml:"words,omitempty"`

	// Numbers, as read, that mean that there is no value, e.g. -9999.
	Absent []float64 `yaml:"absent,omitempty"`

	Channel `yaml:",inline"`
}
