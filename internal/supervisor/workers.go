package supervisor

import "time"

// workers run short jobs, as many at a time as there are, on goroutines that
// wait a moment for the next one: the stack of a new goroutine has to grow, in
// several steps, to what a job needs, and a boot has some jobs for each slot.
type workers struct {
	done <-chan struct{} // closed when no worker is to wait any more
	jobs chan func()
}

// idleWorker is how long a worker waits.
const idleWorker = time.Second

func newWorkers(done <-chan struct{}) workers {
	return workers{done: done, jobs: make(chan func())}
}

// run runs f soon. Who needs its end has to see to that.
func (w workers) run(f func()) {
	select {
	case w.jobs <- f:
	default:
		go w.work(f) // ends with its last job or with done
	}
}

func (w workers) work(f func()) {
	idle := time.NewTimer(idleWorker)
	defer idle.Stop()
	for {
		f()
		idle.Reset(idleWorker)
		select {
		case f = <-w.jobs:
		case <-idle.C:
			return
		case <-w.done:
			return
		}
	}
}
