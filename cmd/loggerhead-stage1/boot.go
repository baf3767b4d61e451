//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/loggerhead-cloud/loggerhead/internal/image"
)

// Exit statuses, above those that the started program uses itself: once it runs, the status is its own.
const (
	exitUsage      = 100
	exitSetting    = 101 // a key or the state folder cannot be used
	exitUnreadable = 102 // image is missing, no plain file, or too large
	exitFormat     = 103
	exitSignature  = 104
	exitHardware   = 105
	exitRollback   = 106
	exitDependency = 107
	exitStart      = 108 // it is good, and the kernel does not run it
)

var (
	errUsage      = errors.New("wrong arguments")
	errSetting    = errors.New("this device is not set up")
	errUnreadable = errors.New("image cannot be read")
	errStart      = errors.New("image is good but does not start")
)

func exitStatus(err error) int {
	for _, e := range []struct {
		err    error
		status int
	}{
		{errUsage, exitUsage}, {errSetting, exitSetting}, {errUnreadable, exitUnreadable}, {image.ErrFormat, exitFormat},
		{image.ErrSignature, exitSignature}, {image.ErrHardware, exitHardware}, {image.ErrRollback, exitRollback},
		{image.ErrDependency, exitDependency},
	} {
		if errors.Is(err, e.err) {
			return e.status
		}
	}
	return exitStart
}

const usage = "usage: loggerhead-stage1 --image FILE --key PUBLIC.pem [--key ...] --hardware ID --state FOLDER [-- argument ...]"

const maxKeys = 16

type options struct {
	image, hardware, state string
	keys                   []string
	args                   []string // for the program
}

// parseArguments takes each flag at most once, but for --key. What follows "--" is the program's.
func parseArguments(args []string) (options, error) {
	var o options
	single := map[string]*string{"--image": &o.image, "--hardware": &o.hardware, "--state": &o.state}
	for len(args) > 0 {
		name, value, joined := strings.Cut(args[0], "=")
		if args[0] == "--" {
			o.args, args = args[1:], nil
			break
		}
		into := single[name]
		if into == nil && name != "--key" {
			return o, fmt.Errorf("%w: %.100q is not a flag; what is for the program goes after --", errUsage, args[0])
		}
		if args = args[1:]; !joined {
			if len(args) == 0 {
				return o, fmt.Errorf("%w: %s needs a value", errUsage, name)
			}
			value, args = args[0], args[1:]
		}
		switch {
		case value == "" || strings.HasPrefix(value, "--"):
			return o, fmt.Errorf("%w: %s needs a value", errUsage, name)
		case into == nil:
			o.keys = append(o.keys, value)
		case *into != "":
			return o, fmt.Errorf("%w: %s stands there twice", errUsage, name)
		default:
			*into = value
		}
	}
	if o.image == "" || o.hardware == "" || o.state == "" || len(o.keys) == 0 || len(o.keys) > maxKeys {
		return o, fmt.Errorf("%w: --image, --hardware, --state and 1 to %d --key are needed", errUsage, maxKeys)
	}
	return o, nil
}

// boot becomes the program, or returns why not.
func boot(o options, environ []string) error {
	var keys []image.Key
	for _, name := range o.keys {
		b, err := readOnce(name, 4096)
		if err != nil {
			return fmt.Errorf("%w: %w", errSetting, err)
		}
		k, err := image.ParsePublicKeyPEM(b)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", errSetting, name, err)
		}
		keys = append(keys, k)
	}
	counter, err := image.LoadCounter(o.state)
	if err != nil {
		return fmt.Errorf("%w: %w", errSetting, err)
	}
	// From here on the file is never looked at again: what is verified and what runs are the same bytes in memory.
	data, err := readOnce(o.image, image.MaxSize)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	im, err := image.Parse(data)
	if err == nil {
		err = im.Verify(keys, image.Policy{Hardware: o.hardware, MinCounter: counter})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.image, err)
	}
	if err := execute(im.Payload, append([]string{o.image}, o.args...), environ); err != nil {
		return fmt.Errorf("%w: %s: %w", errStart, o.image, err)
	}
	return nil
}

// readOnce reads a plain file of at most max bytes. The last part of the path must not be a link, and a pipe or a
// device does not make it wait.
func readOnce(name string, max int64) ([]byte, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link; name the file itself", name)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close() // read only: a failing close loses nothing
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a plain file", name)
	}
	if st.Size() > max {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", name, st.Size(), max)
	}
	b := make([]byte, st.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}
