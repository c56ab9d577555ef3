package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"hermes/internal/testkit"
)

// syscallEvent is one finished system call of a trace: the lines at which it
// began and ended, its name, and its arguments with descriptors spelt out.
type syscallEvent struct {
	began, ended int
	name, args   string
}

// parseTrace reads what `strace -f -y` wrote. Calls of several threads overlap:
// one that is interrupted by another's line is put together again.
func parseTrace(lines []string) []syscallEvent {
	form := regexp.MustCompile(`^(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)$`)
	begun := map[string]syscallEvent{} // by thread
	var events []syscallEvent
	for i, line := range lines {
		n := i + 1 // 0 is before everything
		m := form.FindStringSubmatch(line)
		if m == nil {
			continue // a signal, or the end of a process
		}
		e := syscallEvent{began: n, name: m[3], args: m[4]}
		if m[2] != "" {
			e = begun[m[1]]
			e.args += m[4]
		}
		if args, ok := strings.CutSuffix(e.args, " <unfinished ...>"); ok {
			e.args = args
			begun[m[1]] = e
			continue
		}
		if strings.Contains(e.args, ") = -1 ") || strings.HasSuffix(e.args, ") = ?") {
			continue
		}
		e.ended = n
		events = append(events, e)
	}
	return events
}

// intentIsDurable checks that the latest gateway_intent.json written in dir was
// on disk before the answer: its content synced, then renamed, then the
// directory synced (the whole file system counts for either), and only then
// what answer matches written.
func intentIsDurable(events []syscallEvent, dir string, answer *regexp.Regexp) error {
	renamed := slices.IndexFunc(events, func(e syscallEvent) bool {
		return strings.HasPrefix(e.name, "rename") && strings.Contains(e.args, dir+">") && strings.Contains(e.args, `"gateway_intent.json"`)
	})
	if renamed < 0 {
		return errors.New("no intent was renamed into place")
	}
	rename := events[renamed]
	temporary := regexp.MustCompile(`"(\.gateway_intent\.json\.tmp-[^"]+)"`).FindStringSubmatch(rename.args)
	if temporary == nil {
		return fmt.Errorf("what was renamed is no temporary file: %s", rename.args)
	}
	file := "<" + filepath.Join(dir, temporary[1]) + ">"
	last := func(before int, match func(e syscallEvent) bool) (at syscallEvent) {
		for _, e := range events {
			if e.ended < before && match(e) && e.ended > at.ended {
				at = e
			}
		}
		return at
	}
	answered := slices.IndexFunc(events, func(e syscallEvent) bool {
		return (e.name == "write" || e.name == "sendto") && e.began > rename.began && answer.MatchString(e.args)
	})
	if answered < 0 {
		return errors.New("there was no answer")
	}
	end := len(events) + events[len(events)-1].ended
	written := last(end, func(e syscallEvent) bool { return e.name == "write" && strings.Contains(e.args, file) })
	synced := last(rename.began, func(e syscallEvent) bool {
		return e.name == "fsync" && strings.Contains(e.args, file) || e.name == "syncfs"
	})
	directory := last(events[answered].began, func(e syscallEvent) bool {
		return e.name == "fsync" && strings.Contains(e.args, "<"+dir+">") || e.name == "syncfs"
	})
	switch {
	case written.name == "":
		return fmt.Errorf("nothing was written to %s", file)
	case synced.name == "" || synced.began < written.ended:
		return fmt.Errorf("%s was renamed before its content was synced", file)
	case directory.name == "" || directory.began < rename.ended:
		return errors.New("the answer was given before the directory was synced")
	}
	return nil
}

// TestIntentIsDurable is the checker against traces as they are and as they
// must not be.
func TestIntentIsDurable(t *testing.T) {
	t.Parallel()
	const (
		write  = `7 write(9</h/anna/.gateway_intent.json.tmp-x>, "{}", 2) = 2`
		sync   = `7 fsync(9</h/anna/.gateway_intent.json.tmp-x>) = 0`
		rename = `7 renameat(6</h/anna>, ".gateway_intent.json.tmp-x", 6</h/anna>, "gateway_intent.json") = 0`
		dir    = `7 fsync(8</h/anna>) = 0`
		all    = `7 syncfs(8</h>) = 0`
		answer = `7 write(5<socket:[1]>, "HTTP/1.1 200 OK", 15) = 15`
		begun  = `8 fsync(8</h/anna> <unfinished ...>`
		over   = `8 <... fsync resumed>) = 0`
		failed = `7 fsync(8</h/anna>) = -1 EIO (Input/output error)`
	)
	for name, tt := range map[string]struct {
		want  string // "": durable
		trace []string
	}{
		"as it should be":           {"", []string{write, sync, rename, dir, answer}},
		"one sync for all":          {"", []string{write, all, rename, all, answer}},
		"overlapping":               {"", []string{write, sync, rename, begun, over, answer}},
		"not synced":                {"before its content", []string{write, rename, dir, answer}},
		"synced too early":          {"before its content", []string{sync, write, rename, dir, answer}},
		"synced too late":           {"before its content", []string{write, rename, sync, dir, answer}},
		"directory not synced":      {"before the directory", []string{write, sync, rename, answer}},
		"directory synced before":   {"before the directory", []string{write, sync, dir, rename, answer}},
		"directory synced after":    {"before the directory", []string{write, sync, rename, answer, dir}},
		"answered while it synced":  {"before the directory", []string{write, sync, rename, begun, answer, over}},
		"directory could not":       {"before the directory", []string{write, sync, rename, failed, answer}},
		"not answered":              {"no answer", []string{write, sync, rename, dir}},
		"another profile's":         {"no intent", []string{`7 renameat(6</h/bert>, ".gateway_intent.json.tmp-x", 6</h/bert>, "gateway_intent.json") = 0`, answer}},
		"answered before all of it": {"no answer", []string{answer, write, sync, rename, dir}},
	} {
		err := intentIsDurable(parseTrace(tt.trace), "/h/anna", regexp.MustCompile("HTTP/1.1 200"))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestIntentIsOnDiskBeforeTheAnswer traces the real engine while intents are
// set, and the command where nothing supervises.
func TestIntentIsOnDiskBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("strace"); err != nil {
		testkit.Unavailable(t, "it needs strace (apt-get install strace)")
	}
	h := newHost(t)
	h.probe("anna")
	h.probe("bert")
	trace := filepath.Join(filepath.Dir(h.home), "trace")

	h.traced(trace, "up")
	h.eventually("the supervisor answers", func() error {
		_, stderr, code := h.run("health", "--live")
		if code != 0 {
			return errors.New(stderr)
		}
		return nil
	})
	const socket = `^\d+<(socket|UNIX)[^>]*>, `
	ok := regexp.MustCompile(socket + `"HTTP/1\.1 200 OK`)
	each := func(name string) *regexp.Regexp {
		return regexp.MustCompile(socket + `.*\\"profile\\":\\"` + name + `\\"`)
	}
	for _, step := range []struct {
		args   []string
		answer map[string]*regexp.Regexp // by profile
	}{
		{[]string{"gateway", "start", "anna"}, map[string]*regexp.Regexp{"anna": ok}},
		{[]string{"gateway", "stop", "anna"}, map[string]*regexp.Regexp{"anna": ok}},
		{[]string{"gateway", "restart", "anna", "--no-wait"}, map[string]*regexp.Regexp{"anna": ok}},
		{[]string{"gateway", "start", "bert"}, map[string]*regexp.Regexp{"bert": ok}},
		{[]string{"gateway", "stop", "--all"}, map[string]*regexp.Regexp{"anna": each("anna"), "bert": each("bert")}},
	} {
		before := len(traceLines(t, trace))
		h.must(step.args...)
		for name, answer := range step.answer {
			h.eventually(fmt.Sprintf("%v: the trace is written", step.args), func() error {
				return intentIsDurable(parseTrace(traceLines(t, trace)[before:]), h.dir(name), answer)
			})
		}
	}
	h.must("gateway", "start", "anna")
	h.kill(h.fleet().KeeperPID, syscall.SIGTERM) // what would be told it is strace
	<-h.ended

	h.traced(trace, "gateway", "stop", "anna")
	if err := <-h.ended; err != nil {
		t.Fatalf("gateway stop: %v\n%s", err, h.output)
	}
	h.up = nil
	if err := intentIsDurable(parseTrace(traceLines(t, trace)), h.dir("anna"), regexp.MustCompile(`"\\342\\234\\223 gateway-anna stopped`)); err != nil {
		t.Errorf("without a supervisor: %v", err)
	}
}

// traced runs hermes under strace; what it traces is its child.
func (h *host) traced(to string, args ...string) {
	h.t.Helper()
	h.spawnProgram("strace", append([]string{
		"-f", "-y", "-s", "4096", "-o", to, "-e", "trace=write,sendto,fsync,fdatasync,syncfs,rename,renameat,renameat2", h.binary,
	}, args...)...)
}

func traceLines(t *testing.T, path string) (lines []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		lines = append(lines, s.Text())
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}
