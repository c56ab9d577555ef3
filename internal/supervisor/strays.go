package supervisor

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"hermes/api"
	"hermes/internal/engine"
	"hermes/internal/process"
	"hermes/internal/profile"
	"hermes/internal/slotlock"
	"hermes/internal/stray"
)

const (
	// strayGrace is the most a stray is given between SIGTERM and SIGKILL: its
	// gateway has had the whole stop timeout.
	strayGrace = 2 * time.Second
	// infancy is how old a child of the keeper may be and still be a run whose
	// start has not been answered.
	infancy = 300 * time.Millisecond
	// strayPoll is how often the keeper's children are looked at while some of
	// them are about to end or too young to tell.
	strayPoll = 2 * time.Millisecond
	// strayBatch bounds the slots one helper looks for: its request is one word
	// of a command line.
	strayBatch = 100
	// strayHelpers is how many helpers may be at work. Each looks at every
	// process there is; while they do, what else has ended waits for the next.
	strayHelpers = 2
)

// strays finds what outlives the runs. From any goroutine.
type strays struct {
	places chan int // a helper's each

	mu      sync.Mutex                 // guards what follows
	runs    map[int]bool               // pids of the keeper's children that are no orphans
	orphans map[int]orphan             // those whose mark is known, by pid
	queue   []*sweepJob                // ended runs that no helper looks after yet
	helpers map[uint64]chan<- struct{} // by generation: closed when it has ended
}

// orphan is a child of the keeper's that is no run. Its owner is the slot whose
// mark it carries, "" if it carries none.
type orphan struct {
	stray.Process
	owner string
}

// sweepJob is the search for what a run has left.
type sweepJob struct {
	slot       string
	generation uint64
	pid        int // its leader's, which was its group's
	grace      time.Duration
	anywhere   bool // it was no child of the keeper's, so what it left is not either
	credential *engine.Credential
	answer     chan sweepResult // of capacity 1
}

type sweepResult struct {
	strays []stray.Report
	err    error
}

func newStrays() *strays {
	s := &strays{
		places: make(chan int, strayHelpers),
		runs:   map[int]bool{}, orphans: map[int]orphan{}, helpers: map[uint64]chan<- struct{}{},
	}
	for i := range strayHelpers {
		s.places <- i + 1
	}
	return s
}

// track says that pid is a run's, untrack that it no longer is.
func (s *strays) track(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[pid] = true
}

func (s *strays) untrack(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.runs, pid)
}

// trackAll tracks the runs that a supervisor finds, but for helpers of the one
// before: they leave unnoticed.
func (s *strays) trackAll(runs []engine.Run) {
	for _, r := range runs {
		if r.Exit == nil && !strings.HasPrefix(r.Slot, helperPrefix) {
			s.track(r.PID)
		}
	}
}

// candidates are the keeper's children that are no runs known here. One whose
// mark was read before is among them only if its owner is.
func (f *Fleet) candidates(owners ...string) []stray.Process {
	pids, err := stray.Orphans(f.options.KeeperPID)
	if err != nil {
		return nil // the keeper is gone, or there is no /proc
	}
	s := f.strays
	s.mu.Lock()
	defer s.mu.Unlock()
	pids = slices.DeleteFunc(pids, func(pid int) bool { return s.runs[pid] })
	var found []stray.Process
	for _, pid := range pids {
		p, ok := stray.Look(pid)
		if !ok {
			continue
		}
		known, ok := s.orphans[pid]
		if !ok || known.Start != p.Start || known.owner != "" && slices.Contains(owners, known.owner) {
			found = append(found, p)
		}
	}
	return found
}

// endStrays has what the run left ended before the slot's next run starts. It
// costs one small file where nothing can have been left. Only a run whose
// keeper was killed has parents of others' for its orphans.
func (s *slot) endStrays(r *run) {
	f := s.fleet
	f.strays.untrack(r.PID)
	anywhere := r.Exit != nil && r.Exit.Unknown
	switch {
	case f.options.Lineage == "":
		return
	case anywhere && (f.options.Credential == nil || !f.closing.Load()):
	case f.closing.Load(), len(f.candidates(r.Slot)) == 0:
		return // in a shutdown the keeper ends all its children itself, and starts no helper
	}
	job := &sweepJob{
		slot: r.Slot, generation: r.Generation, pid: r.PID, grace: min(s.setup.stopTimeout, strayGrace),
		anywhere: anywhere, credential: f.options.Credential, answer: make(chan sweepResult, 1),
	}
	done := make(chan struct{})
	s.sweep = done
	s.wg.Go(func() {
		got := f.sweep(job)
		s.post(func() {
			s.swept(r, got)
			if s.sweep == done {
				s.sweep = nil
			}
			close(done)
		})
	})
}

// afterStrays waits for what is being ended, or until the supervisor leaves.
func (s *slot) afterStrays(sweep <-chan struct{}) {
	if sweep == nil {
		return
	}
	select {
	case <-sweep:
	case <-s.fleet.leave.Done():
	}
}

// swept puts on record what a run had left.
func (s *slot) swept(r *run, got sweepResult) {
	if got.err != nil && s.fleet.leave.Err() == nil && !s.fleet.closing.Load() {
		err := fmt.Errorf("cannot look for what %s left: %w", r.Slot, got.err)
		if s.fleet.notices.set(straysUnseen, s.name, err) {
			s.log.Warn("strays not looked for", "error", got.err)
		}
		return
	}
	s.fleet.notices.clear(straysUnseen, s.name)
	if len(got.strays) == 0 {
		return
	}
	for _, x := range got.strays {
		if name := clean(x.Name); len(r.strays) < profile.MaxStrays {
			r.strays = append(r.strays, profile.Stray{PID: x.PID, Name: name, End: x.End})
		}
		s.log.Warn("stray ended", "pid", x.PID, "name", clean(x.Name), "how", x.End)
	}
	r.moreStrays = len(got.strays) - len(r.strays)
	if i := slices.IndexFunc(s.last.Exits, func(e profile.Exit) bool { return e.Run == r.Generation }); i >= 0 {
		s.last.Exits = slices.Clone(s.last.Exits) // who looks at them has the old ones
		s.last.Exits[i].Strays, s.last.Exits[i].MoreStrays = r.strays, r.moreStrays
	}
	s.touch()
}

// sweep does the job together with others that wait: whoever gets a place takes
// all that is queued.
func (f *Fleet) sweep(job *sweepJob) sweepResult {
	f.strays.mu.Lock()
	f.strays.queue = append(f.strays.queue, job)
	f.strays.mu.Unlock()
	for {
		select {
		case got := <-job.answer:
			return got
		case place := <-f.strays.places:
			f.sweepQueue(place)
			f.strays.places <- place
		case <-f.leave.Done():
			return sweepResult{err: f.leave.Err()}
		}
	}
}

// takeBatch takes jobs off the queue that one helper can do.
func (s *strays) takeBatch() []*sweepJob {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for n < min(len(s.queue), strayBatch) && sameCredential(s.queue[0].credential, s.queue[n].credential) {
		n++
	}
	batch := s.queue[:n:n]
	s.queue = s.queue[n:]
	return batch
}

func sameCredential(a, b *engine.Credential) bool {
	return a == b || a != nil && b != nil && a.UID == b.UID && a.GID == b.GID && slices.Equal(a.Groups, b.Groups)
}

// sweepQueue does what is queued and answers.
func (f *Fleet) sweepQueue(place int) {
	batch := f.strays.takeBatch()
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(f.leave, runnerTimeout)
	defer cancel()
	results := map[string]sweepResult{}
	finish, err := f.sweepBatch(ctx, place, batch, func(r stray.Report) {
		got := results[r.Slot]
		got.strays = append(got.strays, r)
		results[r.Slot] = got
	})
	for _, job := range batch {
		got := results[job.slot]
		got.err = err
		job.answer <- got // has room: it is answered once
	}
	finish()
}

// strayRounds bounds the looks for what the end of a stray brings to light.
const strayRounds = 3

// sweepBatch has a helper look for what the runs of the batch left, if there
// are orphans, and again for those that come up with the end of their parents.
// finish, which is never nil, waits for the last helper's end.
func (f *Fleet) sweepBatch(ctx context.Context, place int, batch []*sweepJob, ended func(stray.Report)) (finish func(), err error) {
	anywhere := slices.ContainsFunc(batch, func(job *sweepJob) bool { return job.anywhere })
	finish = func() {}
	if f.closing.Load() { // no helper is started any more
		stray.Sweep(f.request(batch, nil), func(r stray.Report) {
			if r.End != "" {
				ended(r)
			}
		})
		return finish, nil
	}
	for round := range strayRounds {
		orphans, err := f.withoutRuns(ctx, f.settle(ctx, batch))
		if err != nil {
			return finish, err
		}
		if len(orphans) == 0 && (round > 0 || !anywhere) {
			break
		}
		finish()
		gone := map[int]bool{}
		marks := map[int]string{}
		finish, err = f.runHelper(ctx, place, f.request(batch, orphans), batch[0].credential, func(r stray.Report) {
			if r.Orphan {
				marks[r.PID] = r.Mark
				return
			}
			gone[r.PID] = r.End != stray.Alive
			ended(r)
		})
		if err != nil {
			return finish, err
		}
		for _, o := range f.strays.learn(f.options.Lineage, orphans, marks, gone) {
			f.log.Warn("process left running: nothing shows whose it is", "pid", o.PID, "name", clean(o.Name), "uid", o.UID)
		}
	}
	return finish, nil
}

// request asks a helper for what the runs of the batch left.
func (f *Fleet) request(batch []*sweepJob, orphans []stray.Process) stray.Request {
	request := stray.Request{Lineage: f.options.Lineage, Keeper: f.options.KeeperPID, Engine: os.Getpid()}
	for _, p := range orphans {
		request.Orphans = append(request.Orphans, p.PID)
	}
	for _, job := range batch {
		t := stray.Target{Slot: job.slot, Generation: job.generation, Grace: job.grace, Anywhere: job.anywhere}
		if inode, err := slotlock.Inode(f.lockPath(job.slot)); err == nil {
			t.Lock, t.Inode = f.lockPath(job.slot), inode
		}
		request.Targets = append(request.Targets, t)
	}
	return request
}

// settle returns the orphans that are no part of a group that is being killed
// and no run whose start is being answered, once there are any, or none.
func (f *Fleet) settle(ctx context.Context, batch []*sweepJob) []stray.Process {
	var owners []string
	groups := map[int]bool{}
	for _, job := range batch {
		owners = append(owners, job.slot)
		groups[job.pid] = true
	}
	tick := time.NewTicker(strayPoll)
	defer tick.Stop()
	for began := time.Now(); ; {
		all := f.candidates(owners...)
		dying := slices.ContainsFunc(all, func(p stray.Process) bool { return groups[p.Group] })
		grown := slices.DeleteFunc(slices.Clone(all), func(p stray.Process) bool { return p.Age() < infancy })
		late := time.Since(began) > infancy
		if len(all) == 0 || late || len(grown) > 0 && !dying {
			return grown[:min(len(grown), strayBatch)]
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// withoutRuns asks the runner which orphans are runs after all, as the
// container's main program is.
func (f *Fleet) withoutRuns(ctx context.Context, orphans []stray.Process) ([]stray.Process, error) {
	f.strays.mu.Lock()
	known := maps.Clone(f.strays.orphans)
	f.strays.mu.Unlock()
	if !slices.ContainsFunc(orphans, func(p stray.Process) bool { return known[p.PID].Start != p.Start }) {
		return orphans, nil
	}
	runs, err := f.runner.List(ctx)
	if err != nil {
		return nil, err
	}
	pids := map[int]bool{}
	for _, r := range runs {
		closeRun(r)
		pids[r.PID] = r.Exit == nil
		if _, gateway := profile.FromSlot(r.Slot); !gateway && r.Slot != profile.DashboardSlot {
			f.strays.trackAll([]engine.Run{r}) // nobody else does
		}
	}
	return slices.DeleteFunc(orphans, func(p stray.Process) bool { return pids[p.PID] }), nil
}

// learn keeps whose the orphans are that are still there, and returns those
// that are nobody's.
func (s *strays) learn(lineage string, orphans []stray.Process, marks map[int]string, gone map[int]bool) (nobodys []orphan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range orphans {
		mark, seen := marks[p.PID]
		if gone[p.PID] || !seen {
			continue
		}
		o := orphan{Process: p}
		if m, ok := stray.ParseMark(mark); ok && m.Lineage == lineage {
			o.owner = m.Slot
		} else {
			nobodys = append(nobodys, o)
		}
		s.orphans[p.PID] = o
	}
	return nobodys
}

// noteOrphans shows the orphans that are nobody's, for as long as they live.
func (f *Fleet) noteOrphans() {
	s := f.strays
	s.mu.Lock()
	var named []string
	var pids []string
	for _, pid := range slices.Sorted(maps.Keys(s.orphans)) {
		o := s.orphans[pid]
		if start, err := process.StartTime(pid); err != nil || start != o.Start {
			delete(s.orphans, pid)
			continue
		}
		if o.owner == "" {
			named = append(named, fmt.Sprintf("%d (%s, uid %d, %s old)", pid, clean(o.Name), o.UID, o.Age().Round(time.Second)))
			pids = append(pids, fmt.Sprint(pid))
		}
	}
	s.mu.Unlock()
	if len(named) == 0 {
		f.notices.clear(orphansLeft, "")
		return
	}
	f.notices.put(api.Notice{
		Code: orphansLeft, Hint: "kill " + strings.Join(pids, " "),
		Message: "left running, as nothing shows which gateway started it: process " + strings.Join(named, ", process "),
	}, "")
}
