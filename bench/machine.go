package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is where the figures hold, and what two things cost there that are in
// every command's time.
type machine struct {
	Cores   int               `json:"cores"`
	CPU     string            `json:"cpu"`
	Kernel  string            `json:"kernel"`
	Load    string            `json:"load"` // before the run
	Started time.Time         `json:"started"`
	Options string            `json:"options"`
	Version map[string]string `json:"versions"`
	FsyncMS float64           `json:"fsync_ms"` // of a new file of 200 bytes in the fleets' directory
	SpawnMS float64           `json:"spawn_ms"` // of a static C program that returns at once
	BareMS  float64           `json:"bare_ms"`  // of a Go program that does nothing: the bench's own
	StartMS float64           `json:"start_ms"` // of `hermes version`: what every command of ours begins with
}

func (b *bench) describe(ctx context.Context) (machine, error) {
	m := machine{Cores: runtime.NumCPU(), CPU: cpuModel(), Started: time.Now().UTC().Truncate(time.Second), Version: map[string]string{}}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return m, err
	}
	m.Kernel = unix.ByteSliceToString(uts.Sysname[:]) + " " + unix.ByteSliceToString(uts.Release[:])
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return m, err
	}
	m.Load = strings.Join(strings.Fields(string(load))[:3], " ")
	m.Options = fmt.Sprintf("k=%d, boots=%d, settle=%v, idle=%v, lines=%d", b.k, b.boots, b.settle, b.idle, b.lines)
	for _, who := range b.who {
		if _, pkg := needs(who); pkg != "" {
			m.Version[pkg] = packageVersion(ctx, pkg)
		}
	}
	version, err := exec.CommandContext(ctx, b.hermes, "version").Output()
	if err != nil {
		return m, fmt.Errorf("cannot run %s version: %w", b.hermes, err)
	}
	m.Version[ours] = strings.Join(strings.Fields(strings.TrimPrefix(string(version), "hermes ")), " ")
	if m.FsyncMS, err = fsyncCost(b.root); err != nil {
		return m, err
	}
	if m.SpawnMS, err = spawnCost(ctx, b.program("writer"), "1", "0", "0"); err != nil {
		return m, err
	}
	if m.BareMS, err = spawnCost(ctx, "/proc/self/exe", askWord); err != nil {
		return m, err
	}
	m.StartMS, err = spawnCost(ctx, b.hermes, "version")
	return m, err
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// packageVersion is what Debian says. The programs do not say it themselves.
func packageVersion(ctx context.Context, pkg string) string {
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", pkg).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func fsyncCost(dir string) (float64, error) {
	var sample []float64
	path := filepath.Join(dir, "fsync")
	for range 51 {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		if _, err := f.Write(make([]byte, 200)); err != nil {
			return 0, err
		}
		began := monotonic()
		if err := f.Sync(); err != nil {
			return 0, err
		}
		sample = append(sample, ms(monotonic()-began))
	}
	return summarize(sample).Median, nil
}

func spawnCost(ctx context.Context, program string, args ...string) (float64, error) {
	var sample []float64
	for range 51 {
		began := monotonic()
		if err := exec.CommandContext(ctx, program, args...).Run(); err != nil {
			return 0, err
		}
		sample = append(sample, ms(monotonic()-began))
	}
	return summarize(sample).Median, nil
}
