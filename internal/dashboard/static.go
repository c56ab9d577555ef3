package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
	"time"
)

//go:embed static templates
var embedded embed.FS

// files are what pages are made with, by name.
type files map[string]file

type file struct {
	text []byte
	kind string // its Content-Type
	sum  string // of its text: a new text is another address
}

func readFiles() files {
	entries, err := embedded.ReadDir("static")
	if err != nil {
		panic("internal error: the static files are not embedded: " + err.Error())
	}
	all := files{}
	for _, e := range entries {
		text, err := embedded.ReadFile("static/" + e.Name())
		if err != nil {
			panic("internal error: a static file is not embedded: " + err.Error())
		}
		sum := sha256.Sum256(text)
		all[e.Name()] = file{text, kindOf(e.Name()), hex.EncodeToString(sum[:6])}
	}
	return all
}

func kindOf(name string) string {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(name))
}

// address is where a page asks for a file.
func (f files) address(name string) string { return "/static/" + name + "?v=" + f[name].sum }

// static serves a file. An address with the sum of the text is good for ever.
func (d *Dashboard) static(w http.ResponseWriter, r *http.Request) {
	f, ok := d.files[r.PathValue("file")]
	if !ok {
		d.notFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("ETag", `"`+f.sum+`"`)
	h.Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == f.sum {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.text))
}
