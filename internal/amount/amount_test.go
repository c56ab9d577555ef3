package amount_test

import (
	"math"
	"testing"
	"time"

	"hermes/internal/amount"
)

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		math.MinInt64: "0s", -time.Second: "0s", 0: "0s", 59*time.Second + 999*time.Millisecond: "59s", time.Minute: "1m", 59*time.Minute + 59*time.Second: "59m",
		time.Hour: "1h0m", 150 * time.Minute: "2h30m", 24*time.Hour - 1: "23h59m", 24 * time.Hour: "1d0h", 102 * time.Hour: "4d6h",
		239 * time.Hour: "9d23h", 240 * time.Hour: "10d", 326*24*time.Hour + 23*time.Hour: "326d", math.MaxInt64: "106751d",
	} {
		if got := amount.Span(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		math.MinInt64: "", -1: "", 0: "", 1: "1 B", 999: "999 B", 1000: "1 kB", 2048: "2 kB", 999_999: "999 kB", 1_000_000: "1.0 MB", 1_200_000: "1.2 MB",
		10_000_000: "10 MB", 38_400_000: "38 MB", 999_999_999: "999 MB", 1_250_000_000: "1.2 GB",
	} {
		if got := amount.Bytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
