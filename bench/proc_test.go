package main

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

func TestParseMarks(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []mark
		bad        bool
	}{
		{"none yet", "", nil, false},
		{"two lives", "100 7\n250 9\n", []mark{{100, 7}, {250, 9}}, false},
		{"one is being written", "100 7\n25", []mark{{100, 7}}, false},
		{"not a mark", "100\n", nil, true},
		{"words", "a b\n", nil, true},
	} {
		got, err := parseMarks(c.text)
		if !slices.Equal(got, c.want) || (err != nil) != c.bad {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

func TestParseParent(t *testing.T) {
	for text, want := range map[string]int{
		"12 (bench-child) S 3 12 12 0": 3,
		"12 (a) R (b) c) S 44 12":      44,
		"12 (x) S":                     0,
		"12 x S 3":                     0,
		"":                             0,
		"12 (x) S y 1":                 0,
	} {
		if got, err := parseParent(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestField(t *testing.T) {
	text := "Rss:  10 kB\nPss:     1234 kB\nPss_Dirty: 5 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t30\nbad: x\n"
	for _, c := range []struct {
		names []string
		sum   int64
		ok    bool
	}{
		{[]string{"Pss"}, 1234, true},
		{[]string{"voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"}, 37, true},
		{[]string{"Swap"}, 0, false},
		{[]string{"bad"}, 0, false},
	} {
		if sum, ok := field(text, c.names...); sum != c.sum || ok != c.ok {
			t.Errorf("%v: %d, %v; want %d, %v", c.names, sum, ok, c.sum, c.ok)
		}
	}
}

// TestProcesses: what /proc says of a process that does nothing but sleep.
func TestProcesses(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	err := poll(t.Context(), time.Millisecond, 10*time.Second, func() (bool, error) {
		all, err := tree(os.Getpid())
		return err == nil && all[0] == os.Getpid() && slices.Contains(all[1:], pid), err
	})
	if err != nil {
		t.Fatalf("sleep is not among our children: %v", err)
	}
	if kb, err := pssKB(pid); err != nil || kb < 1 {
		t.Errorf("its PSS: %d, %v", kb, err)
	}
	if n, err := descriptors(pid); err != nil || n < 3 {
		t.Errorf("its descriptors: %d, %v", n, err)
	}
	if n, err := switches(pid); err != nil || n < 1 {
		t.Errorf("its context switches: %d, %v", n, err)
	}
	fds, err := pidfds([]int{pid})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(fds)
	if err := awaitEnd(fds, 20*time.Millisecond); err == nil {
		t.Error("it ended by itself")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := awaitEnd(fds, 10*time.Second); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if fds, err := pidfds([]int{pid}); err != nil || len(fds) != 0 {
		t.Errorf("what has ended has a pidfd: %v, %v", fds, err)
	}
}

func TestPollGivesUp(t *testing.T) {
	if err := poll(t.Context(), time.Millisecond, 5*time.Millisecond, func() (bool, error) { return false, nil }); err == nil {
		t.Error("poll waited for what never comes")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := poll(ctx, time.Hour, time.Hour, func() (bool, error) { return false, nil }); err == nil {
		t.Error("poll outlived its context")
	}
}
