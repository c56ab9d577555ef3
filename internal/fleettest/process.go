package fleettest

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"hermes/internal/launch"
	"hermes/internal/profile"
)

// Processes is the part of a [World] that is the same wherever gateways are
// processes. A gateway's home is looked up in its environment, which has the
// names of the profile and of its directory.
type Processes struct{ Home string }

// Real implements [World].
func (Processes) Real() bool { return true }

// Program implements [World]: they read it.
func (Processes) Program(profile.Name, Program) {}

// Alive implements [World]. The leader of a session whose parent is none of the
// gateway's is a run.
func (p Processes) Alive(t *testing.T, name profile.Name) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(p.Home, "profiles", string(name))
	if name == profile.Default {
		dir = p.Home
	}
	marked := map[int]int{} // pids of the gateway's processes, with their parents
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		env, err := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
		if err != nil || fields[0][0] == 'Z' || fields[0][0] == 'X' || !has(env, launch.EnvHome+"="+dir) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, parentErr := strconv.Atoi(string(fields[1]))
		if err == nil && parentErr == nil {
			marked[pid] = parent
		}
	}
	var runs []int
	for pid, parent := range marked {
		session, err := unix.Getsid(pid)
		if _, child := marked[parent]; err == nil && session == pid && !child && !left(dir, pid) {
			runs = append(runs, pid)
		}
	}
	slices.Sort(runs)
	return runs
}

// left says whether a process is what a run left behind, see [Leaves].
func left(dir string, pid int) bool {
	b, err := os.ReadFile(filepath.Join(dir, "left"))
	return err == nil && string(bytes.TrimSpace(b)) == strconv.Itoa(pid)
}

func has(environ []byte, entry string) bool {
	for e := range bytes.SplitSeq(environ, []byte{0}) {
		if string(e) == entry {
			return true
		}
	}
	return false
}

// Kill implements [World].
func (p Processes) Kill(t *testing.T, name profile.Name) {
	t.Helper()
	var pids []int
	until(t, string(name)+" lives", func() bool { // it may be about to be executed
		pids = p.Alive(t, name)
		return len(pids) > 0
	}, nothing)
	if len(pids) != 1 {
		t.Fatalf("%s lives as %v", name, pids)
	}
	if err := unix.Kill(pids[0], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// Notify implements [World].
func (p Processes) Notify(t *testing.T, name profile.Name, words string) {
	t.Helper()
	p.order(t, name, notifyFile, words)
}

// Print implements [World].
func (p Processes) Print(t *testing.T, name profile.Name, line string) {
	t.Helper()
	p.order(t, name, printFile, line+"\n")
}

// order makes a file for a gateway of the suite, and waits until it was taken.
func (p Processes) order(t *testing.T, name profile.Name, file, content string) {
	t.Helper()
	path := filepath.Join(p.Home, "profiles", string(name), file)
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	until(t, string(name)+" takes "+file, func() bool {
		_, err := os.Stat(path)
		return os.IsNotExist(err)
	}, nothing)
}
