package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hermes/api"
)

// The bounds of the history on disk: about 50,000 events, and for each file a
// line of what was known of each slot.
const (
	DefaultMaxSize  = 512 << 10
	DefaultMaxFiles = 16
)

const (
	dirPath  = "logs/events"
	current  = "current"
	suffix   = ".jsonl"
	fileMode = 0o640
	dirMode  = 0o750
	// maxRead bounds what is read of one file, whoever wrote it: the header of
	// 100,000 slots is 15 MB.
	maxRead = 64 << 20
	// maxLine bounds an event; a cause is much shorter.
	maxLine = 64 << 10
)

// header is the first line of a file.
type header struct {
	After *uint64 `json:"after"` // the events that follow have greater ids
	Slots []Row   `json:"slots"` // what was known then
}

// files is the history of a home on disk. One goroutine writes at a time; any
// may read.
type files struct {
	home     string
	owner    *Owner
	maxSize  int64
	maxFiles int

	// Of the writer:
	begin uint64 // current's events have greater ids
	file  *os.File
	size  int64 // of the events in it
	torn  bool  // it ends within a line
	buf   []byte
}

func newFiles(o Options) *files {
	f := &files{home: o.Home, owner: o.Owner, maxSize: o.MaxSize, maxFiles: o.MaxFiles}
	if f.maxSize == 0 {
		f.maxSize = DefaultMaxSize
	}
	if f.maxFiles == 0 {
		f.maxFiles = DefaultMaxFiles
	}
	f.maxFiles = max(f.maxFiles, 2) // current and one that is full
	return f
}

// dir opens the directory, and makes it if told to. No link out of the home is
// followed.
func (f *files) dir(create bool) (*os.Root, error) {
	home, err := os.OpenRoot(f.home)
	if err != nil {
		return nil, err
	}
	defer home.Close()
	if create {
		for _, d := range []string{"logs", dirPath} {
			err := home.Mkdir(d, dirMode)
			if err == nil && f.owner != nil {
				_ = home.Lchown(d, f.owner.UID, f.owner.GID) // without CAP_CHOWN it stays ours
			}
			if err != nil && !errors.Is(err, fs.ErrExist) {
				return nil, err
			}
		}
	}
	return home.OpenRoot(dirPath)
}

// append writes events that follow those before, and says how many of them are
// in the file. Where a file begins it is told what is known.
func (f *files) append(events []api.Event, known func() (Table, uint64)) (int, error) {
	if err := f.open(known); err != nil {
		f.close()
		return 0, err
	}
	out := f.buf[:0]
	if f.torn {
		out = append(out, '\n')
	}
	skip := len(out)
	for i := range events {
		out = append(Append(out, &events[i]), '\n')
	}
	f.buf = out
	n, err := f.file.Write(out)
	f.size += int64(n)
	if n > 0 {
		f.torn = out[n-1] != '\n'
	}
	if err != nil {
		f.close()
		return bytes.Count(out[min(skip, n):n], []byte{'\n'}), err
	}
	return len(events), nil
}

// open makes sure that there is a current with room in it.
func (f *files) open(known func() (Table, uint64)) error {
	if f.file != nil && f.size < f.maxSize && f.linked() {
		return nil
	}
	full := f.file != nil && f.size >= f.maxSize
	f.close()
	dir, err := f.dir(true)
	if err != nil {
		return err
	}
	defer dir.Close()
	if full {
		if err := f.archive(dir); err != nil {
			return err
		}
	}
	if err := f.openCurrent(dir); err != nil {
		return err
	}
	if f.size >= f.maxSize { // an earlier engine's
		f.close()
		if err := f.archive(dir); err != nil {
			return err
		}
		if err := f.openCurrent(dir); err != nil {
			return err
		}
	}
	if f.size == 0 {
		return f.writeHeader(known)
	}
	return nil
}

// linked says whether the open file still has its name.
func (f *files) linked() bool {
	st, err := f.file.Stat()
	return err == nil && linksOf(st) > 0
}

// archive gives the full file its name, and removes those there are too many
// of.
func (f *files) archive(dir *os.Root) error {
	if err := dir.Rename(current, archiveName(f.begin)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	names, err := archives(dir)
	if err != nil {
		return err
	}
	for len(names) > f.maxFiles-1 {
		_ = dir.Remove(names[0]) // or the next time
		names = names[1:]
	}
	return nil
}

// openCurrent opens current for appending. What has its name and is no file
// that is ours alone is set aside.
func (f *files) openCurrent(dir *os.Root) error {
	if st, err := dir.Lstat(current); err == nil && (!st.Mode().IsRegular() || linksOf(st) > 1) {
		if err := dir.Rename(current, "alien-"+strconv.FormatInt(time.Now().UnixNano(), 10)); err != nil {
			return err
		}
	}
	file, err := dir.OpenFile(current, os.O_RDWR|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, fileMode)
	if err != nil {
		return err
	}
	st, err := file.Stat()
	switch {
	case err == nil && !st.Mode().IsRegular():
		err = fmt.Errorf("%s is not a regular file", file.Name())
	case err == nil && st.Size() > 0:
		last := []byte{0}
		_, err = file.ReadAt(last, st.Size()-1)
		f.torn = last[0] != '\n'
	case err == nil:
		f.torn = false
		if f.owner != nil {
			_ = file.Chown(f.owner.UID, f.owner.GID)
		}
	}
	if err != nil {
		_ = file.Close()
		return err
	}
	f.file, f.size = file, st.Size()
	return nil
}

// writeHeader begins a file.
func (f *files) writeHeader(known func() (Table, uint64)) error {
	table, after := known()
	h := header{After: &after, Slots: make([]Row, 0, len(table))}
	for _, row := range table {
		h.Slots = append(h.Slots, row)
	}
	slices.SortFunc(h.Slots, func(a, b Row) int { return strings.Compare(a.Slot, b.Slot) })
	line, err := json.Marshal(h)
	if err == nil {
		_, err = f.file.Write(append(line, '\n'))
	}
	if err != nil {
		_ = f.file.Truncate(0) // else it is a file that begins with a torn line
		return err
	}
	f.begin, f.size = after, 0
	return nil
}

func (f *files) close() {
	if f.file != nil {
		_ = f.file.Close()
		f.file = nil
	}
}

func archiveName(begin uint64) string { return fmt.Sprintf("%020d%s", begin, suffix) }

// beginOf is the id after which an archive begins.
func beginOf(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	id, err := strconv.ParseUint(digits, 10, 64)
	return id, ok && err == nil && archiveName(id) == name
}

// archives lists the full files, oldest first.
func archives(dir *os.Root) ([]string, error) {
	d, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { _, ok := beginOf(name); return !ok })
	slices.Sort(names)
	return names, nil
}

func linksOf(st fs.FileInfo) uint64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return uint64(sys.Nlink) //nolint:unconvert // its type differs between architectures
	}
	return 1
}

// readFile reads a file of the directory whole; that never hangs on a FIFO.
func readFile(dir *os.Root, name string) ([]byte, error) {
	file, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	b := make([]byte, min(st.Size(), maxRead))
	n, err := io.ReadFull(file, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // somebody cut it
		err = nil
	}
	return b[:n], err
}
