package config_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hermes/internal/config"
	"hermes/internal/fault"
)

func defaults() config.Settings {
	return config.Settings{
		Engine: "native", StartParallel: 2 * runtime.GOMAXPROCS(0), StopTimeout: 8 * time.Second, LogFormat: "plain",
	}
}

func TestFromEnviron(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		environ []string
		want    func(*config.Settings)
	}{
		{"nothing", nil, func(*config.Settings) {}},
		{"user's home", []string{"HOME=/home/u"}, func(s *config.Settings) { s.Home = "/home/u/.hermes" }},
		{"no home in /", []string{"HOME=x"}, func(*config.Settings) {}},
		{"home", []string{"HERMES_HOME=/opt/data/", "HOME=/root"}, func(s *config.Settings) { s.Home, s.HomeSet = "/opt/data", true }},
		{"relative home", []string{"HERMES_HOME=h"}, func(s *config.Settings) { s.Home, s.HomeSet = filepath.Join(wd, "h"), true }},
		{"profile's directory", []string{"HERMES_HOME=/opt/data/profiles/coder/"}, func(s *config.Settings) {
			s.Home, s.HomeSet, s.Profile = "/opt/data", true, "coder"
		}},
		{"no profile's directory", []string{"HERMES_HOME=/opt/profiles/My Stuff"}, func(s *config.Settings) {
			s.Home, s.HomeSet = "/opt/profiles/My Stuff", true
		}},
		{"ids", []string{"HERMES_UID=0", "PUID=7", "PGID=100"}, func(s *config.Settings) {
			s.UID = config.IDSetting{ID: 0, Variable: "HERMES_UID"}
			s.GID = config.IDSetting{ID: 100, Variable: "PGID"}
		}},
		{"empty is unset", []string{"HERMES_UID=", "PUID=5", "HERMES_STOP_TIMEOUT=", "HERMES_S6_SUPERVISED_CHILD=", "HERMES_GATEWAY_COMMAND=", "HERMES_HTTP_ADDR="}, func(s *config.Settings) {
			s.UID = config.IDSetting{ID: 5, Variable: "PUID"}
		}},
		{"the first counts", []string{"PUID=1", "PUID=2"}, func(s *config.Settings) { s.UID = config.IDSetting{ID: 1, Variable: "PUID"} }},
		{"seconds", []string{"HERMES_STOP_TIMEOUT=20"}, func(s *config.Settings) { s.StopTimeout = 20 * time.Second }},
		{"duration", []string{"HERMES_STOP_TIMEOUT=1m30s"}, func(s *config.Settings) { s.StopTimeout = 90 * time.Second }},
		{"words", []string{"HERMES_GATEWAY_COMMAND=agent '{profile} x'", "HERMES_START_PARALLEL=3", "HERMES_LOG_FORMAT=JSON", "HERMES_ENGINE=s6"}, func(s *config.Settings) {
			s.GatewayCommand, s.StartParallel, s.LogFormat, s.Engine = []string{"agent", "{profile} x"}, 3, "json", "s6"
		}},
		{"gates", []string{"HERMES_GATEWAY_NO_SUPERVISE=YES", "HERMES_SUPERVISED_CHILD=coder", "HERMES_S6_SUPERVISED_CHILD=0"}, func(s *config.Settings) {
			s.NoSupervise, s.SupervisedChild, s.S6SupervisedChild = true, "coder", true
		}},
		{"dashboard", []string{"HERMES_DASHBOARD=True", "HERMES_DASHBOARD_PORT=wrong"}, func(s *config.Settings) { s.Dashboard = true }},
		{"the rest", []string{"API_SERVER_HOST=0.0.0.0", "API_SERVER_PORT=8642", "API_SERVER_KEY=k", "NOTIFY_SOCKET=/n", "HERMES_RUNTIME_DIR=/r", "XDG_RUNTIME_DIR=/x"}, func(s *config.Settings) {
			s.APIServerHost, s.APIServerPort, s.APIServerKey, s.NotifySocket = "0.0.0.0", 8642, "k", "/n"
			s.RuntimeDir, s.XDGRuntimeDir = "/r", "/x"
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := defaults()
			tt.want(&want)
			got, err := config.FromEnviron(tt.environ)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFromEnvironReportsEverything(t *testing.T) {
	bad := map[string]string{
		"HERMES_HOME": "~/.hermes", "HERMES_UID": "hermes", "HERMES_GID": "4294967295", "HERMES_START_PARALLEL": "0",
		"HERMES_STOP_TIMEOUT": "-1s", "HERMES_LOG_FORMAT": "xml", "HERMES_GATEWAY_COMMAND": "a | b",
		"API_SERVER_PORT": "http", "HERMES_ENGINE": "runit", "HERMES_HTTP_ADDR": "localhost",
	}
	var environ []string
	for k, v := range bad {
		environ = append(environ, k+"="+v)
	}
	s, err := config.FromEnviron(environ)
	if fault.CodeOf(err) != fault.InvalidConfig {
		t.Fatalf("error %v", err)
	}
	for k := range bad {
		if !strings.Contains(err.Error(), k+": ") {
			t.Errorf("%s is not reported in %q", k, err)
		}
	}
	if lines := strings.Count(err.Error(), "\n") + 1; lines != len(bad) {
		t.Errorf("%d lines for %d mistakes", lines, len(bad))
	}
	if diff := cmp.Diff(defaults(), s); diff != "" {
		t.Errorf("settings beside an error: %s", diff)
	}
}

func TestHTTPAddr(t *testing.T) {
	for _, good := range []string{":1", ":65535", "0.0.0.0:9120", "[::]:9120", "[fe80::1%eth0]:9120", "localhost:9120", "my-host_1.example.org:9120"} {
		if s, err := config.FromEnviron([]string{"HERMES_HTTP_ADDR=" + good}); err != nil || s.HTTPAddr != good {
			t.Errorf("%q: %q, %v", good, s.HTTPAddr, err)
		}
	}
	for bad, says := range map[string]string{
		"9120": "such as", "localhost": "such as", "127.0.0.1": "such as", "::1:9120": "such as", ":": "port", ":0": "port", ":65536": "port",
		":+80": "port", ":http": "port", "localhost:": "port", "http://localhost:9120": "such as", "a b:9120": "name of a host", "a/b:9120": "name of a host",
		"unix:/run/x": "port", "\x00:9120": "name of a host",
	} {
		s, err := config.FromEnviron([]string{"HERMES_HTTP_ADDR=" + bad})
		if err == nil || !strings.HasPrefix(err.Error(), "HERMES_HTTP_ADDR: ") || !strings.Contains(err.Error(), says) || s.HTTPAddr != "" {
			t.Errorf("%q: %q, %v", bad, s.HTTPAddr, err)
		}
	}
}

func FuzzHTTPAddr(f *testing.F) {
	for _, seed := range []string{":9120", "[::1]:9120", "localhost:9120", "[::1%lo]:1", "::1:1", "a\nb:1", ":+1", ":01", "[]:1", "[:1", "\xff:1", "%:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		s, err := config.FromEnviron([]string{"HERMES_HTTP_ADDR=" + value})
		switch {
		case err != nil:
			if s.HTTPAddr != "" || fault.CodeOf(err) != fault.InvalidConfig || !strings.HasPrefix(err.Error(), "HERMES_HTTP_ADDR: ") ||
				strings.ContainsAny(err.Error(), "\n\x00\x1b") || len(err.Error()) > 600 {
				t.Errorf("%q: %q, %q", value, s.HTTPAddr, err)
			}
		case s.HTTPAddr != value:
			t.Errorf("%q became %q", value, s.HTTPAddr)
		case value != "":
			_, number, err := net.SplitHostPort(value)
			if port, portErr := strconv.ParseUint(number, 10, 16); err != nil || portErr != nil || port == 0 {
				t.Errorf("%q was taken: %v, %v", value, err, portErr)
			}
		}
	})
}

func TestTruthy(t *testing.T) {
	for _, s := range []string{"1", "true", "TRUE", "Yes"} {
		if !config.Truthy(s) {
			t.Errorf("%q is not yes", s)
		}
	}
	for _, s := range []string{"", "0", "on", "y", "2", " 1", "garbage", "false"} {
		if config.Truthy(s) {
			t.Errorf("%q is yes", s)
		}
	}
}

func TestBeyondLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"": false, "localhost": false, "127.0.0.1": false, "127.8.8.8": false, "::1": false, "[::1]": false, "::ffff:127.0.0.1": false,
		"0.0.0.0": true, "::": true, "192.168.1.2": true, "example.org": true,
	} {
		if got := config.BeyondLoopback(host); got != want {
			t.Errorf("%q: got %v", host, got)
		}
	}
}

func TestIdentity(t *testing.T) {
	environ := func(e ...string) config.Settings {
		s, err := config.FromEnviron(e)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	container := config.Situation{Container: true, Init: true}
	owned := config.Situation{Container: true, Init: true, HomeUID: 1026, HomeGID: 100}
	user := config.Situation{CallerUID: 1000, CallerGID: 1001, HomeUID: 1000}
	tests := []struct {
		name    string
		s       config.Settings
		at      config.Situation
		uid     uint32
		gid     uint32
		warning string
	}{
		{"container, root's home", environ(), container, 10000, 10000, ""},
		{"container, owned home", environ(), owned, 1026, 100, ""},
		{"container, up", environ(), config.Situation{Container: true}, 10000, 10000, ""},
		{"container, home of group root", environ(), config.Situation{Container: true, HomeUID: 1000}, 1000, 1000, ""},
		{"container, HERMES_UID and PUID", environ("HERMES_UID=5", "HERMES_GID=6", "PUID=7", "PGID=8"), owned, 5, 6, ""},
		{"container, PUID", environ("PUID=99", "PGID=100"), owned, 99, 100, ""},
		{"container, uid alone", environ("PUID=99"), owned, 99, 99, ""},
		{"container, uid alone, the owner's", environ("PUID=1026"), owned, 1026, 100, ""},
		{"container, gid alone", environ("PGID=5"), owned, 1026, 5, ""},
		{"container, 0 said", environ("HERMES_UID=0"), owned, 0, 0, ""},
		{"init on a host", environ(), config.Situation{Init: true}, 10000, 10000, ""},
		{"host, root", environ(), config.Situation{HomeUID: 1000}, 0, 0, "run as root"},
		{"host, root, said", environ("HERMES_UID=12"), config.Situation{}, 12, 12, ""},
		{"user", environ(), user, 1000, 1001, ""},
		{"user asks for himself", environ("PUID=1000", "PGID=1001"), user, 1000, 1001, ""},
		{"user asks for another", environ("PUID=0"), user, 1000, 1001, "PUID=0 has no effect"},
		{"user asks for another group", environ("HERMES_GID=9"), user, 1000, 1001, "HERMES_GID=9 has no effect"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.s.Identity(tt.at)
			if got.UID != tt.uid || got.GID != tt.gid || got.Source == "" {
				t.Errorf("got %+v, want %d:%d", got, tt.uid, tt.gid)
			}
			if tt.warning == "" && got.Warning != "" || !strings.Contains(got.Warning, tt.warning) {
				t.Errorf("warning %q, want %q", got.Warning, tt.warning)
			}
		})
	}
}

func TestSecretShowsItselfToNobody(t *testing.T) {
	const value = "sk-very-secret"
	s := config.Secret(value)
	text, err := json.Marshal(map[string]any{"key": s, "in": struct{ Key config.Secret }{s}})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", s, "in", struct{ Key config.Secret }{s})
	shown := fmt.Sprintf("%v %+v %#v %s %q %x %X %d %v", s, s, s, s, s, s, s, s, struct{ K config.Secret }{s}) +
		string(text) + log.String() + s.String()
	hex := fmt.Sprintf("%x", value)
	if strings.Contains(shown, value) || strings.Contains(strings.ToLower(shown), hex) {
		t.Errorf("the secret is shown: %s", shown)
	}
	if !strings.Contains(shown, "[redacted]") || config.Secret("").String() != "" {
		t.Error("whether there is a secret is not shown")
	}
	if s.Reveal() != value {
		t.Error("the secret is lost")
	}
}
