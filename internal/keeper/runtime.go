package keeper

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

const (
	// minProcs: a fork holds its P until the child has exec'd, for ever if the
	// exec hangs, so there must be some to spare (measured: with 8 and no
	// collection, four hung execs stall nothing).
	minProcs = 16
	// threads exist before the first fork. Blocked calls (the drain, a log
	// file) and forks in flight together need fewer.
	threads = 24
	// heapSlack is how many bytes the heap may grow before it is collected.
	heapSlack = 8 << 20
)

// prepareRuntime makes the Go runtime fit for a process that must not stall or
// die: it never stops the world by itself, and has its threads already. An
// explicit GOMAXPROCS also ends the runtime's own adjustments of it.
func prepareRuntime() {
	runtime.GOMAXPROCS(max(minProcs, runtime.NumCPU()))
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(math.MaxInt64) // GOMEMLIMIT would collect regardless
	var all, ended sync.WaitGroup
	all.Add(threads)
	for range threads {
		ended.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread() // the thread is kept, and reused
			all.Done()
			all.Wait()
		})
	}
	ended.Wait()
}

// maxForks is how many forks of runs may be in flight: two Ps stay free, one
// for the engine's own fork and one for everything else.
func maxForks() int { return runtime.GOMAXPROCS(0) - 2 }

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
