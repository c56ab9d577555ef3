package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Terminal is a pseudo-terminal with a program on it, and the person before it.
type Terminal struct {
	t             testing.TB
	person, other *os.File
	done          chan struct{}

	mu    sync.Mutex // guards shown
	shown []byte
}

// patience bounds every wait for what is to be shown.
const patience = 30 * time.Second

// NewTerminal makes a terminal; it goes with the test.
func NewTerminal(t testing.TB) *Terminal {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	number := 0
	control(t, person, func(fd int) error {
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return err
		}
		number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		return err
	})
	other, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &Terminal{t: t, person: person, other: other, done: make(chan struct{})}
	go s.read()
	t.Cleanup(func() {
		_ = other.Close()
		_ = person.Close()
		<-s.done
	})
	return s
}

func control(t testing.TB, f *os.File, do func(fd int) error) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}

func (s *Terminal) read() {
	defer close(s.done)
	buf := make([]byte, 4096)
	for {
		n, err := s.person.Read(buf)
		s.mu.Lock()
		s.shown = append(s.shown, buf[:n]...)
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Start starts a program with the terminal as its own.
func (s *Terminal) Start(cmd *exec.Cmd) {
	s.t.Helper()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.other, s.other, s.other
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// Shown is all that the terminal has shown.
func (s *Terminal) Shown() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.ReplaceAll(string(s.shown), "\r\n", "\n")
}

// Expect waits until the terminal has shown a text n times.
func (s *Terminal) Expect(text string, n int) {
	s.t.Helper()
	if !s.shows(text, n, patience) {
		s.t.Fatalf("the terminal did not show %q %d times within %s:\n%s", text, n, patience, s.Shown())
	}
}

func (s *Terminal) shows(text string, n int, within time.Duration) bool {
	deadline := time.After(within)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for strings.Count(s.Shown(), text) < n {
		select {
		case <-deadline:
			return false
		case <-tick.C:
		}
	}
	return true
}

// again is how long Insist waits before it types once more.
const again = 300 * time.Millisecond

// Insist types a line again and again until the terminal has shown a text: what
// is typed while a terminal changes hands may be lost to both.
func (s *Terminal) Insist(line, text string) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		s.Type(line + "\r")
		if s.shows(text, 1, again) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the terminal did not show %q within %s:\n%s", text, patience, s.Shown())
		}
	}
}

// Resize makes the window another size.
func (s *Terminal) Resize(rows, columns uint16) {
	s.t.Helper()
	control(s.t, s.person, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	})
}

// Type types a text.
func (s *Terminal) Type(text string) {
	s.t.Helper()
	if _, err := s.person.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}

// Echoes says whether the terminal shows what is typed.
func (s *Terminal) Echoes() bool {
	s.t.Helper()
	echoes := false
	control(s.t, s.other, func(fd int) error {
		is, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err == nil {
			echoes = is.Lflag&unix.ECHO != 0
		}
		return err
	})
	return echoes
}
