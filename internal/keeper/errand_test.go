package keeper_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/testkit"
)

// A keeper that is root without CAP_KILL is what Docker's --cap-drop makes.
func TestRootWithoutCapKillStopsWhatItDropped(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		testkit.Unavailable(t, "only root can drop CAP_KILL and run something as another uid")
	}
	f := start(t, enginetest.KeeperOptions{DropKill: true})
	spec := f.sh("a", 1, "sleep 1000 & echo $! >member; exec sleep 1000")
	spec.Credential = &engine.Credential{UID: 65534, GID: 65534}
	if err := os.Chmod(f.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(f.dir), 0o755); err != nil {
		t.Fatal(err)
	}
	a := f.spawn(spec)
	member, err := strconv.Atoi(strings.TrimSpace(f.file("member")))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Runner.Signal(f.ctx, "a", 1, unix.SIGTERM, false); err != nil {
		t.Fatalf("Signal: %v", err)
	}
	if e := f.exits("a"); e.Signal != unix.SIGTERM {
		t.Errorf("a ended with %+v", e)
	}
	enginetest.Until(t, "the member of its group is gone", func() bool { return !alive(a.PID) && !alive(member) })
	enginetest.Until(t, "only the engine is left", func() bool { return len(enginetest.Processes(t, f.PID)) == 1 })
	if runs := f.runs(); len(runs) != 1 {
		t.Errorf("List shows %v, want a's exit alone", runs)
	}
}
