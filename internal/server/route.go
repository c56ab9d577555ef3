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
	query           string       // names of parameters in the address, "" for none
	body, answer    any          // zero values of the wire types, nil for none
	stream          string       // an answer comes per this, "" when there is one
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
			command: "hermes gateway list", does: "The state of every gateway. The header `" + api.DownHeader + "` says how many are meant to run and do not.", answer: api.Fleet{},
		},
		{
			method: "POST", pattern: "/v1/fleet/stop", access: control, handle: all("stop"),
			command: "hermes gateway stop --all", does: "Stop every gateway whose intent is running, and want them stopped.",
			body: api.ActionRequest{}, answer: api.ActionResult{}, stream: "gateway",
		},
		{
			method: "POST", pattern: "/v1/fleet/restart", access: control, handle: all("restart"),
			command: "hermes gateway restart --all", does: "Restart every gateway whose intent is running.",
			body: api.ActionRequest{}, answer: api.ActionResult{}, stream: "gateway",
		},
		{
			method: "POST", pattern: "/v1/fleet/start", access: control, handle: refuseStartAll,
			command: "hermes gateway start NAME", does: "Refused with `usage`, always: it would start gateways that were stopped on purpose.",
		},
		{
			method: "POST", pattern: "/v1/dashboard/restart", access: control, handle: (*Server).restartDashboard,
			command: "hermes dashboard --restart", does: "Want a new run of the dashboard, which starts one that is parked; answers when it is ready or failed.",
			body: api.ActionRequest{}, answer: api.Dashboard{}, codes: []fault.Code{fault.DashboardOff, fault.GatewayFailed, fault.GatewayTimeout},
		},
		{
			method: "GET", pattern: "/v1/gateways/{profile}", access: read, handle: about(fleetOf, Fleet.Gateway),
			command: "hermes -p {profile} gateway status", does: "The state of one gateway.", answer: api.Gateway{}, codes: named,
		},
		{
			method: "GET", pattern: "/v1/gateways/{profile}/why", access: read, handle: about(fleetOf, Fleet.Why),
			command: "hermes why {profile}", does: "Why a gateway is in its state: last exits, last log lines, what comes next.",
			answer: api.Why{}, codes: named,
		},
		{
			method: "GET", pattern: "/v1/gateways/{profile}/exits", access: read, handle: about(inspectorOf, Inspector.Exits),
			command: "hermes why {profile}", does: "How the last runs of a gateway ended.", answer: api.ExitList{}, codes: named,
		},
		{
			method: "GET", pattern: "/v1/gateways/{profile}/logs", access: read, handle: (*Server).logs,
			command: "hermes gateway logs {profile}", does: logsDo, query: "n, follow",
			answer: api.LogLine{}, stream: "line", codes: append([]fault.Code{fault.Unreadable}, named...),
		},
		{
			method: "GET", pattern: "/v1/gateways/{profile}/config", access: read, handle: about(inspectorOf, Inspector.Config),
			command: "hermes profile show {profile}", does: "With what a gateway would be run if it were started now, and where each setting comes from. Values that may be secrets are left out.",
			answer: api.Config{}, codes: append([]fault.Code{fault.InvalidConfig, fault.Unreadable}, named...),
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
			method: "GET", pattern: "/v1/events", access: read, handle: (*Server).events,
			command: "hermes events", does: eventsDo, query: "after, profile, limit, follow",
			answer: api.EventList{}, codes: []fault.Code{fault.InvalidName, fault.EngineLacks},
		},
		{
			method: "GET", pattern: "/v1/plan", access: read, handle: (*Server).plan,
			command: "hermes boot --dry-run", does: "What a boot would do now.", answer: api.Plan{},
		},
	}
}

const logsDo = "The last `n` lines (50, at most 10,000) that a gateway wrote to stdout and stderr; with `follow=1` the answer goes on with each line as it comes, " +
	"over all rotations. While there is none, a line without anything comes every 15 s. The stream ends when the engine leaves."

const eventsDo = "What happened, oldest first: the newest `limit` events (100, at most 10,000), or with `after=ID` the first ones after that id; " +
	"with `profile=NAME` those of one profile or slot.\n\n" +
	"With `follow=1` the answer is `text/event-stream` and goes on: everything after `after`, or after the header `Last-Event-ID`, without either " +
	"from now on. Each event has its `id`, its kind as `event`, and as `data` an [Event](#event) in one line. Who reads too slowly for what is kept gets one of " +
	"the kind `dropped` in place of what is missing, and goes on after it. A comment comes every 15 s when nothing else does. The stream ends when the engine " +
	"leaves: ask again with the last id."

// everyRoute lists the codes any route may answer with.
func everyRoute() []fault.Code {
	return []fault.Code{fault.Usage, fault.SupervisorDenied, fault.Shutdown, fault.Internal}
}
