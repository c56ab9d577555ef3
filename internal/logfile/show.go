package logfile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hermes/internal/fault"
)

// Reading says which part of a log is wanted. Slot is whose it is, for
// messages.
type Reading struct {
	Dir, Slot string
	Lines     int  // the last so many
	Follow    bool // and then each one more, until the context ends
}

// Show emits lines of a log for people: as [Printable] makes them, stamps
// included, newlines not. It keeps none of them. The error is emit's, the
// context's, [fs.ErrNotExist] for a gateway that never ran under a supervisor,
// or a *fault.Error.
func Show(ctx context.Context, r Reading, emit func(line string) error) error {
	printable := func(line string) error { return emit(Printable(line)) }
	var err error
	if r.Follow {
		err = Follow(ctx, r.Dir, r.Lines, printable)
	} else {
		err = last(ctx, r.Dir, r.Lines, printable)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrPermission):
		return fault.Wrap(fault.Unreadable, err, "cannot read the log of %s", r.Slot).
			WithHint("run it as root, or as the owner of %s", r.Dir)
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return r.noDirectory(err)
	}
	return err
}

// noDirectory is the error about a log that is not where it is kept: links are
// not followed there.
func (r Reading) noDirectory(err error) error {
	for _, path := range []string{r.Dir, filepath.Join(r.Dir, current)} {
		if st, lstatErr := os.Lstat(path); lstatErr == nil && st.Mode()&fs.ModeSymlink != 0 {
			f := fault.New(fault.Unreadable, "cannot read the log of %s: %s is a symbolic link", r.Slot, path)
			f.Err = err
			return f.WithHint("rm %s", path)
		}
	}
	return fault.Wrap(fault.Unreadable, err, "cannot read the log of %s", r.Slot).WithHint("ls -ld %s", r.Dir)
}

// last is [Tail] for who takes a line at a time.
func last(ctx context.Context, dir string, n int, emit func(line string) error) error {
	c, err := openCursor(dir, n)
	if err != nil {
		return err
	}
	if n > 0 && c.unfinished() { // which is one of the n
		c.close()
		if c, err = openCursor(dir, n-1); err != nil {
			return err
		}
	}
	defer c.close()
	if n <= 0 {
		return nil
	}
	for len(c.files) > 0 {
		err := c.read(maxTail, func(line string) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return emit(line)
		})
		if err != nil {
			return err
		}
		c.next()
	}
	if len(c.partial) > 0 {
		return emit(string(c.partial))
	}
	return nil
}

// unfinished says that the log ends within a line.
func (c *cursor) unfinished() bool {
	if len(c.files) == 0 {
		return false
	}
	f := c.files[len(c.files)-1]
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return false
	}
	var end [1]byte
	if _, err := f.ReadAt(end[:], st.Size()-1); err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	return end[0] != '\n'
}
