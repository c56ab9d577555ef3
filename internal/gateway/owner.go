package gateway

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"hermes/internal/profile"
)

// ownerTimeout bounds the question who has our port.
const ownerTimeout = time.Second

// owner says who answers on the port we wanted, as far as it tells: a gateway
// names its profile.
func owner(ctx context.Context, s settings) string {
	const unknown = "another program listens on it"
	ctx, cancel := context.WithTimeout(ctx, ownerTimeout)
	defer cancel()
	host := s.host
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = defaultHost
	}
	url := "http://" + net.JoinHostPort(host, strconv.Itoa(s.port)) + healthPath
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return unknown
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return unknown
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	var said healthAnswer
	if err != nil || json.Unmarshal(data, &said) != nil {
		return unknown
	}
	name, err := profile.Parse(said.Profile)
	switch {
	case err != nil:
		return unknown
	case name == s.profile:
		return "a gateway of profile '" + string(name) + "' of another home has it"
	}
	return "the gateway of profile '" + string(name) + "' has it"
}
