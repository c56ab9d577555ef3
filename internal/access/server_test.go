package access

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"hermes/internal/config"
)

// serve runs a handler behind the rules on a real socket.
func serve(t *testing.T, d config.Dashboard, h http.Handler) (r *rig, url string) {
	t.Helper()
	r = newRig(t, loopback(), d)
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(t.Context(), r.Wrap(h), r.log)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(Limit(ln)) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server ended: %v", err)
		}
	})
	return r, "http://" + ln.Addr().String()
}

func get(t *testing.T, url string) (*http.Response, string, error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

// TestPanic: a handler that panics costs its own request, says so, and is
// logged; half an answer is cut off.
func TestPanic(t *testing.T) {
	r, url := serve(t, config.Dashboard{}, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/late" {
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<16))
		}
		panic("boom")
	}))
	resp, text, err := get(t, url+"/early")
	if err != nil || resp.StatusCode != 500 || !strings.Contains(text, `"code":"internal"`) || strings.Contains(text, "boom") {
		t.Errorf("%v: %s", err, text)
	}
	if _, _, err := get(t, url+"/late"); err == nil {
		t.Error("half an answer came as a whole one")
	}
	if !strings.Contains(r.logged.String(), "boom") || !strings.Contains(r.logged.String(), "server_test.go") {
		t.Errorf("log: %s", r.logged.String())
	}
}

// TestStreamEndsWithItsSession: who may see no more sees no more.
func TestStreamEndsWithItsSession(t *testing.T) {
	d := protected()
	r, url := serve(t, d, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.(http.Flusher).Flush()
		<-req.Context().Done()
	}))
	began := time.Now()
	r.clock = began.Add(-d.SessionTTL + 1500*time.Millisecond) // issued so that it ends in a moment
	value := r.sessions.seal(byPassword, r.clock)
	r.clock = began
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", r.sessions.cookie+"="+value)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatalf("status %d", resp.StatusCode)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

// TestPeerThatDoesNotRead: an answer that nobody takes is given up, and a
// handler that takes its time is not.
func TestPeerThatDoesNotRead(t *testing.T) {
	var deadlines []time.Duration
	w := &recorder{ResponseWriter: deadlineWriter{httptest.NewRecorder(), &deadlines}}
	_, _ = w.Write([]byte("x"))
	w.Flush()
	if len(deadlines) != 2 || deadlines[0] < writeTimeout-time.Second || deadlines[0] > writeTimeout {
		t.Errorf("deadlines %v", deadlines)
	}
}

// deadlineWriter notes the write deadlines that are set.
type deadlineWriter struct {
	http.ResponseWriter
	set *[]time.Duration
}

func (w deadlineWriter) SetWriteDeadline(at time.Time) error {
	*w.set = append(*w.set, time.Until(at))
	return nil
}

// TestStreamOutlivesItsRequestsBody: the deadline of a body is not that of the
// answer.
func TestStreamOutlivesItsRequestsBody(t *testing.T) {
	t.Parallel()
	_, url := serve(t, config.Dashboard{}, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		select {
		case <-req.Context().Done():
			panic("the client was taken for gone")
		case <-time.After(bodyTimeout + 200*time.Millisecond):
		}
	}))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("a=b"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestSlowBody: who does not send what he announced is answered all the same.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	_, url := serve(t, config.Dashboard{}, http.NotFoundHandler())
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nx")
	_ = conn.SetReadDeadline(time.Now().Add(2 * bodyTimeout))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, "400") {
		t.Errorf("%v: %q", err, line)
	}
}

// TestConnectionsAreBounded: one more than the bound waits for another's end.
func TestConnectionsAreBounded(t *testing.T) {
	inner, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := Limit(inner)
	accepted := make(chan net.Conn, maxConnections+1)
	ended := make(chan error, 1)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				ended <- err
				return
			}
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	open := make([]net.Conn, 0, maxConnections)
	for range maxConnections {
		conn := dial()
		defer conn.Close()
		open = append(open, <-accepted)
	}
	last := dial()
	defer last.Close()
	select {
	case <-accepted:
		t.Error("one too many was accepted")
	case <-time.After(50 * time.Millisecond):
	}
	_ = open[0].Close()
	_ = open[0].Close() // twice is once
	late, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	select {
	case conn := <-accepted:
		_ = conn.Close()
	case <-late.Done():
		t.Error("a place was free and nobody was accepted")
	}
	for _, conn := range open[1:] {
		_ = conn.Close()
	}
	_ = ln.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener ended: %v", err)
	}
}

// TestSlowHeader: who sends no request does not keep a connection.
func TestSlowHeader(t *testing.T) {
	if srv := NewServer(t.Context(), http.NotFoundHandler(), newRig(t, loopback(), config.Dashboard{}).log); srv.ReadHeaderTimeout == 0 || srv.IdleTimeout == 0 || srv.MaxHeaderBytes > 64<<10 {
		t.Errorf("limits: %+v", srv)
	}
	_, url := serve(t, config.Dashboard{}, http.NotFoundHandler())
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 2*maxHeader)+"\r\n\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, "431") {
		t.Errorf("%v: %q", err, line)
	}
}
