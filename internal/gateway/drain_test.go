package gateway

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// slowProvider answers when it is let.
type slowProvider struct {
	*httptest.Server
	asked, answer chan struct{}
}

func newSlowProvider(t *testing.T) *slowProvider {
	p := &slowProvider{asked: make(chan struct{}, 10), answer: make(chan struct{})}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		stream := strings.Contains(string(body), `"stream":true`)
		if stream {
			_, _ = io.WriteString(w, delta("one"))
			_ = http.NewResponseController(w).Flush()
		}
		p.asked <- struct{}{}
		select {
		case <-p.answer:
		case <-r.Context().Done():
			return
		}
		if stream {
			_, _ = io.WriteString(w, delta("two")+finish+done)
		} else {
			_, _ = io.WriteString(w, whole)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *slowProvider) configuration() string {
	return "model: {base_url: " + p.URL + "/v1, name: m}\ngateway: {stop_timeout: 5s}"
}

// answers sends a request in the background.
func (g *running) answers(body string) <-chan string {
	out := make(chan string, 1)
	go func() {
		resp, err := g.client.Post(g.url+chatPath, "application/json", strings.NewReader(body))
		if err != nil {
			out <- err.Error()
			return
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		if err != nil {
			data = append(data, err.Error()...)
		}
		out <- strconv.Itoa(resp.StatusCode) + " " + string(data)
	}()
	return out
}

func TestDrainFinishesWhatIsUnderWay(t *testing.T) {
	p := newSlowProvider(t)
	g := prepareGateway(t, p.configuration()).start()
	stream, whole1 := g.answers(helloStream), g.answers(hello)
	wait(t, "asked", p.asked)
	wait(t, "asked", p.asked)
	g.stop()
	if got := g.notice(); !strings.Contains(got, "STATUS=draining 2 requests") {
		t.Errorf("got %q", got)
	}
	g.wantState("draining")
	resp := g.chat(hello)
	wantError(t, resp, 503, "shutting_down")
	if !resp.Close {
		t.Error("a refused client keeps its connection")
	}
	if resp := g.do("GET", healthPath, ""); resp.StatusCode != 503 || !strings.Contains(readAll(t, resp.Body), "draining") {
		t.Errorf("health: %d", resp.StatusCode)
	}
	close(p.answer)
	if got := wait(t, "answer", stream); got != "200 "+delta("one")+delta("two")+finish+done {
		t.Errorf("got %s", got)
	}
	if got := wait(t, "answer", whole1); got != "200 "+whole {
		t.Errorf("got %s", got)
	}
	if err := wait(t, "end", g.ended); err != nil {
		t.Error(err)
	}
	g.wantState("stopped")
}

// What does not finish in the grace, or when somebody is in a hurry, is told.
func TestDrainCutsOff(t *testing.T) {
	for _, name := range []string{"grace", "hurry"} {
		t.Run(name, func(t *testing.T) {
			p := newSlowProvider(t)
			configuration := p.configuration()
			if name == "grace" {
				configuration = strings.Replace(configuration, "5s", "200ms", 1)
			}
			g := prepareGateway(t, configuration).start()
			stream, whole := g.chat(helloStream), g.answers(hello) // the first delta of the one is here
			wait(t, "asked", p.asked)
			wait(t, "asked", p.asked)
			began := time.Now()
			g.stop()
			if name == "hurry" {
				close(g.hurry)
			}
			if got := readAll(t, stream.Body); !strings.HasPrefix(got, delta("one")) || !strings.Contains(got, `"code":"shutting_down"`) || strings.Contains(got, "[DONE]") {
				t.Errorf("got %s", got)
			}
			if got := wait(t, "whole", whole); !strings.HasPrefix(got, "503 ") || !strings.Contains(got, `"code":"shutting_down"`) {
				t.Errorf("got %s", got)
			}
			if err := wait(t, "end", g.ended); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("it took %s", took)
			}
			g.wantState("stopped")
		})
	}
}

// A connection on which nothing is asked does not hold up the end.
func TestIdleConnectionsDoNotDelayTheEnd(t *testing.T) {
	g := prepareGateway(t, "model: {provider: echo}").start()
	for range 3 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	readAll(t, g.chat(hello).Body)
	began := time.Now()
	g.stop()
	if err := wait(t, "end", g.ended); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}
