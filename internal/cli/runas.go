package cli

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"hermes/internal/fault"
)

// runAs is whom a foreground gateway runs as.
type runAs struct {
	change     bool // it is not who we are
	uid, gid   int
	name, home string // for USER and HOME; "" leaves them
}

// runAs follows the rules of the fleet, so that a gateway which once ran in
// the foreground leaves no file that it cannot read when it is supervised.
func (e *env) runAs(home string) runAs {
	_, contained := inOurContainer(home)
	who := e.fleetIdentity(home, contained)
	if who.Warning != "" {
		e.note("! %s\n", who.Warning)
	}
	as := runAs{uid: int(who.UID), gid: int(who.GID)}
	if as.uid == os.Geteuid() && as.gid == os.Getegid() {
		return as
	}
	as.change, as.home = true, home
	if u, err := user.LookupId(strconv.Itoa(as.uid)); err == nil {
		as.name, as.home = u.Username, u.HomeDir
	}
	return as
}

// become gives up root for good; it changes every thread of the process.
func (as runAs) become() error {
	err := syscall.Setgroups([]int{as.gid})
	if err == nil {
		err = syscall.Setresgid(as.gid, as.gid, as.gid)
	}
	if err == nil {
		err = syscall.Setresuid(as.uid, as.uid, as.uid)
	}
	if err != nil {
		return fault.New(fault.HomeUnusable, "cannot become uid %d, gid %d: %v", as.uid, as.gid, err).
			WithHint("start the container with --user %d:%d, or add the capabilities SETUID and SETGID", as.uid, as.gid)
	}
	return nil
}

// ancestry is pid and its ancestors, as far as /proc shows them.
func ancestry(pid int) []int {
	var chain []int
	for pid > 0 && len(chain) < 64 { // a bound, should the chain change under us
		chain = append(chain, pid)
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			break
		}
		pid = parentOf(string(stat))
	}
	return chain
}

// parentOf reads the parent's pid out of /proc/<pid>/stat, "7 (a) b) S 1 …": a
// name may hold blanks and parentheses, so it ends at the last one.
func parentOf(stat string) int {
	_, rest, _ := strings.Cut(stat[max(0, strings.LastIndexByte(stat, ')')):], " ")
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(fields[1])
	return n
}
