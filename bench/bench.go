package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed csrc/*.c
var csrc embed.FS

// patience is how long anything may take before it counts as failed.
const patience = 3 * time.Minute

// bench is one run: its options, programs and directory.
type bench struct {
	options
	root    string // on tmpfs
	bin     string // where binaries may be executed
	machine machine
}

func newBench(ctx context.Context, o options) (b *bench, err error) {
	for _, who := range o.who {
		if err := missing(who); err != nil {
			return nil, err
		}
	}
	if o.hermes, err = filepath.Abs(o.hermes); err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.hermes); err != nil {
		return nil, fmt.Errorf("cannot find hermes: %w: run make build, or say -hermes FILE", err)
	}
	if err := prepareProcess(); err != nil {
		return nil, err
	}
	b = &bench{options: o}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.bin, err = os.MkdirTemp("", "hermes-bench-bin-"); err != nil {
		return nil, err
	}
	if b.root, err = os.MkdirTemp(o.dir, "hermes-bench-"); err != nil {
		return nil, fmt.Errorf("%w: say -dir DIRECTORY, on a tmpfs", err)
	}
	for _, name := range []string{"child", "loop", "writer"} {
		if err := b.compile(ctx, name); err != nil {
			return nil, err
		}
	}
	b.machine, err = b.describe(ctx)
	return b, err
}

func (b *bench) close() {
	for _, dir := range []string{b.root, b.bin} {
		if dir != "" {
			os.RemoveAll(dir)
		}
	}
}

// prepareProcess makes the bench the parent of what its fleets leave behind,
// and lets them open all files they may: a setting made by hand is inherited,
// Go's own is not.
func prepareProcess() error {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	files.Cur = files.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// program is where a compiled C program is.
func (b *bench) program(name string) string { return filepath.Join(b.bin, "bench-"+name) }

func (b *bench) compile(ctx context.Context, name string) error {
	src, err := csrc.ReadFile("csrc/" + name + ".c")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "gcc", "-O2", "-static", "-D_GNU_SOURCE", "-x", "c", "-o", b.program(name), "-")
	cmd.Stdin = strings.NewReader(string(src))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot compile %s.c: %w: apt-get install gcc libc6-dev\n%s", name, err, out)
	}
	return nil
}

// newPlace is an empty directory for a fleet.
func (b *bench) newPlace(who string, n, extra int) (place, error) {
	dir := filepath.Join(b.root, who)
	if err := os.RemoveAll(dir); err != nil {
		return place{}, err
	}
	p := place{
		dir: dir, marks: filepath.Join(dir, "marks"), n: n, most: n + extra,
		child: b.program("child"), loop: b.program("loop"), hermes: b.hermes,
	}
	return p, errors.Join(os.MkdirAll(p.marks, 0o755), os.MkdirAll(filepath.Join(dir, "logs"), 0o755))
}

// poll calls done every so often until it says yes, ctx ends, or it took too long.
func poll(ctx context.Context, every, limit time.Duration, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("it took more than %v", limit)
		}
	}
}

// rest lets time pass: a fleet settles, or idles.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// endLeftovers ends what a fleet left behind and waits for it. It is called
// when nothing of the bench's own runs.
func endLeftovers() error {
	return poll(context.Background(), 5*time.Millisecond, patience, func() (bool, error) {
		all, err := tree(os.Getpid())
		if err != nil {
			return false, err
		}
		for _, pid := range all[1:] {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
		}
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			switch {
			case errors.Is(err, unix.ECHILD):
				return true, nil
			case errors.Is(err, unix.EINTR):
			case err != nil:
				return false, err
			case pid == 0:
				return false, nil
			}
		}
	})
}
