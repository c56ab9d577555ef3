package cli

import (
	"bufio"
	"context"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"hermes/client"
	"hermes/internal/fault"
	"hermes/internal/holder"
	"hermes/internal/profile"
	"hermes/internal/store"
)

func newProfileDeleteCmd(e *env) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Stop a profile's gateway and delete the profile with all its files",
		Long: "Stop a profile's gateway and delete the profile with all its files. There is no way back: it asks\n" +
			"for the name first, and where it cannot ask (no terminal) it needs -y.",
		Args: takes(1, 1, "the name of the profile"),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := e.place()
			if err != nil {
				return err
			}
			name, err := profile.Parse(args[0])
			if err != nil {
				return err
			}
			if !yes && !isTerminal(e.in) {
				return fault.New(fault.Usage, "cannot ask whether to delete profile '%s': stdin is no terminal", name).
					WithHint("%s profile delete %s -y", e.base(), name)
			}
			return e.deleteProfile(cmd.Context(), at, name, yes)
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func (e *env) deleteProfile(ctx context.Context, at place, name profile.Name, yes bool) error {
	c, err := e.supervisorOf(at)
	if err != nil {
		return err
	}
	if c != nil {
		return e.deleteSupervised(ctx, c, name, yes)
	}
	home, err := store.Open(at.home)
	if err != nil {
		return err
	}
	defer home.Close()
	if err := e.checkIdle(home, name, "delete"); err != nil {
		return err
	}
	if !yes {
		if err := e.confirm(ctx, name); err != nil {
			return err
		}
		// Asking takes time: somebody may have started it meanwhile.
		if err := e.checkIdle(home, name, "delete"); err != nil {
			return err
		}
	}
	if err := home.DeleteProfile(name); err != nil {
		return err
	}
	e.printf("✓ deleted profile '%s'\n", name)
	return nil
}

func (e *env) deleteSupervised(ctx context.Context, c *client.Client, name profile.Name, yes bool) error {
	if !yes {
		if _, err := c.Gateway(ctx, string(name)); err != nil {
			return err
		}
		if err := e.confirm(ctx, name); err != nil {
			return err
		}
	}
	if err := c.DeleteProfile(ctx, string(name)); err != nil {
		return err
	}
	e.printf("✓ deleted profile '%s'\n", name)
	return nil
}

// confirm asks for the profile's name on the terminal.
func (e *env) confirm(ctx context.Context, name profile.Name) error {
	e.note("This deletes profile '%s' with its persona, settings, secrets and history.\nType its name to go on: ", name)
	answer := make(chan string, 1)
	go func() { // ends with the process if nobody answers: a read of a terminal cannot be called off
		line, _ := bufio.NewReader(e.in).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		e.note("\n")
		return ctx.Err()
	case got := <-answer:
		if got != string(name) {
			return fault.New(fault.Usage, "profile '%s' was not deleted: its name was not typed", name)
		}
		return nil
	}
}

// checkIdle refuses to take the directory away from under a gateway that runs
// by itself.
func (e *env) checkIdle(home *store.Home, name profile.Name, verb string) error {
	p, err := home.Profile(name)
	if err != nil {
		return err
	}
	defer p.Close()
	switch h, err := holderOf(p); {
	case errors.Is(err, holder.ErrFree):
		return nil
	case errors.Is(err, holder.ErrHidden):
		return fault.New(fault.GatewayHeld, "cannot %s profile '%s': its gateway runs, out of sight", verb, name).
			WithHint("%s", hiddenHint(p))
	case err != nil:
		return fault.Wrap(fault.Unreadable, err, "cannot %s profile '%s'", verb, name)
	default:
		return fault.New(fault.GatewayHeld, "cannot %s profile '%s': its gateway runs, pid %d", verb, name, h.PID).
			WithHint("%s gateway stop %s", e.base(), name)
	}
}

// isTerminal asks the kernel without changing the descriptor's mode, as
// File.Fd would.
func isTerminal(f *os.File) bool {
	if f == nil {
		return false
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	terminal := false
	err = raw.Control(func(fd uintptr) {
		_, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		terminal = err == nil
	})
	return err == nil && terminal
}
