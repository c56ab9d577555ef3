package condition

import "strings"

// Capabilities is a set of Linux capabilities, as /proc/<pid>/status has it.
type Capabilities uint64

// The capabilities root needs to run gateways as somebody else, in the order
// in which they are named.
const (
	Chown       Capabilities = 1 << 0
	DACOverride Capabilities = 1 << 1
	Kill        Capabilities = 1 << 5
	SetGID      Capabilities = 1 << 6
	SetUID      Capabilities = 1 << 7

	needed = Chown | DACOverride | Kill | SetGID | SetUID
)

// names are those of docker's --cap-add.
func (c Capabilities) names() []string {
	var names []string
	for _, one := range []struct {
		set  Capabilities
		name string
	}{{Chown, "CHOWN"}, {DACOverride, "DAC_OVERRIDE"}, {Kill, "KILL"}, {SetGID, "SETGID"}, {SetUID, "SETUID"}} {
		if c&one.set != 0 {
			names = append(names, one.name)
		}
	}
	return names
}

// String is "CAP_SETUID and CAP_SETGID".
func (c Capabilities) String() string {
	names := c.names()
	if len(names) == 0 {
		return "no capability"
	}
	return "CAP_" + strings.Join(names, " and CAP_")
}

// dropped are the capabilities of set that root lacks; none for anybody else,
// who needs none.
func (f Facts) dropped(set Capabilities) Capabilities {
	if f.UID != 0 {
		return 0
	}
	return set &^ f.Caps
}
