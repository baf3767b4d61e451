package e2e

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
)

// powerRounds names the variable that says how many times TestPowerCut cuts the power.
const powerRounds = "LOGGERHEAD_POWER_ROUNDS"

// disk is an ext4 file system in a file. What has not been synced is in the kernel's memory and not in the file: it is
// mounted so that the file system writes nothing by itself for ten minutes.
type disk struct {
	t      *testing.T
	folder string // of the images
	image  string
	dir    string // where it is mounted
}

// newDisk makes and mounts a disk. It skips the test where that is not possible.
func newDisk(t *testing.T, size int64) *disk {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount a disk of its own to cut the power of; not tested")
	}
	folder, err := os.MkdirTemp("", "loggerhead-power-")
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{t: t, folder: folder, image: filepath.Join(folder, "0"), dir: filepath.Join(folder, "disk")}
	t.Cleanup(func() {
		exec.Command("umount", d.dir).Run() // it may not be mounted
		if err := os.RemoveAll(folder); err != nil {
			t.Errorf("left mounted? %v", err)
		}
	})
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(d.image)
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	d.run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", d.image)
	if out, err := exec.Command("mount", "-o", "loop,commit=600", d.image, d.dir).CombinedOutput(); err != nil {
		t.Skipf("a file cannot be mounted as a disk here (%v: %s); power cuts are not tested", err, out)
	}
	return d
}

func (d *disk) run(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// cut goes on with what is on the disk at this moment, as if the power had failed: the file is copied before the file
// system is told of anything, and the copy mounted in its place.
func (d *disk) cut(round int) {
	d.t.Helper()
	next := filepath.Join(d.folder, strconv.Itoa(round))
	d.run("cp", "--sparse=always", d.image, next)
	d.run("umount", d.dir)
	if err := os.Remove(d.image); err != nil {
		d.t.Fatal(err)
	}
	d.image = next
	d.run("mount", "-o", "loop,commit=600", d.image, d.dir)
}

// TestPowerCut cuts the power of a real hub's disk while devices upload to it, and goes on with what was on the disk. Every
// sample that was acknowledged is there, none stands twice, and what is stored is whole.
func TestPowerCut(t *testing.T) {
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv(powerRounds), "4"))
	if err != nil {
		t.Fatal(err)
	}
	d := newDisk(t, 192<<20)
	t.Setenv("TMPDIR", d.dir) // so that the installation is made on the disk
	in := install(t, "sqlite:hub.db")
	if !strings.HasPrefix(in.dir, d.dir) {
		t.Fatalf("the installation is in %s", in.dir)
	}
	config, err := os.OpenFile(filepath.Join(in.dir, "loggerhead.yaml"), os.O_RDWR, 0) // which this test has written, unsynced
	if err == nil {
		err = config.Sync()
	}
	if err == nil {
		err = config.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	d.cut(1) // right after `init` and `user add`
	h := in.serve()
	c := in.logIn(h, in.admin)
	p, err := c.CreateProject(ctx, "Skjern Å", "Europe/Copenhagen")
	if err != nil {
		t.Fatal(err)
	}
	var address atomic.Pointer[string]
	uploaders := make([]*uploader, 3)
	for n := range uploaders {
		uploaders[n] = &uploader{n: n, d: in.enrol(h, c, p.ID, fmt.Sprint("LH-", n)), address: &address}
	}
	samples := 0
	for round := range rounds {
		address.Store(&h.Devices)
		stop, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		for _, u := range uploaders {
			wg.Go(func() { u.run(stop) })
		}
		time.Sleep(time.Duration(100+rand.IntN(1400)) * time.Millisecond) // any moment; there is nothing to wait for
		h.kill()
		d.cut(2 + round)
		cancel()
		wg.Wait()
		if out := in.command(nil, "verify"); !strings.Contains(out, "as it was written") {
			t.Errorf("round %d: %s", round, out)
		}
		h = in.serve()
		c = in.logIn(h, in.admin)
		samples = 0
		for _, u := range uploaders {
			samples += u.check(t, c, p.ID)
		}
		if t.Failed() {
			t.Fatalf("after %d power cuts", round+2)
		}
	}
	for _, u := range uploaders {
		if u.answers == 0 {
			t.Errorf("device %d was never answered", u.n)
		}
	}
	t.Logf("%d power cuts, %d samples", rounds+1, samples)
	if err := h.stop(); err != nil {
		t.Errorf("stop: %v\n%s", err, h.log)
	}
}

// check reads back what the device has uploaded and returns how many samples there are: all that were acknowledged, each
// once and exact, and none that was not sent.
func (u *uploader) check(t *testing.T, c *client.Client, project string) (total int) {
	t.Helper()
	es, err := c.Elements(ctx, project, u.d.id)
	if err != nil || len(es) != channels && u.answers > 0 {
		t.Fatalf("device %d: %d elements, %v", u.n, len(es), err)
	}
	for _, e := range es {
		channel := int(e.Channel[0] - '0')
		got := map[int64]float64{}
		for s, err := range c.Export(ctx, project, []string{e.ID}, int64(lh.MinMillis), int64(lh.MaxMillis)) {
			if err != nil {
				t.Fatal(err)
			}
			if _, twice := got[s.Time]; twice {
				t.Errorf("device %d channel %d: %d stands twice", u.n, channel, s.Time)
			}
			got[s.Time] = s.Value
		}
		known, lost, wrong := 0, 0, 0
		for seq := uint32(1); seq <= u.sent; seq++ {
			want, present := valueOf(u.n, seq, channel)
			v, there := got[timeOf(seq)]
			switch {
			case there && (!present || math.Float64bits(v) != math.Float64bits(want)):
				wrong++
			case there:
				known++
			case present && seq <= u.acked:
				lost++
			}
		}
		if lost > 0 || wrong > 0 || known != len(got) {
			t.Errorf("device %d channel %d: of %d samples %d are known and %d wrong; of %d acknowledged records %d are lost", u.n, channel, len(got), known, wrong, u.acked, lost)
		}
		total += known
	}
	return total
}
