package gateway_test

import (
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// TestProtocolExamples runs the examples of docs/protocol.md as they stand there, one after the other; only the ports
// are those of the test's hub.
func TestProtocolExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	script := ""
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	for _, b := range blocks {
		script += b[1] + "\n"
	}
	if len(blocks) < 6 {
		t.Fatalf("only %d examples were found", len(blocks))
	}
	h := newHub(t, nil)
	serial, code := h.claimed()
	port := func(addr string) string {
		_, p, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	script = strings.NewReplacer(":8884", ":"+port(h.https), "-p 8883", "-p "+port(h.mqtt)).Replace(script)
	for _, needed := range []string{"curl", "openssl", "mosquitto_pub", "mosquitto_sub"} {
		program(t, t.TempDir(), needed, "--help") // only to skip the test where it is missing
	}
	dir := h.folder(t)
	out := mustRun(t, dir, "sh", "-euc", "HUB=127.0.0.1 SERIAL="+serial+" CODE="+code+"\n"+script+"\necho\necho \"device=$DEVICE\"")
	m := regexp.MustCompile(`(?m)^device=(dev_\w+)$`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no device id: %s", out)
	}
	for _, want := range []string{`"acked_through":2,`, `"device":"` + m[1] + `"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%s is not in the answers: %s", want, out)
		}
	}
	got := h.samples(lh.DeviceID(m[1]), "1/water_level")
	if len(got) != 3 || got[0].Value != 3.25 || got[1].Value != 3.27 || got[2].Value != 3.3 {
		t.Errorf("stored: %v", got)
	}
}
