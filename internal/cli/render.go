package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"hermes/api"
	"hermes/internal/amount"
	"hermes/internal/fault"
	"hermes/internal/logfile"
	"hermes/internal/profile"
)

// exitError ends a command whose output already says it all.
type exitError struct{ code int }

func (e *exitError) Error() string { return "exit status " + strconv.Itoa(e.code) }

// render is the one place where an error meets a person. It returns the exit
// status.
func (e *env) render(err error) int {
	if err == nil {
		return fault.ExitOK
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.code
	}
	msg, hint, code := e.explain(err)
	fmt.Fprintf(e.err, "✗ %s\n", lines(msg))
	if hint != "" {
		fmt.Fprintf(e.err, "hint: %s\n", hint)
	}
	return code
}

// explain is what a person is told about err.
func (e *env) explain(err error) (msg, hint string, code int) {
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f.Msg, e.address(f.Hint), f.Code.ExitStatus()
	}
	if a, ok := errors.AsType[*api.Error](err); ok {
		return a.Message, e.address(a.Hint), fault.Code(a.Code).ExitStatus()
	}
	if n, ok := errors.AsType[*profile.NameError](err); ok {
		return n.Error(), "", fault.InvalidName.ExitStatus()
	}
	return "internal error: " + err.Error(), "", fault.ExitFailed
}

// codeOf is err's code, wherever it was made.
func codeOf(err error) fault.Code {
	if a, ok := errors.AsType[*api.Error](err); ok {
		return fault.Code(a.Code)
	}
	return fault.CodeOf(err)
}

// lines sets off the further lines of a message, one per mistake in a file.
func lines(msg string) string {
	return strings.ReplaceAll(strings.TrimRight(msg, "\n"), "\n", "\n  ")
}

// printf writes a line of the result; a failure to write shows in output.err.
func (e *env) printf(format string, args ...any) { fmt.Fprintf(e.out, format, args...) }

// note writes to stderr what is no result.
func (e *env) note(format string, args ...any) { fmt.Fprintf(e.err, format, args...) }

// json writes v as the whole result.
func (e *env) json(v any) error {
	enc := json.NewEncoder(e.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// indent writes raw as json would. It comes whole from a supervisor, which made it
// of a value: json.Indent, which checks it once more, takes three times as long.
func (e *env) indent(raw []byte) error {
	_, err := e.out.Write(indented(raw))
	return err
}

// indented is JSON that is valid, laid out as json.Indent does, and a line's end.
// Of what is not valid all but the white space is there.
func indented(raw []byte) []byte {
	out := make([]byte, 0, 2*len(raw))
	depth := 0
	line := func() {
		out = append(out, '\n')
		for range depth {
			out = append(out, "  "...)
		}
	}
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; c {
		case ' ', '\t', '\r', '\n':
		case '"':
			end := i + stringEnd(raw[i:])
			out = append(out, raw[i:end]...)
			i = end - 1
		case '{', '[':
			out = append(out, c)
			depth++
			if next := bytes.TrimLeft(raw[i+1:], " \t\r\n"); len(next) == 0 || next[0] != '}' && next[0] != ']' {
				line()
			}
		case '}', ']':
			depth--
			if !bytes.HasSuffix(out, []byte{'{'}) && !bytes.HasSuffix(out, []byte{'['}) {
				line()
			}
			out = append(out, c)
		case ',':
			out = append(out, c)
			line()
		case ':':
			out = append(out, ": "...)
		default:
			out = append(out, c)
		}
	}
	return append(out, '\n')
}

// stringEnd is the length of the JSON string that s begins with.
func stringEnd(s []byte) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(s)
}

// table writes rows under a header, columns aligned; an empty cell is "-".
func table(w io.Writer, header []string, rows [][]string) {
	whole := bufio.NewWriter(w) // a tabwriter writes each cell by itself
	tw := tabwriter.NewWriter(whole, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		line := ""
		for i, cell := range row {
			if cell == "" {
				cell = "-"
			}
			if i > 0 {
				line += "\t"
			}
			line += cell
		}
		fmt.Fprintln(tw, line)
	}
	_ = tw.Flush()
	_ = whole.Flush()
}

// age is how long ago t was, in at most two units; "" for no time.
func (e *env) age(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return amount.Span(e.now().Sub(*t))
}

// oneLine keeps text that came from a gateway or a file from breaking the page
// or driving the terminal.
func oneLine(s string) string { return logfile.Printable(strings.ReplaceAll(s, "\n", " ")) }
