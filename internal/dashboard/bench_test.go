package dashboard

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"
)

// BenchmarkFleetPage is the first page of a thousand gateways, as the server
// makes it.
func BenchmarkFleetPage(b *testing.B) {
	d := start(b, many(1000), nil)
	_, page := get(b, d, "/")
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		rec := httptest.NewRecorder()
		d.ServeHTTP(rec, httptest.NewRequestWithContext(b.Context(), "GET", "/", nil))
	}
}

// BenchmarkDiff compares fleets of a thousand that differ in ten.
func BenchmarkDiff(b *testing.B) {
	before := make([]row, 1000)
	for i := range before {
		before[i] = row{Profile: fmt.Sprintf("agent-%04d", i), State: "running", Since: time.Now().UnixMilli()}
	}
	after := append([]row(nil), before...)
	for i := range 10 {
		after[100*i].State = "backoff"
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := diff(before, after); len(got.set) != 10 {
			b.Fatal(len(got.set))
		}
	}
}
