package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const maxPort = 65535

// parseTimeout reads a number of seconds or a Go duration, from 1 ms to 24 h.
func parseTimeout(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if seconds, numberErr := strconv.ParseUint(s, 10, 32); numberErr == nil {
		d, err = time.Duration(seconds)*time.Second, nil
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is neither a number of seconds nor a duration such as 90s or 2m", clip(s))
	case d < time.Millisecond || d > maxTimeout:
		return 0, fmt.Errorf("%q is not between 1ms and 24h", clip(s))
	}
	return d, nil
}

// parsePort reads a TCP port; "auto" is 0.
func parsePort(s string) (int, error) {
	if s == "auto" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxPort {
		return 0, fmt.Errorf("%q is not a port: a number from 1 to %d, or auto", clip(s), maxPort)
	}
	return n, nil
}

// checkAddress checks host:port or :port, where the host is a name or an IP
// address, an IPv6 one in brackets.
func checkAddress(s string) error {
	host, number, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not an address such as 127.0.0.1:9120, [::1]:9120 or :9120", clip(s))
	}
	if n, err := strconv.Atoi(number); err != nil || n < 1 || n > maxPort || number[0] == '+' {
		return fmt.Errorf("%q: the port %q is not a number from 1 to %d", clip(s), clip(number), maxPort)
	}
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return nil
	}
	odd := strings.IndexFunc(host, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' && r != '.' && r != '_'
	})
	if odd >= 0 {
		return fmt.Errorf("%q: %q is neither an IP address nor the name of a host", clip(s), clip(host))
	}
	return nil
}

// parseSize reads a number of bytes, with a unit of 1000s (KB, MB, GB) or
// 1024s (KiB, MiB, GiB) if there is one.
func parseSize(s string) (int64, error) {
	number := strings.TrimRight(s, "BKMGbkmgi ")
	unit := strings.ToLower(strings.TrimSpace(s[len(number):]))
	n, err := strconv.ParseInt(number, 10, 64)
	factor, known := map[string]int64{
		"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9, "gb": 1e9,
		"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
	}[unit]
	if err != nil || !known || n < 0 || n > (1<<62)/max(factor, 1) {
		return 0, fmt.Errorf("%q is not a size such as 1000000, 500KB or 1MiB", clip(s))
	}
	return n * factor, nil
}
