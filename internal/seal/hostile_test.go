package seal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func newTestMaster(t *testing.T) *Master {
	t.Helper()
	m, err := NewMaster()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestDerive: what is derived depends on the key and the purpose, on nothing else, and gives neither away.
func TestDerive(t *testing.T) {
	m, err := newMaster(bytes.Repeat([]byte{7}, masterBytes))
	if err != nil {
		t.Fatal(err)
	}
	again, err := newMaster(bytes.Repeat([]byte{7}, masterBytes))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for name, derive := range map[string]func(m *Master) ([]byte, error){
		"sqlite file":   func(m *Master) ([]byte, error) { return m.Derive("sqlite file", 32) },
		"sqlite file 2": func(m *Master) ([]byte, error) { return m.Derive("sqlite file 2", 32) },
		"empty":         func(m *Master) ([]byte, error) { return m.Derive("", 32) },
		"email":         func(m *Master) ([]byte, error) { return m.BlindIndex("users.email", "a@b.example") },
		"other column":  func(m *Master) ([]byte, error) { return m.BlindIndex("inventory.serial", "a@b.example") },
		"other value":   func(m *Master) ([]byte, error) { return m.BlindIndex("users.email", "b@b.example") },
		"shifted":       func(m *Master) ([]byte, error) { return m.BlindIndex("users.emai", "la@b.example") },
		"no value":      func(m *Master) ([]byte, error) { return m.BlindIndex("users.email", "") },
		"another key":   func(*Master) ([]byte, error) { return newTestMaster(t).Derive("sqlite file", 32) },
	} {
		a, err1 := derive(m)
		b, err2 := derive(again)
		if err1 != nil || err2 != nil || len(a) != 32 {
			t.Fatalf("%s: %d bytes, %v, %v", name, len(a), err1, err2)
		}
		if same := bytes.Equal(a, b); same == (name == "another key") {
			t.Errorf("%s: the same key gives the same: %v", name, same)
		}
		if other, ok := seen[string(a)]; ok {
			t.Errorf("%s and %s are the same", name, other)
		}
		seen[string(a)] = name
		if bytes.Contains(a, m.key[:8]) {
			t.Errorf("%s holds the key", name)
		}
	}
	// Stored databases depend on these bytes: they never change.
	if got, err := m.Derive("sqlite file", 8); err != nil || fmt.Sprintf("%x", got) != "c7af7f9e193bb4c0" {
		t.Errorf("the key of database files has changed: %x, %v", got, err)
	}
	if m.ID() != "5a1640320038" {
		t.Errorf("the name has changed: %s", m.ID())
	}
}

// TestFilesThatAreNone: a key file is small, regular, whole and private, or it is refused with a sentence.
func TestFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	if _, err := CreateMaster(path); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"huge": string(good) + strings.Repeat("x", 1<<20), "twice": string(good) + string(good), "another version": strings.Replace(string(good), "-1 ", "-2 ", 1),
		"cut": string(good[:len(good)-5]), "bytes": "\x00\x01", "in words": masterHeader + "my key"} {
		p := filepath.Join(dir, strings.ReplaceAll(name, " ", ""))
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadMaster(p); err == nil {
			t.Errorf("%s is taken", name)
		} else if strings.Contains(err.Error(), strings.TrimSpace(strings.TrimPrefix(string(good), masterHeader))[:20]) {
			t.Errorf("%s: the refusal repeats the key: %v", name, err)
		}
	}
	for _, spaced := range []string{"\n" + string(good) + "\r\n\n", strings.TrimSpace(string(good))} {
		if err := os.WriteFile(path, []byte(spaced), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadMaster(path); err != nil {
			t.Errorf("the key as an editor leaves it: %v", err)
		}
	}
	if _, err := LoadMaster(dir); err == nil {
		t.Error("a folder is taken")
	}
	if _, err := CreateMaster(filepath.Join(dir, "none", "master.key")); err == nil {
		t.Error("a key in no folder")
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateMaster(link); err == nil {
		t.Error("a key was made through a link that leads nowhere")
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601, 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadMaster(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadMaster(path); err != nil {
		t.Errorf("mode 400: %v", err)
	}
}

func TestDataKeys(t *testing.T) {
	m := newTestMaster(t)
	a, wrappedA, err := m.NewKey("prj_a")
	if err != nil {
		t.Fatal(err)
	}
	b, wrappedB, err := m.NewKey("prj_a")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(wrappedA, wrappedB) {
		t.Error("two keys are wrapped alike")
	}
	for _, n := range []int{0, 1, 15, 16, 17, 1 << 20} {
		plain := bytes.Repeat([]byte("x"), n)
		s1, err1 := a.Seal(plain, "place")
		s2, err2 := a.Seal(plain, "place")
		if err1 != nil || err2 != nil || bytes.Equal(s1, s2) || len(s1) != n+33 {
			t.Errorf("%d bytes are sealed to %d, alike: %v; %v, %v", n, len(s1), bytes.Equal(s1, s2), err1, err2)
		}
		if p, err := a.Open(s1, "place"); err != nil || !bytes.Equal(p, plain) {
			t.Errorf("%d bytes do not come back: %v", n, err)
		}
		if _, err := b.Open(s1, "place"); err == nil {
			t.Error("another key opens it")
		}
		for cut := range min(len(s1), 40) {
			if _, err := a.Open(s1[:cut], "place"); err == nil {
				t.Errorf("%d of %d bytes open", cut, len(s1))
			}
		}
		if _, err := a.Open(append(s1, 0), "place"); err == nil {
			t.Error("with a byte more it opens")
		}
	}
	for i := range wrappedA {
		bad := bytes.Clone(wrappedA)
		bad[i] ^= 0x80
		if k, err := m.OpenKey("prj_a", bad); err == nil {
			// Only the authenticated part matters: the key must be the same one.
			s, err := k.Seal([]byte("x"), "p")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.Open(s, "p"); err != nil {
				t.Fatalf("byte %d flipped: another key came out", i)
			}
		}
	}
	for _, bad := range [][]byte{nil, {}, []byte("x"), wrappedA[:len(wrappedA)/2]} {
		if _, err := m.OpenKey("prj_a", bad); err == nil {
			t.Errorf("%d bytes unwrap", len(bad))
		}
	}
	opened, err := m.OpenKey("prj_a", wrappedA)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 200 {
				place := fmt.Sprint("place ", g, i)
				s, err := a.Seal([]byte(place), place)
				if err != nil {
					t.Error(err)
					return
				}
				if p, err := opened.Open(s, place); err != nil || string(p) != place {
					t.Errorf("%q %v", p, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestNoVerbTells: however a key is printed, it stays inside.
func TestNoVerbTells(t *testing.T) {
	m := newTestMaster(t)
	k, _, err := m.NewKey("x")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	type holder struct {
		M *Master
		V Master
		K *Key
	}
	h := holder{m, *m, k}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%t", "%10v"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", m, *m, h)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "m", m, "v", *m, "h", h, "k", k)
	if b, err := json.Marshal(h); err == nil {
		out.Write(b)
	}
	text := out.String()
	for name, leak := range map[string]string{"decimal": strings.Trim(fmt.Sprint(m.key[:6]), "[]"), "hex": fmt.Sprintf("%x", m.key[:6]), "HEX": fmt.Sprintf("%X", m.key[:6]),
		"octal": strings.Trim(fmt.Sprintf("%o", m.key[:6]), "[]"), "binary": strings.Trim(fmt.Sprintf("%b", m.key[:6]), "[]"), "raw": string(m.key[:6]), "go": strings.Trim(fmt.Sprintf("%#v", m.key[:6]), "[]byte{}")} {
		if strings.Contains(text, leak) {
			t.Errorf("the key is in the output, in %s", name)
		}
	}
}
