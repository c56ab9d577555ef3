// Command mutate proves that each guard of its table has a test of its own: it
// removes one guard at a time and runs that test, which has to go red. It is
// `make mutate-gates`; see docs/developing.md.
//
// No file of the tree is touched: go test reads the changed source through
// -overlay. A guard whose text is not in the source any more, a change that does
// not compile and a test that does not run are failures too, so the table cannot
// rot into one that proves nothing.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"sync"
	"sync/atomic"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout)) }

func run(args []string, out io.Writer) int {
	flags := flag.NewFlagSet("mutate", flag.ContinueOnError)
	flags.SetOutput(out)
	dir := flags.String("dir", ".", "the module")
	only := flags.String("only", "", "remove only the guards that match this regular expression")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(out, "mutate:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var chosen []mutation
	for _, m := range table() {
		if pattern.MatchString(m.guard) {
			chosen = append(chosen, m)
		}
	}
	if err := prove(ctx, *dir, chosen, out); err != nil {
		fmt.Fprintln(out, "mutate:", err)
		return 1
	}
	return 0
}

// atOnce is how many tests run at a time: each compiles with what is left of
// the cores.
const atOnce = 2

// prove removes each guard in turn and reports what its test said. The error
// says how many are not proven.
func prove(ctx context.Context, dir string, all []mutation, out io.Writer) error {
	if len(all) == 0 {
		return fmt.Errorf("no guard to remove")
	}
	began := time.Now()
	if err := unmutated(ctx, dir, all); err != nil {
		return err
	}
	fmt.Fprintf(out, "✓ with every guard in place all tests pass (%.1fs)\n", time.Since(began).Seconds())
	failed := 0
	var mu sync.Mutex
	var next atomic.Int64
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(all); i = int(next.Add(1)) - 1 {
				started := time.Now()
				err := remove(ctx, dir, all[i])
				mu.Lock()
				if err != nil {
					failed++
					fmt.Fprintf(out, "✗ %s: %v\n", all[i].guard, err)
				} else {
					fmt.Fprintf(out, "✓ %s: without it %s is red (%.1fs)\n", all[i].guard, all[i].test, time.Since(started).Seconds())
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed > 0 {
		return fmt.Errorf("%d of %d guards could go unnoticed", failed, len(all))
	}
	fmt.Fprintf(out, "%d guards removed in turn, each missed by its own test, in %.0fs\n", len(all), time.Since(began).Seconds())
	return nil
}
