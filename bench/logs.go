package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

const (
	lineLen = 100
	perBulk = 64 << 10 / lineLen // lines of one bulk write
)

// logs measures how fast a gateway may log: in 64 KiB writes, and line by line.
// ok is false for a side whose logs are another's.
func (b *bench) logs(ctx context.Context, who string) (r result, ok bool) {
	var through func(ctx context.Context, p place, per int) (time.Duration, error)
	switch who {
	case bareLoop:
		through = b.logBare
	case s6Logged:
		through = func(ctx context.Context, p place, per int) (time.Duration, error) {
			return b.logPiped(ctx, p, per, "s6-log", "n10", "s1000000", "T", filepath.Join(p.dir, "logs", "w"))
		}
	case runit:
		through = func(ctx context.Context, p place, per int) (time.Duration, error) {
			return b.logPiped(ctx, p, per, "svlogd", "-tt", filepath.Join(p.dir, "logs", "w"))
		}
	case ours:
		through = b.logOurs
	default:
		return result{}, false
	}
	r = result{Who: who, N: b.lines, Figures: map[figure]summary{}}
	for f, per := range map[figure]int{figLogBulk: perBulk, figLogLines: 1} {
		var sample []float64
		for range min(b.boots, b.k) {
			took, err := b.logOnce(ctx, who, per, through)
			if err != nil {
				r.Failed = append(r.Failed, fmt.Sprintf("logs, %d lines per write: %v", per, err))
				break
			}
			sample = append(sample, float64(b.lines*lineLen)/1e6/took.Seconds())
		}
		r.Figures[f] = summarize(sample)
	}
	return r, true
}

func (b *bench) logOnce(ctx context.Context, who string, per int, through func(context.Context, place, int) (time.Duration, error)) (took time.Duration, err error) {
	p, err := b.newPlace(who, 1, 0)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, endLeftovers(), os.RemoveAll(p.dir)) }()
	if err := os.MkdirAll(filepath.Join(p.dir, "logs", "w"), 0o755); err != nil {
		return 0, err
	}
	return through(ctx, p, per)
}

// writer is the command that logs; hold: it stays when it has done so.
func (b *bench) writer(per int, hold bool) []string {
	held := "0"
	if hold {
		held = "1"
	}
	return []string{b.program("writer"), strconv.Itoa(per), strconv.Itoa(b.lines), held}
}

// logBare reads and forgets: the floor.
func (b *bench) logBare(ctx context.Context, _ place, per int) (time.Duration, error) {
	argv := b.writer(per, false)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := monotonic()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, out, make([]byte, 64<<10))
	return time.Duration(monotonic() - began), errors.Join(err, cmd.Wait())
}

// logPiped is the writer with a logger at the other end of its pipe, as s6 and
// runit connect them, until the logger has written all and ended.
func (b *bench) logPiped(ctx context.Context, p place, per int, logger ...string) (time.Duration, error) {
	argv := b.writer(per, false)
	from, to, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer from.Close()
	defer to.Close()
	w := exec.CommandContext(ctx, argv[0], argv[1:]...)
	w.Stdout = to
	l := exec.CommandContext(ctx, logger[0], logger[1:]...)
	l.Stdin = from
	began := monotonic()
	if err := l.Start(); err != nil {
		return 0, err
	}
	err = w.Run()
	to.Close()
	err = errors.Join(err, l.Wait())
	took := time.Duration(monotonic() - began)
	return took, errors.Join(err, b.checkLog(filepath.Join(p.dir, "logs", "w")))
}

// logOurs is a gateway of a fleet of one, from the command that starts it until
// its last line is in its log; its lines also go to the standard output of
// `hermes up`, as always.
func (b *bench) logOurs(ctx context.Context, p place, per int) (time.Duration, error) {
	s, err := newSide(ours, p)
	if err != nil {
		return 0, err
	}
	f := &fleet{side: s, place: p, b: b, ended: make(chan struct{}), said: new(bytes.Buffer)}
	home := filepath.Join(p.dir, "home")
	if err := errors.Join(f.lay("svc00000", true), layProfile(filepath.Join(home, "profiles", "w"), b.writer(per, true), false)); err != nil {
		return 0, err
	}
	if err := f.launch(ctx); err != nil {
		return 0, err
	}
	if _, err := f.life(ctx, "svc00000", 1); err != nil {
		return 0, f.failed("boot", err)
	}
	began := monotonic()
	if _, err := f.command(ctx, f.start("w")); err != nil {
		return 0, f.failed("start", err)
	}
	dir := filepath.Join(home, "logs", "gateways", "w")
	err = poll(ctx, 2*time.Millisecond, patience, func() (bool, error) { return b.atEnd(dir) })
	took := time.Duration(monotonic() - began)
	if err = errors.Join(err, b.checkLog(dir)); err != nil {
		return 0, f.failed("logging", err)
	}
	return took, f.end(ctx, map[figure][]float64{})
}

// atEnd reports whether the last line is in the log, at the end of current or
// of what was current when it was written.
func (b *bench) atEnd(dir string) (bool, error) {
	files, err := logFiles(dir)
	if err != nil {
		return false, err
	}
	for _, path := range slices.Backward(files) {
		tail, err := tailOf(path)
		switch {
		case errors.Is(err, os.ErrNotExist): // it is being rotated
			return false, nil
		case err != nil:
			return false, err
		case len(tail) > 0:
			return bytes.HasPrefix(tail, number(b.lines)), nil
		}
	}
	return false, nil
}

// logFiles are the files of a log, the oldest first.
func logFiles(dir string) ([]string, error) {
	archives, err := filepath.Glob(filepath.Join(dir, "@*"))
	return append(archives, filepath.Join(dir, "current")), err
}

// tailOf is the last line of a file, without its time.
func tailOf(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	tail := make([]byte, min(info.Size(), lineLen))
	_, err = file.ReadAt(tail, info.Size()-int64(len(tail)))
	return tail, err
}

// number is how the writer begins its i-th line.
func number(i int) []byte { return fmt.Appendf(nil, "%010d", i) }

// checkLog: what was kept ends with the writer's last lines, none missing, and
// each with the time before it.
func (b *bench) checkLog(dir string) error {
	files, err := logFiles(dir)
	if err != nil {
		return err
	}
	var kept []byte
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		kept = append(kept, text...)
	}
	return checkLines(string(kept), b.lines)
}
