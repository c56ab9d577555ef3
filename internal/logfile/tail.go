package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"
)

// Bounds of what reading a log costs, whatever somebody put into its directory.
const (
	maxLine   = 64 << 10 // a longer line is read as several
	maxTail   = 64 << 20 // how far back from its end a log is looked at
	maxOpened = 128      // files open at once
)

// Tail returns the last n lines of the log in dir, stamps included, newlines
// not. A line that is not finished yet is one of them. At most the last 64 MiB
// are looked at; a line longer than 64 KiB comes in pieces. A directory without
// a log has no lines; the error for one that does not exist is [fs.ErrNotExist].
//
// Only regular files with one name are read, and no link is followed from dir
// on. Lines are as the gateway wrote them: see [Printable].
func Tail(dir string, n int) ([]string, error) {
	n = max(n, 0)
	c, err := openCursor(dir, n)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var lines []string
	keep := func(line string) error {
		if lines = append(lines, line); len(lines) > n {
			lines = slices.Delete(lines, 0, len(lines)-n)
		}
		return nil
	}
	for len(c.files) > 0 {
		if err := c.read(maxTail, keep); err != nil {
			return nil, err
		}
		c.next()
	}
	if len(c.partial) > 0 {
		_ = keep(string(c.partial))
	}
	return lines, nil
}

// cursor reads a log forward, over its files.
type cursor struct {
	dir     string
	files   []*readFile // what is to be read, oldest first
	newest  string      // the last archive that needs no look any more
	partial []byte      // the beginning of a line whose end was not read yet
	buf     []byte
}

// openCursor opens the log n finished lines before its end.
func openCursor(dir string, n int) (*cursor, error) {
	c := &cursor{dir: dir}
	files, err := c.openNewer(nil)
	if err != nil {
		return nil, err
	}
	c.files = files
	if err := c.seek(max(n, 0)); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *cursor) close() {
	closeAll(c.files)
	c.files = nil
}

// next goes on to the next file.
func (c *cursor) next() {
	_ = c.files[0].Close()
	c.files = c.files[1:]
}

// seek goes back from the end to where n newlines are left to be read, or as
// far as there is something, and lets go of the files before.
func (c *cursor) seek(n int) error {
	budget := int64(maxTail)
	buf := make([]byte, maxLine)
	for i, f := range slices.Backward(c.files) {
		end, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		for end > 0 && budget > 0 {
			start := max(0, end-int64(len(buf)))
			block := buf[:end-start]
			if _, err := f.ReadAt(block, start); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			for at := len(block); at > 0; n-- {
				if at = bytes.LastIndexByte(block[:at], '\n'); at < 0 {
					break
				}
				if n == 0 {
					return c.start(i, start+int64(at)+1)
				}
			}
			budget -= int64(len(block))
			end = start
		}
		if budget <= 0 {
			return c.start(i, end)
		}
	}
	return c.start(0, 0)
}

// start drops the files before the i-th and begins at offset in that one, and
// at the beginning of the others.
func (c *cursor) start(i int, offset int64) error {
	for range i {
		c.next()
	}
	for _, f := range c.files {
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			return err
		}
		offset = 0
	}
	return nil
}

// read reads the first file to its present end, but at most so many bytes.
func (c *cursor) read(most int64, emit func(line string) error) error {
	if c.buf == nil {
		c.buf = make([]byte, maxLine)
	}
	for most > 0 {
		n, err := c.files[0].Read(c.buf)
		if err := c.split(c.buf[:n], emit); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		most -= int64(n)
	}
	return nil
}

// split emits the lines that end in p, and keeps the rest.
func (c *cursor) split(p []byte, emit func(line string) error) error {
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, newline())
		if space := maxLine - len(c.partial); len(line) > space {
			line, rest, ended = p[:space], p[space:], true
		}
		p = rest
		c.partial = append(c.partial, line...)
		if !ended {
			break
		}
		s := string(c.partial)
		c.partial = c.partial[:0]
		if err := emit(s); err != nil {
			return err
		}
	}
	return nil
}

// openNewer opens the files of the log that came after f and were not opened
// before, oldest first. The last one is current. There are none while f is
// current, or while there is no current; f is nil in the beginning, and then
// archives will do.
func (c *cursor) openNewer(f *readFile) ([]*readFile, error) {
	fd, err := openat(unix.AT_FDCWD, c.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot read the log in %s: %w", c.dir, explain(err))
	}
	d := directory{fd, c.dir}
	defer d.close()
	// Current first: if it is archived meanwhile it is seen twice, not never.
	cur, err := d.openForReading(current)
	switch {
	case errors.Is(err, fs.ErrNotExist) && f != nil:
		return nil, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case cur.is(f):
		return nil, cur.Close()
	}
	var found []*readFile
	if cur != nil {
		found = append(found, cur)
	}
	names, err := d.archives()
	if err != nil {
		closeAll(found)
		return nil, err
	}
	newest := c.newest
	for _, name := range slices.Backward(names) {
		if name <= c.newest || len(found) == maxOpened {
			break
		}
		a, err := d.openForReading(name)
		if err != nil {
			continue // removed meanwhile, or no log of ours
		}
		if a.is(f) {
			_ = a.Close()
			newest = max(newest, name)
			break
		}
		if a.is(cur) { // archived meanwhile: what is newer comes the next time
			closeAll(append(found[1:], a))
			found, newest = found[:1], c.newest
			continue
		}
		found, newest = append(found, a), max(newest, name)
	}
	c.newest = newest
	slices.Reverse(found)
	return found, nil
}

func closeAll(files []*readFile) {
	for _, f := range files {
		_ = f.Close()
	}
}
