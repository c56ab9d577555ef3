// Package config turns what people write into checked values: the process
// environment ([FromEnviron]), a profile's config.yaml ([ParseFile]) and its
// .env ([ParseDotenv]).
//
// # Usage
//
// The environment is read once, at the start of a process, and handed on as
// [Settings]; nothing else asks for a variable. The two parsers take bytes:
// the caller opens files, because a profile's directory may be hostile.
//
// # Failure
//
// Every parser reports every mistake it finds, in one [fault.Error] of code
// invalid_config whose message has one line per mistake, each naming the
// variable or the path and line. No value of a .env is ever part of an error.
package config
