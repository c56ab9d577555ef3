package config

import (
	"maps"
	"regexp"
	"strings"
	"unicode/utf8"

	"hermes/internal/fault"
)

// SetDotenv is the content of a .env with the variable name set to value, and
// everything else as it was: other lines, comments, their order. A line that
// sets the variable is changed where it stands, with the comment behind it kept;
// without one there is a new line at the end. path is for messages only, and no
// message quotes a value. The result was read again: it says what it should.
func SetDotenv(path string, data []byte, name string, value Secret) ([]byte, error) {
	want, err := ParseDotenv(path, data)
	if err != nil {
		return nil, err
	}
	if !isVariable(name) {
		return nil, fault.New(fault.InvalidConfig, "cannot write %s: a name to set is not the name of a variable", path)
	}
	word, ok := quoteDotenv(name, value.Reveal())
	if !ok {
		return nil, fault.New(fault.InvalidConfig, "cannot write %s into %s: no way of quoting its value is read back as it is", name, path).
			WithHint("a value may not hold both kinds of quotes beside line breaks, or end in a backslash after blanks")
	}
	want[name] = value.Reveal()
	right := func(text string) bool {
		got, err := ParseDotenv(path, []byte(text))
		return err == nil && maps.Equal(got, want)
	}
	text := string(data)
	for _, a := range assignments(text, name) {
		if changed := text[:a.from] + word + text[a.to:]; right(changed) {
			return []byte(changed), nil
		}
	}
	line := "\n"
	if strings.Contains(text, "\r\n") {
		line = "\r\n"
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += line
	}
	if text += name + "=" + word + line; !right(text) {
		return nil, fault.New(fault.InvalidConfig, "cannot write %s into %s: with a line more it would say something else, or be too large", name, path).
			WithHint("correct the last lines of %s, or put %s there yourself", path, name)
	}
	return []byte(text), nil
}

// span is a part of a text.
type span struct{ from, to int }

// assignments are where the values may be that lines of text give to name, the
// last one first, since that one counts. Whether they are is for the caller to
// try: a line may be in the middle of a value that has several.
func assignments(text, name string) []span {
	line := regexp.MustCompile(`(?m)^[ \t]*(?:export[ \t]+)?` + regexp.QuoteMeta(name) + `[ \t]*[=:][ \t]*`)
	var spans []span
	for _, at := range line.FindAllStringIndex(text, -1) {
		spans = append([]span{{at[1], at[1] + valueLength(text[at[1]:])}}, spans...)
	}
	return spans
}

// valueLength is the length of the value text begins with, quotes included, and
// without the blanks and the comment behind it.
func valueLength(text string) int {
	if text != "" && (text[0] == '\'' || text[0] == '"') {
		for i := 1; i < len(text); i++ {
			if text[i] == text[0] && text[i-1] != '\\' {
				return i + 1
			}
		}
	}
	end := strings.IndexAny(text, "\r\n")
	if end < 0 {
		end = len(text)
	}
	value := text[:end]
	if i := strings.LastIndex(value, " #"); i >= 0 {
		value = value[:i]
	} else if i := strings.LastIndex(value, "\t#"); i >= 0 {
		value = value[:i]
	}
	return len(strings.TrimRight(value, " \t"))
}

// quoteDotenv writes value so that [ParseDotenv] reads it back, and any other
// reader of such files as far as that is possible: bare if there is nothing
// special in it, in single quotes, in double ones, and bare again for what has
// both kinds of quotes.
func quoteDotenv(name, value string) (word string, ok bool) {
	if !utf8.ValidString(value) {
		return "", false
	}
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`)
	words := []string{"'" + value + "'", `"` + escape.Replace(value) + `"`, value}
	if isPlain(value) {
		words = []string{value}
	}
	for _, word := range words {
		if env, err := ParseDotenv(".env", []byte(name+"="+word+"\n")); err == nil && len(env) == 1 && env[name] == value {
			return word, true
		}
	}
	return "", false
}

// isPlain says that no reader of a .env sees anything but letters in s.
func isPlain(s string) bool {
	for _, c := range []byte(s) {
		alphanumeric := c-'0' < 10 || (c|0x20)-'a' < 26
		if !alphanumeric && !strings.ContainsRune("_-./:@%+,=", rune(c)) {
			return false
		}
	}
	return true
}
