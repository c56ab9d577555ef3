package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// unmutated runs every test of the table over the tree as it is: one that is
// red anyway proves nothing.
func unmutated(ctx context.Context, dir string, all []mutation) error {
	type run struct {
		pkg  string
		subs bool // one pattern cannot have both tests and subtests
	}
	tests := map[run][]string{}
	for _, m := range all {
		pkg, name := m.target()
		r := run{pkg, strings.Contains(name, "/")}
		tests[r] = append(tests[r], name)
	}
	var errs []error
	for r, names := range tests {
		slices.Sort(names)
		names = slices.Compact(names)
		got, err := goTest(ctx, dir, r.pkg, anyOf(names))
		if err != nil {
			return err
		}
		for _, name := range names {
			if v := got.of(name); v != green {
				errs = append(errs, fmt.Errorf("with every guard in place %s %s %s\n%s", r.pkg, name, v, got.tail(name)))
			}
		}
	}
	return errors.Join(errs...)
}

// anyOf is a pattern for go test: any of the names, which have as many parts.
func anyOf(names []string) string {
	var levels [][]string
	for _, name := range names {
		for i, part := range strings.Split(name, "/") {
			if i == len(levels) {
				levels = append(levels, nil)
			}
			levels[i] = append(levels[i], regexp.QuoteMeta(part))
		}
	}
	var patterns []string
	for _, level := range levels {
		slices.Sort(level)
		patterns = append(patterns, "^("+strings.Join(slices.Compact(level), "|")+")$")
	}
	return strings.Join(patterns, "/")
}

// remove runs the guard's test without the guard. nil: it went red.
func remove(ctx context.Context, dir string, m mutation) error {
	path, err := filepath.Abs(filepath.Join(dir, m.file))
	if err != nil {
		return err
	}
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	mutated, err := m.apply(source)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	overlay, err := writeOverlay(tmp, path, mutated)
	if err != nil {
		return err
	}
	pkg, name := m.target()
	got, err := goTest(ctx, dir, pkg, anyOf([]string{name}), "-overlay="+overlay)
	if err != nil {
		return err
	}
	if v := got.of(name); v != red {
		return fmt.Errorf("without it %s %s\n%s", m.test, v, got.tail(name))
	}
	return nil
}

// writeOverlay has the go command read other text for one file.
func writeOverlay(tmp, path string, text []byte) (overlay string, err error) {
	instead := filepath.Join(tmp, filepath.Base(path))
	if err := os.WriteFile(instead, text, 0o600); err != nil {
		return "", err
	}
	content, err := json.Marshal(map[string]map[string]string{"Replace": {path: instead}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(tmp, "overlay.json")
	return overlay, os.WriteFile(overlay, content, 0o600)
}

// verdict is what a run says of one test.
type verdict string

const (
	green    verdict = "stays green"
	red      verdict = "goes red"
	unrun    verdict = "does not run: is there such a test?"
	unbuilt  verdict = "does not compile"
	leftOut  verdict = "is left out on this machine"
	hopeless verdict = "passes, in a run that fails"
)

// outcome is what one run of go test said.
type outcome struct {
	actions map[string]string // test → run, pass, fail, skip: the last of them
	built   bool
	passed  bool
	said    map[string]string // by test, "" for the package
}

// tail is the end of what the test said; of what all said if it said nothing.
func (o outcome) tail(test string) string {
	const most = 40
	text := o.said[test]
	if text == "" {
		text = o.said[""]
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

func (o outcome) of(test string) verdict {
	switch action := o.actions[test]; {
	case !o.built:
		return unbuilt
	case action == "":
		return unrun
	case action == "skip":
		return leftOut
	case action == "fail", action == "run" && !o.passed: // cut off by a panic
		return red
	case action == "pass" && o.passed:
		return green
	}
	return hopeless
}

// goTest runs tests of one package. The error is no verdict: go itself did not
// work, or was interrupted.
func goTest(ctx context.Context, dir, pkg, pattern string, flags ...string) (outcome, error) {
	args := append([]string{"test", "-json", "-count=1", "-vet=off", "-timeout=90s", "-run=" + pattern}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, pkg)...)
	cmd.Dir = dir
	// What go test hands down is for its own tests; CI=true makes what is left
	// out a failure, and a red test is not to be had for that.
	cmd.Env = append(os.Environ(), "CI=", "GOFLAGS=", "GOWORK=off")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		return outcome{}, ctx.Err()
	}
	if _, isExit := errors.AsType[*exec.ExitError](err); err != nil && !isExit {
		return outcome{}, err
	}
	o := readEvents(stdout.Bytes())
	o.passed = err == nil
	o.said[""] += stderr.String()
	if len(o.actions) == 0 && o.said[""] == "" {
		return outcome{}, fmt.Errorf("go test %s said nothing: %w", pkg, err)
	}
	return o, nil
}

// readEvents reads what go test -json prints.
func readEvents(stdout []byte) outcome {
	o := outcome{actions: map[string]string{}, built: true, said: map[string]string{}}
	lines := bufio.NewScanner(bytes.NewReader(stdout))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct{ Action, Test, Output, FailedBuild string }
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			o.said[""] += lines.Text() + "\n"
			continue
		}
		switch {
		case e.Action == "output" || e.Action == "build-output":
			o.said[e.Test] += e.Output
		case e.Action == "build-fail" || e.FailedBuild != "":
			o.built = false
		case e.Test != "" && (e.Action == "run" || e.Action == "pass" || e.Action == "fail" || e.Action == "skip"):
			o.actions[e.Test] = e.Action
		}
	}
	return o
}
