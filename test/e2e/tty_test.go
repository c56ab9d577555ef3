package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a person at a terminal, in which a command runs.
type terminal struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd

	mu   sync.Mutex
	said []byte
	read int           // of said, by expect
	over chan struct{} // closed when nothing more will be said
}

// inTerminal starts a command in a terminal of that many rows and columns.
func inTerminal(t *testing.T, rows, columns uint16, name string, args ...string) *terminal {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &terminal{t: t, master: os.NewFile(uintptr(fd), "ptmx"), cmd: exec.Command(name, args...), over: make(chan struct{})}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = tty, tty, tty
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.listen()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_, _ = p.cmd.Process.Wait()
		<-p.over
		p.master.Close()
	})
	return p
}

// listen keeps what is said until the last of those who could say something
// has gone.
func (p *terminal) listen() {
	defer close(p.over)
	buf := make([]byte, 4096)
	for {
		n, err := p.master.Read(buf)
		p.mu.Lock()
		p.said = append(p.said, buf[:n]...)
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// typed is what a person types.
func (p *terminal) typed(keys string) {
	p.t.Helper()
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// expect waits until something is said after what was last expected.
func (p *terminal) expect(what string) {
	p.t.Helper()
	if !p.says(what, patience) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.t.Fatalf("the terminal does not say %q, but %q", what, p.said[p.read:])
	}
}

// says is expect where it may not be said in time.
func (p *terminal) says(what string, within time.Duration) bool {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		p.mu.Lock()
		i := bytes.Index(p.said[p.read:], []byte(what))
		if i >= 0 {
			p.read += i + len(what)
		}
		p.mu.Unlock()
		if i >= 0 || time.Now().After(deadline) {
			return i >= 0
		}
		<-tick.C
	}
}

// resize makes the window another size.
func (p *terminal) resize(rows, columns uint16) {
	p.t.Helper()
	raw, err := p.master.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			if err := unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
				p.t.Error(err)
			}
		})
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the command's end.
func (p *terminal) exit() int {
	p.t.Helper()
	<-p.over
	_ = p.cmd.Wait() // the code says it
	return p.cmd.ProcessState.ExitCode()
}

// TestShellInTerminal is `docker run -it … bash`: the shell has the terminal
// and its size, job control works in it, and its exit code is the container's.
func TestShellInTerminal(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"native", "s6"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			d := newDockerS6(t)
			p := inTerminal(t, 41, 101, "docker", "run", "--interactive", "--tty", "--name", d.name, "--volume", d.home+":/opt/data",
				"--env", "HERMES_ENGINE="+engine, "--env", "PS1=ready> ", d.image, "bash", "--norc")
			p.expect("ready> ")
			p.asks("stty size", "41 101") // Docker says it a moment after the start
			p.expect("ready> ")
			p.typed("trap 'stty size' WINCH; echo trap is set''.\r")
			p.expect("trap is set.")
			p.expect("ready> ")
			p.resize(50, 120)
			p.typed("\r")
			p.expect("50 120")
			p.foreground("\x03") // Ctrl-C
			p.expect("ready> ")
			p.typed("echo code $?.\r")
			p.expect("code 130.")
			p.foreground("\x1a") // Ctrl-Z
			p.expect("Stopped")
			p.typed("fg\r")
			p.expect("cat - /dev/null")
			p.converse("it runs on")
			p.typed("\x03")
			p.expect("ready> ")
			p.typed("echo code $?.\r")
			p.expect("code 130.")
			p.typed("exit 7\r")
			if code := p.exit(); code != 7 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

// foreground starts a program, waits until it has the terminal, and presses
// the key.
func (p *terminal) foreground(key string) {
	p.t.Helper()
	p.typed("cat - /dev/null\r")
	p.expect("cat - /dev/null")
	p.converse("hear me")
	p.typed(key)
}

// asks repeats a command until it has the answer.
func (p *terminal) asks(command, answer string) {
	p.t.Helper()
	for range 100 {
		p.typed(command + "\r")
		if p.says(answer, 300*time.Millisecond) {
			return
		}
	}
	p.t.Fatalf("%s never says %q", command, answer)
}

// converse waits until cat repeats what is typed. What is typed while a shell
// hands the terminal over is lost to both.
func (p *terminal) converse(line string) {
	p.t.Helper()
	for range 100 {
		p.typed(line + "\r")
		if p.says(line+"\r\n"+line+"\r\n", 300*time.Millisecond) { // the terminal's echo, then cat's
			return
		}
	}
	p.t.Fatalf("nobody repeats %q", line)
}
