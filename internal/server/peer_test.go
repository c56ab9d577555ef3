package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hermes/internal/fault"
	"hermes/internal/testkit"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// getAs is the client process of another uid.
func getAs(socket, path string) int {
	c := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	resp, err := c.Post("http://hermes"+path, "", nil)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, string(b))
	return 0
}

func TestPeerUID(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Unavailable(t, "needs root, to be somebody else")
	}
	const fleet, stranger = 10000, 12345
	rn := serve(t, &backend{}, func(o *Options) {
		o.Allowed, o.UID, o.Container = AllowUIDs(fleet), fleet, "0123456789abcdef"
	})
	dir := filepath.Dir(rn.socket)
	for path, mode := range map[string]os.FileMode{dir: 0o755, filepath.Dir(dir): 0o755, rn.socket: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(uid uint32, path string) string {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{"SERVER_TEST_SOCKET=" + rn.socket, "SERVER_TEST_PATH=" + path, "GORACE=atexit_sleep_ms=0"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("uid %d: %v: %s", uid, err, out)
		}
		return string(out)
	}
	const start = "/v1/gateways/coder/start"
	if got := ask(0, start); !strings.HasPrefix(got, "200 ") {
		t.Errorf("root: %s", got)
	}
	if got := ask(fleet, start); !strings.HasPrefix(got, "200 ") {
		t.Errorf("the fleet's uid: %s", got)
	}
	tests := map[string]string{
		start:                         "docker exec -u 10000 0123456789ab hermes gateway start coder",
		"/v1/gateways/$(reboot)/stop": "docker exec -u 10000 0123456789ab hermes status",
		"/v1/none":                    "docker exec -u 10000 0123456789ab hermes status",
	}
	for path, hint := range tests {
		got := ask(stranger, path)
		if !strings.HasPrefix(got, "403 ") || !strings.Contains(got, "uid 12345 may not use this supervisor") || !strings.Contains(got, hint+`"`) {
			t.Errorf("%s: %s, want %s", path, got, hint)
		}
	}
}

// Every row of the table refuses a stranger before it does anything.
func TestEveryRouteIsGuarded(t *testing.T) {
	b := &backend{}
	rn := serve(t, b, func(o *Options) { o.Allowed = func(uint32) bool { return false } })
	for _, rt := range append(routes(), route{method: "GET", pattern: "/elsewhere"}) {
		path := strings.NewReplacer("{profile}", "coder", "{name}", "coder").Replace(rt.pattern)
		status, body := rn.ask(t, rt.method, path, `{"name":"new","to":"new"}`)
		if status != 403 || !strings.Contains(body, string(fault.SupervisorDenied)) || !strings.Contains(body, "sudo -u '#10000' hermes") || strings.Contains(body, "{profile}") || strings.Contains(body, "{name}") {
			t.Errorf("%s %s: %d %s", rt.method, path, status, body)
		}
	}
	if got := b.heard(); len(got) != 0 {
		t.Errorf("the backend heard %v", got)
	}
}

// Without a unix socket there is no uid, so there is no access.
func TestPeerUnknown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		testkit.Unavailable(t, "needs a loopback: %v", err)
	}
	rn := serve(t, &backend{}, func(o *Options) { o.Listener.Close(); o.Listener = l })
	resp, err := http.Get("http://" + l.Addr().String() + "/v1/fleet")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Errorf("status %d", resp.StatusCode)
	}
	http.DefaultClient.CloseIdleConnections()
	_ = rn
}
