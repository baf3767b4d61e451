package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// script finds what a page loads before anything is clicked: module scripts and what it asks to have preloaded.
var script = regexp.MustCompile(`<(?:script|link)\s[^>]*(?:src|href)="([^"]+\.m?js)"`)

// imported finds what a built module imports at its start; import() is for later.
var imported = regexp.MustCompile(`(?:\bfrom|\bimport)\s*"(\.{1,2}/[^"]+\.m?js)"`)

// webStep adds up the JavaScript that the start page of the built web app loads, each file gzipped by itself.
func (b *bench) webStep() error {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("find the tree: %w", err)
	}
	total, files, err := initialScripts(os.DirFS(filepath.Join(strings.TrimSpace(string(root)), "web", "dist")))
	if errors.Is(err, fs.ErrNotExist) {
		b.say("skipped initial_js_kib_gz: web/dist/index.html is not there, the web app is not built")
		return nil
	}
	if err != nil {
		return err
	}
	b.say("the start page loads %d scripts", files)
	b.metric("initial_js_kib_gz", float64(total)/1024, "KiB")
	return nil
}

// initialScripts returns the gzipped size of the scripts index.html loads, and of those they import, and how many they are.
func initialScripts(dist fs.FS) (total, files int, err error) {
	page, err := fs.ReadFile(dist, "index.html")
	if err != nil {
		return 0, 0, err
	}
	var queue []string
	for _, m := range script.FindAllSubmatch(page, -1) {
		queue = append(queue, path.Clean(strings.TrimPrefix(string(m[1]), "/")))
	}
	seen := map[string]bool{}
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		text, err := fs.ReadFile(dist, name)
		if err != nil {
			return 0, 0, fmt.Errorf("the start page loads what was not built: %w", err)
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(text); err != nil {
			return 0, 0, err
		}
		if err := z.Close(); err != nil {
			return 0, 0, err
		}
		total += packed.Len()
		for _, m := range imported.FindAllSubmatch(text, -1) {
			queue = append(queue, path.Join(path.Dir(name), string(m[1])))
		}
	}
	return total, len(seen), nil
}

func nowMillis() lh.Millis { return lh.MillisOf(time.Now()) }

// ownCPU returns the processor time this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
