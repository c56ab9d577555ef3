package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"hermes/api"
	"hermes/internal/census"
	"hermes/internal/config"
	"hermes/internal/holder"
	"hermes/internal/logfile"
	"hermes/internal/profile"
	"hermes/internal/store"
)

// Managers of a home without a supervisor.
const (
	managerNone       = "none"
	managerForeground = "docker (foreground)" // a container whose command is the gateway
)

// maxWhyExits and whyLines are how much history `why` tells.
const (
	maxWhyExits = 5
	whyLines    = 10
)

// aloneFleet is every gateway as the home's files and locks show it, where
// nothing supervises.
func (e *env) aloneFleet(at place) (api.Fleet, error) {
	home, err := store.OpenReadOnly(at.home)
	if err != nil {
		return api.Fleet{}, err
	}
	defer home.Close()
	scan, err := home.Scan()
	if err != nil {
		return api.Fleet{}, err
	}
	fleet := api.Fleet{Manager: managerNone, Home: home.Path(), Gateways: []api.Gateway{}}
	plan := ports(home, e.settings)
	for _, entry := range scan.Entries {
		p, err := home.Profile(entry.Name)
		if err != nil {
			fleet.Gateways = append(fleet.Gateways, e.unreadableGateway(entry.Name, err))
			continue
		}
		g := aloneGateway(p, plan[entry.Name])
		_ = p.Close()
		fleet.Gateways = append(fleet.Gateways, g)
		if g.State != string(profile.StateStopped) && inContainer("") {
			fleet.Manager = managerForeground
		}
	}
	return fleet, nil
}

// unreadableGateway is a row for a profile that cannot be looked at.
func (e *env) unreadableGateway(name profile.Name, err error) api.Gateway {
	msg, _, _ := e.explain(err)
	return api.Gateway{
		Profile: string(name), Slot: name.Slot(),
		State: string(profile.StateStopped), Health: string(profile.HealthUnknown), Reason: msg,
	}
}

// aloneGateway is one row. What a supervisor once observed is history: only
// the lock says what is.
func aloneGateway(p *store.Profile, port int) api.Gateway {
	g := api.Gateway{
		Profile: string(p.Name()), Slot: p.Name().Slot(), Port: port,
		State: string(profile.StateStopped), Health: string(profile.HealthUnknown),
	}
	switch intent, state, err := p.Intent(); {
	case err != nil:
		g.Reason = err.Error()
	case state == store.Valid:
		g.Intent, g.IntentBy, g.IntentAt = string(intent.Intent), intent.ChangedBy, &intent.ChangedAt
	}
	if seen, state, _ := p.Supervision(); state == store.Valid {
		g.Restarts = seen.Restarts
		if last, ok := seen.LastExit(); ok {
			exit := wireExit(last)
			g.LastExit = &exit
		}
		if g.Reason == "" && seen.State == profile.StateParked {
			g.Reason = seen.Reason
		}
	}
	switch h, err := holderOf(p); {
	case err == nil:
		g.State, g.PID, g.Reason = string(profile.StateRunning), h.PID, ""
		g.Health = ownHealth(p, h.PID)
	case errors.Is(err, holder.ErrHidden):
		g.State, g.Reason = string(profile.StateRunning), err.Error()
	case !errors.Is(err, holder.ErrFree) && g.Reason == "":
		g.Reason = err.Error()
	}
	return g
}

// ownHealth is what the gateway with that pid says of itself.
func ownHealth(p *store.Profile, pid int) string {
	said, state, _ := p.Legacy()
	if state != store.Valid || said.PID != pid {
		return string(profile.HealthUnknown)
	}
	switch said.GatewayState {
	case "running":
		return string(profile.HealthOK)
	case "degraded":
		return string(profile.HealthDegraded)
	case "draining":
		return string(profile.HealthDraining)
	case "starting":
		return string(profile.HealthUnready)
	}
	return string(profile.HealthUnknown)
}

func wireExit(x profile.Exit) api.Exit {
	w := api.Exit{Signal: x.Signal, At: x.At, Reason: x.Reason, Started: x.Started, Asked: x.Asked}
	if x.Signal == "" && x.Code >= 0 {
		w.Code = &x.Code
	}
	for _, s := range x.Strays {
		w.Strays = append(w.Strays, api.Stray(s))
	}
	w.MoreStrays = x.MoreStrays
	return w
}

// aloneWhy explains one gateway of a home without a supervisor.
func (e *env) aloneWhy(at place, name profile.Name) (api.Why, error) {
	home, err := store.OpenReadOnly(at.home)
	if err != nil {
		return api.Why{}, err
	}
	defer home.Close()
	p, err := home.Profile(name)
	if err != nil {
		return api.Why{}, err
	}
	defer p.Close()
	why := api.Why{Gateway: aloneGateway(p, ports(home, e.settings)[name]), Exits: []api.Exit{}, Log: []string{}}
	seen, _, _ := p.Supervision()
	for _, x := range slices.Backward(seen.Exits) {
		if len(why.Exits) < maxWhyExits {
			why.Exits = append(why.Exits, wireExit(x))
		}
	}
	if log, err := logfile.Tail(logDir(at.home, name), whyLines); err == nil {
		why.Log = append(why.Log, log...)
	}
	why.Next = "nothing supervises this home, so nothing starts it"
	why.Hint = e.startHint([]profile.Name{name})
	if why.Gateway.State != string(profile.StateStopped) {
		why.Next = "it runs by itself: nothing supervises this home, so nothing restarts it"
		why.Hint = ""
	}
	return why, nil
}

// startHint is how gateways are started where there is no supervisor: in a
// container that is up to whoever runs the container.
func (e *env) startHint(names []profile.Name) string {
	if inContainer("") {
		if len(names) == 1 && names[0] != profile.Default {
			return fmt.Sprintf("docker run … -p %s gateway run", names[0])
		}
		return "docker run … gateway run"
	}
	hint := e.base() + " up"
	for _, n := range names {
		hint += " " + string(n)
	}
	return hint
}

// ports is every profile's port; clashes are for whoever starts a gateway.
func ports(home *store.Home, settings config.Settings) map[profile.Name]int {
	assigned, _ := census.Ports(home, settings)
	return assigned
}

// logDir is where a gateway's output is kept.
func logDir(home string, name profile.Name) string {
	return filepath.Join(home, "logs", "gateways", string(name))
}

// dashboardLogDir is where the supervised dashboard's output is kept.
func dashboardLogDir(home string) string { return filepath.Join(home, "logs", profile.DashboardSlot) }
