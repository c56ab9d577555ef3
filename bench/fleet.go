package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// result is what one side did at one size; Failed says what it did not.
type result struct {
	Who     string             `json:"who"`
	N       int                `json:"n"`
	Figures map[figure]summary `json:"figures"`
	Failed  []string           `json:"failed,omitempty"`
}

// fleet is a supervisor that runs, with its services.
type fleet struct {
	side
	place
	b        *bench
	services []string
	cmd      *exec.Cmd
	ended    chan struct{} // closed once the supervisor is waited for
	said     *bytes.Buffer // its stderr; read it after ended
}

// fleets measures all sides at one size. First each is booted and ended as often
// as asked for but once, alone on the machine. Then all are booted, one after the
// other, and wait together: a fleet that is settled or idle costs nobody anything,
// and what wakes its supervisor would be counted whoever else is there. Then each
// is measured and ended, while those after it idle on.
func (b *bench) fleets(ctx context.Context, sides []string, n int, note func(what, who string)) []result {
	all := make([]*trial, len(sides))
	for i, who := range sides {
		all[i] = &trial{who: who, samples: map[figure][]float64{}}
		note("boots", who)
		for range b.boots - 1 {
			all[i].do(ctx, "boot", func() error { return b.bootAndEnd(ctx, all[i], n) })
		}
	}
	for _, t := range all {
		note("boot", t.who)
		t.do(ctx, "boot", func() error { return b.boot(ctx, t, n) })
	}
	note("settle, then idle", "all")
	rest(ctx, b.settle)
	b.idleAll(ctx, all)
	for _, t := range all {
		note("measure", t.who)
		for _, step := range []struct {
			name string
			run  func(context.Context, map[figure][]float64) error
		}{
			{"crashes", t.fleet.crashes},
			{"additions", t.fleet.additions},
			{"stops and starts", t.fleet.commands},
			{"status", t.fleet.statuses},
			{"end", t.fleet.end},
		} {
			t.do(ctx, step.name, func() error { return step.run(ctx, t.samples) })
		}
	}
	var results []result
	err := endLeftovers()
	for _, t := range all {
		if err := errors.Join(err, t.fleet.remove()); err != nil {
			t.failed = append(t.failed, fmt.Sprintf("cleaning up: %v", err))
		}
		results = append(results, t.result(n))
	}
	return results
}

// trial is one side at one size. Once something has failed nothing more is done.
type trial struct {
	who     string
	fleet   *fleet // the one that runs; nil if none was laid out
	samples map[figure][]float64
	failed  []string
}

// do takes one step, unless one failed before or the bench is to end.
func (t *trial) do(ctx context.Context, what string, step func() error) {
	if len(t.failed) > 0 {
		return
	}
	err := ctx.Err()
	if err == nil {
		err = step()
	}
	switch {
	case err == nil:
	case t.fleet != nil:
		t.failed = append(t.failed, t.fleet.failed(what, err).Error())
	default:
		t.failed = append(t.failed, fmt.Errorf("%s: %w", what, err).Error())
	}
}

func (t *trial) result(n int) result {
	r := result{Who: t.who, N: n, Figures: map[figure]summary{}, Failed: t.failed}
	for f, s := range t.samples {
		r.Figures[f] = summarize(s)
	}
	return r
}

// boot lays a fleet out and boots it.
func (b *bench) boot(ctx context.Context, t *trial, n int) error {
	f, err := b.layFleet(t.who, n)
	if err != nil {
		return err
	}
	t.fleet = f
	return f.boot(ctx, t.samples)
}

// briefly is how long a fleet runs that is booted only to be ended: it has
// stopped starting by then.
const briefly = 2 * time.Second

func (b *bench) bootAndEnd(ctx context.Context, t *trial, n int) error {
	if err := b.boot(ctx, t, n); err != nil {
		return err
	}
	rest(ctx, min(b.settle, briefly))
	if err := t.fleet.end(ctx, t.samples); err != nil {
		return err
	}
	return errors.Join(endLeftovers(), t.fleet.remove())
}

// idleAll lets all fleets that run do nothing, all at once.
func (b *bench) idleAll(ctx context.Context, all []*trial) {
	began := make([]idling, len(all))
	for i, t := range all {
		t.do(ctx, "looking at the idle supervisor", func() (err error) {
			began[i], err = t.fleet.idles()
			return err
		})
	}
	rest(ctx, b.idle)
	for i, t := range all {
		t.do(ctx, "looking at the idle supervisor", func() error { return t.fleet.idled(began[i], t.samples) })
	}
}

func (b *bench) layFleet(who string, n int) (*fleet, error) {
	p, err := b.newPlace(who, n, b.k)
	if err != nil {
		return nil, err
	}
	s, err := newSide(who, p)
	if err != nil {
		return nil, err
	}
	f := &fleet{side: s, place: p, b: b, ended: make(chan struct{}), said: new(bytes.Buffer)}
	for i := range n {
		f.services = append(f.services, fmt.Sprintf("svc%05d", i))
		if err := f.lay(f.services[i], true); err != nil {
			return nil, err
		}
	}
	if f.laid != nil {
		return f, f.laid()
	}
	return f, nil
}

// remove removes the fleet's files; it has ended.
func (f *fleet) remove() error {
	if f == nil {
		return nil
	}
	return os.RemoveAll(f.dir)
}

// failed ends the supervisor and tells why with its last words.
func (f *fleet) failed(what string, err error) error {
	if f.cmd == nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	_ = f.cmd.Process.Kill() // it may have ended
	<-f.ended
	said := f.said.Bytes()
	return fmt.Errorf("%s: %w; the supervisor's last words: %q", what, err, said[max(0, len(said)-500):])
}

// launch starts the supervisor.
func (f *fleet) launch(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, f.argv[0], f.argv[1:]...)
	cmd.Env, cmd.Dir = f.env, f.dir
	said, err := os.OpenFile(filepath.Join(f.dir, "stderr"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer said.Close()
	// A file, not a pipe: the supervisor's services have it too, and nobody is to wait for them.
	cmd.Stderr = said
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	f.cmd = cmd
	go func() {
		defer close(f.ended)
		_ = cmd.Wait() // runsvdir's status is 111 when all is well
		text, _ := os.ReadFile(said.Name())
		f.said.Write(text)
	}()
	return nil
}

// boot is from before the supervisor's exec to the last service's first word.
func (f *fleet) boot(ctx context.Context, samples map[figure][]float64) error {
	began := monotonic()
	if err := f.launch(ctx); err != nil {
		return err
	}
	err := poll(ctx, 50*time.Millisecond, patience, func() (bool, error) {
		entries, err := os.ReadDir(f.marks)
		select {
		case <-f.ended:
			return false, errors.New("the supervisor ended")
		default:
			return len(entries) >= f.n, err
		}
	})
	if err != nil {
		return err
	}
	last := int64(0)
	for _, s := range f.services {
		m, err := f.life(ctx, s, 1)
		if err != nil {
			return err
		}
		last = max(last, m.at)
	}
	samples[figBoot] = append(samples[figBoot], ms(last-began))
	return nil
}

// life waits for a service's n-th life.
func (f *fleet) life(ctx context.Context, service string, n int) (mark, error) {
	var marks []mark
	err := poll(ctx, time.Millisecond, 30*time.Second, func() (bool, error) {
		var err error
		marks, err = f.lives(service)
		return len(marks) >= n, err
	})
	if err != nil {
		return mark{}, fmt.Errorf("%s, life %d: %w", service, n, err)
	}
	return marks[n-1], nil
}

func (f *fleet) lives(service string) ([]mark, error) {
	text, err := os.ReadFile(filepath.Join(f.marks, service))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseMarks(string(text))
}

// helpers are the supervisor's own processes, the one that was started first.
func (f *fleet) helpers() ([]int, error) {
	all, err := tree(f.cmd.Process.Pid)
	return slices.DeleteFunc(all, func(pid int) bool {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		return err != nil || exe == f.child
	}), err
}

// idling is a supervisor that has begun to idle.
type idling struct {
	helpers  []int
	switches int64
	at       int64
}

// idles notes how often the supervisor's own processes have woken up so far.
func (f *fleet) idles() (idling, error) {
	helpers, err := f.helpers()
	if err != nil {
		return idling{}, err
	}
	n, err := totalSwitches(helpers)
	return idling{helpers, n, monotonic()}, err
}

// idled counts the supervisor's own processes, what they hold and how often they
// have woken up.
func (f *fleet) idled(since idling, samples map[figure][]float64) error {
	after, err := totalSwitches(since.helpers)
	if err != nil {
		return err
	}
	seconds := float64(monotonic()-since.at) / 1e9
	var kb int64
	others, first := 0, 0
	for i, pid := range since.helpers {
		own, err := pssKB(pid)
		if err != nil {
			return err
		}
		kb += own
		fds, err := descriptors(pid)
		if err != nil {
			return err
		}
		if i == 0 {
			first = fds
		} else {
			others += fds
		}
	}
	samples[figHelpers] = []float64{float64(len(since.helpers))}
	samples[figPSS] = []float64{float64(kb) / 1024}
	samples[figFirstFDs], samples[figOtherFDs] = []float64{float64(first)}, []float64{float64(others)}
	samples[figWakeUps] = []float64{float64(after-since.switches) / seconds}
	return nil
}

func totalSwitches(of []int) (int64, error) {
	var sum int64
	for _, pid := range of {
		n, err := switches(pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// some are the services that something is done to, one after the other.
func (f *fleet) some() []string { return f.services[:min(f.b.k, len(f.services))] }

// crashes: SIGKILL to a service, to the first word of the next one.
func (f *fleet) crashes(ctx context.Context, samples map[figure][]float64) error {
	for _, s := range f.some() {
		lives, err := f.lives(s)
		if err != nil || len(lives) == 0 {
			return errors.Join(err, fmt.Errorf("%s never lived", s))
		}
		began := monotonic()
		if err := unix.Kill(lives[len(lives)-1].pid, unix.SIGKILL); err != nil {
			return fmt.Errorf("cannot kill %s: %w", s, err)
		}
		m, err := f.life(ctx, s, len(lives)+1)
		if err != nil {
			return err
		}
		samples[figCrash] = append(samples[figCrash], ms(m.at-began))
	}
	return nil
}

// additions: from before its directory is laid out to its first word.
func (f *fleet) additions(ctx context.Context, samples map[figure][]float64) error {
	if f.added == nil || f.limit > 0 && f.n+f.b.k > f.limit {
		return nil
	}
	for i := range f.b.k {
		s := fmt.Sprintf("new%05d", i)
		rest(ctx, f.pause)
		began := monotonic()
		if err := f.lay(s, false); err != nil {
			return err
		}
		if _, err := f.command(ctx, f.added(s, f.cmd.Process.Pid)); err != nil {
			return err
		}
		m, err := f.life(ctx, s, 1)
		if err != nil {
			return err
		}
		f.services = append(f.services, s)
		samples[figAdd] = append(samples[figAdd], ms(m.at-began))
	}
	return nil
}

// command runs to its end and answers when that was.
func (f *fleet) command(ctx context.Context, argv []string) (ended int64, err error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = f.env, f.dir
	err = cmd.Run()
	ended = monotonic()
	if err != nil {
		return 0, fmt.Errorf("%.80q: %w", argv, err)
	}
	return ended, nil
}

// commands: a stop and a start of each.
func (f *fleet) commands(ctx context.Context, samples map[figure][]float64) error {
	if f.stop == nil {
		return nil
	}
	// s6 and runit hold a restart back for a second.
	rest(ctx, 1200*time.Millisecond)
	for _, s := range f.some() {
		if err := f.stopStart(ctx, s, f.stop(s), f.start(s), samples, figStop, figStart); err != nil {
			return err
		}
	}
	if f.bare == nil {
		return nil
	}
	for _, s := range f.some() {
		if err := f.stopStart(ctx, s, f.bare("stop", s), f.bare("start", s), samples, figBareStop, figBareStart); err != nil {
			return err
		}
	}
	return nil
}

// stopStart times two commands, each until it has returned and the service is
// down, up, whichever comes last.
func (f *fleet) stopStart(ctx context.Context, s string, stop, start []string, samples map[figure][]float64, stopped, started figure) error {
	lives, err := f.lives(s)
	if err != nil {
		return err
	}
	fds, err := pidfds([]int{lives[len(lives)-1].pid})
	if err != nil {
		return err
	}
	began := monotonic()
	_, err = f.command(ctx, stop)
	err = errors.Join(err, awaitEnd(fds, patience))
	samples[stopped] = append(samples[stopped], ms(monotonic()-began))
	closeAll(fds)
	if err != nil {
		return err
	}
	began = monotonic()
	ended, err := f.command(ctx, start)
	if err != nil {
		return err
	}
	m, err := f.life(ctx, s, len(lives)+1)
	if err != nil {
		return err
	}
	samples[started] = append(samples[started], ms(max(ended, m.at)-began))
	return nil
}

// statuses: the command that shows all.
func (f *fleet) statuses(ctx context.Context, samples map[figure][]float64) error {
	if f.status == nil {
		return nil
	}
	commands := map[figure][]string{figStatus: f.status(f.services)}
	if f.bare != nil {
		commands[figBareStatus] = f.bare("status", "")
	}
	for fig, argv := range commands {
		for range min(f.b.k, 5) {
			began := monotonic()
			ended, err := f.command(ctx, argv)
			if err != nil {
				return err
			}
			samples[fig] = append(samples[fig], ms(ended-began))
		}
	}
	return nil
}

// end: from the signal until the supervisor, its helpers and all services have
// ended.
func (f *fleet) end(_ context.Context, samples map[figure][]float64) error {
	all, err := tree(f.cmd.Process.Pid)
	if err != nil {
		return err
	}
	fds, err := pidfds(all)
	defer closeAll(fds)
	if err != nil {
		return err
	}
	began := monotonic()
	if err := unix.Kill(f.cmd.Process.Pid, f.ends); err != nil {
		return err
	}
	if err := awaitEnd(fds, patience); err != nil {
		return err
	}
	samples[figEnd] = append(samples[figEnd], ms(monotonic()-began))
	<-f.ended
	return nil
}

// ms is nanoseconds as milliseconds.
func ms(ns int64) float64 { return float64(ns) / 1e6 }
