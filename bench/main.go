// Command bench measures what hermes promises in numbers, and the same of the
// supervisors it is compared with, in one run on one machine: boot, the
// supervisor's own processes and memory, a crash, one more service, commands,
// status, stopping all, idling, logs. docs/bench.md says what each figure means.
//
// It ships nothing and nothing imports it. The services are small C programs of
// its own, compiled when it starts; all state is in a directory of its own on
// tmpfs, removed afterwards.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == askWord {
		os.Exit(askMain(os.Args[2:]))
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	os.Exit(status)
}

// options are what a run is asked for.
type options struct {
	sizes  []int         // every side at these
	ours   []int         // only hermes and the bare loop at these
	who    []string      // sides
	k      int           // repetitions of what is timed one service at a time
	boots  int           // boots and stops of each fleet
	settle time.Duration // between boot and the first measurement
	idle   time.Duration // how long wake-ups are counted
	lines  int           // 100-byte lines of the log figures
	hermes string        // the binary
	dir    string        // where the state goes
	json   string        // a file for all numbers
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	var sizes, ours, who string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&sizes, "n", "10,100,1000", "sizes of the fleets, every side")
	f.StringVar(&ours, "ours", "5000", "further sizes, only hermes and the bare loop; \"\" for none")
	f.StringVar(&who, "who", strings.Join(sideNames(), ","), "sides")
	f.IntVar(&o.k, "k", 7, "crashes, additions, stops and starts per fleet, at most as many as it has services")
	f.IntVar(&o.boots, "boots", 3, "boots and ends of each fleet")
	f.DurationVar(&o.settle, "settle", 12*time.Second, "time between boot and the first crash; hermes calls a run healthy after 10s")
	f.DurationVar(&o.idle, "idle", 40*time.Second, "how long the idle fleets' wake-ups are counted")
	f.IntVar(&o.lines, "lines", 1_980_000, "lines of 100 bytes that the log figures write")
	f.StringVar(&o.hermes, "hermes", "build/hermes", "the hermes binary")
	f.StringVar(&o.dir, "dir", "/dev/shm", "a tmpfs; the state goes in a new directory there")
	f.StringVar(&o.json, "json", "", "also write all numbers to this file")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, o.check(sizes, ours, who)
}

func (o *options) check(sizes, ours, who string) error {
	var err1, err2 error
	o.sizes, err1 = parseSizes(sizes)
	o.ours, err2 = parseSizes(ours)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for name := range strings.SplitSeq(who, ",") {
		if !slices.Contains(sideNames(), name) {
			return fmt.Errorf("no side is called %q: there are %s", name, strings.Join(sideNames(), ", "))
		}
		o.who = append(o.who, name)
	}
	if len(o.sizes)+len(o.ours) == 0 || o.k < 1 || o.boots < 1 || o.lines < 1 {
		return errors.New("-k, -boots and -lines are at least 1, and -n or -ours names a size")
	}
	return nil
}

// parseSizes reads "10,100"; "" is none.
func parseSizes(s string) ([]int, error) {
	var sizes []int
	if s == "" {
		return nil, nil
	}
	for word := range strings.SplitSeq(s, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > 20000 {
			return nil, fmt.Errorf("a size is a number between 1 and 20000, not %q", word)
		}
		sizes = append(sizes, n)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes), nil
}

// report is all that a run found out.
type report struct {
	Machine machine  `json:"machine"`
	Fleets  []result `json:"fleets"`
	Logs    []result `json:"logs"`
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = measure(ctx, o, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "✗ %v\n", err)
		return 1
	}
	return 0
}

// measure runs all and prints the tables. A side that fails at one size is in
// the report as failed; what makes all figures worthless is an error.
func measure(ctx context.Context, o options, stdout, stderr io.Writer) error {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	r := report{Machine: b.machine}
	note := func(what, who string, n int) {
		fmt.Fprintf(stderr, "%s n=%d %s: %s\n", time.Now().Format(time.TimeOnly), n, who, what)
	}
	for _, who := range o.who {
		if result, ok := b.logs(ctx, who); ok {
			note("logs", who, o.lines)
			r.Logs = append(r.Logs, result)
		}
	}
	for _, n := range slices.Sorted(slices.Values(slices.Concat(o.sizes, o.ours))) {
		sides := slices.DeleteFunc(slices.Clone(o.who), func(who string) bool { return !slices.Contains(o.sizes, n) && !onlyOurs(who) })
		r.Fleets = append(r.Fleets, b.fleets(ctx, sides, n, func(what, who string) { note(what, who, n) })...)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
	}
	render(stdout, r)
	if o.json == "" {
		return r.failed()
	}
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return errors.Join(r.failed(), os.WriteFile(o.json, append(text, '\n'), 0o644))
}

// failed is an error that names what could not be measured.
func (r report) failed() error {
	var all []error
	for _, res := range slices.Concat(r.Logs, r.Fleets) {
		for _, why := range res.Failed {
			all = append(all, fmt.Errorf("%s, n=%d: %s", res.Who, res.N, why))
		}
	}
	return errors.Join(all...)
}
