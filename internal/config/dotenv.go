package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/joho/godotenv"
)

// MaxDotenvSize is the largest .env that is read, in bytes.
const MaxDotenvSize = 256 << 10

// literalDollar stands for '$' while godotenv parses. It is a noncharacter: no
// valid text contains it.
const literalDollar = "\uFDD0"

// ParseDotenv parses the content of a .env: KEY=value lines, `export` and
// comments allowed, values bare or quoted; of two equal keys the last counts.
//
// A '$' is a '$'. Expansion would eat parts of secrets that contain one, and
// a file of forty lines that each double the previous variable would eat the
// machine's memory.
func ParseDotenv(path string, data []byte) (map[string]string, error) {
	var p problems
	text := strings.TrimPrefix(string(data), "\uFEFF")
	switch {
	case len(data) > MaxDotenvSize:
		p.add("%s: it has %d bytes, the limit is %d", path, len(data), MaxDotenvSize)
	case !utf8.ValidString(text):
		p.add("%s:%d: not UTF-8 text", path, invalidLine(text))
	case strings.ContainsRune(text, 0) || strings.Contains(text, literalDollar):
		p.add("%s:%d: a character that cannot be in an environment variable", path, lineOf(text, strings.IndexAny(text, "\x00"+literalDollar)))
	}
	if len(p) > 0 {
		return nil, p.fault(dotenvHint)
	}
	text = strings.ReplaceAll(text, "\r\n", "\n") // as godotenv does, for the line numbers
	text = strings.ReplaceAll(text, "$", literalDollar)
	raw, err := godotenv.Unmarshal(text)
	if err != nil {
		line, cause := explain(text, err.Error())
		p.add("%s:%d: %s", path, line, cause)
		return nil, p.fault(dotenvHint)
	}
	env := make(map[string]string, len(raw))
	for _, k := range slices.Sorted(maps.Keys(raw)) {
		if !isVariable(strings.ReplaceAll(k, ".", "_")) { // dots are python-dotenv's
			// What stands there may be half of a secret: it is not repeated.
			p.add("%s: a line is not of the form NAME=value: its name is empty or has other characters than A-Z, a-z, 0-9, _ and .", path)
			return nil, p.fault(dotenvHint)
		}
		env[k] = strings.ReplaceAll(raw[k], literalDollar, "$")
	}
	return env, nil
}

const dotenvHint = "write one NAME=value per line; a value with blanks, quotes or # goes in single quotes"

// explain turns an error of godotenv, which quotes the file and thus secrets,
// into a line number and a clause that quotes nothing.
func explain(text, message string) (line int, cause string) {
	const near, unterminated = " in variable name near ", "unterminated quoted value "
	if _, quoted, ok := strings.Cut(message, near); ok {
		if rest, err := strconv.Unquote(quoted); err == nil && strings.HasSuffix(text, rest) {
			return lineOf(text, len(text)-len(rest)), "not of the form NAME=value"
		}
	}
	if value, ok := strings.CutPrefix(message, unterminated); ok {
		return lineOf(text, strings.LastIndex(text, value)), "a quote is never closed"
	}
	return 1, "not of the form NAME=value"
}

// lineOf is the line, counted from 1, of the byte at offset.
func lineOf(text string, offset int) int {
	return 1 + strings.Count(text[:max(offset, 0)], "\n")
}

func invalidLine(text string) int {
	valid := 0
	for valid < len(text) {
		r, n := utf8.DecodeRuneInString(text[valid:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		valid += n
	}
	return lineOf(text, valid)
}
