package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"hermes/internal/fault"
	"hermes/internal/profile"
)

// State files of a profile.
const (
	intentFile      = "gateway_intent.json"
	supervisionFile = "supervision.json"
	legacyFile      = "gateway_state.json"
)

// maxStateSize is the largest state file that is read or written, in bytes:
// some ten times what fifty exits with their reasons take.
const maxStateSize = 64 << 10

// maxReason bounds a sentence in a state file, in bytes.
const maxReason = 1 << 10

// FileState says what a state file turned out to be.
type FileState uint8

// The states. Only Valid comes with content.
const (
	Absent FileState = iota
	Valid
	// Corrupt: there, but nothing hermes can have written. Unless the home is
	// read-only it has been set aside; the error says where.
	Corrupt
	// Unreadable: there, but not readable now, or written by a newer hermes.
	// It has not been touched.
	Unreadable
)

func (s FileState) String() string {
	switch s {
	case Absent:
		return "absent"
	case Valid:
		return "valid"
	case Corrupt:
		return "corrupt"
	case Unreadable:
	}
	return "unreadable"
}

// Intent reads gateway_intent.json. The error explains Corrupt and Unreadable
// and is nil otherwise.
func (p *Profile) Intent() (profile.IntentRecord, FileState, error) {
	return load(p, intentFile, parseIntent)
}

// intentMode: an intent is no secret.
const intentMode = 0o644

// WriteIntent replaces gateway_intent.json; it is on disk when nil is returned.
func (p *Profile) WriteIntent(r profile.IntentRecord) error {
	data, err := p.encodeIntent(r)
	if err != nil {
		return err
	}
	return p.save(intentFile, data, intentMode, true)
}

// Supervision reads supervision.json. The error explains Corrupt and
// Unreadable and is nil otherwise.
func (p *Profile) Supervision() (profile.Supervision, FileState, error) {
	return load(p, supervisionFile, parseSupervision)
}

// WriteSupervision replaces supervision.json in one step, without waiting for
// the disk. Sentences are cut to 1 KiB, and of exits with long ones only as
// many are kept as the file may hold. It quotes log lines, so it is private.
func (p *Profile) WriteSupervision(s profile.Supervision) error {
	s = tidy(s)
	data, err := encode(s)
	for err == nil && len(data) > maxStateSize && len(s.Exits) > 0 {
		s.Exits = s.Exits[(len(s.Exits)+1)/2:]
		data, err = encode(s)
	}
	if err != nil {
		return fault.Wrap(fault.Internal, err, "cannot write %s", p.at(supervisionFile))
	}
	return p.save(supervisionFile, data, 0o600, false)
}

// Legacy is what a gateway wrote of itself into gateway_state.json, the
// original's file. Every field may be empty, and none is to be trusted.
type Legacy struct {
	DesiredState string // of the original's command line
	GatewayState string // starting, running, degraded, draining, stopped, startup_failed
	ExitReason   string
	PID          int
	UpdatedAt    time.Time
}

// Legacy reads gateway_state.json. It belongs to the gateway, which may be
// running: it is never set aside here, see [Profile.SetAside].
func (p *Profile) Legacy() (Legacy, FileState, error) {
	data, err := p.dir.read(legacyFile, maxStateSize)
	if err == nil {
		var l Legacy
		if l, err = parseLegacy(data); err == nil {
			return l, Valid, nil
		}
	}
	state, err := p.judge(legacyFile, err)
	return Legacy{}, state, err
}

// SetAsideLegacy renames a gateway_state.json that [Profile.Legacy] found
// corrupt, and returns its new name.
func (p *Profile) SetAsideLegacy() (string, error) {
	found, err := p.dir.root.Lstat(legacyFile)
	if err != nil {
		return "", homeFault("set aside", p.at(legacyFile), err)
	}
	return p.setAside(legacyFile, found)
}

// load reads a state file and sets it aside if it is corrupt.
func load[T any](p *Profile, name string, parse func([]byte) (T, error)) (T, FileState, error) {
	var value, zero T
	found, err := p.dir.root.Lstat(name)
	var data []byte
	if err == nil {
		data, err = p.dir.read(name, maxStateSize)
	}
	if err == nil {
		value, err = parse(data)
	}
	if err == nil {
		return value, Valid, nil
	}
	state, err := p.judge(name, err)
	if state == Corrupt && !p.readOnly {
		aside, asideErr := p.setAside(name, found)
		if asideErr != nil {
			return zero, state, errors.Join(err, asideErr)
		}
		err = fmt.Errorf("%w; set aside as %s", err, aside)
	}
	return zero, state, err
}

// judge turns what went wrong with a state file into its state.
func (p *Profile) judge(name string, err error) (FileState, error) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Absent, nil
	case isBad(err):
		return Corrupt, fmt.Errorf("%s makes no sense: %w", p.at(name), err)
	case errors.Is(err, errNewer):
		return Unreadable, fmt.Errorf("cannot use %s: %w", p.at(name), err)
	}
	return Unreadable, readFault(p.at(name), err)
}

// errNewer: the file is fine, for another build.
var errNewer = errors.New("it was written by a newer hermes")

func parseIntent(data []byte) (profile.IntentRecord, error) {
	var r profile.IntentRecord
	if err := decode(data, &r); err != nil {
		return r, err
	}
	if r.Version > profile.IntentVersion {
		return r, errNewer
	}
	if err := r.Validate(); err != nil {
		return r, &badFile{"no record of an intent: " + err.Error()}
	}
	r.ChangedBy = sentence(r.ChangedBy)
	return r, nil
}

func parseSupervision(data []byte) (profile.Supervision, error) {
	var s profile.Supervision
	if err := decode(data, &s); err != nil {
		return s, err
	}
	switch {
	case s.Version > profile.SupervisionVersion:
		return s, errNewer
	case s.Version < 1:
		return s, &badFile{fmt.Sprintf("no record of a supervision: version %d", s.Version)}
	case s.Failures < 0 || s.Restarts < 0 || s.Port < 0 || s.Port > 65535:
		return s, &badFile{"no record of a supervision: a number is out of its range"}
	}
	switch s.State {
	case "", profile.StateStopped, profile.StateStarting, profile.StateRunning,
		profile.StateStopping, profile.StateBackoff, profile.StateParked:
	default:
		return s, &badFile{fmt.Sprintf("no record of a supervision: state %q", sentence(string(s.State)))}
	}
	return tidy(s), nil
}

// tidy bounds what grows, and takes out of the text what a terminal would obey.
func tidy(s profile.Supervision) profile.Supervision {
	s.Keeper, s.Reason, s.Hint = sentence(s.Keeper), sentence(s.Reason), sentence(s.Hint)
	s.Exits = slices.Clone(s.Exits[max(0, len(s.Exits)-profile.MaxExits):])
	for i := range s.Exits {
		s.Exits[i].Reason, s.Exits[i].Signal = sentence(s.Exits[i].Reason), sentence(s.Exits[i].Signal)
	}
	return s
}

func parseLegacy(data []byte) (Legacy, error) {
	var raw struct {
		DesiredState any `json:"desired_state"`
		GatewayState any `json:"gateway_state"`
		ExitReason   any `json:"exit_reason"`
		PID          any `json:"pid"`
		UpdatedAt    any `json:"updated_at"`
	}
	if err := decode(data, &raw); err != nil {
		return Legacy{}, err
	}
	text := func(v any) string { s, _ := v.(string); return sentence(s) }
	l := Legacy{
		DesiredState: text(raw.DesiredState),
		GatewayState: text(raw.GatewayState),
		ExitReason:   text(raw.ExitReason),
		PID:          pidOf(raw.PID),
	}
	if at, err := time.Parse(time.RFC3339Nano, text(raw.UpdatedAt)); err == nil {
		l.UpdatedAt = at
	}
	return l, nil
}

// decode takes one JSON object, in UTF-8, and nothing after it.
func decode(data []byte, to any) error {
	switch trimmed := bytes.TrimSpace(data); {
	case len(trimmed) == 0:
		return &badFile{"empty"}
	case !utf8.Valid(data):
		return &badFile{"not UTF-8 text"}
	case trimmed[0] != '{':
		return &badFile{"no JSON object"}
	}
	if err := json.Unmarshal(data, to); err != nil {
		return &badFile{"not the JSON it should be: " + err.Error()}
	}
	return nil
}

// sentence is s without control characters and at most maxReason bytes long.
func sentence(s string) string {
	if len(s) > maxReason {
		s = s[:maxReason]
	}
	s = strings.ToValidUTF8(s, "")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, s)
}

func encode(value any) ([]byte, error) {
	data, err := json.MarshalIndent(value, "", "  ")
	return append(data, '\n'), err
}

func (p *Profile) save(name string, data []byte, mode fs.FileMode, sync bool) error {
	if err := p.writable(); err != nil {
		return err
	}
	return p.dir.write(name, data, mode, sync)
}
