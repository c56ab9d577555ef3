package access

import (
	"net/http"
	"net/netip"

	"hermes/internal/config"
)

// hosts are the names under which the dashboard may be asked for.
type hosts struct {
	names map[string]bool
	// literals says that any IP address will do: a page cannot be bound to one.
	// On loopback only loopback addresses do.
	literals bool
}

func newHosts(b Bind, allowed []string) hosts {
	h := hosts{names: map[string]bool{"localhost": true}, literals: !b.Loopback}
	for _, name := range append([]string{b.Host}, allowed...) {
		h.names[canonical(name)] = true
	}
	delete(h.names, "")
	return h
}

// check refuses a Host header that is not ours.
func (h hosts) check(header string) *refusal {
	host := config.HostOf(header)
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr = addr.Unmap(); h.literals || addr.IsLoopback() || h.names[addr.String()] {
			return nil
		}
	} else if h.names[host] {
		return nil
	}
	return &refusal{
		status: http.StatusMisdirectedRequest, code: "foreign_host",
		message: "the dashboard is not known as " + quote(host) + " here",
		hint:    "add the name to " + config.EnvDashboardAllowedHosts + " where the dashboard runs, and restart it",
	}
}

// canonical is one way to write an address.
func canonical(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().String()
	}
	return host
}
