package supervisor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"hermes/api"
	"hermes/internal/fault"
	"hermes/internal/profile"
)

// The codes of notices.
const (
	portsClash           = "ports_clash"
	bootLogUnwritten     = "boot_log_unwritten"
	observationUnwritten = "supervision_unwritten"
	fileSetAside         = "file_set_aside"
	profilesUnscanned    = "profiles_unscanned"
	logUnwritten         = "log_unwritten"
	stdoutUnwritten      = "stdout_unwritten"
	straysUnseen         = "strays_unseen"
	orphansLeft          = "orphans_left"
	eventsUnwritten      = "events_unwritten"
	httpUnserved         = "http_unserved"
)

// notices are the conditions an operator should know of, kept per profile and
// shown one per code. The zero value is ready to use, from any goroutine.
type notices struct {
	mu    sync.Mutex // guards byKey
	byKey map[noticeKey]api.Notice
}

type noticeKey struct {
	code string
	of   profile.Name // "" for the whole fleet
}

// set notes a condition; true if it is a new one.
func (n *notices) set(code string, of profile.Name, err error) bool {
	notice := api.Notice{Code: code, Message: err.Error()}
	if f, ok := err.(*fault.Error); ok { //nolint:errorlint // only its own hint fits its text
		notice.Hint = f.Hint
	}
	return n.put(notice, of)
}

// put is set for a notice that is complete.
func (n *notices) put(notice api.Notice, of profile.Name) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byKey == nil {
		n.byKey = map[noticeKey]api.Notice{}
	}
	key := noticeKey{notice.Code, of}
	_, known := n.byKey[key]
	n.byKey[key] = notice
	return !known
}

func (n *notices) clear(code string, of profile.Name) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.byKey, noticeKey{code, of})
}

// drop clears what was noted of a profile that is no more.
func (n *notices) drop(of profile.Name) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key := range n.byKey {
		if key.of == of {
			delete(n.byKey, key)
		}
	}
}

// list has one notice per code: a full disk is one condition, however many
// profiles it meets.
func (n *notices) list() []api.Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	keys := make([]noticeKey, 0, len(n.byKey))
	for key := range n.byKey {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b noticeKey) int {
		return cmp.Or(strings.Compare(a.code, b.code), strings.Compare(string(a.of), string(b.of)))
	})
	var all []api.Notice
	for i := 0; i < len(keys); {
		first := i
		for i < len(keys) && keys[i].code == keys[first].code {
			i++
		}
		notice := n.byKey[keys[first]]
		if more := i - first - 1; more > 0 {
			notice.Message += fmt.Sprintf(" (and %d more)", more)
		}
		all = append(all, notice)
	}
	return all
}
