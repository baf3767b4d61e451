package image

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCounter(t *testing.T) {
	dir := t.TempDir()
	want := func(n uint32) {
		t.Helper()
		if got, err := LoadCounter(dir); err != nil || got != n {
			t.Fatalf("counter %d, %v, want %d", got, err, n)
		}
	}
	want(0)
	for _, step := range []struct{ raise, then uint32 }{{0, 0}, {7, 7}, {3, 7}, {7, 7}, {4294967295, 4294967295}} {
		if err := RaiseCounter(dir, step.raise); err != nil {
			t.Fatal(err)
		}
		want(step.then)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestCounterCutShort(t *testing.T) {
	dir := t.TempDir()
	if err := RaiseCounter(dir, 9); err != nil {
		t.Fatal(err)
	}
	// The power failed while the next one was written: its file is there, in part, and is not looked at.
	next := counterLine(10)
	for n := range len(next) + 1 {
		if err := os.WriteFile(filepath.Join(dir, counterFile+".new"), []byte(next[:n]), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := LoadCounter(dir); err != nil || got != 9 {
			t.Fatalf("counter %d, %v", got, err)
		}
	}
	if err := RaiseCounter(dir, 11); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadCounter(dir); err != nil || got != 11 {
		t.Fatalf("counter %d, %v", got, err)
	}
}

func TestCounterDamaged(t *testing.T) {
	dir := t.TempDir()
	good := counterLine(12)
	cases := []string{"", "12", "12\n", good + good, good + " ", " " + good, "loggerhead-counter-1 +12 00000000\n", "loggerhead-counter-1 99999999999 00000000\n"}
	for i := range good {
		b := []byte(good)
		b[i] ^= 1
		cases = append(cases, string(b), good[:i])
	}
	for _, s := range cases {
		if err := os.WriteFile(filepath.Join(dir, counterFile), []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		if n, err := LoadCounter(dir); err == nil {
			t.Errorf("%q is read as %d", s, n)
		}
		if err := RaiseCounter(dir, 20); err == nil {
			t.Errorf("%q is overwritten", s)
		}
	}
	for _, d := range []string{filepath.Join(dir, "none"), filepath.Join(dir, counterFile)} {
		if n, err := LoadCounter(d); err == nil {
			t.Errorf("%s: counter %d", d, n)
		}
	}
}
