// Package gateway is the built-in gateway: it serves one profile as an
// OpenAI-compatible API, with SOUL.md as the system prompt, over the model
// provider that config.yaml names.
//
// # Usage
//
// [Run] serves until its context ends. It answers GET /health, GET /v1/models
// and POST /v1/chat/completions, as JSON and as server-sent events. Requests
// go to `model.base_url` as the client wrote them, but for the model's name
// and for SOUL.md, which becomes the first message; answers come back as the
// provider wrote them. `model.provider: echo` answers with the question and
// needs no key. Without a provider the gateway runs with health `degraded`,
// and every chat is answered with what is to be done about it.
//
// Of supervision it knows the notify socket alone, and of other gateways of
// the profile gateway.lock, which it holds for life.
//
// # Concurrency
//
// Requests run in parallel. A client that goes away takes its request to the
// provider with it. When Run's context ends, requests under way are finished
// within the profile's grace, new ones are refused.
//
// # Failure
//
// Run fails with a [fault.Error]; invalid_config says that trying again is no
// use. Handlers return errors and one function renders them in OpenAI's
// envelope, or, after a stream has begun, as the last event of it. A state
// file that cannot be written is reported and costs nobody an answer. No key
// is ever part of a message, a log line or a file.
//
// # Testing
//
// The tests talk HTTP to real listeners, with providers that cut, drip, hang
// and babble. test/compat has OpenAI's own client talk to the built binary.
package gateway
