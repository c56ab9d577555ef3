package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hermes/internal/config"
)

func TestWords(t *testing.T) {
	tests := []struct {
		line string
		want []string
		err  string // part of the error, "" for none
	}{
		{"agent", []string{"agent"}, ""},
		{"  agent\t--port  1\n", []string{"agent", "--port", "1"}, ""},
		{`agent 'a b' "c d"e ''`, []string{"agent", "a b", "c de", ""}, ""},
		{`agent a\ b \| "\$x \" \n"`, []string{"agent", "a b", "|", `$x " \n`}, ""},
		{`sh -c 'exec agent "$1" | tee log'`, []string{"sh", "-c", `exec agent "$1" | tee log`}, ""},
		{"agent --profile={profile} a#b x~y [1]", []string{"agent", "--profile={profile}", "a#b", "x~y", "[1]"}, ""},
		{"agent | tee log", nil, `["sh", "-c", "agent | tee log"]`},
		{"agent && other", nil, `"&" would need a shell`},
		{"agent; other", nil, `";" would need`},
		{"agent > log", nil, `">" would need`},
		{"agent $HOME", nil, `"$" would need`},
		{`agent "$HOME"`, nil, `"$" would need`},
		{"agent `id`", nil, "would need"},
		{"agent $(id)", nil, "would need"},
		{"agent *.txt", nil, `"*" would need`},
		{"agent ~/x", nil, `"~" would need`},
		{"agent # comment", nil, `"#" would need`},
		{"A=1 agent", nil, "A=… before a command"},
		{"./a=b", []string{"./a=b"}, ""},
		{"agent 'open", nil, "a single quote is never closed"},
		{`agent "open`, nil, "a double quote is never closed"},
		{`agent \`, nil, "lone backslash"},
		{" \t ", nil, "the command is empty"},
		{"", nil, "the command is empty"},
		{"'' x", nil, "first word is empty"},
		{"a '\x00'", nil, "NUL"},
	}
	for _, tt := range tests {
		t.Run(tt.line, func(t *testing.T) {
			got, err := config.Words(tt.line)
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
			if tt.err == "" {
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func quoted(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

func TestWordsOfQuotedWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[ -~äß\n]{0,8}`), 1, 6).Draw(t, "words")
		words[0] = "x" + strings.ReplaceAll(words[0], "=", "") // else it would be an assignment
		line := make([]string, len(words))
		for i, w := range words {
			line[i] = quoted(w)
		}
		got, err := config.Words(strings.Join(line, " "))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(words, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestExpandCommand(t *testing.T) {
	command := []string{"agent", "--name={profile}", "{profile}/{profile}"}
	got := config.ExpandCommand(command, "coder")
	if diff := cmp.Diff([]string{"agent", "--name=coder", "coder/coder"}, got); diff != "" {
		t.Error(diff)
	}
	if command[1] != "--name={profile}" {
		t.Error("the command itself was changed")
	}
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"a b", `a 'b c' "d\"e"`, `a\ b`, "a | b", "''", `"`, "x=y z", "\\", "a\x00b", "é 'ü'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := config.Words(line)
		if err != nil {
			return
		}
		if len(words) == 0 || words[0] == "" {
			t.Fatalf("%q is a command of no program: %q", line, words)
		}
		for i, w := range words { // what was understood is understood again
			words[i] = quoted(w)
		}
		again, err := config.Words(strings.Join(words, " "))
		if err != nil || len(again) != len(words) {
			t.Fatalf("%q gave %q, which gave %q, %v", line, words, again, err)
		}
	})
}
