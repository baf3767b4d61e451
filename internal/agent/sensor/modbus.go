package sensor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
	"github.com/simonvetter/modbus"
)

// modbusSensor reads registers of one device. It connects when it is asked and keeps the connection until it fails.
type modbusSensor struct {
	c        *Modbus
	unit     uint8
	serial   bool
	config   modbus.ClientConfiguration
	client   *modbus.ModbusClient // nil while not connected
	channels []wire.ManifestChannel
}

// size is how many registers a value takes; 0: there is no such type.
func (r *Register) size() uint16 {
	switch r.Type {
	case "uint16", "int16":
		return 1
	case "uint32", "int32", "float32":
		return 2
	case "float64":
		return 4
	}
	return 0
}

func newModbus(c *Modbus, interval time.Duration) (Sensor, error) {
	copied := *c
	copied.Registers = slices.Clone(c.Registers)
	c = &copied
	s := &modbusSensor{c: c, unit: 1}
	if c.Unit != nil {
		s.unit = *c.Unit
	}
	if s.unit > 247 {
		return nil, lh.Errorf(lh.Invalid, "unit: it is 0 to 247, not %d", s.unit)
	}
	if c.Timeout == 0 {
		c.Timeout = time.Second
	}
	if c.Timeout < 10*time.Millisecond || c.Timeout > time.Minute {
		return nil, lh.Errorf(lh.Invalid, "timeout: it is 10ms to 1m, not %v", c.Timeout)
	}
	if err := s.line(); err != nil {
		return nil, err
	}
	if len(c.Registers) == 0 {
		return nil, lh.Errorf(lh.Invalid, "registers: at least one is needed")
	}
	for i := range c.Registers {
		r := &c.Registers[i]
		r.fill()
		if err := r.check(); err != nil {
			return nil, err
		}
		s.channels = append(s.channels, r.describe(interval))
	}
	return s, nil
}

// line checks how the device is reached.
func (s *modbusSensor) line() error {
	c := s.c
	s.config = modbus.ClientConfiguration{URL: c.URL, Timeout: c.Timeout, Logger: log.New(io.Discard, "", 0)} // it returns its errors too
	if device, ok := strings.CutPrefix(c.URL, "rtu://"); ok {
		parity := map[string]uint{"": modbus.PARITY_NONE, "none": modbus.PARITY_NONE, "even": modbus.PARITY_EVEN, "odd": modbus.PARITY_ODD}
		p, ok := parity[c.Parity]
		switch {
		case !strings.HasPrefix(device, "/"):
			return lh.Errorf(lh.Invalid, "url: rtu:// needs the whole path of a serial device, e.g. rtu:///dev/ttyUSB0")
		case !ok:
			return lh.Errorf(lh.Invalid, "parity: it is none, even or odd, not %q", c.Parity)
		case c.DataBits != 0 && (c.DataBits < 5 || c.DataBits > 8):
			return lh.Errorf(lh.Invalid, "data_bits: they are 5 to 8, not %d", c.DataBits)
		case c.StopBits > 2:
			return lh.Errorf(lh.Invalid, "stop_bits: they are 1 or 2, not %d", c.StopBits)
		case c.Baud > 4000000:
			return lh.Errorf(lh.Invalid, "baud: it is at most 4000000, not %d", c.Baud)
		}
		s.serial = true
		s.config.Speed, s.config.DataBits, s.config.Parity, s.config.StopBits = c.Baud, c.DataBits, p, c.StopBits
		return nil
	}
	address, ok := strings.CutPrefix(c.URL, "tcp://")
	if !ok {
		return lh.Errorf(lh.Invalid, "url: it begins with tcp:// or rtu://, not as %q does", c.URL)
	}
	if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
		return lh.Errorf(lh.Invalid, "url: tcp:// needs a host and a port, e.g. tcp://192.0.2.1:502")
	}
	if c.Baud != 0 || c.DataBits != 0 || c.Parity != "" || c.StopBits != 0 {
		return lh.Errorf(lh.Invalid, "baud, data_bits, parity and stop_bits are for rtu:// only")
	}
	return nil
}

func (r *Register) fill() {
	for p, v := range map[*string]string{&r.Kind: "holding", &r.Type: "uint16", &r.Bytes: "big", &r.Words: "big"} {
		if *p == "" {
			*p = v
		}
	}
}

func (r *Register) check() error {
	if err := r.Channel.check(); err != nil {
		return err
	}
	switch {
	case r.Kind != "holding" && r.Kind != "input":
		return lh.Errorf(lh.Invalid, "channel %q: kind is holding or input, not %q", r.Key, r.Kind)
	case r.size() == 0:
		return lh.Errorf(lh.Invalid, "channel %q: type is uint16, int16, uint32, int32, float32 or float64, not %q", r.Key, r.Type)
	case r.Bytes != "big" && r.Bytes != "little" || r.Words != "big" && r.Words != "little":
		return lh.Errorf(lh.Invalid, "channel %q: bytes and words are big or little", r.Key)
	case int(r.Address)+int(r.size()) > 1<<16:
		return lh.Errorf(lh.Invalid, "channel %q: it goes beyond the last register", r.Key)
	}
	return nil
}

func (s *modbusSensor) Channels() []wire.ManifestChannel { return s.channels }

func (s *modbusSensor) Close() error {
	c := s.client
	s.client = nil
	if c == nil {
		return nil
	}
	return c.Close()
}

// connect makes sure that there is a connection.
func (s *modbusSensor) connect() error {
	if s.client != nil {
		return nil
	}
	config := s.config
	c, err := modbus.NewClient(&config)
	if err != nil {
		return err
	}
	if err := c.Open(); err != nil {
		return err
	}
	if err := c.SetUnitId(s.unit); err != nil {
		return errors.Join(err, c.Close())
	}
	s.client = c
	return nil
}

// maxSilent is how many requests in a row may fail before the device counts as away for this sample.
const maxSilent = 2

func (s *modbusSensor) Sample(ctx context.Context, now time.Time) ([]Record, error) {
	var out []Reading
	var errs []error
	silent, answered := 0, false
	for i := range s.c.Registers {
		r := &s.c.Registers[i]
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		if err := s.connect(); err != nil {
			errs = append(errs, fmt.Errorf("connect to %s: %w", s.c.URL, err))
			break
		}
		v, err := s.read(r)
		if err != nil {
			errs = append(errs, fmt.Errorf("channel %q at %s: %w", r.Key, s.c.URL, err))
			if exception(err) {
				silent, answered = 0, true
			} else if silent++; silent == maxSilent || s.serial && errors.Is(err, modbus.ErrRequestTimedOut) {
				break
			}
			continue
		}
		silent, answered = 0, true
		if math.IsNaN(v) || math.IsInf(v, 0) || slices.Contains(r.Absent, v) {
			continue
		}
		if x, ok := r.reading(v, lh.FlagNotEvaluated); ok {
			out = append(out, x)
		} else {
			errs = append(errs, lh.Errorf(lh.Invalid, "channel %q: the value is not finite", r.Key))
		}
	}
	if !answered {
		errs = append(errs, s.Close()) // a line that was pulled out can seem to be a silent one
	}
	if len(out) == 0 {
		return nil, errors.Join(errs...)
	}
	return []Record{{Time: lh.MillisOf(now), Readings: out}}, errors.Join(errs...)
}

// noise reports whether an error says that bytes on the line were spoilt. The library then waits for what still comes,
// and throws it away.
func noise(err error) bool {
	return slices.ContainsFunc([]error{modbus.ErrBadCRC, modbus.ErrShortFrame, modbus.ErrProtocolError},
		func(e error) bool { return errors.Is(err, e) })
}

// exception reports whether the device answered, but not with a value: then the connection is good.
func exception(err error) bool {
	return slices.ContainsFunc([]error{modbus.ErrIllegalFunction, modbus.ErrIllegalDataAddress, modbus.ErrIllegalDataValue,
		modbus.ErrServerDeviceFailure, modbus.ErrAcknowledge, modbus.ErrServerDeviceBusy, modbus.ErrMemoryParityError,
		modbus.ErrGWPathUnavailable, modbus.ErrGWTargetFailedToRespond}, func(e error) bool { return errors.Is(err, e) })
}

// read reads one register value, raw. After an error there is no connection any more: an answer that comes late must not
// be taken for the next one. On a serial line nothing tells them apart, so that after a timeout the rest of the sample is
// given up, and opening anew throws away what came meanwhile. Through noise a line stays open, since some devices begin
// anew when it is opened.
func (s *modbusSensor) read(r *Register) (float64, error) {
	kind := modbus.HOLDING_REGISTER
	if r.Kind == "input" {
		kind = modbus.INPUT_REGISTER
	}
	n := 2 * r.size()
	b, err := s.client.ReadRawBytes(r.Address, n, kind)
	if err == nil && len(b) != int(n) {
		err = modbus.ErrProtocolError
	}
	if err != nil {
		if !exception(err) && !(s.serial && noise(err)) {
			if c := s.Close(); c != nil {
				err = errors.Join(err, c)
			}
		}
		return 0, err
	}
	return r.decode(b), nil
}

// decode makes the number of a value's bytes as they were sent.
func (r *Register) decode(b []byte) float64 {
	if r.Bytes == "little" {
		for i := 0; i+1 < len(b); i += 2 {
			b[i], b[i+1] = b[i+1], b[i]
		}
	}
	if r.Words == "little" {
		for i, j := 0, len(b)-2; i < j; i, j = i+2, j-2 {
			b[i], b[i+1], b[j], b[j+1] = b[j], b[j+1], b[i], b[i+1]
		}
	}
	switch r.Type {
	case "int16":
		return float64(int16(binary.BigEndian.Uint16(b)))
	case "uint32":
		return float64(binary.BigEndian.Uint32(b))
	case "int32":
		return float64(int32(binary.BigEndian.Uint32(b)))
	case "float32":
		return widen(math.Float32frombits(binary.BigEndian.Uint32(b)))
	case "float64":
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
	return float64(binary.BigEndian.Uint16(b))
}

// widen returns the shortest decimal number that is this float32 and no other: 3.4, where the instrument meant 3.4, and
// not 3.4000000953674316.
func widen(f float32) float64 {
	v, err := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	if err != nil {
		return float64(f)
	}
	return v
}
