package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"hermes/api"
	"hermes/client"
	"hermes/internal/fault"
	"hermes/internal/lease"
	"hermes/internal/profile"
	"hermes/internal/s6init"
)

// containerSuffix ends the manager's name of every supervisor that is the init
// of its container.
const containerSuffix = "(container supervisor)"

// byCommand is who starts a gateway that the container's command names.
const byCommand = "container command"

func newGatewayRunCmd(e *env) *cobra.Command {
	var noSupervise, replace bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run a gateway in the foreground, or supervised in a supervisor's container",
		Long: "Run the gateway of a profile.\n\n" +
			"On a host it runs in the foreground. In a container that hermes supervises, this command starts the\n" +
			"gateway under the supervisor, from now on and after every boot, and waits: the gateway restarts on a\n" +
			"crash, and the container lives on. --no-supervise, or HERMES_GATEWAY_NO_SUPERVISE=1, keeps it in the\n" +
			"foreground: its exit code is then the command's.",
		Annotations: longLived(),
		Args:        takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := e.place()
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd)
			defer stop()
			r := run{env: e, at: at, replace: replace}
			return r.do(ctx, noSupervise)
		},
	}
	cmd.Flags().BoolVar(&noSupervise, "no-supervise", false, "stay in the foreground whatever supervises this container")
	cmd.Flags().BoolVar(&replace, "replace", false, "take over from a gateway that runs outside of the supervisor")
	return cmd
}

// run is one `gateway run`.
type run struct {
	*env
	at      place
	replace bool

	// Found by detect.
	client  *client.Client
	manager string
	gateway api.Gateway // of a host's supervisor
}

func (r *run) do(ctx context.Context, noSupervise bool) error {
	in := runInputs{
		Profile:     r.at.profile,
		NoSupervise: noSupervise,
		Settings:    r.settings,
		Detect:      func() (supervision, error) { return r.detect(ctx) },
	}
	m, err := runMode(in)
	if err != nil {
		return err
	}
	switch m {
	case redirected:
		r.redirect(ctx)
		return r.idle(ctx)
	case refused:
		return r.refusal()
	default:
		return r.here(ctx, in.isChild())
	}
}

// detect asks the supervisor of the home what it is. One of a container that
// does not answer is still one: its own word is in the lease.
func (r *run) detect(ctx context.Context) (supervision, error) {
	c, err := r.find(r.at.home)
	if client.IsNoSupervisor(err) {
		return supervisionNone, nil
	}
	if err != nil {
		return 0, err
	}
	c.By = "gateway run"
	r.client = c
	if holder, ok := inOurContainer(r.at.home); ok {
		r.manager = holder.Manager
		if parent := os.Getppid(); parent == holder.PID || s6init.RunsMain(parent) {
			c.By = byCommand
		}
		return supervisionContainer, nil
	}
	fleet, err := c.Fleet(ctx)
	if err != nil {
		return 0, err
	}
	r.manager = fleet.Manager
	for _, g := range fleet.Gateways {
		if g.Profile == string(r.at.profile) && occupied(g) {
			r.gateway = g
			return supervisionHostRuns, nil
		}
	}
	return supervisionHost, nil
}

// sameContainer reports that the holder is the init of the container we are in:
// its pid means something here.
func sameContainer(holder lease.Record) bool {
	self := lease.Self(holder.Since)
	return holder.BootID == self.BootID && holder.PIDNamespace == self.PIDNamespace
}

// occupied reports a gateway that runs, or is about to.
func occupied(g api.Gateway) bool {
	switch profile.State(g.State) {
	case profile.StateStarting, profile.StateRunning, profile.StateStopping, profile.StateBackoff:
		return true
	case profile.StateStopped, profile.StateParked:
	}
	return g.PID > 0
}

func (r *run) refusal() error {
	what := "in state " + r.gateway.State
	if r.gateway.PID > 0 {
		what = fmt.Sprintf("pid %d", r.gateway.PID)
	}
	return fault.New(fault.GatewayHeld, "%s is already run by %s, %s", r.at.profile.Slot(), r.manager, what).
		WithHint("%s gateway logs -f", r.command(r.at.profile))
}

// want has the supervisor want the gateway running. For the container's own
// command boot has done so; a second start would have a broken one break twice.
func (r *run) want(ctx context.Context) error {
	name := string(r.at.profile)
	if r.client.By == byCommand {
		g, err := r.client.Gateway(ctx, name)
		if err == nil && g.Intent == string(profile.Running) {
			return nil
		}
	}
	// The wait is the supervisor's: this command says what it did at once.
	_, err := r.client.Start(ctx, name, api.ActionRequest{NoWait: true})
	return err
}

// redirect wants the gateway running and says what became of this command. No
// failure ends the command: the container is more than this gateway, and what
// is wrong can be mended in it.
//
// The price is the exit code: what follows is a wait, so the container's is 0 on
// a stop asked for from outside and never the gateway's. Supervision means that
// a gateway may end without taking the container along; who needs to know how it
// ended, such as a job in CI, says --no-supervise.
func (r *run) redirect(ctx context.Context) {
	slot := r.at.profile.Slot()
	err := r.want(ctx)
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		beside := ""
		if r.settings.Dashboard {
			beside = "; the dashboard is supervised alongside"
		}
		r.note("→ %s is now supervised by %s: it restarts on a crash and this command only waits%s; "+
			"to run it in the foreground instead, use --no-supervise or HERMES_GATEWAY_NO_SUPERVISE=1\n", slot, r.manager, beside)
		return
	}
	r.render(err)
	r.note("→ %s was not started, and this container stays up: see `%s why %s`; "+
		"to run it in the foreground instead, use --no-supervise or HERMES_GATEWAY_NO_SUPERVISE=1\n",
		slot, r.base(), r.at.profile)
}
