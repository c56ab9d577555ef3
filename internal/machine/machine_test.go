package machine

import (
	"os"
	"path/filepath"
	"testing"

	"hermes/internal/condition"
)

func TestParseStatus(t *testing.T) {
	got := parseStatus("Name:\tinit\nUid:\t0\t10000\t0\t0\nGid:\t5\t6\t7\t8\nCapPrm:\tff\nCapEff:\t00000000a80425fb\n")
	want := Process{UID: 10000, GID: 6, Caps: 0xa80425fb}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.Caps&condition.Kill == 0 {
		t.Error("Docker's default set has CAP_KILL")
	}
	if got := parseStatus("Uid:\nCapEff:\nnonsense"); got != (Process{}) {
		t.Errorf("of nonsense: %+v", got)
	}
}

func TestParseLimits(t *testing.T) {
	const limits = "Limit                     Soft Limit           Hard Limit           Units\n" +
		"Max processes             60                   120                  processes\n" +
		"Max open files            1024                 4096                 files\n"
	if files, processes := parseLimits(limits); files != 4096 || processes != 60 {
		t.Errorf("files %d, processes %d", files, processes)
	}
	if files, processes := parseLimits("Max processes unlimited unlimited\nMax open files"); files != 0 || processes != 0 {
		t.Errorf("files %d, processes %d", files, processes)
	}
}

// TestLimitsOfControlGroups: where the limit of a group is depends on the
// version, on what is mounted, and on which part of the tree a container sees.
func TestLimitsOfControlGroups(t *testing.T) {
	for _, tt := range []struct {
		name           string
		groups, mounts string
		files          map[string]string
		want           uint64
	}{
		{
			"version 1 on a host", "9:name=systemd:/\n8:pids:/user/me\n",
			"30 25 0:26 / /sys/fs/cgroup/pids rw,nosuid shared:9 - cgroup cgroup rw,pids\n",
			map[string]string{"sys/fs/cgroup/pids/user/me/pids.max": "max\n", "sys/fs/cgroup/pids/user/pids.max": "60\n"},
			60,
		},
		{
			"version 1 in a container without a namespace of groups", "8:pids:/docker/3f2a\n",
			"30 25 0:26 /docker/3f2a /sys/fs/cgroup/pids ro master:9 - cgroup cgroup rw,pids\n",
			map[string]string{"sys/fs/cgroup/pids/pids.max": "100\n"},
			100,
		},
		{
			"version 2, the least of all that are above", "0::/user.slice/me\n",
			"30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
			map[string]string{"sys/fs/cgroup/user.slice/me/pids.max": "500\n", "sys/fs/cgroup/user.slice/pids.max": "200\n"},
			200,
		},
		{
			"version 2 in a container", "0::/\n",
			"30 25 0:26 /../../docker/3f2a /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
			map[string]string{"sys/fs/cgroup/pids.max": "77\n"},
			77,
		},
		{
			"both versions: version 2 has no controllers", "8:pids:/\n0::/\n",
			"30 25 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw\n",
			map[string]string{"sys/fs/cgroup/pids/pids.max": "61\n"},
			61,
		},
		{
			"none", "0::/\n", "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
			map[string]string{"sys/fs/cgroup/pids.max": "max\n"},
			0,
		},
		{"nothing mounted", "0::/\n", "", nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := cgroups{root: t.TempDir(), groups: tt.groups, mounts: tt.mounts}
			for path, content := range tt.files {
				write(t, filepath.Join(c.root, path), content)
			}
			if got := c.least("pids", "pids.max", "pids.max"); got != tt.want {
				t.Errorf("limit %d, want %d", got, tt.want)
			}
		})
	}
}

// Version 1 writes a number that no machine has where there is no limit.
func TestNoMemoryLimit(t *testing.T) {
	c := cgroups{root: t.TempDir(), groups: "4:memory:/\n", mounts: "30 25 0:26 / /m rw - cgroup cgroup rw,memory\n"}
	for content, want := range map[string]uint64{"9223372036854771712\n": 0, "104857600\n": 100 << 20} {
		write(t, filepath.Join(c.root, "m", "memory.limit_in_bytes"), content)
		if got := c.least("memory", "memory.limit_in_bytes", "memory.max"); got != want {
			t.Errorf("%s: limit %d, want %d", content, got, want)
		}
	}
}

func TestThisProcess(t *testing.T) {
	p, err := Look(os.Getpid())
	if err != nil || int(p.UID) != os.Geteuid() || int(p.GID) != os.Getegid() {
		t.Errorf("%+v, %v", p, err)
	}
	if l := Limits(os.Getpid()); l.OpenFiles == 0 {
		t.Errorf("no limit of open files: %+v", l)
	}
	if n, ok := Free(t.TempDir()); !ok || n == 0 {
		t.Errorf("free: %d, %v", n, ok)
	}
	if _, err := Look(1 << 22); err == nil {
		t.Error("a pid that cannot be has been looked at")
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
