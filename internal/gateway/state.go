package gateway

import (
	"log/slog"
	"os"
	"time"

	"hermes/internal/store"
)

// The states of gateway_state.json; the words are the original's.
const (
	stateStarting      = "starting"
	stateRunning       = "running"
	stateDegraded      = "degraded"
	stateDraining      = "draining"
	stateStopped       = "stopped"
	stateStartupFailed = "startup_failed"
)

// stateFile is gateway_state.json: what the gateway says of itself. It has one
// writer, the holder of gateway.lock.
type stateFile struct {
	dir    *os.Root
	log    *slog.Logger
	record stateRecord
}

type stateRecord struct {
	identity
	GatewayState string  `json:"gateway_state"`
	DesiredState string  `json:"desired_state,omitempty"` // the original's command line wrote it: kept
	ExitReason   *string `json:"exit_reason"`
	Version      string  `json:"code_version"`
	UpdatedAt    string  `json:"updated_at"` // RFC 3339; liveness is the lock, never this
}

func newStateFile(p *store.Profile, dir *os.Root, id identity, version string, log *slog.Logger) *stateFile {
	s := &stateFile{dir: dir, log: log, record: stateRecord{identity: id, Version: version}}
	if before, state, _ := p.Legacy(); state == store.Valid {
		s.record.DesiredState = before.DesiredState
	}
	return s
}

// write replaces the file. That it could not be written is logged: it must not
// end a gateway that works.
func (s *stateFile) write(state, reason string) {
	s.record.GatewayState, s.record.ExitReason = state, nil
	if reason != "" {
		s.record.ExitReason = &reason
	}
	s.record.UpdatedAt = time.Now().UTC().Format(time.RFC3339Nano)
	data, err := encode(s.record)
	if err == nil {
		err = replaceFile(s.dir, stateName, data)
	}
	if err != nil {
		s.log.Warn("state not written", "file", stateName, "state", state, "error", err)
	}
}
