package s6

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Tools finds and runs the tools of s6.
//
// What they exit with, as far as it tells anything:
//
//	               2.11 to 2.13   2.14 and later
//	not listening  100            102 (s6-svc), 100 (s6-svscanctl)
//	bad directory  100            1 (s6-svc), 100 (s6-svscanctl)
//	system         111            111
//	timeout of -T  99             99
//	bad usage      100            100
type Tools struct {
	// Dir is where the tools are; "" looks on PATH, then in /command, where
	// images with s6 have them, and /usr/bin.
	Dir string
}

// Return codes, see [Tools].
const (
	rcBroken        = 1
	rcTimeout       = 99
	rcNotListening  = 100
	rcNotListening2 = 102
	rcSystem        = 111
	rcNotRun        = 126
	rcNotFound      = 127
	rcUnfinished    = -1
)

// outcome is what a return code means, whatever the version.
type outcome uint8

const (
	succeeded    outcome = iota
	notListening         // no s6-supervise, or no s6-svscan: it may be back soon
	broken               // the directory is none of s6's
	system               // the kernel said no: permission, no such file
	timedOut
	notRun
)

// outcome tells the versions' codes apart. 100 is also what 2.11 says of a
// broken directory and what all say of bad usage, which this package does not
// commit: what distinguishes them is looked at on disk.
func (e *CommandError) outcome() outcome {
	switch e.ReturnCode {
	case 0:
		return succeeded
	case rcNotListening, rcNotListening2:
		if strings.Contains(e.Stderr, "something is wrong with") {
			return broken
		}
		return notListening
	case rcBroken:
		return broken
	case rcTimeout, rcUnfinished:
		return timedOut
	case rcNotRun, rcNotFound:
		return notRun
	}
	return system
}

// toolTime bounds one run of a tool: it writes a few bytes into a FIFO.
const toolTime = 10 * time.Second

// find is the path of a tool.
func (t Tools) find(tool string) (string, error) {
	if t.Dir != "" {
		return filepath.Join(t.Dir, tool), nil
	}
	path, err := exec.LookPath(tool)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/command", "/usr/bin"} {
		if _, err := os.Stat(dir + "/" + tool); err == nil {
			return dir + "/" + tool, nil
		}
	}
	return "", err
}

// run runs a tool; nil if it exited with 0. Its error has Tool, ReturnCode and
// Stderr.
func (t Tools) run(ctx context.Context, tool string, args ...string) *CommandError {
	path, err := t.find(tool)
	if err != nil {
		return &CommandError{Tool: tool, ReturnCode: rcNotFound, Stderr: "it is not on PATH"}
	}
	ctx, cancel := context.WithTimeout(ctx, toolTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = time.Second
	var stderr limited
	cmd.Stderr = &stderr
	err = cmd.Run()
	e := &CommandError{Tool: tool, Stderr: stderr.text()}
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		e.ReturnCode, e.Stderr = rcUnfinished, cmp.Or(e.Stderr, "it did not end in time")
	case exited && exit.Exited():
		e.ReturnCode = exit.ExitCode()
	case errors.Is(err, os.ErrNotExist):
		e.ReturnCode, e.Stderr = rcNotFound, err.Error()
	case exited:
		e.ReturnCode, e.Stderr = rcUnfinished, cmp.Or(e.Stderr, exit.Error())
	default:
		e.ReturnCode, e.Stderr = rcNotRun, err.Error()
	}
	return e
}

// limited keeps the beginning of what a tool writes.
type limited struct{ buf bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	const most = 4096
	l.buf.Write(p[:min(len(p), max(0, most-l.buf.Len()))])
	return len(p), nil
}

// text is one line: what a person reads after "failed (rc=111): ".
func (l *limited) text() string {
	return strings.Join(strings.FieldsFunc(strings.TrimSpace(l.buf.String()), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
