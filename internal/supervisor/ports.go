package supervisor

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hermes/internal/config"
	"hermes/internal/fault"
	"hermes/internal/port"
	"hermes/internal/profile"
)

// setPorts assigns every claim its port; clashes are shown, not fatal.
func (f *Fleet) setPorts(claims []port.Claim) {
	assigned, err := port.Assign(claims)
	if err != nil {
		f.log.Warn("ports clash", "error", err)
		f.notices.set(portsClash, "", err)
	} else {
		f.notices.clear(portsClash, "")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ports = assigned
}

func (f *Fleet) port(name profile.Name) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ports[name]
}

// explicitPort is the port a person gave the profile, 0 if none did.
func (f *Fleet) explicitPort(name profile.Name) (int, error) {
	p, err := f.home.Profile(name)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	file, err := p.Config()
	if err != nil {
		return 0, err
	}
	dotenv, err := p.Dotenv()
	if err != nil {
		return 0, err
	}
	return config.ExplicitPort(name, f.options.Settings, file.Gateway, dotenv)
}

// portFor is the port a start uses: what the files say now, else what was
// assigned, 0 if the range had none left.
func (f *Fleet) portFor(name profile.Name, g config.Gateway, dotenv map[string]string) (int, error) {
	if n, err := config.ExplicitPort(name, f.options.Settings, g, dotenv); err != nil || n != 0 {
		return n, err
	}
	return f.port(name), nil
}

// noPort refuses a gateway that has to serve and has no port.
func (f *Fleet) noPort(name profile.Name) error {
	return fault.New(fault.PortTaken, "cannot start %s: no port in [%d, %d) is left for it", name.Slot(), port.First, port.First+port.Count).
		WithHint("set gateway.port in %s", filepath.Join(f.home.ProfilePath(name), "config.yaml"))
}

// portOwner is another profile whose gateway is up on the port.
func (f *Fleet) portOwner(name profile.Name, number int) (profile.Name, bool) {
	for _, s := range f.slots() {
		g := s.shown.Load().gateway
		if s.name != name && g.PID != 0 && g.Port == number {
			return s.name, true
		}
	}
	return "", false
}

func portTaken(number int, owner string, name profile.Name) error {
	return fault.New(fault.PortTaken, "cannot start %s: port %d is taken: %s", name.Slot(), number, owner).
		WithHint("set gateway.port of profile '%s' to another one, or stop what has it", name)
}

// listenerName says which process listens on a TCP port, as far as /proc
// tells: other users' descriptors are not ours to read.
func listenerName(number int) string {
	inode := listenerInode(number)
	if inode == "" {
		return "another process listens on it"
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return "another process listens on it"
	}
	want := "socket:[" + inode + "]"
	for _, link := range links {
		if to, err := os.Readlink(link); err != nil || to != want {
			continue
		}
		dir := filepath.Dir(filepath.Dir(link))
		comm, _ := os.ReadFile(filepath.Join(dir, "comm"))
		return fmt.Sprintf("pid %s (%s) listens on it", filepath.Base(dir), clean(strings.TrimSpace(string(comm))))
	}
	return "a process of another user listens on it"
}

// listenerInode finds the socket that listens on a port in /proc/net/tcp{,6},
// see proc_pid_net(5).
func listenerInode(number int) string {
	const stateListen = "0A"
	suffix := fmt.Sprintf(":%04X", number)
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		content, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(bytes.NewReader(content))
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			if len(f) > 9 && f[3] == stateListen && strings.HasSuffix(f[1], suffix) {
				return f[9]
			}
		}
	}
	return ""
}
