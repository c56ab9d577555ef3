// Package wire is what a keeper and its engine say to each other: the frozen
// protocol of docs/keeper-protocol.md, and the socket it goes over.
//
// # Concurrency
//
// A [Socket] may send from any goroutine and is received from by one. The rest
// is values.
//
// # Failure
//
// A frame that makes no sense is an error, never a panic; [Decode] is fuzzed.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Version is the protocol's version. A keeper speaks exactly one; it serves
// every engine that greets it with that one, older or newer than itself.
// Fields may be added to messages, never changed; what is unknown is ignored.
const Version = 1

// MaxFrame is the longest frame in bytes: under Linux's default limit of a
// socket's send buffer (212,992), so that no privilege is needed to send one.
const MaxFrame = 192 << 10

// MaxFDs is SCM_MAX_FD, the most descriptors the kernel passes in one message.
const MaxFDs = 253

// ListPage is how many runs one list reply carries: two descriptors each stay
// under [MaxFDs].
const ListPage = 100

// maxSlot is the longest slot name in bytes; a slot names files.
const maxSlot = 128

// Op says what a [Message] is.
type Op string

// The requests, the one reply, and the events.
const (
	OpHello  Op = "hello"  // first on every connection
	OpSpawn  Op = "spawn"  // start Spec as run (Slot, Generation)
	OpSignal Op = "signal" // send Signal to the run, or with Group to its group
	OpForget Op = "forget" // the run's exit was taken note of
	OpList   Op = "list"   // runs after (Slot, Generation), a page at a time
	OpAck    Op = "ack"    // the engine carries out the shutdown
	OpExit   Op = "exit"   // all is down, end with Code

	OpReply Op = "reply"

	OpExited   Op = "exited"   // run (Slot, Generation) ended with Exit
	OpShutdown Op = "shutdown" // everything is to stop
)

// Message is one frame. Seq numbers a request and is repeated in its reply; it
// is 0 in an event. Which of the other fields mean something depends on Op.
type Message struct {
	Op         Op        `json:"op"`
	Seq        uint64    `json:"seq,omitempty"`
	Version    int       `json:"version,omitempty"`
	Slot       string    `json:"slot,omitempty"`
	Generation uint64    `json:"generation,omitempty"`
	Signal     int       `json:"signal,omitempty"`
	Group      bool      `json:"group,omitempty"`
	Code       int       `json:"code,omitempty"`
	Spec       *Spec     `json:"spec,omitempty"`
	Runs       []RunInfo `json:"runs,omitempty"`
	More       bool      `json:"more,omitempty"` // the list goes on after the last run
	Exit       *Exit     `json:"exit,omitempty"`
	Failure    *Failure  `json:"failure,omitempty"`
	PID        int       `json:"pid,omitempty"`   // hello reply: the keeper's
	Stamp      string    `json:"stamp,omitempty"` // hello reply: boot id and keeper start
	Runtime    string    `json:"-"`               // hello reply: the runtime directory
}

// Spec is what a spawn request asks for. Its strings travel behind the JSON
// because they need not be UTF-8.
type Spec struct {
	Path       string        `json:"-"`
	Dir        string        `json:"-"`
	Notify     string        `json:"-"`
	Lock       string        `json:"-"`
	Argv       []string      `json:"-"`
	Env        []string      `json:"-"`
	Argc       int           `json:"argc"` // set by Encode
	Envc       int           `json:"envc"` // set by Encode
	Credential *Credential   `json:"credential,omitempty"`
	Signal     int           `json:"signal,omitempty"` // of the shutdown plan; 0 is SIGTERM
	Grace      time.Duration `json:"grace,omitempty"`  // of the shutdown plan, ns
	Main       bool          `json:"main,omitempty"`
}

// Credential is the identity a run is given.
type Credential struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"`
}

// RunInfo describes one run. Log and Notify say whether the message carries that
// descriptor of it; descriptors come in the order of the runs, log first.
type RunInfo struct {
	Slot       string `json:"slot"`
	Generation uint64 `json:"generation"`
	PID        int    `json:"pid"`
	StartTime  uint64 `json:"start_time"` // clock ticks since boot
	Started    int64  `json:"started"`    // Unix time, ns
	Log        bool   `json:"log,omitempty"`
	Notify     bool   `json:"notify,omitempty"`
	Dropped    int64  `json:"dropped,omitempty"` // output bytes discarded so far
	Backlog    string `json:"backlog,omitempty"` // file's name in <runtime>/backlog
	Exit       *Exit  `json:"exit,omitempty"`
	// As in the run's Spec.
	Credential *Credential   `json:"credential,omitempty"`
	Signal     int           `json:"signal,omitempty"`
	Grace      time.Duration `json:"grace,omitempty"`
	Main       bool          `json:"main,omitempty"`
}

// Exit is how a run ended.
type Exit struct {
	Code    int   `json:"code"` // -1 when a signal ended it or Unknown is set
	Signal  int   `json:"signal,omitempty"`
	At      int64 `json:"at"` // Unix time, ns
	Unknown bool  `json:"unknown,omitempty"`
}

// The kinds of [Failure].
const (
	FailBusy    = "busy"    // the slot has a living run of another generation
	FailNoRun   = "no_run"  // no such living run
	FailSpawn   = "spawn"   // Stage and Errno say what failed on Path
	FailSignal  = "signal"  // Errno says why the signal was not delivered
	FailVersion = "version" // the keeper speaks Version, not the one asked for
	FailRequest = "request" // the request makes no sense, or came before hello
)

// Failure is the reply to a request that was not carried out.
type Failure struct {
	Kind  string `json:"kind"`
	Errno int    `json:"errno,omitempty"`
	Stage string `json:"stage,omitempty"`
	Path  string `json:"path,omitempty"`
}

// ErrTooLarge is the error of a message that exceeds [MaxFrame].
var ErrTooLarge = errors.New("wire: the message is too large")

var errMalformed = errors.New("wire: malformed frame")

// Encode renders m as a frame: a JSON object and, if the message has strings
// that need not be UTF-8, a NUL and then each of them followed by a NUL. NUL
// is the one byte neither JSON nor such a string can hold.
func Encode(m *Message) ([]byte, error) {
	var tail []string
	switch {
	case m.Spec != nil:
		s := *m.Spec
		s.Argc, s.Envc = len(s.Argv), len(s.Env)
		tail = append([]string{s.Path, s.Dir, s.Notify, s.Lock}, s.Argv...)
		tail = append(tail, s.Env...)
		c := *m
		c.Spec = &s
		m = &c
	case m.Runtime != "":
		tail = []string{m.Runtime}
	}
	frame, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("cannot encode a message: %w", err)
	}
	if tail != nil {
		frame = append(frame, 0)
	}
	for _, s := range tail {
		if strings.IndexByte(s, 0) >= 0 {
			return nil, fmt.Errorf("cannot encode %q: it holds a NUL", s)
		}
		frame = append(append(frame, s...), 0)
	}
	if len(frame) > MaxFrame {
		return nil, ErrTooLarge
	}
	return frame, nil
}

// Decode is the inverse of [Encode]. It accepts fields it does not know.
func Decode(frame []byte) (*Message, error) {
	head, rest, hasTail := bytes.Cut(frame, []byte{0})
	m := new(Message)
	if err := json.Unmarshal(head, m); err != nil {
		return nil, fmt.Errorf("%w: %v", errMalformed, err)
	}
	if m.Op == "" {
		return nil, fmt.Errorf("%w: no op", errMalformed)
	}
	var tail []string
	if hasTail && len(rest) > 0 {
		if rest[len(rest)-1] != 0 {
			return nil, fmt.Errorf("%w: its strings do not end", errMalformed)
		}
		tail = strings.Split(string(rest[:len(rest)-1]), "\x00")
	}
	if m.Spec != nil {
		return m, m.Spec.unpack(tail)
	}
	if len(tail) > 0 {
		m.Runtime = tail[0]
	}
	return m, nil
}

// unpack takes s's strings from the tail of its frame.
func (s *Spec) unpack(tail []string) error {
	const fixed = 4
	n := len(tail) - fixed
	if s.Argc < 0 || s.Argc > n || s.Envc != n-s.Argc {
		return fmt.Errorf("%w: %d strings for %d arguments and %d variables", errMalformed, len(tail), s.Argc, s.Envc)
	}
	s.Path, s.Dir, s.Notify, s.Lock = tail[0], tail[1], tail[2], tail[3]
	s.Argv = tail[fixed : fixed+s.Argc : fixed+s.Argc]
	s.Env = tail[fixed+s.Argc:]
	return nil
}

// ValidSlot reports whether s can name a slot, and so files:
// [A-Za-z0-9_-][A-Za-z0-9._-]{0,127}.
func ValidSlot(s string) bool {
	if s == "" || len(s) > maxSlot || s[0] == '.' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}
