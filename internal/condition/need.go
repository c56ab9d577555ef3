package condition

// What hermes needs, measured (docs/docker.md says how): processes and threads
// count alike against a pids limit.
const (
	// keeperThreads exist from the start: the keeper cannot get more later.
	keeperThreads = 41
	// engineThreads are what an idle engine has.
	engineThreads = 9
	// commandThreads are those of a `docker exec … hermes`: first the container
	// runtime's own, then the command's.
	commandThreads = 8
	// builtInThreads are those of a built-in gateway that answers chats.
	builtInThreads = 9
	// otherThreads are the least another program can have.
	otherThreads = 1

	// Descriptors: the engine has a gateway's pipe, notify socket, lock and log
	// files open.
	ownFiles     = 64
	gatewayFiles = 6

	// Memory, in bytes.
	ownMemory     = 32 << 20
	builtInMemory = 16 << 20
)

// LeastPIDs is the pids limit below which nothing is started: the keeper, an
// engine and one command.
const LeastPIDs = keeperThreads + engineThreads + commandThreads

// PIDs is how many processes and threads this fleet has at least.
func (f Fleet) PIDs() uint64 {
	return uint64(LeastPIDs + f.BuiltIn*builtInThreads + (f.Gateways-f.BuiltIn)*otherThreads)
}

// Files is how many descriptors the engine of this fleet needs.
func (f Fleet) Files() uint64 { return uint64(ownFiles + f.Gateways*gatewayFiles) }

// Memory is how much this fleet needs, other programs not counted.
func (f Fleet) Memory() uint64 { return uint64(ownMemory + f.BuiltIn*builtInMemory) }

// Suffice says that no limit is too small for this fleet.
func (l Limits) Suffice(f Fleet) bool {
	enough := func(limit, need uint64) bool { return limit == 0 || limit >= need }
	return enough(l.PIDs, f.PIDs()) && enough(l.Processes, f.PIDs()) && enough(l.OpenFiles, f.Files()) && enough(l.Memory, f.Memory())
}

// round is a limit to recommend for a need: with some room, and a round number.
func round(need uint64) uint64 {
	const step = 64
	return (need + step/2 + step - 1) / step * step
}
