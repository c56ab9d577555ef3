// Package fleettest is the conformance suite of fleets: what package server
// asks of one, whatever engine is underneath.
//
// # Usage
//
// [Run] takes how a fleet under test is made, a [Subject]. Beside what every
// fleet does it proves each row of package capability's table: what the engine
// gives works, and what it does not give is absent in the way the table says.
// A row without a proof fails.
//
// # Testing
//
// The suite runs over the supervisor with a runner that has no processes and
// with a real keeper here, and over s6 in package s6fleet.
package fleettest
