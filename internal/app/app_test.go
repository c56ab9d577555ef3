package app

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"hermes/internal/engine"
	"hermes/internal/fault"
)

// The engine is the one who tells that its keeper was killed.
func TestKeeperGone(t *testing.T) {
	f, ok := errors.AsType[*fault.Error](keeperGone(fmt.Errorf("cannot look: %w", engine.ErrGone)))
	if !ok || f.Hint != "hermes up" || !strings.HasPrefix(f.Msg, "the keeper is gone") {
		t.Errorf("got %+v", f)
	}
	other := errors.New("other")
	if err := keeperGone(other); !errors.Is(err, other) {
		t.Errorf("another error became %v", err)
	}
	if err := keeperGone(nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}
