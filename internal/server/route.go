package server

import (
	"net/http"

	"hermes/api"
	"hermes/internal/fault"
)

// access is what a route lets a peer do. A control route changes something: it
// is logged with its peer, and answers "100 Continue" at once, so that a client
// can tell a long wait from a dead engine.
type access string

const (
	read    access = "read"
	control access = "control"
)

// handler serves a route: it writes an answer or returns an error, not both.
type handler func(*Server, *writer, *http.Request) error

// route is one row of the API.
type route struct {
	method, pattern string
	access          access
	handle          handler
	command         string // of the CLI, that asks the same
	does            string
	body, answer    any // zero values of the wire types, nil for none
	stream          bool
	codes           []fault.Code // beside those every route has
}

// routes is the API. Rows are added, never changed: older clients ask too.
func routes() []route {
	named := []fault.Code{fault.InvalidName, fault.GatewayNotRegistered}
	act := append([]fault.Code{
		fault.GatewayFailed, fault.GatewayTimeout, fault.GatewayHeld,
		fault.PortTaken, fault.Unreadable, fault.InvalidConfig,
	}, named...)
	return []route{
		{
			method: "GET", pattern: "/v1/health/live", access: read, handle: (*Server).live,
			command: "hermes health --live", does: "Whether the supervisor works. Status 503 with the same body when not.",
			answer: api.Health{},
		},
		{
			method: "GET", pattern: "/v1/health/ready", access: read, handle: (*Server).ready,
			command: "hermes health --ready", does: "Whether every gateway that is to run does. Status 503 with the same body when not.",
			answer: api.Health{},
		},
		{
			method: "GET", pattern: "/v1/fleet", access: read, handle: (*Server).fleet,
			command: "hermes gateway list", does: "The state of every gateway.", answer: api.Fleet{},
		},
		{
			method: "POST", pattern: "/v1/fleet/stop", access: control, handle: all("stop"),
			command: "hermes gateway stop --all", does: "Stop every gateway whose intent is running, and want them stopped.",
			body: api.ActionRequest{}, answer: api.ActionResult{}, stream: true,
		},
		{
			method: "POST", pattern: "/v1/fleet/restart", access: control, handle: all("restart"),
			command: "hermes gateway restart --all", does: "Restart every gateway whose intent is running.",
			body: api.ActionRequest{}, answer: api.ActionResult{}, stream: true,
		},
		{
			method: "POST", pattern: "/v1/fleet/start", access: control, handle: refuseStartAll,
			command: "hermes gateway start NAME", does: "Refused with `usage`, always: it would start gateways that were stopped on purpose.",
		},
		{
			method: "GET", pattern: "/v1/gateways/{profile}", access: read, handle: (*Server).gateway,
			command: "hermes -p {profile} gateway status", does: "The state of one gateway.", answer: api.Gateway{}, codes: named,
		},
		{
			method: "GET", pattern: "/v1/gateways/{profile}/why", access: read, handle: (*Server).why,
			command: "hermes why {profile}", does: "Why a gateway is in its state: last exits, last log lines, what comes next.",
			answer: api.Why{}, codes: named,
		},
		{
			method: "POST", pattern: "/v1/gateways/{profile}/start", access: control, handle: one(Operator.Start),
			command: "hermes gateway start {profile}", does: "Want a gateway running; answers when it is ready or failed.",
			body: api.ActionRequest{}, answer: api.ActionResult{}, codes: act,
		},
		{
			method: "POST", pattern: "/v1/gateways/{profile}/stop", access: control, handle: one(Operator.Stop),
			command: "hermes gateway stop {profile}", does: "Want a gateway stopped; answers when it is down.",
			body: api.ActionRequest{}, answer: api.ActionResult{}, codes: append([]fault.Code{fault.GatewayTimeout}, named...),
		},
		{
			method: "POST", pattern: "/v1/gateways/{profile}/restart", access: control, handle: one(Operator.Restart),
			command: "hermes gateway restart {profile}", does: "Want a new run of a gateway; one that is stopped is started.",
			body: api.ActionRequest{}, answer: api.ActionResult{}, codes: act,
		},
		{
			method: "GET", pattern: "/v1/profiles", access: read, handle: (*Server).listProfiles,
			command: "hermes profile list", does: "The profiles of the home.", answer: api.ProfileList{},
		},
		{
			method: "POST", pattern: "/v1/profiles", access: control, handle: (*Server).createProfile,
			command: "hermes profile create NAME", does: "Make a profile and register its slot, down.",
			body: api.CreateRequest{}, answer: api.Profile{}, codes: []fault.Code{fault.InvalidName, fault.ProfileExists},
		},
		{
			method: "DELETE", pattern: "/v1/profiles/{name}", access: control, handle: (*Server).deleteProfile,
			command: "hermes profile delete {name}", does: "Stop a profile's gateway, then remove its slot and its directory.",
			body: api.DeleteRequest{}, answer: struct{}{}, codes: named,
		},
		{
			method: "POST", pattern: "/v1/profiles/{name}/rename", access: control, handle: (*Server).renameProfile,
			command: "hermes profile rename {name} NEW", does: "Give a profile a new name; intent and port stay.",
			body: api.RenameRequest{}, answer: api.Profile{}, codes: append([]fault.Code{fault.ProfileExists}, named...),
		},
		{
			method: "GET", pattern: "/v1/plan", access: read, handle: (*Server).plan,
			command: "hermes boot --dry-run", does: "What a boot would do now.", answer: api.Plan{},
		},
	}
}

// everyRoute lists the codes any route may answer with.
func everyRoute() []fault.Code {
	return []fault.Code{fault.Usage, fault.SupervisorDenied, fault.Shutdown, fault.Internal}
}
