package seal

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMasterFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	m, err := CreateMaster(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", st.Mode(), err)
	}
	if _, err := CreateMaster(path); err == nil {
		t.Fatal("a master key was overwritten")
	}
	_, wrapped, err := m.NewKey("prj_a")
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadMaster(path)
	if err != nil {
		t.Fatal(err)
	}
	if again.ID() != m.ID() {
		t.Fatal("the key read is not the key written")
	}
	if _, err := again.OpenKey("prj_a", wrapped); err != nil {
		t.Fatal(err)
	}
	if _, err := again.OpenKey("prj_b", wrapped); err == nil {
		t.Fatal("a data key opened for another owner")
	}
	other, err := NewMaster()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.OpenKey("prj_a", wrapped); err == nil || !strings.Contains(err.Error(), "master key") {
		t.Fatalf("another master key: %v", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadMaster(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Fatalf("a readable key file: %v", err)
	}
	for name, content := range map[string]string{"empty": "", "short": masterHeader + "AAAA", "foreign": "-----BEGIN"} {
		p := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadMaster(p); err == nil {
			t.Errorf("%s key file was taken", name)
		}
	}
	if _, err := LoadMaster(path + "x"); err == nil || !strings.Contains(err.Error(), "init") {
		t.Errorf("no key file: %v", err)
	}
}

func TestSealIsBoundToItsPlace(t *testing.T) {
	m, err := NewMaster()
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := m.NewKey("prj_a")
	if err != nil {
		t.Fatal(err)
	}
	s, err := k.Seal([]byte("11.2 m"), "chunk elm_a 19000")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(s, []byte("11.2")) {
		t.Fatal("sealed bytes hold the plain ones")
	}
	if p, err := k.Open(s, "chunk elm_a 19000"); err != nil || string(p) != "11.2 m" {
		t.Fatalf("%q, %v", p, err)
	}
	if _, err := k.Open(s, "chunk elm_a 19001"); err == nil {
		t.Fatal("opened in another place")
	}
	for i := range s {
		bad := bytes.Clone(s)
		bad[i] ^= 1
		if _, err := k.Open(bad, "chunk elm_a 19000"); err == nil {
			t.Fatalf("opened with byte %d flipped", i)
		}
	}
}

func TestKeysStayOutOfLogs(t *testing.T) {
	m, err := NewMaster()
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := m.NewKey("x")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "master", m, "key", k)
	fmt.Fprintf(&out, "%v %+v %#v %s", m, m, m, m)
	if bytes.Contains(out.Bytes(), m.key) || strings.Contains(out.String(), fmt.Sprint(m.key)) {
		t.Fatalf("the key is in the output: %s", out.String())
	}
}
