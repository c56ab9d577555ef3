package s6

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Where s6 is in a container: the scan directory, and what says that this
// container is s6's.
const (
	ScanDir = "/run/service"
	BaseDir = "/run/s6/basedir"
	comm    = "/proc/1/comm"
	svscan  = "s6-svscan"
)

// ErrAbsent: process 1 is no s6 that this project may talk to.
var ErrAbsent = errors.New("s6 does not supervise here")

// Detect finds the s6 that is process 1, below root: "" is the machine's own.
// It needs no privilege, and fails closed: whatever cannot be read, or is not
// as it must be, is [ErrAbsent] with what is missing.
func Detect(root string) (Scandir, error) {
	name, err := readFile(root + comm)
	if err != nil {
		return Scandir{}, fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	if got := strings.TrimSuffix(string(name), "\n"); got != svscan {
		return Scandir{}, fmt.Errorf("%w: process 1 is %q, not %s", ErrAbsent, got, svscan)
	}
	for _, dir := range []string{BaseDir, ScanDir} {
		if st, err := os.Stat(root + dir); err != nil {
			return Scandir{}, fmt.Errorf("%w: %w", ErrAbsent, err)
		} else if !st.IsDir() {
			return Scandir{}, fmt.Errorf("%w: %s is no directory", ErrAbsent, dir)
		}
	}
	return Scandir{Dir: filepath.Clean(root + ScanDir)}, nil
}
