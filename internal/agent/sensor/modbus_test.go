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
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/simonvetter/modbus"
	"golang.org/x/sys/unix"
)

// plant is a Modbus device: its registers, and how it misbehaves.
type plant struct {
	mu       sync.Mutex
	holding  map[uint16]uint16
	input    map[uint16]uint16
	unit     uint8
	requests int
}

func (p *plant) read(from map[uint16]uint16, unit uint8, addr, n uint16) ([]uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests++
	if unit != p.unit {
		return nil, modbus.ErrGWTargetFailedToRespond
	}
	var out []uint16
	for i := range n {
		v, ok := from[addr+i]
		if !ok {
			return nil, modbus.ErrIllegalDataAddress
		}
		out = append(out, v)
	}
	return out, nil
}

func (p *plant) HandleCoils(*modbus.CoilsRequest) ([]bool, error) {
	return nil, modbus.ErrIllegalFunction
}

func (p *plant) HandleDiscreteInputs(*modbus.DiscreteInputsRequest) ([]bool, error) {
	return nil, modbus.ErrIllegalFunction
}

func (p *plant) HandleHoldingRegisters(r *modbus.HoldingRegistersRequest) ([]uint16, error) {
	return p.read(p.holding, r.UnitId, r.Addr, r.Quantity)
}

func (p *plant) HandleInputRegisters(r *modbus.InputRegistersRequest) ([]uint16, error) {
	return p.read(p.input, r.UnitId, r.Addr, r.Quantity)
}

func newPlant() *plant {
	p := &plant{unit: 17, holding: map[uint16]uint16{}, input: map[uint16]uint16{}}
	put := func(m map[uint16]uint16, at uint16, bits uint64, registers int) {
		for i := range registers {
			m[at+uint16(i)] = uint16(bits >> (16 * (registers - 1 - i)))
		}
	}
	put(p.holding, 0, 65000, 1)
	minus := int16(-12345)
	put(p.holding, 1, uint64(uint16(minus)), 1)
	put(p.holding, 2, 4_000_000_000, 2)
	low := int32(-2_000_000_000)
	put(p.holding, 4, uint64(uint32(low)), 2)
	put(p.input, 100, uint64(math.Float32bits(3.4)), 2)
	put(p.input, 102, math.Float64bits(-math.Pi), 4)
	put(p.input, 106, uint64(math.Float32bits(float32(math.NaN()))), 2)
	put(p.input, 108, uint64(math.Float32bits(-9999)), 2)
	put(p.input, 110, uint64(math.Float32bits(float32(math.Inf(1)))), 2)
	// 3.4 again, with its words, its bytes, and both turned round
	b := math.Float32bits(3.4)
	put(p.input, 120, uint64(b<<16|b>>16), 2)
	swap := func(w uint16) uint16 { return w<<8 | w>>8 }
	p.input[122], p.input[123] = swap(uint16(b>>16)), swap(uint16(b))
	p.input[124], p.input[125] = swap(uint16(b)), swap(uint16(b>>16))
	put(p.holding, 65535, 7, 1)
	return p
}

func registers() []Register {
	r := func(at uint16, kind, typ, key string) Register {
		return Register{Address: at, Kind: kind, Type: typ, Channel: Channel{Key: key}}
	}
	out := []Register{
		r(0, "", "", "u16"), r(1, "holding", "int16", "i16"), r(2, "", "uint32", "u32"), r(4, "", "int32", "i32"),
		r(100, "input", "float32", "f32"), r(102, "input", "float64", "f64"), r(106, "input", "float32", "nan"),
		r(108, "input", "float32", "null"), r(110, "input", "float32", "inf"),
		r(120, "input", "float32", "words"), r(122, "input", "float32", "bytes"), r(124, "input", "float32", "both"),
		r(65535, "", "", "last"),
	}
	out[0].Scale, out[0].Offset = ptr(0.1), -10
	out[7].Absent = []float64{-9999}
	out[9].Words, out[10].Bytes, out[11].Words, out[11].Bytes = "little", "little", "little", "little"
	return out
}

var wantRegisters = map[string]float64{"u16": 6490, "i16": -12345, "u32": 4e9, "i32": -2e9, "f32": 3.4, "f64": -math.Pi,
	"words": 3.4, "bytes": 3.4, "both": 3.4, "last": 7}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// serve runs the plant as a Modbus TCP server.
func (p *plant) serve(t testing.TB, address string) *modbus.ModbusServer {
	t.Helper()
	s, err := modbus.NewServer(&modbus.ServerConfiguration{URL: "tcp://" + address, Timeout: 10 * time.Second, MaxClients: 5, Logger: quiet()}, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return s
}

// freeAddress is one that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestModbusTCP(t *testing.T) {
	p, address := newPlant(), freeAddress(t)
	server := p.serve(t, address)
	s := mustNew(t, Config{Type: "modbus", Interval: time.Second, Modbus: &Modbus{URL: "tcp://" + address, Unit: ptr(uint8(17)), Timeout: 5 * time.Second, Registers: registers()}}, "")
	got, err := sample(t, s)
	if d := cmp.Diff(wantRegisters, got); err != nil || d != "" {
		t.Fatalf("%v %s", err, d)
	}

	// A register that is not there leaves the others.
	p.mu.Lock()
	delete(p.holding, 1)
	p.mu.Unlock()
	got, err = sample(t, s)
	if len(got) != len(wantRegisters)-1 || !errors.Is(err, modbus.ErrIllegalDataAddress) || !strings.Contains(err.Error(), `"i16"`) {
		t.Fatalf("%d values, %v", len(got), err)
	}

	// The device goes away and comes back: an error, soon, and then values again.
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	got, err = sample(t, s)
	if err == nil || len(got) != 0 || time.Since(begin) > 20*time.Second {
		t.Fatalf("without a device: %v, %v after %v", got, err, time.Since(begin))
	}
	if got, err = sample(t, s); err == nil || len(got) != 0 {
		t.Fatalf("without a device: %v, %v", got, err)
	}
	server = p.serve(t, address)
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if got, _ = sample(t, s); len(got) != len(wantRegisters)-1 {
		t.Fatalf("after it came back: %v", got)
	}

	// Another unit does not answer, and that is no value.
	other := mustNew(t, Config{Type: "modbus", Interval: time.Second, Modbus: &Modbus{URL: "tcp://" + address, Registers: registers()}}, "")
	if got, err = sample(t, other); len(got) != 0 || !errors.Is(err, modbus.ErrGWTargetFailedToRespond) {
		t.Fatalf("%v %v", got, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if recs, err := s.Sample(ctx, noon); !errors.Is(err, context.Canceled) || len(recs) > 0 {
		t.Fatalf("canceled: %v %v", recs, err)
	}
}

// A device that takes connections and never answers, or answers with rubbish, costs two timeouts a sample.
func TestModbusHostileDevice(t *testing.T) {
	for name, answer := range map[string][]byte{
		"silent":  nil,
		"rubbish": []byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
		"huge":    {0, 1, 0, 0, 255, 255, 1, 3, 250},
		"short":   {0, 1, 0, 0, 0, 5, 1, 3, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			defer wg.Wait()
			defer l.Close()
			wg.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					wg.Go(func() {
						defer c.Close()
						b := make([]byte, 64)
						for {
							if _, err := c.Read(b); err != nil {
								return
							}
							if _, err := c.Write(answer); err != nil {
								return
							}
						}
					})
				}
			})
			s := mustNew(t, Config{Type: "modbus", Interval: time.Second, Modbus: &Modbus{URL: "tcp://" + l.Addr().String(),
				Timeout: 100 * time.Millisecond, Registers: registers()}}, "")
			begin := time.Now()
			got, err := sample(t, s)
			if err == nil || len(got) != 0 {
				t.Fatalf("%v %v", got, err)
			}
			if took := time.Since(begin); took > 10*time.Second {
				t.Fatalf("it took %v", took)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// openPTY makes a pseudo-terminal: the test's end of a serial line, and the path of the other.
func openPTY(t testing.TB) (*os.File, string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	f := os.NewFile(uintptr(fd), "ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	term, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	term.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG | unix.IEXTEN
	term.Iflag &^= unix.ICRNL | unix.IXON | unix.ISTRIP | unix.INPCK
	term.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, term); err != nil {
		t.Fatal(err)
	}
	return f, fmt.Sprintf("/dev/pts/%d", n)
}

// crc16 is the checksum of Modbus over serial line (V1.02, 6.2.2).
func crc16(b []byte) uint16 {
	crc := uint16(0xffff)
	for _, x := range b {
		crc ^= uint16(x)
		for range 8 {
			if low := crc & 1; low != 0 {
				crc = crc>>1 ^ 0xa001
			} else {
				crc >>= 1
			}
		}
	}
	return crc
}

// serveRTU answers requests on a serial line as the plant's unit does, until the line is closed.
func (p *plant) serveRTU(line io.ReadWriter, spoil func(frame []byte) []byte) {
	req := make([]byte, 8)
	for {
		if _, err := io.ReadFull(line, req); err != nil {
			return
		}
		if binary.LittleEndian.Uint16(req[6:]) != crc16(req[:6]) || req[0] != p.unit {
			continue // a device does not answer what is not for it
		}
		from := p.holding
		if req[1] == 4 {
			from = p.input
		}
		words, err := p.read(from, req[0], binary.BigEndian.Uint16(req[2:]), binary.BigEndian.Uint16(req[4:]))
		frame := []byte{req[0], req[1]}
		if err != nil {
			frame[1] |= 0x80
			frame = append(frame, 2) // illegal data address
		} else {
			frame = append(frame, byte(2*len(words)))
			for _, w := range words {
				frame = binary.BigEndian.AppendUint16(frame, w)
			}
		}
		frame = binary.LittleEndian.AppendUint16(frame, crc16(frame))
		if spoil != nil {
			frame = spoil(frame)
		}
		if _, err := line.Write(frame); err != nil {
			return
		}
	}
}

func TestModbusRTU(t *testing.T) {
	line, path := openPTY(t)
	p := newPlant()
	var mu sync.Mutex
	bad := 0  // how many answers are spoilt
	late := 0 // how many come too late
	var wg sync.WaitGroup
	wg.Go(func() {
		p.serveRTU(line, func(frame []byte) []byte {
			mu.Lock()
			defer mu.Unlock()
			if bad > 0 {
				bad--
				frame[len(frame)-1] ^= 0x55
			}
			if late > 0 {
				late--
				time.Sleep(1800 * time.Millisecond)
			}
			return frame
		})
	})
	defer wg.Wait()
	defer line.Close()
	held, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0) // or the terminal hangs up between two openings
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	c := &Modbus{URL: "rtu://" + path, Unit: ptr(uint8(17)), Baud: 115200, Parity: "none", Timeout: 1500 * time.Millisecond, Registers: registers()}
	s := mustNew(t, Config{Type: "modbus", Interval: time.Second, Modbus: c}, "")
	got, err := sample(t, s)
	if d := cmp.Diff(wantRegisters, got); err != nil || d != "" {
		t.Fatalf("%v %s", err, d)
	}

	// One spoilt answer costs its channel, no other.
	mu.Lock()
	bad = 1
	mu.Unlock()
	got, err = sample(t, s)
	if !errors.Is(err, modbus.ErrBadCRC) || len(got) != len(wantRegisters)-1 {
		t.Fatalf("a spoilt answer: %v, %v", err, got)
	}
	if _, ok := got["u16"]; ok {
		t.Fatal("the spoilt answer was believed")
	}

	// An answer that comes too late is not taken for that of the next register, nor in the next sample.
	mu.Lock()
	late = 1
	mu.Unlock()
	got, err = sample(t, s)
	if !errors.Is(err, modbus.ErrRequestTimedOut) || len(got) != 0 {
		t.Fatalf("a late answer: %v, %v", err, got)
	}
	waitFor(t, func() bool { n, err := unix.IoctlGetInt(int(held.Fd()), unix.TIOCINQ); return err == nil && n > 0 })
	got, err = sample(t, s)
	if d := cmp.Diff(wantRegisters, got); err != nil || d != "" {
		t.Fatalf("after a late answer: %v %s", err, d)
	}

	// A unit that is not on the line is silent.
	silent := *c
	silent.Unit, silent.Timeout = ptr(uint8(18)), 100*time.Millisecond
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other := mustNew(t, Config{Type: "modbus", Interval: time.Second, Modbus: &silent}, "")
	if got, err := sample(t, other); !errors.Is(err, modbus.ErrRequestTimedOut) || len(got) != 0 {
		t.Fatalf("%v %v", got, err)
	}
	gone := mustNew(t, Config{Type: "modbus", Interval: time.Second, Modbus: &Modbus{URL: "rtu:///dev/no-such-line", Registers: registers()}}, "")
	if got, err := sample(t, gone); !errors.Is(err, os.ErrNotExist) || len(got) != 0 {
		t.Fatalf("%v %v", got, err)
	}
}

// waitFor waits until something has happened.
func waitFor(t testing.TB, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !happened(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen in 10 s")
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestModbusConfig(t *testing.T) {
	good := func() *Modbus {
		return &Modbus{URL: "tcp://127.0.0.1:502", Registers: []Register{{Channel: Channel{Key: "a"}}}}
	}
	for name, change := range map[string]func(m *Modbus){
		"no registers":  func(m *Modbus) { m.Registers = nil },
		"scheme":        func(m *Modbus) { m.URL = "udp://127.0.0.1:502" },
		"no port":       func(m *Modbus) { m.URL = "tcp://127.0.0.1" },
		"relative line": func(m *Modbus) { m.URL = "rtu://ttyUSB0" },
		"tcp with baud": func(m *Modbus) { m.Baud = 9600 },
		"parity":        func(m *Modbus) { m.URL, m.Parity = "rtu:///dev/ttyS0", "mark" },
		"data bits":     func(m *Modbus) { m.URL, m.DataBits = "rtu:///dev/ttyS0", 9 },
		"stop bits":     func(m *Modbus) { m.URL, m.StopBits = "rtu:///dev/ttyS0", 3 },
		"unit":          func(m *Modbus) { m.Unit = ptr(uint8(248)) },
		"timeout":       func(m *Modbus) { m.Timeout = time.Hour },
		"kind":          func(m *Modbus) { m.Registers[0].Kind = "coil" },
		"type":          func(m *Modbus) { m.Registers[0].Type = "uint8" },
		"order":         func(m *Modbus) { m.Registers[0].Words = "middle" },
		"beyond":        func(m *Modbus) { m.Registers[0].Address, m.Registers[0].Type = 65535, "uint32" },
		"scale":         func(m *Modbus) { m.Registers[0].Scale = ptr(0.0) },
		"key":           func(m *Modbus) { m.Registers[0].Key = "" },
	} {
		m := good()
		change(m)
		if _, err := New(Config{Type: "modbus", Interval: time.Second, Modbus: m}, "", nil); lh.CodeOf(err) != lh.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustNew(t, Config{Type: "modbus", Interval: time.Second, Modbus: good()}, "")
}
