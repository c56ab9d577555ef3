package main

import (
	"math"
	"slices"
)

// summary is what is kept of a sample.
type summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Count  int     `json:"count"`
}

// summarize is the zero summary, Count 0, for an empty sample.
func summarize(sample []float64) summary {
	if len(sample) == 0 {
		return summary{}
	}
	s := slices.Sorted(slices.Values(sample))
	mid := len(s) / 2
	median := s[mid]
	if len(s)%2 == 0 {
		median = (s[mid-1] + s[mid]) / 2
	}
	return summary{Median: round(median), Min: round(s[0]), Max: round(s[len(s)-1]), Count: len(s)}
}

// round keeps what a clock can mean: three decimals.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }
