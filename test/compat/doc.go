// Package compat has the official OpenAI client for Go talk to the built
// binary: what it understands, others do, too. It is a module of its own so
// that hermes does not depend on that client.
package compat
