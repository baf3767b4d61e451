//go:build linux

// Command loggerhead-stage1 is the boot stage of a Linux datalogger: the only program that is started at reset. It
// reads the image once, verifies it (signature, hardware id, security counter) and runs exactly the bytes it verified,
// from a sealed memory file. Nothing can change between check and run. See docs/stage1.md.
package main

import (
	"fmt"
	"io"
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Environ(), os.Stderr))
}

// run returns only when nothing was started: the exit status says why, and so does one line on stderr.
func run(args, environ []string, stderr io.Writer) int {
	o, err := parseArguments(args)
	if err == nil {
		err = boot(o, environ)
	}
	status := exitStatus(err)
	if status == exitUsage {
		fmt.Fprintf(stderr, "loggerhead-stage1: %v\n%s\n", err, usage)
	} else {
		fmt.Fprintf(stderr, "loggerhead-stage1: nothing was started: %v\n", err)
	}
	return status
}
