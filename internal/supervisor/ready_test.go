package supervisor_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/engine/enginetest"
	"hermes/internal/profile"
)

func TestStartTimeoutIsAFailure(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna", "ready: notify", "start_timeout: 20s", "stop_timeout: 5s")
		r.fake.Script(slotOf("anna"), enginetest.Program{Deaf: true})
		r.boot()
		done := r.ask(startIt, "anna")
		r.pass(20*time.Second - time.Millisecond)
		r.is("anna", profile.StateStarting)
		r.pass(time.Millisecond)
		r.is("anna", profile.StateStopping)
		if !open(done) {
			t.Fatal("answered before it was down")
		}
		r.pass(5 * time.Second)
		r.fails(<-done, "cannot start gateway-anna", "killed")
		r.is("anna", profile.StateBackoff)
		if got := r.observed("anna"); got.Failures != 1 || !strings.Contains(got.Exits[0].Reason, "killed") {
			t.Errorf("on record: %+v", got)
		}
		r.fake.Script(slotOf("anna"), enginetest.Program{})
		r.pass(time.Until(*r.gateway("anna").NextRetryAt))
		r.is("anna", profile.StateStarting)
		r.pass(20 * time.Second)
		r.is("anna", profile.StateBackoff)
		if got := r.gateway("anna").Reason; got != "not ready in 20s" {
			t.Errorf("reason %q", got)
		}
	})
}

// TestStartWhileAborting: the run that was not ready in time goes first.
func TestStartWhileAborting(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.profile("anna", "ready: notify", "start_timeout: 1s")
		r.fake.Script(slotOf("anna"), enginetest.Program{Linger: time.Second})
		r.boot("anna")
		r.pass(time.Second)
		r.is("anna", profile.StateStopping)
		r.configure("anna")
		r.must(startIt, "anna")
		r.is("anna", profile.StateRunning)
		r.spawned("anna", 2)
	})
}

// withPipes is a rig with pipes and sockets, outside of a bubble.
func withPipes(t *testing.T) *rig {
	t.Helper()
	t.Parallel()
	return newRig(t, enginetest.NewFakeWithPipes())
}

// tell sends a notification as the gateway would.
func (r *rig) tell(name, text string) {
	r.t.Helper()
	spec, ok := r.fake.Spec(slotOf(name))
	if !ok {
		r.t.Fatalf("%s has no run", name)
	}
	enginetest.Datagram(r.t, spec.Notify, text)
}

func TestReadyByNotify(t *testing.T) {
	r := withPipes(t)
	r.profile("anna", "ready: notify")
	r.boot()
	done := r.ask(startIt, "anna")
	r.untilState("anna", profile.StateStarting)
	if g := r.gateway("anna"); g.Health != "unready" {
		t.Errorf("health %s", g.Health)
	}
	r.untilLives("anna")
	r.tell("anna", "STATUS=warming up")
	r.until("its status is shown", func() bool { return r.gateway("anna").Status == "warming up" })
	if !open(done) {
		t.Fatal("ready before READY=1")
	}
	r.tell("anna", "READY=1\nSTATUS=\x1b[31mserving")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if g := r.gateway("anna"); g.Health != "ok" || g.Status != "[31mserving" {
		t.Errorf("%+v", g)
	}
	if got := r.observed("anna"); got.ReadyAt.IsZero() || got.State != profile.StateRunning {
		t.Errorf("READY was answered and is not on disk: %+v", got)
	}
	for text, want := range map[string]string{
		"X_HERMES_HEALTH=degraded": "degraded",
		"STOPPING=1":               "draining",
		"READY=1":                  "ok",
	} {
		r.tell("anna", text)
		r.until(text+" is shown", func() bool { return r.gateway("anna").Health == want })
	}
	r.must(stopIt, "anna")
}

// TestHostileNotifications change nothing and cost no descriptor.
func TestHostileNotifications(t *testing.T) {
	r := withPipes(t)
	r.profile("anna", "ready: notify")
	r.boot("anna")
	before := descriptors(t)
	for range 50 {
		r.tell("anna", "")
		r.tell("anna", "READY=0\nREADY\n=1\n\x00\xff\xfeREADY=1")
		r.tell("anna", strings.Repeat("A", 8000)+"\nREADY=1")
		r.passDescriptors("anna")
	}
	r.is("anna", profile.StateStarting)
	if os.Getuid() == 0 {
		r.tellAs("anna", 54321, "READY=1")
		r.is("anna", profile.StateStarting)
	}
	r.tell("anna", "READY=1")
	r.untilState("anna", profile.StateRunning)
	r.until("no descriptor is left open", func() bool { return descriptors(t) <= before })
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	sockets := 0
	for _, fd := range all {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); err == nil && to == "/dev/null" {
			sockets++ // other tests run at the same time, and none of them opens this
		}
	}
	return sockets
}

// passDescriptors sends some along with a datagram.
func (r *rig) passDescriptors(name string) {
	r.t.Helper()
	spec, _ := r.fake.Spec(slotOf(name))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer unix.Close(fd)
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer unix.Close(null)
	if err := unix.Sendmsg(fd, []byte("STATUS=gift"), unix.UnixRights(null, null), &unix.SockaddrUnix{Name: spec.Notify}, 0); err != nil {
		r.t.Fatal(err)
	}
}

// tellAs sends a notification with the credentials of another uid, which root
// may claim.
func (r *rig) tellAs(name string, uid uint32, text string) {
	r.t.Helper()
	spec, _ := r.fake.Spec(slotOf(name))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer unix.Close(fd)
	who := unix.UnixCredentials(&unix.Ucred{Pid: int32(os.Getpid()), Uid: uid, Gid: uid})
	if err := unix.Sendmsg(fd, []byte(text), who, &unix.SockaddrUnix{Name: spec.Notify}, 0); err != nil {
		r.t.Fatal(err)
	}
	r.tell(name, "STATUS=heard after "+strconv.Itoa(int(uid)))
	r.until("what came after is heard", func() bool { return strings.HasPrefix(r.gateway(name).Status, "heard after") })
}

func TestReadyByHTTP(t *testing.T) {
	r := withPipes(t)
	var asked atomic.Int32
	var status atomic.Int32
	status.Store(http.StatusServiceUnavailable)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	l.Close() // the gateway's own, once it is spawned
	r.profile("anna", "ready: http:/health", "port: "+port, "host: 127.0.0.1", "stop_timeout: 1s")
	r.boot()
	done := r.ask(startIt, "anna")
	r.untilLives("anna")
	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/health" {
			t.Errorf("asked for %s", req.URL)
		}
		asked.Add(1)
		if status.Load() == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(int(status.Load()))
	})}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }() // the end of the test waits for it
	defer func() { server.Close(); <-served }()
	r.until("it was asked", func() bool { return asked.Load() > 0 })
	status.Store(http.StatusFound)
	n := asked.Load()
	r.until("it was asked again", func() bool { return asked.Load() > n+1 })
	if !open(done) {
		t.Fatal("ready without a 2xx")
	}
	status.Store(http.StatusNoContent)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if g := r.gateway("anna"); g.Health != "ok" || strconv.Itoa(g.Port) != port {
		t.Errorf("%+v", g)
	}
	n = asked.Load()
	r.must(stopIt, "anna")
	if got := asked.Load(); got != n {
		t.Errorf("asked %d times after it was ready", got-n)
	}
}

// TestProbeEndsWithItsRun: nobody asks for a gateway that is gone.
func TestProbeEndsWithItsRun(t *testing.T) {
	r := withPipes(t)
	r.profile("anna", "ready: http:/health", "port: "+freePort(t), "host: 127.0.0.1")
	r.boot()
	done := r.ask(startIt, "anna")
	r.untilLives("anna")
	r.end("anna", 78)
	r.fails(<-done, "exit 78")
	r.is("anna", profile.StateParked)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}
