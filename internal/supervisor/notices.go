package supervisor

import (
	"cmp"
	"slices"
	"sync"

	"hermes/api"
	"hermes/internal/fault"
)

// notices are the conditions of the whole fleet an operator should know of,
// one per code. The zero value is ready to use, from any goroutine.
type notices struct {
	mu     sync.Mutex // guards byCode
	byCode map[string]api.Notice
}

func (n *notices) set(code string, err error) {
	notice := api.Notice{Code: code, Message: err.Error()}
	if f, ok := err.(*fault.Error); ok { //nolint:errorlint // only its own hint fits its text
		notice.Hint = f.Hint
	}
	n.add(notice)
}

func (n *notices) add(notice api.Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byCode == nil {
		n.byCode = map[string]api.Notice{}
	}
	n.byCode[notice.Code] = notice
}

func (n *notices) clear(code string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.byCode, code)
}

func (n *notices) list() []api.Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []api.Notice
	for _, notice := range n.byCode {
		all = append(all, notice)
	}
	slices.SortFunc(all, func(a, b api.Notice) int { return cmp.Compare(a.Code, b.Code) })
	return all
}
