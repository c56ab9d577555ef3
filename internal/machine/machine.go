// Package machine looks up what the kernel and the container's settings give a
// process: identity, capabilities, limits. What cannot be found out is left at
// its zero value: nothing depends on it but advice.
package machine

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"hermes/internal/condition"
)

// Process is what a process may do. Its numbers are the effective ones.
type Process struct {
	UID, GID uint32
	Caps     condition.Capabilities
}

// Look reads what a process of this pid namespace may do.
func Look(pid int) (Process, error) {
	status, err := os.ReadFile(proc(pid, "status"))
	if err != nil {
		return Process{}, fmt.Errorf("cannot look at process %d: %w", pid, err)
	}
	return parseStatus(string(status)), nil
}

func proc(pid int, file string) string { return filepath.Join("/proc", strconv.Itoa(pid), file) }

// parseStatus reads /proc/<pid>/status.
func parseStatus(status string) (p Process) {
	for line := range strings.Lines(status) {
		key, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		switch {
		case key == "Uid" && len(fields) > 1: // real, effective, saved, file system
			p.UID = number(fields[1])
		case key == "Gid" && len(fields) > 1:
			p.GID = number(fields[1])
		case key == "CapEff" && len(fields) > 0:
			caps, _ := strconv.ParseUint(fields[0], 16, 64)
			p.Caps = condition.Capabilities(caps)
		}
	}
	return p
}

func number(s string) uint32 {
	n, _ := strconv.ParseUint(s, 10, 32)
	return uint32(n)
}

// Limits reads what a process of this pid namespace is limited to.
func Limits(pid int) (l condition.Limits) {
	if limits, err := os.ReadFile(proc(pid, "limits")); err == nil {
		l.OpenFiles, l.Processes = parseLimits(string(limits))
	}
	groups, err := os.ReadFile(proc(pid, "cgroup"))
	if err != nil {
		return l
	}
	mounts, err := os.ReadFile(proc(pid, "mountinfo"))
	if err != nil {
		return l
	}
	c := cgroups{root: "", groups: string(groups), mounts: string(mounts)}
	l.PIDs = c.least("pids", "pids.max", "pids.max")
	l.Memory = c.least("memory", "memory.limit_in_bytes", "memory.max")
	return l
}

// parseLimits reads /proc/<pid>/limits: the hard limit of open files, to which
// hermes raises its own, and the soft one of processes, which it does not.
func parseLimits(limits string) (files, processes uint64) {
	for line := range strings.Lines(limits) {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			_, files = softHard(rest)
		}
		if rest, ok := strings.CutPrefix(line, "Max processes"); ok {
			processes, _ = softHard(rest)
		}
	}
	return files, processes
}

func softHard(rest string) (soft, hard uint64) {
	fields := strings.Fields(rest)
	if len(fields) < 2 {
		return 0, 0
	}
	soft, _ = strconv.ParseUint(fields[0], 10, 64) // "unlimited" is 0
	hard, _ = strconv.ParseUint(fields[1], 10, 64)
	return soft, hard
}

// cgroups finds a process's control groups, of version 1 and 2.
type cgroups struct {
	root           string // of the file system, "" but in tests
	groups, mounts string // /proc/<pid>/cgroup and mountinfo
}

// noLimit is where version 1 begins to mean none: the largest multiple of a
// page that a signed number holds, less what page sizes differ in.
const noLimit = 1 << 62

// least is the smallest limit of a controller in the process's group and those
// above it, as far as they can be seen; 0 for none.
func (c cgroups) least(controller, file1, file2 string) uint64 {
	var least uint64
	for _, m := range c.mountsOf(controller) {
		file := file2
		if m.controller != "" {
			file = file1
		}
		for dir := m.group; ; dir = filepath.Dir(dir) {
			content, _ := os.ReadFile(filepath.Join(c.root+m.point, dir, file))
			if n, err := strconv.ParseUint(strings.TrimSpace(string(content)), 10, 64); err == nil && n < noLimit && (least == 0 || n < least) {
				least = n
			}
			if dir == "/" {
				break
			}
		}
	}
	return least
}

// mount is a hierarchy that may hold a controller.
type mount struct {
	controller string // "" for version 2
	point      string
	group      string // the process's group below point, with a leading slash
}

// mountsOf are the mounted hierarchies that may limit a controller.
func (c cgroups) mountsOf(controller string) (all []mount) {
	lines := bufio.NewScanner(strings.NewReader(c.mounts))
	for lines.Scan() {
		before, after, ok := strings.Cut(lines.Text(), " - ") // id parent dev root point options… - type source options
		f, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(kind) < 3 {
			continue
		}
		m := mount{point: f[4]}
		switch {
		case kind[0] == "cgroup2":
		case kind[0] == "cgroup" && hasWord(kind[2], controller):
			m.controller = controller
		default:
			continue
		}
		if group, ok := c.groupOf(m.controller); ok {
			m.group = below(f[3], group)
			all = append(all, m)
		}
	}
	return all
}

// groupOf is the process's group in a hierarchy: "0::/path" or
// "9:name,pids:/path".
func (c cgroups) groupOf(controller string) (string, bool) {
	for line := range strings.Lines(c.groups) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) == 3 && (f[1] == "" && controller == "" || controller != "" && hasWord(f[1], controller)) {
			return f[2], true
		}
	}
	return "", false
}

// below is the part of group under root. A container sees its own group as the
// root of the mount, whatever path its group has outside.
func below(root, group string) string {
	rest, ok := strings.CutPrefix(group, strings.TrimSuffix(root, "/"))
	if !ok || rest != "" && rest[0] != '/' {
		return "/"
	}
	return filepath.Join("/", rest)
}

func hasWord(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// Free is the space in bytes that this process may use where path is.
func Free(path string) (n uint64, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true //nolint:gosec // a block size is positive
}

// NoInotify is why there is no inotify, "" where there is.
func NoInotify() string {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return err.Error()
	}
	_ = unix.Close(fd)
	return ""
}
