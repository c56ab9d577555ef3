package s6

import (
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Death is how one run of a service ended.
type Death struct {
	At     time.Time
	Code   int         // -1 if Signal ended it
	Signal unix.Signal // 0 if it exited
}

// A record of supervise/death_tally: a time stamp, an exit code (128 + signal
// if one ended it) and the signal.
const (
	deathSize = stampSize + 2
	offCode   = stampSize
	offSignal = stampSize + 1
)

// ParseDeaths reads a supervise/death_tally file, oldest first.
func ParseDeaths(b []byte) ([]Death, error) {
	if len(b)%deathSize != 0 {
		return nil, fmt.Errorf("a tally of deaths has %d bytes, which is no multiple of %d", len(b), deathSize)
	}
	deaths := make([]Death, 0, len(b)/deathSize)
	for ; len(b) > 0; b = b[deathSize:] {
		at, err := parseStamp(b)
		if err != nil {
			return nil, err
		}
		d := Death{At: at, Code: int(b[offCode]), Signal: unix.Signal(b[offSignal])}
		if d.Signal != 0 {
			d.Code = -1
		}
		deaths = append(deaths, d)
	}
	return deaths, nil
}

// Deaths are the last ends of the slot's runs, oldest first: 100, unless the
// directory says otherwise. Each s6-supervise begins with none.
func (d Scandir) Deaths(slot string) ([]Death, error) {
	if err := d.lookFor(slot); err != nil {
		return nil, err
	}
	b, err := readFile(filepath.Join(d.path(slot), superviseDir, tallyFile))
	if err != nil {
		return nil, d.denied(slot, err)
	}
	return ParseDeaths(b)
}
