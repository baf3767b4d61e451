package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
)

// How long parts of a demo may take before it gives up.
const (
	onlineTime = 4 * time.Minute  // from starting the dataloggers until the hub has their samples of now
	stopTime   = 15 * time.Second // for a datalogger to end by itself
	hubTime    = 45 * time.Second // for the hub to end
	checkTime  = 5 * time.Minute  // for reading everything back
)

// maxLatestAge is how old the newest sample of a live datalogger may be for all to be well.
const maxLatestAge = 15 * time.Second

// Options say what a demo runs on.
type Options struct {
	Data     string        // its folder
	Duration time.Duration // then it stops and checks itself; 0 runs until ctx ends
	History  time.Duration // what new stations bring from before they were new
	Agent    string        // the loggerhead-agent program
	Ports    Ports
	Web      fs.FS // the built web app; nil shows none
	Version  string
	Out      io.Writer

	// For tests: what free space is, and what happens between stopping the dataloggers and checking.
	free        func(path string) (uint64, error)
	beforeCheck func(d *demo) error
}

// Ports are where the hub listens, on 127.0.0.1; 0 is any free port.
type Ports struct{ People, MQTT, Devices, Private uint16 }

// demo is one run of Run, which owns it.
type demo struct {
	o       Options
	dir     string // o.Data, absolute
	start   time.Time
	logins  logins
	hub     *hub
	api     *client.Client
	project string
	loggers []*logger
	failed  chan error // what ended that should run; with room for everything that can
}

// Run runs a demo until ctx ends, or for o.Duration. When it returns, its processes and the hub have ended. Being ended
// by ctx while it is up is no error, unless it was to check itself.
func Run(ctx context.Context, o Options) (err error) {
	if o.free == nil {
		o.free = freeSpace
	}
	d := &demo{o: o, start: time.Now(), failed: make(chan error, 8)}
	if err := checkAgent(o.Agent); err != nil {
		return err
	}
	if d.dir, err = filepath.Abs(o.Data); err != nil {
		return err
	}
	unlock, err := openFolder(d.dir, o.free)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := o.Ports.check(); err != nil {
		return err
	}
	defer func() {
		if e := d.stop(); err == nil {
			err = e
		} else if e != nil { // a consequence of err
			d.say("while stopping: %s", strings.ReplaceAll(e.Error(), "\n", "; "))
		}
	}()
	if err := d.up(ctx); err != nil {
		if ctx.Err() != nil {
			return lh.Errorf(lh.Unavailable, "the demo was interrupted before it was up")
		}
		return err
	}
	d.welcome()
	switch err := d.wait(ctx); {
	case err != nil:
		return err
	case ctx.Err() != nil && o.Duration > 0:
		return lh.Errorf(lh.Unavailable, "the demo was interrupted before its %s were over; nothing was checked", o.Duration)
	case ctx.Err() != nil:
		d.say("stopping")
		return nil
	}
	err = d.finish(ctx)
	if err != nil && ctx.Err() != nil {
		return lh.Errorf(lh.Unavailable, "the demo was interrupted while it read everything back; nothing was proven")
	}
	return err
}

// up brings everything up, step by step.
func (d *demo) up(ctx context.Context) error {
	var err error
	d.say("keys, certificates and database in %s", filepath.Join(d.o.Data, hubDir))
	cfg, err := d.initHub(ctx)
	if err != nil {
		return err
	}
	d.loggers = newLoggers(d.dir)
	if err := d.prepare(ctx, cfg); err != nil {
		return err
	}
	d.say("starting the hub")
	if d.hub, err = startHub(ctx, cfg, d); err != nil {
		return err
	}
	d.say("project, members, locations and claims, through the REST API")
	if err := d.makeSite(ctx); err != nil {
		return err
	}
	d.say("starting %d dataloggers", len(d.loggers))
	for _, l := range d.loggers {
		if err := d.startLogger(l); err != nil {
			return err
		}
	}
	return d.online(ctx)
}

// online waits until the hub has heard from each datalogger in this run and has samples of it, of now where it
// samples now: until what had gathered before is uploaded.
func (d *demo) online(ctx context.Context) error {
	deadline := time.Now().Add(onlineTime)
	seen := map[string]bool{}
	for {
		devices, err := d.api.Devices(ctx, d.project)
		if err != nil {
			return fmt.Errorf("list devices: %w", err)
		}
		newest, err := d.newest(ctx)
		if err != nil {
			return err
		}
		by := map[string]client.Device{}
		for _, v := range devices {
			by[v.ID] = v
		}
		missing := ""
		for _, l := range d.loggers {
			v := by[l.device.ID]
			newest, sampled := newest[v.ID]
			switch {
			case seen[v.ID]:
			case v.Online && v.LastSeen >= d.hub.since.UnixMilli() && sampled && (!l.live || time.Since(time.UnixMilli(newest)) < maxLatestAge/2):
				seen[v.ID] = true
				d.say("%s is online", l.name)
			default:
				missing = l.name
			}
		}
		if missing == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s did not come online in %s; the logs are in %s", missing, onlineTime, filepath.Join(d.o.Data, logsDir))
		}
		if err := d.pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// newest returns the time of the newest sample of each device, in ms.
func (d *demo) newest(ctx context.Context) (map[string]int64, error) {
	elements, err := d.api.Elements(ctx, d.project, "")
	if err != nil {
		return nil, fmt.Errorf("list elements: %w", err)
	}
	of := map[string]string{}
	for _, e := range elements {
		of[e.ID] = e.DeviceID
	}
	latest, err := d.api.Latest(ctx, d.project)
	if err != nil {
		return nil, fmt.Errorf("list latest values: %w", err)
	}
	newest := map[string]int64{}
	for _, l := range latest {
		if t, ok := newest[of[l.ElementID]]; !ok || l.Time > t {
			newest[of[l.ElementID]] = l.Time
		}
	}
	return newest, nil
}

// wait returns when the demo's time is over, when ctx ends, or with an error when a part of it has ended.
func (d *demo) wait(ctx context.Context) error {
	if d.o.Duration > 0 {
		ctx, cancel := context.WithTimeout(ctx, d.o.Duration)
		defer cancel()
		return d.untilDone(ctx)
	}
	return d.untilDone(ctx)
}

func (d *demo) untilDone(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := d.pause(ctx, time.Hour); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// pause waits, unless ctx ends, or the hub or a datalogger's process does: then it says so.
func (d *demo) pause(ctx context.Context, wait time.Duration) error {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case err := <-d.failed:
		return err
	}
}

// stop ends what runs, dataloggers first. What has ended already is left alone.
func (d *demo) stop() error {
	err := d.stopLoggers()
	if d.api != nil {
		d.api.Close()
	}
	if d.hub != nil {
		err = errors.Join(err, d.hub.stop())
	}
	return err
}

// say reports progress.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.o.Out, "  [%5.1f s] %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

// welcome says where everything is.
func (d *demo) welcome() {
	app := "The web app"
	if d.o.Web == nil {
		app = "This program was built without the web app; its API"
	}
	fmt.Fprintf(d.o.Out, "\n%s is at  %s\n(The certificate is under the demo's own root, %s; the browser asks once.)\n\n",
		app, d.hub.url, filepath.Join(d.o.Data, hubDir, rootFile))
	for _, l := range d.logins {
		fmt.Fprintf(d.o.Out, "  %-7s %-20s %s\n", l.role, l.email, l.password)
	}
	fmt.Fprintf(d.o.Out, "\nThe API's description is at %s/api/docs. Logs are in %s.\n", d.hub.url, filepath.Join(d.o.Data, logsDir))
	if d.o.Duration > 0 {
		fmt.Fprintf(d.o.Out, "It stops by itself in %s.\n\n", d.o.Duration)
	} else {
		fmt.Fprintf(d.o.Out, "Stop it with Ctrl-C (or: kill %d). The folder %s stays; the next demo goes on from it.\n\n", pid(), d.o.Data)
	}
}
