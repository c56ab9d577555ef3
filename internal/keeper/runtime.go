package keeper

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// A fork holds its P until the child has exec'd, for ever if the exec hangs.
	// So there are Ps for the most forks of runs and of engines that are ever in
	// flight, and some for everything else; on a larger machine no more, since
	// each may need a thread.
	maxForks = 10
	procs    = maxForks + triesBeforePinned + 1 + 2
	// threads exist before the first fork, the runtime's own included: those of
	// the forkers, one for each P, and some for calls which block, the drain,
	// stderr and the runtime. internal/condition counts with them.
	threads = procs + maxForks + 14
	// heapSlack is how many bytes the heap may grow before it is collected.
	heapSlack = 8 << 20
	// heapLimit is where the runtime would collect by itself: far beyond any heap
	// of a keeper. With none, or one of a GiB and more, the runtime takes it for
	// one of a big heap and puts its own tables on huge pages: 2 MB for nothing.
	heapLimit = 512 << 20
)

// prepareRuntime makes the Go runtime fit for a process that must not stall or
// die: it never stops the world by itself, and has its threads already. An
// explicit GOMAXPROCS also ends the runtime's own adjustments of it.
func prepareRuntime() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(heapLimit) // GOMEMLIMIT could be within reach
	// One after the other, with few Ps: for a crowd of goroutines the runtime
	// makes threads of its own, and a pids limit counts them all.
	runtime.GOMAXPROCS(2)
	release := make(chan struct{})
	var ended sync.WaitGroup
	for range threads {
		if own, err := os.ReadDir("/proc/self/task"); err == nil && len(own) >= threads {
			break
		}
		up := make(chan struct{})
		ended.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread() // the thread is kept, and reused
			close(up)
			<-release
		})
		<-up
	}
	close(release)
	ended.Wait()
	runtime.GOMAXPROCS(procs)
}

// calmAfter is how long after the last fork memory is given back.
const calmAfter = 3 * time.Second

// giveBack returns to the system what a rush of starts has left.
func (k *keeper) giveBack() {
	if !k.gate.TryLock() {
		return // a fork will come to its end, and wake the loop
	}
	defer k.gate.Unlock()
	debug.FreeOSMemory()
}

// collect collects garbage if the heap has grown and no fork is in flight: a
// collection stops the world, and a P inside a fork does not stop.
func (k *keeper) collect() {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 || s[0].Value.Uint64() < k.heap+heapSlack {
		return
	}
	if !k.gate.TryLock() {
		return
	}
	runtime.GC()
	k.gate.Unlock()
	metrics.Read(s)
	k.heap = s[0].Value.Uint64()
}
