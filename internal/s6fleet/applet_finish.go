package s6fleet

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/logfile"
	"hermes/internal/profile"
	"hermes/internal/restart"
	"hermes/internal/s6"
	"hermes/internal/store"
)

// exitDown tells s6-supervise to leave a slot down until it is told otherwise.
const exitDown = 125

// signalled is what finish is given in the place of an exit code where a signal
// ended the run.
const signalled = 256

// finish puts the end of a run on record and says whether there is to be
// another.
func (a Applet) finish() (code int, err error) {
	end, err := parseEnd(a.Args)
	if err != nil {
		return 0, err
	}
	d, err := readSlot(a.Dir)
	if err != nil {
		return 0, fmt.Errorf("cannot tell whose run ended: %w", err)
	}
	if err := standardInput(); err != nil {
		return 0, err
	}
	var p *store.Profile
	policy := profile.RestartAlways
	if d.profile != "" {
		home, err := store.Open(d.home)
		if err != nil {
			return a.unrecorded(end), err
		}
		defer home.Close()
		if p, err = home.Profile(d.profile); err != nil {
			return a.unrecorded(end), err
		}
		defer p.Close()
		if file, err := p.Config(); err == nil {
			policy = file.Gateway.Restart
		}
	}
	last := d.observation(p, a.Dir)
	if recorded, ok := last.LastExit(); ok && recorded.Run == last.Run && last.Run != 0 {
		return a.unrecorded(end), nil // run itself has told that it was refused
	}
	e := a.exit(end, last)
	verdict := restart.Decide(policy, last.Exits, e)
	a.judge(d, &last, &e, verdict)
	last.AddExit(e)
	err = d.record(p, a.Dir, last)
	if !e.Asked && (verdict == restart.Park || verdict == restart.Stay) {
		return a.stayDown(), err
	}
	return 0, err
}

// stayDown is the answer for a slot that is to stay down. It is also kept: an
// s6-supervise that follows one that was killed knows nothing of the answer.
func (a Applet) stayDown() int {
	fd, err := unix.Open(filepath.Join(a.Dir, downFile), unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		fmt.Fprintf(a.Stderr, "! it is started again if its s6-supervise is: %v\n", err)
		return exitDown
	}
	unix.Close(fd)
	return exitDown
}

// unrecorded is the answer where no record can be read or is to be written.
func (a Applet) unrecorded(end ended) int {
	if end.code == profile.ExitConfig {
		return a.stayDown()
	}
	return 0
}

// ended is how a run ended.
type ended struct {
	code   int // -1 if a signal ended it
	signal unix.Signal
	group  int // its process group, 0 where s6-supervise does not say
}

var errEnd = errors.New("finish: not what s6-supervise says of an end")

// parseEnd reads the command line of finish: EXIT SIGNAL NAME, since 2.13 also
// the process group.
func parseEnd(args []string) (ended, error) {
	if len(args) < 4 {
		return ended{}, fmt.Errorf("%w: %q", errEnd, args)
	}
	code, err := strconv.ParseUint(args[1], 10, 16)
	sig, sigErr := strconv.ParseUint(args[2], 10, 8)
	switch {
	case err != nil || code > signalled, code == signalled && (sigErr != nil || sig == 0):
		return ended{}, fmt.Errorf("%w: %q", errEnd, args)
	case code == signalled:
		return ended{code: -1, signal: unix.Signal(sig), group: groupOf(args)}, nil
	}
	return ended{code: int(code), group: groupOf(args)}, nil
}

func groupOf(args []string) int {
	if len(args) < 5 {
		return 0
	}
	n, err := strconv.ParseUint(args[4], 10, 31)
	if err != nil || n < 2 {
		return 0
	}
	return int(n)
}

// exit is the end of the run for the files.
func (a Applet) exit(end ended, last profile.Supervision) profile.Exit {
	e := profile.Exit{Run: last.Run, Code: end.code, Started: time.Unix(0, int64(last.Run)).UTC(), At: a.Now().UTC()}
	if end.signal != 0 {
		e.Signal = unix.SignalName(end.signal)
	}
	e.Asked = a.wasAsked()
	e.Healthy = e.At.Sub(e.Started) >= restart.HealthyAfter
	return e
}

// wasAsked: the slot is told to be down, or a command restarts it.
func (a Applet) wasAsked() bool {
	if _, err := os.Stat(filepath.Join(a.Dir, dataDir, restartingFile)); err == nil {
		return true
	}
	b, err := os.ReadFile(filepath.Join(a.Dir, "supervise", "status"))
	if err != nil {
		return false
	}
	status, err := s6.ParseStatus(b)
	return err == nil && !status.WantUp
}

// judge fills in what follows the end, and why.
func (a Applet) judge(d slotData, last *profile.Supervision, e *profile.Exit, v restart.Verdict) {
	if e.Healthy {
		last.Failures = 0
	}
	last.Reason, last.Hint, last.Health, last.Ended = "", "", "", false
	switch {
	case e.Asked:
		last.State = profile.StateStopped
	case v == restart.Park:
		last.State = profile.StateParked
		last.Reason = withWords("exit 78 (configuration)", a.lastWords(d, *e))
		e.Reason = last.Reason
	case v == restart.Stay:
		last.State, last.Ended = profile.StateStopped, true
		last.Reason = "ended by itself (" + e.String() + ")"
	case v == restart.Again:
		last.State = profile.StateStarting
	default:
		last.Failures++
		last.State, last.NextRetryAt = profile.StateBackoff, later(e.At, e.Started.Add(betweenStarts))
		last.Reason = withWords(e.String(), a.lastWords(d, *e))
	}
}

// betweenStarts is the pace of s6-supervise.
const betweenStarts = time.Second

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func withWords(what, words string) string {
	if words == "" {
		return what
	}
	return what + ": " + words
}

// wordsWithin bounds the wait for what a run said last to be in its log.
const wordsWithin = 500 * time.Millisecond

// lastWords are what the run said last. They may be on their way: s6-log reads
// them from the pipe that is this process's standard output, too.
func (a Applet) lastWords(d slotData, e profile.Exit) string {
	late := time.NewTimer(wordsWithin)
	defer late.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for read := 0; ; {
		if waiting, err := unix.IoctlGetInt(1, unix.TIOCINQ); err != nil || waiting == 0 {
			read++ // written as soon as it is read: by the next look
		}
		words := logfile.LastWords(d.logDir(), e.Started)
		if read > 2 {
			return words
		}
		select {
		case <-look.C:
		case <-late.C:
			return words
		}
	}
}

// readObserved reads the dashboard's observation; one that makes no sense is
// none.
func readObserved(path string) profile.Supervision {
	var s profile.Supervision
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return profile.Supervision{}
	}
	return s
}

func writeObserved(path string, s profile.Supervision) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = os.WriteFile(path+".new", b, 0o644)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fault.Wrap(fault.Internal, err, "cannot write %s", cmp.Or(path, observedFile))
	}
	return nil
}
