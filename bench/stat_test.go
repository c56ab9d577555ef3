package main

import (
	"testing"
)

func TestSummarize(t *testing.T) {
	for _, c := range []struct {
		name   string
		sample []float64
		want   summary
	}{
		{"none", nil, summary{}},
		{"one", []float64{2.5}, summary{2.5, 2.5, 2.5, 1}},
		{"odd, unsorted", []float64{9, 1, 3}, summary{3, 1, 9, 3}},
		{"even: between the two", []float64{4, 1, 2, 9}, summary{3, 1, 9, 4}},
		{"an outlier moves nothing but max", []float64{1, 1, 1, 1, 1000}, summary{1, 1, 1000, 5}},
		{"no false digits", []float64{1.0 / 3}, summary{0.333, 0.333, 0.333, 1}},
	} {
		if got := summarize(c.sample); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestSummarizeKeepsTheSample(t *testing.T) {
	sample := []float64{3, 1, 2}
	summarize(sample)
	if sample[0] != 3 || sample[1] != 1 {
		t.Errorf("the sample was sorted in place: %v", sample)
	}
}
