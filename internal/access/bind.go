package access

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"hermes/internal/config"
	"hermes/internal/fault"
)

// Bind is what a server listens on.
type Bind struct {
	Host string     // as it was said; "" is every address
	Addr netip.Addr // one address of Host; the zero value is every address
	Port int
	// Loopback says that only this machine reaches it: every address of Host
	// is a loopback address.
	Loopback bool
}

// lookupTimeout bounds the look-up of a host's name.
const lookupTimeout = 5 * time.Second

// Resolve finds out what listening on host means. The address is looked up
// once: one that is found to be loopback is the one that is listened on. The
// error is an invalid_config fault.
func Resolve(ctx context.Context, host string, port int) (Bind, error) {
	b := Bind{Host: config.HostOf(host), Port: port}
	if addr, err := netip.ParseAddr(trimBrackets(host)); err == nil {
		b.Host = addr.String()
		return b.on([]netip.Addr{addr}), nil
	}
	if host == "" {
		return b, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(all) == 0 {
		f := fault.New(fault.InvalidConfig, "cannot listen on host %q: no address of it is known", host)
		f.Err = err
		return Bind{}, f
	}
	return b.on(all), nil
}

// on is b with the addresses of its host. IPv4 is preferred, as net.Listen does.
func (b Bind) on(all []netip.Addr) Bind {
	b.Loopback = !slices.ContainsFunc(all, func(a netip.Addr) bool { return !a.Unmap().IsLoopback() })
	b.Addr = all[0].Unmap()
	if i := slices.IndexFunc(all, func(a netip.Addr) bool { return a.Unmap().Is4() }); i >= 0 {
		b.Addr = all[i].Unmap()
	}
	return b
}

// Address is what net.Listen takes: an address, never a name.
func (b Bind) Address() string {
	host := ""
	if b.Addr.IsValid() {
		host = b.Addr.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(b.Port))
}

// URL is where a browser on this machine finds it.
func (b Bind) URL() string {
	host := "127.0.0.1"
	if b.Addr.IsValid() && !b.Addr.IsUnspecified() {
		host = b.Addr.String()
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(b.Port))
}

func trimBrackets(host string) string {
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		return host[1 : n-1]
	}
	return host
}
