package cli

import (
	"context"
	"os/exec"

	"golang.org/x/sys/unix"
)

// idle keeps a container's command alive while the supervisor does the work:
// as `sleep infinity`, which costs no memory, else in this process. It returns,
// with success, once the process is told to end.
func (e *env) idle(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // told to end is how this ends
	}
	if path, err := exec.LookPath("sleep"); err == nil {
		failed := unix.Exec(path, []string{"sleep", "infinity"}, e.environ)
		e.note("cannot execute %s (%v): waiting in this process\n", path, failed)
	}
	<-ctx.Done()
	return nil
}
