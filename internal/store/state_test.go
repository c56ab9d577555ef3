package store_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/profile"
	"hermes/internal/store"
	"hermes/internal/testkit"
)

var moment = time.Date(2026, 11, 23, 4, 5, 6, 0, time.UTC)

func intent(i profile.Intent, generation uint64) profile.IntentRecord {
	return profile.IntentRecord{Version: 1, Intent: i, Generation: generation, ChangedAt: moment, ChangedBy: "cli uid 1000"}
}

func supervision() profile.Supervision {
	return profile.Supervision{
		Version: 1, Keeper: "boot 1", State: profile.StateBackoff, Reason: "exit 1", Failures: 2, NextRetryAt: moment, Run: 3, Port: 9201,
		Exits: []profile.Exit{{Run: 2, Code: 1, Started: moment, At: moment}},
	}
}

func TestStateFilesRoundTrip(t *testing.T) {
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	if r, state, err := p.Intent(); state != store.Absent || err != nil || r != (profile.IntentRecord{}) {
		t.Errorf("no intent: %v, %v, %v", r, state, err)
	}
	if _, state, err := p.Supervision(); state != store.Absent || err != nil {
		t.Errorf("no supervision: %v, %v", state, err)
	}
	if _, state, err := p.Legacy(); state != store.Absent || err != nil {
		t.Errorf("no legacy: %v, %v", state, err)
	}
	for generation := range uint64(3) {
		want := intent(profile.Stopped, generation)
		must(t, p.WriteIntent(want))
		got, state, err := p.Intent()
		if diff := cmp.Diff(want, got); diff != "" || state != store.Valid || err != nil {
			t.Errorf("%v, %v, %s", state, err, diff)
		}
	}
	want := supervision()
	must(t, p.WriteSupervision(want))
	got, state, err := p.Supervision()
	if diff := cmp.Diff(want, got); diff != "" || state != store.Valid || err != nil {
		t.Errorf("%v, %v, %s", state, err, diff)
	}
	wantFault(t, p.WriteIntent(profile.IntentRecord{}), fault.Internal)
	if extra := strings.Join(tree(t, p.Path()), " "); strings.Contains(extra, ".tmp-") {
		t.Errorf("temporary files are left: %s", extra)
	}
	for name, mode := range map[string]os.FileMode{"gateway_intent.json": 0o644, "supervision.json": 0o600} {
		if info, err := os.Stat(p.Path() + "/" + name); err != nil || info.Mode().Perm()&^mode != 0 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// Whatever its reasons contain, what is written can be read back.
func TestSupervisionStaysReadable(t *testing.T) {
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	s := supervision()
	s.Exits = nil
	for run := range uint64(200) {
		s.Exits = append(s.Exits, profile.Exit{Run: run, Reason: strings.Repeat("<\"\x1b[31m\xff", 1000)})
	}
	must(t, p.WriteSupervision(s))
	got, state, err := p.Supervision()
	if state != store.Valid || err != nil || len(got.Exits) == 0 {
		t.Fatalf("%v, %v, %d exits", state, err, len(got.Exits))
	}
	last := got.Exits[len(got.Exits)-1]
	if last.Run != 199 || strings.Contains(last.Reason, "\x1b") || strings.Contains(last.Reason, "\xff") || len(last.Reason) == 0 {
		t.Errorf("the newest exit is %d: %.40q", last.Run, last.Reason)
	}
	if len(s.Exits) != 200 || !strings.Contains(s.Exits[0].Reason, "\x1b") {
		t.Error("the caller's record was changed")
	}
	for i := range s.Exits {
		s.Exits[i].Reason = "short"
	}
	must(t, p.WriteSupervision(s))
	if got, _, _ = p.Supervision(); len(got.Exits) != profile.MaxExits {
		t.Errorf("%d exits are kept, want %d", len(got.Exits), profile.MaxExits)
	}
}

// Each kind of damage, to each state file: never an obstacle, never lost.
func TestCorruptStateFiles(t *testing.T) {
	valid, err := json.Marshal(intent(profile.Running, 1))
	must(t, err)
	content := func(s string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(s), 0o644) }
	}
	outside := filepath.Join(t.TempDir(), "outside.json")
	write(t, outside, string(valid))
	damage := map[string]func(string) error{
		"empty":      content(""),
		"blank":      content(" \n"),
		"torn":       content(string(valid[:len(valid)-9])),
		"trailing":   content(string(valid) + "}"),
		"binary":     content("\x00\x01\xfe"),
		"not UTF-8":  content(`{"version":1,"intent":"running","changed_by":"` + "\xff" + `"}`),
		"null":       content("null"),
		"array":      content("[1]"),
		"huge":       content(`{"a":"` + strings.Repeat("x", 1<<16) + `"}`),
		"alien":      content(`{"intent":["running"],"state":{},"version":"x","exit_reason":`),
		"fifo":       func(p string) error { return unix.Mkfifo(p, 0o644) },
		"socket":     mksocket,
		"directory":  func(p string) error { return os.MkdirAll(p+"/x", 0o755) },
		"link out":   func(p string) error { return os.Symlink(outside, p) },
		"link loop":  func(p string) error { return os.Symlink(filepath.Base(p), p) },
		"broken":     func(p string) error { return os.Symlink("nothing", p) },
		"deep":       content(strings.Repeat(`{"a":`, 12000) + "1" + strings.Repeat("}", 12000)),
		"no version": content("{}"),
	}
	for name, f := range damage {
		t.Run(name, func(t *testing.T) {
			h := newHome(t, "coder")
			p := open(t, h, "coder")
			for file, read := range map[string]func() (store.FileState, error){
				"gateway_intent.json": func() (store.FileState, error) { _, s, err := p.Intent(); return s, err },
				"supervision.json":    func() (store.FileState, error) { _, s, err := p.Supervision(); return s, err },
			} {
				path := p.Path() + "/" + file
				must(t, f(path))
				state, err := read()
				if state != store.Corrupt || err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "set aside as "+file+".corrupt-") {
					t.Errorf("%s: %v, %v", file, state, err)
				}
				if state, err := read(); state != store.Absent || err != nil {
					t.Errorf("%s the second time: %v, %v", file, state, err)
				}
				if kept, _ := filepath.Glob(path + ".corrupt-*"); len(kept) != 1 {
					t.Errorf("set aside: %v", kept)
				}
			}
			if name == "no version" {
				return // no version is fine in the original's file
			}
			path := p.Path() + "/gateway_state.json"
			must(t, f(path))
			if _, state, err := p.Legacy(); state != store.Corrupt || err == nil {
				t.Errorf("legacy: %v, %v", state, err)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Error("the gateway's own file was touched")
			}
			aside, err := p.SetAsideLegacy()
			if err != nil || !strings.HasPrefix(aside, "gateway_state.json.corrupt-") {
				t.Errorf("set aside as %q, %v", aside, err)
			}
			if _, state, err := p.Legacy(); state != store.Absent || err != nil {
				t.Errorf("legacy, set aside: %v, %v", state, err)
			}
		})
	}
	if data, _ := os.ReadFile(outside); string(data) != string(valid) {
		t.Error("a file outside of the home was changed")
	}
}

func TestCorruptFilesAreCapped(t *testing.T) {
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	for i := range 9 {
		write(t, p.Path()+"/gateway_intent.json", "damage "+strconv.Itoa(i))
		if _, state, _ := p.Intent(); state != store.Corrupt {
			t.Fatalf("damage %d is %v", i, state)
		}
	}
	kept, _ := filepath.Glob(p.Path() + "/gateway_intent.json.corrupt-*")
	if len(kept) != 5 {
		t.Fatalf("%d are kept", len(kept))
	}
	if data, _ := os.ReadFile(kept[4]); string(data) != "damage 8" {
		t.Errorf("the newest kept is %q", data)
	}
}

func TestNewerFilesAreLeftAlone(t *testing.T) {
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	for _, name := range []string{"gateway_intent.json", "supervision.json"} {
		write(t, p.Path()+"/"+name, `{"version": 99, "intent": "paused", "state": "asleep"}`)
	}
	if _, state, err := p.Intent(); state != store.Unreadable || err == nil || !strings.Contains(err.Error(), "newer hermes") {
		t.Errorf("intent: %v, %v", state, err)
	}
	if _, state, err := p.Supervision(); state != store.Unreadable || err == nil {
		t.Errorf("supervision: %v, %v", state, err)
	}
	if kept, _ := filepath.Glob(p.Path() + "/*.corrupt-*"); len(kept) != 0 {
		t.Errorf("set aside: %v", kept)
	}
}

func TestUnreadableStateFiles(t *testing.T) {
	if testkit.Unprivileged(t) {
		return
	}
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	must(t, p.WriteIntent(intent(profile.Running, 1)))
	must(t, os.Chmod(p.Path()+"/gateway_intent.json", 0))
	_, state, err := p.Intent()
	if state != store.Unreadable {
		t.Errorf("state %v", state)
	}
	wantFault(t, err, fault.Unreadable, "gateway_intent.json", "permission denied", "belongs to", "mode 0000", "chown")
	if kept, _ := filepath.Glob(p.Path() + "/*.corrupt-*"); len(kept) != 0 {
		t.Errorf("set aside: %v", kept)
	}
	must(t, p.WriteIntent(intent(profile.Stopped, 2))) // the directory is ours
	if r, state, _ := p.Intent(); state != store.Valid || r.Generation != 2 {
		t.Errorf("%v, %v", r, state)
	}
}

func TestLegacy(t *testing.T) {
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	tests := []struct {
		content string
		want    store.Legacy
	}{
		{"{}", store.Legacy{}},
		{
			`{"gateway_state":"running","desired_state":"stopped","pid":77,"exit_reason":"x","updated_at":"2026-11-23T04:05:06Z","platforms":{}}`,
			store.Legacy{GatewayState: "running", DesiredState: "stopped", PID: 77, ExitReason: "x", UpdatedAt: moment},
		},
		{`{"gateway_state":null,"desired_state":1,"pid":"77","exit_reason":["x"],"updated_at":1.5}`, store.Legacy{}},
		{`{"exit_reason":"red \u001b[31m\u0000 text","pid":-1}`, store.Legacy{ExitReason: "red [31m text"}},
	}
	for _, tt := range tests {
		write(t, p.Path()+"/gateway_state.json", tt.content)
		got, state, err := p.Legacy()
		if diff := cmp.Diff(tt.want, got); diff != "" || state != store.Valid || err != nil {
			t.Errorf("%s: %v, %v, %s", tt.content, state, err, diff)
		}
	}
}

func TestFileStateString(t *testing.T) {
	want := map[store.FileState]string{store.Absent: "absent", store.Valid: "valid", store.Corrupt: "corrupt", store.Unreadable: "unreadable"}
	for s, w := range want {
		if s.String() != w {
			t.Errorf("got %q, want %q", s, w)
		}
	}
}

// killEnv makes the test binary write state files until it is killed.
const killEnv = "STORE_TEST_WRITE_FOREVER"

func writeForever(path string) {
	h, err := store.Open(path)
	if err != nil {
		panic(err)
	}
	p, err := h.Profile("coder")
	if err != nil {
		panic(err)
	}
	for generation := uint64(2); ; generation++ {
		r := intent(profile.Running, generation)
		r.ChangedBy = strings.Repeat("x", int(generation%1000))
		if err := errors.Join(p.WriteIntent(r), p.WriteSupervision(supervision())); err != nil {
			panic(err)
		}
	}
}

func TestKilledInTheMiddleOfWrites(t *testing.T) {
	h := newHome(t, "coder")
	p := open(t, h, "coder")
	must(t, p.WriteIntent(intent(profile.Running, 1)))
	for range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killEnv+"="+h.Path())
		must(t, cmd.Start())
		// Once it is seen to write, kill it at whatever point it has reached.
		deadline := time.Now().Add(10 * time.Second)
		for generation := uint64(1); generation < 4; {
			r, state, err := p.Intent()
			if state != store.Valid {
				t.Fatalf("while it is being written the intent is %v, %v", state, err)
			}
			generation = r.Generation
			if time.Now().After(deadline) {
				t.Fatal("the writer does not write")
			}
		}
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		if _, state, err := p.Intent(); state != store.Valid {
			t.Fatalf("after the kill the intent is %v, %v", state, err)
		}
		if _, state, err := p.Supervision(); state != store.Valid {
			t.Fatalf("after the kill the supervision is %v, %v", state, err)
		}
		must(t, p.WriteIntent(intent(profile.Running, 1)))
	}
}

func TestMain(m *testing.M) {
	if path := os.Getenv(killEnv); path != "" {
		writeForever(path) // until killed
	}
	goleak.VerifyTestMain(m)
}
