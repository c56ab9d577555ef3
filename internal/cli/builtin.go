package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
	"hermes/internal/gateway"
)

// runBuiltIn runs the built-in gateway in this process. Told to stop, it
// finishes what is under way; a second Ctrl-C ends that, too.
func (e *env) runBuiltIn(ctx context.Context, g GatewayRun) int {
	ended, hurry := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if interruptedAgain(ctx, ended) {
			close(hurry)
		}
	})
	err := gateway.Run(ctx, gateway.Options{
		Profile: g.Profile, Dir: g.Dir, Environ: g.Environ, Argv: os.Args,
		Version: e.build.Version, Log: g.Stdout, Hurry: hurry,
	})
	close(ended)
	wg.Wait()
	if code := e.render(err); codeOf(err) != fault.InvalidConfig {
		return code
	}
	return fault.ExitConfig
}

// interruptedAgain waits for a Ctrl-C after ctx is done; false once ended is
// closed.
func interruptedAgain(ctx context.Context, ended <-chan struct{}) bool {
	select {
	case <-ctx.Done():
	case <-ended:
		return false
	}
	interrupt := make(chan os.Signal, 1)
	signal.Notify(interrupt, unix.SIGINT)
	defer signal.Stop(interrupt)
	select {
	case <-interrupt:
		return true
	case <-ended:
		return false
	}
}
