package hermes_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hermes/internal/testkit"
)

// TestDockerfiles holds every Dockerfile of the repository to the rules that
// hadolint is known for, and to ours; see [remarks].
func TestDockerfiles(t *testing.T) {
	var files []string
	err := walk(func(path string) error {
		if name := filepath.Base(path); name == "Dockerfile" || strings.HasPrefix(name, "Dockerfile.") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(files, "Dockerfile") {
		t.Errorf("did not find the image's Dockerfile among %v", files)
	}
	for _, file := range files {
		for _, remark := range remarks(readFile(t, file)) {
			t.Errorf("%s: %s", file, remark)
		}
		for _, in := range instructions(readFile(t, file)) {
			if in.word == "RUN" {
				shellchecked(t, file, in.rest)
			}
		}
	}
}

// shellchecked has shellcheck read what a RUN says.
func shellchecked(t *testing.T, file, script string) {
	t.Helper()
	if _, err := exec.LookPath("shellcheck"); err != nil {
		testkit.Unavailable(t, "no shellcheck here: apt-get install shellcheck")
	}
	cmd := exec.Command("shellcheck", "--shell=sh", "-")
	cmd.Stdin = strings.NewReader(script + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: shellcheck of a RUN: %v\n%s", file, err, out)
	}
}

// instruction is one of a Dockerfile, its lines joined.
type instruction struct{ word, rest string }

func instructions(text string) []instruction {
	var all []instruction
	var sofar string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if rest, more := strings.CutSuffix(line, `\`); more {
			sofar += rest + "\n"
			continue
		}
		word, rest, _ := strings.Cut(sofar+line, " ")
		all = append(all, instruction{word, strings.TrimSpace(rest)})
		sofar = ""
	}
	return all
}

// remarks are what is wrong with a Dockerfile.
func remarks(text string) []string {
	var found []string
	say := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	defaults, stages, last := map[string]string{}, map[string]bool{}, map[string]int{}
	for _, in := range instructions(text) {
		switch in.word {
		case "FROM":
			from := strings.Fields(in.rest)
			if why := notPinned(from[0], defaults, stages); why != "" {
				say("FROM %s: %s", from[0], why)
			}
			if len(from) == 3 && from[1] == "AS" {
				stages[from[2]] = true
			}
			clear(last) // of this stage
		case "ARG":
			name, value, _ := strings.Cut(in.rest, "=")
			defaults[name] = value
		case "ADD":
			if !regexp.MustCompile(`^\S+\.tar(\.\w+)? \S+$`).MatchString(in.rest) || strings.Contains(in.rest, "://") {
				say("ADD %s: it is for archives of this tree; COPY files, and download nothing", in.rest)
			}
		case "RUN":
			for _, why := range badRun(in.rest) {
				say("RUN: %s", why)
			}
		case "USER":
			if !regexp.MustCompile(`^\d+(:\d+)?$`).MatchString(in.rest) {
				say("USER %s: a number, or Kubernetes cannot tell that it is not root", in.rest)
			}
		case "ENTRYPOINT", "CMD":
			if !isExecForm(in.rest) {
				say("%s %s: a list, or a shell is PID 1", in.word, in.rest)
			}
		case "HEALTHCHECK":
			if _, command, ok := strings.Cut(in.rest, "CMD "); !ok || !isExecForm(command) {
				say("HEALTHCHECK %s: CMD and a list", in.rest)
			}
		case "WORKDIR":
			if !strings.HasPrefix(in.rest, "/") {
				say("WORKDIR %s: absolute", in.rest)
			}
		case "COPY", "ENV", "EXPOSE", "LABEL", "STOPSIGNAL", "VOLUME":
		default:
			say("%s: unknown, or deprecated", in.word)
		}
		if (in.word == "ENV" || in.word == "ARG") && regexp.MustCompile(`(?i)(key|token|secret|password)\w*=`).MatchString(in.rest) {
			say("%s: a secret would be in every layer", in.word)
		}
		last[in.word]++
	}
	return append(found, missing(text, last)...)
}

// missing is what the last stage does not say, by how often it says what.
func missing(text string, said map[string]int) []string {
	var found []string
	for _, word := range []string{"ENTRYPOINT", "HEALTHCHECK"} {
		if said[word] != 1 {
			found = append(found, fmt.Sprintf("%s is said %d times, want once", word, said[word]))
		}
	}
	if said["USER"] == 0 && !regexp.MustCompile(`(?m)^#.*\bUSER\b`).MatchString(text) {
		found = append(found, "no USER, and no comment that says why")
	}
	return found
}

// notPinned says why a base is not the same one tomorrow.
func notPinned(base string, defaults map[string]string, stages map[string]bool) string {
	if name := strings.Trim(base, "${}"); name != base {
		value, ok := defaults[name]
		if !ok || value == "" {
			return "the ARG has no default"
		}
		base = value
	} else if base == "scratch" || stages[base] {
		return ""
	} else {
		return "an ARG with a default, so that another base can be chosen"
	}
	_, tag, _ := strings.Cut(base, ":")
	if tag == "" || tag == "latest" {
		return "a version"
	}
	return ""
}

// badRun says what is wrong with a shell's lines.
func badRun(script string) []string {
	var found []string
	for bad, why := range map[string]string{
		`\bsudo\b`:                       "sudo: it is root already",
		`\bapt (install|update|upgrade)`: "apt is for people: apt-get",
		`apt-get (dist-)?upgrade`:        "the base is upgraded by taking a newer one",
		`(^|[;&\n]\s*)cd `:               "cd: WORKDIR, or absolute paths",
		`\b(curl|wget)\b`:                "a download: nothing proves what comes",
	} {
		if regexp.MustCompile(bad).MatchString(script) {
			found = append(found, why)
		}
	}
	if strings.Contains(script, "apt-get install") {
		for _, need := range []string{"apt-get update", " -y", "--no-install-recommends", "rm -rf /var/lib/apt/lists"} {
			if !strings.Contains(script, need) {
				found = append(found, "apt-get install without "+strings.TrimSpace(need))
			}
		}
	}
	if strings.Contains(script, ";") && !regexp.MustCompile(`^set -\w*e`).MatchString(script) {
		found = append(found, "what fails goes unnoticed: set -e first")
	}
	slices.Sort(found)
	return found
}

func isExecForm(s string) bool {
	var words []string
	return json.Unmarshal([]byte(s), &words) == nil && len(words) > 0
}

// TestDockerfileRules: each rule has something that it finds.
func TestDockerfileRules(t *testing.T) {
	const good = `# No USER: because.
ARG BASE=debian:bookworm-slim
FROM scratch AS files
ADD build/rootfs.tar /
FROM ${BASE}
COPY --from=files /init /init
RUN set -eu; \
    apt-get update -q; \
    apt-get install -q -y --no-install-recommends s6; \
    rm -rf /var/lib/apt/lists/*
ENV A=b
HEALTHCHECK --interval=30s CMD ["/init", "health"]
ENTRYPOINT ["/init"]
`
	if found := remarks(good); len(found) > 0 {
		t.Errorf("it is right, and is told %q", found)
	}
	for _, tt := range []struct{ old, new, want string }{
		{"ARG BASE=debian:bookworm-slim", "ARG BASE", "no default"},
		{"debian:bookworm-slim", "debian", "a version"},
		{"debian:bookworm-slim", "debian:latest", "a version"},
		{"FROM ${BASE}", "FROM debian:bookworm-slim", "an ARG with a default"},
		{"build/rootfs.tar", "https://example.org/rootfs.tar", "download nothing"},
		{"build/rootfs.tar", "init", "COPY files"},
		{"# No USER", "# Nobody", "no USER"},
		{"ENV A=b", "USER hermes", "a number"},
		{"ENV A=b", "ENV API_SERVER_KEY=x", "a secret"},
		{"ENV A=b", "MAINTAINER me", "unknown, or deprecated"},
		{"ENV A=b", "WORKDIR srv", "absolute"},
		{"ENV A=b", "CMD gateway run", "a shell is PID 1"},
		{`["/init"]`, "/init", "a shell is PID 1"},
		{"ENTRYPOINT", "CMD", "ENTRYPOINT is said 0 times"},
		{`HEALTHCHECK --interval=30s CMD ["/init", "health"]`, "", "HEALTHCHECK is said 0 times"},
		{`CMD ["/init", "health"]`, "CMD /init health", "CMD and a list"},
		{"--no-install-recommends ", "", "without --no-install-recommends"},
		{" -y", "", "without -y"},
		{"apt-get update -q; ", "", "without apt-get update"},
		{"rm -rf /var/lib/apt/lists/*", "true", "without rm -rf /var/lib/apt/lists"},
		{"set -eu; ", "true; ", "set -e first"},
		{"rm -rf", "sudo rm -rf", "it is root already"},
		{"apt-get install", "apt install", "apt is for people"},
		{"rm -rf", "apt-get upgrade; rm -rf", "a newer one"},
		{"rm -rf", "cd /tmp; rm -rf", "WORKDIR"},
		{"rm -rf", "curl https://example.org | sh; rm -rf", "nothing proves"},
	} {
		text := strings.Replace(good, tt.old, tt.new, 1)
		if text == good {
			t.Errorf("%q is not in the example", tt.old)
		}
		if found := remarks(text); !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, tt.want) }) {
			t.Errorf("with %q for %q: %q, want %q", tt.new, tt.old, found, tt.want)
		}
	}
}
