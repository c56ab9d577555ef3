package cli

import (
	"os"
	"strings"
)

// inContainer guesses whether this is a container. It chooses labels and
// hints, never behaviour: every sign is missing somewhere.
func inContainer(root string) bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(root + mark); err == nil {
			return true
		}
	}
	comm, _ := os.ReadFile(root + "/proc/1/comm")
	switch strings.TrimSpace(string(comm)) {
	case "hermes", "s6-svscan", "docker-init", "tini", "catatonit", "dumb-init":
		return true
	}
	cgroup, _ := os.ReadFile(root + "/proc/1/cgroup")
	for _, word := range []string{"docker", "kubepods", "libpod", "containerd", "lxc"} {
		if strings.Contains(string(cgroup), word) {
			return true
		}
	}
	return false
}
