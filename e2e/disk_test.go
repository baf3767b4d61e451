package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// smallDisk mounts a file system of a few MB and has the test's folders made on it. It skips the test where that is not
// possible.
func smallDisk(t *testing.T, size string) (dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount a disk that is small enough to fill; a full disk is not tested")
	}
	dir, err := os.MkdirTemp("", "loggerhead-small-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exec.Command("umount", dir).Run() // it may not be mounted
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("left mounted? %v", err)
		}
	})
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("a small disk cannot be mounted here (%v: %s); a full disk is not tested", err, out)
	}
	t.Setenv("TMPDIR", dir)
	return dir
}

// fill takes all space that is left, and returns what gives it back.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 64<<10); ; {
		if _, err = f.Write(block); err != nil {
			if len(block) == 1 || !errors.Is(err, syscall.ENOSPC) {
				break
			}
			block = block[:len(block)/2]
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// answer is what the hub says to an upload.
type answer struct {
	status int
	later  string // Retry-After
	wire.Ack
	Code, Detail string
}

// send uploads the device's next records and notes what was acknowledged.
func (u *uploader) send(t *testing.T, client *http.Client, records uint32) (a answer) {
	t.Helper()
	b := wire.Batch{Log: uint64(u.n) + 1, First: u.acked + 1}
	for c := range channels {
		b.Channels = append(b.Channels, fmt.Sprint(c, "/x"))
	}
	for seq := b.First; seq < b.First+records; seq++ {
		rec := wire.Record{Time: lh.Millis(timeOf(seq))}
		for c := range channels {
			if v, ok := valueOf(u.n, seq, c); ok {
				rec.Values = append(rec.Values, wire.Value{Channel: uint16(c), Flag: lh.FlagGood, Value: v})
			}
		}
		b.Records = append(b.Records, rec)
	}
	raw, err := b.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	u.sent = max(u.sent, b.Last())
	resp, err := client.Post("https://"+*u.address.Load()+"/v1/batch", wire.ContentBatch, bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("upload: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	if err != nil {
		t.Fatalf("upload: %d %s %v", resp.StatusCode, body, err)
	}
	a.status, a.later = resp.StatusCode, resp.Header.Get("Retry-After")
	if a.status == http.StatusOK {
		if a.AckedThrough != b.Last() {
			t.Errorf("acked through %d of %d", a.AckedThrough, b.Last())
		}
		u.acked = a.AckedThrough
		u.answers++
	}
	return a
}

// health asks the hub how it is.
func (h *hub) health(t *testing.T) (ok bool, said string) {
	t.Helper()
	resp, err := http.Get("http://" + h.Private + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	var is struct{ OK bool }
	if err == nil {
		err = json.Unmarshal(body, &is)
	}
	if err != nil || is.OK != (resp.StatusCode == http.StatusOK) {
		t.Fatalf("health: %d %s %v", resp.StatusCode, body, err)
	}
	return is.OK, string(body)
}

// eventually polls until something is so.
func eventually(t *testing.T, what func() string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within half a minute: %s", what())
		}
	}
}

// TestDiskFull fills the disk of a real hub while a device uploads. Uploads are refused with "later", health says why,
// readers go on, nothing that was acknowledged is lost, and when there is space again everything goes on by itself; also
// when the hub was killed or stopped meanwhile.
func TestDiskFull(t *testing.T) {
	dir := smallDisk(t, "32m")
	in := install(t, "sqlite:hub.db")
	if !strings.HasPrefix(in.dir, dir) {
		t.Fatalf("the installation is in %s", in.dir)
	}
	h := in.serve()
	c := in.logIn(h, in.admin)
	p, err := c.CreateProject(ctx, "Skjern Å", "Europe/Copenhagen")
	if err != nil {
		t.Fatal(err)
	}
	u := &uploader{d: in.enrol(h, c, p.ID, "LH-1"), address: new(atomic.Pointer[string])}
	u.address.Store(&h.Devices)
	for _, ends := range []string{"goes on", "is killed", "is stopped"} {
		device := u.d.HTTP(u.d.Pair())
		for range 5 {
			if a := u.send(t, device, 500); a.status != http.StatusOK {
				t.Fatalf("the hub %s: with space, an upload is answered %+v", ends, a)
			}
		}
		free := fill(t, dir)
		var a answer
		for n := 0; n < 500 && a.status != http.StatusServiceUnavailable; n++ { // files have some room inside
			if a = u.send(t, device, 2000); a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
				t.Fatalf("on a full disk, an upload is answered %+v", a)
			}
		}
		if a.status != http.StatusServiceUnavailable || a.Code != string(lh.Unavailable) || a.later == "" || !strings.Contains(a.Detail, "later") {
			t.Fatalf("on a full disk, an upload is answered %+v", a)
		}
		said := ""
		eventually(t, func() string { return fmt.Sprintf("health tells of the full disk: %s\n%s", said, h.log) }, func() (so bool) {
			so, said = h.health(t)
			return !so && strings.Contains(said, "full")
		})
		u.check(t, c, p.ID) // is read all the same
		switch ends {
		case "is killed":
			h.kill()
			h = in.serve() // on the full disk
		case "is stopped":
			if err := h.stop(); err == nil && !strings.Contains(h.log.String(), "full") {
				t.Errorf("the hub stops with unfolded uploads and says nothing: %s", h.log)
			}
			free()
			free = func() {}
			h = in.serve()
		}
		u.address.Store(&h.Devices)
		if c, err = client.New("https://"+h.People, client.Options{Roots: in.roots, Token: c.Token()}); err != nil { // who was logged in still is
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		device = u.d.HTTP(u.d.Pair())
		if ends == "is killed" {
			u.check(t, c, p.ID)
		}
		free()
		eventually(t, func() string { return fmt.Sprintf("uploads are taken again\n%s", h.log) }, func() bool { return u.send(t, device, 100).status == http.StatusOK })
		eventually(t, func() string { return fmt.Sprintf("health is good again: %s", said) }, func() (so bool) {
			so, said = h.health(t)
			return so
		})
		u.check(t, c, p.ID)
		if t.Failed() {
			t.Fatalf("when the hub %s:\n%s", ends, h.log)
		}
	}
	if err := h.stop(); err != nil {
		t.Errorf("stop: %v\n%s", err, h.log)
	}
	if out := in.command(nil, "verify"); !strings.Contains(out, "as it was written") {
		t.Error(out)
	}
	t.Logf("%d uploads acknowledged, %d records", u.answers, u.acked)
}
