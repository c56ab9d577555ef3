package s6fleet

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/config"
	"hermes/internal/process"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// The names under which s6-supervise starts this program in a slot, through
// links: run, finish and log/run. See [Applet].
const (
	RunName    = "run"
	FinishName = "finish"
)

// Applet is this program as a part of a slot. It does its work and becomes, or
// makes room for, what the slot is for.
type Applet struct {
	// Dir is where s6-supervise started it: the slot's directory, or log/ in it.
	Dir string
	// Args is its command line: run NAME; finish EXIT SIGNAL NAME [PGID].
	Args     []string
	Environ  []string
	Settings config.Settings
	Self     string // the absolute path of this program
	// Stderr gets what is wrong, for the slot's log; the log's own, the
	// container's.
	Stderr io.Writer
	Now    func() time.Time
}

// IsApplet tells whether a command line is one of an applet's.
func IsApplet(args []string) bool {
	switch filepath.Base(args[0]) {
	case RunName, FinishName:
		return true
	}
	return false
}

// Main does what the command line says and returns the exit code; a program
// that was executed instead never does.
func (a Applet) Main() int {
	var err error
	code := 1
	switch name := filepath.Base(a.Args[0]); {
	case name == FinishName:
		code, err = a.finish()
	case filepath.Base(a.Dir) == "log":
		err = a.log()
	default:
		code, err = a.run()
	}
	if err != nil {
		fmt.Fprintf(a.Stderr, "✗ %v\n", err)
	}
	return code
}

// owner is the name and home of who this process runs as, which is who gateways
// run as: init gives up root before it becomes s6-svscan.
func owner(home string) (name, dir string) {
	if u, err := user.LookupId(strconv.Itoa(os.Getuid())); err == nil {
		return u.Username, u.HomeDir
	}
	return "", home
}

// keeper is the stamp of this s6: of this process 1 in this boot.
func keeper() string {
	birth, _ := process.StartTime(1)
	return fmt.Sprintf("s6 %s %d", process.BootID(), birth)
}

// tool finds a tool of s6, as package s6 does.
func tool(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/command/", "/usr/bin/"} {
		if unix.Access(dir+name, unix.X_OK) == nil {
			return dir + name
		}
	}
	return name
}

// standardInput makes the null device this process's standard input: what it
// has is the container's, which belongs to the main program.
func standardInput() error {
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(null)
	return unix.Dup3(null, 0, 0)
}

// observation is what was last observed of the slot.
func (d slotData) observation(p *store.Profile, dir string) profile.Supervision {
	if p == nil {
		return readObserved(filepath.Join(dir, dataDir, observedFile))
	}
	last, _, _ := p.Supervision() // torn or unreadable: history starts anew
	return last
}

// record files an observation.
func (d slotData) record(p *store.Profile, dir string, s profile.Supervision) error {
	s.Version = profile.SupervisionVersion
	s.Keeper = keeper()
	if p == nil {
		return writeObserved(filepath.Join(dir, dataDir, observedFile), s)
	}
	return p.WriteSupervision(s)
}
