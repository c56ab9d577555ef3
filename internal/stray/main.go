package stray

import (
	"encoding/json"
	"fmt"
	"io"
)

// Command is the word on hermes's command line that leads to [Main].
const Command = "strays"

// Main is `hermes strays REQUEST`: it does the Sweep or the Find that its one
// argument, a [Request] in JSON, asks for, and writes each [Report] as a line. It
// returns the exit status.
func Main(args []string, stdout, stderr io.Writer) int {
	const usage = 2
	var r Request
	if len(args) != 1 {
		fmt.Fprintln(stderr, "✗ hermes strays is run by hermes itself, with a request")
		return usage
	}
	if err := json.Unmarshal([]byte(args[0]), &r); err != nil {
		fmt.Fprintf(stderr, "✗ cannot read the request: %v\n", err)
		return usage
	}
	out := json.NewEncoder(stdout)
	if len(r.Slots) > 0 {
		Find(r, func(line Report) { _ = out.Encode(line) })
		return 0
	}
	Sweep(r, func(line Report) { _ = out.Encode(line) }) // nobody reads: the strays are ended all the same
	return 0
}
