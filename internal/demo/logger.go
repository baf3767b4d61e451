package demo

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
	readings "github.com/loggerhead-cloud/loggerhead/deploy/demo"
	"github.com/loggerhead-cloud/loggerhead/internal/durable"
)

// Files in a datalogger's folder. Those in data are the agent's own; see its package.
const (
	configFile   = "agent.yaml"
	codeFile     = "claim.code"
	readingsFile = "usgs-01491000-daily.csv"
	dataDir      = "data"
	samplesDir   = "data/samples"
	identityFile = "data/identity.pem"
)

// logger is one datalogger: what it is, and its process.
type logger struct {
	key, serial, hardware string
	name                  string // for people
	location              string // name; "" is none
	maxOffline            int    // seconds
	live                  bool   // its samples are of now
	sensors               string // YAML, the sensors entry of its configuration
	csv                   bool

	dir    string
	device client.Device // as the hub knows it
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process has ended
	err    error         // how it ended; read after ended
}

// newLoggers returns the demo's dataloggers: two stations on the river and a replay of real readings, which were taken
// at another river, so it is at no location.
func newLoggers(dir string) []*logger {
	ls := []*logger{
		{key: "borris", serial: "DEMO-0001", hardware: "lh-sim-1", name: "Station Borris Krog", location: "Borris Krog", maxOffline: 60, live: true, sensors: simulator(1, "1s", false)},
		{key: "enge", serial: "DEMO-0002", hardware: "lh-sim-1", name: "Station Skjern Enge", location: "Skjern Enge", maxOffline: 60, live: true, sensors: simulator(2, "2s", true)},
		{key: "choptank", serial: "DEMO-0003", hardware: "lh-replay-1", name: "Choptank River 2012 (USGS replay)", maxOffline: 2 * 24 * 3600, csv: true, sensors: replay()},
	}
	for _, l := range ls {
		l.dir = filepath.Join(dir, loggersDir, l.key)
	}
	return ls
}

// needsCode reports whether the datalogger has no certificate that is good at now, so that it has to enrol.
func (l *logger) needsCode(it lh.Inventory, now time.Time) bool {
	b, err := os.ReadFile(filepath.Join(l.dir, identityFile))
	if err != nil || it.Device == "" {
		return true
	}
	pair, err := tls.X509KeyPair(b, b) // both are in the one file
	return err != nil || now.Add(time.Minute).After(pair.Leaf.NotAfter)
}

func (l *logger) forgetCode() error {
	if err := os.Remove(filepath.Join(l.dir, codeFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (l *logger) keepCode(code string) error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	return durable.Write(filepath.Join(l.dir, codeFile), []byte(code+"\n"), 0o600)
}

// code returns the claim code of a datalogger that is not claimed yet.
func (l *logger) code() (string, error) {
	b, err := os.ReadFile(filepath.Join(l.dir, codeFile))
	return strings.TrimSpace(string(b)), err
}

// configure writes the agent's configuration for the hub's present ports, and what it replays. A new station brings
// the past along.
func (l *logger) configure(h *hub, past time.Duration) error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	sensors := l.sensors
	if _, err := os.Stat(filepath.Join(l.dir, samplesDir)); errors.Is(err, fs.ErrNotExist) && l.live && past > 0 {
		sensors += history(past)
	}
	text := fmt.Sprintf(`# The configuration of %s. The demo writes it anew at every start.
serial: %s
hardware: %s
claim_code_file: %s
data: %s
hub:
  https: https://%s
  mqtt: %s
  roots: %q
upload:
  live: true
  max_backoff: 5s
sensors:
%s`, l.name, l.serial, l.hardware, codeFile, dataDir, h.addrs.Devices, h.addrs.MQTT, h.roots, sensors)
	if l.csv {
		if err := durable.Write(filepath.Join(l.dir, readingsFile), []byte(readings.USGSDaily()), 0o600); err != nil {
			return err
		}
	}
	return durable.Write(filepath.Join(l.dir, configFile), []byte(text), 0o600)
}

// start starts the agent's process: in a process group of its own, so that a Ctrl-C at the terminal does not end it
// before the demo says so, and bound to this process, so that it never outlives it, however that ends.
func (d *demo) startLogger(l *logger) error {
	if err := l.configure(d.hub, d.o.History); err != nil {
		return fmt.Errorf("configure %s: %w", l.name, err)
	}
	log, err := d.openLog(l.key + ".log")
	if err != nil {
		return err
	}
	l.cmd = exec.Command(d.o.Agent, "run", "--config", filepath.Join(l.dir, configFile))
	l.cmd.Dir, l.cmd.Stdout, l.cmd.Stderr = l.dir, log, log
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	l.ended = make(chan struct{})
	started := make(chan error)
	go func() {
		// The kernel sends the signal when the thread that started the process ends, so the thread stays here.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := l.cmd.Start(); err != nil {
			started <- errors.Join(err, log.Close())
			return
		}
		started <- nil
		l.err = errors.Join(l.cmd.Wait(), log.Close())
		close(l.ended)
		d.failed <- fmt.Errorf("%s stopped (%v); its log is %s", l.name, l.err, log.Name())
	}()
	if err := <-started; err != nil {
		l.cmd = nil
		return lh.Hide(lh.Invalid, err, "%s does not start", d.o.Agent)
	}
	return nil
}

// stopLoggers asks the agents to end and waits for it; one that does not is killed. It returns what went wrong.
func (d *demo) stopLoggers() error {
	var err error
	for _, l := range d.loggers {
		if l.cmd != nil {
			if e := l.cmd.Process.Signal(syscall.SIGTERM); e != nil && !errors.Is(e, os.ErrProcessDone) {
				err = errors.Join(err, e)
			}
		}
	}
	late := time.After(stopTime)
	for _, l := range d.loggers {
		if l.cmd == nil {
			continue
		}
		select {
		case <-l.ended:
			if l.err != nil {
				err = errors.Join(err, fmt.Errorf("%s did not end well (%v)", l.name, l.err))
			}
		case <-late:
			err = errors.Join(err, fmt.Errorf("%s did not end in %s and was killed", l.name, stopTime), l.cmd.Process.Kill())
			<-l.ended
			late = time.After(0)
		}
		l.cmd = nil
	}
	return err
}
