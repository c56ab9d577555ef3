package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hermes/internal/config"
	"hermes/internal/fault"
)

func TestDashboardFrom(t *testing.T) {
	standard := config.Dashboard{Host: "127.0.0.1", Port: 9119, SessionTTL: 12 * time.Hour}
	tests := []struct {
		name    string
		environ []string
		dotenv  map[string]string
		want    func(*config.Dashboard)
	}{
		{"nothing", nil, nil, func(*config.Dashboard) {}},
		{"empty is unset", []string{"HERMES_DASHBOARD_HOST=", "HERMES_DASHBOARD_PORT=", "HERMES_DASHBOARD_ALLOWED_HOSTS= , "}, nil, func(*config.Dashboard) {}},
		{"address", []string{"HERMES_DASHBOARD_HOST=::", "HERMES_DASHBOARD_PORT=80"}, nil, func(d *config.Dashboard) { d.Host, d.Port = "::", 80 }},
		{"hosts", []string{"HERMES_DASHBOARD_ALLOWED_HOSTS=Hermes.Example.com:443, b. ,[::2]:1,b"}, nil, func(d *config.Dashboard) {
			d.AllowedHosts = []string{"::2", "b", "hermes.example.com"}
		}},
		{"credentials", []string{
			"HERMES_DASHBOARD_BASIC_AUTH_USERNAME=u", "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD=p", "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD_HASH=h",
			"HERMES_DASHBOARD_BASIC_AUTH_SECRET=s", "HERMES_DASHBOARD_TOKEN=t", "HERMES_DASHBOARD_BASIC_AUTH_TTL_SECONDS=600",
		}, nil, func(d *config.Dashboard) {
			d.Username, d.Password, d.PasswordHash, d.SessionSecret, d.Token, d.SessionTTL = "u", "p", "h", "s", "t", 10*time.Minute
		}},
		{".env wins", []string{"HERMES_DASHBOARD_TOKEN=t", "HERMES_DASHBOARD_PORT=1"}, map[string]string{
			"HERMES_DASHBOARD_TOKEN": "of .env", "HERMES_DASHBOARD_HOST": "0.0.0.0", "HERMES_HOME": "/x",
		}, func(d *config.Dashboard) { d.Token, d.Host, d.Port = "of .env", "0.0.0.0", 1 }},
		{".env can take away", []string{"HERMES_DASHBOARD_TOKEN=t"}, map[string]string{"HERMES_DASHBOARD_TOKEN": ""}, func(*config.Dashboard) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := standard
			tt.want(&want)
			got, err := config.DashboardFrom(tt.environ, tt.dotenv)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if text := fmt.Sprintf("%v %+v %#v", got, got, got.Token); got.Token != "" && strings.Contains(text, "of .env") {
				t.Errorf("a secret is shown: %s", text)
			}
		})
	}
}

func TestDashboardFromReportsEverything(t *testing.T) {
	bad := map[string]string{
		"HERMES_DASHBOARD_PORT": "70000", "HERMES_DASHBOARD_ALLOWED_HOSTS": "http://x/y",
		"HERMES_DASHBOARD_BASIC_AUTH_TTL_SECONDS": "59",
	}
	d, err := config.DashboardFrom(nil, bad)
	if fault.CodeOf(err) != fault.InvalidConfig {
		t.Fatalf("error %v", err)
	}
	for k := range bad {
		if !strings.Contains(err.Error(), k+": ") {
			t.Errorf("%s is not reported in %q", k, err)
		}
	}
	if d.Port != config.DefaultDashboardPort || d.SessionTTL != config.DefaultSessionTTL {
		t.Errorf("beside an error: %+v", d)
	}
}

func TestDashboardSecrets(t *testing.T) {
	for key, want := range map[string]bool{
		"HERMES_DASHBOARD_TOKEN": true, "HERMES_DASHBOARD_BASIC_AUTH_PASSWORD": true, "HERMES_DASHBOARD_BASIC_AUTH_SECRET": true,
		"HERMES_DASHBOARD_BASIC_AUTH_USERNAME": true, "HERMES_DASHBOARD": false, "HERMES_DASHBOARD_PORT": false, "API_SERVER_KEY": false,
	} {
		if config.IsDashboardSecret(key) != want {
			t.Errorf("%s: %v", key, !want)
		}
	}
}

// FuzzHostOf: whatever is sent, a host is a part of it and has no port.
func FuzzHostOf(f *testing.F) {
	for _, seed := range []string{"a", "a:1", "[::1]:1", "[::1", "::1", ":", "[]", "[]:", "a:", "a.", "[", "]:1", "A:x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		host := config.HostOf(header)
		if host != "" && !strings.Contains(strings.ToLower(header), host) {
			t.Errorf("%q has the host %q", header, host)
		}
	})
}

func TestHostOf(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "a": "a", "A.b.": "a.b", "a:80": "a", "a:": "a", "a:x": "", "a:80:80": "a:80:80", "::1": "::1", "[::1]": "::1", "[::1]:80": "::1",
		"[::1]x": "", "[::1": "", "[]": "", ":80": "", "127.0.0.1:9119": "127.0.0.1",
	} {
		if got := config.HostOf(header); got != want {
			t.Errorf("%q has the host %q, want %q", header, got, want)
		}
	}
}
