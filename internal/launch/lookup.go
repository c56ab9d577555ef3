package launch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hermes/internal/fault"
)

// defaultPath is searched when the gateway's environment has no PATH: what
// execvp and every image's shell fall back to.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// notExecutableError is a file that is there and is no program.
type notExecutableError struct{ path string }

func (e *notExecutableError) Error() string { return e.path + " is not executable" }

// lookup finds the program word names, as execvp would from dir with path as
// PATH. The result is absolute. A program with a slash is relative to dir.
func lookup(word, dir, path string) (string, error) {
	if strings.Contains(word, "/") {
		return executable(resolve(dir, word))
	}
	if path == "" {
		path = defaultPath
	}
	var refusal error
	for _, d := range filepath.SplitList(path) {
		file, err := executable(filepath.Join(resolve(dir, d), word))
		if err == nil {
			return file, nil
		}
		// As execvp: a file that cannot be run is no reason to stop looking,
		// but a better answer than "not there" in the end.
		if _, refused := errors.AsType[*notExecutableError](err); refused && refusal == nil {
			refusal = err
		}
	}
	if refusal != nil {
		return "", refusal
	}
	return "", fs.ErrNotExist
}

// resolve is file as seen from dir; an empty PATH element is dir itself.
func resolve(dir, file string) string {
	if filepath.IsAbs(file) {
		return filepath.Clean(file)
	}
	return filepath.Join(dir, file)
}

// executable checks that file is a regular file with any execute bit. Which
// bit counts depends on the gateway's uid, which is not ours; exec has the
// last word.
func executable(file string) (string, error) {
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		return "", &notExecutableError{file}
	}
	return file, nil
}

// lookupFault says what is wrong with the command and where it was written.
func (in Input) lookupFault(word string, from origin, err error) error {
	where, slot := in.where(from), in.Profile.Slot()
	switch refused, ok := errors.AsType[*notExecutableError](err); {
	case ok:
		return fault.New(fault.InvalidConfig, "cannot run %s: %s", slot, refused.Error()).
			WithHint("chmod +x %s, or correct %s", refused.path, where)
	case !errors.Is(err, fs.ErrNotExist):
		return fault.Wrap(fault.InvalidConfig, err, "cannot run %s", slot).WithHint("correct %s", where)
	case strings.Contains(word, "/"):
		return fault.New(fault.InvalidConfig, "cannot run %s: there is no file %q", slot, resolve(in.Dir, word)).
			WithHint("correct %s", where)
	}
	return fault.New(fault.InvalidConfig, "cannot run %s: there is no program %q on its PATH", slot, word).
		WithHint("install %s, or correct %s", word, where)
}
