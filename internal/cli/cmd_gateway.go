package cli

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"hermes/api"
	"hermes/client"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

func newGatewayCmd(e *env) *cobra.Command {
	return newGroup(e, "gateway", "Start, stop and watch gateways",
		newGatewayStartCmd(e),
		newGatewayStopCmd(e),
		newGatewayRestartCmd(e),
		newGatewayRunCmd(e),
		newGatewayStatusCmd(e),
		newGatewayListCmd(e),
		newGatewayLogsCmd(e),
		newGatewayInstallCmd(e),
		newGatewayUninstallCmd(e),
	)
}

// action is one verb on gateways, with its flags.
type action struct {
	verb    string // "start", "stop", "restart": also the name in the API
	past    string // "started"
	all     bool
	noWait  bool
	timeout time.Duration
}

func (a *action) addFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.noWait, "no-wait", false, "return as soon as the intent is on disk")
	cmd.Flags().DurationVar(&a.timeout, "timeout", 0, "how long to wait (default: the gateway's own timeout)")
}

func (a *action) request() api.ActionRequest {
	return api.ActionRequest{NoWait: a.noWait, TimeoutMS: a.timeout.Milliseconds()}
}

// check reports flags and names that contradict each other.
func (a *action) check(e *env, cmd *cobra.Command, args []string) error {
	switch {
	case a.all && len(args) > 0:
		return usage(cmd, "--all and names exclude each other")
	case a.all && e.flags.profile != "":
		return usage(cmd, "--all and -p exclude each other")
	case a.timeout < 0:
		return usage(cmd, "--timeout %s is negative", a.timeout)
	case a.timeout > 0 && a.noWait:
		return usage(cmd, "--timeout and --no-wait exclude each other")
	}
	return nil
}

func newGatewayStartCmd(e *env) *cobra.Command {
	a := action{verb: "start", past: "started"}
	cmd := &cobra.Command{
		Use:   "start [NAME…]",
		Short: "Start gateways and wait until they are ready",
		Long: "Start gateways, and wait until each is ready (or executed, where it reports no readiness) or failed.\n" +
			"From now on they are meant to run: also after a crash, a restart of the container and a power cut.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.all {
				return fault.New(fault.Usage, "start --all is not supported: it would start gateways you stopped on purpose").
					WithHint("%s gateway start NAME…", e.base())
			}
			return e.act(cmd, a, args)
		},
	}
	a.addFlags(cmd)
	cmd.Flags().BoolVar(&a.all, "all", false, "")
	_ = cmd.Flags().MarkHidden("all") // known only to be refused with a reason
	return cmd
}

func newGatewayStopCmd(e *env) *cobra.Command {
	a := action{verb: "stop", past: "stopped"}
	cmd := &cobra.Command{
		Use:   "stop [NAME…]",
		Short: "Stop gateways and wait until they are down",
		Long: "Stop gateways, and wait until each is down. They stay down until you start them.\n" +
			"Without a supervisor it stops the gateways that run in the foreground.",
		RunE: func(cmd *cobra.Command, args []string) error { return e.act(cmd, a, args) },
	}
	a.addFlags(cmd)
	cmd.Flags().BoolVar(&a.all, "all", false, "every gateway")
	return cmd
}

func newGatewayRestartCmd(e *env) *cobra.Command {
	a := action{verb: "restart", past: "restarted"}
	cmd := &cobra.Command{
		Use:   "restart [NAME…]",
		Short: "Restart gateways and wait until they are ready",
		Long:  "Restart gateways, and wait until each is ready or failed. A stopped one is started.",
		RunE:  func(cmd *cobra.Command, args []string) error { return e.act(cmd, a, args) },
	}
	a.addFlags(cmd)
	cmd.Flags().BoolVar(&a.all, "all", false, "every gateway that is meant to run")
	return cmd
}

// act carries an action out, through the supervisor if there is one.
func (e *env) act(cmd *cobra.Command, a action, args []string) error {
	if err := a.check(e, cmd, args); err != nil {
		return err
	}
	at, err := e.place()
	if err != nil {
		return err
	}
	names, err := at.names(args)
	if err != nil {
		return err
	}
	c, err := e.find(at.home)
	switch {
	case client.IsNoSupervisor(err):
		return e.actAlone(cmd.Context(), a, at, names)
	case err != nil:
		return err
	}
	c.By = "cli"
	if a.all {
		return e.actOnAll(cmd.Context(), c, a)
	}
	return e.actOnEach(cmd.Context(), c, a, names)
}

// actOnEach acts on all names at once and reports in their order.
func (e *env) actOnEach(ctx context.Context, c *client.Client, a action, names []profile.Name) error {
	type outcome struct {
		result api.ActionResult
		err    error
	}
	began := e.now()
	outcomes := make([]chan outcome, len(names))
	act := func(i int) {
		res, err := perform(ctx, c, a, names[i])
		if err == nil {
			err = e.fellOver(a, res)
		}
		outcomes[i] <- outcome{res, err}
	}
	if len(names) > 1 {
		e.expect(manyThings)
	}
	var pending sync.WaitGroup
	defer pending.Wait()
	for i := range names {
		outcomes[i] = make(chan outcome, 1)
		if i > 0 { // the first is waited for here in any case, on a stack that has grown already
			pending.Go(func() { act(i) })
		}
	}
	act(0)
	failed := 0
	for i, name := range names {
		o := <-outcomes[i]
		if o.err != nil {
			failed++
			if ctx.Err() == nil {
				e.failure(ctx, c, name, o.err)
			}
			continue
		}
		e.success(a, o.result, began)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failed > 0 {
		return &exitError{fault.ExitFailed}
	}
	return nil
}

func perform(ctx context.Context, c *client.Client, a action, name profile.Name) (api.ActionResult, error) {
	switch a.verb {
	case "start":
		return c.Start(ctx, string(name), a.request())
	case "stop":
		return c.Stop(ctx, string(name), a.request())
	default:
		return c.Restart(ctx, string(name), a.request())
	}
}

// actOnAll acts on the fleet: a line per gateway as it finishes, then a count.
func (e *env) actOnAll(ctx context.Context, c *client.Client, a action) error {
	began := e.now()
	done, failed := 0, 0
	err := c.All(ctx, a.verb, a.request(), func(res api.ActionResult) {
		var err error
		if res.Error != nil {
			err = res.Error
		} else {
			err = e.fellOver(a, res)
		}
		if err != nil {
			failed++
			e.failure(ctx, c, profile.Name(res.Gateway.Profile), err)
			return
		}
		done++
		e.success(a, res, began)
	})
	if err != nil {
		return err
	}
	return e.count(a, done, failed)
}

// count is the last line of an action on all.
func (e *env) count(a action, done, failed int) error {
	switch total := done + failed; {
	case total == 0:
		e.printf("no gateways\n")
		return nil
	case failed > 0:
		e.note("✗ %s %d of %s\n", a.past, done, gateways(total))
		return &exitError{fault.ExitFailed}
	default:
		e.printf("✓ %s %s\n", a.past, gateways(total))
		return nil
	}
}

func gateways(n int) string {
	if n == 1 {
		return "1 gateway"
	}
	return fmt.Sprintf("%d gateways", n)
}
