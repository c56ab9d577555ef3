// Command hermes runs, supervises and brings back a fleet of agent gateways.
package main

import (
	"os"
	_ "time/tzdata" // an image from scratch has no time zones

	"hermes/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
