package native_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"hermes/internal/engine"
	"hermes/internal/engine/enginetest"
	"hermes/internal/engine/native"
)

func TestMain(m *testing.M) {
	enginetest.Roles()
	goleak.VerifyTestMain(m)
}

// dial is the engine of k until the test ends.
func dial(t *testing.T, k *enginetest.Keeper) (*native.Runner, *enginetest.Engine) {
	t.Helper()
	e := k.Connect(t)
	r, err := native.Dial(e.FD)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, e
}

func TestConforms(t *testing.T) {
	enginetest.Run(t, func(t *testing.T) engine.Runner {
		r, _ := dial(t, enginetest.StartKeeper(t, enginetest.KeeperOptions{}))
		return r
	})
}

func TestKeeperInfo(t *testing.T) {
	k := enginetest.StartKeeper(t, enginetest.KeeperOptions{})
	r, _ := dial(t, k)
	info := r.Keeper()
	if info.PID != k.PID || info.Runtime != k.Runtime || info.Version != 1 || info.Stamp == "" {
		t.Errorf("the keeper is %+v, want pid %d, runtime %s", info, k.PID, k.Runtime)
	}
	stamp, err := os.ReadFile(k.Runtime + "/stamp")
	if err != nil || string(stamp) != info.Stamp+"\n" {
		t.Errorf("the runtime's stamp is %q (%v), the keeper's %q", stamp, err, info.Stamp)
	}
}
