package client

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"hermes/internal/lease"
)

// TestMain lets the test binary also be an engine that a test can kill
// ("engine": it serves the listener it inherits as descriptor 3), or a client
// of another uid ("client").
func TestMain(m *testing.M) {
	switch os.Getenv("CLIENT_TEST_ROLE") {
	case "engine":
		engine(os.Getenv("CLIENT_TEST_ANSWER"))
	case "client":
		c, err := Find(os.Getenv("CLIENT_TEST_HOME"))
		if err == nil {
			c.Command = "hermes gateway stop coder"
			_, err = c.Fleet(context.Background())
		}
		printFault(err)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// engine accepts one connection, reads the request, says so, and then answers
// the given bytes; without any it hangs until it is killed.
func engine(answer string) {
	f := os.NewFile(3, "listener")
	l, err := net.FileListener(f)
	if err != nil {
		panic(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			panic(err)
		}
		_, _ = io.WriteString(c, answer)
		os.Stdout.WriteString("asked\n")
		if answer != "" {
			c.Close()
		}
	}
}

// listen binds a socket whose descriptor outlives those who serve it, as the
// keeper's does.
func listen(t *testing.T) (socket string, f *os.File) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if f, err = l.(*net.UnixListener).File(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	t.Cleanup(func() { f.Close() })
	return socket, f
}

// startEngine starts an engine process on a listener; asked yields a line for
// every request it has read.
func startEngine(t *testing.T, listener *os.File, answer string) (cmd *exec.Cmd, asked *bufio.Reader) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "CLIENT_TEST_ROLE=engine", "CLIENT_TEST_ANSWER="+answer)
	cmd.ExtraFiles = []*os.File{listener}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, bufio.NewReader(out)
}

// serve answers HTTP on a socket with a handler until the test ends.
func serve(t testing.TB, h http.HandlerFunc) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return socket
}

// raw answers every connection with fixed bytes and closes it.
func raw(t *testing.T, answer string) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, answer)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return socket
}

// hold takes the lease of a new home for a supervisor with that socket.
func hold(t *testing.T, socket string) (home string, l *lease.Lease) {
	t.Helper()
	home = t.TempDir()
	rec := lease.Self(time.Now())
	rec.Socket = socket
	l, err := lease.Take(home, rec, lease.TakeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return home, l
}

// find is a client of home with little patience.
func find(t *testing.T, home string) *Client {
	t.Helper()
	c, err := Find(home)
	if err != nil {
		t.Fatal(err)
	}
	return hurry(c)
}

func hurry(c *Client) *Client {
	c.limits = limits{dial: 100 * time.Millisecond, health: 100 * time.Millisecond, silence: 300 * time.Millisecond}
	return c
}

// body is a complete answer of status 200.
func body(json string) string {
	return "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + json
}

func mustContain(t *testing.T, what, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%s: %q lacks %q", what, text, w)
		}
	}
}
