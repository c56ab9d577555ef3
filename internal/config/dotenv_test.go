package config_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"hermes/internal/config"
	"hermes/internal/fault"
)

func TestParseDotenv(t *testing.T) {
	tests := []struct {
		name, text string
		want       map[string]string
	}{
		{"empty", "", map[string]string{}},
		{"comments", "# one\n\n  # two\n", map[string]string{}},
		{"values", "A=1\nexport B = two words # comment\nC='a#b'\nD=\"x\\ny\"\nE=\n", map[string]string{"A": "1", "B": "two words", "C": "a#b", "D": "x\ny", "E": ""}},
		{"crlf and mark", "\uFEFFA=1\r\nB=2\r\n", map[string]string{"A": "1", "B": "2"}},
		{"the last counts", "A=1\nA=2\n", map[string]string{"A": "2"}},
		{"several lines", "A='one\ntwo'\nB=3", map[string]string{"A": "one\ntwo", "B": "3"}},
		{"dotted", "a.b=1", map[string]string{"a.b": "1"}},
		{
			"no shell, no expansion",
			"A=$(id)\nB=`id`\nC=pa$WORD\nD=\"${A}$A\"\nE='$A'\nF=x$\n",
			map[string]string{"A": "$(id)", "B": "`id`", "C": "pa$WORD", "D": "${A}$A", "E": "$A", "F": "x$"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := config.ParseDotenv("/h/.env", []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseDotenvErrorsNameTheLineAndNoSecret(t *testing.T) {
	const secret = "s3cret"
	tests := []struct{ name, text, want string }{
		{"bad name", "A=1\n\nB-" + secret + "=1\nC=2", "/h/.env:3: not of the form NAME=value"},
		{"a bare word", "A=1\n" + secret + " foo!\n", "/h/.env:2: not of the form"},
		{"a bare word at the end", "A=1\n" + secret, "/h/.env: a line is not of the form NAME=value"},
		{"no name", "=" + secret, "/h/.env: a line is not of the form NAME=value"},
		{"open quote", "A=1\nB=\"" + secret + "\nC=2\n", "/h/.env:2: a quote is never closed"},
		{"not UTF-8", "A=1\nB=" + secret + "\xff\n", "/h/.env:2: not UTF-8"},
		{"NUL", "A=1\nB=" + secret + "\x00\n", "/h/.env:2: a character"},
		{"huge", strings.Repeat("A=1\n", 1<<16+1), "the limit is 262144"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := config.ParseDotenv("/h/.env", []byte(tt.text))
			if fault.CodeOf(err) != fault.InvalidConfig || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
}

// A chain of doubling variables must not become 2^60 bytes.
func TestParseDotenvDoesNotGrow(t *testing.T) {
	text := "A=xxxxxxxx\n" + strings.Repeat("A=$A$A\n", 60)
	env, err := config.ParseDotenv("/h/.env", []byte(text))
	if err != nil || len(env["A"]) != 4 {
		t.Fatalf("%d bytes, %v", len(env["A"]), err)
	}
}

func FuzzParseDotenv(f *testing.F) {
	for _, s := range []string{"A=1", "export A='b c' # d", "A=\"x\\n${B}\"", "A", "=x", "A: 1", "#", "A='\n'\nB=", "\uFEFFA=1\r\n", "A=\xff", "A=\uFDD0"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		env, err := config.ParseDotenv("p", data)
		if err != nil {
			if fault.CodeOf(err) != fault.InvalidConfig {
				t.Fatalf("%q: %v", data, err)
			}
			return
		}
		size := 0
		for k, v := range env {
			if k == "" || strings.ContainsAny(k, "=\x00") || strings.Contains(v, "\x00") || !utf8.ValidString(k+v) {
				t.Fatalf("%q gave %q=%q, which is no environment", data, k, v)
			}
			size += len(k) + len(v)
		}
		if size > len(data) {
			t.Fatalf("%d bytes became %d", len(data), size)
		}
	})
}
