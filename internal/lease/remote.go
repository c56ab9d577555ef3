package lease

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// TakeOverAfter is the age at which a heartbeat no longer proves that its
// writer lives: three missed beats of one minute.
const TakeOverAfter = 3 * time.Minute

// BeatEvery is how often a holder on a remote file system calls [Lease.Beat].
const BeatEvery = time.Minute

// maxSkew is how far in the future a heartbeat may lie, for the clocks of two
// machines differ; beyond it is not a heartbeat but garbage.
const maxSkew = time.Hour

// fresh reports whether a heartbeat proves, at now, that its writer lives.
func fresh(beat, now time.Time) bool {
	if beat.IsZero() {
		return false
	}
	age := now.Sub(beat)
	return age < TakeOverAfter && age > -maxSkew
}

// Remote tells whether the file system of home is one where a heartbeat stands
// for the lock.
func Remote(home string) (bool, error) {
	fd, err := unix.Open(home, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("cannot open %s: %w", home, err)
	}
	defer unix.Close(fd)
	return remoteFS(fd)
}

// remoteFS tells whether other machines may write the file system fd is on,
// so that a lock may be unknown to them. FUSE stands for virtiofs, sshfs and
// the bind mounts of desktop container engines alike.
func remoteFS(fd int) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return false, err
	}
	switch uint32(st.Type) { //nolint:gosec // magics are 32 bits wide, the field is signed on some architectures
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC,
		unix.V9FS_MAGIC, unix.FUSE_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC, unix.AFS_SUPER_MAGIC,
		unix.AFS_FS_MAGIC, unix.CODA_SUPER_MAGIC, unix.NCP_SUPER_MAGIC, unix.OCFS2_SUPER_MAGIC,
		0x01161970, // GFS2
		0x0bd00bd0, // Lustre
		0x47504653, // GPFS
		0x19830326, // BeeGFS
		0x786f4256, // vboxsf
		0x7c7c6673, // prl_fs
		0xbacbacbc: // vmhgfs
		return true, nil
	}
	return false, nil
}
