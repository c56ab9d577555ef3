package access

import (
	"encoding/json"
	"math"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"hermes/api"
)

// refusal is why a request is not answered.
type refusal struct {
	status  int
	code    string // stable, for programs
	message string
	hint    string
	wait    time.Duration // until another try makes sense; 0 where that is not known
	form    bool          // a browser is shown the log-in form
	next    string        // where the form leads to, "" for where the request went
}

func unauthorized() *refusal {
	return &refusal{
		status: http.StatusUnauthorized, code: "unauthorized", form: true,
		message: "this dashboard needs a log-in",
		hint:    "log in with a browser, or send Authorization: Basic or Bearer",
	}
}

func wrongCredentials() *refusal {
	return &refusal{
		status: http.StatusUnauthorized, code: "wrong_credentials", form: true,
		message: "these credentials are wrong",
		hint:    "they are set with HERMES_DASHBOARD_* where the dashboard runs",
	}
}

func tooMany(wait time.Duration) *refusal {
	return &refusal{
		status: http.StatusTooManyRequests, code: "too_many_attempts", form: true, wait: wait,
		message: "too many attempts with wrong credentials",
		hint:    "wait " + strconv.Itoa(seconds(wait)) + " s and try again",
	}
}

func tooLarge() *refusal {
	return &refusal{
		status: http.StatusRequestEntityTooLarge, code: "too_large",
		message: "the request is longer than " + strconv.Itoa(maxBody) + " bytes",
	}
}

func wrongMethod() *refusal {
	return &refusal{status: http.StatusMethodNotAllowed, code: "usage", message: "this path does not answer to this method"}
}

// seconds rounds up: who waits that long is not refused again.
func seconds(d time.Duration) int { return max(1, int(math.Ceil(d.Seconds()))) }

// refuse answers with why not: a page for a browser, else JSON.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, f *refusal) {
	if f.wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(f.wait)))
	}
	browser := wantsPage(r)
	if f.status == http.StatusUnauthorized {
		// Asked for a password, a browser shows a window of its own in the place
		// of the form.
		w.Header().Add("WWW-Authenticate", `Bearer realm="hermes dashboard"`)
		if g.keys.hasUser && !browser && r.Header.Get("Sec-Fetch-Mode") == "" {
			w.Header().Add("WWW-Authenticate", `Basic realm="hermes dashboard", charset="UTF-8"`)
		}
	}
	if browser {
		g.pages.refusal(w, r, g, f)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(api.Error{Code: f.code, Message: f.message, Hint: f.hint}) // the client may be gone
}

// wantsPage says whether a person looks at the answer.
func wantsPage(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// recorder remembers whether an answer has begun, and gives each piece of it
// its time. A deadline of the whole answer would end streams, and none would
// let a peer that does not read keep a connection.
type recorder struct {
	http.ResponseWriter
	began bool
}

var (
	_ http.ResponseWriter = (*recorder)(nil)
	_ http.Flusher        = (*recorder)(nil)
)

func (w *recorder) WriteHeader(status int) {
	w.began = w.began || status >= http.StatusOK
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	w.began = true
	w.hurry()
	return w.ResponseWriter.Write(b)
}

// Flush is for streams.
func (w *recorder) Flush() {
	w.hurry()
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// hurry bounds the next piece of the answer; what a handler leaves to net/http
// to write is the last.
func (w *recorder) hurry() {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(writeTimeout)) // a test's recorder has none
}

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// recovered is deferred around a handler: its panic is one request's failure.
func (g *Guard) recovered(w *recorder, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // the value itself, as net/http has it
		panic(v)
	}
	g.log.Error("handler panicked", "method", r.Method, "path", shorten(r.URL.Path), "panic", v, "stack", string(debug.Stack()))
	if w.began {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	g.refuse(w, r, &refusal{
		status: http.StatusInternalServerError, code: "internal",
		message: "internal error", hint: "the dashboard's log says more",
	})
}

// shorten keeps a hostile path from filling the log.
func shorten(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// quote is a hostile name in a sentence.
func quote(s string) string { return strconv.Quote(shorten(s)) }
