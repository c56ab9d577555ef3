package config

import (
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"hermes/internal/fault"
)

// SetModel is the content of a config.yaml with `model:` saying m, and all else
// as it was: the other sections, the other keys of this one, every comment, the
// order. A key of m that is "" is not said any more; a line that said it becomes
// a comment. The result was read again: it says what it should and lost nothing.
// path is for messages only.
//
// The lines are changed one by one where that is possible, so that whatever else
// is there stays byte for byte; else the file is written anew from its nodes,
// which costs its blank lines.
func SetModel(path string, data []byte, m Model) ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	before, err := ParseFile(path, data)
	if err != nil {
		return nil, err
	}
	e := modelEdit{path: path, model: m, text: string(data), gateway: before.Gateway}
	mark := ""
	if rest, ok := strings.CutPrefix(e.text, "\uFEFF"); ok {
		mark, e.text = "\uFEFF", rest
	}
	for _, way := range []func() (string, bool){e.lines, e.whole} {
		text, ok := way()
		if !ok {
			continue
		}
		if after, err := ParseFile(path, []byte(mark+text)); err == nil && e.keeps(text, after) {
			return []byte(mark + text), nil
		}
	}
	return nil, fault.New(fault.InvalidConfig, "cannot change model: in %s without losing something else that is there", path).
		WithHint("write it there yourself: %s", e.flow())
}

// Check says what is wrong with a model that no file says yet.
func (m Model) Check() error {
	var p problems
	for _, said := range []pair{{"provider", m.Provider}, {"name", m.Name}} {
		if strings.ContainsFunc(said.value, unicode.IsControl) || !utf8.ValidString(said.value) {
			p.add("model.%s has characters that no name has", said.key)
		}
	}
	r := reader{}
	if m.BaseURL != "" {
		r.baseURL(scalarNode(m.BaseURL), "model.base_url", new(string))
	}
	if m.APIKeyEnv != "" {
		r.keyVariable(scalarNode(m.APIKeyEnv), "model.api_key_env", new(string))
	}
	for _, problem := range r.problems {
		_, said, _ := strings.Cut(problem, ": ") // there is no file and no line
		p.add("%s", said)
	}
	return p.fault("")
}

// ModelOf is what a config.yaml that [ParseFile] takes says under `model:`, also
// where `gateway.command` leaves nobody to read it. Mistakes are left out.
func ModelOf(data []byte) (m Model) {
	r := reader{}
	if root := r.parse(data); root != nil {
		if section := r.section(root, "model"); section != nil {
			r.model(section, &m)
		}
	}
	return m
}

// modelEdit is one change of a file's section model.
type modelEdit struct {
	path    string
	model   Model
	text    string // without a byte order mark
	gateway Gateway
}

// pair is a key of model: and what it is to say.
type pair struct{ key, value string }

// wanted is what the section is to say; the key of the name is the one it has.
func (e *modelEdit) wanted(section *yaml.Node) []pair {
	name := "name"
	if section != nil && child(section, name) == nil {
		for i := 0; i+1 < len(section.Content); i += 2 {
			if k := section.Content[i].Value; k == "default" || k == "model" {
				name = k // the last one counts
			}
		}
	}
	return []pair{{"provider", e.model.Provider}, {"base_url", e.model.BaseURL}, {name, e.model.Name}, {"api_key_env", e.model.APIKeyEnv}}
}

// root is the file's mapping, nil if there is none.
func (e *modelEdit) root(text string) *yaml.Node {
	r := reader{path: e.path}
	return r.parse([]byte(text))
}

// child is the value of a key of a mapping, nil without.
func child(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && n.Content[i].Kind == yaml.ScalarNode {
			return n.Content[i+1]
		}
	}
	return nil
}

// whole writes the file anew.
func (e *modelEdit) whole() (string, bool) {
	root := e.root(e.text)
	if root == nil {
		return "", false
	}
	section := child(root, "model")
	switch {
	case section == nil:
		section = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Style: root.Style}
		root.Content = append(root.Content, scalarNode("model"), section)
	case section.Kind == yaml.ScalarNode:
		*section = yaml.Node{
			Kind: yaml.MappingNode, Tag: "!!map",
			HeadComment: section.HeadComment, LineComment: section.LineComment, FootComment: section.FootComment,
		}
	case section.Kind != yaml.MappingNode:
		return "", false
	}
	for _, p := range e.wanted(section) {
		set(section, p)
	}
	text, err := yaml.Dump(root, yaml.WithIndent(2), yaml.WithLineWidth(-1))
	return string(text), err == nil && e.keepsTails(string(text))
}

// keepsTails says whether whatever looks like a comment behind something is in
// a text, too: no node has the one behind an opening brace.
func (e *modelEdit) keepsTails(text string) bool {
	for line := range strings.Lines(e.text) {
		if i := strings.Index(line, " #"); i >= 0 && !strings.Contains(text, strings.TrimSpace(line[i:])) {
			return false
		}
	}
	return true
}

// set makes a mapping say p.
func set(section *yaml.Node, p pair) {
	for i := 0; i+1 < len(section.Content); i += 2 {
		if section.Content[i].Value != p.key {
			continue
		}
		if p.value == "" {
			section.Content = slices.Delete(section.Content, i, i+2)
			return
		}
		old, value := section.Content[i+1], scalarNode(p.value)
		value.HeadComment, value.LineComment, value.FootComment = old.HeadComment, old.LineComment, old.FootComment
		section.Content[i+1] = value
		return
	}
	if p.value != "" {
		section.Content = append(section.Content, scalarNode(p.key), scalarNode(p.value))
	}
}

func scalarNode(value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
}

// flow is the section on one line.
func (e *modelEdit) flow() string {
	section := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Style: yaml.FlowStyle}
	for _, p := range e.wanted(nil) {
		set(section, p)
	}
	return "model: " + inline(section)
}

// inline is a node on one line, "" for what needs several.
func inline(n *yaml.Node) string {
	text, err := yaml.Dump(n, yaml.WithLineWidth(-1))
	line := strings.TrimSuffix(string(text), "\n")
	if err != nil || strings.Contains(line, "\n") || !utf8.ValidString(line) {
		return ""
	}
	return line
}

// keeps says whether text, which was read as after, says m and has everything
// else that the file had.
func (e *modelEdit) keeps(text string, after File) bool {
	was, is := e.root(e.text), e.root(text)
	if is == nil || !reflect.DeepEqual(after.Gateway, e.gateway) {
		return false
	}
	var m Model
	r := reader{path: e.path}
	if section := r.section(is, "model"); section != nil {
		r.model(section, &m)
	}
	if m != e.model || len(r.problems) > 0 {
		return false
	}
	if anchored(child(was, "model")) {
		return false // it stands elsewhere, too
	}
	if was != nil && (!sameBut(was, is, "model") || !sameBut(child(was, "model"), child(is, "model"), modelKeys()...)) {
		return false
	}
	return contains(comments(text, is), comments(e.text, was))
}

// sameBut says whether two mappings say the same, in the same order, but for
// some keys. What is no mapping has no keys.
func sameBut(a, b *yaml.Node, but ...string) bool {
	others := func(n *yaml.Node) (all []*yaml.Node) {
		if n == nil || n.Kind != yaml.MappingNode {
			return nil
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !slices.Contains(but, n.Content[i].Value) {
				all = append(all, n.Content[i], n.Content[i+1])
			}
		}
		return all
	}
	return slices.EqualFunc(others(a), others(b), same)
}

// anchored says whether what a section says is, or may be, said elsewhere, too.
func anchored(section *yaml.Node) bool {
	if section == nil {
		return false
	}
	if section.Kind == yaml.AliasNode || section.Anchor != "" {
		return true
	}
	return slices.ContainsFunc(modelKeys(), func(key string) bool {
		value := child(section, key)
		return value != nil && value.Anchor != ""
	})
}

func same(a, b *yaml.Node) bool {
	return a.Kind == b.Kind && a.ShortTag() == b.ShortTag() && a.Value == b.Value && a.Anchor == b.Anchor &&
		slices.EqualFunc(a.Content, b.Content, same)
}

// comments are all lines of comments of a file: those that stand alone, which
// the text shows, and those behind something, which only a parser finds.
func comments(text string, root *yaml.Node) map[string]int {
	found := map[string]int{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		for strings.HasPrefix(line, "#") { // a line that became a comment has its own behind it
			found[line]++
			i := strings.Index(line[1:], " #")
			if i < 0 {
				break
			}
			line = line[i+2:]
		}
	}
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.LineComment != "" {
			found[strings.TrimSpace(n.LineComment)]++
		}
		for _, c := range n.Content {
			walk(c)
		}
	}
	if root != nil {
		walk(root)
	}
	return found
}

func contains(all, some map[string]int) bool {
	for k, n := range some {
		if all[k] < n {
			return false
		}
	}
	return true
}
