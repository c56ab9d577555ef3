package stray

import "time"

// Request is what a [Sweep] is asked for.
type Request struct {
	Lineage string   `json:"lineage"`
	Targets []Target `json:"targets"`
	// Orphans are to be named with the marks they carry.
	Orphans []int `json:"orphans,omitempty"`
	// Slots are those whose processes a [Find] names. With any, [Main] does that
	// and ends nothing.
	Slots []string `json:"slots,omitempty"`
	// Keeper and Engine are never touched.
	Keeper int `json:"keeper"`
	Engine int `json:"engine"`
}

// Target is a slot whose run has ended.
type Target struct {
	Slot string `json:"slot"`
	// Generation is the run's; earlier ones are meant as well.
	Generation uint64 `json:"generation"`
	// Grace is the time between SIGTERM and SIGKILL.
	Grace time.Duration `json:"grace"`
	// Lock is the slot's lock file and Inode its number, "" and 0 if there is
	// none: whoever holds the lock is of the slot.
	Lock  string `json:"lock,omitempty"`
	Inode uint64 `json:"inode,omitempty"`
	// Anywhere says that the run was no child of the keeper's, and that what it
	// left is not among the orphans.
	Anywhere bool `json:"anywhere,omitempty"`
}

// How a stray ended.
const (
	Terminated = "SIGTERM"
	Killed     = "SIGKILL"
	Alive      = "alive" // not by what was tried
)

// Report is one line of an answer. Of a Sweep: a stray and how it ended, an
// orphan and its mark, or that this is all. Of a Find: a process of a slot and
// its mark, or that this is all.
type Report struct {
	Process
	Slot string `json:"slot,omitempty"` // of a stray
	End  string `json:"end,omitempty"`
	// Orphan says that the line is about one of Request.Orphans. Mark is the
	// value of the variable: "" for none, or if it cannot be read.
	Orphan bool   `json:"orphan,omitempty"`
	Mark   string `json:"mark,omitempty"`
	Done   bool   `json:"done,omitempty"`
}
