package store

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// keptAside is how many set-aside versions of a file are kept.
const keptAside = 5

const asideMark = ".corrupt-"

// setAside renames what makes no sense to <name>.corrupt-<time> and returns
// that name. Older ones beyond keptAside are removed. What was found bad is
// told by its inode: a writer may have put a good file in its place meanwhile.
func (p *Profile) setAside(name string, bad fs.FileInfo) (string, error) {
	if err := p.writable(); err != nil {
		return "", err
	}
	aside := name + asideMark + time.Now().UTC().Format("20060102T150405.000000000Z")
	if err := p.dir.moveNew(name, p.dir, aside); err != nil {
		return "", homeFault("set aside", p.at(name), err)
	}
	if moved, err := p.dir.root.Lstat(aside); err == nil && !sameFile(bad, moved) {
		if err := p.dir.moveNew(aside, p.dir, name); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", homeFault("put back", p.at(name), err)
		}
	}
	p.forgetAside(name)
	return aside, nil
}

func (p *Profile) forgetAside(name string) {
	names, err := p.dir.names()
	if err != nil {
		return
	}
	old := slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, name+asideMark) })
	for len(old) > keptAside { // sorted, the oldest first
		_ = p.dir.root.RemoveAll(old[0])
		old = old[1:]
	}
}
