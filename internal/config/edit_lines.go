package config

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// lines changes the file line by line. What it cannot be sure of it leaves to
// who reads the result; false says that it found no way at all.
func (e *modelEdit) lines() (string, bool) {
	f := fileLines{ending: "\n", lines: slices.Collect(strings.Lines(e.text))}
	if strings.Contains(e.text, "\r\n") {
		f.ending = "\r\n"
	}
	root := e.root(e.text)
	if root == nil {
		f.add(0, "model:", e.wanted(nil))
		return f.text(), true
	}
	var key, section *yaml.Node
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "model" {
			key, section = root.Content[i], root.Content[i+1]
		}
	}
	ok := true
	switch {
	case root.Style&yaml.FlowStyle != 0:
		return "", false
	case section == nil:
		f.add(root.Content[0].Column-1, "model:", e.wanted(nil))
	case section.Kind == yaml.MappingNode && section.Style&yaml.FlowStyle != 0:
		ok = e.flowLine(&f, section)
	case section.Kind == yaml.MappingNode:
		ok = e.block(&f, key, section)
	case section.Kind == yaml.ScalarNode: // the original's short form, or nothing
		ok = f.replace(section, "") && f.insert(key.Line, key.Column+1, e.wanted(nil))
	default:
		ok = false
	}
	return f.text(), ok
}

// block changes the lines of a section that has a line per key.
func (e *modelEdit) block(f *fileLines, key, section *yaml.Node) bool {
	at := key.Line // new keys follow that line
	indent := section.Content[0].Column - 1
	type change struct {
		line  int
		pairs []pair
	}
	var added []change // made last: until then the lines keep their numbers
	for _, p := range e.wanted(section) {
		value := child(section, p.key)
		switch {
		case value == nil && p.value != "":
			added = append(added, change{at, []pair{p}})
			continue
		case value == nil:
			continue
		case p.value == "" && value.Kind == yaml.ScalarNode && value.Value == "":
			// It says nothing already.
		case p.value == "":
			if !f.comment(value) {
				return false
			}
		case value.Kind == yaml.ScalarNode && value.Value == p.value:
		case !f.replace(value, inline(scalarNode(p.value))):
			return false
		}
		at = max(at, value.Line)
	}
	for _, c := range slices.Backward(added) {
		if !f.insert(c.line, indent, c.pairs) {
			return false
		}
	}
	return true
}

// flowLine replaces a section in braces that begins and ends on one line.
func (e *modelEdit) flowLine(f *fileLines, section *yaml.Node) bool {
	before, rest, ok := f.cut(section)
	if !ok {
		return false
	}
	for i := range rest { // a brace in a quoted word is not the one
		if rest[i] != '}' {
			continue
		}
		var same yaml.Node
		if yaml.Load([]byte(rest[:i+1]), &same) != nil {
			continue
		}
		for _, p := range e.wanted(section) {
			set(section, p)
		}
		section.HeadComment, section.LineComment, section.FootComment = "", "", ""
		line := inline(section)
		f.lines[section.Line-1] = before + line + rest[i+1:]
		return line != ""
	}
	return false
}

// fileLines is a text that is changed by lines, numbered from 1.
type fileLines struct {
	ending string
	lines  []string // with their ends
}

func (f *fileLines) text() string { return strings.Join(f.lines, "") }

// cut is the line a node begins on, in two.
func (f *fileLines) cut(n *yaml.Node) (before, rest string, ok bool) {
	if n.Line < 1 || n.Line > len(f.lines) {
		return "", "", false
	}
	column := 1
	for i := range f.lines[n.Line-1] { // columns are counted in characters
		if column == n.Column {
			return f.lines[n.Line-1][:i], f.lines[n.Line-1][i:], true
		}
		column++
	}
	return f.lines[n.Line-1], "", column == n.Column
}

// replace puts a word where a scalar of one line stands.
func (f *fileLines) replace(n *yaml.Node, word string) bool {
	if n.Kind == yaml.ScalarNode && n.Value == "" && n.Style == 0 { // nothing stands there
		if word == "" {
			return true
		}
		return f.fill(n, word)
	}
	before, rest, ok := f.cut(n)
	length := scalarLength(n, rest)
	if !ok || length == 0 || n.Anchor != "" {
		return false
	}
	if word == "" {
		before = strings.TrimRight(before, " ")
	}
	f.lines[n.Line-1] = before + word + rest[length:]
	return true
}

// fill puts a word behind a key that has none.
func (f *fileLines) fill(n *yaml.Node, word string) bool {
	if n.Line < 1 || n.Line > len(f.lines) {
		return false
	}
	key, rest, ok := strings.Cut(f.lines[n.Line-1], ":")
	f.lines[n.Line-1] = key + ": " + word + rest
	return ok
}

// scalarLength is the length of a scalar as it is written on its line, 0 if it
// does not end there.
func scalarLength(n *yaml.Node, rest string) int {
	raw := n.Value
	switch {
	case n.Kind == yaml.AliasNode:
		raw = "*" + n.Value
	case n.Kind != yaml.ScalarNode:
		return 0
	case n.Style&yaml.DoubleQuotedStyle != 0, n.Style&yaml.SingleQuotedStyle != 0:
		for i := 1; i < len(rest); i++ {
			var same yaml.Node
			if rest[i] == rest[0] && yaml.Load([]byte(rest[:i+1]), &same) == nil && len(same.Content) == 1 && same.Content[0].Value == n.Value {
				return i + 1
			}
		}
		return 0
	}
	if !strings.HasPrefix(rest, raw) {
		return 0
	}
	return len(raw)
}

// comment makes a comment of the line of a value.
func (f *fileLines) comment(value *yaml.Node) bool {
	before, rest, ok := f.cut(value)
	if !ok || scalarLength(value, rest) == 0 {
		return false
	}
	line := before + rest
	word := strings.TrimLeft(line, " ")
	f.lines[value.Line-1] = line[:len(line)-len(word)] + "# " + word
	return true
}

// insert adds a line per pair after a line.
func (f *fileLines) insert(after, indent int, pairs []pair) bool {
	if after < 1 || after > len(f.lines) {
		return false
	}
	if i := after - 1; !strings.HasSuffix(f.lines[i], "\n") {
		f.lines[i] += f.ending
	}
	var added []string
	for _, p := range pairs {
		if p.value == "" {
			continue
		}
		word := inline(scalarNode(p.value))
		if word == "" {
			return false
		}
		added = append(added, strings.Repeat(" ", indent)+p.key+": "+word+f.ending)
	}
	f.lines = slices.Insert(f.lines, after, added...)
	return true
}

// add adds a section at the end, after a blank line.
func (f *fileLines) add(indent int, title string, pairs []pair) {
	if n := len(f.lines); n > 0 {
		if !strings.HasSuffix(f.lines[n-1], "\n") {
			f.lines[n-1] += f.ending
		}
		f.lines = append(f.lines, f.ending)
	}
	f.lines = append(f.lines, strings.Repeat(" ", indent)+title+f.ending)
	f.insert(len(f.lines), indent+2, pairs)
}
