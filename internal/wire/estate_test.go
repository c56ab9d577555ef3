package wire

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func someEstate() *Estate {
	return &Estate{
		Version: EstateVersion, Stamp: "boot.7", Runtime: []byte("/run/\xff"), EngineArgv: [][]byte{[]byte("hermes"), []byte("\xfe")},
		Listener: 3, Lease: 4, Spare: []int{9},
		Runs: []Inherited{{
			RunInfo: RunInfo{
				Slot: "gateway-a", Generation: 2, PID: 42, StartTime: 99, Started: 5, Dropped: 1, Backlog: "gateway-a.2",
				Credential: &Credential{UID: 1, GID: 2, Groups: []uint32{3}}, Signal: 15, Grace: time.Second,
			},
			Child: true, LogFD: 5, NotifyFD: 6, LockFD: -1, NotifyPath: []byte("/run/\xff/n/a"),
		}, {
			RunInfo: RunInfo{Slot: "gateway-b", PID: 43, Exit: &Exit{Code: 78, At: 1}}, LogFD: -1, NotifyFD: -1, LockFD: -1,
		}},
	}
}

func TestEstateIsPassedOn(t *testing.T) {
	e := someEstate()
	var fds []int // real ones in the place of 3 to 6
	for _, fd := range []*int{&e.Listener, &e.Lease, &e.Runs[0].LogFD, &e.Runs[0].NotifyFD} {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		raw, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.Control(func(n uintptr) { *fd = int(n) })
		fds = append(fds, *fd)
	}
	closesOnExec := func(fd int) bool {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		return err == nil && flags&unix.FD_CLOEXEC != 0
	}
	fd, err := e.Pass()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range append(fds, fd) {
		if closesOnExec(d) {
			t.Errorf("descriptor %d does not survive an exec", d)
		}
	}
	got, err := ReceiveEstate(fd)
	if err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("passed %+v, received %+v, %v", e, got, err)
	}
	for _, d := range fds {
		if !closesOnExec(d) {
			t.Errorf("descriptor %d survives another exec", d)
		}
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
		t.Error("the estate's own descriptor is left open")
	}
}

func TestEstatesThatAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(e *Estate){
		"version":           func(e *Estate) { e.Version++ },
		"without an engine": func(e *Estate) { e.EngineArgv = nil },
		"run \"..\"":        func(e *Estate) { e.Runs[0].Slot = ".." },
		"of process 1":      func(e *Estate) { e.Runs[0].PID = 1 },
		"with descriptor 2": func(e *Estate) { e.Runs[0].LogFD = 2 },
		"with descriptor 4": func(e *Estate) { e.Runs[1].LogFD = e.Lease },
	} {
		e := someEstate()
		spoil(e)
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeEstate(b); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReceiveEstate(-1); err == nil {
		t.Error("descriptor -1 has an estate")
	}
}

func FuzzDecodeEstate(f *testing.F) {
	whole, err := json.Marshal(someEstate())
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range [][]byte{whole, []byte("{}"), []byte(`{"version":1,"runs":[{"log_fd":-5}]}`), nil} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEstate(b)
		if err != nil {
			return
		}
		seen := map[int]bool{}
		for _, fd := range e.descriptors() {
			if fd <= 2 || seen[fd] {
				t.Fatalf("descriptor %d in %+v", fd, e)
			}
			seen[fd] = true
		}
		for _, r := range e.Runs {
			if !ValidSlot(r.Slot) || r.PID <= 1 {
				t.Fatalf("run %+v", r)
			}
		}
	})
}
