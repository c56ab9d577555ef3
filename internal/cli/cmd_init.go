package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"hermes/internal/config"
	"hermes/internal/fault"
)

// newInitCmd is a container's entry point.
func newInitCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "init [COMMAND…]",
		Short: "Be a container's entry point: supervise, and run its command",
		Long: "Boot the fleet and run the container's command: none, a hermes command or a program on PATH. Exits with the\n" +
			"command's code. Hermes commands other than `up`, `gateway run` and `dashboard` are carried out without booting anything.",
		Annotations:        longLived(),
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, words []string) error {
			plan, err := e.planInit(words)
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd)
			defer stop()
			if plan.client {
				e.isInit = true
				return exitWith(e.run(ctx, plan.words))
			}
			plan.request.stop = ctx.Done()
			if e.settings.Engine == config.EngineS6 {
				return e.becomeS6(plan.request)
			}
			code, err := e.supervise(plan.request)
			if err != nil {
				return err
			}
			return exitWith(code)
		},
	}
}

// initPlan is what a container's command makes init do.
type initPlan struct {
	client  bool // carry words out, boot nothing
	words   []string
	request superviseRequest
}

// planInit reads a container's command. A leading "hermes" is dropped, a
// leading flag means hermes; then hermes's own commands, then programs.
func (e *env) planInit(words []string) (initPlan, error) {
	if len(words) > 0 && words[0] == "hermes" {
		words = words[1:]
	}
	if len(words) == 0 {
		return e.bootPlan(nil)
	}
	probe := newEnv(e.in, e.out, e.err)
	probe.settings, probe.settingsErr = e.settings, e.settingsErr
	root := newRootCmd(probe)
	cmd, rest, err := root.Find(words)
	switch {
	case err != nil, cmd == root && words[0][0] != '-':
		return e.programPlan(words)
	case cmd.CommandPath() == "hermes up":
		if err := cmd.ParseFlags(rest); err != nil {
			return initPlan{}, usage(cmd, "%s", err)
		}
		return e.upPlan(probe, cmd)
	case cmd.CommandPath() == "hermes gateway run":
		if err := cmd.ParseFlags(rest); err != nil {
			return initPlan{}, usage(cmd, "%s", err)
		}
		return e.runPlan(probe, cmd, words)
	case cmd.CommandPath() == "hermes dashboard":
		if err := cmd.ParseFlags(rest); err != nil {
			return initPlan{}, usage(cmd, "%s", err)
		}
		if restart, _ := cmd.Flags().GetBool("restart"); !restart {
			return e.dashboardPlan(probe, words)
		}
	}
	return initPlan{client: true, words: words}, nil
}

// bootPlan is init with a main program, or with none.
func (e *env) bootPlan(main []string) (initPlan, error) {
	at, err := e.place()
	if err != nil {
		return initPlan{}, err
	}
	return initPlan{request: superviseRequest{home: at.home, engine: engineFlags{
		manager: managerContainer, container: true, by: byCommand, main: main,
	}}}, nil
}

// upPlan is a container whose command is `up`, perhaps with profiles.
func (e *env) upPlan(probe *env, cmd *cobra.Command) (initPlan, error) {
	s, err := probe.upRequest(cmd.Flags().Args())
	if err != nil {
		return initPlan{}, err
	}
	s.engine.manager, s.engine.container, s.engine.by = managerContainer, true, byCommand
	s.engine.create, _ = cmd.Flags().GetBool("create")
	s.takeOver, _ = cmd.Flags().GetBool("take-over")
	return initPlan{request: s}, nil
}

// runPlan is a container whose command is `gateway run`.
func (e *env) runPlan(probe *env, cmd *cobra.Command, words []string) (initPlan, error) {
	at, err := probe.place()
	if err != nil {
		return initPlan{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return initPlan{}, fault.Wrap(fault.Internal, err, "cannot find the hermes binary")
	}
	noSupervise, _ := cmd.Flags().GetBool("no-supervise")
	foreground := noSupervise || e.settings.NoSupervise
	plan, err := e.bootPlan(append([]string{"hermes"}, words...))
	if err != nil {
		return initPlan{}, err
	}
	s := &plan.request
	s.home = at.home
	s.engine.mainPath = self
	s.engine.command, s.engine.foreground = string(at.profile), foreground
	s.zeroOnStop = !foreground
	return plan, nil
}

// dashboardPlan is a container whose command is `dashboard`: it runs the one
// there is, and no slot runs a second.
func (e *env) dashboardPlan(probe *env, words []string) (initPlan, error) {
	at, err := probe.place()
	if err != nil {
		return initPlan{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return initPlan{}, fault.Wrap(fault.Internal, err, "cannot find the hermes binary")
	}
	plan, err := e.bootPlan(append([]string{"hermes"}, words...))
	if err != nil {
		return initPlan{}, err
	}
	plan.request.home = at.home
	plan.request.engine.mainPath, plan.request.engine.ownDashboard = self, true
	return plan, nil
}

// programPlan is a container whose command is a program.
func (e *env) programPlan(words []string) (initPlan, error) {
	path, err := exec.LookPath(words[0])
	if err != nil {
		if errors.Is(err, exec.ErrDot) {
			err = fmt.Errorf("it is in the current directory, not on PATH")
		}
		return initPlan{}, fault.Wrap(fault.ProgramNotFound, err, "cannot run %q: no hermes command and no program on PATH", words[0]).
			WithHint("hermes --help lists the commands")
	}
	plan, err := e.bootPlan(words)
	plan.request.engine.mainPath = path
	return plan, err
}
