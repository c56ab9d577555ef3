package supervisor

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"time"

	"hermes/internal/lifecycle"
	"hermes/internal/profile"
)

const (
	probeFirst   = 50 * time.Millisecond // between the first probes; it doubles
	probeLongest = time.Second
	probeTimeout = 5 * time.Second // of one probe
)

// probe asks the gateway's port until it answers 2xx or its run is over. A
// redirection is no answer: where a gateway points is not ours to go.
func (s *slot) probe(r *run) {
	url := "http://" + net.JoinHostPort(probeHost(s.setup.host), strconv.Itoa(s.setup.port)) + s.setup.ready.Path
	client := &http.Client{
		Timeout:       probeTimeout,
		Transport:     &http.Transport{DisableKeepAlives: true, Proxy: nil},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.wg.Go(func() {
		for wait := probeFirst; ; wait = min(2*wait, probeLongest) {
			ok := probeOnce(r.ctx, client, url)
			done, err := ask(r.ctx, s, func() bool { return s.probed(r, ok) })
			if done || err != nil {
				return
			}
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-r.ctx.Done():
				t.Stop()
				return
			}
		}
	})
}

// probed acts on what a probe found, in the loop; true if that was the last.
func (s *slot) probed(r *run, ok bool) bool {
	waits := s.run == r && s.state == lifecycle.Starting
	if waits && ok {
		r.health = profile.HealthOK
		s.feed(lifecycle.Ready)
	}
	return ok || !waits
}

func probeOnce(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode/100 == 2
}

// probeHost is where a gateway that binds host is asked.
func probeHost(host string) string {
	switch host {
	case "", "0.0.0.0", "::", "[::]":
		return "127.0.0.1"
	}
	return host
}
