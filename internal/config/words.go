package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"hermes/internal/profile"
)

// profilePlaceholder is replaced by the profile's name in a command that is
// shared by all profiles.
const profilePlaceholder = "{profile}"

// Words splits a command line into its words. Quotes group and backslashes
// escape as in a shell, but nothing is ever expanded: an unquoted character a
// shell would act on is an error that says how to get a shell.
func Words(line string) ([]string, error) {
	w := splitter{line: line}
	if err := w.run(); err != nil {
		return nil, err
	}
	if len(w.words) == 0 {
		return nil, errors.New("the command is empty")
	}
	if name, _, ok := strings.Cut(w.words[0], "="); ok && isVariable(name) {
		return nil, fmt.Errorf("%s=… before a command is a shell's way to set a variable; use gateway.env or .env", name)
	}
	return w.words, checkCommand(w.words)
}

// ExpandCommand is the command with {profile} replaced by the profile's name.
func ExpandCommand(command []string, n profile.Name) []string {
	expanded := slices.Clone(command)
	for i, w := range expanded {
		expanded[i] = strings.ReplaceAll(w, profilePlaceholder, string(n))
	}
	return expanded
}

// checkCommand reports what execve(2) would not take.
func checkCommand(words []string) error {
	if words[0] == "" {
		return errors.New("the command's first word is empty")
	}
	for _, w := range words {
		if strings.ContainsRune(w, 0) {
			return errors.New("the command contains a NUL character")
		}
	}
	return nil
}

type splitter struct {
	line   string
	words  []string
	word   strings.Builder
	inWord bool // an empty quoted word is a word
}

func (w *splitter) run() error {
	for i := 0; i < len(w.line); {
		c := w.line[i]
		var err error
		switch {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			w.end()
			i++
		case c == '\'':
			i, err = w.single(i + 1)
		case c == '"':
			i, err = w.double(i + 1)
		case c == '\\':
			if i+1 == len(w.line) {
				return errors.New("it ends in a lone backslash")
			}
			w.put(w.line[i+1])
			i += 2
		case strings.IndexByte("|&;<>()$`*?", c) >= 0, (c == '~' || c == '#') && !w.inWord:
			err = w.refuse(c)
		default:
			w.put(c)
			i++
		}
		if err != nil {
			return err
		}
	}
	w.end()
	return nil
}

// single takes a single-quoted part that starts at i, and returns what follows.
func (w *splitter) single(i int) (int, error) {
	w.inWord = true
	end := strings.IndexByte(w.line[i:], '\'')
	if end < 0 {
		return 0, errors.New("a single quote is never closed")
	}
	w.word.WriteString(w.line[i : i+end])
	return i + end + 1, nil
}

// double takes a double-quoted part that starts at i, and returns what follows.
func (w *splitter) double(i int) (int, error) {
	w.inWord = true
	for i < len(w.line) {
		switch c := w.line[i]; {
		case c == '"':
			return i + 1, nil
		case c == '$' || c == '`':
			return 0, w.refuse(c)
		case c == '\\' && i+1 < len(w.line) && strings.IndexByte("\"\\$`", w.line[i+1]) >= 0:
			w.put(w.line[i+1])
			i += 2
		default:
			w.put(c)
			i++
		}
	}
	return 0, errors.New("a double quote is never closed")
}

func (w *splitter) put(c byte) {
	w.word.WriteByte(c)
	w.inWord = true
}

func (w *splitter) end() {
	if w.inWord {
		w.words = append(w.words, w.word.String())
		w.word.Reset()
		w.inWord = false
	}
}

func (w *splitter) refuse(c byte) error {
	return fmt.Errorf(`%q would need a shell, and a command is run without one: `+
		`put it in single quotes if it is meant literally, else set gateway.command in config.yaml to ["sh", "-c", %s]`, string(c), strconv.Quote(clip(w.line)))
}

// isVariable reports whether s can be the name of an environment variable.
func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
