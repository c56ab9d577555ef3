package lease

import (
	"os"
	"slices"
	"strings"
	"time"

	"hermes/internal/process"
)

// Self is the record of the calling process, without Socket and Manager. What
// the system does not tell stays empty.
func Self(now time.Time) Record {
	r := Record{
		Version:   Version,
		Container: containerID(),
		BootID:    process.BootID(),
		PID:       os.Getpid(),
		UID:       os.Geteuid(),
		Since:     now.UTC(),

		PIDNamespace: process.PIDNamespace(),
	}
	r.Host, _ = os.Hostname()
	return r
}

// containerID names the container this process lives in, "" on a host. It is
// the runtime's id where that shows, since host names repeat (the pod of a
// stateful set keeps its own on another node), else the host name.
func containerID() string {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	if id := idFromMounts(string(b)); id != "" {
		return id
	}
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Lstat(mark); err == nil {
			host, _ := os.Hostname()
			return host
		}
	}
	return ""
}

// idFromMounts finds the id in the sources of the files that every container
// runtime mounts: /var/lib/docker/containers/<id>/hostname and, of kubernetes,
// /var/lib/kubelet/pods/<uid>/etc-hosts. A host has no mounts there.
func idFromMounts(mountinfo string) string {
	for line := range strings.Lines(mountinfo) {
		f := strings.Fields(line) // id parent major:minor root mountpoint …
		if len(f) < 5 || !slices.Contains([]string{"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}, f[4]) {
			continue
		}
		for part := range strings.SplitSeq(f[3], "/") {
			if isID(part) {
				return part
			}
		}
	}
	return ""
}

// isID accepts 64 hex digits (OCI runtimes) and UUIDs (pods).
func isID(s string) bool {
	digits := strings.ReplaceAll(s, "-", "")
	if len(digits) != len(s) && (len(s) != 36 || len(digits) != 32) || len(digits) == len(s) && len(s) != 64 {
		return false
	}
	return !strings.ContainsFunc(digits, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'f')
	})
}
