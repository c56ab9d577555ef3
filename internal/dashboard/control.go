package dashboard

import (
	"context"
	"iter"

	"hermes/api"
	"hermes/client"
)

// Control is the control API as the dashboard uses it. *client.Client is one.
type Control interface {
	Reader
	Teller
	Operator
	Profiles
}

// Reader tells what is.
type Reader interface {
	Fleet(ctx context.Context) (api.Fleet, error)
	Why(ctx context.Context, name string) (api.Why, error)
	Exits(ctx context.Context, name string) ([]api.Exit, error)
	Config(ctx context.Context, name string) (api.Config, error)
}

// Teller tells what happened and what happens.
type Teller interface {
	ListEvents(ctx context.Context, q client.EventQuery) (api.EventList, error)
	Events(ctx context.Context, after uint64, profile string) iter.Seq2[api.Event, error]
	Log(ctx context.Context, name string, q client.LogQuery, each func(line string) error) error
}

// Operator changes what is wanted of a gateway and waits for the outcome.
type Operator interface {
	Start(ctx context.Context, name string, r api.ActionRequest) (api.ActionResult, error)
	Stop(ctx context.Context, name string, r api.ActionRequest) (api.ActionResult, error)
	Restart(ctx context.Context, name string, r api.ActionRequest) (api.ActionResult, error)
}

// Profiles makes and unmakes profiles.
type Profiles interface {
	CreateProfile(ctx context.Context, name string) (api.Profile, error)
	RenameProfile(ctx context.Context, from, to string) (api.Profile, error)
	DeleteProfile(ctx context.Context, name string) error
}

var _ Control = (*client.Client)(nil)
