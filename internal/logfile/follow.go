package logfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pollInterval is how often a followed directory is looked at where inotify
// says nothing: it does not see what another host writes to a shared volume.
const pollInterval = time.Second

// Follow emits the last n lines of the log in dir and then each line as it is
// finished, over all rotations, until ctx is done (its error) or emit fails
// (that error). A directory that does not exist is [fs.ErrNotExist]; one without
// a log is waited on. Otherwise as [Tail]. A reader that falls behind by more
// than the log keeps misses what was removed.
func Follow(ctx context.Context, dir string, n int, emit func(line string) error) error {
	w, err := watchDirectory(dir)
	if err != nil {
		return err
	}
	defer w.close()
	c, err := openCursor(dir, n)
	if err != nil {
		return err
	}
	defer c.close()
	emitUntilDone := func(line string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return emit(line)
	}
	for {
		if err := c.catchUp(ctx, emitUntilDone); err != nil {
			return err
		}
		if err := w.wait(ctx); err != nil {
			return err
		}
	}
}

// catchUp reads to the present end of the log.
func (c *cursor) catchUp(ctx context.Context, emit func(line string) error) error {
	for ctx.Err() == nil {
		var last *readFile
		for len(c.files) > 0 {
			last = c.files[0]
			if err := c.rewind(); err != nil {
				return err
			}
			if err := c.read(math.MaxInt64, emit); err != nil {
				return err
			}
			if len(c.files) == 1 {
				break
			}
			c.next()
		}
		files, err := c.openNewer(last)
		if err != nil || len(files) == 0 {
			return err
		}
		// The last file was current when it was read, and is not any more: it
		// is read once again before the newer ones.
		c.files = append(c.files, files...)
	}
	return ctx.Err()
}

// rewind starts again at the beginning of a file that somebody emptied.
func (c *cursor) rewind() error {
	f := c.files[0]
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() < at {
		_, err = f.Seek(0, io.SeekStart)
		c.partial = nil
	}
	return err
}

// watch waits for something to happen in a directory.
type watch struct {
	events *os.File // nil where there is no inotify
	buf    [4096]byte
}

func watchDirectory(dir string) (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return &watch{}, nil //nolint:nilerr // none left for this user, say; looking now and then does
	}
	const mask = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW
	w := &watch{events: os.NewFile(uintptr(fd), "inotify")}
	if _, err := unix.InotifyAddWatch(fd, dir, mask); err != nil {
		w.close()
		if errors.Is(err, unix.ENOSPC) {
			return &watch{}, nil
		}
		return nil, fmt.Errorf("cannot watch %s: %w", dir, err)
	}
	return w, nil
}

func (w *watch) close() {
	if w.events != nil {
		_ = w.events.Close()
	}
}

// wait returns after an event, and after pollInterval without one. What the
// event is does not matter: the directory says all. The error is ctx's.
func (w *watch) wait(ctx context.Context) error {
	if w.events == nil {
		select {
		case <-ctx.Done():
		case <-time.After(pollInterval):
		}
		return ctx.Err()
	}
	deadline := time.Now().Add(pollInterval)
	if err := w.events.SetReadDeadline(deadline); err != nil {
		return fmt.Errorf("cannot wait for events: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = w.events.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := w.events.Read(w.buf[:]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("cannot read events: %w", err)
	}
	return ctx.Err()
}
