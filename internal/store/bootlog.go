package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/profile"
)

const (
	bootLogFile = "container-boot.log"
	// maxBootLog is the size at which the log is rotated to .1, in bytes; the
	// original's limit.
	maxBootLog = 256 << 10
)

// The words of a [BootLine].
const (
	BootStarted    = "started"
	BootRegistered = "registered"
	BootSkipped    = "skipped"

	ExitClean   = "clean"
	ExitUnclean = "unclean"
	ExitUnknown = "unknown"
)

// BootLine says what boot did with one profile.
type BootLine struct {
	At         time.Time
	Profile    profile.Name
	PriorState string // as found; anything but a plain word is written "unknown", nothing as "none"
	Action     string // BootStarted, BootRegistered, BootSkipped
	PriorExit  string // ExitClean, ExitUnclean; anything else is ExitUnknown
}

// String is the line as the original's tools expect it.
func (l BootLine) String() string {
	exit := l.PriorExit
	if exit != ExitClean && exit != ExitUnclean {
		exit = ExitUnknown
	}
	return fmt.Sprintf("%s profile=%s prior_state=%s action=%s prior_exit=%s",
		l.At.UTC().Format(time.RFC3339), l.Profile, plainWord(l.PriorState), l.Action, exit)
}

// plainWord keeps what a hostile state file says to one harmless word.
func plainWord(s string) string {
	if s == "" {
		return "none"
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && r != '_' && r != '-' {
			return "unknown"
		}
	}
	return s[:min(len(s), 32)]
}

// AppendBootLog adds the lines to <home>/logs/container-boot.log. A failure
// costs the lines and is worth a warning, no more.
func (h *Home) AppendBootLog(lines []BootLine) error {
	if err := h.writable(); err != nil {
		return err
	}
	var text strings.Builder
	for _, l := range lines {
		text.WriteString(l.String() + "\n")
	}
	if err := h.dir.mkdir(logsDir); err != nil {
		return err
	}
	logs, _, err := h.dir.sub(logsDir)
	if err != nil {
		return homeFault("write to", filepath.Join(h.path, logsDir), err)
	}
	defer logs.root.Close()
	if err := logs.appendRotated(bootLogFile, text.String(), maxBootLog); err != nil {
		return homeFault("write", filepath.Join(logs.path, bootLogFile), err)
	}
	return nil
}

// appendRotated appends to a regular file, renaming it to .1 first if it would
// grow beyond limit.
func (d dir) appendRotated(name, text string, limit int64) error {
	before, err := d.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		before = nil
	case err != nil:
		return err
	case !before.Mode().IsRegular() || statOf(before).Nlink > 1:
		// Not ours to write through; the next lines go to a file of our own.
		if err := d.root.Rename(name, name+".1"); err != nil {
			return err
		}
		before = nil
	case before.Size() > 0 && before.Size()+int64(len(text)) > limit:
		if err := d.root.Rename(name, name+".1"); err != nil {
			return err
		}
		before = nil
	}
	flags := os.O_WRONLY | os.O_APPEND | unix.O_NONBLOCK
	if before == nil {
		flags |= os.O_CREATE | os.O_EXCL
	}
	f, err := d.root.OpenFile(name, flags, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if before != nil && !sameFile(before, info) {
		return &badFile{"being replaced by something else"}
	}
	if before == nil && d.owner != nil {
		_ = f.Chown(d.owner.uid, d.owner.gid)
	}
	_, err = f.WriteString(text)
	return err
}
