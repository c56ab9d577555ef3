package dashboard

import (
	"html/template"
	"net/url"
	"strconv"
)

// rowsHTML is what the template "row" makes of each of rows, byte for byte and
// escape for escape, which a test holds it to: for a thousand rows the template
// takes twenty times as long, and there is a page of all (/?all=1).
func rowsHTML(rows []shownRow) template.HTML {
	const each = 900 // bytes, about
	b := make([]byte, 0, each*len(rows))
	for i := range rows {
		b = appendRow(b, &rows[i])
	}
	return template.HTML(b) //nolint:gosec // escaped as the template does
}

func appendRow(b []byte, r *shownRow) []byte {
	w := rowWriter{b}
	address := "/profile/" + url.PathEscape(r.Profile)
	w.raw(`<tr role="row"`)
	w.attribute("id", "gw-"+r.Profile)
	w.attribute("class", string(r.Level))
	w.attribute("data-p", r.Profile)
	w.attribute("data-s", r.State)
	w.attribute("data-w", r.Intent)
	w.attribute("data-h", r.Health)
	w.raw(`><th role="rowheader" scope="row"><a`)
	w.attribute("href", address)
	w.raw(">")
	w.text(r.Profile)
	w.raw(`</a></th><td role="cell"><b>`)
	w.text(r.State)
	w.raw("</b> <i>")
	w.text(r.Health)
	w.raw("</i></td>")
	w.cell(r.Intent)
	w.valued(r.Since, r.SinceText)
	w.cell(strconv.Itoa(r.Restarts))
	w.valued(r.Retry, r.RetryText)
	port := ""
	if r.Port != 0 {
		port = strconv.Itoa(r.Port)
	}
	w.cell(port)
	w.valued(r.Memory, r.Size())
	w.cell(r.Reason)
	w.raw(`<td role="cell"><form method="post">`)
	for _, o := range r.Offers() {
		w.raw("<button")
		w.attribute("data-do", o.Verb)
		w.attribute("formaction", address+"/"+o.Verb)
		w.attribute("aria-label", o.Label+" "+r.Profile)
		w.raw(">")
		w.raw(o.Label)
		w.raw("</button>")
	}
	w.raw("</form></td></tr>\n")
	return w.b
}

// rowWriter writes the parts of a row. What raw is given is ours.
type rowWriter struct{ b []byte }

func (w *rowWriter) raw(s string)  { w.b = append(w.b, s...) }
func (w *rowWriter) text(s string) { w.b = appendEscaped(w.b, s) }

func (w *rowWriter) attribute(name, value string) {
	w.raw(" ")
	w.raw(name)
	w.raw(`="`)
	w.text(value)
	w.raw(`"`)
}

func (w *rowWriter) cell(text string) {
	w.raw(`<td role="cell">`)
	w.text(text)
	w.raw("</td>")
}

// valued is a cell that is sorted by a number and not by its text.
func (w *rowWriter) valued(value int64, text string) {
	w.raw(`<td role="cell" data-v="`)
	w.b = strconv.AppendInt(w.b, value, 10)
	w.raw(`">`)
	w.text(text)
	w.raw("</td>")
}

// appendEscaped escapes text as html/template does between tags and in quoted
// attributes.
func appendEscaped(b []byte, s string) []byte {
	from := 0
	for i := range len(s) {
		var escaped string
		switch s[i] {
		case 0:
			escaped = "\uFFFD"
		case '"':
			escaped = "&#34;"
		case '&':
			escaped = "&amp;"
		case '\'':
			escaped = "&#39;"
		case '+':
			escaped = "&#43;"
		case '<':
			escaped = "&lt;"
		case '>':
			escaped = "&gt;"
		default:
			continue
		}
		b = append(append(b, s[from:i]...), escaped...)
		from = i + 1
	}
	return append(b, s[from:]...)
}
