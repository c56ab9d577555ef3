package supervisor_test

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/profile"
)

// hold takes a lock of a profile, as a gateway in the foreground does.
func (r *rig) hold(name, file string) (release func()) {
	r.t.Helper()
	fd, err := unix.Open(r.path(name, file), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o644)
	if err == nil {
		err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return func() { _ = unix.Close(fd) }
}

// TestForegroundCommandIsNotDoubled: a foreign command in the foreground has
// its slot wait, and start by itself once that is over.
func TestForegroundCommandIsNotDoubled(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna")
		release := r.hold("anna", "foreground.lock")
		r.boot()
		r.fails(r.do(startIt, "anna"), fmt.Sprintf("cannot start gateway-anna: it runs in the foreground, pid %d", os.Getpid()))
		r.is("anna", profile.StateBackoff)
		release()
		r.pass(time.Minute)
		r.is("anna", profile.StateRunning)
	})
}

// TestForegroundBuiltInIsReplaced: the port is the stray's, whom --replace ends.
func TestForegroundBuiltInIsReplaced(t *testing.T) {
	for _, file := range []string{"gateway.lock", "foreground.lock"} {
		t.Run(file, func(t *testing.T) {
			r := withPipes(t)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			r.profile("anna")
			r.write("anna", "config.yaml", fmt.Sprintf("gateway: {port: %d, host: 127.0.0.1}\n", l.Addr().(*net.TCPAddr).Port))
			defer r.hold("anna", file)()
			r.boot()
			r.ask(startIt, "anna")
			r.untilLives("anna")
		})
	}
}
