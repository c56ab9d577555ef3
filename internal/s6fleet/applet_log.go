package s6fleet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The bounds of a gateway's log, as under the engine native.
const (
	logFiles = "n10"
	logBytes = "s1000000"
)

// log becomes s6-log: every line goes to the container's output with the slot's
// name in front, and with a time stamp into the log of the home. Where that
// cannot be written the lines go to the output alone.
func (a Applet) log() error {
	d, err := readSlot(filepath.Dir(a.Dir))
	if err != nil {
		return fmt.Errorf("cannot log %s: %w", a.Dir, err)
	}
	script := []string{"s6-log", "p[" + d.label() + "]", "1"}
	if err := prepareLog(d.logDir()); err != nil {
		fmt.Fprintf(a.Stderr, "! %s is not logged to a file: %v\n", d.slot, err)
	} else {
		script = append(script, "p", "T", logFiles, logBytes, d.logDir())
	}
	// Its stamps are in local time, so local time is UTC.
	env := slices.DeleteFunc(slices.Clone(a.Environ), func(kv string) bool { return strings.HasPrefix(kv, "TZ=") })
	err = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) { // before Linux 5.11
		err = nil
	}
	if err == nil {
		err = unix.Exec(tool("s6-log"), script, append(env, "TZ=UTC"))
	}
	return fmt.Errorf("cannot log %s: %w", d.slot, err)
}

// prepareLog makes the directory of a log, for this process to write.
func prepareLog(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return unix.Access(dir, unix.W_OK|unix.X_OK)
}
