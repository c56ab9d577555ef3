// Package cli is hermes's command line: it reads arguments, asks the
// supervisor through package client (or the home's files where there is no
// supervisor), and renders what comes back.
//
// Results go to stdout, everything else to stderr. An error is rendered in one
// place, as "✗ message" and, when there is something to type, "hint: …"; the
// exit status is that of its code. Every read has --json, whose output is a
// type of package api. No secret is ever printed.
//
// The command tree is built by constructors that take an env; there is no
// state outside it.
package cli
