package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// enginesFile in the runtime directory counts the engines that a keeper's fleet
// has had: "<stamp> <restarts>". Of what another keeper left there nothing
// counts.
const enginesFile = "engines"

// countEngine counts this engine and returns how many of the same keeper's there
// were before it. The number is right beside an error, too, which is about the
// next engine's.
func countEngine(runtime, stamp string) (restarts int, err error) {
	path := filepath.Join(runtime, enginesFile)
	content, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("cannot read how many engines there were: %w", err)
	}
	var whose string
	if n, _ := fmt.Sscanf(string(content), "%s %d", &whose, &restarts); n == 2 && whose == stamp && restarts >= 0 {
		restarts++
	} else {
		restarts = 0
	}
	// By rename: an engine may be killed at any moment, and half a number is one.
	next := path + ".new"
	if err = os.WriteFile(next, fmt.Appendf(nil, "%s %d\n", stamp, restarts), 0o600); err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return restarts, fmt.Errorf("cannot note how many engines there were: %w", err)
	}
	return restarts, nil
}
