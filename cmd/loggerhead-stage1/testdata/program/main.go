// The program that the tests sign and start: it tells how it was started, as JSON.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

const getSeals = 1024 + 10 // F_GET_SEALS

func main() {
	if path := os.Getenv("RAN"); path != "" {
		os.WriteFile(path, nil, 0o644)
	}
	exe, _ := os.Readlink("/proc/self/exe")
	var seals uintptr
	if f, err := os.Open("/proc/self/exe"); err == nil {
		seals, _, _ = syscall.Syscall(syscall.SYS_FCNTL, f.Fd(), getSeals, 0)
		f.Close()
	}
	var open []string // descriptors that were handed over, beyond the standard ones
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.Contains(to, "memfd") {
			open = append(open, to)
		}
	}
	in, _ := io.ReadAll(os.Stdin)
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"args": os.Args, "env": os.Environ(), "pid": os.Getpid(), "exe": exe, "seals": seals, "open": open, "stdin": string(in),
	})
	if len(os.Args) > 1 && os.Args[1] == "fail" {
		fmt.Fprintln(os.Stderr, "program: told to fail")
		os.Exit(7)
	}
}
