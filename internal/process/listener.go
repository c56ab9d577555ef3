package process

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// Listener says in words which process listens on a TCP port, as far as /proc
// tells: other users' descriptors are not ours to read.
func Listener(port int) string {
	inode := listenerInode(port)
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
		return fmt.Sprintf("pid %s (%s) listens on it", filepath.Base(dir), printable(strings.TrimSpace(string(comm))))
	}
	return "a process of another user listens on it"
}

// listenerInode finds the socket that listens on a port in /proc/net/tcp{,6},
// see proc_pid_net(5).
func listenerInode(port int) string {
	const stateListen = "0A"
	suffix := fmt.Sprintf(":%04X", port)
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

// printable is a process's name for a terminal: it may call itself anything.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, name)
}
