package gateway

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// streamOf is a provider that answers with so many deltas, each in a packet of
// its own.
func streamOf(deltas int) http.HandlerFunc {
	one := delta("word ")
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		rc := http.NewResponseController(w)
		for range deltas {
			_, _ = io.WriteString(w, one)
			_ = rc.Flush()
		}
		_, _ = io.WriteString(w, finish+done)
	}
}

// BenchmarkRelay is a stream from a provider to a client over real sockets,
// directly and through the gateway. Of one delta it is the time to the first
// byte and back, of a thousand the throughput; bytes are those of the events.
func BenchmarkRelay(b *testing.B) {
	for _, deltas := range []int{1, 1000} {
		upstream := httptest.NewServer(streamOf(deltas))
		relayed := benchGateway(b, upstream.URL)
		for _, side := range []struct{ name, url string }{{"direct", upstream.URL}, {"relayed", relayed.URL}} {
			b.Run(strconv.Itoa(deltas)+"/"+side.name, func(b *testing.B) {
				size := int64(deltas * len(delta("word ")))
				b.SetBytes(size)
				for b.Loop() {
					resp, err := relayed.Client().Post(side.url+chatPath, "application/json", strings.NewReader(helloStream))
					if err != nil {
						b.Fatal(err)
					}
					n, err := io.Copy(io.Discard, resp.Body)
					if err != nil || n < size {
						b.Fatal(n, err)
					}
					_ = resp.Body.Close()
				}
				b.ReportMetric(float64(deltas)*float64(b.N)/b.Elapsed().Seconds(), "deltas/s")
			})
		}
		upstream.Close()
	}
}

func benchGateway(b *testing.B, provider string) *httptest.Server {
	u, err := newUpstream(provider+"/v1", "m", "sk-0123456789abcdef", "I am the soul.")
	if err != nil {
		b.Fatal(err)
	}
	s := newServer(settings{profile: "coder", provider: u}, "", slog.New(slog.DiscardHandler))
	srv := httptest.NewServer(s)
	b.Cleanup(func() {
		srv.Close()
		s.close()
	})
	return srv
}
