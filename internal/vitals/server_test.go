package vitals

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// running is a server under test.
type running struct {
	t       *testing.T
	addr    string
	stop    context.CancelFunc
	ended   chan struct{}
	reports chan error
}

func run(t *testing.T, addr string, h http.Handler) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{t: t, addr: addr, stop: cancel, ended: make(chan struct{}), reports: make(chan error, 16)}
	s := &Server{Addr: addr, Handler: h, Report: func(err error) { r.reports <- err }, Logger: slog.New(slog.DiscardHandler)}
	go func() {
		defer close(r.ended)
		s.Run(ctx)
	}()
	t.Cleanup(r.end)
	return r
}

func (r *running) end() {
	r.stop()
	<-r.ended
}

// report is the next one.
func (r *running) report() error {
	r.t.Helper()
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	select {
	case err := <-r.reports:
		return err
	case <-late.C:
		r.t.Fatal("no report")
		return nil
	}
}

// freeAddr is an address nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	return l.Addr().String()
}

func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// get asks on a connection of its own.
func (r *running) get(path string) (int, string, error) {
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.addr+path, nil)
	if err != nil {
		return 0, "", err
	}
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: readTimeout / 2}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// answers waits until it does.
func (r *running) answers() {
	r.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); ; <-tick.C {
		code, body, err := r.get(PathLive)
		if err == nil && code == http.StatusOK && body == "{\"ok\":true}\n" {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%d %q, %v", code, body, err)
		}
	}
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestServes until it is told to end, and then its port is free.
func TestServes(t *testing.T) {
	addr := freeAddr(t)
	for range 3 { // the next one gets the port at once, connections of the last one or not
		r := run(t, addr, NewHandler(fine()))
		r.answers()
		c := dial(t, addr)
		r.end()
		if len(r.reports) > 0 {
			t.Errorf("it was reported: %v", <-r.reports)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection is still open")
		}
	}
	if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr); err == nil {
		c.Close()
		t.Error("somebody listens")
	}
}

// TestTakenPort is told once, and had as soon as it is free.
func TestTakenPort(t *testing.T) {
	taken := listen(t, "127.0.0.1:0")
	defer taken.Close()
	r := run(t, taken.Addr().String(), NewHandler(fine()))
	if err := r.report(); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("reported: %v", err)
	}
	// It has tried again by then, and said nothing new.
	again := time.NewTimer(4 * firstWait)
	<-again.C
	if len(r.reports) > 0 {
		t.Errorf("reported again: %v", <-r.reports)
	}
	taken.Close()
	r.answers()
	if err := r.report(); err != nil {
		t.Errorf("reported: %v", err)
	}
}

// TestNoSuchAddress ends at once when it is told to.
func TestNoSuchAddress(t *testing.T) {
	r := run(t, "192.0.2.1:9", NewHandler(fine())) // nobody's, by RFC 5737
	if err := r.report(); err == nil {
		t.Error("no report")
	}
	r.end()
}

// TestManyConnections that say nothing keep nobody out, and take no more than
// their number.
func TestManyConnections(t *testing.T) {
	r := run(t, freeAddr(t), NewHandler(fine()))
	r.answers()
	var silent []net.Conn
	for range 2 * maxConns {
		silent = append(silent, dial(t, r.addr))
	}
	if code, _, err := r.get(PathLive); code != http.StatusOK || err != nil {
		t.Fatalf("%d, %v", code, err)
	}
	began := time.Now()
	for i, c := range silent[:maxConns] {
		_ = c.SetReadDeadline(began.Add(readTimeout / 2))
		if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Fatalf("connection %d is still open: %v", i, err)
		}
	}
	last := silent[len(silent)-1]
	fmt.Fprintf(last, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	if line, err := bufio.NewReader(last).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 200 ") {
		t.Errorf("the newest connection: %q, %v", line, err)
	}
}

func isTimeout(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout()
}

// TestSlowReaders hold up nobody else.
func TestSlowReaders(t *testing.T) {
	large := []byte(strings.Repeat("x", 8<<20)) // more than the sockets hold
	r := run(t, freeAddr(t), http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == PathMetrics {
			_, _ = w.Write(large)
			return
		}
		NewHandler(fine()).ServeHTTP(w, req)
	}))
	r.answers()
	for range maxConns / 2 {
		fmt.Fprintf(dial(t, r.addr), "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	began := time.Now()
	r.answers()
	if took := time.Since(began); took > time.Second {
		t.Errorf("after %v", took)
	}
}

// TestNoConnectionIsKept, whatever a client wishes.
func TestNoConnectionIsKept(t *testing.T) {
	r := run(t, freeAddr(t), NewHandler(fine()))
	r.answers()
	c := dial(t, r.addr)
	fmt.Fprintf(c, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
	_ = c.SetReadDeadline(time.Now().Add(readTimeout / 2))
	answer, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(answer), "Connection: close\r\n") {
		t.Errorf("%q, %v", answer, err)
	}
}

// TestHugeHeader is not read.
func TestHugeHeader(t *testing.T) {
	r := run(t, freeAddr(t), NewHandler(fine()))
	r.answers()
	c := dial(t, r.addr)
	go func() {
		_, _ = fmt.Fprintf(c, "GET /livez HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("x", 1<<20))
	}()
	if line, err := bufio.NewReader(c).ReadString('\n'); err == nil && !strings.Contains(line, " 431 ") {
		t.Errorf("%q", line)
	}
}

// pipes is a listener without a network, so that time can pass at once.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestDeadlines: who says nothing, who says it slowly and who does not read is
// cut.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		s := &Server{Handler: NewHandler(fine()), Logger: slog.New(slog.DiscardHandler)}
		done := make(chan error)
		go func() { done <- s.serve(ctx, l) }()
		dial := func() net.Conn {
			ours, theirs := net.Pipe()
			l.conns <- theirs
			return ours
		}
		cut := func(c net.Conn) time.Duration {
			began := time.Now()
			_, _ = io.Copy(io.Discard, c)
			return time.Since(began)
		}
		if took := cut(dial()); took != readTimeout {
			t.Errorf("a silent one is cut after %v", took)
		}
		slow := dial()
		go func() {
			for range 100 {
				if _, err := slow.Write([]byte("G")); err != nil {
					return
				}
				<-time.After(time.Second)
			}
		}()
		if took := cut(slow); took != readTimeout {
			t.Errorf("a slow one is cut after %v", took)
		}
		deaf := dial()
		if _, err := deaf.Write([]byte("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		<-time.After(writeTimeout + time.Second)
		if answer, err := io.ReadAll(deaf); err != nil || len(answer) > 0 {
			t.Errorf("a deaf one is still answered: %q, %v", answer, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// failing is a listener that has had enough.
type failing struct{ pipes }

func (f *failing) Accept() (net.Conn, error) { return nil, errors.New("no more") }

// TestAListenerThatFails is an error, upon which Run makes another one.
func TestAListenerThatFails(t *testing.T) {
	s := &Server{Handler: NewHandler(fine()), Logger: slog.New(slog.DiscardHandler)}
	l := &failing{pipes{closed: make(chan struct{})}}
	if err := s.serve(t.Context(), l); err == nil || !strings.Contains(err.Error(), "no more") {
		t.Errorf("%v", err)
	}
}
