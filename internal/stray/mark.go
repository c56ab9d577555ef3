package stray

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"hermes/internal/process"
)

// Variable is where the environment of everything a run starts has its [Mark].
const Variable = "HERMES_SLOT_ID"

// Mark says of which run a process is.
type Mark struct {
	Slot       string
	Generation uint64
	// Lineage tells supervisors apart that see each other's processes: on a
	// host with containers, and where a gateway runs a fleet of its own.
	Lineage string
}

// LineageOf is the same for every supervisor of a home in this pid namespace and
// boot, of which there is one at a time, and for no other.
func LineageOf(home string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d %s", process.BootID(), process.PIDNamespace(), home))
	return hex.EncodeToString(sum[:8])
}

// String is the mark as the environment has it: "<slot>.<generation>@<lineage>".
func (m Mark) String() string {
	s := m.Slot + "." + strconv.FormatUint(m.Generation, 10)
	if m.Lineage != "" {
		s += "@" + m.Lineage
	}
	return s
}

// ParseMark reads what String wrote, and nothing else.
func ParseMark(s string) (Mark, bool) {
	name, lineage, has := strings.Cut(s, "@")
	dot := strings.LastIndexByte(name, '.')
	if dot < 1 || has && lineage == "" {
		return Mark{}, false
	}
	n, err := strconv.ParseUint(name[dot+1:], 10, 64)
	m := Mark{Slot: name[:dot], Generation: n, Lineage: lineage}
	return m, err == nil && m.String() == s
}

// findMark finds the variable in the bytes of /proc/<pid>/environ. The first
// entry counts, as for getenv. What is there need not be an environment: a
// program may write over it.
func findMark(environ []byte) (value string, ok bool) {
	for len(environ) > 0 {
		var entry []byte
		entry, environ, _ = bytes.Cut(environ, []byte{0})
		if v, ok := bytes.CutPrefix(entry, []byte(Variable+"=")); ok {
			return string(v), true
		}
	}
	return "", false
}
