// Package amount tells people how long and how much, in a few letters. What it
// says is for eyes: programs get the numbers.
package amount

import (
	"fmt"
	"time"
)

// Span is a duration in at most two units: "12s", "3m", "2h30m", "4d6h"; from
// ten days on in days only, "326d". One below zero is "0s".
func Span(d time.Duration) string {
	d = max(0, d)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	days, hours := int(d.Hours())/24, int(d.Hours())%24
	if days >= 10 {
		return fmt.Sprintf("%dd", days)
	}
	return fmt.Sprintf("%dd%dh", days, hours)
}

// Bytes is a number of bytes: "512 B", "38 MB", "1.2 GB"; "" for none.
func Bytes(n int64) string {
	const k = 1000
	switch {
	case n <= 0:
		return ""
	case n < k:
		return fmt.Sprintf("%d B", n)
	case n < k*k:
		return fmt.Sprintf("%d kB", n/k)
	case n < 10*k*k:
		return fmt.Sprintf("%.1f MB", float64(n)/(k*k))
	case n < k*k*k:
		return fmt.Sprintf("%d MB", n/k/k)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/(k*k*k))
}
