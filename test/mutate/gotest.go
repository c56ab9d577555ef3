package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	tests := map[string][]string{} // by package
	for _, m := range all {
		pkg, name := m.target()
		tests[pkg] = append(tests[pkg], name)
	}
	var errs []error
	for _, pkg := range slices.Sorted(maps.Keys(tests)) {
		var top []string
		for _, name := range tests[pkg] {
			first, _, _ := strings.Cut(name, "/")
			top = append(top, regexp.QuoteMeta(first))
		}
		slices.Sort(top)
		got, err := goTest(ctx, dir, pkg, "^("+strings.Join(slices.Compact(top), "|")+")$")
		if err != nil {
			return err
		}
		for _, name := range slices.Compact(slices.Sorted(slices.Values(tests[pkg]))) {
			if v := got.of(name); v != green {
				errs = append(errs, fmt.Errorf("with every guard in place %s %s %s\n%s", pkg, name, v, got.output))
			}
		}
	}
	return errors.Join(errs...)
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
	var exact []string
	for part := range strings.SplitSeq(name, "/") {
		exact = append(exact, "^"+regexp.QuoteMeta(part)+"$")
	}
	got, err := goTest(ctx, dir, pkg, strings.Join(exact, "/"), "-overlay="+overlay)
	if err != nil {
		return err
	}
	if v := got.of(name); v != red {
		return fmt.Errorf("without it %s %s\n%s", m.test, v, got.output)
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
	output  string
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
	o.output += stderr.String()
	if len(o.actions) == 0 && o.output == "" {
		return outcome{}, fmt.Errorf("go test %s said nothing: %w", pkg, err)
	}
	return o, nil
}

// readEvents reads what go test -json prints.
func readEvents(stdout []byte) outcome {
	o := outcome{actions: map[string]string{}, built: true}
	lines := bufio.NewScanner(bytes.NewReader(stdout))
	lines.Buffer(nil, 1<<20)
	var said strings.Builder
	for lines.Scan() {
		var e struct{ Action, Test, Output, FailedBuild string }
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			said.Write(append(lines.Bytes(), '\n'))
			continue
		}
		switch {
		case e.Action == "output" || e.Action == "build-output":
			said.WriteString(e.Output)
		case e.Action == "build-fail" || e.FailedBuild != "":
			o.built = false
		case e.Test != "" && (e.Action == "run" || e.Action == "pass" || e.Action == "fail" || e.Action == "skip"):
			o.actions[e.Test] = e.Action
		}
	}
	o.output = said.String()
	return o
}
