package enginetest

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Until polls for a condition and fails the test if it does not come about.
func Until(t testing.TB, what string, met func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); !met(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain until %s", deadline, what)
		}
	}
}

// shortDir is a directory whose name leaves room for a socket's.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ht")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Datagram sends text to the datagram socket at path.
func Datagram(t testing.TB, path, text string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, []byte(text), 0, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatalf("cannot send to %s: %v", path, err)
	}
}

// ReadDatagram receives one datagram from a non-blocking socket.
func ReadDatagram(t testing.TB, fd int) string {
	t.Helper()
	buf := make([]byte, 4096)
	n := -1
	Until(t, "a datagram arrives", func() bool {
		got, err := unix.Read(fd, buf)
		if err == nil {
			n = got
		}
		return err == nil
	})
	return string(buf[:n])
}
