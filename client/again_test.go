package client

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"

	"hermes/internal/fault"
)

// sequence answers one connection after the other, "" by hanging up, and then
// no more.
func sequence(t *testing.T, answers ...string) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, answer := range answers {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = c.Write([]byte(answer))
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return hurry(New(socket))
}

func refusal(status int, code fault.Code) string {
	return fmt.Sprintf("HTTP/1.1 %d No\r\nConnection: close\r\n\r\n{\"code\":%q,\"message\":\"no\"}", status, code)
}

// The engine has made, renamed or deleted the profile and dies before it says
// so: the one that is asked again finds it done, and that is no failure.
func TestDoneBeforeTheEngineDied(t *testing.T) {
	const (
		died  = ""
		zoe   = `{"profiles":[{"name":"anna","path":"/a"},{"name":"zoe","path":"/z","port":9300}]}`
		noZoe = `{"profiles":[{"name":"anna","path":"/a"}]}`
	)
	exists, none := refusal(409, fault.ProfileExists), refusal(404, fault.GatewayNotRegistered)
	verbs := map[string]func(c *Client) (path string, err error){
		"create": func(c *Client) (string, error) { p, err := c.CreateProfile(t.Context(), "zoe"); return p.Path, err },
		"rename": func(c *Client) (string, error) {
			p, err := c.RenameProfile(t.Context(), "yara", "zoe")
			return p.Path, err
		},
		"delete": func(c *Client) (string, error) { return "", c.DeleteProfile(t.Context(), "zoe") },
	}
	for _, tt := range []struct {
		name, verb string
		answers    []string
		path       string
		want       fault.Code // "": it succeeds
	}{
		{"made", "create", []string{died, exists, body(zoe)}, "/z", ""},
		{"was there before", "create", []string{exists}, "", fault.ProfileExists},
		{"is no profile", "create", []string{died, exists, body(noZoe)}, "", fault.ProfileExists},
		{"renamed", "rename", []string{died, died, none, body(zoe)}, "/z", ""},
		{"renamed by nobody", "rename", []string{died, none, body(noZoe)}, "", fault.GatewayNotRegistered},
		{"never there to rename", "rename", []string{none}, "", fault.GatewayNotRegistered},
		{"new name taken", "rename", []string{died, exists}, "", fault.ProfileExists},
		{"deleted", "delete", []string{died, none}, "", ""},
		{"never there to delete", "delete", []string{none}, "", fault.GatewayNotRegistered},
		{"does not stop", "delete", []string{died, refusal(504, fault.GatewayTimeout)}, "", fault.GatewayTimeout},
	} {
		t.Run(tt.verb+" "+tt.name, func(t *testing.T) {
			path, err := verbs[tt.verb](sequence(t, tt.answers...))
			if tt.want == "" && err != nil || tt.want != "" && fault.CodeOf(err) != tt.want || path != tt.path {
				t.Errorf("got %q, %v; want %q, %q", path, err, tt.path, tt.want)
			}
		})
	}
}
