package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hermes/api"
	"hermes/client"
	"hermes/internal/event"
	"hermes/internal/fault"
	"hermes/internal/store"
)

const (
	maxEvents = 10_000 // that the control API lists at once
	// supervisorPoll is how often one who follows looks for a supervisor where
	// there is none.
	supervisorPoll = 500 * time.Millisecond
	// eventTime is RFC 3339 in UTC with milliseconds, always as long.
	eventTime = "2006-01-02T15:04:05.000Z"
)

// eventFlags is what `events` is asked with.
type eventFlags struct {
	follow, asJSON bool
	n              int
	after          uint64
	since          bool // after was said
}

func newEventsCmd(e *env) *cobra.Command {
	var f eventFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show what happened to the gateways, and why",
		Long: "Show every change of a gateway's intent, state and health with its cause, the profiles that came and went,\n" +
			"and the engine's starts and ends, oldest first; with -p those of one profile. Times are UTC.\n\n" +
			"With --json each event is one line; its \"id\" is what --after goes on from, across all restarts.",
		Args: takes(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.since = cmd.Flags().Changed("after")
			switch {
			case f.n < 0 || f.n > maxEvents:
				return usage(cmd, "-n %d is not between 0 and %d; --after 0 shows all that are kept", f.n, maxEvents)
			case f.since && cmd.Flags().Changed("lines"):
				return usage(cmd, "say -n or --after, not both")
			}
			at, err := e.place()
			if err != nil {
				return err
			}
			p := eventPrinter{env: e, flags: f, home: at.home}
			if at.chosen {
				p.profile = string(at.profile)
			}
			return p.print(cmd.Context())
		},
	}
	cmd.Flags().BoolVarP(&f.follow, "follow", "f", false, "go on until interrupted, through restarts of the supervisor")
	cmd.Flags().IntVarP(&f.n, "lines", "n", defaultLines, "how many of the newest")
	cmd.Flags().Uint64Var(&f.after, "after", 0, "instead, all after the event with this id")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print a line of JSON per event")
	return cmd
}

// eventPrinter prints the events of a home, each once.
type eventPrinter struct {
	*env
	flags   eventFlags
	home    string
	profile string // "" for all
	last    uint64 // id of the last event seen
}

func (p *eventPrinter) print(ctx context.Context) error {
	c, err := p.find(p.home)
	switch {
	case err == nil:
		err = p.past(ctx, c)
	case client.IsNoSupervisor(err):
		c, err = nil, p.kept(p.query())
	}
	if err != nil || !p.flags.follow {
		return err
	}
	return p.follow(ctx, c)
}

// query is what is asked of the past.
func (p *eventPrinter) query() event.Query {
	if p.flags.since {
		return event.Query{After: p.flags.after, Profile: p.profile}
	}
	return event.Query{Newest: true, Limit: max(p.flags.n, 1), Profile: p.profile}
}

// past prints what the supervisor says of the past.
func (p *eventPrinter) past(ctx context.Context, c *client.Client) error {
	q := client.EventQuery{Profile: p.profile, Limit: max(p.flags.n, 1)}
	if p.flags.since {
		q.After, q.Limit = &p.flags.after, maxEvents
	}
	for {
		list, err := c.ListEvents(ctx, q)
		if err != nil {
			return err
		}
		if err := p.list(list); err != nil || !p.flags.since || !list.More {
			return err
		}
		q.After = &list.Last
	}
}

// kept prints what the files say, without a supervisor.
func (p *eventPrinter) kept(q event.Query) error {
	home, err := store.OpenReadOnly(p.home)
	if err != nil {
		return err
	}
	_ = home.Close()
	list, err := event.ReadHome(p.home, q)
	if err != nil {
		return fault.Wrap(fault.Unreadable, err, "cannot read the events of %s", p.home).
			WithHint("run it as root, or as the owner of %s", p.home)
	}
	return p.list(list)
}

func (p *eventPrinter) list(list api.EventList) error {
	if list.Gone && p.flags.since && p.flags.after > 0 {
		p.note("! events after %d are not kept any more: these are the oldest there are\n", p.flags.after)
	}
	if p.last == 0 && p.flags.n == 0 && !p.flags.since { // only to know where to go on
		list.Events = nil
	}
	p.last = max(p.last, list.Last)
	for i := range list.Events {
		if err := p.event(&list.Events[i]); err != nil {
			return err
		}
	}
	return nil
}

// follow prints what happens, from one supervisor to the next: where there is
// none it says so once, and waits. c is nil if there is none now.
func (p *eventPrinter) follow(ctx context.Context, c *client.Client) error {
	waiting := false
	for {
		var err error
		if c == nil {
			c, err = p.find(p.home)
		}
		if err == nil {
			waiting = false
			err = p.stream(ctx, c)
		}
		if !client.IsNoSupervisor(err) {
			return err
		}
		c = nil
		// The last of what the supervisor did it may have written only.
		if err := p.kept(event.Query{After: p.last, Profile: p.profile}); err != nil {
			return err
		}
		if !waiting {
			p.note("! no supervisor here: waiting for the next one\n")
			waiting = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(supervisorPoll):
		}
	}
}

// stream prints what one supervisor's engines tell.
func (p *eventPrinter) stream(ctx context.Context, c *client.Client) error {
	for e, err := range c.Events(ctx, p.last, p.profile) {
		if err != nil {
			return err
		}
		if err := p.event(&e); err != nil {
			return err
		}
		p.last = max(p.last, e.ID)
	}
	return nil
}

// event prints one event, as a line.
func (p *eventPrinter) event(e *api.Event) error {
	if p.flags.asJSON {
		p.printf("%s\n", event.Append(nil, e))
		return p.out.err
	}
	who := e.Profile
	if who == "" {
		who = cmp.Or(e.Slot, e.Kind)
	}
	line := fmt.Sprintf("%s  %s: %s", e.At.UTC().Format(eventTime), who, eventWords(e))
	if e.Cause != "" {
		line += ": " + e.Cause
	}
	p.printf("%s\n", oneLine(line))
	return p.out.err
}

// eventWords says what happened.
func eventWords(e *api.Event) string {
	change := e.From + " → " + e.To
	if e.From == "" {
		change = e.To
	}
	switch e.Kind {
	case api.EventState:
		if e.PID != 0 && e.Exit == nil {
			return fmt.Sprintf("%s (health %s, pid %d)", change, e.Health, e.PID)
		}
		return fmt.Sprintf("%s (health %s)", change, e.Health)
	case api.EventIntent:
		return strings.TrimSuffix("intent "+change+" by "+e.By, " by ")
	case api.EventHealth:
		return "health " + change
	case api.EventEngine:
		return fmt.Sprintf("%s (pid %d)", e.To, e.PID)
	case api.EventSlot:
		return "slot " + e.To
	case api.EventDropped:
		return "events " + e.From + " to " + e.To + " are missing"
	default: // a newer supervisor's
		return e.Kind + " " + change
	}
}
