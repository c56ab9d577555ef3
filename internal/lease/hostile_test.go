package lease

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hermes/internal/testkit"
)

// What a lock file may hold when nobody, or somebody hostile, wrote it.
func hostile() map[string]string {
	long := strings.Repeat("x", 300)
	return map[string]string{
		"empty":          "",
		"torn":           `{"version":1,"host":"a","pid":12,"soc`,
		"garbage":        "\x00\xff\xfe{{{{",
		"alien":          `["a"]`,
		"null":           "null",
		"no version":     `{"pid":1}`,
		"negative pid":   `{"version":1,"pid":-1}`,
		"huge pid":       `{"version":1,"pid":99999999999999999999}`,
		"terminal codes": `{"version":1,"pid":1,"host":"\u001b[2Jowned"}`,
		"two lines":      `{"version":1,"pid":1,"host":"a\nb"}`,
		"long host":      `{"version":1,"pid":1,"host":"` + long + `"}`,
		"long socket":    `{"version":1,"pid":1,"socket":"/` + long[:107] + `"}`,
		"relative":       `{"version":1,"pid":1,"socket":"control.sock"}`,
		"abstract":       `{"version":1,"pid":1,"socket":"@hermes"}`,
		"nul":            `{"version":1,"pid":1,"socket":"/tmp/a\u0000b"}`,
		"huge":           strings.Repeat("[", 1<<20),
	}
}

func TestHostileRecordIsNoRecord(t *testing.T) {
	for name, content := range hostile() {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			path := filepath.Join(home, File)
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			if rec := wantStatus(t, home, Free); rec != (Record{}) {
				t.Errorf("free, read %+v", rec)
			}
			l := take(t, home) // it stops no boot
			defer l.Close()
			if rec := wantStatus(t, home, Held); !rec.Same(l.Record()) {
				t.Errorf("read %+v", rec)
			}
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			if rec := wantStatus(t, home, Held); rec != (Record{}) {
				t.Errorf("held, read %+v", rec)
			}
			if _, err := Take(home, testRecord(), TakeOptions{}); err == nil ||
				err.Error() != "cannot take "+home+": another process holds it" {
				t.Errorf("refused with %v", err)
			}
		})
	}
}

func TestFileThatIsNone(t *testing.T) {
	tests := map[string]struct {
		make func(path string) error
		want string
	}{
		"symlink":  {func(p string) error { return os.Symlink("/etc/passwd", p) }, "symbolic link"},
		"dangling": {func(p string) error { return os.Symlink(p+".target", p) }, "symbolic link"},
		"fifo":     {func(p string) error { return unix.Mkfifo(p, 0o666) }, "not a regular file"},
		"dir":      {func(p string) error { return os.Mkdir(p, 0o755) }, "directory"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			path := filepath.Join(home, File)
			if err := tt.make(path); err != nil {
				t.Fatal(err)
			}
			if _, err := Take(home, testRecord(), TakeOptions{}); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("taken with %v", err)
			}
			if _, err := os.Lstat(path + ".target"); err == nil {
				t.Error("a link was followed")
			}
			if _, status, err := Read(home); err == nil || status != Unknown {
				t.Errorf("read with %d, %v", status, err)
			}
		})
	}
}

func TestHardLinkToAnothersFile(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Unavailable(t, "needs root, whom it is for")
	}
	home := t.TempDir()
	secret := filepath.Join(home, "secret")
	if err := os.WriteFile(secret, []byte("keep me"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(secret, filepath.Join(home, File)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, 12345, 12345); err != nil { // the file stays root's
		t.Fatal(err)
	}
	if _, err := Take(home, testRecord(), TakeOptions{}); err == nil || !strings.Contains(err.Error(), "hard link") {
		t.Errorf("taken with %v", err)
	}
	if b, _ := os.ReadFile(secret); string(b) != "keep me" {
		t.Errorf("overwritten: %q", b)
	}
	// A backup by hard links leaves a second link of the owner's own file.
	if err := os.Chown(secret, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	take(t, home).Close()
}

func TestNoHome(t *testing.T) {
	home := filepath.Join(t.TempDir(), "none")
	if _, err := Take(home, testRecord(), TakeOptions{}); !os.IsNotExist(err) {
		t.Errorf("taken with %v", err)
	}
	if _, status, err := Read(home); status != Free || err != nil {
		t.Errorf("read with %d, %v", status, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range hostile() {
		if len(s) < 4096 {
			f.Add([]byte(s))
		}
	}
	good, err := encode(testRecord())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(append(good, "tail of a longer one"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decode(b)
		if err != nil {
			if r != (Record{}) {
				t.Fatalf("error %v with a record %+v", err, r)
			}
			return
		}
		if r.PID < 1 || len(r.Socket) > maxSocketPath || r.Socket != "" && r.Socket[0] != '/' {
			t.Fatalf("accepted %+v", r)
		}
		r.Version = Version // a newer writer's is not kept
		out, err := encode(r)
		if err != nil {
			if _, merr := r.Since.MarshalJSON(); merr != nil {
				return // JSON reads years that it does not write
			}
			t.Fatalf("cannot encode what was decoded: %v", err)
		}
		if bytes.ContainsAny(out[:len(out)-1], "\n\x1b\x00") {
			t.Fatalf("wrote %q", out)
		}
		if back, err := decode(out); err != nil || !back.Same(r) {
			t.Fatalf("%+v came back as %+v, %v", r, back, err)
		}
	})
}

func FuzzMountinfo(f *testing.F) {
	f.Add("593 587 254:1 /var/lib/docker/containers/" + strings.Repeat("0a", 32) + "/hostname /etc/hostname rw - ext4 /dev/vda1 rw")
	f.Add("1 2 0:1 /pods/0b3c5b0e-6d8c-4c1f-9d4e-2f6a0f1c2d3e/etc-hosts /etc/hosts rw")
	f.Add("\n\n / /etc/hosts")
	f.Fuzz(func(t *testing.T, s string) {
		if id := idFromMounts(s); id != "" && (!isID(id) || !strings.Contains(s, id)) {
			t.Fatalf("found %q", id)
		}
	})
}

func TestContainerID(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	uid := "0b3c5b0e-6d8c-4c1f-9d4e-2f6a0f1c2d3e"
	tests := map[string]string{
		"1 2 0:1 / / rw - overlay overlay rw\n593 587 254:1 /var/lib/docker/containers/" + hex + "/hostname /etc/hostname rw - ext4 x rw\n": hex,
		"1 2 0:1 /user/1000/containers/overlay-containers/" + hex + "/userdata/hosts /etc/hosts rw\n":                                       hex,
		"1 2 0:1 /var/lib/kubelet/pods/" + uid + "/etc-hosts /etc/hosts rw\n":                                                               uid,
		// A host that runs containers has their ids in mount points, elsewhere.
		"1 2 0:1 / /var/lib/docker/containers/" + hex + "/mounts/shm rw\n": "",
		"1 2 0:1 /x/" + hex[1:] + "/hosts /etc/hosts rw\n":                 "",
		"1 2 0:1 /x/" + strings.ToUpper(hex) + "/hosts /etc/hosts rw\n":    "",
	}
	for mounts, want := range tests {
		if got := idFromMounts(mounts); got != want {
			t.Errorf("%q: got %q, want %q", mounts, got, want)
		}
	}
}

func TestSelf(t *testing.T) {
	now := time.Now()
	r := Self(now)
	if r.PID != os.Getpid() || r.UID != os.Geteuid() || !r.Since.Equal(now) || r.Host == "" || r.BootID == "" || r.PIDNamespace == 0 {
		t.Errorf("%+v", r)
	}
	if err := r.validate(); err != nil {
		t.Error(err)
	}
}
