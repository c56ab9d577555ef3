package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// MaxFileSize is the largest config.yaml that is read, in bytes. The original's
// example, with every comment, has 126 kB.
const MaxFileSize = 1 << 20

// File is what a profile's config.yaml says to us.
type File struct {
	Gateway Gateway
	Model   Model
	// Said are the keys of `gateway:` that the file has.
	Said []string
	// Warnings are sentences, each naming path and line, about what is there
	// and has no effect.
	Warnings []string
}

// ParseFile parses the content of a config.yaml; path is for messages only. An
// empty file is a file of defaults.
//
// The sections `gateway:` and `model:` are ours and strict; everything else in
// the file belongs to others and is not looked at. Mistakes in `model:` are
// warnings when `gateway.command` replaces the built-in gateway, its only
// reader.
func ParseFile(path string, data []byte) (File, error) {
	f := File{Gateway: DefaultGateway()}
	r := reader{path: path}
	root := r.parse(data)
	if root == nil {
		return f, r.problems.fault(fileHint)
	}
	model := reader{path: path}
	if gateway := r.section(root, "gateway"); gateway != nil {
		r.gateway(gateway, &f)
	}
	if m := model.section(root, "model"); m != nil {
		model.model(m, &f.Model)
	}
	if f.Gateway.Command == nil {
		r.problems = append(r.problems, model.problems...)
	} else {
		f.Model = Model{}
		model.warnings = append(model.warnings, model.problems...)
	}
	f.Warnings = append(r.ignoredOnce("gateway"), model.ignoredOnce("model")...)
	f.Warnings = append(f.Warnings, model.warnings...)
	return f, r.problems.fault(fileHint)
}

const fileHint = "correct the lines named above, then start the gateway again"

// reader walks the nodes of one file and collects what is wrong with them.
type reader struct {
	path     string
	problems problems
	warnings []string
	ignored  []string // keys of the original's that mean nothing here
	firstAt  int      // line of the first of them
}

func (r *reader) errorf(n *yaml.Node, format string, args ...any) {
	r.problems.add("%s:%d: %s", r.path, n.Line, fmt.Sprintf(format, args...))
}

func (r *reader) ignore(key string, n *yaml.Node) {
	if len(r.ignored) == 0 {
		r.firstAt = n.Line
	}
	r.ignored = append(r.ignored, key)
}

// ignoredOnce is one warning for all the ignored keys of a section.
func (r *reader) ignoredOnce(section string) []string {
	if len(r.ignored) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s:%d: %s: ignored here, they are settings of the original hermes-agent: %s",
		r.path, r.firstAt, section, strings.Join(r.ignored, ", "))}
}

// parse returns the root node, nil when there is none or it is wrong.
func (r *reader) parse(data []byte) (root *yaml.Node) {
	if len(data) > MaxFileSize {
		r.problems.add("%s: it has %d bytes, the limit is %d", r.path, len(data), MaxFileSize)
		return nil
	}
	text := strings.TrimPrefix(string(data), "\uFEFF")
	if !utf8.ValidString(text) {
		r.problems.add("%s:%d: not UTF-8 text", r.path, invalidLine(text))
		return nil
	}
	if !hasContent(text) {
		return nil // to the parser, no document is an error
	}
	var doc yaml.Node
	if err := yaml.Load([]byte(text), &doc); err != nil {
		r.syntax(err)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 || isNull(doc.Content[0]) {
		return nil
	}
	if doc.Content[0].Kind != yaml.MappingNode {
		r.errorf(doc.Content[0], "the file must be a mapping of keys to values")
		return nil
	}
	return doc.Content[0]
}

// hasContent reports whether there is more than blanks and comments.
func hasContent(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return true
		}
	}
	return false
}

// section finds a section of ours; the other keys of the file are not ours to
// judge.
func (r *reader) section(root *yaml.Node, name string) (value *yaml.Node) {
	for i := 0; i+1 < len(root.Content); i += 2 {
		k := root.Content[i]
		if k.Kind != yaml.ScalarNode || k.Value != name {
			continue
		}
		if value != nil {
			r.errorf(k, "there is a second section %s", name)
			continue
		}
		value = follow(root.Content[i+1])
	}
	return value
}

// syntax reports what the parser says, in as many errors as it says it.
func (r *reader) syntax(err error) {
	var all []*yaml.LoadError
	if several, ok := errors.AsType[*yaml.LoadErrors](err); ok {
		all = several.Errors
	} else if one, ok := errors.AsType[*yaml.LoadError](err); ok {
		all = append(all, one)
	}
	if len(all) == 0 {
		r.problems.add("%s: not YAML: %v", r.path, err)
	}
	for _, e := range all {
		r.problems.add("%s:%d: not YAML: %s", r.path, max(e.Mark.Line, 1), strings.TrimPrefix(e.Message, "yaml: "))
	}
}

// mapping calls f for every pair of n; an absent value (null) has none.
func (r *reader) mapping(n *yaml.Node, what string, f func(key string, k, v *yaml.Node)) {
	n = follow(n)
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.errorf(n, "%s must be a mapping of keys to values", what)
		return
	}
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := follow(n.Content[i]), follow(n.Content[i+1])
		if k.Kind != yaml.ScalarNode {
			r.errorf(n.Content[i], "%s has a key that is not a word", what)
			continue
		}
		if first, twice := seen[k.Value]; twice {
			r.errorf(n.Content[i], "%s has the key %q twice, first on line %d", what, clip(k.Value), first)
			continue
		}
		seen[k.Value] = n.Content[i].Line
		f(k.Value, n.Content[i], v)
	}
}

// scalar is the text of a plain value, as written: true is "true", 8642 "8642".
func (r *reader) scalar(n *yaml.Node, key string) (string, bool) {
	switch {
	case isNull(n):
		r.errorf(n, "%s has no value", key)
	case n.Kind != yaml.ScalarNode:
		r.errorf(n, "%s must be a single value", key)
	case strings.ContainsRune(n.Value, 0):
		r.errorf(n, "%s contains a NUL character", key)
	default:
		return n.Value, true
	}
	return "", false
}

// unknown reports a key that means nothing, with the nearest one that does.
func (r *reader) unknown(k *yaml.Node, section, key string, known []string) {
	if guess := nearest(key, known); guess != "" {
		r.errorf(k, "%s.%s is no setting: did you mean %s.%s?", section, clip(key), section, guess)
		return
	}
	r.errorf(k, "%s.%s is no setting; the settings are %s", section, clip(key), strings.Join(known, ", "))
}

// follow resolves an alias. An alias of an alias does not exist in YAML.
func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// isHostName says whether s is letters, digits, dots and dashes between two of
// the former. Every command would compile a pattern for it.
func isHostName(s string) bool {
	alphanumeric := func(c byte) bool { return c-'0' < 10 || (c|0x20)-'a' < 26 }
	if s == "" || !alphanumeric(s[0]) || !alphanumeric(s[len(s)-1]) {
		return false
	}
	for _, c := range []byte(s) {
		if !alphanumeric(c) && c != '.' && c != '-' {
			return false
		}
	}
	return true
}
