package supervisor

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkStatusRow is what each row of a status asks the kernel, and so the
// least that a status can cost: what a process has in memory, and whether a
// gateway of the original said how it is.
func BenchmarkStatusRow(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		for b.Loop() {
			if residentBytes(os.Getpid()) == 0 {
				b.Fatal("this process has no memory")
			}
		}
	})
	b.Run("state", func(b *testing.B) {
		path := filepath.Join(b.TempDir(), "gateway_state.json")
		for b.Loop() {
			var st unix.Stat_t
			if unix.Lstat(path, &st) == nil {
				b.Fatal("there is one")
			}
		}
	})
}
