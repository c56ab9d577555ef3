package e2e

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// flooded runs a gateway that logs 1 MB/s of numbered lines while disturb does
// something to the engine, and returns the numbers its log has.
func flooded(t *testing.T, logs string, disturb func(h *host)) (numbers []int) {
	t.Helper()
	h := newHost(t)
	h.probe("flood")
	h.write("flood", "config.yaml", fmt.Sprintf(
		"gateway:\n  command: [%q, -rate, \"1000000\"]\n  logs: {%s}\n", binaries().probe, logs))
	h.start("flood")
	h.state("flood", "running")
	disturb(h)
	h.noDoubles(map[string]int{"flood": 1})
	h.must("gateway", "stop", "flood")
	h.stop()

	files, err := filepath.Glob(filepath.Join(h.home, "logs/gateways/flood/@*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	for _, path := range append(files, filepath.Join(h.home, "logs/gateways/flood/current")) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			_, text, ok := strings.Cut(lines.Text(), " line ")
			if !ok {
				continue
			}
			n, err := strconv.Atoi(text)
			if err != nil || len(text) != 90 {
				t.Errorf("torn line %q", lines.Text())
				continue
			}
			numbers = append(numbers, n)
		}
		f.Close()
	}
	if len(numbers) < 1000 {
		t.Fatalf("only %d lines in the log", len(numbers))
	}
	return numbers
}

// missing is how many of the numbers from 0 to the highest are not there, and
// how many are there twice.
func missing(numbers []int) (lost, twice int) {
	slices.Sort(numbers)
	unique := slices.Compact(slices.Clone(numbers))
	return unique[len(unique)-1] + 1 - len(unique), len(numbers) - len(unique)
}

// TestGracefulReplacementLosesNoLogLine: SIGTERM makes an engine leave; what it
// has read is written, what it has not is read by the next.
func TestGracefulReplacementLosesNoLogLine(t *testing.T) {
	t.Parallel()
	numbers := flooded(t, "max_size: 64MB, max_files: 10", func(h *host) {
		for range soak(5) {
			old := h.fleet().EnginePID
			pause(400 * time.Millisecond)
			h.kill(old, syscall.SIGTERM)
			h.eventually("the engine was replaced", func() error {
				if h.fleet().EnginePID == old {
					return fmt.Errorf("still %d", old)
				}
				return nil
			})
		}
		pause(400 * time.Millisecond)
	})
	if lost, twice := missing(numbers); lost != 0 || twice != 0 {
		t.Errorf("of %d lines %d are lost and %d are there twice", len(numbers), lost, twice)
	}
}

// TestKilledEngineLosesAtMostOneBatch measures what kill -9 costs a gateway
// that logs 1 MB/s: what the engine had read and not yet written.
func TestKilledEngineLosesAtMostOneBatch(t *testing.T) {
	t.Parallel()
	killedWhileLogging(t, "max_size: 64MB, max_files: 10", func() time.Duration { return 400 * time.Millisecond })
}

// TestKilledEngineWhileItRotates: current is renamed some fifty times a second
// when the engine is killed; no line is torn or there twice.
func TestKilledEngineWhileItRotates(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(seeded(t), 0))
	killedWhileLogging(t, "max_size: 20KB, max_files: 1000", func() time.Duration {
		return upTo(rnd, 400*time.Millisecond)
	})
}

// killedWhileLogging kills the engine, each time after a while.
func killedWhileLogging(t *testing.T, logs string, while func() time.Duration) {
	t.Helper()
	const batch = 64 << 10 // bytes, of which 100 a line
	kills := 5
	if long() {
		kills = 20 // all that is logged meanwhile has to fit into the log's files
	}
	numbers := flooded(t, logs, func(h *host) {
		for range kills {
			pause(while())
			h.killEngine()
		}
		pause(400 * time.Millisecond)
	})
	lost, twice := missing(numbers)
	t.Logf("kill -9 of the engine %d times at 1 MB/s: %d of %d lines lost, %.1f per kill", kills, lost, len(numbers), float64(lost)/float64(kills))
	if lost > kills*batch/100 || twice != 0 {
		t.Errorf("%d lines lost, %d twice", lost, twice)
	}
}

// pause lets a gateway do its work for a while; what follows is checked by
// its outcome, not by time.
func pause(d time.Duration) {
	t := time.NewTimer(d)
	<-t.C
}
