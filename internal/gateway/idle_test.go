package gateway_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

// idlers is what the process that holds the connections is told.
type idlers struct {
	Addr    string
	Root    []byte
	Devices []idler
}

type idler struct{ Key, Cert []byte } // DER

const idlersEnv = "LOGGERHEAD_TEST_IDLERS"

// TestIdleMemory bounds what a connection costs that says nothing: a hub has many of them. The devices are another
// process, so that only the hub's side is measured.
func TestIdleMemory(t *testing.T) {
	if os.Getenv(idlersEnv) != "" {
		holdIdle(t)
		return
	}
	n := 300
	if raceEnabled {
		n = 30
	}
	if s := os.Getenv("LOGGERHEAD_TEST_IDLE"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	h := newHub(t, nil)
	told := idlers{Addr: h.mqtt, Root: h.h.Root.Cert.Raw}
	for range n {
		l := h.logger()
		key, err := x509.MarshalECPrivateKey(l.key)
		if err != nil {
			t.Fatal(err)
		}
		told.Devices = append(told.Devices, idler{key, l.c.Raw})
	}
	b, err := json.Marshal(told)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0], "-test.run=^TestIdleMemory$")
	c.Env = append(os.Environ(), idlersEnv+"=1")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	before, rssBefore := inUse(), rss()
	if _, err := in.Write(append(b, '\n')); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "connected\n" {
		t.Fatalf("the devices say %q %v", line, err)
	}
	if got := h.metric("loggerhead_gateway_connections", "mqtt"); got != float64(n) {
		t.Errorf("%v connections", got)
	}
	time.Sleep(time.Second) // stacks shrink at a collection, one step each
	each := (inUse() - before) / uint64(n)
	t.Logf("%d idle connections: %d bytes of heap and stack each, %.1f KiB of resident memory each", n, each, float64(rss()-rssBefore)/float64(n)/1024)
	if most := uint64(32 << 10); each > most && !raceEnabled {
		t.Errorf("an idle connection takes %d bytes; at most %d are allowed", each, most)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// inUse is the heap and the stacks after what can be freed is.
func inUse() uint64 {
	for range 5 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// rss is the process's resident memory in bytes; 0 where the system does not tell.
func rss() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// holdIdle is the other process: it connects every device, says so, and holds the connections until its input ends.
func holdIdle(t *testing.T) {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var told idlers
	if err := json.Unmarshal(line, &told); err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(told.Root)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	for _, d := range told.Devices {
		key, err := x509.ParseECPrivateKey(d.Key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tls.Dial("tcp", told.Addr, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1", NextProtos: []string{"mqtt"},
			Certificates: []tls.Certificate{{Certificate: [][]byte{d.Cert}, PrivateKey: key}}})
		if !connects(t, c, err) {
			t.Fatalf("not connected: %v", err)
		}
	}
	fmt.Println("connected")
	if _, err := in.ReadByte(); err == nil {
		t.Error("more was told")
	}
}
