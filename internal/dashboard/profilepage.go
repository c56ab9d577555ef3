package dashboard

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"hermes/api"
	"hermes/client"
	"hermes/internal/amount"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

const (
	askPatience   = 3 * time.Second // for what a profile's page asks the engine
	shownEvents   = 20
	firstLogLines = 200 // of the log, in the page itself
)

// profileData is the page of one profile.
type profileData struct {
	frame
	panelData
	Config      *api.Config
	ConfigError *problem
	Log         []string
	LogError    *problem
	// Renamable is not true of the default profile: it is the home itself.
	Renamable bool
}

// panelData is the part of the page that follows the gateway.
type panelData struct {
	Name   string
	Row    row
	Known  bool // the engine told all of the rest
	G      api.Gateway
	Facts  []fact
	Next   string
	Hint   string
	Exits  exitsPicture
	Memory memoryPicture
	Events []eventLine
}

// fact is a line of what is known of a gateway.
type fact struct {
	ID, Name, Value string
	At              int64 // in milliseconds, if it is a time: the page counts on
}

// eventLine is something that happened, for people.
type eventLine struct{ ID, At, Words, Cause string }

// profilePage shows one profile.
func (d *Dashboard) profilePage(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	d.hub.fresh(r.Context(), time.Time{})
	page := profileData{frame: d.frame(r, "profile", name), Renamable: name != string(profile.Default)}
	page.Profile = name
	ctx, cancel := context.WithTimeout(r.Context(), d.patience())
	defer cancel()
	c, err := d.o.Connect(d.by(r))
	var parts sync.WaitGroup
	if err == nil {
		parts.Go(func() { page.readConfig(ctx, c, name) })
		parts.Go(func() { page.readLog(ctx, c, name) })
	}
	page.panelData, err = d.panelOf(ctx, c, err, name)
	parts.Wait()
	if err != nil && !d.outage(err, name) {
		d.refuse(w, r, err)
		return
	}
	d.render(w, http.StatusOK, "profile.html", page)
}

// panel is the part of a profile's page that follows the gateway.
func (d *Dashboard) panel(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	ctx, cancel := context.WithTimeout(r.Context(), d.patience())
	defer cancel()
	c, err := d.o.Connect(d.by(r))
	p, err := d.panelOf(ctx, c, err, name)
	if err != nil { // the browser keeps what it has
		d.refuse(w, r, err)
		return
	}
	d.render(w, http.StatusOK, "panel", p)
}

// patience is how long a page waits for the engine: not long for one that is
// known to be away.
func (d *Dashboard) patience() time.Duration {
	if _, shown, _ := d.hub.now(); shown.Away != 0 {
		return freshPatience
	}
	return askPatience
}

// outage says that an error is about the engine and not about the profile, of
// which something is known from before.
func (d *Dashboard) outage(err error, name string) bool {
	switch fault.CodeOf(err) {
	case fault.GatewayNotRegistered, fault.InvalidName, fault.Usage:
		return false
	default:
		_, known := d.hub.one(name)
		return known
	}
}

// refuse answers with a page that says what is wrong.
func (d *Dashboard) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problem{frame: d.frame(r, "problem", "Not possible")}
	p.Message, p.Fix = words(err)
	p.Fix = d.address(p.Fix)
	d.render(w, fault.CodeOf(err).HTTPStatus(), "problem.html", p)
}

// panelOf asks the engine about one gateway. Beside an error it has what is
// known from before. c may be missing if there is an err already.
func (d *Dashboard) panelOf(ctx context.Context, c Control, err error, name string) (panelData, error) {
	p, now := panelData{Name: name}, time.Now()
	p.Row, _ = d.hub.one(name)
	p.Memory = drawMemory(d.hub.samples(name), now)
	if err != nil {
		return p, err
	}
	var (
		why    api.Why
		exits  []api.Exit
		events api.EventList
		wait   sync.WaitGroup
	)
	wait.Go(func() { exits, _ = c.Exits(ctx, name) }) // an older engine has none of these two
	wait.Go(func() { events, _ = c.ListEvents(ctx, client.EventQuery{Profile: name, Limit: shownEvents}) })
	why, err = c.Why(ctx, name)
	wait.Wait()
	if err != nil {
		return p, err
	}
	p.Known, p.G, p.Row = true, why.Gateway, rowOf(&why.Gateway)
	if exits == nil {
		exits = why.Exits
	}
	p.Facts = facts(&p.G, now)
	p.Next, p.Hint = why.Next, d.address(why.Hint)
	p.Exits = drawExits(exits, now)
	for i := len(events.Events) - 1; i >= 0; i-- {
		p.Events = append(p.Events, tellEvent(&events.Events[i]))
	}
	return p, nil
}

func (p *profileData) readConfig(ctx context.Context, c Reader, name string) {
	cfg, err := c.Config(ctx, name)
	if err != nil {
		p.ConfigError = new(problem)
		p.ConfigError.Message, p.ConfigError.Fix = words(err)
		return
	}
	p.Config = &cfg
}

func (p *profileData) readLog(ctx context.Context, c Teller, name string) {
	err := c.Log(ctx, name, client.LogQuery{Lines: firstLogLines}, func(line string) error {
		p.Log = append(p.Log, line)
		return nil
	})
	if err != nil {
		p.LogError = new(problem)
		p.LogError.Message, p.LogError.Fix = words(err)
	}
}

// facts are what is known of a gateway, beside its state.
func facts(g *api.Gateway, now time.Time) []fact {
	at := func(id, name string, t *time.Time) fact {
		f := fact{ID: id, Name: name, At: millis(t)}
		switch {
		case f.At == 0:
		case t.After(now):
			f.Value = utc(f.At) + " (" + until(now, f.At) + ")"
		default:
			f.Value = utc(f.At) + " (" + ago(now, f.At) + " ago)"
		}
		return f
	}
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	all := []fact{
		{ID: "intent", Name: "Wanted", Value: g.Intent},
		{ID: "intent-by", Name: "Wanted by", Value: g.IntentBy},
		at("intent-at", "Wanted since", g.IntentAt),
		at("since", "In this state since", g.Since),
		at("retry", "Next try", g.NextRetryAt),
		{ID: "restarts", Name: "Restarts", Value: strconv.Itoa(g.Restarts)},
		{ID: "pid", Name: "Process", Value: number(g.PID)},
		{ID: "port", Name: "Port", Value: number(g.Port)},
		{ID: "memory", Name: "Memory", Value: amount.Bytes(g.MemoryBytes)},
		{ID: "status", Name: "It says of itself", Value: g.Status},
		{ID: "log-lost", Name: "Output lost", Value: amount.Bytes(g.LogLost)},
		{ID: "log-error", Name: "Its log cannot be written", Value: failing(g)},
	}
	kept := all[:0]
	for _, f := range all {
		if f.Value != "" {
			kept = append(kept, f)
		}
	}
	return kept
}

func failing(g *api.Gateway) string {
	if !g.LogFailing {
		return ""
	}
	return g.LogError
}

// tellEvent puts an event into words.
func tellEvent(e *api.Event) eventLine {
	line := eventLine{ID: strconv.FormatUint(e.ID, 10), At: utc(e.At.UnixMilli()), Cause: e.Cause}
	change := e.To
	if e.From != "" {
		change = e.From + " → " + e.To
	}
	line.Words = e.Kind + ": " + change
	if e.By != "" {
		line.Words += " by " + e.By
	}
	return line
}
