package s6

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hermes/internal/fault"
)

// script puts a shell script in the place of s6-svc and s6-svscanctl: for exit
// codes that the installed version of s6 cannot give. It is the only fake here.
func script(t *testing.T, text string) Tools {
	t.Helper()
	dir := t.TempDir()
	for _, tool := range []string{"s6-svc", "s6-svscanctl"} {
		must(t, os.WriteFile(filepath.Join(dir, tool), []byte("#!/bin/sh\n"+text+"\n"), 0o755))
	}
	return Tools{Dir: dir}
}

// slotless is a scan directory with one slot, laid, and no s6.
func slotless(t *testing.T, tools Tools) Scandir {
	t.Helper()
	d := Scandir{Dir: t.TempDir(), Tools: tools}
	must(t, d.Lay(spec(t, "gateway-coder", "sleep")))
	return d
}

// TestReturnCodes is both sets of exit codes, those of 2.11 and those of 2.14
// and later, with the words s6-svc says to them; no version gives all of them,
// so a script does.
func TestReturnCodes(t *testing.T) {
	const (
		silent11 = "s6-svc: fatal: unable to control gateway-coder: supervisor not listening"
		silent14 = "s6-svc: warning: unable to control gateway-coder: supervisor not listening"
		wrong11  = "s6-svc: fatal: something is wrong with the gateway-coder/supervise directory: No such file or directory"
		wrong14  = "s6-svc: warning: something is wrong with the gateway-coder/supervise directory: No such file or directory"
		denied   = "s6-svc: fatal: unable to control gateway-coder: Permission denied"
	)
	for _, c := range []struct {
		rc     int
		stderr string
		want   outcome
	}{
		{100, silent11, notListening},
		{102, silent14, notListening},
		{100, wrong11, broken},
		{1, wrong14, broken},
		{111, denied, system},
		{99, "s6-svlisten1: fatal: timed out", timedOut},
		{126, "", notRun},
		{127, "", notRun},
		{42, "", system},
	} {
		d := slotless(t, script(t, fmt.Sprintf("echo '%s' >&2; exit %d", c.stderr, c.rc)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // of those who are not listened to
		e := d.Tools.run(t.Context(), "s6-svc", "-U", d.path("gateway-coder"))
		if e == nil || e.ReturnCode != c.rc || e.Stderr != c.stderr || e.outcome() != c.want {
			t.Errorf("rc %d, %q: %+v, want %d", c.rc, c.stderr, e, c.want)
		}
		err := d.Send(ctx, "gateway-coder", Start)
		cancel()
		got, ok := errors.AsType[*CommandError](err)
		if !ok || !errors.Is(err, ErrS6) || fault.CodeOf(err) != fault.S6CommandFailed || got.ReturnCode != c.rc && got.ReturnCode != rcUnfinished {
			t.Errorf("rc %d, %q: %v", c.rc, c.stderr, err)
		}
	}
}

// TestErrorTexts are promises to the original's users, with their fields.
func TestErrorTexts(t *testing.T) {
	d := slotless(t, script(t, "echo 's6-svc: fatal: unable to control: Permission denied' >&2; exit 111"))
	_, err := d.Start(t.Context(), "gateway-coder")
	const text = "s6-svc start on 'gateway-coder' failed (rc=111): s6-svc: fatal: unable to control: Permission denied"
	if err == nil || err.Error() != text {
		t.Errorf("%v", err)
	}
	e, _ := errors.AsType[*CommandError](err)
	if e == nil || e.Service != "gateway-coder" || e.Action != "start" || e.ReturnCode != 111 || e.Stderr != "s6-svc: fatal: unable to control: Permission denied" {
		t.Errorf("%+v", e)
	}
	for action, do := range map[string]func(context.Context, string) (State, error){"stop": d.Stop, "restart": d.Restart} {
		if _, err := do(t.Context(), "gateway-coder"); err == nil || !strings.HasPrefix(err.Error(), "s6-svc "+action+" on 'gateway-coder' failed (rc=111): ") {
			t.Errorf("%s: %v", action, err)
		}
	}
	if got := (&CommandError{Tool: "s6-svc", Service: "gateway-coder", Action: "stop", ReturnCode: 99}).Error(); got != "s6-svc stop on 'gateway-coder' failed (rc=99)" {
		t.Errorf("with nothing said: %q", got)
	}
}

// TestNoSuchSlot: the slot is looked for before any tool is run, and the error
// names the profile.
func TestNoSuchSlot(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	d := slotless(t, script(t, "touch "+ran))
	must(t, os.WriteFile(d.path("gateway-file"), nil, 0o600))
	for slot, name := range map[string]string{"gateway-typo": "typo", "gateway-file": "file", "dashboard": "dashboard", "gateway-../x": "gateway-../x"} {
		want := fmt.Sprintf("no such gateway '%s': register it with `hermes profile create %s` first, or pass an existing profile name via `-p <name>`", name, name)
		for what, do := range map[string]func() error{
			"state":      func() error { _, err := d.State(slot); return err },
			"start":      func() error { _, err := d.Start(t.Context(), slot); return err },
			"stop":       func() error { _, err := d.Stop(t.Context(), slot); return err },
			"restart":    func() error { _, err := d.Restart(t.Context(), slot); return err },
			"send":       func() error { return d.Send(t.Context(), slot, Start) },
			"unregister": func() error { return d.Unregister(t.Context(), slot) },
			"deaths":     func() error { _, err := d.Deaths(slot); return err },
		} {
			err := do()
			e, ok := errors.AsType[*NotRegisteredError](err)
			if !ok || !errors.Is(err, ErrS6) || fault.CodeOf(err) != fault.GatewayNotRegistered || err.Error() != want || e.Error() != want || e.Profile != name || e.Slot != slot {
				t.Errorf("%s %s: %v", what, slot, err)
			}
		}
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a tool was run")
	}
}

// TestToolsThatDoNotAnswer: each is an error with what happened in its text.
func TestToolsThatDoNotAnswer(t *testing.T) {
	missing := slotless(t, Tools{Dir: "/nonexistent"})
	err := missing.Send(t.Context(), "gateway-coder", Start)
	if e, _ := errors.AsType[*CommandError](err); e == nil || e.ReturnCode != rcNotFound {
		t.Errorf("%v", err)
	}
	if f, _ := errors.AsType[*fault.Error](err); f == nil || !strings.HasPrefix(f.Hint, "install s6") {
		t.Errorf("%+v", f)
	}
	hung := slotless(t, script(t, "exec sleep 1000"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = hung.Send(ctx, "gateway-coder", Start)
	if e, _ := errors.AsType[*CommandError](err); e == nil || e.ReturnCode != rcUnfinished || e.Stderr == "" {
		t.Errorf("%v", err)
	}
	killed := slotless(t, script(t, "kill -9 $$"))
	err = killed.Send(t.Context(), "gateway-coder", Start)
	if e, _ := errors.AsType[*CommandError](err); e == nil || e.ReturnCode != rcUnfinished || !strings.Contains(e.Stderr, "killed") {
		t.Errorf("%v", err)
	}
	long := slotless(t, script(t, "yes 'a line' | head -c 100000 >&2; exit 111"))
	err = long.Send(t.Context(), "gateway-coder", Start)
	if e, _ := errors.AsType[*CommandError](err); e == nil || len(e.Stderr) > 6000 || strings.Contains(e.Stderr, "\n") {
		t.Errorf("%d bytes of %v", len(err.Error()), e.ReturnCode)
	}
	onPath := slotless(t, Tools{})
	needS6(t)
	if path, err := onPath.Tools.find("s6-svc"); err != nil || filepath.Base(path) != "s6-svc" {
		t.Errorf("%q, %v", path, err)
	}
	t.Setenv("PATH", "/nonexistent")
	if path, err := onPath.Tools.find("s6-svc"); err != nil || !filepath.IsAbs(path) {
		t.Errorf("without PATH: %q, %v", path, err)
	}
	if path, err := onPath.Tools.find("s6-nothing"); err == nil {
		t.Errorf("%q", path)
	}
}
