//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// execute replaces this process by the program: same process id, same open standard streams, the given arguments
// (args[0] is its name) and environment. It returns only when that failed.
//
// The program runs from a memory file that nobody can change any more, not even root, once it is sealed; the file on
// disk plays no part. Being closed on execution, the memory file is not handed to the program.
func execute(program []byte, args, environ []string) error {
	if !bytes.HasPrefix(program, []byte("\x7fELF")) {
		return errors.New("the payload is not a Linux program (ELF)")
	}
	fd, err := memoryFile()
	if err != nil {
		return fmt.Errorf("make memory file: %w", err)
	}
	defer unix.Close(fd) // reached only when nothing was started; it is gone with this process anyway
	for rest := program; len(rest) > 0; {
		n, err := unix.Write(fd, rest)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("write memory file: %w", err)
		}
		rest = rest[n:]
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal memory file: %w", err)
	}
	got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return fmt.Errorf("seal memory file: %w", err)
	}
	if got&seals != seals {
		return fmt.Errorf("seal memory file: its seals are %#x instead of %#x", got, seals)
	}
	if err := unix.Exec(fmt.Sprintf("/proc/self/fd/%d", fd), args, environ); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return errors.New("execute memory file: /proc is not mounted, or the program needs a loader that is not there (link it statically)")
		}
		return fmt.Errorf("execute memory file: %w", err)
	}
	return nil
}

// memoryFile asks for one that may be executed; kernels before 6.3 do not know the question and always allow it.
func memoryFile() (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("loggerhead", flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("loggerhead", flags)
	}
	return fd, err
}
